"""What a storyboard may contain, field by field. docs/storyboard.md is generated from the descriptions here."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from memflow_cli.geometry import MAX_SIDE
from memflow_cli.memory.options import DEFAULT_ARCHIVE_BYTES, AskedPolicy, Score
from memflow_cli.story.yaml_lines import KeyPath

DEFAULT_MODEL = "theatre"
MAX_SEED = 2**63 - 1
MAX_PROMPT_LENGTH = 4000  # characters; of which text encoders read the first 512 tokens, theatre 32
MAX_SEGMENT_SECONDS = 24 * 3600
MAX_SEGMENTS = 30_000  # a day of segments of three seconds
MAX_PROBLEMS = 1000  # that are put into words
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,6})\s*[xX×]\s*(\d{1,6})", re.ASCII)
_BYTES = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]i?)?B?", re.ASCII)
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def parse_seconds(value: Any) -> float:
    """4, 3.5, "4s", "1m10s", "1h" -> seconds. Raises ValueError with a sentence."""
    allowed = 'expected seconds such as 4, 3.5, 4s, "1m10s" or "1h"'
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e12 else math.inf
    elif isinstance(value, str) and value.strip() and len(value) < 40:
        match = _DURATION.fullmatch(value.replace(" ", ""))
        if match and any(match.groups()):
            seconds = sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))
    if math.isnan(seconds):
        raise ValueError(f"{_shown(value)} is no duration; {allowed}")
    if seconds <= 0:
        raise ValueError(f"{_shown(value)} is not longer than nothing; {allowed}")
    return seconds


def parse_segment_seconds(value: Any) -> float:
    """As `parse_seconds`, no longer than a segment may be."""
    seconds = parse_seconds(value)
    if seconds > MAX_SEGMENT_SECONDS:
        raise ValueError(f"{_shown(value)} is longer than 24h; a segment is at most that")
    return seconds


def parse_size(value: Any) -> tuple[int, int]:
    """ "224x128" -> (224, 128). Raises ValueError with a sentence."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{_shown(value)} is no size; expected width x height in pixels, such as 224x128")
    width, height = int(match[1]), int(match[2])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"{_shown(value)}: both sides must be from 1 to {MAX_SIDE} pixels")
    return width, height


def parse_bytes(value: Any) -> int:
    """8589934592, "8GiB", "500MB" -> bytes. Raises ValueError with a sentence."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**50:
        return value
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{_shown(value)} is no amount of memory; expected bytes, or such as 500MB or 8GiB")
    unit = match[2] or ""
    base = 1024 if unit.endswith("i") else 1000
    return int(float(match[1]) * base ** (" KMGT".index(unit[0]) if unit else 0))


def _shown(value: Any) -> str:
    """A value as an error may quote it: short, on one line."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sentence(parse: Any) -> BeforeValidator:
    """A parser as a pydantic validator whose errors are its own sentences."""

    def validate(value: Any) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise PydanticCustomError("sentence", "{text}", {"text": str(error)}) from None

    return BeforeValidator(validate)


def _text(limit: int) -> BeforeValidator:
    """Texts of at most `limit` characters, without control characters. A number or truth value becomes its value's text."""

    def check(value: Any) -> str:
        if isinstance(value, dict):
            raise ValueError('expected a text; one that starts with { needs quotes: "{fox} walks"')
        if value is None or isinstance(value, list):
            raise ValueError("expected a text")
        text = value if isinstance(value, str) else str(value)
        if len(text) > limit:
            raise ValueError(f"{len(text):,} characters long; at most {limit:,} are allowed")
        if found := _CONTROL.search(text):
            raise ValueError(f"contains the control character U+{ord(found[0]):04X}")
        return text

    return _sentence(check)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
ShortText = Annotated[str, _text(500)]


