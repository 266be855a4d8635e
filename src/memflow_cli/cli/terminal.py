"""The live view: the film's and the segment's bars, speed, time left, and what memory recalls just now."""

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from memflow_cli.cli.progress import Pace, describe_start, recalled_times
from memflow_cli.cli.words import STAGES, duration_text
from memflow_cli.story.texts import one_line

if TYPE_CHECKING:
    from memflow_cli.film.events import ChunkDone, FilmStarted


class LiveProgress:
    """Redrawn in place on a terminal; when it ends, the lines that were worth keeping stay."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, no_color=bool(os.environ.get("NO_COLOR")) or None, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
        )
        self._status = Text("")
        self._memory = Text("", style="cyan", overflow="ellipsis", no_wrap=True)
        # Results printed to a terminal are moved above the bars; to a pipe or file they must go as they are.
        self._live = Live(
            Group(self._bars, self._memory, self._status),
            console=self._console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._film: TaskID | None = None
        self._segment: TaskID | None = None
        self._shown_segment = -1
        self._pace: Pace | None = None

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.plain = self._memory.plain = ""
        self._live.__exit__(kind, error, trace)

    def stage(self, text: str) -> None:
        self._status.plain = text

    def __call__(self, event: object) -> None:
        from memflow_cli.film import events as film

        match event:
            case film.FilmStarted():
                self._begin(event)
            case film.StageStarted():
                self._status.plain = STAGES.get(event.stage, event.stage)
            case film.ChunkReplayed():
                self._status.plain = f"replaying chunk {event.chunk + 1}"
            case film.ChunkDone():
                self._show_chunk(event)
            case film.SegmentDone():
                self._console.print(
                    f"[green]segment {event.segment.index + 1}[/] {escape(one_line(event.segment.prompt))}",
                    overflow="ellipsis",
                    no_wrap=True,
                )
            case film.FilmDone():
                self._status.plain = ""

    def _begin(self, event: "FilmStarted") -> None:
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        plan = event.plan
        self._pace = Pace(plan, event.resumed_chunks)
        self._shown_segment = -1
        self._memory.plain = ""  # what an earlier film of the batch recalled
        self._console.print(escape(describe_start(event)))
        self._film = self._bars.add_task("film", total=plan.num_chunks, completed=event.resumed_chunks, note="")
        self._segment = self._bars.add_task("segment", total=None, note="")

    def _show_chunk(self, event: "ChunkDone") -> None:
        assert self._pace is not None and self._film is not None and self._segment is not None, "the film has begun"
        pace, segment = self._pace, event.segment
        pace.chunk_done(event)
        left = pace.seconds_left
        speed = f"{pace.frames_per_second:.1f} frames/s" + (f", {duration_text(left)} left" if left else "")
        self._bars.update(self._film, completed=event.chunk + 1, note=speed)
        note = f"{segment.index + 1}/{len(pace.plan.segments)}  {one_line(segment.prompt)[:60]}"
        done = event.chunk + 1 - segment.start_chunk
        self._bars.update(self._segment, total=segment.num_chunks, completed=done, note=note)
        times = recalled_times(pace.plan, event.record)
        self._memory.plain = f"memory    recalls {', '.join(times)}" if times else "memory    recalls nothing yet"
        self._status.plain = ""
