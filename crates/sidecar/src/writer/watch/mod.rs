//! Tells the writer to look again when a watched file may have changed.
//!
//! Directories are watched, not files: editors and orchestrators replace files by renaming, and a watch on the old file
//! goes deaf. So does a watch on a directory that is replaced, or that a link no longer leads to. Therefore every
//! directory on the way to a file (see `way`) is watched, and the ways are followed anew after every change of an entry on
//! them. What changed in a file is decided by its content. A slow poll covers lost events.

mod way;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, DataChange, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use self::way::Ways;
use crate::writer::Mailbox;

/// How often the ways are followed until they hold still; what changes later is told by an event.
const MAX_ROUNDS: usize = 8;

/// Watches the directories on the ways to some files for as long as it lives.
#[derive(Debug)]
pub struct Watch {
    bell: Bell,
}

/// Asks a watch to follow the ways anew; many such calls become one.
#[derive(Debug, Clone)]
pub struct Bell {
    calls: Sender<Call>,
    is_rung: Arc<AtomicBool>,
}

/// What the watching thread is told.
#[derive(Debug)]
enum Call {
    /// Follow the ways anew.
    Follow,
    /// End.
    Stop,
}

/// What an event says about the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing: a reader, or an entry beside the way.
    Nothing,
    /// What is in a file may have changed.
    Content,
    /// An entry on a way may have changed, and with it where the way leads.
    Way,
}

/// The watching thread's own.
struct Follower {
    files: Vec<PathBuf>,
    watcher: RecommendedWatcher,
    /// What is watched, for the thread that is told of events.
    ways: Arc<ArcSwap<Ways>>,
    /// Directories that cannot be watched, each complained about once.
    unwatched: BTreeSet<PathBuf>,
}

impl Watch {
    /// Starts to watch. A directory that cannot be watched is left to the poll, with a warning.
    pub fn start(files: &[PathBuf], mailbox: Mailbox) -> Self {
        let (calls, called) = channel();
        let bell = Bell {
            calls,
            is_rung: Arc::default(),
        };
        let watch = Self { bell: bell.clone() };
        if files.is_empty() {
            return watch;
        }
        if let Err(error) = Follower::start(files, (bell, called), mailbox) {
            tracing::warn!(%error, "files are not watched, only polled");
        }
        watch
    }

    /// What asks it to follow the ways anew.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Without a thread there is nobody to stop. It is not waited for: a file system may hold it.
        drop(self.bell.calls.send(Call::Stop));
    }
}

impl Bell {
    /// Asks the watch to follow the ways anew, and then the writer to look again.
    pub fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            drop(self.calls.send(Call::Follow));
        }
    }
}

impl Follower {
    /// Watches what is there now, and goes on in a thread of its own.
    fn start(
        files: &[PathBuf],
        (bell, called): (Bell, Receiver<Call>),
        mailbox: Mailbox,
    ) -> Result<(), StartError> {
        let ways = Arc::new(ArcSwap::from_pointee(Ways::default()));
        let is_rung = Arc::clone(&bell.is_rung);
        let (seen, writer) = (Arc::clone(&ways), mailbox.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else {
                bell.ring();
                return;
            };
            let told = told(&event, &seen.load());
            for path in event.paths.iter().filter(|_| told != Told::Nothing) {
                if event.kind == WRITTEN {
                    writer.written(path);
                } else {
                    writer.closed(path);
                }
            }
            match told {
                Told::Nothing => {}
                Told::Content => writer.look_again(),
                Told::Way => bell.ring(),
            }
        })?;
        let mut follower = Self {
            files: files.to_vec(),
            watcher,
            ways,
            unwatched: BTreeSet::new(),
        };
        follower.follow();
        let thread = thread::Builder::new().name("tradewind-watch".to_owned());
        thread.spawn(move || {
            while let Ok(Call::Follow) = called.recv() {
                // Before following: a ring from now on means another round.
                is_rung.store(false, Ordering::Release);
                follower.follow();
                mailbox.look_again();
            }
        })?;
        Ok(())
    }

    /// Watches the directories that are on the ways now, until the ways hold still while that is done.
    fn follow(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let now = Arc::new(Ways::of(&self.files));
            // Known before they are watched, so that no event is taken for one beside the way.
            let before = self.ways.swap(Arc::clone(&now));
            self.rearm(&before, &now);
            if Ways::of(&self.files) == *now {
                return;
            }
        }
    }

    fn rearm(&mut self, before: &Ways, now: &Ways) {
        for (dir, stop) in before.iter() {
            if !now.get(dir).is_some_and(|after| after.is_same(stop)) {
                // Most often the directory is gone and its watch with it.
                drop(self.watcher.unwatch(dir));
            }
        }
        self.unwatched.retain(|dir| now.get(dir).is_some());
        for (dir, stop) in now.iter() {
            // Those watched already too: one that was deleted and made again can have the same number, but no watch.
            match self.watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.unwatched.remove(dir);
                }
                Err(error) if self.unwatched.insert(dir.to_owned()) => {
                    complain(dir, stop.is_end(), &error);
                }
                Err(_) => {}
            }
        }
    }
}

/// Directories far above a file are seldom replaced, and often closed to others.
fn complain(dir: &Path, is_end: bool, error: &notify::Error) {
    let dir = dir.display();
    if is_end {
        tracing::warn!(%dir, %error, "a directory is not watched, only polled");
    } else {
        tracing::info!(%dir, %error, "a directory above watched files is not watched, only polled");
    }
}

/// Why watching could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Watcher(#[from] notify::Error),
    #[error(transparent)]
    Thread(#[from] io::Error),
}

/// Somebody writes to a file, and has not closed it.
const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

/// What an event says, when these ways are watched.
fn told(event: &Event, ways: &Ways) -> Told {
    // Our own reading is told of too; taken for a change, it would make us read again without end.
    let closed_after_writing = EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && event.kind != closed_after_writing {
        return Told::Nothing;
    }
    // An event without a path says that others were lost.
    if !event.paths.is_empty() && !event.paths.iter().any(|path| ways.concern(path)) {
        return Told::Nothing;
    }
    match event.kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => Told::Content,
        _ => Told::Way,
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, RenameMode};

    use super::*;

    #[test]
    fn readers_and_neighbours_tell_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("conf")).unwrap();
        let ways = Ways::of(&[root.join("conf/policy.yaml")]);
        let told =
            |kind: EventKind, path: &str| told(&Event::new(kind).add_path(root.join(path)), &ways);
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let made = EventKind::Create(CreateKind::Any);
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::Any));
        assert_eq!(told(open, "conf/policy.yaml"), Told::Nothing);
        assert_eq!(told(closed, "conf/policy.yaml"), Told::Content);
        assert_eq!(told(written, "conf/policy.yaml"), Told::Content);
        assert_eq!(told(renamed, "conf/policy.yaml"), Told::Way);
        assert_eq!(told(renamed, "conf"), Told::Way);
        assert_eq!(told(made, "beside"), Told::Nothing);
        let lost = Event::new(EventKind::Other);
        assert_eq!(super::told(&lost, &ways), Told::Way);
    }
}
