"""A run folder without a shared disk: a worker makes its film in a folder of its own, and what changes there is brought
back to the driver's run folder, chunk by chunk. No torch, no Ray.

The driver's folder is at any time one that a film can be gone on from: files of a run folder are appended to, or replaced
as a whole; the order in which they arrive does not matter (see run_folder.py). Its lock is the driver's.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from memflow_cli.errors import MemflowError
from memflow_cli.film.events import FilmDone, FilmResult
from memflow_cli.film.locked_folder import LOCK, LockedFolder
from memflow_cli.film.names import record_path, run_path, srt_path, trace_path
from memflow_cli.film.placing import finish_placing
from memflow_cli.film.run_on_disk import (
    FILM,
    PART,
    PARTS,
    PASSING,
    RECORD,
    RUN,
    SUBTITLES,
    TRACE_COPY,
    is_known,
    is_run,
    part_name,
    take_run,
)
from memflow_cli.studio.farm.order import Attempt, Piece, Told
from memflow_cli.studio.job import Job

PIECE_BYTES = 4 << 20
_PREFIX = "memflow-film-"


class Scratch:
    """A folder on this node's own disk, for one attempt. Those that killed workers left behind are removed."""

    def __init__(self, token: str) -> None:
        self.token = token
        _sweep(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: IO[bytes] = (self.folder / LOCK).open("xb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._run = self.folder / "received"
        self._run.mkdir()

    def write(self, piece: Piece) -> None:
        """Bytes of the run folder that the film is gone on from."""
        with open(self._run / Path(piece.name).name, "ab") as file:
            file.truncate(piece.offset)
            file.write(piece.content)

    def moved(self, attempt: Attempt) -> Attempt:
        """The attempt with its film here, beside the run folder that was received."""
        job = attempt.order.job
        out = self.folder / job.out.name
        if any(self._run.iterdir()):
            os.rename(self._run, run_path(out))
        return replace(attempt, order=replace(attempt.order, job=replace(job, out=out)))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


class Mirror:
    """Tells what has changed in a film's files since it was asked last."""

    def __init__(self, film: Path) -> None:
        """`film`: its run folder, as far as there is one, is known to the driver as it is now."""
        self._film = film
        self._known = {path.name: _state(path) for path in self._run_files()}

    def changes(self, told: Told) -> Iterator[Piece]:
        """The pieces that are to arrive before `told` does."""
        for path in sorted(self._run_files()):
            yield from self._changed(path)
        if isinstance(told, FilmDone):
            result = told.result
            files = {
                TRACE_COPY: result.trace_path,
                SUBTITLES: srt_path(result.path),
                FILM: result.path,
                RECORD: result.record_path,
            }
            for name, path in files.items():
                if name != SUBTITLES or path.is_file():
                    yield from _pieces(path, name, 0, path.stat().st_size, True)

    def _run_files(self) -> list[Path]:
        """Files of the run folder but its lock, what is passing, and the part that is being encoded."""
        folder = run_path(self._film)
        if not folder.is_dir():
            return []
        try:
            sealed = (folder / PARTS).read_bytes().count(b"\n")
        except FileNotFoundError:
            sealed = 0
        whole = {part_name(segment) for segment in range(sealed)}
        names = [name for name in os.listdir(folder) if is_known(name) and not name.endswith(".unfinished")]
        return [folder / name for name in names if name not in PASSING and (name in whole or not PART.fullmatch(name))]

    def _changed(self, path: Path) -> Iterator[Piece]:
        inode, size = _state(path)
        before = self._known.get(path.name)
        is_same = before is not None and before[0] == inode and before[1] <= size
        self._known[path.name] = inode, size
        start = before[1] if is_same and before is not None else 0
        if not is_same or start < size:
            yield from _pieces(path, path.name, start, size, not is_same)


class Receiver:
    """The driver's run folder of a film that is made elsewhere: locked, read once, then written as the film goes on."""

    def __init__(self, job: Job) -> None:
        """Raises UsageError if another process holds the folder, or if it is not ours."""
        self._job = job
        self._folder = LockedFolder.take(run_path(job.out), is_run)
        if not job.resume:
            for name in sorted(self._folder.names(), key=lambda name: name != RUN):
                if is_known(name):
                    self._folder.remove(name)

    def pieces(self) -> Iterator[Piece]:
        """All that is there to go on from."""
        for name in sorted(self._folder.names()):
            if is_known(name) and name not in PASSING and not name.endswith(".unfinished"):
                path = self._folder.path / name
                yield from _pieces(path, name, 0, path.stat().st_size, False)

    def write(self, piece: Piece) -> None:
        """Raises MemflowError where the disk refuses it."""
        if not is_known(piece.name):
            return
        try:
            name = piece.name + ".unfinished" if piece.anew else piece.name
            if piece.anew and piece.offset == 0:
                self._folder.remove(name)
            with self._folder.open(name, "ab") as file:
                file.truncate(piece.offset)
                file.write(piece.content)
            if piece.anew and piece.is_last:
                self._folder.rename_through(name, piece.name)
        except OSError as error:
            raise MemflowError(f"cannot write {self._folder.path}: {error.strerror}") from error

    def close(self) -> None:
        """Lets go of the folder, which stays for the next run if there is anything to go on from."""
        with contextlib.suppress(OSError):
            if not self._folder.has(RUN):
                self._folder.remove_all(is_known)
        self._folder.close()

    def finish(self, done: FilmDone) -> FilmDone:
        """The film takes its place, with trace and record; the run folder goes unless it is to be kept."""
        out = self._job.out
        self._folder.close()
        if not finish_placing(out):
            raise MemflowError(f"{out.name} did not arrive whole", "The same command makes it again.")
        if not self._job.keep and (folder := take_run(run_path(out))) is not None:
            folder.remove_all(is_known, first=RUN)
        return done_at(out, done)


def done_at(out: Path, done: FilmDone) -> FilmDone:
    """The same with the film's files where this machine has them."""
    result: FilmResult = replace(done.result, path=out, record_path=record_path(out), trace_path=trace_path(out))
    return FilmDone(result)


def _pieces(path: Path, name: str, start: int, stop: int, anew: bool) -> Iterator[Piece]:
    """A file's bytes from `start` to `stop`; an empty file is a piece too."""
    with path.open("rb") as file:
        file.seek(start)
        while True:
            content = file.read(min(PIECE_BYTES, stop - start))
            is_last = start + len(content) >= stop or not content
            yield Piece(name, start, content, anew, is_last)
            if is_last:
                return
            start += len(content)


def _state(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_ino, about.st_size


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (left / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
