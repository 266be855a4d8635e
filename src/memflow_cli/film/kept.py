"""What lies in run folders of films that are finished, or never were: to be listed, and freed. No torch."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memflow_cli.errors import UsageError
from memflow_cli.film.locked_folder import check_free
from memflow_cli.film.ours import OurFolder
from memflow_cli.film.run_on_disk import RUN, is_kept, is_known, is_run, take_run

State = Literal["kept", "unfinished", "leftover", "in use"]


@dataclass(frozen=True)
class RunFolderOnDisk:
    """`state`: "kept" of a finished film; "unfinished": all there is of a film; "leftover": what no film goes on from;
    "in use": being rendered."""

    path: Path
    state: State
    num_bytes: int

    @property
    def film(self) -> Path:
        return self.path.with_suffix("")


def find_run_folders(folder: Path, passed_over: Callable[[str], None] = lambda text: None) -> Iterator[RunFolderOnDisk]:
    """The run folders in a folder and in those below it, in order of their names; a run folder is one.

    What is not ours, and what cannot be read, is passed over: `passed_over` is given a sentence about each.
    """
    for path in _run_folders(folder, passed_over):
        try:
            yield look_at(path)
        except UsageError as error:
            passed_over(error.message)
        except FileNotFoundError:
            pass  # its film was finished meanwhile
        except OSError as error:
            passed_over(_not_read(path, error))


def _run_folders(folder: Path, passed_over: Callable[[str], None]) -> Iterator[Path]:
    if folder.name.endswith(".mp4.run"):
        yield folder
        return
    for place, folders, _ in os.walk(folder, onerror=lambda error: passed_over(_not_read(Path(error.filename), error))):
        for name in sorted(folders):
            if name.endswith(".mp4.run"):
                folders.remove(name)
                yield Path(place, name)
        folders.sort()


def _not_read(path: Path, error: OSError) -> str:
    return f"{path} cannot be read: {error.strerror}"


def look_at(path: Path) -> RunFolderOnDisk:
    """Raises UsageError for a folder that is not ours."""
    with OurFolder(path, is_run) as folder:
        num_bytes = sum(os.lstat(path / name).st_size for name in folder.names())
        try:
            check_free(folder)
        except UsageError:
            return RunFolderOnDisk(path, "in use", num_bytes)
        is_begun = folder.has(RUN)  # it goes first: without it, nobody goes on from the rest
    state: State = "kept" if is_kept(path) else "unfinished" if is_begun else "leftover"
    return RunFolderOnDisk(path, state, num_bytes)


def free(found: RunFolderOnDisk) -> None:
    """Removes a run folder. Raises UsageError if it stays: another process holds it, or it may not be removed."""
    try:
        if (folder := take_run(found.path)) is not None:
            folder.remove_all(is_known, first=RUN)
        is_left = found.path.exists() and any(found.path.iterdir())
    except OSError as error:
        raise UsageError(f"{found.path} cannot be removed: {error.strerror}") from error
    if is_left:
        raise UsageError(f"{found.path} cannot be removed, or not all that is in it")
