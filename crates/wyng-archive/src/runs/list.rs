//! Many runs in bounded memory.

use super::Run;
use crate::error::{Damage, DamageReason};
use crate::vault::Vault;
use std::io;
use wyng_format::{ChunkHash, ChunkSize, Digest};
use wyng_sys::fs::{
    FileRef,
    ext::{read_exact_at, write_all_at},
};

const RECORD: usize = 8 + 8 + 4 + 1 + 32;
const BATCH: usize = 4096;

fn encode(run: &Run, out: &mut Vec<u8>) {
    out.extend_from_slice(&run.addr.to_le_bytes());
    out.extend_from_slice(&run.count.to_le_bytes());
    out.extend_from_slice(&run.session.to_le_bytes());
    match &run.hash {
        ChunkHash::Zero => out.extend_from_slice(&[0; 33]),
        ChunkHash::Data(digest) => {
            out.push(1);
            out.extend_from_slice(&digest.0);
        }
    }
}

fn decode(record: &[u8]) -> Option<Run> {
    let (addr, rest) = record.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let (session, rest) = rest.split_first_chunk::<4>()?;
    let (kind, digest) = rest.split_first()?;
    let digest: [u8; 32] = digest.try_into().ok()?;
    Some(Run {
        addr: u64::from_le_bytes(*addr),
        count: u64::from_le_bytes(*count),
        session: u32::from_le_bytes(*session),
        hash: if *kind == 0 {
            ChunkHash::Zero
        } else {
            ChunkHash::Data(Digest(digest))
        },
    })
}

/// Sorted runs: in memory while they are few, in a scratch file beyond that.
#[derive(Clone)]
pub(crate) struct RunList {
    memory: Vec<Run>,
    spilled: Option<FileRef>,
    /// Runs in the scratch file, which come before those in memory.
    in_file: u64,
}

/// Runs held in memory before the rest goes to a scratch file: 64 bytes each, so 25 MiB.
const MEMORY_RUNS: usize = 400_000;

impl RunList {
    pub(crate) fn new() -> Self {
        Self {
            memory: Vec::new(),
            spilled: None,
            in_file: 0,
        }
    }

    /// A list of all that `runs` gives.
    pub(crate) fn of(runs: impl Iterator<Item = Result<Run, Damage>>, vault: &Vault) -> Result<Self, Damage> {
        let scratch = || vault.scratch();
        let mut list = Self::new();
        for run in runs {
            list.push(run?, vault.chunk, &scratch)
                .map_err(|e| Damage::new("scratch file", DamageReason::Io(e.to_string())))?;
        }
        Ok(list)
    }

    /// Adds a run behind all others; neighbouring zeros are joined.
    pub(crate) fn push(&mut self, run: Run, chunk: ChunkSize, scratch: &Scratch<'_>) -> io::Result<()> {
        if let Some(last) = self.memory.last_mut()
            && last.is_zero()
            && run.is_zero()
            && last.end(chunk) == run.addr
        {
            last.count = last.count.saturating_add(run.count);
            return Ok(());
        }
        if self.memory.len() >= MEMORY_RUNS {
            self.spill(scratch)?;
        }
        self.memory.push(run);
        Ok(())
    }

    fn spill(&mut self, scratch: &Scratch<'_>) -> io::Result<()> {
        let file = match &self.spilled {
            Some(file) => file.clone(),
            None => scratch()?,
        };
        let mut buffer = Vec::with_capacity(RECORD * BATCH);
        for batch in self.memory.chunks(BATCH) {
            buffer.clear();
            for run in batch {
                encode(run, &mut buffer);
            }
            let at = self.in_file.saturating_mul(RECORD as u64);
            write_all_at(&*file, &buffer, at).map_err(|e| e.source)?;
            self.in_file = self.in_file.saturating_add(batch.len() as u64);
        }
        self.memory.clear();
        self.spilled = Some(file);
        Ok(())
    }

    /// Number of runs.
    pub(crate) fn len(&self) -> u64 {
        self.in_file.saturating_add(self.memory.len() as u64)
    }

