"""Text files that a command writes where its user says: storyboards."""

import os
import shlex
from pathlib import Path

from memflow_cli.errors import MemflowError, UsageError


def write_storyboard(path: Path, text: str, overwrite: bool, make_folder: bool = False) -> None:
    """The whole file, or the one that was there. Raises UsageError for one that is there, unless it may be replaced; nothing
    is written through a link, into a pipe or a device.
    """
    from memflow_cli.film.durable import write_through
    from memflow_cli.film.preflight import check_file

    if path.suffix.lower() not in ("", ".yaml", ".yml"):  # .txt, .jsonl and .json are read as something else
        raise UsageError(f"{path}: a storyboard's name ends in .yaml")
    if not make_folder and not os.path.isdir(path.parent):
        raise UsageError(
            f"{path}: there is no folder {path.parent}", f"make it first: mkdir -p {shlex.quote(str(path.parent))}"
        )
    if os.path.lexists(path):
        check_file(path, "Choose another name.")
        if not overwrite:
            raise UsageError(f"{path} exists already", hint="-y replaces it")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_through(path, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    except MemflowError as error:
        raise UsageError(error.message, error.hint) from None


def holds(path: Path, text: str) -> bool:
    """Whether the file is this one already: what an interrupted command has written is not in its own way."""
    from memflow_cli.film.ours import read_regular

    content = text.encode(errors="surrogateescape")
    try:
        return read_regular(path, len(content)) == content
    except OSError:
        return False
