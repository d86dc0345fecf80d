//! Reads files that other programs wrote: only regular files, and only up to a limit.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Maximum size of a file in bytes. Some files below `/proc` have no end.
const MOST: u64 = 1 << 30;

/// Reads a regular file. A pipe would block, a device may have no end; these and sockets are errors
/// of the kind [`io::ErrorKind::InvalidInput`].
///
/// # Errors
/// If it is not a regular file, is longer than 1 GiB, or cannot be read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Checked before the open, which would affect a pipe or a device, and again after it, because
    // the entry may have been replaced.
    is_file(fs::metadata(path)?.file_type())?;
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    read_open(
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?,
    )
}

/// Reads an open file.
///
/// # Errors
/// As for [`read_file`].
pub(super) fn read_open(file: File) -> io::Result<Vec<u8>> {
    is_file(file.metadata()?.file_type())?;
    let mut bytes = Vec::new();
    match file.take(MOST + 1).read_to_end(&mut bytes)? as u64 {
        length if length > MOST => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it has more than 1 GiB",
        )),
        _ => Ok(bytes),
    }
}

fn is_file(found: FileType) -> io::Result<()> {
    let what = match found {
        _ if found.is_file() => return Ok(()),
        _ if found.is_dir() => "a directory",
        _ if found.is_fifo() => "a named pipe",
        _ if found.is_socket() => "a socket",
        _ => "a device",
    };

    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what}, and no file"),
    ))
}
