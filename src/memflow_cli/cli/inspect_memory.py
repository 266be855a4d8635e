"""`memflow inspect-memory`: what a film remembered, as pictures, a page, a table or JSON."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memflow_cli.cli.talk import note, result_json
from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    from memflow_cli.film.given_picture import GivenPicture
    from memflow_cli.report import Inspection
    from memflow_cli.report.summary import RecalledFrame, SegmentMemory

_NARROW = 70  # columns; a terminal of less has no room for prompts beside what they recalled


class Format(StrEnum):
    png = "png"
    html = "html"
    json = "json"
    table = "table"


def register(app: typer.Typer) -> None:
    app.command("inspect-memory")(inspect_memory)


def inspect_memory(
    film: Annotated[Path, typer.Argument(metavar="FILM|TRACE", help="film.mp4, or its film.memory.jsonl.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where pictures and page go. [film.inspect/]")
    ] = None,
    segments: Annotated[
        list[int] | None, typer.Option("--segment", "-s", metavar="N", help="Only this segment (from 1); repeatable.")
    ] = None,
    formats: Annotated[
        list[Format] | None, typer.Option("--format", "-f", help="Only this; repeatable. [png, html and table]")
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, max=100, help="Recalled frames shown of a segment.")] = 6,
) -> None:
    """See what a film remembered: which frames each segment recalled, how much they were used, and with what score.

    Writes into DIR, for each segment, the recalled frames themselves and a contact sheet; memory-map.png, in which
    whoever returns draws a line back to where they were first seen; and index.html, a page of its own that plays the
    film beside its memory. Prints a table. Needs no model.
    """
    from memflow_cli.report import inspect, write_report

    wanted = set(formats or (Format.png, Format.html, Format.table))
    found = inspect(film)
    only = _checked(found, segments or [])
    folder = out or found.folder
    if found.memory and wanted & {Format.png, Format.html}:
        write_report(found, folder, Format.png in wanted, Format.html in wanted, top, only)
    if Format.json in wanted:
        result_json(to_json(found, folder, top, only), indent=1)
    if Format.table in wanted:
        _print_table(found, top, only)
    _tell_of_kept_end(found)
    if Format.html in wanted and found.memory:
        note(f"open {folder / 'index.html'}")
    elif Format.png in wanted and found.memory:
        note(f"pictures in {folder}")
    if found.problem:
        raise UsageError(found.problem, found.hint)


def _tell_of_kept_end(found: "Inspection") -> None:
    """Of segments that were made after another take: what they recalled of it is not what the pictures show."""
    from memflow_cli.film.recipe import Recipe, read_record

    record = read_record(found.film) if found.film else None
    try:
        kept = Recipe.from_json((record or {}).get("recipe")).made_after_others
    except ValueError:
        return
    if kept:
        numbers = ", ".join(str(index + 1) for index in kept)
        note(f"made after another take of what comes before, which is not what the pictures show: segments {numbers}")


def to_json(found: "Inspection", folder: Path, top: int, only: list[int]) -> dict[str, Any]:
    """One document; its keys are stable. Times in seconds of the film, `frame` counts latent frames."""
    content: dict[str, Any] = {
        "film": str(found.film) if found.film else None,
        "problem": found.problem,
        "files": [str(path) for path in found.written],
    }
    if found.video:
        content["video"] = {
            "codec": found.video.codec,
            "frames": found.video.num_frames,
            "seconds": found.video.seconds,
        }
    memory = found.memory
    if memory is None:
        return content
    plan = memory.plan
    return content | {
        "title": plan.title,
        "model": memory.header.model,
        "policy": memory.header.policy or None,
        "seed": plan.seed,
        "seconds": plan.seconds,
        "fps": plan.fps,
        "chunks": len(memory.chunks),
        "archive": memory.chunks[-1].archive_size if memory.chunks else 0,
        "segments": [
            _segment_json(segment, top) for segment in memory.segments if not only or segment.plan.index in only
        ],
    }


def _segment_json(segment: "SegmentMemory", top: int) -> dict[str, Any]:
    return {
        "segment": segment.plan.index + 1,
        "prompt": segment.plan.prompt,
        "start": segment.start_seconds,
        "end": segment.end_seconds,
        "transition": segment.plan.transition,
        "sink_use": segment.sink_use,
        "recalled": [
            {
                "frame": item.frame,
                "seconds": item.seconds if item.picture is None else None,
                "segment": item.segment + 1 if item.picture is None else None,
                "score": item.score,
                "use": round(item.use, 4),
                "chunks": item.num_chunks,
                "names": list(item.names),
                "picture": None if item.picture is None else _picture_json(item.picture),
            }
            for item in segment.recalled[:top]
        ],
        "candidates": segment.num_candidates,
        "called": list(segment.called),
        "recalls_nothing": segment.recalls_nothing,
        "remembers": list(segment.remembers),
        "renewed": list(segment.renewed),
        "forgotten": list(segment.forgotten),
    }


def _picture_json(picture: "GivenPicture") -> dict[str, str]:
    return {"name": picture.name, "kind": picture.kind, "file": picture.file}


def _checked(found: "Inspection", numbers: list[int]) -> list[int]:
    if found.memory is None:
        return []
    count = len(found.memory.plan.segments)
    for number in numbers:
        if not 1 <= number <= count:
            raise UsageError(f"--segment {number}: the film has {count} segments, counted from 1")
    return sorted({number - 1 for number in numbers})


def _print_table(found: "Inspection", top: int, only: list[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from memflow_cli.story.texts import clock, one_line

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    memory = found.memory
    if memory is None:
        if found.video:
            console.print(
                f"{one_line(found.name)}: {found.video.num_frames} frames, {clock(found.video.seconds)}", markup=False
            )
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=False)
    table.add_column("#", justify="right")
    is_narrow = console.width < _NARROW
    columns = ("time", "prompt", "recalled")
    for heading in (", ".join(columns),) if is_narrow else columns:
        table.add_column(heading, no_wrap=heading == "time")
    for segment in memory.segments:
        if only and segment.plan.index not in only:
            continue
        cells = [
            Text(f"{clock(segment.start_seconds)}-{clock(segment.end_seconds)}"),
            Text(one_line(segment.plan.prompt[:200])),
            _recalled_text(segment.recalled[:top], segment.is_activated) if memory.chunks else Text("not known", "dim"),
        ]
        table.add_row(str(segment.plan.index + 1), *([Text("\n").join(cells)] if is_narrow else cells))
    console.print(table)
    if any(segment.recalled for segment in memory.segments):
        console.print("recalled, most used first: time (use where attention chose, score)", style="dim")


def _recalled_text(recalled: "tuple[RecalledFrame, ...]", is_activated: bool) -> Any:
    from rich.text import Text

    from memflow_cli.report.telling import score_text, when_text
    from memflow_cli.story.texts import clock, one_line

    text = Text()
    for index, item in enumerate(recalled):
        text.append("\n" if index else "")
        when = clock(item.seconds) if item.picture is None else one_line(when_text(item))
        text.append(when, "bold" if item.use >= 0.5 else "")
        use = f"{item.use:.0%}, " if is_activated else ""
        text.append(f" ({use}{score_text(item.score)})", "dim")
    return text or Text("nothing", "dim")
