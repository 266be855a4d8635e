"""The live view: how far film and segment are, speed, times, the prompt, and what memory recalls just now.

Every line is cut at the terminal's width, so nothing wraps and what is drawn can be drawn over.
"""

import os
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from memflow_cli.cli.pace import Pace, describe_start, recalled_times
from memflow_cli.cli.words import STAGES, duration_text
from memflow_cli.film.events import ChunkDone, ChunkReplayed, FilmDone, FilmStarted, SegmentDone, StageStarted
from memflow_cli.story.texts import clock, one_line

_REFRESHES = 8  # a second
_BAR, _NARROW_BAR = 24, 12  # columns, the latter on a terminal of less than _NARROW
_NARROW = 60


def redrawn_in_place(view: RenderableType, refreshes: float) -> Live:
    """`view` on stderr, drawn anew so many times a second, and gone at the end.

    Results printed to a terminal are moved above it; to a pipe or file they go as they are.
    """
    console = Console(file=sys.stderr, no_color=bool(os.environ.get("NO_COLOR")) or None, highlight=False)
    return Live(
        view, console=console, refresh_per_second=refreshes, transient=True, redirect_stdout=sys.stdout.isatty()
    )


class LiveProgress:
    """Redrawn in place on a terminal; when it ends, the lines that were worth keeping stay."""

    def __init__(self) -> None:
        self._view = _View()
        self._live = redrawn_in_place(self._view, _REFRESHES)
        self._console = self._live.console

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def stage(self, text: str) -> None:
        self._view.begin_stage(text)

    def film(self, number: int, total: int) -> None:
        self._view.end()
        self._view.which = f"film {number} of {total}" if total > 1 else ""

    def __call__(self, event: object) -> None:
        match event:
            case FilmStarted():
                self._console.print(escape(describe_start(event)))
                self._view.begin_film(event)
            case StageStarted():
                self._view.begin_stage(STAGES.get(event.stage, event.stage))
            case ChunkReplayed():
                self._view.begin_stage(f"{STAGES['replay']}: chunk {event.chunk + 1}")
            case ChunkDone():
                self._view.show_chunk(event)
            case SegmentDone():
                number, prompt = event.segment.index + 1, escape(one_line(event.segment.prompt))
                self._console.print(f"[green]segment {number}[/] {prompt}", overflow="ellipsis", no_wrap=True)
            case FilmDone():
                self._view.end()


class _View:
    """What stands on the terminal. Drawn by a thread of rich's own, so that clocks run while a chunk is made."""

    def __init__(self) -> None:
        self.which = ""
        self._stage = ""
        self._stage_began = time.monotonic()
        self._film_began = time.monotonic()
        self._pace: Pace | None = None
        self._chunk: ChunkDone | None = None

    def begin_stage(self, text: str) -> None:
        self._stage, self._stage_began = one_line(text), time.monotonic()

    def begin_film(self, event: FilmStarted) -> None:
        self._pace, self._chunk, self._film_began = Pace(event), None, time.monotonic()

    def show_chunk(self, event: ChunkDone) -> None:
        assert self._pace is not None, "the film has begun"
        self._pace.chunk_done(event)
        self._chunk, self._stage = event, ""

    def end(self) -> None:
        self._pace, self._chunk, self._stage, self.which = None, None, "", ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line in self._lines(options.max_width < _NARROW, options.ascii_only):
            line.no_wrap, line.overflow = True, "crop" if options.ascii_only else "ellipsis"
            line.truncate(max(1, options.max_width - len("^C ")), overflow=line.overflow)  # which the terminal adds
            yield line

    def _lines(self, is_narrow: bool, is_ascii: bool) -> Iterator[Text]:
        pace, chunk, stage = self._pace, self._chunk, self._stage  # which the film's own thread may change meanwhile
        if pace is not None and chunk is not None:
            yield from self._film_lines(pace, chunk, _NARROW_BAR if is_narrow else _BAR, is_ascii)
        if stage:
            now = time.monotonic()
            frames = "|/-\\" if is_ascii else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
            spinner = frames[int(now * _REFRESHES) % len(frames)]
            yield Text(" ".join([spinner, stage, duration_text(now - self._stage_began)]))
        elif pace is None or chunk is None:
            yield Text("")

    def _film_lines(self, pace: Pace, chunk: ChunkDone, width: int, is_ascii: bool) -> Iterator[Text]:
        plan, segment = pace.plan, chunk.segment
        done = chunk.chunk + 1 - segment.start_chunk
        made = f"{clock(pace.num_frames / plan.fps, 0)} of {clock(plan.seconds, 0)}"
        yield Text("film     ").append(_bar(chunk.chunk + 1, plan.num_chunks, width, is_ascii)).append(f"  {made}")
        number = f"{segment.index + 1} of {len(plan.segments)}"
        yield Text("segment  ").append(_bar(done, segment.num_chunks, width, is_ascii)).append(f"  {number}")
        elapsed, left = time.monotonic() - self._film_began, pace.seconds_left
        speed = [f"{pace.frames_per_second:.1f} frames/s", duration_text(elapsed)]
        speed += [f"{duration_text(left)} left"] if left else []
        yield Text("speed    ").append(", ".join([*speed, *([self.which] if self.which else [])]))
        times = recalled_times(plan, [chunk.record])
        recalls = f"recalls {', '.join(times)}" if times else "recalls nothing yet"
        yield Text("memory   ").append(recalls, "cyan")
        prompt = one_line(segment.prompt)
        yield Text(prompt.encode("ascii", "backslashreplace").decode() if is_ascii else prompt, "italic")


def _bar(done: int, total: int, width: int, is_ascii: bool) -> Text:
    full = width * min(done, total) // total
    filled, rest = ("#", "-") if is_ascii else ("━", "─")
    return Text(filled * full, "green").append(rest * (width - full), "dim")
