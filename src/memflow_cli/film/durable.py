"""Files that outlive a kill and a power cut: content first, then the name. No torch."""

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from memflow_cli.errors import MemflowError

# What a drive answers that cannot write a folder through: CIFS before Linux 4.17, vboxsf, some FUSE and network drives.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EISDIR})
_CANNOT_OPEN = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR, errno.EINVAL})


def rename_through(source: Path, target: Path) -> None:
    """Renames a finished file into place so that it survives a power cut. Raises MemflowError."""
    try:
        with source.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(source, target)
        sync_folder(target.parent)
    except OSError as error:
        raise MemflowError(f"cannot write {target}: {error.strerror}") from error


def write_through(path: Path, content: bytes) -> None:
    """Writes a whole file so that it is there with this content, or as it was before, and nothing else. Raises MemflowError."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)  # a link there would lead elsewhere
        unfinished.write_bytes(content)
        rename_through(unfinished, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise MemflowError(f"cannot write {path}: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Writes the names in a folder through to the disk, where the drive can: a rename that was done stays done without."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError as error:
            if error.errno in _CANNOT_OPEN:
                return
            raise
        stack.callback(os.close, descriptor)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
