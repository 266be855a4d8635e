"""Folders and files that are ours: made by us, told from anybody else's, and never reached through a link.

A folder is opened once; its files are then opened in it by their names, so that nothing which is put in the folder's
place later is written to, and a symbolic or hard link inside it never leads to a file elsewhere. What is not ours stops
the command with a sentence; it is neither changed nor removed.
"""

import contextlib
import hashlib
import os
import re
import socket
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO, Self, cast

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.durable import sync_folder

LOCK = "lock"
_MARK = re.compile(rb"(memflow run folder: )?process \d+ on ")  # what a lock begins with; 0.1.0's had no first words
_MAX_MARK_BYTES = 400
_ATTEMPTS = 50  # to lock a folder that others remove under our hands

# Of every open: no link at the end of the path, no waiting for the other end of a pipe.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_HAS_DIR_FD = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")


class NotOursError(UsageError):
    """Something in the way that memflow did not make."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} {what}: it is not memflow's, and is left as it is",
            "Move it away, or give the film another name with -o.",
        )


def not_a_link(path: Path) -> Path:
    """The path, which is to be written. Raises NotOursError if it is a symbolic link: what it leads to is not ours."""
    if path.is_symlink():
        raise NotOursError(path, "is a symbolic link")
    return path


def read_regular(path: Path, max_bytes: int) -> bytes:
    """A whole file. Raises OSError for what is not a regular file, as a pipe or a device, and for one that is too large.

    Nothing endless is ever read, and nothing is waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(0, "not a regular file", str(path))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(0, f"larger than {max_bytes >> 20} MiB", str(path))
    return content


