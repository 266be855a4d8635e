"""What must be so before any file of a film is written: looked at before anything is rendered. No torch.

Nothing is written through a symbolic link, and nothing that is not a film's is replaced.
"""

import os
import shutil
import stat
from pathlib import Path

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.names import record_path, report_path, run_path, trace_path
from memflow_cli.film.ours import not_a_link, read_regular
from memflow_cli.film.recipe import Recipe, read_record
from memflow_cli.film.run_on_disk import LATENTS, check_run, latents_bytes
from memflow_cli.film.trace import is_trace
from memflow_cli.machine.amounts import size_text
from memflow_cli.story.plan import FilmPlan

ANOTHER_NAME = "Give the film another name with -o."
OTHER_FOLDER = "Choose another folder, or another name for the film."
_LONGEST_IN_RUN = "segment-00001.mp4.unfinished"
REPORT_MARK = b'<meta name="generator" content="memflow-cli">'
_MAX_PAGE_BYTES = 64 << 20
_MARK_WITHIN = 4096
_MAX_NAME_BYTES = 255  # where the system does not tell
_MAX_PATH_BYTES = 4096


def check_outputs(film: Path, plan: FilmPlan, recipe: Recipe, resume: bool = True, with_report: bool = False) -> None:
    """Raises MemflowError for whatever would keep this film from being written, or would be harmed by it.

    `recipe`: it may leave out what only the device tells. `with_report`: a report of its memory is to follow.
    """
    check_names(film, with_report)
    is_begun = resume and run_path(film).is_dir()
    check_made_after(film, recipe, len(recipe.segments) if is_begun else 0)
    check_run(run_path(film), recipe if resume else None)
    check_room(film.parent, plan, run_path(film))


def check_made_after(film: Path, recipe: Recipe, num_kept: int) -> None:
    """Raises UsageError if a segment would have to be made again that nothing makes again.

    `num_kept`: how many segments of the film are there, from the first on.
    """
    lost = [index + 1 for index in recipe.made_after_others if index >= num_kept]
    if lost:
        which = f"segment {lost[0]} was" if len(lost) == 1 else f"segments {lost[0]} to {lost[-1]} were"
        raise UsageError(
            f"{which} made after another take of what comes before, and kept: no storyboard makes that again",
            "the film's storyboard (.yaml) makes a film of one piece",
        )


def check_names(film: Path, with_report: bool = False) -> None:
    """Raises UsageError if a file that comes with this film could not be written, or would take another file's place.

    `with_report`: whether a report of its memory is to be written as well.
    """
    _check_lengths(film)
    for path in (film, record_path(film), trace_path(film)):
        check_file(path)
    _check_kind(record_path(film), read_record(film) is not None, "film's record")
    _check_kind(trace_path(film), is_trace(trace_path(film)), "film's memory trace")
    _check_same_companions(film)
    if with_report:
        if (report := report_path(film)).is_symlink():
            raise UsageError(f"{report} is a symbolic link, through which nothing is written", ANOTHER_NAME)
        check_report_folder(report)


def check_report_folder(folder: Path) -> None:
    """Raises UsageError if a report of a film's memory written into this folder would replace somebody's own page."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder, and what the film remembered is to be written there", OTHER_FOLDER)
    page = not_a_link(folder / "index.html")
    try:
        is_ours = REPORT_MARK in read_regular(page, _MAX_PAGE_BYTES)[:_MARK_WITHIN]
    except FileNotFoundError:
        return
    except OSError:
        is_ours = False
    if not is_ours:
        raise UsageError(f"{page} is not a page of ours, and would be overwritten by one", OTHER_FOLDER)


def check_room(folder: Path, plan: FilmPlan, run: Path) -> None:
    """Raises MemflowError if the disk cannot even take the film's latents, but for those that are there."""
    num_bytes = latents_bytes(plan)
    try:
        if (run / LATENTS).is_file():
            num_bytes -= (run / LATENTS).stat().st_size
        disk = shutil.disk_usage(folder)
    except OSError:
        return
    if num_bytes > disk.free and disk.total:  # a folder without a disk says for itself that nothing can be written
        raise MemflowError(
            f"no space left on the disk of {folder.absolute()}: the film's latents alone need {size_text(num_bytes)}, "
            f"{size_text(disk.free)} are free",
            "Make room, or give a folder on another disk with -o.",
        )


def _check_lengths(film: Path) -> None:
    if "\0" in str(film):
        raise UsageError("a film's name cannot have a NUL character in it", ANOTHER_NAME)
    folder = next((parent for parent in film.parents if os.path.isdir(parent)), Path())
    try:
        most = os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):
        most = _MAX_NAME_BYTES
    names = [path(film).name for path in (record_path, trace_path, run_path, report_path)]
    longest = max([film.name, *names], key=lambda name: len(os.fsencode(name)))
    too_long = len(os.fsencode(longest)) - most
    if too_long > 0:
        allowed = len(os.fsencode(film.name)) - too_long
        raise UsageError(
            f"the film's name is too long: {os.fsencode(film.name)[:40].decode(errors='replace')}... has "
            f"{len(os.fsencode(film.name))} bytes; with that of the files beside it, at most {allowed} are possible here",
            ANOTHER_NAME,
        )
    if len(os.fsencode(run_path(film).absolute() / _LONGEST_IN_RUN)) >= _MAX_PATH_BYTES:
        raise UsageError(f"the path of the film's folder is too long: at most {_MAX_PATH_BYTES} bytes", ANOTHER_NAME)


def check_file(path: Path, hint: str = ANOTHER_NAME) -> None:
    """Raises UsageError if there is something that is not a regular file: nothing is written through a link."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint) from error
    if stat.S_ISLNK(about.st_mode):
        target = os.path.realpath(path)
        raise UsageError(
            f"{path} is a symbolic link, through which nothing is written", f"Name the file itself: {target}"
        )
    if stat.S_ISDIR(about.st_mode):
        raise UsageError(f"{path} is a folder", hint)
    if not stat.S_ISREG(about.st_mode):
        raise UsageError(f"{path} is not a regular file", hint)


def _check_kind(path: Path, is_ours: bool, kind: str) -> None:
    if path.exists() and not is_ours:
        raise UsageError(f"{path} is not a {kind}, and would be overwritten by one", ANOTHER_NAME)


def _check_same_companions(film: Path) -> None:
    """film.mp4 and film.MP4 are two films, unless the drive says otherwise, with one record."""
    for suffix in (".mp4", ".MP4", ".Mp4", ".mP4"):
        other = film.with_suffix(suffix)
        if other.name != film.name and other.exists() and not (film.exists() and other.samefile(film)):
            raise UsageError(f"{other} is there, and {film.name} would share {record_path(film).name}", ANOTHER_NAME)
