"""The run folder, film.mp4.run/: what keeps a long render from being lost. No torch.

    lock              held while a process renders; names it
    run.json          the recipe: all that the film's bytes depend on
    latents.bin       every finished chunk's latents (latents_file.py), appended
    trace.jsonl       the memory trace, one line per chunk
    segment-00001.mp4 a finished segment; parts.jsonl holds its checksum
    film.json         the finished film's record, until the film has its place (placing.py)
    keep              the folder outlives its film: the film can be gone on from, or edited, without making it all again

A kill at any byte leaves it readable: files are append-only and end at their first bad record, or appear by rename.
Every record says which recipe it belongs to, so it does not matter what run.json says when a kill comes in between: what
an edited storyboard no longer wants is cut off first, and run.json comes last.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from memflow_cli.errors import KEPT, MemflowError, UsageError
from memflow_cli.film.latents_file import LatentsFormat, records_of_0_1_0
from memflow_cli.film.locked_folder import LockedFolder
from memflow_cli.film.recipe import Recipe
from memflow_cli.film.run_on_disk import (
    FORMAT_VERSION,
    KEEP,
    LATENTS,
    MAX_PARTS_LINE,
    PART,
    PARTS,
    PASSING,
    RUN,
    START_OVER,
    TRACE,
    Begun,
    is_kept,
    is_known,
    is_run,
    part_name,
    read_begun,
    refuse_differences,
)
from memflow_cli.film.trace import TraceHeader, TraceWriter, numbered_records
from memflow_cli.film.video import ENCODING
from memflow_cli.film.video_reader import probe


class RunFolder:
    """A run folder, locked by this process. `num_chunks`: finished chunks on disk, verified; `parts`: finished segments."""

    def __init__(self, path: Path, recipe: Recipe, header: TraceHeader, latent_bytes: int, resume: bool = True) -> None:
        """Opens or makes the folder. `latent_bytes`: size of one chunk's latents.

        Raises UsageError if another process holds it, if it is not ours, or if what it holds belongs to a film that would
        come out differently. With `resume` False, whatever it holds is given up.
        """
        self.path = path
        self.plan = header.plan
        self.num_chunks = 0
        self.parts: list[Path] = []
        self.changed_segment: int | None = None  # the first segment that the storyboard changed since
        self._is_kept = is_kept(path)
        self._latent_bytes = latent_bytes
        self._set_owners(recipe)
        self.trace: TraceWriter
        try:
            self.folder = LockedFolder.take(path, is_run)
        except OSError as error:
            raise UsageError(f"cannot write beside {path.with_suffix('')}: {error.strerror}") from error
        try:
            with _disk_errors(path):
                if not resume:
                    self._empty()
                self._open(recipe, header)
        except BaseException:
            with contextlib.suppress(OSError):
                if not self.folder.has(RUN):
                    self.folder.remove_all(is_known)
            self.folder.close()
            raise

    # reading

    def latents(self, start: int, stop: int) -> Iterator[bytes]:
        """The finished chunks' latents, as they were appended."""
        with _disk_errors(self.path, "read"), self.folder.open(LATENTS, "rb") as file:
            yield from self._format.latents(file, start, stop)

    @property
    def trace_path(self) -> Path:
        return self.path / TRACE

    # writing

    def append(self, chunk: int, latents: bytes) -> None:
        """Keeps a finished chunk; its trace line has been written before."""
        assert chunk == self.num_chunks, "chunks are appended in order"
        with _disk_errors(self.path):
            self._latents.write(self._format.pack(chunk, latents, self.trace.last_crc))
            self._latents.flush()
        self.num_chunks += 1

    def take_over(self, chunk: int, latents: bytes, line: bytes) -> None:
        """Keeps a chunk that another run folder has, with its line of the trace."""
        with _disk_errors(self.path):
            self.trace.copy(line)
        self.append(chunk, latents)

    def grow(self, recipe: Recipe, header: TraceHeader) -> None:
        """The film goes on with more segments, or its last one gets another length. `recipe` and `header`: of all of it."""
        old = len(self.plan.segments)
        only_grows = header.plan.segments[:old] == self.plan.segments
        with _disk_errors(self.path):
            if only_grows:
                self.trace.add_segments(header.plan.segments[old:])
            else:
                self.trace.close()
                self._trim_trace(header)
                self.trace = TraceWriter(self.trace_path, header, append=True, file=self.folder.open(TRACE, "ab"))
            self._write_recipe(recipe)
        self.plan = header.plan
        self._set_owners(recipe)

    def part_path(self, segment: int) -> Path:
        return self.path / part_name(segment)

    def seal(self, segment: int) -> None:
        """Marks a segment's part as finished. Raises MemflowError for one that the encoder made badly, and removes it."""
        with _disk_errors(self.path):
            self._check_part(segment)
            self.trace.sync()
            os.fsync(self._latents.fileno())
            with self.folder.open(PARTS, "ab") as file:
                file.write(self._parts_line(segment))
                file.flush()
                os.fsync(file.fileno())
        self.parts.append(self.part_path(segment))

    def recheck_parts(self) -> None:
        """Takes the seal from parts that do not hold their frames, so that the next run makes them again."""
        with contextlib.suppress(OSError, MemflowError):
            for segment in range(len(self.parts)):
                try:
                    self._check_part(segment)
                except MemflowError:
                    lines = self.folder.open(PARTS, "rb").readlines()[:segment]
                    self.folder.write_through(PARTS, b"".join(lines))
                    return

    def mark_kept(self) -> None:
        """Tells this folder, which is to outlive its film, from one that a kill left behind."""
        with _disk_errors(self.path):
            self.folder.open(KEEP, "ab").close()

    def close(self, remove: bool = False) -> None:
        """Lets go of the folder; without `remove` it stays for the next run."""
        self.trace.close()
        with contextlib.suppress(OSError):  # what could not be written was told when it was written
            self._latents.close()
        if remove:
            self.folder.remove_all(is_known, first=RUN)
        self.folder.close()

    # opening

    def _empty(self) -> None:
        """Removes all that is ours but the lock, first what makes it a run."""
        for name in sorted(self.folder.names(), key=lambda name: name != RUN):
            if is_known(name):
                self.folder.remove(name)

    def _open(self, recipe: Recipe, header: TraceHeader) -> None:
        begun = self._begun()
        if begun is not None and self._is_kept and begun.recipe.differences(recipe):
            self._empty()
            begun = None
        if begun is not None:  # if there is none: what there is says itself whose it is
            refuse_differences(self.path, begun.recipe, recipe)
            same = begun.recipe.unchanged_segments(recipe)
            if same < len(recipe.segments):
                self.changed_segment = same
            if begun.version == 1:
                self._renew_latents(sum(segment.num_chunks for segment in self.plan.segments[:same]))
        for name in {*PASSING}.intersection(self.folder.names()):  # what follows makes them again
            self.folder.remove(name)
        self._cut(header)
        if begun is None or begun != Begun(FORMAT_VERSION, recipe):
            self._write_recipe(recipe)
        self._latents: IO[bytes] = self.folder.open(LATENTS, "ab")
        self.trace = TraceWriter(self.trace_path, header, append=True, file=self.folder.open(TRACE, "ab"))

    def _write_recipe(self, recipe: Recipe) -> None:
        content = {"version": FORMAT_VERSION, "recipe": recipe.to_json()}
        self.folder.write_through(RUN, json.dumps(content, indent=1).encode())

    def _set_owners(self, recipe: Recipe) -> None:
        self._owners = recipe.prefixes()
        lengths = [segment.num_chunks for segment in self.plan.segments]
        owners = (owner for owner, length in zip(recipe.chunk_owners(), lengths) for _ in range(length))
        self._format = LatentsFormat(tuple(owners), self._latent_bytes)

    def _begun(self) -> Begun | None:
        """What run.json says, or None if there is none, or a damaged one beside chunks of this film.

        Raises UsageError if it cannot be read and nothing else tells whose the folder is.
        """
        try:
            return read_begun(self.folder)
        except ValueError as error:
            if self._valid_chunks():
                return None
            raise UsageError(f"{self.path / RUN} was not written by this version of memflow", START_OVER) from error

    def _cut(self, header: TraceHeader) -> None:
        """Cuts every file after what belongs to this film, and writes that through to the disk."""
        self.num_chunks = self._matching_lines(self._valid_chunks())
        self.parts = self._cut_parts()
        with self.folder.open(LATENTS, "ab") as file:
            file.truncate(self.num_chunks * self._format.record_bytes)
            os.fsync(file.fileno())
        self._trim_trace(header)
        for name in self.folder.names():
            is_part = bool(PART.fullmatch(name)) and self.path / name not in self.parts
            if is_part or (is_known(name) and name.endswith(".unfinished")):
                self.folder.remove(name)

    def _valid_chunks(self) -> list[int]:
        """For every chunk of this film that is there and whole, the checksum of its line in the trace."""
        with contextlib.suppress(FileNotFoundError), self.folder.open(LATENTS, "rb") as file:
            return list(self._format.valid_records(file))
        return []

    def _matching_lines(self, crcs: list[int]) -> int:
        """How many of the trace's lines are those that were written with these chunks."""
        count = 0
        with contextlib.suppress(FileNotFoundError), self.folder.open(TRACE, "rb") as file:
            for crc, (_, line) in zip(crcs, numbered_records(file)):
                if zlib.crc32(line) != crc:
                    break
                count += 1
        return count

    def _trim_trace(self, header: TraceHeader) -> None:
        """Leaves the kept chunks' lines, under the header of the film as it is now."""
        unfinished = TRACE + ".unfinished"
        with TraceWriter(self.path / unfinished, header, file=self.folder.create(unfinished)) as renewed:
            if self.num_chunks:
                with self.folder.open(TRACE, "rb") as source:
                    for _, line in islice(numbered_records(source), self.num_chunks):
                        renewed.copy(line)
        self.folder.rename_through(unfinished, TRACE)

    def _cut_parts(self) -> list[Path]:
        """The finished segments' parts from the first on, verified; the list of them is cut to these."""
        parts: list[Path] = []
        lines: list[bytes] = []
        with contextlib.suppress(FileNotFoundError), self.folder.open(PARTS, "rb") as file:
            for segment in self.plan.segments:
                line = file.readline(MAX_PARTS_LINE)
                if segment.end_chunk > self.num_chunks or not self._is_sealed(line, segment.index):
                    break
                parts.append(self.part_path(segment.index))
                lines.append(line)
        self.folder.write_through(PARTS, b"".join(lines))
        return parts

    def _is_sealed(self, line: bytes, segment: int) -> bool:
        with contextlib.suppress(OSError):
            return line == self._parts_line(segment)
        return False

    def _parts_line(self, segment: int) -> bytes:
        """What parts.jsonl says of a segment's part as it is: whose it is, and what is in it."""
        checksum = self.folder.sha256(part_name(segment))
        owner = self._owners[segment].hex()
        content = {"segment": segment, "recipe": owner, "encoding": ENCODING, "sha256": checksum}
        return json.dumps(content).encode() + b"\n"

    def _check_part(self, segment: int) -> None:
        plan, path = self.plan, self.part_path(segment)
        wanted = (plan.width, plan.height, plan.segments[segment].num_frames)
        try:
            about = probe(path)
            if (about.width, about.height, about.num_frames) == wanted:
                return
            found = f"{about.num_frames} frames of {about.width}x{about.height}"
        except MemflowError as error:
            found = error.message
        self.folder.remove(path.name)
        raise MemflowError(f"the encoder made a bad file of segment {segment + 1}: {found}", KEPT)

    def _renew_latents(self, kept: int) -> None:
        """Writes a folder of version 1 anew as this version has it: the chunks that belong to this film.

        Raises nothing for what is damaged: the folder ends there. A kill leaves the one or the other.
        """
        with self.folder.open(LATENTS, "ab+") as file:
            file.seek(0)
            if next(self._format.valid_records(file), None) is not None:
                return  # renewed already, before a kill
            file.seek(0)
            with self.folder.open(TRACE, "ab+") as trace, self.folder.create(LATENTS + ".unfinished") as renewed:
                trace.seek(0)
                latents_of = records_of_0_1_0(file, self._format.latent_bytes, kept)
                for chunk, (latents, (_, line)) in enumerate(zip(latents_of, numbered_records(trace))):
                    if not _is_json_line(line):
                        break
                    renewed.write(self._format.pack(chunk, latents, zlib.crc32(line)))
                    self.num_chunks = chunk + 1
        self.folder.write_through(PARTS, b"")  # they were encoded in another way; the latents make them again
        self.folder.rename_through(LATENTS + ".unfinished", LATENTS)


def _is_json_line(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


@contextlib.contextmanager
def _disk_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """What the disk refuses, as a sentence. What was finished stays."""
    try:
        yield
    except OSError as error:
        raise MemflowError(f"cannot {doing} {path}: {error.strerror}", KEPT) from error
