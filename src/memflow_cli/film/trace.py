"""The memory trace: what every chunk of a film attended to, remembered and forgot.

A text file, film.memory.jsonl: a header line, a line for each segment, then a JSON object for each chunk, written and
flushed while the film is made; a film that grows has its new segments' lines among the chunks'. In version 1, of 0.1.0, the
segments stood in the header. A trace is read back as untrusted input: lines are bounded, every number is checked, a last
line torn by a kill is left out. Records are read one at a time, so that the trace of an hour needs no more memory than the
trace of a second.
"""

import contextlib
import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any, Self

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.given_picture import GivenPicture, check_numbers
from memflow_cli.film.ours import open_regular
from memflow_cli.film.untrusted_json import is_number, parse_object, quote, rebuild
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.story.plan import FilmPlan, SegmentPlan

FORMAT = "memflow-trace"
FORMAT_VERSION = 2
SEGMENT = "plan_segment"
_SEGMENT_START = b'{"%b"' % SEGMENT.encode()

MAX_HEADER_BYTES = 64 * 2**20  # of version 1, with all segments
MAX_SEGMENTS = 100_000
MAX_RECORD_BYTES = 16 * 2**20
MAX_NAMES, MAX_NAME = 10_000, 100  # in one list; characters of one
_FRAME = re.compile(r"-?[0-9]{1,11}", re.ASCII)
SCORE_DIGITS = 6  # significant digits; float32 holds seven


@dataclass(frozen=True)
class TraceHeader:
    """How a trace begins: who made the film, and the plan that turns its latent frames into film times."""

    memflow: str  # version
    model: str
    policy: str
    plan: FilmPlan
    version: int = FORMAT_VERSION
    given: tuple[GivenPicture, ...] = ()


class TraceWriter:
    """Writes a trace line by line, each flushed as soon as its chunk is done. `append=True` goes on with an existing file.

    `file`: the file, open already; `path` is then only what it is called. `last_crc`: CRC-32 of the last line written.
    """

    def __init__(self, path: Path, header: TraceHeader, append: bool = False, file: IO[bytes] | None = None) -> None:
        self.path = path
        self.last_crc = 0
        try:
            self._file = file or path.open("ab" if append else "wb")
            if not append:
                about = asdict(header)
                del about["plan"]["segments"]
                if not header.given:
                    del about["given"]
                self._write_line({"format": FORMAT, **about})
        except OSError as error:
            raise self._error(error) from error
        if not append:
            self.add_segments(header.plan.segments)

    def add_segments(self, segments: Sequence[SegmentPlan]) -> None:
        """The film has grown by these."""
        try:
            for segment in segments:
                self._write_line({SEGMENT: asdict(segment)})
        except OSError as error:
            raise self._error(error) from error

    def write(self, record: ChunkRecord) -> None:
        line = asdict(record)
        # A prompt is kept once, in the header's plan; a record repeats it by its segment's number.
        del line["prompt"]
        line["candidates"] = {str(frame): _short(score) for frame, score in record.candidates.items()}
        line["whose"] = {str(frame): names for frame, names in record.whose.items()}
        line["bank"] = [[item.frame, _short(item.score), _short(item.use)] for item in record.bank]
        line["sink_use"] = [_short(use) for use in record.sink_use]
        try:
            self._write_line(
                {key: value for key, value in line.items() if value is not False and value not in ((), {}, [])}
            )
        except OSError as error:
            raise self._error(error) from error

    def copy(self, line: bytes) -> None:
        """A record's line, as it stands in another trace."""
        self._file.write(line)
        self._file.flush()
        self.last_crc = zlib.crc32(line)

    def sync(self) -> None:
        """Writes through to the disk what was written so far."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written was told when it was written
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _error(self, error: OSError) -> MemflowError:
        return MemflowError(f"cannot write the memory trace {self.path}: {error.strerror}")

    def _write_line(self, content: dict[str, Any]) -> None:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        line = text.encode("utf-8", "replace") + b"\n"
        self._file.write(line)
        self._file.flush()
        self.last_crc = zlib.crc32(line)


@dataclass(frozen=True)
class MemoryTrace:
    """A trace on disk: its header, and its records as often as they are asked for."""

    path: Path
    header: TraceHeader

    def records(self) -> Iterator[ChunkRecord]:
        """The chunks in order, read one at a time. A torn last line ends the trace silently, any other bad line is an error."""
        plan = self.header.plan
        with _open(self.path) as file:
            for chunk, (number, line) in zip(range(plan.num_chunks), numbered_records(file)):
                if not line.endswith(b"\n") and len(line) <= MAX_RECORD_BYTES:
                    return
                if len(line) > MAX_RECORD_BYTES:
                    raise UsageError(
                        f"{self.path}, line {number}: longer than {MAX_RECORD_BYTES >> 20} MiB: no memory trace"
                    )
                where = f"{self.path}, line {number}"
                yield _record(parse_object(line, self.path, number), plan, where, chunk, len(self.header.given))


def numbered_records(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines of a trace that are chunks' records, as they are, with their numbers from 1. The last may be torn, and one
    that is longer than MAX_RECORD_BYTES ends them.
    """
    while (piece := file.readline(MAX_RECORD_BYTES)) and not piece.endswith(b"\n"):
        pass  # a header, however long
    for number in count(2):
        line = file.readline(MAX_RECORD_BYTES + 1)
        if not line:
            return
        if not line.startswith(_SEGMENT_START):
            yield number, line
        if not line.endswith(b"\n"):
            return


