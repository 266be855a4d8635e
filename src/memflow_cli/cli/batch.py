"""What came of the films of one command line: told as it happens, summed up at the end."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memflow_cli.cli.stories import Story
from memflow_cli.cli.talk import note, report_error
from memflow_cli.errors import Interrupted, MemflowError, TimeLimitReached

if TYPE_CHECKING:
    from memflow_cli.film import FilmResult


@dataclass
class Batch:
    """What came of each film, told as it happens and summed up at the end."""

    as_json: bool
    num_films: int = 0

    def __post_init__(self) -> None:
        self.failures: list[MemflowError] = []
        self._rows: list[tuple[str, str, str]] = []  # status, film, what there is to say

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

    def skipped(self, story: Story, film: Path) -> None:
        self._rows.append(("kept", str(film), "was there already"))
        note(f"{film} is there already and stays; -y makes it again")
        self._print(film, {"film": str(film), "status": "kept", "storyboard": str(story.path)})

    def failed(self, storyboard: Path, film: Path | None, error: MemflowError) -> None:
        self.failures.append(error)
        self._rows.append(("failed", str(film or storyboard), error.message.splitlines()[0]))
        report_error(error)
        if self.as_json:
            content = {"film": film and str(film), "status": "failed", "storyboard": str(storyboard)}
            self._print(None, {**content, "error": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def finish(self) -> None:
        """Sums up several films and ends the command unless all went well: one film's own code, 1 for several."""
        if self.num_films > 1 and self._rows:
            self._sum_up()
        if not self.failures:
            return
        stopped = isinstance(self.failures[-1], Interrupted | TimeLimitReached)
        raise typer.Exit(self.failures[-1].exit_code if stopped or self.num_films == 1 else 1)

    def _sum_up(self) -> None:
        """A line a film, failures last, and how many are there."""
        order = {"made": 0, "kept": 0, "failed": 1}
        width = min(60, max(len(name) for _, name, _ in self._rows))
        for status, name, about in sorted(self._rows, key=lambda row: order[row[0]]):
            note(f"{status:<7} {name:<{width}}  {about[:160]}")
        note(f"{sum(row[0] != 'failed' for row in self._rows)} of {self.num_films} films are there")

    def _print(self, film: Path | None, content: dict[str, Any]) -> None:
        print(json.dumps(content, ensure_ascii=False) if self.as_json else film, flush=True)
