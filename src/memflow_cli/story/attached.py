"""The files that a storyboard names besides its model: looked at before anything is made."""

import os
import stat
from pathlib import Path

from memflow_cli.errors import UsageError
from memflow_cli.story.picture import load_picture
from memflow_cli.story.storyboard import Storyboard

MAX_SOUND_BYTES = 4 << 30


def check_attached(storyboard: Storyboard, width: int, height: int) -> None:
    """Reads every picture at the film's size, and looks whether the sound is a file.

    Raises UsageError for the first that will not do.
    """
    pictures = [storyboard.segments[0].image]
    for subject in storyboard.subjects.values():
        pictures += subject.pictures
    for picture in dict.fromkeys(filter(None, pictures)):
        load_picture(Path(picture), width, height)
    if storyboard.sound is not None:
        _check_sound(Path(storyboard.sound))


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
