"""`memflow init`: a commented storyboard to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from memflow_cli.cli.talk import note, result, result_path
from memflow_cli.cli.text_files import write_storyboard
from memflow_cli.story.texts import command_line

TEMPLATE = Path(__file__).with_name("template.yaml")


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write; - prints it.")] = Path(
        "storyboard.yaml"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented storyboard that generates as it is."""
    text = TEMPLATE.read_text(encoding="utf-8")
    if str(file) == "-":
        result(text.rstrip())
        return
    write_storyboard(file, text, overwrite)
    result_path(file)
    note(f"next: {command_line('plan', file)}, then {command_line('generate', file)}")
