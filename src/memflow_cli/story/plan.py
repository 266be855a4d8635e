"""A film's plan: its segments in chunks and frames, and the timeline that it grows on. No torch."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from memflow_cli.geometry import Geometry
from memflow_cli.story.storyboard import Segment, Storyboard

DEFAULT_FPS = 16  # of a storyboard that names none, for a model that names none


@dataclass(frozen=True)
class SegmentPlan:
    """One segment, in chunks and frames. `start_*` count from the film's start."""

    index: int
    prompt: str
    start_chunk: int
    num_chunks: int
    start_frame: int
    num_frames: int
    seed: int
    transition: str  # "smooth" or "cut"
    requested_seconds: float

    @property
    def end_chunk(self) -> int:
        return self.start_chunk + self.num_chunks


@dataclass(frozen=True)
class FilmPlan:
    """The whole film, in chunks and frames."""

    title: str
    width: int
    height: int
    fps: int
    seed: int
    geometry: Geometry
    segments: tuple[SegmentPlan, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def num_chunks(self) -> int:
        return self.segments[-1].end_chunk

    @property
    def num_frames(self) -> int:
        return self.geometry.num_frames(self.num_chunks)

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    @property
    def num_latent_frames(self) -> int:
        return self.num_chunks * self.geometry.chunk

    def segment_of_chunk(self, chunk: int) -> SegmentPlan:
        """The segment that this chunk belongs to."""
        assert 0 <= chunk < self.num_chunks, f"chunk {chunk} is not in a film of {self.num_chunks}"
        low, high = 0, len(self.segments)
        while high - low > 1:
            middle = (low + high) // 2
            if self.segments[middle].start_chunk <= chunk:
                low = middle
            else:
                high = middle
        return self.segments[low]

    def latent_frame_seconds(self, latent_frame: int) -> float:
        """The film time at which this latent frame is shown."""
        return self.geometry.latent_frame_range(latent_frame).start / self.fps


class Timeline:
    """A film's segments in chunks and frames: it grows by a segment, and its last segment may yet get another length.

    Every segment's end goes to the chunk nearest to where all segments so far should end, so that rounding never adds up;
    a segment has at least one chunk.
    """

    def __init__(self, geometry: Geometry, fps: int, film_seed: int) -> None:
        self.geometry = geometry
        self.fps = fps
        self.film_seed = film_seed
        self.segments: list[SegmentPlan] = []
        self._end, self._end_before = _Seconds(), _Seconds()

    def add(self, segment: Segment) -> SegmentPlan:
        """Append a segment; a seed that it lacks is derived from the film's."""
        index, start = len(self.segments), self.num_chunks
        self._end_before, self._end = self._end, self._end.plus(segment.seconds)
        end = max(self.geometry.nearest_chunk(self._end.total * self.fps), start + 1)
        first, last = self.geometry.num_frames(start), self.geometry.num_frames(end)
        planned = SegmentPlan(
            index=index,
            prompt=segment.prompt,
            start_chunk=start,
            num_chunks=end - start,
            start_frame=first,
            num_frames=last - first,
            seed=derive_seed(self.film_seed, index) if segment.seed is None else segment.seed,
            transition=segment.transition,
            requested_seconds=segment.seconds,
        )
        self.segments.append(planned)
        return planned

    def set_length(self, num_chunks: int) -> SegmentPlan:
        """Give the last segment so many chunks; what it then asks for are the seconds that are planned as these."""
        segment = self.segments.pop()
        frames = self.geometry.num_frames(segment.start_chunk + num_chunks)
        seconds = frames / self.fps - self._end_before.total
        self._end = self._end_before
        return self.add(Segment(segment.prompt, seconds, segment.seed, segment.transition))

    @property
    def num_chunks(self) -> int:
        return self.segments[-1].end_chunk if self.segments else 0

    def plan(self, title: str, width: int, height: int) -> FilmPlan:
        """The film as far as it is known."""
        return FilmPlan(title, width, height, self.fps, self.film_seed, self.geometry, tuple(self.segments))


def plan_film(storyboard: Storyboard, geometry: Geometry, default_size: tuple[int, int] | None = None) -> FilmPlan:
    """The plan of a whole film. `default_size`: (width, height) where the storyboard names none.

    A storyboard without a seed is planned with seed 0; draw one first (`storyboard.with_seed`).
    Raises UsageError for a size that the model cannot make.
    """
    size = (storyboard.width, storyboard.height) if storyboard.width and storyboard.height else default_size
    assert size is not None, "neither the storyboard nor the model says a size"
    geometry.check_size(*size, storyboard.model)
    timeline = Timeline(geometry, storyboard.fps or DEFAULT_FPS, storyboard.seed or 0)
    for segment in storyboard.segments:
        timeline.add(segment)
    return timeline.plan(storyboard.title, *size)


def derive_seed(film_seed: int, index: int) -> int:
    """A segment's own seed, from the film's seed and the segment's number: the same on every machine."""
    digest = hashlib.sha256(f"memflow {film_seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _DERIVED_SEED_BITS)


_DERIVED_SEED_BITS = 48  # exact in every JSON reader


class _Seconds(NamedTuple):
    """A running total that stays exact (Kahan): 10,000 durations of 0.1 s end where they should."""

    total: float = 0.0
    compensation: float = 0.0

    def plus(self, seconds: float) -> "_Seconds":
        corrected = seconds - self.compensation
        total = self.total + corrected
        return _Seconds(total, (total - self.total) - corrected)
