"""What came of the films of one command line: told as it happens, summed up at the end."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memflow_cli.cli.stories import Story
from memflow_cli.cli.talk import in_words, note, report_error, result_json, result_path
from memflow_cli.errors import Interrupted, MemflowError, TimeLimitReached, UsageError

if TYPE_CHECKING:
    from memflow_cli.film.events import FilmResult


@dataclass
class Batch:
    """What came of each film, told as it happens and summed up at the end.

    `stopped`: the last film was interrupted, or out of time, and no other is to follow it.
    """

    as_json: bool
    num_films: int = 0
    stopped: bool = False

    def __post_init__(self) -> None:
        # Exit codes, not errors: through its traceback an error holds its film's caches.
        self.failures: list[int] = []
        self._rows: list[tuple[str, str, str]] = []  # status, film, what there is to say

    @contextlib.contextmanager
    def attempt(self, storyboard: Path, film: Path | None = None) -> Iterator[None]:
        """Whatever goes wrong within is told as this film's failure, and stops no other."""
        try:
            yield
        except Exception as error:
            self._failed(storyboard, film, error)

    @contextlib.contextmanager
    def afterwards(self) -> Iterator[None]:
        """Whatever goes wrong within is told, and the exit code tells it; the film itself is there."""
        try:
            yield
        except Exception as error:
            self._count(error)

    def made(self, story: Story, film: Path, result: "FilmResult") -> None:
        plan = result.plan
        self._print(
            film,
            {
                "film": str(film),
                "status": "made",
                "storyboard": str(story.path),
                "title": plan.title,
                "model": story.entry.name,
                "seed": plan.seed,
                "width": plan.width,
                "height": plan.height,
                "fps": plan.fps,
                "frames": plan.num_frames,
                "seconds": round(plan.seconds, 3),
                "record": str(result.record_path),
                "trace": str(result.trace_path),
                "took_seconds": round(result.seconds, 3),
                "frames_per_second": round(result.frames_per_second, 2),
                "timings": result.timings,
            },
        )
        about = f"{plan.num_frames} frames, {result.seconds:.1f} s, {result.frames_per_second:.1f} frames/s, seed {plan.seed}"
        self._rows.append(("made", str(film), about))
        if not self.as_json:
            note(about)

    def inspected(self, film: Path) -> None:
        """Writes what a film remembered beside it."""
        with self.afterwards():
            from memflow_cli import report
            from memflow_cli.film.names import report_path

            folder = report_path(film)
            found = report.inspect(film)
            if found.memory is None:
                raise UsageError(str(found.problem), found.hint)
            report.write_report(found, folder)
            note(f"open {folder / 'index.html'} to see what it remembered")

    def skipped(self, story: Story, film: Path) -> None:
        self._rows.append(("kept", str(film), "was there already"))
        note(f"{film} is there already and stays; -y makes it again")
        self._print(film, {"film": str(film), "status": "kept", "storyboard": str(story.path)})

    def _failed(self, storyboard: Path, film: Path | None, error: Exception) -> None:
        told = self._count(error)
        self._rows.append(("failed", str(film or storyboard), told.message.splitlines()[0]))
        if self.as_json:
            content = {"film": film and str(film), "status": "failed", "storyboard": str(storyboard)}
            self._print(None, {**content, "error": told.message, "hint": told.hint, "exit_code": told.exit_code})

    def _count(self, error: Exception) -> MemflowError:
        """Tells of an error on stderr, and keeps what the command's exit code depends on."""
        told = in_words(error)
        report_error(told)
        self.failures.append(told.exit_code)
        self.stopped = isinstance(error, Interrupted | TimeLimitReached)
        return told

    def finish(self) -> None:
        """Ends the command unless all went well: with one film's own code, with 1 for several."""
        if self.failures:
            raise typer.Exit(self.failures[-1] if self.stopped or self.num_films == 1 else 1)

    def sum_up(self) -> None:
        """Of several films a line each, failures last, and how many are there."""
        if self.num_films < 2:
            return
        order = {"made": 0, "kept": 0, "failed": 1}
        width = min(60, max(len(name) for _, name, _ in self._rows))
        for status, name, about in sorted(self._rows, key=lambda row: order[row[0]]):
            note(f"{status:<7} {name:<{width}}  {about[:160]}")
        note(f"{sum(row[0] != 'failed' for row in self._rows)} of {self.num_films} films are there")

    def _print(self, film: Path | None, content: dict[str, Any]) -> None:
        if self.as_json:
            result_json(content)
        elif film is not None:
            result_path(film)
