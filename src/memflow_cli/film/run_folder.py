"""The run folder, film.mp4.run/: what keeps a long render from being lost. No torch.

    run.json          the recipe: all that the film's bytes depend on, written once before the first chunk
    lock              held while a process renders; names it
    latents.bin       every finished chunk's latents, appended, each with its number, length and checksum
    trace.jsonl       the memory trace, a line a chunk
    segment-00001.mp4 a finished segment; parts.jsonl holds its checksum
    keep              the folder outlives its film (--keep-run)

A kill at any byte leaves it readable: files are append-only and end at their first bad record, or appear by rename.
"""

import contextlib
import json
import os
import shutil
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from memflow_cli.errors import KEPT, MemflowError, UsageError
from memflow_cli.film.durable import file_sha256, rename_through, write_through
from memflow_cli.film.recipe import MAX_RECIPE_BYTES, Recipe
from memflow_cli.film.trace import TraceHeader, TraceWriter, read_trace

FORMAT_VERSION = 1
START_OVER = "--no-resume starts the film over and gives up what was rendered."

_RECORD = struct.Struct("<III")  # chunk, payload bytes, CRC-32 of the payload


def mark_kept(path: Path) -> None:
    """Tells a run folder that is kept after its film is finished from one that a kill left behind."""
    with _disk_errors(path):
        (path / "keep").touch()


def remove_leftover(path: Path, made_from: object) -> None:
    """Removes what a kill between a film's end and its cleaning up left behind.

    `made_from`: the recipe in the film's record. A folder that is kept stays, one in use, one of another film, and one
    whose film is not at its end.
    """
    if not (path / "lock").is_file() or (path / "keep").exists():
        return
    with contextlib.suppress(UsageError, OSError), _lock(path / "lock", path):
        if _is_over(path, made_from):
            _remove(path)


def _is_over(path: Path, made_from: object) -> bool:
    """Whether a run folder has all parts of the film made from this recipe, or nothing to go on from."""
    try:
        with (path / "run.json").open("rb") as file:
            content = json.loads(file.read(MAX_RECIPE_BYTES)).get("recipe")
        recipe = Recipe.from_json(content)
        return content == made_from and (path / "parts.jsonl").read_bytes().count(b"\n") == len(recipe.segments)
    except FileNotFoundError as error:
        return Path(error.filename).name == "run.json"
    except (ValueError, RecursionError, AttributeError):
        return False


def _remove(path: Path) -> None:
    """The whole folder; what makes it a run goes first, so that a kill leaves nothing that looks like one."""
    (path / "run.json").unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


