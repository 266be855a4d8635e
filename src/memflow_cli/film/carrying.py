"""Pictures and sounds that a storyboard brings along: a storyboard reads files of its own folder only, whoever wrote it, and
one that is written beside a film names what may lie anywhere. No torch.

story.files/    beside story.yaml: a copy of each that lies elsewhere
"""

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from memflow_cli.errors import MemflowError
from memflow_cli.film.ours import NotOursError, not_a_link, sha256_of
from memflow_cli.story.storyboard import Storyboard


@dataclass(frozen=True)
class Carried:
    """A storyboard for a place of its own. `copies`: source -> where its copy is to be, or is already."""

    storyboard: Storyboard
    copies: Mapping[str, Path]


def carry(storyboard: Storyboard, script: Path) -> Carried:
    """The storyboard as `script` is to tell it: what lies outside of that folder is named where its copy will be.

    Nothing is written. What is not there stays as it is.
    """
    folder = script.absolute().with_name(f"{script.stem}.files")
    root = os.path.realpath(script.parent)
    copies: dict[str, Path] = {}
    for source in storyboard.files:
        if os.path.isfile(source) and not Path(os.path.realpath(source)).is_relative_to(root):
            copies.setdefault(source, _place_for(source, folder, copies))

    def here(path: str) -> str:
        return str(copies.get(path, path))

    return Carried(storyboard.with_files(here), copies)


@contextlib.contextmanager
def carried(story: Carried) -> Iterator[Storyboard]:
    """The storyboard, with its copies made; an error that leaves the block leaves none that were not there before.

    Raises NotOursError for what somebody else has in their place.
    """
    missing = {source: copy for source, copy in story.copies.items() if not copy.exists()}
    folders = {not_a_link(copy.parent) for copy in missing.values()}
    made = [each for folder in folders for each in (folder, *folder.parents) if not each.exists()]
    if taken := [folder for folder in folders if folder.exists() and not folder.is_dir()]:
        raise NotOursError(taken[0], "is not a folder")
    try:
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            for source, copy in missing.items():
                unfinished = copy.with_name(copy.name + ".unfinished")
                missing[source] = unfinished
                shutil.copyfile(source, unfinished)
                unfinished.rename(copy)
                missing[source] = copy
        except OSError as error:
            raise MemflowError(f"cannot copy beside {copy.parent}: {error.strerror}") from error
        yield story.storyboard
    except BaseException:
        with contextlib.suppress(OSError):
            for copy in missing.values():
                copy.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        raise


def _place_for(source: str, folder: Path, taken: Mapping[str, Path]) -> Path:
    """A name in the folder that no other file has, but for one of the same content."""
    name, owners = Path(source).name, {str(copy).casefold(): other for other, copy in taken.items()}
    stem, suffix = os.path.splitext(name)
    for number in itertools.count(1):
        place = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
        other = owners.get(str(place).casefold(), str(place))
        is_free = other == str(place) and not os.path.lexists(place)
        if is_free or (not place.is_symlink() and sha256_of(Path(other)) == sha256_of(Path(source))):
            return place
    raise AssertionError("numbers do not end")
