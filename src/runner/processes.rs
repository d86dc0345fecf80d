//! The runner for real processes and files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::runner::{
    EntryType, FileTree, NetfilterRequest, NodeLock, ProcessOutput, Retention, Runner,
    RunnerFailure, ToolCall, files, lock, netlink, own, process,
};

/// Runs each process in its own process group, and keeps files in two directories.
#[derive(Debug)]
pub struct ProcessRunner {
    settings: ProcessSettings,
    lock: Weak<File>,
}

/// Where files are kept, and how long a process may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Directory for files that are kept until reboot.
    pub run_directory: PathBuf,
    /// Directory for files that are kept beyond a reboot.
    pub state_directory: PathBuf,
    /// Time limit of one process.
    pub limit: Duration,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            run_directory: own::RUN_DIRECTORY.into(),
            state_directory: own::STATE_DIRECTORY.into(),
            limit: Duration::from_mins(1),
        }
    }
}

impl ProcessRunner {
    /// Creates a runner with these settings. Directories are created when the first file is kept.
    pub fn new(settings: ProcessSettings) -> Self {
        Self {
            settings,
            lock: Weak::new(),
        }
    }

    /// Returns the directory for files of this retention.
    fn directory(&self, keep: Retention) -> Result<&Path, RunnerFailure> {
        let directory = match keep {
            Retention::UntilBoot => &self.settings.run_directory,
            Retention::Always => &self.settings.state_directory,
            Retention::Kernel => {
                return Err(RunnerFailure::Other(
                    "nothing is kept below `/proc`".to_owned(),
                ));
            }
        };
        own::check_way(directory).map(|()| directory.as_path())
    }

    /// Returns the path at which to write a directory of Palisade's, and creates its parent.
    ///
    /// # Errors
    /// If something that Palisade did not write is there, or the parent is not Palisade's.
    pub fn place_for_folder(&self, keep: Retention, name: &str) -> Result<PathBuf, RunnerFailure> {
        let directory = self.directory(keep)?;
        let path = directory.join(name);
        own::check_entry(&path, EntryType::Folder)?;
        own::prepare(directory).map(|()| path)
    }

    /// Returns the lock that this process holds, if any. Fails if its file was removed, because
    /// another process may have locked a new file since.
    fn held(&self) -> Result<Option<Arc<File>>, RunnerFailure> {
        let (held, path) = (
            self.lock.upgrade(),
            self.place(Retention::UntilBoot, lock::LOCK_FILE),
        );

        match held
            .as_ref()
            .is_none_or(|file| lock::stands_at(file, &path).unwrap_or(false))
        {
            true => Ok(held),
            false => Err(RunnerFailure::Other(format!(
                "`{}` was removed meanwhile, and somebody else may be changing this node",
                path.display()
            ))),
        }
    }
}

impl Runner for ProcessRunner {
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        process::run(call, self.settings.limit, self.held()?.as_deref())
    }

    fn run_all(&mut self, calls: &[ToolCall]) -> Vec<Result<ProcessOutput, RunnerFailure>> {
        match self.held() {
            Ok(held) => process::run_all(calls, self.settings.limit, held.as_deref()),
            Err(failure) => calls.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    fn ask(&mut self, requests: &[NetfilterRequest]) -> Result<Vec<io::Result<()>>, RunnerFailure> {
        netlink::ask(requests)
            .map_err(|error| RunnerFailure::Other(format!("netfilter cannot be asked: {error}")))
    }

    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure> {
        process::start(call, self.settings.limit)
    }

    fn lock(&mut self, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        let file = lock::acquire(self.directory(Retention::UntilBoot)?, wait)?.map(Arc::new);
        // Weak, because the lock ends with the caller's `NodeLock`, not with this runner.
        self.lock = file.as_ref().map(Arc::downgrade).unwrap_or_default();
        Ok(file.map(NodeLock::new))
    }

    fn lock_to_look(&mut self, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        lock::share(self.directory(Retention::UntilBoot)?, wait)
    }

    fn read(&mut self, file: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
        match file {
            Retention::Kernel => files::read_of_kernel(&self.place(file, name)),
            Retention::UntilBoot | Retention::Always => files::read(self.directory(file)?, name),
        }
    }

    fn write(
        &mut self,
        file: Retention,
        name: &str,
        content: Option<&[u8]>,
    ) -> Result<(), RunnerFailure> {
        let directory = self.directory(file)?;
        match content {
            Some(content) => files::write(directory, name, content),
            None => files::remove(directory, name),
        }
    }

    fn write_folder(
        &mut self,
        folder: Retention,
        name: &str,
        files: Option<&FileTree>,
    ) -> Result<(), RunnerFailure> {
        let directory = self.directory(folder)?;
        match files {
            Some(files) => files::write_folder(directory, name, files),
            None => files::remove_folder(directory, name),
        }
    }

    fn check(&mut self, keep: Retention, name: &str, sort: EntryType) -> Result<(), RunnerFailure> {
        let directory = self.directory(keep)?;
        own::check_entry(&directory.join(name), sort)?;
        own::check(directory)
    }

    fn try_to_keep(&mut self, keep: Retention) -> Result<(), RunnerFailure> {
        own::try_to_keep(self.directory(keep)?)
    }

    fn place(&self, keep: Retention, name: &str) -> PathBuf {
        match keep {
            Retention::UntilBoot => self.settings.run_directory.join(name),
            Retention::Always => self.settings.state_directory.join(name),
            Retention::Kernel => PathBuf::from("/proc").join(name),
        }
    }
}