def sha256_of(path: Path) -> str | None:
    """A regular file's checksum; None if it cannot be read, or is not one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        pass
    return None


class OurFolder:
    """An open folder of ours. Raises FileNotFoundError if there is none, NotOursError if it is somebody else's."""

    def __init__(self, path: Path, is_ours: Callable[["OurFolder", set[str]], bool]) -> None:
        """`is_ours`: whether the folder, by the names in it, is one that we made."""
        self.path = path
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            raise NotOursError(path, "is a symbolic link")
        if not stat.S_ISDIR(about.st_mode):
            raise NotOursError(path, "is not a folder")
        self._descriptor: int | None = None
        if _HAS_DIR_FD:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFELY)
        try:
            self._identity = _identity(os.fstat(self._descriptor) if self._descriptor is not None else about)
            if not _owned(path):
                raise NotOursError(path, "belongs to another user")
            if not is_ours(self, set(self.names())):
                raise NotOursError(path, "is a folder with other files in it")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        return os.listdir(self.path if self._descriptor is None else self._descriptor)

    def is_at_its_path(self) -> bool:
        """Whether the folder that is open is still the one under its name."""
        with contextlib.suppress(OSError):
            return _identity(os.lstat(self.path)) == self._identity
        return False

    def open(self, name: str, mode: str) -> IO[bytes]:
        """A regular file in the folder; `mode` as `open` has it, binary. A new file never takes the place of a link."""
        assert "b" in mode and "w" not in mode, "a file is written anew by write_through"
        return open(self._at(name), mode, opener=self._opener)

    def read(self, name: str, max_bytes: int) -> bytes:
        """A whole file, up to so many bytes. Raises FileNotFoundError."""
        with self.open(name, "rb") as file:
            return file.read(max_bytes)

    def sha256(self, name: str) -> str:
        with self.open(name, "rb") as file:
            return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()

    def has(self, name: str) -> bool:
        return name in self.names()

    def create(self, name: str) -> IO[bytes]:
        """A new file; what lay under its name is removed."""
        self.remove(name)
        return self.open(name, "xb")

    def write_through(self, name: str, content: bytes) -> None:
        """Writes a whole file so that it is there with this content, or as it was before, also after a power cut."""
        with self.create(name + ".unfinished") as file:
            file.write(content)
        self.rename_through(name + ".unfinished", name)

    def rename_through(self, source: str, target: str) -> None:
        """Gives a finished file its name: its content is on the disk first, then the name."""
        with self.open(source, "rb") as file:
            os.fsync(file.fileno())
        if self._descriptor is None:
            os.replace(self.path / source, self.path / target)
        else:
            os.replace(source, target, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self.sync()

    def move_out(self, name: str, target: Path) -> None:
        """Takes a finished file to another place on the same drive, in place of whatever lies there under that name."""
        with self.open(name, "rb") as file:
            os.fsync(file.fileno())
        os.replace(self._at(name), target, src_dir_fd=self._descriptor)
        sync_folder(target.parent)

    def remove(self, name: str) -> None:
        """Removes a file or a link (never what it leads to); a name that is not there is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(name), dir_fd=self._descriptor)

    def sync(self) -> None:
        """Writes the names through to the disk, where the drive can."""
        sync_folder(self.path)

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else str(self.path / name)

    def _opener(self, name: str, flags: int) -> int:
        path = self.path / Path(name).name
        try:
            descriptor = os.open(name, flags | _SAFELY, 0o666, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            with contextlib.suppress(OSError):
                if what := _not_a_file(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False), flags):
                    raise NotOursError(path, what) from error
            raise
        if what := _not_a_file(os.fstat(descriptor), flags):
            os.close(descriptor)
            raise NotOursError(path, what)
        return descriptor


class LockedFolder(OurFolder):
    """A folder that this process alone works in, from before it looks into it until it is closed or removed.

    The lock is a file in the folder, so that nothing is left beside a finished film. It goes last when the folder is
    removed, and whoever has waited for it looks whether what he holds is still the lock of the folder that is there.
    """

    _lock: IO[bytes] | None = None

    @classmethod
    def take(cls, path: Path, is_ours: Callable[[OurFolder, set[str]], bool], make: bool = True) -> "LockedFolder":
        """Opens the folder, or makes it, and locks it. Raises UsageError if another process holds it.

        Without `make`, FileNotFoundError if there is none.
        """
        for _ in range(_ATTEMPTS):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
            try:
                folder = cls(path, is_ours)
            except FileNotFoundError:
                if not make:
                    raise
                continue  # whoever finished with it has just removed it
            try:
                if folder._lock_it():
                    return folder
            except BaseException:
                folder.remove_all(lambda name: False)  # nothing but what was made just now
                raise
            folder.close()
        raise UsageError(f"{path} is being made and removed by other processes", "Run one command for one film.")

    def close(self) -> None:
        super().close()
        if self._lock is not None:
            self._lock.close()  # only now: while files are open, nobody else is to begin
            self._lock = None

    def remove_all(self, is_known: Callable[[str], bool], first: str = LOCK) -> None:
        """Removes the folder's files and the folder, and lets go of it. A file that is not known stays, with its folder.

        `first`: the file that makes the folder what it is: without it, nobody goes on from the others.
        """
        with contextlib.suppress(OSError):
            if self._lock is not None:
                for name in sorted(self.names(), key=lambda name: name != first):
                    if name != LOCK and is_known(name):
                        with contextlib.suppress(OSError):
                            self.remove(name)
                if set(self.names()) <= {LOCK}:
                    self.remove(LOCK)
                    os.rmdir(self.path)  # fails, as it should, if somebody has begun anew in it
        self.close()

    def _lock_it(self) -> bool:
        """Whether the lock was taken, and is the one of the folder that is there."""
        try:
            lock = self.open(LOCK, "r+b") if self.has(LOCK) else self.open(LOCK, "x+b")
        except (FileNotFoundError, FileExistsError):
            return False
        try:
            holder = _try_to_lock(lock)
            here = os.stat(self._at(LOCK), dir_fd=self._descriptor, follow_symlinks=False)
            is_current = _identity(os.fstat(lock.fileno())) == _identity(here) and self.is_at_its_path()
        except FileNotFoundError:
            is_current = False
        except BaseException:
            lock.close()
            raise
        if is_current and holder is None:
            self._lock = lock
            _sign(lock, self.path)
            return True
        lock.close()
        if is_current:
            raise _in_use(self.path, str(holder))
        return False


def check_free(folder: OurFolder) -> None:
    """Raises UsageError if another process holds the folder. Changes nothing."""
    try:
        with folder.open(LOCK, "rb") as lock:
            holder = _try_to_lock(lock, shared=True)
    except FileNotFoundError:
        return
    if holder is not None:
        raise _in_use(folder.path, holder)


def is_marked(folder: OurFolder, names: set[str]) -> bool:
    """Whether a folder carries our lock, or nothing at all: a kill may have come between its making and its lock's."""
    if not names:
        return True
    try:
        mark = folder.read(LOCK, _MAX_MARK_BYTES)
    except FileNotFoundError:
        return False
    return bool(_MARK.match(mark)) or (not mark and names == {LOCK})


def _in_use(path: Path, holder: str) -> UsageError:
    return UsageError(
        f"{path.with_suffix('').name} is being rendered by another process ({holder})",
        "Wait for it, stop it, or give another name with -o.",
    )


def _try_to_lock(lock: IO[bytes], shared: bool = False) -> str | None:
    """Locks the file. None, or who holds it. The system lets go of a lock when its process ends, however it ends."""
    try:
        import fcntl

        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except ImportError:
        pass  # Windows: no lock, but the name of the last process is still written
    except BlockingIOError:
        text = lock.read(_MAX_MARK_BYTES).decode("utf-8", "replace").rpartition(": ")[2]
        return "".join(character for character in text if character.isprintable()) or "unknown"
    except OSError:
        pass  # a network's file system that knows no locks
    return None


def _sign(lock: IO[bytes], folder: Path) -> None:
    """Writes who holds the lock, over what stands there, so that a full disk leaves a mark in any case."""
    before = 0
    try:
        host = re.sub(r"[^\w.-]", "", socket.gethostname())[:200]
        text = f"memflow run folder: process {os.getpid()} on {host}".encode()
        before = len(lock.read(_MAX_MARK_BYTES))
        lock.seek(0)
        lock.write(text)
        lock.flush()
        lock.truncate(len(text))
    except OSError as error:
        if not before:
            raise MemflowError(f"cannot write {folder}: {error.strerror}") from error


def _not_a_file(about: os.stat_result, flags: int) -> str | None:
    """What keeps a file from being opened as one of ours, or None."""
    if stat.S_ISLNK(about.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(about.st_mode):
        return "is not a regular file"
    if about.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        return "has another name elsewhere (a hard link)"
    return None


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _owned(path: Path) -> bool:
    """Whether the folder belongs to whoever runs this; on a drive that gives all files one owner, to that one."""
    if not hasattr(os, "geteuid"):
        return True
    owner = os.lstat(path).st_uid
    return owner == os.geteuid() or owner == _owner_of_new_files(path.parent)


def _owner_of_new_files(folder: Path) -> int | None:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_uid
    except OSError:
        return None
