"""Folders and files that are ours: made by us, told from anybody else's, and never reached through a link.

A folder is opened once; its files are then opened in it by their names, so that nothing which is put in the folder's
place later is written to, and a symbolic or hard link inside it never leads to a file elsewhere. What is not ours stops
the command with a sentence; it is neither changed nor removed.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO, Self, cast

from memflow_cli.errors import UsageError
from memflow_cli.film.durable import sync_folder

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


def open_regular(path: Path) -> IO[bytes]:
    """A file to be read, without waiting for anything. Raises OSError for what is not a regular file: a pipe, a device."""
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(0, "not a regular file", str(path))
    return file


def read_regular(path: Path, max_bytes: int) -> bytes:
    """A whole file. Raises OSError for what is not a regular file, as a pipe or a device, and for one that is too large.

    Nothing endless is ever read, and nothing is waited for.
    """
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(0, f"larger than {max_bytes >> 20} MiB", str(path))
    return content


def sha256_of(path: Path) -> str | None:
    """A regular file's checksum; None if it cannot be read, or is not one."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
    except OSError:
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
            self._identity = identity(os.fstat(self._descriptor) if self._descriptor is not None else about)
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
            return identity(os.lstat(self.path)) == self._identity
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


def _not_a_file(about: os.stat_result, flags: int) -> str | None:
    """What keeps a file from being opened as one of ours, or None."""
    if stat.S_ISLNK(about.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(about.st_mode):
        return "is not a regular file"
    if about.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        return "has another name elsewhere (a hard link)"
    return None


def identity(about: os.stat_result) -> tuple[int, int]:
    """What tells a file or folder from every other, whatever they are called."""
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
