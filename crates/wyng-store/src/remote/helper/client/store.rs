//! Each call as its request.

use super::writer::Writer;
use super::{HelperStore, send};
use crate::remote::helper::MOST_DATA;
use crate::remote::helper::answer::Answer;
use crate::remote::helper::request::Request;
use crate::{Capabilities, Change, Durability, Entry, Meta, Rename, Result, Store, StoreError, StorePath, StoreWriter};
use std::ops::RangeInclusive;
use wyng_sys::fs::Space;

/// Bytes of a change beside its data, about.
const OVERHEAD: usize = 128;

impl Store for HelperStore {
    fn url(&self) -> &str {
        &self.0.url
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    fn read(&self, path: &StorePath, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut buffer = Vec::new();
        Ok(self.read_into(path, limit, &mut buffer)?.then_some(buffer))
    }

    fn read_into(&self, path: &StorePath, limit: u64, buffer: &mut Vec<u8>) -> Result<bool> {
        let found = self.0.read_into(path, limit, buffer);
        if !matches!(found, Ok(true)) {
            buffer.clear();
        }
        found
    }

    fn read_range(&self, path: &StorePath, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        self.0.fetch(path, offset, length.max(1) as u64, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn create(&self, path: &StorePath, data: &[u8]) -> Result<()> {
        if data.len() > MOST_DATA {
            let mut writer = self.create_writer(path)?;
            writer.write(data)?;
            return writer.finish();
        }
        let request = Request::Create {
            path: path.clone(),
            data,
        };
        self.0.change(&request, &[path], |answer| answer.into_done())
    }

    fn create_writer(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        Ok(Box::new(Writer::begin(&self.0, path)?))
    }

    fn submit(&self, change: Change<'_>) -> Result<()> {
        let is_release = matches!(change, Change::Release { .. });
        let (request, paths, bytes) = match change {
            Change::Create { path, data } if data.len() > MOST_DATA => return self.create(path, data),
            Change::Create { path, data } | Change::Claim { path, data } => {
                let path_there = path.clone();
                (Request::Create { path: path_there, data }, vec![path], data.len())
            }
            Change::Rename { from, to, how } => {
                let (from_there, to_there) = (from.clone(), to.clone());
                let request = Request::Rename {
                    from: from_there,
                    to: to_there,
                    how,
                };
                (request, vec![from, to], 0)
            }
            Change::Remove { path } => (Request::Remove(path.clone()), vec![path], 0),
            Change::Release { path, aside, data } => {
                let (path_there, aside_there) = (path.clone(), aside.clone());
                let request = Request::Release {
                    path: path_there,
                    aside: aside_there,
                    data,
                };
                (request, vec![path, aside], data.len())
            }
        };
        let bytes = bytes.saturating_add(OVERHEAD);
        let mut changes = self.0.changes();
        changes.make_room(&self.0, bytes);
        // What failed before is told to who asks for more; giving up what was claimed goes on all the same.
        if !is_release {
            changes.check()?;
        }
        changes.add(send(&self.0.link, &request)?, bytes);
        self.0.ahead().forget(&paths);
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.0.changes().settle(&self.0)
    }

    fn prefetch(&self, path: &StorePath, limit: u64) {
        self.0.ahead().announce(&self.0, path, limit);
    }

    fn prefetch_list(&self, path: &StorePath) {
        self.0.ahead().announce_list(&self.0, path);
    }

    fn stat(&self, path: &StorePath) -> Result<Option<Meta>> {
        self.0.ask(&Request::Stat(path.clone()), |answer| match answer {
            Answer::Meta(meta) => Some(Some(meta)),
            Answer::Absent => Some(None),
            _ => None,
        })
    }

    fn rename(&self, from: &StorePath, to: &StorePath, how: Rename) -> Result<()> {
        let request = Request::Rename {
            from: from.clone(),
            to: to.clone(),
            how,
        };
        self.0.change(&request, &[from, to], |answer| answer.into_done())
    }

    fn link(&self, from: &StorePath, to: &StorePath, sizes: &RangeInclusive<u64>) -> Result<()> {
        if !self.0.capabilities.hard_links {
            return Err(StoreError::Unsupported {
                action: "make hard links",
            });
        }
        let request = Request::Link {
            from: from.clone(),
            to: to.clone(),
            smallest: *sizes.start(),
            largest: *sizes.end(),
        };
        self.0.change(&request, &[to], |answer| answer.into_done())
    }

    fn copy(&self, from: &StorePath, to: &StorePath) -> Result<()> {
        let request = Request::Copy {
            from: from.clone(),
            to: to.clone(),
        };
        self.0.change(&request, &[to], |answer| answer.into_done())
    }

    fn remove(&self, path: &StorePath) -> Result<bool> {
        self.0
            .change(&Request::Remove(path.clone()), &[path], |answer| answer.into_removed())
    }

    fn remove_tree(&self, path: &StorePath) -> Result<bool> {
        self.0.change(&Request::RemoveTree(path.clone()), &[path], |answer| {
            answer.into_removed()
        })
    }

    fn list(&self, path: &StorePath) -> Result<Option<Vec<Entry>>> {
        self.0.list(path)
    }

    fn make_dir(&self, path: &StorePath) -> Result<()> {
        self.0
            .change(&Request::MakeDir(path.clone()), &[path], |answer| answer.into_done())
    }

    fn space(&self) -> Result<Option<Space>> {
        self.0.ask(&Request::Space, |answer| match answer {
            Answer::Space(space) => Some(space),
            _ => None,
        })
    }

    fn sync(&self) -> Result<Durability> {
        self.confirmed(&Request::Sync)
    }

    fn sync_dir(&self, path: &StorePath) -> Result<Durability> {
        self.confirmed(&Request::SyncDir(path.clone()))
    }

    fn touch(&self, path: &StorePath) -> Result<i64> {
        self.0
            .change(&Request::Touch(path.clone()), &[path], |answer| match answer {
                Answer::Time(time) => Some(time),
                _ => None,
            })
    }

    fn undo_creation(&self) -> Result<()> {
        self.0.change(&Request::UndoCreation, &[&StorePath::root()], |answer| {
            answer.into_done()
        })
    }

    fn lost(&self) -> Option<StoreError> {
        self.0.link.lost()
    }

    fn round_trips(&self) -> u64 {
        self.0.link.round_trips()
    }
}

impl HelperStore {
    /// Asks for durability; what was submitted before is done by then, and its error counts first.
    fn confirmed(&self, request: &Request<'_>) -> Result<Durability> {
        let confirmed = self.0.ask(request, |answer| match answer {
            Answer::Durability(durability) => Some(durability),
            _ => None,
        });
        self.settle()?;
        confirmed
    }
}
