"""What is told while films are made on a cluster: one table of all films under way, or the lines of each, with its name."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from memflow_cli.cli.pace import Pace
from memflow_cli.cli.progress import JsonProgress, NoProgress, PlainProgress, Progress, choose_kind, make_progress
from memflow_cli.cli.talk import note, tell_event
from memflow_cli.cli.words import STAGES, duration_text
from memflow_cli.film.events import ChunkDone, ChunkReplayed, FilmDone, FilmStarted, StageStarted
from memflow_cli.story.texts import one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from memflow_cli.studio.farm.order import News

_MAX_ROWS = 40
_REFRESHES = 4  # a second
_BAR = 24  # columns


class FarmProgress(Protocol):
    """Called with a film, as the command line names it, and what is told of it."""

    def __call__(self, film: Path, news: "News") -> None: ...
    def stage(self, text: str) -> None: ...
    def over(self, number: int) -> None:
        """This film needs nothing: it is there, or was refused before it was handed out."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_farm_progress(kind: str, num_frames: Sequence[int]) -> FarmProgress:
    """`kind`: as make_progress has it. `num_frames`: of each film of the command line."""
    kind = choose_kind(kind)
    if kind == "rich":
        return FarmTable(num_frames)
    general = make_progress(kind)
    if kind == "jsonl":
        return FarmLines(general, lambda film, node: JsonProgress({"film": str(film), "node": node}), _lost_event)
    if kind == "none":
        return FarmLines(general, lambda film, node: NoProgress(), lambda film, node, why: None)
    return FarmLines(general, lambda film, node: PlainProgress(f"{film.name} on {node}: "), _lost_note)


def _lost_event(film: Path, node: str, why: str) -> None:
    tell_event({"event": "lost", "text": one_line(why), "film": str(film), "node": node})


def _lost_note(film: Path, node: str, why: str) -> None:
    note(f"{film.name}: its worker on {node} is lost ({one_line(why)}); another one goes on")


class FarmLines:
    """The lines of each film as they come. `general`: tells of what belongs to none; `make`: of one film on one node;
    `lost`: of a worker that is gone.
    """

    def __init__(
        self, general: Progress, make: Callable[[Path, str], Progress], lost: Callable[[Path, str, str], None]
    ) -> None:
        self._general = general
        self._make = make
        self._lost = lost
        self._told: dict[int, Progress] = {}  # of films under way

    def stage(self, text: str) -> None:
        self._general.stage(text)

    def over(self, number: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, film: Path, news: "News") -> None:
        from memflow_cli.studio.farm.order import Failed, Lost

        if isinstance(news.event, Lost):
            self._told.pop(news.number, None)
            self._lost(film, news.node, news.event.why)
            return
        if news.number not in self._told:
            self._told[news.number] = self._make(film, news.node)
        if not isinstance(news.event, Failed):
            self._told[news.number](news.event)
        if isinstance(news.event, Failed | FilmDone):
            del self._told[news.number]


class _Row:
    def __init__(self, name: str) -> None:
        self.name = name
        self.node = ""
        self.state = ""
        self.segment = ""
        self.pace: Pace | None = None


class FarmTable:
    """Redrawn in place: a row for each film under way, and one bar for all of them."""

    def __init__(self, num_frames: Sequence[int]) -> None:
        from memflow_cli.cli.terminal import redrawn_in_place

        self._left = dict(enumerate(num_frames, start=1))  # frames of films that are not over
        self._total = sum(num_frames)
        self._over = 0  # frames of films that are
        self._num_over = 0
        self._began = time.monotonic()
        self._new_frames = 0
        self._rows: dict[int, _Row] = {}
        self._stage = ""
        self._live = redrawn_in_place(self, _REFRESHES)
        self._console = self._live.console

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def stage(self, text: str) -> None:
        self._stage = one_line(text)

    def over(self, number: int) -> None:
        self._num_over += 1
        self._over += self._left.pop(number, 0)
        self._rows.pop(number, None)

    def __call__(self, film: Path, news: "News") -> None:
        from memflow_cli.studio.farm.order import Failed, Lost

        self._stage = ""
        row = self._rows.setdefault(news.number, _Row(film.name))
        row.node = news.node
        match news.event:
            case FilmStarted():
                row.pace, row.state = Pace(news.event), "begun"
            case StageStarted():
                row.state = STAGES.get(news.event.stage, news.event.stage)
            case ChunkReplayed():
                row.state = STAGES["replay"]
            case ChunkDone() if row.pace is not None:
                before = row.pace.num_frames
                row.pace.chunk_done(news.event)
                self._new_frames += row.pace.num_frames - before
                segment = news.event.segment
                row.segment, row.state = f"{segment.index + 1} of {len(row.pace.plan.segments)}", "made"
            case Lost():
                row.pace, row.node, row.state = None, "", f"waits; {news.node} is lost"
            case FilmDone() | Failed():
                self.over(news.number)

    # drawing

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.table import Table
        from rich.text import Text

        rows = list(self._rows.values())  # which the driver may change meanwhile
        if rows:
            table = Table(box=None, pad_edge=False, expand=False)
            for heading in ("film", "node", "segment", "frames/s", "state"):
                table.add_column(heading, no_wrap=True, overflow="ellipsis", justify="left")
            for row in rows[:_MAX_ROWS]:
                speed = f"{row.pace.frames_per_second:.1f}" if row.pace and row.segment else ""
                cells = row.name, row.node, row.segment, speed, row.state
                table.add_row(*(Text(one_line(cell)) for cell in cells))
            yield table
            if len(rows) > _MAX_ROWS:
                yield Text(f"and {len(rows) - _MAX_ROWS} more")
        yield Text(self._summary(options.ascii_only), no_wrap=True, overflow="ellipsis")

    def _summary(self, is_ascii: bool) -> str:
        if self._stage:
            return self._stage
        under_way = sum(row.pace.num_frames for row in list(self._rows.values()) if row.pace)
        done = min(1.0, (self._over + under_way) / max(1, self._total))
        filled = int(_BAR * done)
        full, rest = ("#", "-") if is_ascii else ("━", "─")
        spent = time.monotonic() - self._began
        rate = self._new_frames / spent if spent else 0.0
        left = (self._total - self._over - under_way) / rate if rate else 0.0
        told = (
            f"{self._num_over} of {self._num_over + len(self._left)} films, {rate:.1f} frames/s, {duration_text(spent)}"
        )
        return f"all  {full * filled}{rest * (_BAR - filled)}  {told}" + (
            f", {duration_text(left)} left" if left else ""
        )
