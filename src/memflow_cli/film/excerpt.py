"""Some segments of a finished film as a film of their own, packet by packet. No torch."""

import errno
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.film_file import captions
from memflow_cli.film.names import film_path, record_path
from memflow_cli.film.ours import sha256_of
from memflow_cli.film.passages import chapters
from memflow_cli.film.recipe import read_record
from memflow_cli.film.record import film_metadata
from memflow_cli.film.stitching import cut_out
from memflow_cli.film.video import CODEC
from memflow_cli.film.video_reader import probe
from memflow_cli.geometry import Geometry
from memflow_cli.story.plan import FilmPlan, plan_film
from memflow_cli.story.record import as_moved
from memflow_cli.story.storyboard import Storyboard


@dataclass(frozen=True)
class RecordedFilm:
    """A finished film as its record tells of it."""

    path: Path
    storyboard: Storyboard
    plan: FilmPlan
    record: dict[str, Any]


def check_film(path: Path) -> None:
    """Raises UsageError for what is no film by its name, such as the record beside it, and for one that nobody may read."""
    if path.suffix.lower() != ".mp4":
        film = film_path(path)
        raise UsageError(
            f"{path} is not a film: a film's name ends in .mp4", f"did you mean {film}?" if film.is_file() else None
        )
    if path.is_file() and not os.access(path, os.R_OK):
        raise UsageError(f"{path} cannot be read: {os.strerror(errno.EACCES)}")


def read_film(path: Path) -> RecordedFilm:
    """Raises UsageError for a film that is not there, or whose record is missing or damaged."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such film")
    record = read_record(path)
    if record is None:
        raise UsageError(f"{record_path(path)} is missing, or no film's record: without it no segment can be told")
    try:
        storyboard, _ = as_moved(Storyboard.from_json(record["storyboard"]), path.absolute().parent)
        plan = plan_film(storyboard, Geometry.from_json(record["recipe"]["common"]["geometry"]))
        chunks = [segment["num_chunks"] for segment in record["recipe"]["segments"]]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UsageError(f"{record_path(path)} is damaged, or was written by another version of memflow") from error
    if chunks != [segment.num_chunks for segment in plan.segments]:
        raise UsageError(f"{record_path(path)} tells of other segments than its storyboard has")
    return RecordedFilm(path, storyboard, plan, record)


def is_as_recorded(film: RecordedFilm) -> bool:
    """Whether the film is, byte for byte, the one that its record tells of."""
    return film.record.get("sha256") in (None, sha256_of(film.path))


def cut_segments(film: RecordedFilm, first: int, last: int, out: Path) -> FilmPlan:
    """Writes the segments `first` to `last` (from 0, both included) of a film as another film. Returns its plan.

    What the file says of itself names the film that it was cut from.
    """
    info = probe(film.path)  # a file that is no film is told as one, not as what cannot be written
    if info.codec != CODEC:
        raise MemflowError(f"{film.path} was encoded anew, as {info.codec}: only a film as memflow wrote it can be cut")
    whole = film.plan.segments[first : last + 1]
    start, start_chunk = whole[0].start_frame, whole[0].start_chunk
    frames = range(start, whole[-1].start_frame + whole[-1].num_frames)
    kept = tuple(
        replace(
            segment, index=index, start_frame=segment.start_frame - start, start_chunk=segment.start_chunk - start_chunk
        )
        for index, segment in enumerate(whole)
    )
    plan = replace(film.plan, segments=kept)
    story = replace(film.storyboard, segments=film.storyboard.segments[first : last + 1])
    metadata = film_metadata(plan, story.model)
    origin = {"film": film.path.name, "sha256": film.record.get("sha256"), "segments": [first + 1, last + 1]}
    metadata["comment"] = json.dumps({**json.loads(metadata["comment"]), "cut_from": origin})
    titles = [segment.title for segment in story.segments]
    cut_out(film.path, out, plan.fps, frames, metadata, chapters(plan, titles), captions(plan, story) or None)
    return plan
