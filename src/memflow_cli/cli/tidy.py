"""`memflow tidy`: what finished and unfinished films keep beside them, and its room given back."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli import options
from memflow_cli.cli.talk import note, result, result_json, warn_of_each
from memflow_cli.errors import UsageError
from memflow_cli.machine.amounts import size_text
from memflow_cli.story.texts import command_line, one_line

if TYPE_CHECKING:
    from memflow_cli.film.kept import RunFolderOnDisk

ABOUT = {
    "kept": "of a finished film, which can be edited and gone on from",
    "unfinished": "of a film that is not finished: the same command goes on from it",
    "leftover": "of no film: nothing can be gone on from",
    "in use": "a film is being made in it",
}


def register(app: typer.Typer) -> None:
    app.command("tidy")(tidy)


def tidy(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where films lie; folders below it as well.")
    ] = Path(),
    free: Annotated[
        bool, typer.Option("--free", help="Remove what finished films keep. The films themselves stay as they are.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="With --free: also what was rendered of films that are not finished.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List what films keep beside them, or give its room back.

    film.mp4.run holds what a film can be edited and gone on from without making all of it again. Nothing of it is needed
    to play the film. Prints a line for each such folder, largest first, and what they take together. What is not memflow's,
    belongs to another user or cannot be read is named, and left as it is.
    """
    from memflow_cli.film.kept import find_run_folders

    if unfinished and not free:
        raise UsageError("--unfinished says what --free is to remove", hint="memflow tidy --free --unfinished")
    if not folder.is_dir():
        if folder.exists():
            raise UsageError(f"{folder}: a file, not a folder", command_line("tidy", folder.parent))
        raise UsageError(f"{folder}: there is no such folder")
    states = {"kept", "leftover", *(["unfinished"] if unfinished else [])} if free else set()
    passed_over: list[str] = []
    found = sorted(find_run_folders(folder, passed_over.append), key=lambda run: -run.num_bytes)
    removed = [run for run in found if run.state in states and _is_freed(run, passed_over.append)]
    warn_of_each(passed_over)
    if as_json:
        rows = [
            {
                "film": str(run.film),
                "folder": str(run.path),
                "state": run.state,
                "bytes": run.num_bytes,
                "freed": run in removed,
            }
            for run in found
        ]
        result_json(rows, indent=1)
        return
    for run in found:
        about = "freed" if run in removed else run.state
        result(f"{size_text(run.num_bytes):>9}  {about:<10}  {one_line(str(run.path))}")
    for state in dict.fromkeys(run.state for run in found if run not in removed):
        note(f"{state}: {ABOUT[state]}")
    if not found:
        note(f"no film in {folder} keeps anything")
        return
    num_freed, total = (size_text(sum(run.num_bytes for run in runs)) for runs in (removed, found))
    note(f"{num_freed} freed" if free else f"{total} in all; --free removes what is kept")


def _is_freed(run: "RunFolderOnDisk", passed_over: Callable[[str], None]) -> bool:
    """Removes a run folder, or says why it stays."""
    from memflow_cli.film.kept import free

    try:
        free(run)
    except UsageError as error:
        passed_over(error.message)
        return False
    return True
