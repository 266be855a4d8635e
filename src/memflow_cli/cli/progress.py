"""What is told on stderr while a film is made: a live view, a line a segment, JSON lines, or nothing."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from memflow_cli.cli.talk import note, tell_event
from memflow_cli.cli.words import STAGES, count
from memflow_cli.story.texts import clock, one_line

if TYPE_CHECKING:
    from memflow_cli.film.events import ChunkDone
    from memflow_cli.memory.record import ChunkRecord
    from memflow_cli.story.plan import FilmPlan


class Progress(Protocol):
    """Called with film.py's events; `stage` tells of what happens outside a film."""

    def __call__(self, event: object) -> None: ...
    def stage(self, text: str) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_progress(kind: str) -> Progress:
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    if kind == "rich":
        from memflow_cli.cli.terminal import LiveProgress

        return LiveProgress()
    return {"plain": PlainProgress, "jsonl": JsonProgress, "none": NoProgress}[kind]()


class Pace:
    """How fast a film comes into being, and how long it will take.

    The clock begins with the first new chunk: reading prompts and going over an earlier run again tell nothing of that.
    """

    def __init__(self, plan: "FilmPlan", resumed_chunks: int) -> None:
        self.plan = plan
        self.num_frames = self._first_frame = plan.geometry.num_frames(resumed_chunks)
        self._started: float | None = None

    def chunk_done(self, event: "ChunkDone") -> None:
        if self._started is None:
            self._started = time.perf_counter() - sum(event.seconds.values())
        self.num_frames = self.plan.geometry.num_frames(event.chunk + 1)

    @property
    def frames_per_second(self) -> float:
        spent = 0.0 if self._started is None else time.perf_counter() - self._started
        return (self.num_frames - self._first_frame) / spent if spent else 0.0

    @property
    def seconds_left(self) -> float | None:
        rate = self.frames_per_second
        return (self.plan.num_frames - self.num_frames) / rate if rate else None


def recalled_times(plan: "FilmPlan", record: "ChunkRecord") -> list[str]:
    """The film times of what memory recalled for a chunk, most used first."""
    return _most_used(plan, [record])


def _most_used(plan: "FilmPlan", records: "Sequence[ChunkRecord]") -> list[str]:
    """The film times of what was recalled for some chunks, most used first, as inspect-memory has them."""
    use: dict[int, float] = {}
    score: dict[int, float] = {}
    for item in (item for record in records for item in record.bank):
        use[item.frame] = use.get(item.frame, 0.0) + item.use
        score[item.frame] = item.score
    frames = sorted(use, key=lambda frame: (-use[frame], -score[frame], frame))
    return [clock(plan.latent_frame_seconds(frame)) for frame in frames]


@contextlib.contextmanager
def chunk_bar(total: int, beginning: str, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar of chunks on stderr, if `shown` and that is a terminal: gives what is to be told how many are done.

    `beginning`: what happens before the first. It is drawn when it is told, by no thread of its own: what runs between
    is being measured.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda chunk: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr, no_color=bool(os.environ.get("NO_COLOR")) or None, highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task(beginning, total=total)
        bar.refresh()
        yield lambda chunk: bar.update(task, completed=chunk, description="measuring", refresh=True)


class NoProgress:
    def __call__(self, event: object) -> None:
        pass

    def stage(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class PlainProgress(NoProgress):
    """One line a segment."""

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._records: dict[int, list[ChunkRecord]] = {}  # by segment: a decoder may hold frames back into the next

    def stage(self, text: str) -> None:
        note(text)

    def __call__(self, event: object) -> None:
        from memflow_cli.film.events import ChunkDone, FilmStarted, SegmentDone, StageStarted

        if isinstance(event, FilmStarted):
            self._pace = Pace(event.plan, event.resumed_chunks)
            self._records = {}
            note(describe_start(event))
        elif isinstance(event, StageStarted):
            if event.stage in ("replay", "stitch"):
                note(STAGES[event.stage])
        elif isinstance(event, ChunkDone) and self._pace:
            self._pace.chunk_done(event)
            self._records.setdefault(event.segment.index, []).append(event.record)
        elif isinstance(event, SegmentDone) and self._pace:
            plan, segment = self._pace.plan, event.segment
            end = (segment.start_frame + segment.num_frames) / plan.fps
            times = _most_used(plan, self._records.pop(segment.index, []))
            recalled = f"  recalled {' '.join(times[:6])}" if times else ""
            note(
                f"segment {segment.index + 1}/{len(plan.segments)}  {clock(segment.start_frame / plan.fps)}-{clock(end)}"
                f"  {self._pace.frames_per_second:.1f} frames/s{recalled}  {one_line(segment.prompt)[:60]}"
            )


class JsonProgress(NoProgress):
    """Every event as a JSON object a line. The keys `event`, `chunk`, `segment` and `seconds` are stable.

    talk.py tells notes, warnings and errors among them.
    """

    def stage(self, text: str) -> None:
        tell_event({"event": "stage", "text": text})

    def __call__(self, event: object) -> None:
        from memflow_cli.film import events as film

        if isinstance(event, film.FilmStarted):
            plan = event.plan
            tell_event(
                {
                    "event": "film",
                    "title": plan.title,
                    "seed": plan.seed,
                    "chunks": plan.num_chunks,
                    "frames": plan.num_frames,
                    "segments": len(plan.segments),
                    "resumed_chunks": event.resumed_chunks,
                    "changed_segment": None if event.changed_segment is None else event.changed_segment + 1,
                }
            )
        elif isinstance(event, film.StageStarted):
            tell_event({"event": "stage", "text": STAGES.get(event.stage, event.stage), "total": event.total})
        elif isinstance(event, film.ChunkReplayed):
            tell_event({"event": "replayed", "chunk": event.chunk})
        elif isinstance(event, film.ChunkDone):
            seconds = {stage: round(spent, 4) for stage, spent in event.seconds.items()}
            recalled = [asdict(item) for item in event.record.bank]
            segment = event.segment.index + 1
            tell_event(
                {"event": "chunk", "chunk": event.chunk, "segment": segment, "seconds": seconds, "recalled": recalled}
            )
        elif isinstance(event, film.SegmentDone):
            tell_event({"event": "segment", "segment": event.segment.index + 1, "part": str(event.path)})
        elif isinstance(event, film.FilmDone):
            tell_event({"event": "done", "film": str(event.result.path), "seconds": round(event.result.seconds, 3)})


def describe_start(event: Any) -> str:
    plan = event.plan
    length = f"{count(len(plan.segments), 'segment')}, {clock(plan.seconds)}, {count(plan.num_chunks, 'chunk')}"
    text = f"{one_line(plan.title)}: {length}, seed {plan.seed}"
    if event.resumed_chunks:
        text += f"; going on after {count(event.resumed_chunks, 'chunk')} of an earlier run"
    if event.changed_segment is not None:
        text += f"; the storyboard changed from segment {event.changed_segment + 1} on, which is made anew"
    return text
