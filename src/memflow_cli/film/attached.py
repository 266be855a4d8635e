"""The pictures and the sound that a film is made with: told from others by their content, wherever they lie. No torch."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memflow_cli.errors import UsageError
from memflow_cli.film.ours import sha256_of
from memflow_cli.story.attached import check_attached
from memflow_cli.story.picture import picture_identity
from memflow_cli.story.storyboard import Storyboard

_IDENTITY = re.compile(r"(?:(.*) )?(sha256:[0-9a-f]{16})", re.DOTALL)


def given_pictures(storyboard: Storyboard) -> dict[str, Any]:
    """Whoever has pictures: by name, the kind, the description, and what tells the pictures from others."""
    return {
        name: [kind, subject.description, [picture_identity(path) for path in subject.pictures]]
        for kind, subjects in (("character", storyboard.characters), ("place", storyboard.places))
        for name, subject in subjects.items()
        if subject.pictures
    }


def picture_contents(paths: Sequence[str]) -> list[Any]:
    """What tells these pictures from others."""
    return [_bare(picture_identity(path)) for path in paths]


def by_content(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for a whole film, or for one segment, with its pictures told by their content alone: without the names of
    their files, of which older records hold the whole path.
    """
    return {key: _bare(value) if key in ("given", "image") else value for key, value in recipe.items()}


def changed_pictures(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What became of the pictures of characters and places since: a sentence each. `old` and `new`: what holds for the whole
    film.
    """
    before, now, files = _pictured(by_content(old)), _pictured(by_content(new)), _pictured(new)
    found = []
    for name in sorted({*before, *now}):
        if name not in before:
            found.append(f"{name} has a picture now")
        elif name not in now:
            found.append(f"{name} has no picture any more")
        elif before[name] != now[name]:
            found += _changes(name, before[name], now[name], files[name][2])
    return found


def changed_image(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What became of the picture that a film starts from: a sentence, or none. `old` and `new`: of its first segment."""
    if by_content(old).get("image") == by_content(new).get("image"):
        return []
    if not old.get("image") or not new.get("image"):
        return [f"it {'starts from a picture now' if new.get('image') else 'starts from no picture any more'}"]
    return [f"the picture {_file_of(new['image'])} that it starts from has changed"]


def check_as_made(record: Mapping[str, Any], storyboard: Storyboard, width: int, height: int) -> None:
    """Raises UsageError for a picture or a sound of a finished film that cannot be read any more, or shows something else."""
    check_attached(storyboard, width, height)
    recipe = record["recipe"]
    changed = changed_pictures(recipe["common"], {"given": given_pictures(storyboard)})
    changed += changed_image(recipe["segments"][0], {"image": picture_identity(storyboard.segments[0].image)})
    if changed:
        raise UsageError(
            f"{', and '.join(changed)} since the film was made",
            "bring it back as it was, or make the film anew with memflow generate",
        )


def is_made_with(record: Mapping[str, Any], storyboard: Storyboard) -> bool:
    """Whether a storyboard names the very pictures and the sound that a film's record tells of, wherever they lie."""
    recipe = record["recipe"]
    image = {"image": picture_identity(storyboard.segments[0].image)}
    return (
        _bare(given_pictures(storyboard)) == _bare(recipe["common"].get("given") or {})
        and by_content(image) == by_content({"image": recipe["segments"][0].get("image")})
        and sound_of(tracks_sound(storyboard)) == sound_of((record.get("tracks") or {}).get("sound"))
    )


def tracks_sound(storyboard: Storyboard) -> list[str | None] | None:
    """The sound's file and its checksum."""
    return None if storyboard.sound is None else [storyboard.sound, sha256_of(Path(storyboard.sound))]


def sound_of(recorded: Any) -> Any:
    """What tells a recorded sound from another."""
    return recorded[-1] if isinstance(recorded, list) and recorded else recorded


def _pictured(common: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Whoever has pictures; a record may be damaged."""
    given = common.get("given")
    found = given.items() if isinstance(given, dict) else ()
    return {
        name: each for name, each in found if isinstance(each, list) and len(each) == 3 and isinstance(each[2], list)
    }


def _changes(name: str, before: Any, now: Any, pictures: Any) -> list[str]:
    """What became of somebody who has pictures, then as now. `pictures`: with the names of their files, as they are now."""
    found = []
    if before[:2] != now[:2]:
        found.append(f"{name} was {before[0]} {before[1]!r}, is now {now[0]} {now[1]!r}")
    if len(before[2]) != len(now[2]):
        found.append(f"{name} had {len(before[2])} pictures, has now {len(now[2])}")
    else:
        changed = [file for old, new, file in zip(before[2], now[2], pictures, strict=True) if old != new]
        found += [f"the picture {_file_of(file)} of {name} has changed" for file in changed]
    return found


def _file_of(identity: str) -> str:
    known = _IDENTITY.fullmatch(identity)
    return Path((known and known[1]) or identity).name


def _bare(value: Any) -> Any:
    if isinstance(value, str):
        known = _IDENTITY.fullmatch(value)
        return known[2] if known else value
    if isinstance(value, list):
        return [_bare(each) for each in value]
    return {key: _bare(each) for key, each in value.items()} if isinstance(value, dict) else value
