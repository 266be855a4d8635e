"""A finished film goes from its run folder to its place, with trace, subtitles and record. No torch.

The film's record is written into the run folder first: from then on the film is made, and what is left is a few steps, each
of which may be done again. A kill in between leaves no film beside another film's record: the old record goes before the
new film comes, and the new one comes last; the next command goes on with the steps (`finish_placing`).
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.film.names import record_path, run_path, srt_path, trace_path
from memflow_cli.film.ours import OurFolder, sha256_of
from memflow_cli.film.recipe import MAX_RECIPE_BYTES, read_record
from memflow_cli.film.run_on_disk import FILM, RECORD, SUBTITLES, TRACE, TRACE_COPY, take_run
from memflow_cli.film.trace import copy_in_order

SUBTITLES_KEY = "subtitles"  # of the record: the checksum of the film.srt that came with the film


def place(folder: OurFolder, film: Path, record: dict[str, Any], subtitles: bytes) -> None:
    """Takes `film.mp4` and a copy of the trace out of a run folder to their places. `record`: what film.json is to say;
    `subtitles`: what film.srt is to hold, nothing for a film without. A film.srt of the user's own stays as it is.
    """
    try:
        if subtitles:
            record = {**record, SUBTITLES_KEY: hashlib.sha256(subtitles).hexdigest()}
            folder.write_through(SUBTITLES, subtitles)
        with folder.open(TRACE, "rb") as source, folder.create(TRACE_COPY) as copy:
            copy_in_order(source, copy)
        text = json.dumps(record, indent=2, ensure_ascii=False)
        # Bytes of a file's name that are not UTF-8 become JSON's own escapes.
        folder.write_through(RECORD, text.encode(errors="backslashreplace"))
        _move_all(folder, film)
    except OSError as error:
        raise MemflowError(f"cannot write beside {film}: {error.strerror}", KEPT) from error


def finish_placing(film: Path) -> bool:
    """Goes on with what a kill interrupted between a film's end and its place. Whether there was such a film.

    Raises UsageError if another process is at work on it.
    """
    folder = take_run(run_path(film))
    if folder is None:
        return False
    with folder:
        try:
            record = json.loads(folder.read(RECORD, MAX_RECIPE_BYTES))
            with contextlib.ExitStack() as files:
                whole = files.enter_context(folder.open(FILM, "rb") if folder.has(FILM) else film.open("rb"))
                if os.fstat(whole.fileno()).st_size != record["num_bytes"]:
                    return False
            _move_all(folder, film)
        except FileNotFoundError:
            return False
        except (ValueError, RecursionError, LookupError, TypeError):
            return False  # a record that was damaged: the parts make the film again
        except OSError as error:
            raise MemflowError(f"cannot write beside {film}: {error.strerror}", KEPT) from error
    return True


def brought_subtitles(film: Path) -> bool:
    """Whether film.srt is what the film that is there brought along, unchanged since."""
    written = (read_record(film) or {}).get(SUBTITLES_KEY)
    path = srt_path(film)
    return written is not None and not path.is_symlink() and sha256_of(path) == written


def _move_all(folder: OurFolder, film: Path) -> None:
    if folder.has(FILM):
        _renew_subtitles(folder, film)  # as long as the old record tells whose the old ones are
        record_path(film).unlink(missing_ok=True)
    for name, target in ((TRACE_COPY, trace_path(film)), (FILM, film), (RECORD, record_path(film))):
        if folder.has(name):
            folder.move_out(name, target)


def _renew_subtitles(folder: OurFolder, film: Path) -> None:
    """Those of the film before go, with or without new ones. A file of the user's own stays."""
    path = srt_path(film)
    is_ours = brought_subtitles(film)
    if not folder.has(SUBTITLES):
        if is_ours:
            path.unlink(missing_ok=True)
    elif is_ours or not os.path.lexists(path):
        folder.move_out(SUBTITLES, path)
    else:
        folder.remove(SUBTITLES)
