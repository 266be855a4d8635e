"""Pictures of characters and places that a storyboard gives: read at the film's size, and given to the walk."""

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memflow_cli.backbone import Backbone
from memflow_cli.film.given_picture import MIRRORED, GivenPicture
from memflow_cli.film.prompt_embeds import StoryEmbeds, encode_story
from memflow_cli.machine.out_of_memory import doing
from memflow_cli.memory.cast import NOBODY, Casting, NewScene
from memflow_cli.pipeline import Shot, Walk
from memflow_cli.story.picture import load_picture
from memflow_cli.story.plan import SegmentPlan
from memflow_cli.story.storyboard import Segment, Storyboard

_THUMBNAIL_WIDTH, _THUMBNAIL_QUALITY = 320, 86


@dataclass(frozen=True, eq=False)
class Given:
    """A picture of a character or place. `about`: what the trace says of it; `pixels`: [height, width, 3] uint8."""

    about: GivenPicture
    description: str
    pixels: np.ndarray


def load_given(storyboard: Storyboard, width: int, height: int) -> tuple[Given, ...]:
    """The pictures of characters, then of places, each a latent frame below 0; those of characters mirrored another
    one, where memory is to have them so. Raises UsageError for one that will not do.
    """
    given: list[Given] = []
    for kind, subjects in (("character", storyboard.characters), ("place", storyboard.places)):
        for name, subject in subjects.items():
            for path in subject.pictures:
                pixels = load_picture(Path(path), width, height)
                about = GivenPicture(-len(given) - 1, name, kind, Path(path).name, _thumbnail(pixels))
                given.append(Given(about, subject.description, pixels))
                if kind == "character" and storyboard.memory.mirror_pictures:
                    given.append(mirrored(given[-1], -len(given) - 1))
    return tuple(given)


def mirrored(given: Given, frame: int) -> Given:
    """The same picture seen the other way round, as another of memory's latent frames."""
    pixels = np.ascontiguousarray(given.pixels[:, ::-1])
    about = replace(given.about, frame=frame, file=given.about.file + MIRRORED, jpeg=_thumbnail(pixels))
    return Given(about, given.description, pixels)


def give_pictures(walk: Walk, given: Sequence[Given], told: StoryEmbeds) -> None:
    """Let a walk's memory know them, before its first shot. `told`: what `encode_told` gave."""
    for picture, prompt_embeds in zip(given, told.given, strict=True):
        walk.give(picture.about.name, still(walk.backbone, picture.pixels), prompt_embeds)


def still(backbone: Backbone, pixels: np.ndarray) -> Tensor:
    """A picture [height, width, 3] uint8, held for a film's first chunk: its latents [1, F, C, h, w]."""
    picture = torch.from_numpy(pixels.copy()).float() / 255
    frames = picture.expand(backbone.geometry.num_frames(1), *picture.shape)
    return backbone.encode_frames(frames).unsqueeze(0).to("cpu", torch.float32)


@doing("encoding the prompts")
def encode_told(
    backbone: Backbone, storyboard: Storyboard, segments: Sequence[SegmentPlan], given: Sequence[Given]
) -> StoryEmbeds:
    """What a film's first segments are told, each in the light of those before it, and what its pictures show."""
    prompts, cuts = [each.prompt for each in segments], [each.transition == "cut" for each in segments]
    descriptions = [picture.description for picture in given]
    lengths = [each.num_chunks for each in segments]
    return encode_story(backbone, prompts, cuts, descriptions, storyboard.pictured_descriptions, lengths)


def shot_of(storyboard: Storyboard, segment: SegmentPlan, told: StoryEmbeds) -> Shot:
    """`told`: what the film's segments are told, this one among them."""
    casting = casting_of(storyboard, storyboard.segments[segment.index])
    is_apart = bool(told.apart) and told.apart[segment.index] and storyboard.memory.policy == "nam"
    return Shot(
        segment.prompt,
        told.prompts[segment.index],
        segment.seed,
        segment.transition,
        segment.num_chunks,
        told.turns[segment.index],
        _in_new_scene(casting) if is_apart else casting,
    )


def _in_new_scene(casting: Casting) -> Casting:
    """Of a segment whose scene stands apart, unless it says whom to recall."""
    return NewScene(**asdict(casting)) if casting.recall is None else casting


def casting_of(storyboard: Storyboard, segment: Segment) -> Casting:
    """What a segment says of whom to remember, to a memory that knows who is who."""
    if storyboard.memory.policy != "nam":
        return NOBODY
    return Casting(segment.names, segment.recall, segment.remember, segment.forget)


def _thumbnail(pixels: np.ndarray) -> str:
    """A small JPEG, in base64."""
    image = Image.fromarray(pixels)
    image.thumbnail((_THUMBNAIL_WIDTH, _THUMBNAIL_WIDTH))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_THUMBNAIL_QUALITY)
    return base64.b64encode(content.getvalue()).decode()
