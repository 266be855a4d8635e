"""Films made on the way to another one: a folder for them, which an interruption leaves behind to be gone on with. No torch."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from memflow_cli.errors import MemflowError
from memflow_cli.film.durable import write_through
from memflow_cli.film.locked_folder import LOCK
from memflow_cli.film.names import run_path
from memflow_cli.film.ours import NotOursError, not_a_link, read_regular
from memflow_cli.film.run_on_disk import is_kept, is_known

_PURPOSE = "made-for.json"
_MAX_PURPOSE_BYTES = 2**28


@contextlib.contextmanager
def workshop(folder: Path, purpose: Any) -> Iterator[Path]:
    """A folder to make films in. It is gone once all went well; whatever ends the work before leaves it for the next time.

    `purpose`: JSON values that stand for all that is made in it. What was left there for another one is given up.
    """
    text = json.dumps(purpose, ensure_ascii=False, sort_keys=True).encode(errors="surrogateescape")
    not_a_link(folder)
    try:
        if _purpose(folder) != text:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            write_through(folder / _PURPOSE, text)
    except OSError as error:
        raise MemflowError(f"cannot write {folder}: {error.strerror}") from error
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _purpose(folder: Path) -> bytes | None:
    try:
        return read_regular(folder / _PURPOSE, _MAX_PURPOSE_BYTES)
    except OSError:
        return None


def is_left(folder: Path) -> bool:
    """Whether an interruption has left work in it that is to be gone on with."""
    return _purpose(folder) is not None


def check_copy(target: Path) -> Path:
    """Where a film's run folder is while it is copied. Raises NotOursError for what somebody else has there."""
    partial = not_a_link(target.with_name(target.name + ".copying"))
    if partial.is_dir() and not all(name == LOCK or is_known(name) for name in os.listdir(partial)):
        raise NotOursError(partial, "is a folder with other files in it")
    return partial


def copy_kept(film: Path, target: Path, complete: Callable[[Path], None] = lambda run: None) -> bool:
    """Gives a film to come what a finished one keeps. False: it keeps nothing. What `target` has already stays.

    `complete`: what else is to be done with the copy before it is there.
    """
    if target.exists() or run_path(target).exists():
        return True
    if not is_kept(run_path(film)):
        return False
    partial = check_copy(target)
    try:
        if partial.exists():
            shutil.rmtree(partial)
        shutil.copytree(run_path(film), partial, symlinks=True)
        complete(partial)
        partial.rename(run_path(target))
    except OSError as error:
        raise MemflowError(f"cannot write beside {target}: {error.strerror}") from error
    return True