class SegmentEntry(_Entry):
    """One entry of `segments`."""

    prompt: Annotated[str, _text(MAX_PROMPT_LENGTH)] = Field(
        description="What is to be seen. `{name}` is replaced by that character's description; `{{` is a brace."
    )
    duration: Annotated[float, _sentence(parse_segment_seconds)] = Field(
        description='Seconds: `4`, `3.5`, `4s`, `"1m10s"`, `1h`. Rounded to whole chunks; `memflow plan` shows to what.'
    )
    seed: Seed | None = Field(None, description="This segment's own noise. Default: drawn from the film's seed.")
    transition: Literal["smooth", "cut"] = Field(
        "smooth",
        description="`smooth`: the film goes on under the new prompt. `cut`: the picture starts anew; memory stays.",
    )
    image: ShortText | None = Field(
        None,
        description="First segment only: a PNG, JPEG or WebP that the film starts from, in the storyboard's folder or below. "
        "It is held for the first chunk (0.75 s with theatre, 9 frames with Wan); then the film moves.",
    )


class MemoryEntry(_Entry):
    """The mapping `memory`."""

    policy: AskedPolicy | None = Field(
        None,
        description="`nam`: recalls what the prompt asks for. `sink`: the film's start and the last seconds. `window`: the "
        "last seconds only. `published`: what the model's authors publish: `official` (MemFlow), `ema-sink` (Reward "
        "Forcing), `shot-sink` (LongLive 2.0), `rebuilt` (Krea Realtime). Default: the model's own.",
    )
    bank: Annotated[int, Field(ge=0, le=64, strict=True)] = Field(
        3, description="How many remembered frames are recalled for a chunk."
    )
    activate: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = Field(
        None, description="How many of the sink's and the bank's frames each attention head reads. Default: all."
    )
    archive: Annotated[int, _sentence(parse_bytes)] = Field(
        DEFAULT_ARCHIVE_BYTES, description="How much memory the remembered frames may take: `8GiB`, `500MB`, bytes."
    )
    record_interval: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = Field(
        None, description="Chunks from one remembered frame to the next. Default: 1 (`official`: 3)."
    )
    score: Score | None = Field(
        None, description="How remembered frames are ranked against the prompt. Default: what was measured best."
    )
    positions: Literal["absolute", "relative"] | None = Field(
        None, description="How frames are numbered for attention. Default: what the model was trained with."
    )


class StoryEntry(_Entry):
    """The whole file."""

    title: ShortText | None = Field(None, description="Written into the film's metadata. Default: the file's name.")
    model: ShortText = Field(
        DEFAULT_MODEL, description="A model's name (`memflow models list`) or a folder of weights."
    )
    size: Annotated[tuple[int, int], _sentence(parse_size)] | None = Field(
        None, description="Width x height in pixels, such as `224x128`; each model has a default and a rule."
    )
    fps: Annotated[int, Field(ge=1, le=240, strict=True)] | None = Field(
        None, description="Frames a second of playback. Default: what the model was made for, 16 for most."
    )
    seed: Seed | None = Field(None, description="The film's noise. Default: drawn, printed and recorded.")
    style: Annotated[str, _text(1000)] = Field("", description="Appended to every prompt.")
    characters: dict[str, Annotated[str, _text(1000)]] = Field(
        default_factory=dict,
        description="Name to description; `{name}` in a prompt becomes the description. Consistent wording helps.",
    )
    memory: MemoryEntry = Field(default=MemoryEntry(), description="How the film remembers; see below.")
    segments: Annotated[list[SegmentEntry], Field(min_length=1)] = Field(description="The story; see below.")


def check_story(content: dict[str, Any]) -> tuple[StoryEntry | None, list[tuple[KeyPath, str]]]:
    """Validates plain values. Returns the entry (None if it is wrong) and every problem as (place, sentence).

    Of thousands of problems, the first `MAX_PROBLEMS` of pydantic's and of ours.
    """
    segments = content.get("segments")
    if isinstance(segments, list) and len(segments) > MAX_SEGMENTS:
        return None, [(("segments",), f"{len(segments):,} segments; at most {MAX_SEGMENTS:,} are allowed")]
    problems: list[tuple[KeyPath, str]] = []
    entry = None
    # `style:` with nothing behind it is a field left at its default
    content = {key: value for key, value in content.items() if value is not None or key not in StoryEntry.model_fields}
    try:
        entry = StoryEntry.model_validate(content)
    except ValidationError as error:
        problems.extend(_translate(problem) for problem in error.errors(include_url=False)[:MAX_PROBLEMS])
    problems.extend(_check_names(content)[:MAX_PROBLEMS])
    return entry, problems


