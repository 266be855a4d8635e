"""`memflow convert`: storyboards that others write -> storyboards of ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli.talk import note, result, warn
from memflow_cli.cli.text_files import holds, write_storyboard
from memflow_cli.errors import UsageError
from memflow_cli.story.texts import command_line

if TYPE_CHECKING:
    from memflow_cli.story.storyboard import Storyboard


def register(app: typer.Typer) -> None:
    app.command("convert")(convert)


def convert(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A prompt file (.jsonl, .txt), a folder of LongLive's captions, StoryMem's JSON, a film's record.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="STORY|FOLDER/", help="story.yaml, or a folder for several. [printed]"),
    ] = None,
    segment_seconds: Annotated[
        float,
        typer.Option("--segment-seconds", metavar="S", min=0.01, help="Length of a segment whose file says none."),
    ] = 10.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace files that are there already.")] = False,
) -> None:
    """Write a storyboard of ours from one that others write.

    It plans and makes the same film. What the file says and has no meaning here is told on stderr. Reads what `generate`
    reads: captions and shot_durations.txt of LongLive 2, lines of Infinity-RoPE and FramePack-Studio, StoryMem's JSON,
    .jsonl and plain lists.
    """
    from memflow_cli.film.carrying import carried, carry
    from memflow_cli.story.load import load_stories
    from memflow_cli.story.writing import storyboard_to_yaml

    stories = load_stories(file, segment_seconds)
    for story in stories:
        for warning in story.warnings:
            warn(warning)
        if story.files is not None and (story.files.loras or story.files.preview_decoder):
            warn(f"{file}: LoRAs and a preview decoder are given on the command line of generate; they are left out")
    paths = _outputs(file, out, len(stories))
    for story, path in zip(stories, paths, strict=True):
        if path is None:
            _warn_of_files_elsewhere(story.storyboard, path)
            result(storyboard_to_yaml(story.storyboard).rstrip("\n"))
            continue
        told = carry(story.storyboard, path)
        _warn_of_files_elsewhere(told.storyboard, path)
        text = storyboard_to_yaml(told.storyboard, path.parent)
        with carried(told):
            write_storyboard(path, text, overwrite or holds(path, text), make_folder=True)
        result(str(path))
    if len(stories) == 1 and paths[0] is not None:
        note(f"next: {command_line('plan', paths[0])}")


def _outputs(file: Path, out: str | None, num_films: int) -> list[Path | None]:
    """Where each storyboard goes; None: printed. Raises UsageError."""
    stem = file.resolve().stem
    if out is None or out == "-":
        if num_films > 1:
            raise UsageError(f"{file}: {num_films} films, which one output cannot hold", "name a folder: -o stories/")
        return [None]
    if not out.endswith("/") and not Path(out).is_dir():
        if num_films > 1:
            raise UsageError(
                f"-o {out}: {num_films} storyboards do not fit into one file", "name a folder: -o stories/"
            )
        return [Path(out)]
    digits = len(str(num_films))
    names = [stem] if num_films == 1 else [f"{stem}-{number:0{digits}}" for number in range(1, num_films + 1)]
    return [Path(out) / f"{name}.yaml" for name in names]


def _warn_of_files_elsewhere(storyboard: "Storyboard", path: Path | None) -> None:
    """A storyboard reads files of its own folder only, whoever wrote it."""
    folder = (path.parent if path else Path()).absolute()
    for name in storyboard.files:
        if not Path(name).is_relative_to(folder):
            is_there = "copy it there and change its path" if Path(name).is_file() else "it is not there"
            warn(f"{name} lies outside of {folder}; {is_there}, or the storyboard will not be read")
