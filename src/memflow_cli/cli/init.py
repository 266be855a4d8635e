"""`memflow init`: a commented storyboard to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from memflow_cli.cli.talk import note, result, result_path
from memflow_cli.errors import UsageError

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
    try:
        with file.open("w" if overwrite else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists already", hint="-y replaces it") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    result_path(file)
    note(f"next: memflow plan {file}, then memflow generate {file}")
