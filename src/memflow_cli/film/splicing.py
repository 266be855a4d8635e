"""The end of one kept film set behind the beginning of another: latents, traces and encoded parts as they are. No torch.

What comes of it is a film that no storyboard makes: the segments of the end were made when memory had seen another
beginning. Each of them says so in its recipe (`made_after`), so that nothing of it is ever taken for a film made in one go.
"""

import contextlib
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.excerpt import RecordedFilm
from memflow_cli.film.latents_file import LatentsFormat
from memflow_cli.film.names import run_path
from memflow_cli.film.ours import OurFolder
from memflow_cli.film.recipe import Recipe, recipe_segments
from memflow_cli.film.run_folder import RunFolder
from memflow_cli.film.run_on_disk import LATENTS, PARTS, TRACE, begun_recipe, is_kept, is_run, part_name
from memflow_cli.film.trace import TraceHeader, numbered_records
from memflow_cli.story.plan import FilmPlan, plan_film
from memflow_cli.story.storyboard import Storyboard
from memflow_cli.version import __version__


def with_kept_end(new: Storyboard, film: RecordedFilm, start: int) -> Storyboard:
    """`new`, whose segments from `start` on are `film`'s as they are: each says what came before it when it was made."""
    stands_for = Recipe.from_json(film.record["recipe"]).prefixes()
    segments = list(new.segments[:start])
    for index, segment in enumerate(film.storyboard.segments[start:], start=start):
        segments.append(replace(segment, made_after=segment.made_after or stands_for[index - 1].hex()))
    return replace(new, segments=tuple(segments))


def check_end_can_be_kept(film: RecordedFilm, start: int) -> None:
    """Raises UsageError if the segments from `start` on cannot stay as they are behind another take."""
    if film.plan.segments[start].transition != "cut":
        raise UsageError(
            f"--then keep: segment {start + 1} goes on smoothly from segment {start}, and would not fit another take of it",
            "leave --then out: what comes after is made again; only what begins with a cut can be kept",
        )
    if not is_kept(run_path(film.path)):
        raise UsageError(
            f"--then keep: {film.path.name} keeps nothing beside it (film.mp4.run) of which its end could be taken",
            "leave --then out: what comes after is made again",
        )


def splice(beginning: Path, film: RecordedFilm, story: Storyboard, start: int) -> None:
    """Adds to `beginning`, a run folder with all before segment `start`, what `film` keeps of the segments from there on.

    `story`: of the whole film that comes of it, see `with_kept_end`. Raises MemflowError if either folder does not hold what
    it should.
    """
    plan = plan_film(story, film.plan.geometry)
    begun = begun_recipe(beginning)
    old = Recipe.from_json(film.record["recipe"])
    if begun is None:
        raise MemflowError(f"{beginning} cannot be read")
    if differences := old.differences(begun):
        raise UsageError(
            f"--then keep: {film.path.name} was made otherwise: {'; '.join(differences)}", "leave --then out"
        )
    recipe = Recipe(begun.common, recipe_segments(plan, story))
    header = TraceHeader(__version__, story.model, str(story.memory.policy), plan)
    latent_bytes = plan.geometry.chunk * plan.geometry.latent_bytes_per_frame(plan.width, plan.height, itemsize=4)
    run = RunFolder(beginning, recipe, header, latent_bytes)
    with contextlib.closing(run), OurFolder(run_path(film.path), is_run) as source:
        first = plan.segments[start].start_chunk
        if run.num_chunks < first or len(run.parts) < start:
            raise MemflowError(f"{beginning} holds {run.num_chunks} chunks of {first}")
        with source.open(LATENTS, "rb") as latents, source.open(TRACE, "rb") as trace:
            form = LatentsFormat(_owners(old, film.plan), latent_bytes)
            for chunk, content, line in _chunks(form, latents, trace, run.num_chunks, plan.num_chunks):
                run.take_over(chunk, content, line)
        sealed = source.open(PARTS, "rb").read().splitlines()
        for index in range(len(run.parts), len(plan.segments)):
            shutil.copyfile(source.path / part_name(index), run.part_path(index))
            if source.sha256(part_name(index)).encode() not in b"".join(sealed[index : index + 1]):
                raise MemflowError(f"{source.path / part_name(index)} is not what it was when it was made")
            run.seal(index)
        run.mark_kept()


def _owners(recipe: Recipe, plan: FilmPlan) -> tuple[bytes, ...]:
    owners = zip(recipe.chunk_owners(), plan.segments, strict=True)
    return tuple(owner for owner, segment in owners for _ in range(segment.num_chunks))


def _chunks(
    form: LatentsFormat, latents: IO[bytes], trace: IO[bytes], start: int, stop: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, latents, line of the trace) of chunks, after all of the film were found to be whole."""
    lines = [line for _, line in islice(numbered_records(trace), stop)]
    if list(form.valid_records(latents)) != [zlib.crc32(line) for line in lines]:
        raise MemflowError("what the film keeps beside it is damaged: its latents and its trace do not fit together")
    yield from zip(range(start, stop), form.latents(latents, start, stop), lines[start:stop], strict=True)
