//! A volume as one session sees it: which chunk, or zeros, lies at each address (archive-format.md §8.1).

use crate::archive::Archive;
use crate::changes::add_run;
use crate::check::State;
use crate::error::{Damage, DamageReason, Notice};
use crate::history::{History, Session};
use crate::layout;
use crate::runs::{Complete, Merge, Run, RunList, RunStream};
use crate::vault::{ChunkWork, Trust, Vault};
use wyng_format::{ChunkAddr, ChunkHash, ChunkSize, Mfcs, SessionName, VolumeId};
use wyng_state::CacheFile;
use wyng_store::StorePath;

/// Manifests merged at once; each costs a decoder of a few MiB.
const FAN_IN: usize = 16;

/// The complete, checked list of chunks of one session.
pub struct View {
    vault: Vault,
    /// The volume's id.
    pub vid: VolumeId,
    /// The session.
    pub session: Session,
    /// All sessions that supply it, newest first.
    pub chain: Vec<SessionName>,
    /// Folders that may hold the chunks of each session that supplies some.
    dirs: Vec<Vec<StorePath>>,
    runs: RunList,
    /// Checksum of the list, as it is and not as it was recorded.
    pub(crate) mfcs: u32,
}

impl View {
    /// Merges the manifests of all sessions that `name` builds on, and checks the result against the recorded checksum.
    ///
    /// # Errors
    /// [`Damage`] of any metadata involved, a gap in the addresses, or a wrong checksum.
    pub(crate) fn load(
        vault: &Vault,
        history: &History,
        name: &SessionName,
        trust: Trust,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<Self, Damage> {
        let chain = history.chain(name)?;
        let Some(&session) = chain.first() else {
            return Err(Damage::new(layout::session(&history.vid, name), DamageReason::Missing));
        };
        let object = layout::session(&history.vid, name).to_string();
        let scratch = || vault.scratch();
        let io = |e: std::io::Error| Damage::new("scratch file", DamageReason::Io(e.to_string()));
        let chunk = vault.chunk;
        let mut runs = RunList::new();
        let mut mfcs = Mfcs::new();
        let merged = merge_layers(vault, history, &chain, trust)?;
        let streams = merged.iter().map(Layer::stream).collect();
        for run in Complete::new(Merge::new(streams, chunk), chunk, session.info.volsize, object.clone()) {
            let run = run?;
            add_run(&mut mfcs, &run, run.count, chunk);
            runs.push(run, chunk, &scratch).map_err(io)?;
        }
        let mfcs = mfcs.finish();
        check_mfcs(&object, &chain, mfcs, notice)?;
        let dirs = chain
            .iter()
            .map(|s| history.places.dirs(&history.vid, &s.name))
            .collect();
        Ok(Self {
            vault: vault.clone(),
            vid: history.vid.clone(),
            session: session.clone(),
            chain: chain.iter().map(|session| session.name).collect(),
            dirs,
            runs,
            mfcs,
        })
    }

    /// What a session lists itself, without those that it builds on: the runs have gaps.
    pub(crate) fn own(vault: &Vault, history: &History, name: &SessionName, trust: Trust) -> Result<Self, Damage> {
        let Some(session) = history.session(name)? else {
            return Err(Damage::new(layout::session(&history.vid, name), DamageReason::Missing));
        };
        let layer = open_manifest(vault, history, session, 0, trust)?;
        Ok(Self {
            vault: vault.clone(),
            vid: history.vid.clone(),
            session: session.clone(),
            chain: vec![*name],
            dirs: vec![history.places.dirs(&history.vid, name)],
            runs: RunList::of(layer.stream(), vault)?,
            mfcs: 0,
        })
    }

    /// The part of it from `addr` on.
    ///
    /// # Errors
    /// Trouble with scratch files.
    pub fn from_address(mut self, addr: u64) -> Result<Self, Damage> {
        let later = self
            .runs
            .iter()
            .filter(|run| run.as_ref().map_or(true, |run| run.addr >= addr));
        self.runs = RunList::of(later, &self.vault)?;
        Ok(self)
    }

    /// The whole of it, for those who check all sessions.
    pub(crate) fn state(&self) -> State<'_> {
        let object = layout::session(&self.vid, &self.session.name).to_string();
        State::new(&self.runs, self.vault.chunk, self.size(), object, &self.chain)
    }