    pub(crate) fn iter(&self) -> RunListIter<'_> {
        self.iter_from(0)
    }

    /// The run with this number.
    fn get(&self, index: u64) -> Result<Option<Run>, Damage> {
        if let Some(index) = index.checked_sub(self.in_file) {
            return Ok(usize::try_from(index)
                .ok()
                .and_then(|index| self.memory.get(index))
                .copied());
        }
        let Some(file) = &self.spilled else { return Ok(None) };
        let mut record = [0; RECORD];
        read_exact_at(&**file, &mut record, index.saturating_mul(RECORD as u64))
            .map_err(|e| Damage::new("scratch file", DamageReason::Io(e.to_string())))?;
        Ok(decode(&record))
    }

    /// The number of the last run that begins at or before `addr`, found by halving.
    pub(crate) fn position(&self, addr: u64) -> Result<Option<u64>, Damage> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle)? {
                Some(run) if run.addr <= addr => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low.checked_sub(1))
    }

    /// The runs from number `first` on.
    pub(crate) fn iter_from(&self, first: u64) -> RunListIter<'_> {
        RunListIter {
            list: self,
            position: first,
            buffer: Vec::new(),
            at: 0,
            batch: 16,
        }
    }
}

/// Makes an unnamed scratch file.
pub(crate) type Scratch<'a> = dyn Fn() -> io::Result<FileRef> + Sync + 'a;

pub(crate) struct RunListIter<'a> {
    list: &'a RunList,
    position: u64,
    buffer: Vec<u8>,
    at: usize,
    /// Records that are read next: few for who looks at one place only.
    batch: usize,
}

impl RunListIter<'_> {
    fn refill(&mut self, file: &FileRef) -> Result<(), Damage> {
        let left = self.list.in_file.saturating_sub(self.position);
        let records = usize::try_from(left).unwrap_or(usize::MAX).min(self.batch);
        self.batch = self.batch.saturating_mul(4).min(BATCH);
        self.buffer.resize(records.saturating_mul(RECORD), 0);
        self.at = 0;
        let offset = self.position.saturating_mul(RECORD as u64);
        read_exact_at(&**file, &mut self.buffer, offset)
            .map_err(|e| Damage::new("scratch file", DamageReason::Io(e.to_string())))
    }
}

impl Iterator for RunListIter<'_> {
    type Item = Result<Run, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position < self.list.in_file {
            if self.at >= self.buffer.len() {
                let file = self.list.spilled.clone()?;
                if let Err(error) = self.refill(&file) {
                    self.position = u64::MAX;
                    return Some(Err(error));
                }
            }
            let end = self.at.saturating_add(RECORD);
            let run = decode(self.buffer.get(self.at..end)?)?;
            self.at = end;
            self.position = self.position.saturating_add(1);
            return Some(Ok(run));
        }
        let index = usize::try_from(self.position.checked_sub(self.list.in_file)?).ok()?;
        self.position = self.position.saturating_add(1);
        self.list.memory.get(index).copied().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: u64 = 65536;

    fn data(at: u64) -> Run {
        Run {
            addr: at * C,
            count: 1,
            hash: ChunkHash::Data(Digest([1; 32])),
            session: 1,
        }
    }

    #[test]
    fn a_list_too_long_for_memory_goes_to_a_scratch_file_or_fails() {
        let fs = wyng_testkit::MemFs::new();
        wyng_sys::fs::Fs::make_dirs(&fs, "/var/tmp".as_ref(), 0o777).unwrap();
        let scratch = || wyng_state::scratch::temporary(&fs).map_err(io::Error::other);
        let nowhere = || Err(io::Error::other("none"));
        let runs = || (0..MEMORY_RUNS as u64 + 3).map(data);
        let (mut list, mut short) = (RunList::new(), RunList::new());
        assert!(runs().all(|run| list.push(run, ChunkSize::from_bytes(C).unwrap(), &scratch).is_ok()));
        assert!(!runs().all(|run| short.push(run, ChunkSize::from_bytes(C).unwrap(), &nowhere).is_ok()));
        assert!(list.memory.len() <= 3 && short.memory.len() <= MEMORY_RUNS);
        assert!(list.iter().map(Result::unwrap).eq(runs()));
        for at in [0, 1, MEMORY_RUNS as u64 - 1, MEMORY_RUNS as u64, MEMORY_RUNS as u64 + 2] {
            assert_eq!(list.position(at * C).unwrap(), Some(at));
            assert_eq!(list.position(at * C + C - 1).unwrap(), Some(at));
            assert_eq!(list.iter_from(at).next().unwrap().unwrap(), data(at));
        }
        assert_eq!(RunList::new().position(7).unwrap(), None);
        assert!(fs.tree("/var/tmp").0.len() <= 1, "it has a name");
    }
}
