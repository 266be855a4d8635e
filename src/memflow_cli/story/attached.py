"""The files that a storyboard names besides its model: looked at before anything is made."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from memflow_cli.errors import StoryboardError, UsageError
from memflow_cli.story.picture import load_picture
from memflow_cli.story.places import Places, dotted
from memflow_cli.story.storyboard import Storyboard
from memflow_cli.story.yaml_lines import KeyPath

MAX_SOUND_BYTES = 4 << 30


def check_attached(storyboard: Storyboard, width: int, height: int, places: Places | None = None) -> None:
    """Reads every picture at the film's size, and looks whether the sound is a file.

    `places`: where the storyboard's fields stand. Raises StoryboardError with all that will not do.
    """
    wrong: dict[str, UsageError] = {}
    named = list(_pictures(storyboard))
    for picture in dict.fromkeys(picture for _, picture in named):
        try:
            load_picture(Path(picture), width, height)
        except UsageError as error:
            wrong[picture] = error
    found = [(place, wrong[picture]) for place, picture in named if picture in wrong]
    if storyboard.sound is not None:
        try:
            _check_sound(Path(storyboard.sound))
        except UsageError as error:
            found.append((("sound",), error))
    if found:
        raise _placed(storyboard, found, places)


def _pictures(storyboard: Storyboard) -> Iterator[tuple[KeyPath, str]]:
    """Every picture, and the field that names it."""
    if storyboard.segments and (image := storyboard.segments[0].image) is not None:
        yield ("segments", 0, "image"), image
    for kind, subjects in (("characters", storyboard.characters), ("places", storyboard.places)):
        for name, subject in subjects.items():
            for index, picture in enumerate(subject.pictures):
                yield (kind, name, "picture", *([index] if len(subject.pictures) > 1 else [])), picture


def _placed(storyboard: Storyboard, found: list[tuple[KeyPath, UsageError]], places: Places | None) -> StoryboardError:
    problems = []
    for key_path, error in found:
        line, begin = places.sorted_place(key_path) if places else (0, f"{dotted(key_path)}: ")
        problems.append((line, begin + error.message))
    hint = next((error.hint for _, error in found if error.hint), None)
    source = str(places.path) if places else storyboard.title
    return StoryboardError(source, [sentence for _, sentence in sorted(problems, key=lambda item: item[0])], hint)


def _check_sound(path: Path) -> None:
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no such file"
        raise UsageError(f"cannot read the sound {path}: {reason}") from None
    if not stat.S_ISREG(about.st_mode):
        raise UsageError(f"cannot read the sound {path}: not a file")
    if not 0 < about.st_size <= MAX_SOUND_BYTES:
        what = "it is empty" if about.st_size == 0 else f"larger than {MAX_SOUND_BYTES >> 30} GiB"
        raise UsageError(f"cannot read the sound {path}: {what}")
