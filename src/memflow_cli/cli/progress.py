"""What is told on stderr while a film is made: a live view, a line a segment, JSON lines, or nothing."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from memflow_cli.cli.pace import Pace, describe_start, recalled_times
from memflow_cli.cli.talk import note, tell_event
from memflow_cli.cli.words import STAGES, shorten
from memflow_cli.story.texts import clock, one_line

if TYPE_CHECKING:
    from memflow_cli.memory.record import ChunkRecord


class Progress(Protocol):
    """Called with film.py's events; `stage` tells of what happens outside a film."""

    def __call__(self, event: object) -> None: ...
    def stage(self, text: str) -> None: ...
    def film(self, number: int, total: int) -> None:
        """The film to come is this one of so many."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def choose_kind(kind: str) -> str:
    """What `auto` means here, and `rich` on a terminal that cannot go back a line."""
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    return "plain" if kind == "rich" and os.environ.get("TERM") in ("dumb", "unknown") else kind


def make_progress(kind: str) -> Progress:
    kind = choose_kind(kind)
    if kind == "rich":
        from memflow_cli.cli.terminal import LiveProgress

        return LiveProgress()
    return {"plain": PlainProgress, "jsonl": JsonProgress, "none": NoProgress}[kind]()


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

    def film(self, number: int, total: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class PlainProgress(NoProgress):
    """One line a segment. `label`: what every line begins with, where several films are made at once."""

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._pace: Pace | None = None
        self._records: dict[int, list[ChunkRecord]] = {}  # by segment: a decoder may hold frames back into the next
        self._which = ""

    def stage(self, text: str) -> None:
        note(text)

    def film(self, number: int, total: int) -> None:
        self._which = f"film {number} of {total}: " if total > 1 else ""

    def __call__(self, event: object) -> None:
        from memflow_cli.film.events import ChunkDone, FilmStarted, SegmentDone, StageStarted

        if isinstance(event, FilmStarted):
            self._pace, self._records = Pace(event), {}
            note(self._label + self._which + describe_start(event))
        elif isinstance(event, StageStarted):
            if event.stage in ("replay", "stitch"):
                note(self._label + STAGES[event.stage])
        elif isinstance(event, ChunkDone) and self._pace:
            self._pace.chunk_done(event)
            self._records.setdefault(event.segment.index, []).append(event.record)
        elif isinstance(event, SegmentDone) and self._pace:
            plan, segment = self._pace.plan, event.segment
            begin, end = (frame / plan.fps for frame in (segment.start_frame, segment.start_frame + segment.num_frames))
            times = recalled_times(plan, self._records.pop(segment.index, []))
            recalled = f"  recalled {' '.join(times[:6])}" if times else ""
            note(
                f"{self._label}segment {segment.index + 1}/{len(plan.segments)}  {clock(begin)}-{clock(end)}"
                f"  {self._pace.frames_per_second:.1f} frames/s{recalled}  {shorten(one_line(segment.prompt), 60)}"
            )


class JsonProgress(NoProgress):
    """Every event as a JSON object a line. The keys `event`, `chunk`, `segment` and `seconds` are stable.

    talk.py tells notes, warnings and errors among them. `about`: what else each line says, where several films are made
    at once.
    """

    def __init__(self, about: Mapping[str, str] | None = None) -> None:
        self._about = about or {}

    def stage(self, text: str) -> None:
        self._tell({"event": "stage", "text": text})

    def _tell(self, content: dict[str, Any]) -> None:
        tell_event({**content, **self._about})

    def __call__(self, event: object) -> None:
        from memflow_cli.film import events as film

        if isinstance(event, film.FilmStarted):
            plan = event.plan
            self._tell(
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
            self._tell({"event": "stage", "text": STAGES.get(event.stage, event.stage), "total": event.total})
        elif isinstance(event, film.ChunkReplayed):
            self._tell({"event": "replayed", "chunk": event.chunk})
        elif isinstance(event, film.ChunkDone):
            seconds = {stage: round(spent, 4) for stage, spent in event.seconds.items()}
            recalled = [asdict(item) for item in event.record.bank]
            segment = event.segment.index + 1
            self._tell(
                {"event": "chunk", "chunk": event.chunk, "segment": segment, "seconds": seconds, "recalled": recalled}
            )
        elif isinstance(event, film.SegmentDone):
            self._tell({"event": "segment", "segment": event.segment.index + 1, "part": str(event.path)})
        elif isinstance(event, film.FilmDone):
            self._tell({"event": "done", "film": str(event.result.path), "seconds": round(event.result.seconds, 3)})
