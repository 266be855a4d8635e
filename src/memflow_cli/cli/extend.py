"""`memflow extend`: a finished film goes on, from what it keeps beside it, with all that it remembers."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli.talk import note
from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    from memflow_cli.story.storyboard import Segment, Storyboard


def register(app: typer.Typer) -> None:
    app.command("extend")(extend)


def extend(
    film: Annotated[Path, typer.Argument(metavar="FILM", help="A finished film; its film.json lies beside it.")],
    more: Annotated[
        Path | None,
        typer.Argument(metavar="[STORYBOARD]", help="A storyboard whose segments follow.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILM", help="The longer film.")] = ...,  # type: ignore[assignment]
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="A segment that follows; several work.")] = None,
    duration: Annotated[str, typer.Option("--duration", metavar="TIME", help="How long each --prompt lasts.")] = "4s",
    cut: Annotated[bool, typer.Option("--cut", help="Begin with a cut instead of going on smoothly.")] = False,
    progress: Annotated[str, typer.Option("--progress", metavar="KIND", help="As generate's.")] = "auto",
) -> None:
    """Go on with a finished film.

    The longer film begins with the very frames of the first, and goes on from its latents with its whole memory: it equals
    the film that its storyboard makes in one go, frame by frame. That storyboard is written beside it (longer.yaml). What the
    first film keeps (film.mp4.run) is used; where it was freed, everything is made anew.
    """
    from memflow_cli.film.names import run_path
    from memflow_cli.story.writing import storyboard_to_yaml

    if out.suffix.lower() != ".mp4" or out.resolve() == film.resolve():
        raise UsageError(f"-o {out}: the longer film is another file, whose name ends in .mp4")
    script = out.with_suffix(".yaml")
    for path in (out, run_path(out), script):
        if path.exists():
            raise UsageError(f"{path} exists already", "choose another name with -o")
    told = _recorded(film)
    following = _segments(more, prompt or [], duration)
    if cut:
        following = (replace(following[0], transition="cut"), *following[1:])
    longer = replace(told, segments=(*told.segments, *following))
    script.write_text(storyboard_to_yaml(longer, script.parent), encoding="utf-8")
    if run_path(film).is_dir():
        shutil.copytree(run_path(film), run_path(out), symlinks=True)
    else:
        note(f"{film.name} keeps nothing that could be gone on from: all of it is made anew")
    from memflow_cli.cli.app import run

    raise typer.Exit(run(["generate", str(script), "-o", str(out), "--progress", progress]))


def _recorded(film: Path) -> "Storyboard":
    """The storyboard in a film's record. Raises UsageError if there is none."""
    from memflow_cli.film.names import record_path
    from memflow_cli.story.load import load_stories

    if not film.is_file():
        raise UsageError(f"{film}: there is no such film")
    if not record_path(film).is_file():
        raise UsageError(f"{record_path(film)} is missing: without its record a film cannot be gone on with")
    return load_stories(record_path(film), 10.0)[0].storyboard


def _segments(more: Path | None, prompts: list[str], duration: str) -> "tuple[Segment, ...]":
    from memflow_cli.story.load import load_storyboard
    from memflow_cli.story.quantities import parse_segment_seconds
    from memflow_cli.story.storyboard import Segment

    if (more is None) == (not prompts):
        raise UsageError(
            "what follows is a storyboard or one --prompt or more", "memflow extend film.mp4 more.yaml -o longer.mp4"
        )
    if more is not None:
        segments = load_storyboard(more).segments
        return (replace(segments[0], image=None), *segments[1:])
    try:
        seconds = parse_segment_seconds(duration)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from None
    return tuple(Segment(" ".join(text.split()), seconds) for text in prompts)
