"""A folder that one process at a time works in: its lock, and the mark in it by which the folder is known as ours."""

import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.ours import OurFolder, identity

LOCK = "lock"
_MARK = re.compile(rb"(memflow run folder: )?process \d+ on ")  # what a lock begins with; 0.1.0's had no first words
_MAX_MARK_BYTES = 400
_ATTEMPTS = 50  # to lock a folder that others remove under our hands


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
            is_current = identity(os.fstat(lock.fileno())) == identity(here) and self.is_at_its_path()
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
