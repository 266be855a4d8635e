"""What a storyboard may contain, field by field. docs/storyboard.md is generated from the descriptions here."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from memflow_cli.errors import UsageError
from memflow_cli.memory.options import DEFAULT_ARCHIVE_BYTES, AskedPolicy, Kv, Score
from memflow_cli.story.prompts import MAX_NAMES, composed, is_blank, names_in, one_line, plain_name, refer
from memflow_cli.story.quantities import parse_bytes, parse_segment_seconds, parse_size
from memflow_cli.story.scalars import text_of, value_of
from memflow_cli.story.storyboard import DEFAULT_MODEL

MAX_SEED = 2**63 - 1
MAX_PROMPT_LENGTH = 4000  # characters; of which text encoders read the first 512 tokens, theatre 32
MAX_SEGMENTS = 30_000  # a day of segments of three seconds
MAX_PICTURES = 16  # of a character
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _sentence(parse: Callable[[Any], Any]) -> BeforeValidator:
    """A parser as a pydantic validator whose errors are its own sentences."""

    def validate(value: Any) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise PydanticCustomError("sentence", "{text}", {"text": str(error)}) from None

    return BeforeValidator(validate)


def _check_text(given: Any, limit: int) -> str:
    """A text of at most `limit` characters, as it was written, without control characters."""
    value = text_of(given)
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


def read_prompt(text: str) -> str:
    """The prompt that a command line gives, as a storyboard's would be read. Raises UsageError where that would be refused."""
    try:
        prompt = one_line(composed(_check_text(text, MAX_PROMPT_LENGTH)))
    except ValueError as error:
        raise UsageError(f"--prompt: {error}") from None
    if is_blank(prompt):
        raise UsageError("--prompt: is empty")
    return prompt


def complete_given_prompt(prompt: str, descriptions: Mapping[str, str], style: str = "") -> tuple[str, tuple[str, ...]]:
    """A command line's prompt with all that is filled in, and the names that it refers to. Raises UsageError for a name that
    nobody has, and if it became too long by that."""
    try:
        complete, names = refer(prompt, descriptions, style)
    except UsageError as error:
        raise UsageError(f"--prompt: {error.message}") from None
    if len(complete) > MAX_PROMPT_LENGTH:
        raise UsageError(f"--prompt: with descriptions and style at most {MAX_PROMPT_LENGTH:,} characters are allowed")
    return complete, names


def _text(limit: int) -> BeforeValidator:
    return _sentence(lambda given: composed(_check_text(given, limit)))


def _line(limit: int) -> BeforeValidator:
    return _sentence(lambda given: one_line(composed(_check_text(given, limit))))


def _path() -> BeforeValidator:
    """A path: its characters stay as they are, for a file's name is bytes."""
    return _sentence(_check_path)


def _check_path(given: Any) -> str:
    if given is None or isinstance(given, dict | list):
        raise ValueError("expected a file's name")
    path = _check_text(given, 500)
    if not path.strip():
        raise ValueError("is empty: a file's name is expected; leave it out if there is none")
    return path


def _as_list(given: Any) -> list[Any]:
    """What a field takes that may hold one or several; with nothing behind it, it is left at its default."""
    return given if isinstance(given, list) else [] if given is None else [given]


def _paths(given: Any) -> tuple[str, ...]:
    values = _as_list(given)
    if isinstance(given, dict):
        raise ValueError("expected a file's name, or a list of them")
    if len(values) > MAX_PICTURES:
        raise ValueError(f"{len(values)} pictures; at most {MAX_PICTURES} are allowed")
    return tuple(_check_path(value) for value in values)


def _names(given: Any) -> tuple[str, ...]:
    """fox, or [fox, cat] -> names, each once."""
    values = _as_list(given)
    if isinstance(given, dict):
        raise ValueError("expected a name without braces, or a list of names")
    if len(values) > MAX_NAMES:
        raise ValueError(f"{len(values)} names; at most {MAX_NAMES} are allowed")
    return tuple(dict.fromkeys(plain_name(_check_text(value, 40)) for value in values))


