"""How far a film is, how fast it comes into being, and what memory gives it: what every kind of progress tells."""

import time
from collections.abc import Sequence

from memflow_cli.cli.words import count
from memflow_cli.film.events import ChunkDone, FilmStarted
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.story.plan import FilmPlan
from memflow_cli.story.texts import clock, one_line


class Pace:
    """How fast a film comes into being, and how long it will take.

    The clock begins with the first new chunk: reading prompts and going over an earlier run again tell nothing of that.
    """

    def __init__(self, event: FilmStarted) -> None:
        self.plan = event.plan
        self.num_frames = self._first_frame = event.plan.geometry.num_frames(event.resumed_chunks)
        self._sampling = event.sampling
        self._passes, self._denoising = 0, 0.0  # of the new chunks, and the seconds that these took
        self._passes_left = sum(map(self._num_passes, range(event.resumed_chunks, event.plan.num_chunks)))
        self._started: float | None = None

    def chunk_done(self, event: ChunkDone) -> None:
        if self._started is None:
            self._started = time.perf_counter() - sum(event.seconds.values())
        self._denoising += event.seconds.get("denoise", 0.0)
        passes = self._num_passes(event.chunk)
        self._passes, self._passes_left = self._passes + passes, self._passes_left - passes
        self.num_frames = self.plan.geometry.num_frames(event.chunk + 1)

    @property
    def frames_per_second(self) -> float:
        spent = self._spent
        return (self.num_frames - self._first_frame) / spent if spent else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Denoising counts by passes, of which the first chunks under a prompt may take more; all else by frames."""
        if not self._passes:
            return None
        frames, frames_left = self.num_frames - self._first_frame, self.plan.num_frames - self.num_frames
        rest = max(0.0, self._spent - self._denoising)
        return self._denoising * self._passes_left / self._passes + rest * frames_left / frames

    @property
    def _spent(self) -> float:
        return 0.0 if self._started is None else time.perf_counter() - self._started

    def _num_passes(self, chunk: int) -> int:
        return self._sampling.num_passes(chunk - self.plan.segment_of_chunk(chunk).start_chunk)


def recalled_times(plan: FilmPlan, records: Sequence[ChunkRecord]) -> list[str]:
    """The film times of what was recalled for some chunks, most used first, as inspect-memory has them; of given pictures
    whose they are, once each.
    """
    use: dict[int, float] = {}
    score: dict[int, float] = {}
    pictures = {frame: names for record in records for frame, names in record.whose.items() if frame < 0}
    for item in (item for record in records for item in record.bank):
        use[item.frame] = use.get(item.frame, 0.0) + item.use
        score[item.frame] = item.score
    frames = sorted(use, key=lambda frame: (-use[frame], -score[frame], frame))
    told = [
        clock(plan.latent_frame_seconds(frame)) if frame >= 0 else f"picture of {one_line(', '.join(pictures[frame]))}"
        for frame in frames
    ]
    return list(dict.fromkeys(told))


def describe_start(event: FilmStarted) -> str:
    plan = event.plan
    length = f"{count(len(plan.segments), 'segment')}, {clock(plan.seconds)}, {count(plan.num_chunks, 'chunk')}"
    text = f"{one_line(plan.title)}: {length}, seed {plan.seed}"
    if event.resumed_chunks:
        text += f"; going on after {count(event.resumed_chunks, 'chunk')} of an earlier run"
    if event.changed_segment is not None:
        text += f"; the storyboard changed from segment {event.changed_segment + 1} on, which is made anew"
    return text
