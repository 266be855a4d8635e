"""A film and another one of its name change places, with all that lies beside them: film.takes/before/ holds the other. No torch.

A kill at any moment leaves both whole: what is to be moved is written down first, in `aside`, and whoever comes next goes
on with it (`mend`).

aside/    the film that was there until now, while the other one comes; exchange.json says what is on its way
before/   the film that was there before
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.durable import sync_folder, write_through
from memflow_cli.film.locked_folder import LockedFolder, is_marked
from memflow_cli.film.names import record_path, run_path, srt_path, takes_path, trace_path
from memflow_cli.film.ours import read_regular
from memflow_cli.film.placing import brought_subtitles
from memflow_cli.film.run_on_disk import take_run

PICKED = "picked"  # in film.takes: where the film comes from that a pick makes
_JOB = "exchange.json"
_MAX_JOB_BYTES = 2**20

Kind = Literal["pick", "undo"]


def before_folder(film: Path) -> Path:
    return takes_path(film) / "before"


def picked_folder(film: Path) -> Path:
    return takes_path(film) / PICKED


@contextlib.contextmanager
def alone(film: Path) -> Iterator[None]:
    """While entered, no other process makes takes of this film or exchanges it.

    Raises UsageError if one does, or if film.takes is not ours.
    """
    try:
        folder = LockedFolder.take(takes_path(film), is_marked)
    except OSError as error:
        raise MemflowError(f"cannot write beside {film}: {error.strerror}") from error
    with contextlib.closing(folder):
        yield


def exchange(film: Path, kind: Kind, with_storyboard: bool) -> None:
    """The film goes to `before`, and the one that was picked, or the one that lies there, takes its place.

    `with_storyboard`: the film's .yaml goes along. To be called by whoever is `alone` with the film.
    """
    new = picked_folder(film) if kind == "pick" else before_folder(film)
    old = [path.name for path in _own(film, with_storyboard) if path.exists()]
    job = {"kind": kind, "old": old, "new": _coming(new / film.name, film, old)}
    with _disk_errors(film), _run_held(film):
        shutil.rmtree(_aside(film), ignore_errors=True)  # of a kill before anything was moved
        _aside(film).mkdir(parents=True)
        write_through(_aside(film) / _JOB, json.dumps(job, ensure_ascii=False).encode(errors="surrogateescape"))
        _move(film)


def forget_picked(film: Path) -> None:
    """Removes what a kill has left of a pick that is done."""
    if picked_folder(film).is_dir():
        with alone(film):
            shutil.rmtree(picked_folder(film), ignore_errors=True)


def mend(film: Path) -> Kind | None:
    """Goes on with an exchange that was killed; which it was. Raises UsageError if another process is at it."""
    if not (_aside(film) / _JOB).is_file():
        return None
    with alone(film), _disk_errors(film):
        return _move(film)


def _move(film: Path) -> Kind:
    """Old ones aside, then new ones here; as far as that was not done before."""
    aside, before = _aside(film), before_folder(film)
    job = json.loads(read_regular(aside / _JOB, _MAX_JOB_BYTES).decode(errors="surrogateescape"))
    new = picked_folder(film) if job["kind"] == "pick" else before
    for name in job["old"]:
        if not (aside / name).exists():
            film.with_name(name).rename(aside / name)
    for name in job["new"]:
        if (new / name).exists():
            (new / name).rename(film.with_name(name))
    sync_folder(film.absolute().parent)
    if before.exists():
        shutil.rmtree(before)
    aside.rename(before)
    (before / _JOB).unlink()
    kind: Kind = job["kind"]
    if kind == "pick":
        shutil.rmtree(new, ignore_errors=True)
    return kind


def _aside(film: Path) -> Path:
    """Where the old film is while the new one takes its place."""
    return takes_path(film) / "aside"


def _companions(film: Path, with_storyboard: bool) -> Iterator[Path]:
    """The film last: where it is not, nothing else counts as finished."""
    if with_storyboard:
        yield film.with_suffix(".yaml")
    yield from (trace_path(film), srt_path(film), run_path(film), record_path(film), film)


def _own(film: Path, with_storyboard: bool) -> list[Path]:
    """What goes with the film. A film.srt that somebody else wrote stays where it is."""
    return [path for path in _companions(film, with_storyboard) if path != srt_path(film) or brought_subtitles(film)]


def _coming(new: Path, film: Path, leaving: list[str]) -> list[str]:
    """What comes with the new film, but for subtitles in whose place there are others.

    Raises UsageError for a storyboard in whose place there is another.
    """
    coming = []
    for path in _companions(new, True):
        here = film.with_name(path.name)
        is_taken = os.path.lexists(here) and here.name not in leaving
        if is_taken and path.exists() and path == new.with_suffix(".yaml"):
            raise UsageError(
                f"{here} is not the film's storyboard, and the one from before would replace it", "move it away"
            )
        if path.exists() and not (is_taken and path == srt_path(new)):
            coming.append(path.name)
    return coming


@contextlib.contextmanager
def _run_held(film: Path) -> Iterator[None]:
    """While entered, nobody makes the film that is to be moved. Raises UsageError if somebody does."""
    run = take_run(run_path(film))
    with contextlib.nullcontext() if run is None else contextlib.closing(run):
        yield


@contextlib.contextmanager
def _disk_errors(film: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MemflowError(f"cannot write beside {film}: {error.strerror}") from error
