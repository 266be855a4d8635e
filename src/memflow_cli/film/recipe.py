"""What a film was made from, and how that is compared. No torch."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from memflow_cli.backbone import Sampling
from memflow_cli.errors import UsageError
from memflow_cli.film.attached import by_content, changed_image, changed_pictures, given_pictures, sound_of
from memflow_cli.film.durable import file_sha256
from memflow_cli.film.names import record_path, run_path
from memflow_cli.film.ours import read_regular, sha256_of
from memflow_cli.geometry import KV_GROUP, Geometry, has_whole_kv_groups
from memflow_cli.memory.options import PUBLISHED, REBUILT, RECALLING, MemoryOptions
from memflow_cli.story.picture import picture_identity
from memflow_cli.story.plan import FilmPlan
from memflow_cli.story.schema import MAX_SEED
from memflow_cli.story.storyboard import Segment, Storyboard
from memflow_cli.version import __version__

MAX_RECIPE_BYTES = 256 * 2**20
CASTING = ("names", "recall", "remember", "forget")
"""Of a segment, what a recipe says of whom to remember."""


class FilmModel(Protocol):
    """What a film has to know of its model; a `ModelEntry` of models/ is one."""

    @property
    def name(self) -> str: ...

    @property
    def fps(self) -> int: ...

    @property
    def published_policy(self) -> str: ...

    @property
    def geometry(self) -> Geometry: ...

    @property
    def sampling(self) -> Sampling: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def policy(self) -> str: ...

    @property
    def mirrors_pictures(self) -> bool: ...

    @property
    def picture_guidance(self) -> float: ...

    def identity(self) -> dict[str, Any]:
        """Its name and what tells its weights from others."""
        ...

    def source(self, preview_decoder: Path | None = None) -> dict[str, Any]:
        """Where its files are: what to give on a command line to make the film again."""
        ...


@dataclass(frozen=True)
class Recipe:
    """All that a film's bytes depend on. `common`: what holds for the whole film, by the name a user knows it under."""

    common: dict[str, Any]
    segments: tuple[dict[str, Any], ...]

    def differences(self, other: "Recipe") -> list[str]:
        """Sentences' ends, "seed was 7, is now 8", for all but the segments."""
        mine = {"cpu": other.common.get("cpu"), **self.common}  # 0.1.0 did not record it
        theirs = {key: value for key, value in other.common.items() if key != "given"}
        mine.pop("given", None)
        return _differences(mine, theirs) + changed_pictures(self.common, other.common)

    def unchanged_segments(self, other: "Recipe") -> int:
        """How many segments from the first on are the same in both."""
        count = 0
        for mine, theirs in zip(self.segments, other.segments):
            if by_content(mine) != by_content(theirs):
                break
            count += 1
        return count

    def prefixes(self) -> list[bytes]:
        """For every segment 16 bytes that stand for all that its part depends on: the whole of `common` and the segments
        up to it, each hash made from the one before.
        """
        return [self._hash(before, segment)[:16] for before, segment in self._chain()]

    def chunk_owners(self) -> list[bytes]:
        """For every segment 16 bytes that stand for all that its chunks depend on. Its own length is not among that: a
        segment may be made longer or shorter, and its chunks stay.
        """
        owners = []
        for before, segment in self._chain():
            own = {key: value for key, value in segment.items() if key != "num_chunks"}
            owners.append(self._hash(before, own)[:16])
        return owners

    @property
    def made_after_others(self) -> list[int]:
        """Segments, from 0, that were made when something else came before them: no storyboard makes them again."""
        return [index for index, segment in enumerate(self.segments) if segment.get("made_after")]

    def _chain(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Every segment with the hash of all that comes before it."""
        before = hashlib.sha256(_canonical(by_content(self.common))).digest()
        for segment in self.segments:
            yield before, segment
            before = self._hash(before, segment)

    @staticmethod
    def _hash(before: bytes, segment: Mapping[str, Any]) -> bytes:
        return hashlib.sha256(before + _canonical(by_content(segment))).digest()

    def to_json(self) -> dict[str, Any]:
        return {"common": self.common, "segments": list(self.segments)}

    @staticmethod
    def from_json(content: Any) -> "Recipe":
        """Raises ValueError for anything but a recipe."""
        if not isinstance(content, dict) or not isinstance(content.get("common"), dict):
            raise ValueError("no recipe")
        segments = content.get("segments")
        if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
            raise ValueError("no segments")
        return Recipe(content["common"], tuple(segments))


def resolve(storyboard: Storyboard, entry: FilmModel) -> Storyboard:
    """The storyboard with all that the model decides filled in: what is recorded, and made again from the record.

    Raises UsageError for a memory that can not be.
    """
    width, height = storyboard.width or entry.width, storyboard.height or entry.height
    memory = _with_pictures(storyboard, entry)
    memory = replace(memory, policy=_policy(memory.policy, entry))
    if memory.policy == "sink" and not entry.geometry.sink:
        raise UsageError(f"memory.policy: {entry.name} has no sink", "choose window")
    if memory.activate and memory.policy not in RECALLING:
        raise UsageError(
            f"memory.activate: the policy {memory.policy} recalls no frames of which heads could read some",
            f"choose {' or '.join(RECALLING)}, or leave activate out",
        )
    if memory.kv == "int8" and not has_whole_kv_groups(entry.geometry.head_dim):
        raise UsageError(
            f"memory.kv int8: {entry.name} has heads of {entry.geometry.head_dim} numbers, "
            f"which are not whole groups of {KV_GROUP}",
            "leave it out",
        )
    _check_pictures(storyboard, str(memory.policy), memory.bank, entry)
    fps = storyboard.fps or entry.fps
    return replace(storyboard, model=entry.name, width=width, height=height, fps=fps, memory=memory)


def _with_pictures(storyboard: Storyboard, entry: FilmModel) -> MemoryOptions:
    """The memory's options, with what holds of given pictures filled in; None where none is given."""
    memory, mirrors, guidance = storyboard.memory, None, None
    if any(subject.pictures for subject in storyboard.characters.values()):
        mirrors = entry.mirrors_pictures if memory.mirror_pictures is None else memory.mirror_pictures
    if any(subject.pictures for subject in storyboard.subjects.values()):
        guidance = entry.picture_guidance if memory.picture_guidance is None else memory.picture_guidance
    return replace(memory, mirror_pictures=mirrors, picture_guidance=guidance)


def _check_pictures(storyboard: Storyboard, policy: str, bank: int, entry: FilmModel) -> None:
    """Raises UsageError for pictures of characters where memory can recall none."""
    name = next((name for name, subject in storyboard.subjects.items() if subject.pictures), None)
    if name is None or (policy == "nam" and bank):
        return
    if policy == "nam":
        raise UsageError(
            f"memory.bank: a bank of 0 recalls nothing, and {name} has a picture",
            "choose a bank of at least 1, or leave the picture out",
        )
    can_recall = entry.published_policy != REBUILT
    raise UsageError(
        f"memory.policy: the policy {policy} recalls no given picture, and {name} has one",
        f"choose {'policy nam' if can_recall else 'another model'}, or leave the picture out",
    )


def _policy(asked: str | None, entry: FilmModel) -> str:
    """The memory policy of a film. Raises UsageError for one that the model cannot have."""
    policy = entry.published_policy if asked == PUBLISHED else asked or entry.policy
    rebuilds = entry.published_policy == REBUILT
    if rebuilds != (policy == REBUILT):
        what = "rebuilds its context before each chunk and keeps no cache" if rebuilds else "keeps a cache"
        raise UsageError(f"memory.policy {policy}: {entry.name} {what}", f"choose {PUBLISHED}")
    return policy


def make_recipe(
    storyboard: Storyboard, plan: FilmPlan, entry: FilmModel, preview_decoder: Path | None = None
) -> Recipe:
    """The recipe of a resolved storyboard and its plan. `preview_decoder`: the file that decodes in place of the model's
    own.
    """
    decoder = {}
    if preview_decoder is not None:
        decoder["preview_decoder"] = "sha256 " + file_sha256(preview_decoder)[:16]
    common = {
        "model": entry.identity(),
        "size": f"{plan.width}x{plan.height}",
        "fps": plan.fps,
        "seed": plan.seed,
        "memory": storyboard.memory.to_json(),
        "sampling": entry.sampling.to_json(),
        "geometry": entry.geometry.to_json(),
        "memflow": __version__,
        **decoder,
    }
    if given := given_pictures(storyboard):
        common["given"] = given
    return Recipe(json.loads(json.dumps(common)), recipe_segments(plan, storyboard))


def recipe_segments(plan: FilmPlan, storyboard: Storyboard) -> tuple[dict[str, Any], ...]:
    """What a recipe says of each segment."""
    return tuple(
        {
            "prompt": segment.prompt,
            "num_chunks": segment.num_chunks,
            "seed": segment.seed,
            "transition": segment.transition,
            "image": picture_identity(source.image),
            **({"made_after": source.made_after} if source.made_after else {}),
            **_casting(storyboard, source),
        }
        for segment, source in zip(plan.segments, storyboard.segments, strict=True)
    )


def _casting(storyboard: Storyboard, segment: Segment) -> dict[str, list[str]]:
    """What a segment says of whom to remember, where memory knows who is who. What it does not say is left out."""
    if storyboard.memory.policy != "nam":
        return {}
    said = {key: getattr(segment, key) for key in CASTING}
    return {key: list(names) for key, names in said.items() if names or (key == "recall" and names is not None)}


def read_record(film: Path) -> dict[str, Any] | None:
    """film.json beside a film, or None if there is none that can be read."""
    try:
        content = json.loads(read_regular(record_path(film), MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("memflow") else None


def recorded_seed(film: Path) -> int | None:
    """The seed that this film, or its unfinished run, was begun with: a seed that was drawn is drawn once."""
    try:
        content = json.loads(read_regular(run_path(film) / "run.json", MAX_RECIPE_BYTES))
        seed = content["recipe"]["common"]["seed"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        seed = (read_record(film) or {}).get("seed")
    return seed if type(seed) is int and 0 <= seed <= MAX_SEED else None


def unfinished_because(film: Path, recipe: Recipe, title: str, tracks: Mapping[str, Any] = {}) -> str | None:
    """None if `film` is there, of this title, came from this recipe, with these tracks besides its pictures, and is byte for
    byte the file that its record tells of.

    Otherwise what is so instead, as the end of a sentence. Machine, precision and versions may have been others.
    """
    record = read_record(film) or {}
    try:
        old = Recipe.from_json(record.get("recipe"))
        num_bytes = film.stat().st_size
    except (OSError, ValueError):
        return "is another film than this would be"
    irrelevant = {"device", "dtype", "torch", "memflow", "accelerate", "cpu", "given"}
    same = all(old.common.get(key) == recipe.common.get(key) for key in {*old.common, *recipe.common} - irrelevant)
    if not same or not _are_same_stories(old.segments, recipe.segments) or record.get("title") != title:
        return "is another film than this would be"
    changed = changed_pictures(old.common, recipe.common) + changed_image(old.segments[0], recipe.segments[0])
    if changed:
        return f"is another film than this would be: {', and '.join(changed)}"
    if _tracks_by_content(record.get("tracks") or {}) != _tracks_by_content(tracks):
        return "has other titles, captions or another sound than this would have"
    if record.get("num_bytes") != num_bytes or sha256_of(film) != record.get("sha256"):
        return "is damaged, or was changed by another program: its bytes are not those that were written"
    return None


def _are_same_stories(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all segments are the same, but for the picture that the first one starts from."""
    return bool(old) and [{**each, "image": None} for each in old] == [{**each, "image": None} for each in new]


def _tracks_by_content(tracks: Mapping[str, Any]) -> dict[str, Any]:
    return {key: sound_of(value) if key == "sound" else value for key, value in tracks.items()}


def is_finished(film: Path, recipe: Recipe, title: str, tracks: Mapping[str, Any] = {}) -> bool:
    return unfinished_because(film, recipe, title, tracks) is None


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            found += _differences(before, now, f"{prefix}{key} ")
        elif before != now:
            found.append(f"{prefix}{key} was {_brief(before)}, is now {_brief(now)}")
    return found


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