def copy_in_order(source: IO[bytes], target: IO[bytes]) -> None:
    """Copies a trace as that of a film which was planned in one go: all segments before the first chunk."""
    target.write(source.readline())
    for line in source:
        if line.startswith(_SEGMENT_START):
            target.write(line)
    source.seek(0)
    for _, line in numbered_records(source):
        target.write(line)


def is_trace(path: Path) -> bool:
    """Whether a file begins as a memory trace does, of whatever version."""
    start = json.dumps({"format": FORMAT}, separators=(",", ":"))[:-1].encode()
    with contextlib.suppress(OSError), open_regular(path) as file:
        return file.read(len(start)) == start
    return False


def read_trace(path: Path) -> MemoryTrace:
    """Opens a trace and reads its header. Raises UsageError for whatever is not a trace, or one of another version."""
    with _open(path) as file:
        line = file.readline(MAX_HEADER_BYTES + 1)
    if not line.endswith(b"\n"):
        raise UsageError(f"{path} holds no complete header line: no memory trace, or its film stopped before it began")
    content = parse_object(line, path, 1)
    if content.get("format") != FORMAT:
        raise UsageError(f"{path} is not a memory trace", "A trace lies beside its film and ends in .memory.jsonl.")
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise UsageError(f"{path}: the trace's version {version!r} is none that ever was")
    if version > FORMAT_VERSION:
        raise UsageError(
            f"{path} was written by memflow {str(content.get('memflow'))[:40]} (trace version {version}); "
            f"this one reads up to version {FORMAT_VERSION}",
            "Update memflow-cli.",
        )
    where = f"{path}, line 1"
    content = {key: value for key, value in content.items() if key != "format"}
    if version > 1:
        if not isinstance(content.get("plan"), dict) or "segments" in content["plan"]:
            raise UsageError(f"{where}: not the fields of a FilmPlan")
        content["plan"] = {**content["plan"], "segments": []}
    header = rebuild(TraceHeader, content, where)
    if version > 1:
        header = replace(header, plan=replace(header.plan, segments=tuple(_read_segments(path))))
    _check_plan(header.plan, where)
    check_numbers(header.given, where)
    return MemoryTrace(path, header)


def _read_segments(path: Path) -> Iterator[SegmentPlan]:
    """The segments of a trace, from wherever they stand in it. Its other lines are passed over."""
    num_segments = 0
    with _open(path) as file:
        for number in count(1):
            line = file.readline(MAX_RECORD_BYTES + 1)
            if not line.endswith(b"\n"):
                return
            if line.startswith(_SEGMENT_START):
                where = f"{path}, line {number}"
                num_segments += 1
                if num_segments > MAX_SEGMENTS:
                    raise UsageError(f"{where}: more than {MAX_SEGMENTS:,} segments")
                content = parse_object(line, path, number)
                if content.keys() != {SEGMENT}:
                    raise UsageError(f"{where}: not the fields of a SegmentPlan")
                yield rebuild(SegmentPlan, content[SEGMENT], where)


def _open(path: Path) -> IO[bytes]:
    try:
        return open_regular(path)
    except OSError as error:
        raise UsageError(f"cannot read the memory trace {path}: {error.strerror}") from error