    /// The file of a data chunk, where it has several names: the same number for each of them.
    #[must_use]
    pub fn shared_file(&self, run: &Run) -> Option<u64> {
        let dirs = usize::try_from(run.session)
            .ok()
            .and_then(|index| self.dirs.get(index))?;
        let path = layout::chunk(dirs.first()?, ChunkAddr(run.addr));
        let meta = self.vault.store.stat(&path).ok()??;
        meta.file.filter(|_| meta.links.is_some_and(|links| links > 1))
    }

    /// Size of the volume, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.session.info.volsize
    }

    /// Chunk size of the archive.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.vault.chunk
    }

    /// All runs in address order, from 0 to the end of the volume without a gap.
    pub fn runs(&self) -> impl Iterator<Item = Result<Run, Damage>> + Send + '_ {
        self.runs.iter()
    }

    /// The runs from the one that holds `addr` on.
    ///
    /// # Errors
    /// Trouble with scratch files.
    pub fn runs_from(&self, addr: u64) -> Result<impl Iterator<Item = Result<Run, Damage>> + '_, Damage> {
        let first = self.runs.position(addr)?.unwrap_or(0);
        Ok(self.runs.iter_from(first))
    }

    /// What one thread needs to read chunks.
    #[must_use]
    pub fn work(&self) -> ChunkWork {
        ChunkWork::new(self.vault.compression)
    }

    /// Says that the data chunk of `run` will be fetched next.
    pub fn announce(&self, run: &Run) {
        let dirs = usize::try_from(run.session).ok().and_then(|index| self.dirs.get(index));
        if let (ChunkHash::Data(_), Some(dir)) = (&run.hash, dirs.and_then(|dirs| dirs.first())) {
            self.vault.announce(&layout::chunk(dir, ChunkAddr(run.addr)));
        }
    }

    /// Fetches and checks the data chunk of `run` into `work.data`: decrypted, hash compared, decompressed, its length
    /// what the volume has there. Several threads may do this at once.
    ///
    /// # Errors
    /// [`Damage`], naming the file.
    pub fn fetch(&self, run: &Run, work: &mut ChunkWork) -> Result<(), Damage> {
        let ChunkHash::Data(digest) = &run.hash else {
            work.data.clear();
            return Ok(());
        };
        let length = self.vault.chunk.len_at(ChunkAddr(run.addr), self.size());
        let dirs = usize::try_from(run.session).ok().and_then(|index| self.dirs.get(index));
        self.vault.chunk(
            dirs.map_or(&[], Vec::as_slice),
            ChunkAddr(run.addr),
            digest,
            length,
            work,
        )
    }
}

/// Opens the sessions of one volume, also when the archive itself is not at hand.
pub struct Viewer {
    vault: Vault,
    history: History,
}

impl Archive {
    /// What opens the sessions of `history` later.
    #[must_use]
    pub fn viewer(&self, history: History) -> Viewer {
        Viewer {
            vault: self.vault.clone(),
            history,
        }
    }
}

impl Viewer {
    /// The sessions.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// As [`Archive::view`], from the destination, without notices of what does no harm.
    ///
    /// # Errors
    /// As [`Archive::view`].
    pub fn view(&self, session: &SessionName) -> Result<View, Damage> {
        View::load(&self.vault, &self.history, session, Trust::Destination, &mut drop)
    }
}

