//! Real processes and files.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::runner::{Answer, Call, Failure, Folder, Keep, Lock, Request, Runner, files, lock, netlink, process};

/// Runs processes, each in a process group of its own, and keeps files in two directories.
#[derive(Debug)]
pub struct Processes {
    settings: Settings,
    lock: Weak<File>,
}

/// Where files are kept, and how long a process may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For what is kept as long as the kernel runs.
    pub run_directory: PathBuf,
    /// For what is kept beyond a boot.
    pub state_directory: PathBuf,
    /// The most that one process may take.
    pub limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { run_directory: "/run/palisade".into(), state_directory: "/var/lib/palisade".into(), limit: Duration::from_mins(1) }
    }
}

impl Processes {
    /// Runs processes with these settings. No directory is made before something is kept in it.
    pub fn new(settings: Settings) -> Self {
        Self { settings, lock: Weak::new() }
    }

    /// Where a file or folder is, in a directory that may be ours.
    fn checked(&self, keep: Keep, name: &str) -> Result<PathBuf, Failure> {
        let directory = match keep {
            Keep::UntilBoot => &self.settings.run_directory,
            Keep::Always => &self.settings.state_directory,
            Keep::Kernel => return Ok(self.place(keep, name)),
        };
        files::check_directory(directory).map(|()| self.place(keep, name))
    }

    /// The lock that is held; an error where it was removed, since somebody else may have a new one by now.
    fn held(&self) -> Result<Option<Arc<File>>, Failure> {
        let (held, path) = (self.lock.upgrade(), self.place(Keep::UntilBoot, lock::NAME));
        match held.as_ref().is_none_or(|file| lock::stands_at(file, &path).unwrap_or(false)) {
            true => Ok(held),
            false => {
                Err(Failure::Other(format!("`{}` was removed meanwhile, and somebody else may be changing this node", path.display())))
            }
        }
    }
}

impl Runner for Processes {
    fn run(&mut self, call: &Call) -> Result<Answer, Failure> {
        process::run(call, self.settings.limit, self.held()?.as_deref())
    }

    fn run_all(&mut self, calls: &[Call]) -> Vec<Result<Answer, Failure>> {
        match self.held() {
            Ok(held) => process::run_all(calls, self.settings.limit, held.as_deref()),
            Err(failure) => calls.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    fn ask(&mut self, requests: &[Request]) -> Result<Vec<io::Result<()>>, Failure> {
        netlink::ask(requests).map_err(|error| Failure::Other(format!("netfilter cannot be asked: {error}")))
    }

    fn start(&mut self, call: &Call) -> Result<(), Failure> {
        process::start(call, self.settings.limit)
    }

    fn lock(&mut self, wait: Duration) -> Result<Option<Lock>, Failure> {
        let file = lock::take(&self.checked(Keep::UntilBoot, lock::NAME)?, wait)?.map(Arc::new);
        self.lock = file.as_ref().map(Arc::downgrade).unwrap_or_default();
        Ok(file.map(Lock::of))
    }

    fn lock_to_look(&mut self, wait: Duration) -> Result<Option<Lock>, Failure> {
        lock::share(&self.checked(Keep::UntilBoot, lock::NAME)?, wait)
    }

    fn read(&mut self, file: Keep, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        files::read(&self.checked(file, name)?)
    }

    fn write(&mut self, file: Keep, name: &str, content: Option<&[u8]>) -> Result<(), Failure> {
        let path = self.checked(file, name)?;
        match content {
            Some(content) => files::write(&path, content),
            None => files::remove(&path),
        }
    }

    fn write_folder(&mut self, folder: Keep, name: &str, files: Option<&Folder>) -> Result<(), Failure> {
        let path = self.checked(folder, name)?;
        match files {
            Some(files) => files::write_folder(&path, files),
            None => files::remove_folder(&path),
        }
    }

    fn place(&self, keep: Keep, name: &str) -> PathBuf {
        match keep {
            Keep::UntilBoot => self.settings.run_directory.join(name),
            Keep::Always => self.settings.state_directory.join(name),
            Keep::Kernel => PathBuf::from("/proc").join(name),
        }
    }
}