def _record(content: dict[str, Any], plan: FilmPlan, where: str, chunk: int, num_given: int) -> ChunkRecord:
    num_latent_frames = plan.num_chunks * plan.geometry.chunk

    def frame(value: object) -> int:
        if type(value) is not int or not -num_given <= value < num_latent_frames:
            raise UsageError(f"{where}: {quote(value)} is not a latent frame of a film of {num_latent_frames}")
        return value

    def number(value: object) -> float:
        if not is_number(value):
            raise UsageError(f"{where}: {quote(value)} is not a number")
        return float(value)  # type: ignore[arg-type]

    def items(key: str) -> list[Any]:
        value = content.get(key, [])
        if not isinstance(value, list) or len(value) > num_latent_frames + num_given:
            raise UsageError(f"{where}: {key} is not a list of latent frames")
        return value

    def recalled(value: object) -> Recalled:
        if not isinstance(value, list) or len(value) != 3:
            raise UsageError(f"{where}: {quote(value)} is not a recalled frame (frame, score, use)")
        return Recalled(frame(value[0]), number(value[1]), number(value[2]))

    def names(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > MAX_NAMES or not all(isinstance(name, str) for name in value):
            raise UsageError(f"{where}: {quote(value)} is not a list of names")
        return tuple(name[:MAX_NAME] for name in value)

    def table(key: str) -> dict[int, Any]:
        value = content.get(key, {})
        if not isinstance(value, dict) or not all(_FRAME.fullmatch(each) for each in value):
            raise UsageError(f"{where}: {key} is not a table by latent frames")
        return {frame(int(each)): item for each, item in value.items()}

    segment = content.get("segment")
    if content.get("chunk") != chunk or type(segment) is not int or segment != plan.segment_of_chunk(chunk).index:
        raise UsageError(f"{where}: not the record of chunk {chunk}")
    layer_banks = content.get("layer_banks", [])
    if not isinstance(layer_banks, list) or not all(isinstance(bank, list) for bank in layer_banks):
        raise UsageError(f"{where}: layer_banks is not a list of lists")
    frames: dict[str, Any] = {key: tuple(map(frame, items(key))) for key in ("sink", "window", "archived", "evicted")}
    named: dict[str, Any] = {
        key: names(content.get(key, [])) for key in ("called", "remembers", "renewed", "forgotten")
    }
    return ChunkRecord(
        chunk=chunk,
        segment=segment,
        prompt=plan.segments[segment].prompt,
        start_seconds=number(content.get("start_seconds")),
        end_seconds=number(content.get("end_seconds")),
        bank=tuple(map(recalled, items("bank"))),
        sink_use=tuple(map(number, items("sink_use"))),
        candidates={key: number(score) for key, score in table("candidates").items()},
        layer_banks=tuple(tuple(map(frame, bank)) for bank in layer_banks),
        recalls_nothing=content.get("recalls_nothing") is True,
        whose={key: names(each) for key, each in table("whose").items()},
        **frames,
        **named,
    )


def _check_plan(plan: FilmPlan, where: str) -> None:
    """Refuses a plan whose numbers contradict each other: everything after the header relies on them."""
    geometry = plan.geometry
    sizes = (plan.width, plan.height, geometry.chunk, geometry.temporal_stride, geometry.first_frames)
    if not plan.segments:
        raise UsageError(f"{where}: the film has no segments")
    if min(sizes) < 1 or max(sizes) > 65536 or not 0 < plan.fps <= 1000:
        raise UsageError(f"{where}: sizes that no film has")
    chunk = frame = 0
    for index, segment in enumerate(plan.segments):
        if (segment.index, segment.start_chunk, segment.start_frame) != (index, chunk, frame) or segment.num_chunks < 1:
            raise UsageError(f"{where}: segment {index + 1} does not follow the one before it")
        chunk, frame = chunk + segment.num_chunks, frame + segment.num_frames
    if (plan.num_chunks, plan.num_frames) != (chunk, frame) or geometry.num_frames(chunk) != frame:
        raise UsageError(f"{where}: the segments do not add up to the film")


def _short(value: float) -> float:
    """A score as the trace keeps it; what is not a finite number becomes 0, as JSON has no word for it."""
    return float(f"{value:.{SCORE_DIGITS}g}") if math.isfinite(value) else 0.0