/// A part of the chain, newest first: one manifest, or several merged.
pub(crate) enum Layer {
    Stream(std::sync::Mutex<Option<RunStream<'static>>>),
    Merged(RunList),
    Empty,
}

impl Layer {
    pub(crate) fn stream(&self) -> RunStream<'_> {
        match self {
            Self::Stream(stream) => {
                let taken = stream.lock().ok().and_then(|mut stream| stream.take());
                taken.unwrap_or_else(|| Box::new(std::iter::empty()))
            }
            Self::Merged(list) => Box::new(list.iter()),
            Self::Empty => Box::new(std::iter::empty()),
        }
    }
}

/// Opens the manifests of a chain; where there are many, groups are merged into scratch lists first.
pub(crate) fn merge_layers(
    vault: &Vault,
    history: &History,
    chain: &[&Session],
    trust: Trust,
) -> Result<Vec<Layer>, Damage> {
    let io = |e: std::io::Error| Damage::new("scratch file", DamageReason::Io(e.to_string()));
    let scratch = || vault.scratch();
    let mut layers = Vec::new();
    for (group, sessions) in chain.chunks(FAN_IN).enumerate() {
        let opened = sessions.iter().enumerate().map(|(i, session)| {
            let index = group.saturating_mul(FAN_IN).saturating_add(i);
            open_manifest(vault, history, session, index, trust).map_err(|damage| match chain.first() {
                Some(wanted) if index > 0 => Damage::new(
                    layout::session(&history.vid, &wanted.name),
                    DamageReason::DependsOn(Box::new(damage)),
                ),
                _ => damage,
            })
        });
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        if chain.len() <= FAN_IN {
            return Ok(opened);
        }
        let mut list = RunList::new();
        for run in Merge::new(opened.iter().map(Layer::stream).collect(), vault.chunk) {
            list.push(run?, vault.chunk, &scratch).map_err(io)?;
        }
        layers.push(Layer::Merged(list));
    }
    while layers.len() > FAN_IN {
        let mut fewer = Vec::new();
        for group in layers.chunks(FAN_IN) {
            let mut list = RunList::new();
            for run in Merge::new(group.iter().map(Layer::stream).collect(), vault.chunk) {
                list.push(run?, vault.chunk, &scratch).map_err(io)?;
            }
            fewer.push(Layer::Merged(list));
        }
        layers = fewer;
    }
    Ok(layers)
}

pub(crate) fn open_manifest(
    vault: &Vault,
    history: &History,
    session: &Session,
    index: usize,
    trust: Trust,
) -> Result<Layer, Damage> {
    let Some(digest) = &session.info.manifest else {
        return Ok(Layer::Empty);
    };
    let places = history.places.object(&history.vid, &session.name, "manifest.z");
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let own = CacheFile::Manifest(&history.vid, &session.name);
    let stream = vault.manifest(own, &places, digest, session.info.volsize, index, trust)?;
    Ok(Layer::Stream(std::sync::Mutex::new(Some(stream))))
}

pub(crate) fn check_mfcs(
    object: &str,
    chain: &[&Session],
    computed: u32,
    notice: &mut dyn FnMut(Notice),
) -> Result<(), Damage> {
    let Some(session) = chain.first() else { return Ok(()) };
    let Some(recorded) = session.info.mfcs else {
        return Ok(());
    };
    if recorded == computed {
        return Ok(());
    }
    // The original copies the checksum of the session before also when a volume only shrank, and from there to the sessions
    // that follow (archive-format.md §7.4). What is copied need no longer be that of the session before: a prune puts it right.
    let copied = chain
        .get(1)
        .is_some_and(|previous| session.info.manifest.is_none() && session.info.volsize <= previous.info.volsize);
    if copied {
        notice(Notice::HarmlessChecksum {
            session: object.to_owned(),
        });
        return Ok(());
    }
    Err(Damage::new(
        object,
        DamageReason::ManifestChecksum { computed, recorded },
    ))
}
