"""A trace, summed up: what each segment recalled, how much it was used, and how the archive grew.

Reads the trace once, record by record; what is kept is a few numbers a chunk.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from memflow_cli.film.given_picture import GivenPicture
from memflow_cli.film.trace import MemoryTrace, TraceHeader
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.story.plan import FilmPlan, SegmentPlan

SHOWN_OF_A_BANK = 64  # of what a chunk recalled, the most used
MAP_MARKS = 64  # recalled frames of one chunk on the map, the most used; a bank holds a few
LONG_AWAY = 20.0  # seconds; what was away longer does not count for more
BEST_CANDIDATES = 24  # of all that were scored for a segment, kept for show


@dataclass(frozen=True)
class RecalledFrame:
    """A latent frame that a segment recalled, or a given picture. Times in seconds of the film.

    A picture has a frame below 0 and no place in the film: `segment` is -1, `film_frame` stands for the picture itself.
    `use`: share of layers x heads that read it, averaged over the segment's chunks (0 where it was not in the bank).
    `score`: the best it got in this segment. `film_frame`: the first pixel frame that the latent frame decodes to. `names`:
    whose memory it is.
    """

    frame: int
    film_frame: int
    seconds: float
    segment: int
    score: float
    use: float
    num_chunks: int
    names: tuple[str, ...] = ()
    picture: GivenPicture | None = None


@dataclass(frozen=True)
class Candidate:
    frame: int
    seconds: float
    score: float
    is_recalled: bool


@dataclass(frozen=True)
class SegmentMemory:
    """`recalled`: most used first. `candidates`: the best of all frames scored for it, best first; `num_candidates`: how many.

    `called`: whose memory had to be in the bank; `recalls_nothing`: the storyboard wanted an empty one. `remembers`: whose memory
    is what is on screen at its end. `renewed`: whose memory is from here on what was on screen just before; `forgotten`: whose
    memory ended here.
    """

    plan: SegmentPlan
    start_seconds: float
    end_seconds: float
    recalled: tuple[RecalledFrame, ...]
    candidates: tuple[Candidate, ...]
    num_candidates: int
    sink_use: float | None
    is_activated: bool = False  # heads read some of what was recalled, not all: `use` says something
    called: tuple[str, ...] = ()
    recalls_nothing: bool = False
    remembers: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    def returns(self) -> list[RecalledFrame]:
        """The recalled frames of at least two segments before this one, the most like the prompt first."""
        far = [item for item in self.recalled if item.picture is None and item.segment + 1 < self.plan.index]
        return sorted(far, key=lambda item: (-item.score, item.frame))

    def pictures(self) -> list[RecalledFrame]:
        """The given pictures that it recalled."""
        return [item for item in self.recalled if item.picture is not None]


@dataclass(frozen=True)
class ChunkMemory:
    """What one chunk attended to, for the map. `window`: the earlier latent frames, as (first, count)."""

    bank: tuple[Recalled, ...]
    sink: int
    window: tuple[int, int]
    archive_size: int


@dataclass(frozen=True)
class FilmMemory:
    """`chunks` may be fewer than the plan's: the film's making was not finished."""

    header: TraceHeader
    segments: tuple[SegmentMemory, ...]
    chunks: tuple[ChunkMemory, ...]

    @property
    def plan(self) -> FilmPlan:
        return self.header.plan

    def best_segment(self) -> int:
        """Where in `segments` memory did most: a) what comes back, and not for the segment before already, matches its prompt
        best, counted less the shorter it was away (LONG_AWAY); without such a return b) the first segment that recalled
        anything; without that c) the first.
        """
        best, best_score = None, float("-inf")
        before: set[int] = set()
        for index, segment in enumerate(self.segments):
            returns = segment.returns()
            for found in [item for item in returns if item.frame not in before][:1]:
                score = found.score * min(1.0, (segment.start_seconds - found.seconds) / LONG_AWAY)
                if score > best_score:
                    best, best_score = index, score
            before = {item.frame for item in returns}
        return next((index for index, item in enumerate(self.segments) if item.recalled), 0) if best is None else best


class _SegmentSum:
    """Adds up one segment, chunk by chunk."""

    def __init__(self) -> None:
        self.num_chunks = 0
        self.use: dict[int, float] = {}
        self.score: dict[int, float] = {}
        self.count: dict[int, int] = {}
        self.sink_use: list[float] = []
        self.is_activated = False
        self.candidates: dict[int, float] = {}  # the latest score of each moment of the film
        self.names: dict[int, tuple[str, ...]] = {}
        self.called: tuple[str, ...] = ()
        self.recalls_nothing = False
        self.remembers: tuple[str, ...] = ()
        self.renewed: tuple[str, ...] = ()
        self.forgotten: tuple[str, ...] = ()

    def add(self, record: ChunkRecord) -> None:
        self.num_chunks += 1
        for item in record.bank:
            self.use[item.frame] = self.use.get(item.frame, 0.0) + _share(item.use)
            self.score[item.frame] = max(item.score, self.score.get(item.frame, item.score))
            self.count[item.frame] = self.count.get(item.frame, 0) + 1
            self.is_activated = self.is_activated or item.use < 1
        if record.sink_use:
            self.is_activated = True
            self.sink_use.append(sum(map(_share, record.sink_use)) / len(record.sink_use))
        self.candidates |= {frame: score for frame, score in record.candidates.items() if frame >= 0}
        self.names |= record.whose
        self.called = self.called or record.called
        self.recalls_nothing = self.recalls_nothing or record.recalls_nothing
        self.remembers = self.remembers or record.remembers
        self.renewed += record.renewed
        self.forgotten += record.forgotten

    def _recalled(self, header: TraceHeader, frame: int) -> RecalledFrame:
        plan, is_picture = header.plan, frame < 0
        return RecalledFrame(
            frame=frame,
            film_frame=frame if is_picture else plan.geometry.latent_frame_range(frame).start,
            seconds=0.0 if is_picture else plan.latent_frame_seconds(frame),
            segment=-1 if is_picture else plan.segment_of_chunk(frame // plan.geometry.chunk).index,
            score=self.score[frame],
            use=self.use[frame] / self.num_chunks,
            num_chunks=self.count[frame],
            names=self.names.get(frame, ()),
            picture=header.given[-frame - 1] if is_picture else None,
        )

    def finish(self, header: TraceHeader, segment: SegmentPlan) -> SegmentMemory:
        plan = header.plan
        recalled = [self._recalled(header, frame) for frame in self.use]
        recalled.sort(key=lambda item: (-item.use, -item.score, item.frame))
        best = heapq.nlargest(BEST_CANDIDATES, ((score, frame) for frame, score in self.candidates.items()))
        candidates = tuple(
            Candidate(frame, plan.latent_frame_seconds(frame), score, frame in self.use) for score, frame in best
        )
        return SegmentMemory(
            plan=segment,
            start_seconds=segment.start_frame / plan.fps,
            end_seconds=(segment.start_frame + segment.num_frames) / plan.fps,
            recalled=tuple(recalled),
            candidates=candidates,
            num_candidates=len(self.candidates),
            sink_use=sum(self.sink_use) / len(self.sink_use) if self.sink_use else None,
            is_activated=self.is_activated,
            called=self.called,
            recalls_nothing=self.recalls_nothing,
            remembers=self.remembers,
            renewed=self.renewed,
            forgotten=self.forgotten,
        )


def summarise(trace: MemoryTrace) -> FilmMemory:
    """Raises UsageError for a trace that is damaged in the middle; one torn at its end is summed up so far."""
    plan = trace.header.plan
    return _summarise(trace.header, plan, trace.records())


def _summarise(header: TraceHeader, plan: FilmPlan, records: Iterable[ChunkRecord]) -> FilmMemory:
    chunks: list[ChunkMemory] = []
    segments: list[SegmentMemory] = []
    archive_size = 0
    current, index = _SegmentSum(), 0
    for record in records:
        if record.segment != index:
            segments.append(current.finish(header, plan.segments[index]))
            current, index = _SegmentSum(), len(segments)
        current.add(record)
        archive_size = max(0, archive_size + len(record.archived) - len(record.evicted))
        window = (min(record.window), len(record.window)) if record.window else (0, 0)
        bank = tuple(heapq.nlargest(SHOWN_OF_A_BANK, record.bank, key=lambda item: item.use))
        chunks.append(ChunkMemory(bank, len(record.sink), window, archive_size))
    if current.num_chunks:
        segments.append(current.finish(header, plan.segments[index]))
    return FilmMemory(header, tuple(segments), tuple(chunks))


def _share(use: float) -> float:
    """A use as a trace may claim it, as a share."""
    return min(1.0, max(0.0, use))