def _recalled(given: Any) -> tuple[str, ...]:
    return () if given == "none" else _names(given)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


_PLAIN = BeforeValidator(value_of)
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True), _PLAIN]
Names = Annotated[tuple[str, ...], _sentence(_names)]


class SegmentEntry(_Entry):
    """One entry of `segments`."""

    prompt: Annotated[str, _text(MAX_PROMPT_LENGTH)] = Field(
        description="What is to be seen. `{name}` is replaced by the description of that character or place; `{{` is a brace."
    )
    duration: Annotated[float, _sentence(parse_segment_seconds)] = Field(
        description='Seconds: `4`, `3.5`, `4s`, `"1m10s"`, `1h`. Rounded to whole chunks; `memflow plan` shows to what.'
    )
    seed: Seed | None = Field(None, description="This segment's own noise. Default: drawn from the film's seed.")
    transition: Literal["smooth", "cut"] = Field(
        "smooth",
        description="`smooth`: the film goes on under the new prompt. `cut`: the picture starts anew; memory stays.",
    )
    image: Annotated[str, _path()] | None = Field(
        None,
        description="First segment only: a PNG, JPEG or WebP that the film starts from, in the storyboard's folder or below. "
        "It is held for the first chunk (0.75 s with theatre, 9 frames with Wan); then the film moves. "
        "`memflow live` leaves it out, and `sound` too.",
    )
    title: Annotated[str, _line(200)] | None = Field(
        None, description="The chapter's name in the film's file. Default: the prompt's first words."
    )
    caption: Annotated[str, _text(1000)] | None = Field(
        None, description="A subtitle, shown while the segment lasts. See `captions` of the whole file."
    )
    names: Names = Field(
        (),
        description="Characters and places that are meant to be in the picture, besides those that the prompt refers to "
        "as `{name}`: `[fox]` for a prompt that says `the fox`. Memory recalls each of them.",
    )
    remember: Names = Field(
        (),
        description="A name or a list: what is seen at this segment's end is how they look from here on; what memory held of "
        "them before, pictures too, is out of date.",
    )
    forget: Names = Field((), description="A name or a list: what memory holds of them is gone from this segment on.")
    recall: Annotated[tuple[str, ...], _sentence(_recalled)] | None = Field(
        None,
        description="A name or a list: who is recalled in this segment, whatever the score says. `none`, or an "
        "empty list: nobody. "
        "Default: those whom the prompt names, then by score.",
    )

    @property
    def all_names(self) -> tuple[str, ...]:
        """Those whom the prompt refers to, and those whom the segment names besides."""
        return tuple(dict.fromkeys([*names_in(self.prompt), *self.names]))


