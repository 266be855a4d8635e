"""A run folder as it lies on disk, looked at from outside: the names in it, whose film it holds, whether it may be used or go.

Nothing here goes on with a film; that is run_folder.py, where the folder is described.
"""

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from memflow_cli.errors import UsageError
from memflow_cli.film.locked_folder import LockedFolder, check_free, is_marked
from memflow_cli.film.ours import OurFolder
from memflow_cli.film.recipe import MAX_RECIPE_BYTES, Recipe, read_record
from memflow_cli.story.plan import FilmPlan

FORMAT_VERSION = 2
START_OVER = "--no-resume starts the film over and gives up what was rendered."

RUN, LATENTS, TRACE, PARTS, KEEP, RECORD, FILM, SUBTITLES = (
    "run.json", "latents.bin", "trace.jsonl", "parts.jsonl", "keep", "film.json", "film.mp4", "film.srt",
)  # fmt: skip
TRACE_COPY = "film.memory.jsonl"
PART = re.compile(r"segment-\d{5,}\.mp4")
PASSING = (
    RECORD,
    FILM,
    SUBTITLES,
    TRACE_COPY,
    "trace.copy",
    "parts.ffconcat",
    "metadata.txt",
)  # while a film is put together
_NAMES = {RUN, LATENTS, TRACE, PARTS, KEEP, *PASSING}
_NAMELESS = re.compile(r"tmp\w{8}")  # a file that is about to lose its name, caught by a kill
MAX_PARTS_LINE = 1000  # bytes


def part_name(segment: int) -> str:
    return f"segment-{segment + 1:05d}.mp4"


def is_known(name: str) -> bool:
    """Whether a file of this name in a run folder is one of ours."""
    name = name.removesuffix(".unfinished")
    return name in _NAMES or bool(PART.fullmatch(name) or _NAMELESS.fullmatch(name))


def is_run(folder: OurFolder, names: set[str]) -> bool:
    """Whether a folder is a run folder, as far as its files tell."""
    return is_marked(folder, names) or (RUN in names and all(map(is_known, names)))


def take_run(path: Path) -> LockedFolder | None:
    """The run folder that is there, locked; None if there is none. Raises UsageError if it is in use or not ours."""
    try:
        return LockedFolder.take(path, is_run, make=False)
    except FileNotFoundError:
        return None


def check_run(path: Path, recipe: Recipe | None) -> None:
    """Raises UsageError if a run folder could not be used: not ours, in use, or of another recipe. Changes nothing.

    `recipe`: it may leave out what only the device tells; None if what the folder holds is to be given up.
    """
    try:
        with OurFolder(path, is_run) as folder:
            check_free(folder)
            begun = read_begun(folder) if recipe is not None else None
    except FileNotFoundError:
        return
    except ValueError:
        return  # a damaged run.json: whether there are chunks of this film is seen when it is opened
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if begun is not None and recipe is not None and not is_kept(path):
        known = {key: value for key, value in begun.recipe.common.items() if key in recipe.common or key == "given"}
        refuse_differences(path, Recipe(known, ()), recipe)


def latents_bytes(plan: FilmPlan) -> int:
    """What the latents of a film take on disk: most of what a run folder holds."""
    geometry = plan.geometry
    return plan.num_chunks * geometry.chunk * geometry.latent_bytes_per_frame(plan.width, plan.height, itemsize=4)


def is_kept(path: Path) -> bool:
    """Whether a run folder is what was kept of the film that lies beside it, finished: another film may take its place."""
    film = path.with_suffix("")
    record = read_record(film)
    try:
        with OurFolder(path, is_run) as folder:
            begun = read_begun(folder) if folder.has(KEEP) else None
    except (OSError, ValueError, UsageError):
        return False
    return begun is not None and record is not None and film.exists() and record.get("recipe") == begun.recipe.to_json()


def remove_leftover(path: Path, made_from: object) -> None:
    """Removes what a kill between a film's end and its cleaning up left behind.

    `made_from`: the recipe in the film's record. A folder that is kept stays, one in use, one of another film, and one
    whose film is not at its end.
    """
    with contextlib.suppress(UsageError, OSError):
        if (folder := take_run(path)) is not None:
            if not folder.has(KEEP) and _is_over(folder, made_from):
                folder.remove_all(is_known, first=RUN)
            folder.close()


def _is_over(folder: OurFolder, made_from: object) -> bool:
    """Whether a run folder has all parts of the film made from this recipe, or nothing to go on from."""
    try:
        content = json.loads(folder.read(RUN, MAX_RECIPE_BYTES)).get("recipe")
        recipe = Recipe.from_json(content)
        lines = folder.read(PARTS, MAX_PARTS_LINE * (len(recipe.segments) + 1))
        return content == made_from and lines.count(b"\n") == len(recipe.segments)
    except FileNotFoundError as error:
        return Path(error.filename).name == RUN
    except (ValueError, RecursionError, AttributeError):
        return False


@dataclass(frozen=True)
class Begun:
    """What run.json says: the folder's format, and the recipe that the render was begun with."""

    version: int
    recipe: Recipe


def read_begun(folder: OurFolder) -> Begun | None:
    """What run.json says, or None if there is none. Raises ValueError if it cannot be read."""
    try:
        content = json.loads(folder.read(RUN, MAX_RECIPE_BYTES))
    except FileNotFoundError:
        return None
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ValueError("another version")
    return Begun(version, Recipe.from_json(content.get("recipe")))


def begun_recipe(path: Path) -> Recipe | None:
    """The recipe that a run folder was begun with; None if there is none that can be read."""
    with contextlib.suppress(OSError, UsageError, ValueError), OurFolder(path, is_run) as folder:
        begun = read_begun(folder)
        return None if begun is None else begun.recipe
    return None


def refuse_differences(path: Path, begun: Recipe, recipe: Recipe) -> None:
    """Raises UsageError if a render that was begun with the one recipe cannot go on with the other."""
    if differences := begun.differences(recipe):
        raise UsageError(f"{path} holds a render that was begun otherwise: {'; '.join(differences)}", START_OVER)
