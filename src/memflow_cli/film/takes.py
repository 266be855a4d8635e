"""The takes of a film's segments, and the film that was there before one was picked: film.takes/. No torch.

03/take-1.mp4   takes of segment 3, numbered on and on
03/takes.jpg    all of them side by side
03/takes.json   what each was made from
before/         the film, with all that lies beside it, as it was before the last pick (exchange.py)
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.attached import by_content
from memflow_cli.film.durable import write_through
from memflow_cli.film.excerpt import RecordedFilm
from memflow_cli.film.names import takes_path
from memflow_cli.film.ours import not_a_link, read_regular
from memflow_cli.film.preflight import check_file
from memflow_cli.film.recipe import CASTING
from memflow_cli.film.video_reader import read_metadata
from memflow_cli.story.plan import derive_seed
from memflow_cli.story.prompts import names_in
from memflow_cli.story.storyboard import Segment, Storyboard
from memflow_cli.story.texts import command_line
from memflow_cli.version import __version__

_MAX_LIST_BYTES = 16 * 2**20
_MOVE_AWAY = "move it away"


@dataclass(frozen=True)
class Take:
    """One take. `prompt`: complete; `written`: as the user wrote it, None where it is the segment's own. `follows`: stands
    for all that comes before the segment, and for its length. `names`: whom it is about; None in lists of before they were
    written down."""

    number: int
    seed: int
    prompt: str
    written: str | None
    follows: str
    names: tuple[str, ...] | None = None

    def of(self, segment: Segment) -> Segment:
        """The segment as this take has it."""
        names = _names_of(self.written, segment) if self.names is None else self.names
        return replace(segment, seed=self.seed, prompt=self.prompt, names=names, made_after=None)


def _names_of(written: str | None, segment: Segment) -> tuple[str, ...]:
    """A prompt that refers to somebody is about those, any other about the same as the segment before."""
    return tuple(dict.fromkeys(names_in(written or ""))) or segment.names


def take_folder(film: Path, segment: int) -> Path:
    """`segment`: from 0."""
    return takes_path(film) / f"{segment + 1:02d}"


def take_file(film: Path, segment: int, number: int) -> Path:
    return take_folder(film, segment) / f"take-{number}.mp4"


def follows(film: RecordedFilm, segment: int, with_names: bool = False) -> str:
    """What stands for everything that a take of this segment depends on besides its own prompt, seed and names.

    `with_names`: as it was for takes that do not say their own, with the paths of pictures in older records.
    """
    recipe = film.record["recipe"]
    common, segments = recipe["common"], recipe["segments"][: segment + 1]
    if not with_names:
        common, segments = by_content(common), [by_content(each) for each in segments]
    own = {key: segments[segment].get(key) for key in ("num_chunks", "transition", "image")}
    said = CASTING if with_names else [key for key in CASTING if key != "names"]
    own |= {key: value for key, value in segments[segment].items() if key in said}
    content = [common, segments[:segment], own]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def new_takes(
    film: RecordedFilm, segment: int, count: int, seed: int | None, written: str | None, prompt: str | None
) -> list[Take]:
    """Takes that are not made yet. Their seeds count up from `seed`; without one they are derived from the segment's own,
    each from its number, and the first take of another prompt keeps it."""
    planned = film.plan.segments[segment]
    first = max((take.number for take in read_takes(film.path, segment)), default=0) + 1
    names = _names_of(written, film.storyboard.segments[segment])
    takes = []
    for number in range(first, first + count):
        own = derive_seed(planned.seed, number) if seed is None else seed + number - first
        if seed is None and prompt is not None and number == first:
            own = planned.seed
        takes.append(Take(number, own, prompt or planned.prompt, written, follows(film, segment), names))
    return takes


def read_takes(film: Path, segment: int) -> list[Take]:
    """The takes of a segment that there are. Raises UsageError for a list that cannot be read."""
    path = take_folder(film, segment) / "takes.json"
    try:
        return [_take_from_json(each) for each in json.loads(read_regular(path, _MAX_LIST_BYTES))["takes"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read as a list of takes", "remove that folder and make them again"
        ) from error


def _take_from_json(content: Mapping[str, Any]) -> Take:
    """Raises TypeError for what is none."""
    names = content.get("names")
    return Take(**{**content, "names": None if names is None else tuple(names)})


def write_takes(film: Path, segment: int, takes: list[Take]) -> None:
    content = {"memflow": __version__, "segment": segment + 1, "takes": [asdict(take) for take in takes]}
    write_through(take_folder(film, segment) / "takes.json", json.dumps(content, indent=1, ensure_ascii=False).encode())


def check_takes(film: Path, segment: int, takes: list[Take], is_begun: bool) -> None:
    """Raises UsageError if a file that comes with these takes would take the place of one that is not ours.

    `is_begun`: an interruption may have left some of them, which no list names yet.
    """
    folder = not_a_link(take_folder(film, segment))
    is_known = bool(read_takes(film, segment)) or is_begun
    for path in (folder / name for name in ("takes.json", "takes.jpg", "takes.html")):
        check_file(path, _MOVE_AWAY)
        if path.exists() and not is_known:
            raise UsageError(f"{path} is there, but no list of takes; it is left as it is", _MOVE_AWAY)
    for path in (take_file(film, segment, take.number) for take in takes):
        check_file(path, _MOVE_AWAY)
        if path.exists() and not (is_begun and _is_take(path)):
            raise UsageError(f"{path} is there, and is none of the takes that are listed", _MOVE_AWAY)


def _is_take(path: Path) -> bool:
    """Whether a film says of itself that it was cut out as this take."""
    try:
        return bool(json.loads(read_metadata(path)["comment"])["cut_from"]["film"] == path.name)
    except (MemflowError, ValueError, LookupError, TypeError, RecursionError):
        return False


def find_take(film: RecordedFilm, segment: int, number: int) -> Take:
    """Raises UsageError for a take that is not there, or was made for a film that began otherwise."""
    takes = {take.number: take for take in read_takes(film.path, segment)}
    if number not in takes:
        known = f"there are the takes {', '.join(map(str, takes))}" if takes else "there are no takes"
        raise UsageError(
            f"--pick {number}: of segment {segment + 1} {known}",
            command_line("retake", film.path, segment + 1, "--takes", 4),
        )
    if takes[number].follows != follows(film, segment, with_names=takes[number].names is None):
        raise UsageError(
            f"--pick {number}: what comes before segment {segment + 1} is another than when that take was made",
            "make new takes",
        )
    return takes[number]


def story_of(film: RecordedFilm, storyboard: Storyboard) -> dict[str, Any]:
    """A storyboard that is read as the film's record is: with the model's files as they were."""
    return {"memflow": __version__, "model": film.record.get("model"), "storyboard": storyboard.to_json()}


def with_take(storyboard: Storyboard, segment: int, take: Take, is_last: bool = False) -> Storyboard:
    """The story with a take in it, and what comes after it made again. `is_last`: it ends there."""
    before, own = storyboard.segments[:segment], storyboard.segments[segment]
    after = [replace(each, made_after=None) for each in storyboard.segments[segment + 1 :]]
    return replace(storyboard, segments=(*before, take.of(own), *(() if is_last else after)))