class SubjectEntry(_Entry):
    """A character or a place: a description, or these keys."""

    description: Annotated[str, _text(1000)] = Field(
        description="What `{name}` becomes in a prompt. A character or place without a picture may be this text alone."
    )
    picture: Annotated[tuple[str, ...], _sentence(_paths)] = Field(
        (),
        description="A PNG, JPEG or WebP, or a list of them, in the storyboard's folder or below: "
        "how they look. Memory recalls it whenever a prompt calls them, before the film has shown them too.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if given is None or isinstance(given, list):
            raise PydanticCustomError("sentence", "expected a text, or the keys description and picture")
        return given if isinstance(given, dict) else {"description": given}


class MemoryEntry(_Entry):
    """The mapping `memory`."""

    policy: AskedPolicy | None = Field(
        None,
        description="`nam`: recalls what the prompt asks for. `sink`: the film's start and the last seconds. `window`: the "
        "last seconds only. `published`: what the model's authors publish: `official` (MemFlow), `ema-sink` (Reward "
        "Forcing), `shot-sink` (LongLive 2.0), `rebuilt` (Krea Realtime). Default: the model's own.",
    )
    bank: Annotated[int, Field(ge=0, le=64, strict=True), _PLAIN] = Field(
        3, description="How many remembered frames are recalled for a chunk."
    )
    activate: Annotated[int, Field(ge=1, le=1000, strict=True), _PLAIN] | None = Field(
        None, description="How many of the sink's and the bank's frames each attention head reads. Default: all."
    )
    archive: Annotated[int, _sentence(parse_bytes)] = Field(
        DEFAULT_ARCHIVE_BYTES, description="How much memory the remembered frames may take: `8GiB`, `500MB`, bytes."
    )
    record_interval: Annotated[int, Field(ge=1, le=1000, strict=True), _PLAIN] | None = Field(
        None, description="Chunks from one remembered frame to the next. Default: 1 (`official`: 3)."
    )
    score: Score | None = Field(
        None, description="How remembered frames are ranked against the prompt. Default: what was measured best."
    )
    positions: Literal["absolute", "relative"] | None = Field(
        None, description="How frames are numbered for attention. Default: what the model was trained with."
    )
    kv: Kv = Field(
        "full",
        description="`int8`: keys and values are kept in eight bits, in groups of 64: half the memory of 16 bits for the cache "
        "and for what is remembered, and a slightly different film. `full`: as the model computes.",
    )
    mirror_pictures: Annotated[bool, Field(strict=True), _PLAIN] | None = Field(
        None,
        description="Whether memory is given each picture of a character mirrored as well: who looks to the left there comes in "
        "from the left, too. Default: as the model was measured to do better (`theatre`: yes).",
    )
    picture_guidance: Annotated[float, Field(ge=0, le=10), _PLAIN] | None = Field(
        None,
        description="How far the first chunks of whoever is known by pictures alone are led towards them; 0: not at all. Costs "
        "half as many passes again for two chunks. Default: as the model was measured to do best (`theatre`: 2, others 0).",
    )


class StoryEntry(_Entry):
    """The whole file."""

    title: Annotated[str, _line(500)] | None = Field(
        None, description="Written into the film's metadata. Default: the file's name."
    )
    model: Annotated[str, _path()] = Field(
        DEFAULT_MODEL,
        description="A model's name (`memflow models list`) or a folder of weights; a path counts from this file.",
    )
    size: Annotated[tuple[int, int], _sentence(parse_size)] | None = Field(
        None, description="Width x height in pixels, such as `224x128`; each model has a default and a rule."
    )
    fps: Annotated[int, Field(ge=1, le=240, strict=True), _PLAIN] | None = Field(
        None, description="Frames a second of playback. Default: what the model was made for, 16 for most."
    )
    seed: Seed | None = Field(None, description="The film's noise. Default: drawn, printed and recorded.")
    style: Annotated[str, _text(1000)] = Field(
        "", description="Appended to every prompt. It can refer to nobody by `{name}`; `{{` is a brace."
    )
    characters: dict[str, SubjectEntry] = Field(
        default_factory=dict,
        description="Name to description; `{name}` in a prompt becomes the description. Consistent wording helps. "
        "With a picture: `fox: {description: a red fox, picture: fox.png}`.",
    )
    places: dict[str, SubjectEntry] = Field(
        default_factory=dict, description="The same for places: name to description, or to description and picture."
    )
    captions: Annotated[bool, Field(strict=True), _PLAIN] = Field(
        False,
        description="`true`: a subtitle track and a `.srt` file beside the film: each segment's `caption`, or else its prompt. "
        "Without it, only if a segment has a `caption`.",
    )
    sound: Annotated[str, _path()] | None = Field(
        None,
        description="A sound file in the storyboard's folder or below, cut or padded to the film's length.",
    )
    memory: MemoryEntry = Field(default=MemoryEntry(), description="How the film remembers; see below.")
    segments: Annotated[list[SegmentEntry], Field(min_length=1)] = Field(description="The story; see below.")