def names_in(prompt: str) -> Iterable[str]:
    """The character names that a prompt refers to as {name}."""
    return (match[1].strip() for match in _BRACES.finditer(prompt) if match[1] is not None)


def complete_prompt(prompt: str, characters: Mapping[str, str], style: str) -> str:
    """{name} becomes the character's description, {{ a brace; the style is appended; white space becomes one space.

    A description that begins a sentence after another gets a capital letter.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        description = characters[match[1].strip()]
        begins_sentence = prompt[: match.start()].rstrip().endswith((".", "!", "?"))
        return description[:1].upper() + description[1:] if begins_sentence else description

    text = " ".join(_BRACES.sub(replace, prompt).split())
    style = " ".join(style.split())
    if not style:
        return text
    return f"{text} {style}" if text.endswith((".", "!", "?")) else f"{text}, {style}"


def _check_names(content: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """Rules across fields, on whatever part of the story is readable."""
    problems: list[tuple[KeyPath, str]] = []
    raw_characters = content.get("characters")
    characters = raw_characters if isinstance(raw_characters, dict) else {}
    for name, description in characters.items():
        if not re.fullmatch(r"\w[\w -]{0,39}", name):
            problems.append((("characters", name), "a character's name is up to 40 letters, digits, _, - or spaces"))
        if isinstance(description, str) and any(names_in(description)):
            problems.append((("characters", name), "a description cannot refer to another character"))
    segments = content.get("segments")
    style = content.get("style")
    for index, segment in enumerate(segments if isinstance(segments, list) else []):
        if not isinstance(segment, dict):
            continue
        if index > 0 and segment.get("image") is not None:
            problems.append((("segments", index, "image"), "only the first segment can start from a picture"))
        if isinstance(prompt := segment.get("prompt"), str) and len(prompt) <= MAX_PROMPT_LENGTH:
            place = ("segments", index, "prompt")
            unknown = [name for name in names_in(prompt) if name not in characters]
            problems.extend((place, _unknown_character(name, list(characters))) for name in dict.fromkeys(unknown))
            known = all(isinstance(description, str) for description in characters.values())
            if not unknown and known:
                length = len(complete_prompt(prompt, characters, style if isinstance(style, str) else ""))
                if length > MAX_PROMPT_LENGTH:
                    text = f"with characters and style {length:,} characters long; at most {MAX_PROMPT_LENGTH:,} are allowed"
                    problems.append((place, text))
            if not prompt.strip():
                problems.append((place, "is empty"))
    return problems


def _unknown_character(name: str, known: list[str]) -> str:
    if not known:
        return f"{{{name[:40]}}} is no character; define it under `characters`, or write {{{{ for a brace"
    return f"{{{name[:40]}}} is no character{did_you_mean(name, known)}; known are {', '.join(known[:10])}"


def did_you_mean(word: str, known: list[str]) -> str:
    """ "; did you mean ...?" for a misspelt word, or nothing."""
    close = difflib.get_close_matches(word[:60].lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


_MODELS: dict[str, type[_Entry]] = {"segments": SegmentEntry, "memory": MemoryEntry}


def _translate(problem: Any) -> tuple[KeyPath, str]:
    """One of pydantic's errors -> (place, our sentence)."""
    place: KeyPath = tuple(problem["loc"])
    kind, context = problem["type"], problem.get("ctx", {})
    given = _shown(problem["input"])
    if kind == "extra_forbidden":
        known = list(_MODELS.get(str(place[0]) if len(place) > 1 else "", StoryEntry).model_fields)
        return place, f"unknown key{did_you_mean(str(place[-1]), known)} (allowed: {', '.join(known)})"
    if kind == "missing":
        return place, "is missing"
    if kind == "too_short":
        return place, "is empty; a film needs at least one segment"
    if kind == "literal_error":
        known = [word.strip("'") for word in re.split(r", | or ", context["expected"])]
        return place, f"{given} is not allowed{did_you_mean(given.strip(chr(39)), known)} (allowed: {', '.join(known)})"
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return place, f"{given} is no whole number"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']:,}" if "ge" in context else f"at most {context['le']:,}"
        return place, f"{given} is out of range; {bound} is allowed"
    if kind == "list_type":
        return place, "expected a list; begin each entry with a dash"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return place, f"expected keys with values, not {given}"
    return place, problem["msg"]
