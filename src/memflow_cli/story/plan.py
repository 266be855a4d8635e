"""A film's plan: its segments in chunks and frames. No torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from memflow_cli.geometry import Geometry
from memflow_cli.story.storyboard import Storyboard


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


def plan_film(storyboard: "Storyboard", geometry: Geometry, default_size: tuple[int, int] | None = None) -> FilmPlan:
    """The plan of a film: every segment's end goes to the nearest whole chunk, so that rounding never adds up.

    A segment has at least one chunk. `default_size`: (width, height) where the storyboard names none.
    A storyboard without a seed is planned with seed 0; draw one first (`storyboard.with_seed`).
    Raises UsageError for a size that the model cannot make.
    """
    size = (storyboard.width, storyboard.height) if storyboard.width and storyboard.height else default_size
    assert size is not None, "neither the storyboard nor the model says a size"
    width, height = size
    geometry.check_size(width, height, storyboard.model)
    film_seed = storyboard.seed or 0
    ends = _end_chunks([segment.seconds for segment in storyboard.segments], geometry, storyboard.fps)
    plans = []
    start = 0
    for index, (segment, end) in enumerate(zip(storyboard.segments, ends, strict=True)):
        first, last = geometry.num_frames(start), geometry.num_frames(end)
        plans.append(
            SegmentPlan(
                index=index,
                prompt=segment.prompt,
                start_chunk=start,
                num_chunks=end - start,
                start_frame=first,
                num_frames=last - first,
                seed=derive_seed(film_seed, index) if segment.seed is None else segment.seed,
                transition=segment.transition,
                requested_seconds=segment.seconds,
            )
        )
        start = end
    return FilmPlan(storyboard.title, width, height, storyboard.fps, film_seed, geometry, tuple(plans))


def derive_seed(film_seed: int, index: int) -> int:
    """A segment's own seed, from the film's seed and the segment's number: the same on every machine."""
    digest = hashlib.sha256(f"memflow {film_seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _DERIVED_SEED_BITS)


_DERIVED_SEED_BITS = 48  # exact in every JSON reader


def _end_chunks(seconds: Sequence[float], geometry: Geometry, fps: int) -> list[int]:
    """The chunk at which each segment ends. The wished end times add up exactly (fsum of a running total)."""
    ends: list[int] = []
    total = 0.0
    compensation = 0.0  # Kahan: 10,000 durations of 0.1 s end where they should
    for value in seconds:
        corrected = value - compensation
        summed = total + corrected
        compensation = (summed - total) - corrected
        total = summed
        previous = ends[-1] if ends else 0
        ends.append(max(geometry.nearest_chunk(total * fps), previous + 1))
    return ends