class RunFolder:
    """A run folder, locked by this process. `num_chunks`: finished chunks on disk, verified; `parts`: finished segments."""

    def __init__(self, path: Path, recipe: Recipe, header: TraceHeader, latent_bytes: int, resume: bool = True) -> None:
        """Opens or makes the folder. `latent_bytes`: size of one chunk's latents.

        Raises UsageError if another process holds it, or if what it holds belongs to a film that would come out
        differently. With `resume` False, whatever it holds is given up.
        """
        self.path = path
        self.plan = header.plan
        self.num_chunks = 0
        self.parts: list[Path] = []
        self.changed_segment: int | None = None  # the first segment that the storyboard changed since
        self._latent_bytes = latent_bytes
        self._latents_path = path / "latents.bin"
        self._trace_path = path / "trace.jsonl"
        self._parts_path = path / "parts.jsonl"
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write beside {path.with_suffix('')}: {error.strerror}") from error
        self._lock = _lock(path / "lock", path)
        try:
            with _disk_errors(path):
                if not resume:
                    self._empty()
                self._open(recipe, header)
        except BaseException:
            self._lock.close()
            raise

    # reading

    def latents(self, start: int, stop: int) -> Iterator[bytes]:
        """The finished chunks' latents, as they were appended."""
        size = _RECORD.size + self._latent_bytes
        with _disk_errors(self.path, "read"), self._latents_path.open("rb") as file:
            file.seek(start * size)
            for _ in range(start, stop):
                yield file.read(size)[_RECORD.size :]

    @property
    def trace_path(self) -> Path:
        return self._trace_path

    # writing

    def append(self, chunk: int, latents: bytes) -> None:
        """Keeps a finished chunk; its trace line has been written before."""
        assert chunk == self.num_chunks and len(latents) == self._latent_bytes, "chunks are appended in order"
        with _disk_errors(self.path):
            self._latents.write(_RECORD.pack(chunk, len(latents), zlib.crc32(latents)) + latents)
            self._latents.flush()
        self.num_chunks += 1

    def part_path(self, segment: int) -> Path:
        return self.path / f"segment-{segment + 1:05d}.mp4"

    def seal(self, segment: int) -> None:
        """Marks a segment's part as finished."""
        part = self.part_path(segment)
        with _disk_errors(self.path):
            line = json.dumps({"segment": segment, "sha256": file_sha256(part)}) + "\n"
            self.trace.sync()
            os.fsync(self._latents.fileno())
            with self._parts_path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        self.parts.append(part)

    def close(self, remove: bool = False) -> None:
        """Lets go of the folder; without `remove` it stays for the next run."""
        self.trace.close()
        with contextlib.suppress(OSError):  # what could not be written was told when it was written
            self._latents.close()
        if remove:
            with contextlib.suppress(OSError):
                _remove(self.path)
        self._lock.close()

    # opening

    def _empty(self) -> None:
        for entry in self.path.iterdir():
            if entry.name != "lock" and not entry.is_dir():
                entry.unlink()

    def _open(self, recipe: Recipe, header: TraceHeader) -> None:
        kept = self._kept_chunks(recipe)
        self._write_recipe(recipe)
        self.num_chunks = min(self._valid_latents(kept), self._valid_records())
        size = _RECORD.size + self._latent_bytes
        self._latents_path.touch()
        os.truncate(self._latents_path, self.num_chunks * size)
        self._trim_trace(header)
        self.parts = self._valid_parts()
        for entry in self.path.iterdir():
            if entry.name.startswith("segment-") and entry not in self.parts:
                entry.unlink()
        self._latents: IO[bytes] = self._latents_path.open("ab")

    def _kept_chunks(self, recipe: Recipe) -> int:
        """How many chunks may be kept, going by what they were made from. Raises UsageError if none could."""
        path = self.path / "run.json"
        try:
            with path.open("rb") as file:
                content = json.loads(file.read(MAX_RECIPE_BYTES))
            if content.get("version") != FORMAT_VERSION:
                raise ValueError("another version")
            old = Recipe.from_json(content.get("recipe"))
        except FileNotFoundError:
            self._empty()
            return self.plan.num_chunks
        except (ValueError, RecursionError, AttributeError) as error:
            raise UsageError(f"{path} was not written by this version of memflow", START_OVER) from error
        if differences := old.differences(recipe):
            raise UsageError(
                f"{self.path} holds a render that was begun otherwise: {'; '.join(differences)}", START_OVER
            )
        same = old.unchanged_segments(recipe)
        if same == len(recipe.segments):
            return self.plan.num_chunks
        if same < len(old.segments) or same < len(recipe.segments):
            self.changed_segment = same
        return self.plan.segments[same].start_chunk

    def _write_recipe(self, recipe: Recipe) -> None:
        content = {"version": FORMAT_VERSION, "recipe": recipe.to_json()}
        write_through(self.path / "run.json", json.dumps(content, indent=1).encode())

    def _valid_latents(self, at_most: int) -> int:
        count = 0
        with contextlib.suppress(FileNotFoundError), self._latents_path.open("rb") as file:
            while count < at_most:
                head, payload = file.read(_RECORD.size), file.read(self._latent_bytes)
                if len(payload) != self._latent_bytes:
                    break
                if _RECORD.unpack(head) != (count, self._latent_bytes, zlib.crc32(payload)):
                    break
                count += 1
        return count

    def _valid_records(self) -> int:
        count = 0
        try:
            for _ in read_trace(self._trace_path).records():
                count += 1
        except UsageError:
            pass  # the trace ends before its first bad line
        return count

    def _trim_trace(self, header: TraceHeader) -> None:
        """Leaves the kept chunks' lines, under the header of the film as it is now."""
        renewed = self.path / "trace.jsonl.unfinished"
        TraceWriter(renewed, header).close()
        if self.num_chunks:
            with renewed.open("ab") as target, self._trace_path.open("rb") as source:
                source.readline()
                for _ in range(self.num_chunks):
                    target.write(source.readline())
        rename_through(renewed, self._trace_path)
        self.trace = TraceWriter(self._trace_path, header, append=True)

    def _valid_parts(self) -> list[Path]:
        """The finished segments' parts from the first on, verified; the list of them is cut to these."""
        parts: list[Path] = []
        lines: list[bytes] = []
        with contextlib.suppress(FileNotFoundError), self._parts_path.open("rb") as file:
            for line, segment in zip(file, self.plan.segments):
                if segment.end_chunk > self.num_chunks or not self._is_sealed(line, segment.index):
                    break
                parts.append(self.part_path(segment.index))
                lines.append(line)
        write_through(self._parts_path, b"".join(lines))
        return parts

    def _is_sealed(self, line: bytes, segment: int) -> bool:
        try:
            content = json.loads(line)
            return bool(content == {"segment": segment, "sha256": file_sha256(self.part_path(segment))})
        except (ValueError, OSError):
            return False


def _lock(path: Path, folder: Path) -> IO[str]:
    """The open, locked file. The system lets go of the lock when its process ends, however it ends."""
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from error
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # Windows: no lock, but the name of the last process is still written
    except BlockingIOError as error:
        file.seek(0)
        holder = "".join(character for character in file.read(200) if character.isprintable())
        file.close()
        raise UsageError(
            f"{folder.with_suffix('').name} is being rendered by another process ({holder or 'unknown'})",
            "Wait for it, stop it, or give another name with -o.",
        ) from error
    except OSError:
        pass  # a network's file system that knows no locks
    with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
    return file


@contextlib.contextmanager
def _disk_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """What the disk refuses, as a sentence. What was finished stays."""
    try:
        yield
    except OSError as error:
        raise MemflowError(f"cannot {doing} {path}: {error.strerror}", KEPT) from error
