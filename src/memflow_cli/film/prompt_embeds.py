"""The prompts of a film as the transformer takes them, kept small."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memflow_cli.backbone import Backbone


class StoryEmbeds(NamedTuple):
    """What a film's segments are told: the embeddings [T, C] that each begins with, and those that hold from one of its
    chunks on. `given`: what each given picture is committed under. `apart`: which segments show nobody, and no place, that was
    shown before the cut that their scene began with.
    """

    prompts: Sequence[Tensor]
    turns: Sequence[Mapping[int, Tensor]]
    given: Sequence[Tensor] = ()
    apart: Sequence[bool] = ()


def encode_story(
    backbone: Backbone,
    prompts: Sequence[str],
    cuts: Sequence[bool],
    given: Sequence[str] = (),
    pictured: Sequence[str] = (),
    lengths: Sequence[int] = (),
) -> StoryEmbeds:
    """The prompts of a film's segments, or what the model reads in them, each text encoded once and alone.

    `given`: the description of each given picture; `pictured`: those of the characters that have any; `lengths`: chunks of
    each segment, as far as they are known.
    """
    told = backbone.read_story(prompts, cuts, pictured, lengths)
    texts = [text for parts in told for _, text in parts]
    texts += [backbone.caption_picture(description) for description in given]
    rows = iter(encode_each(texts, backbone.encode_prompts))
    embeds = [{chunk: next(rows) for chunk, _ in parts} for parts in told]
    apart = backbone.stands_apart(prompts, cuts, pictured)
    return StoryEmbeds([parts.pop(0) for parts in embeds], embeds, list(rows), apart)


def encode_each(texts: Sequence[str], encode: Callable[[list[str]], Tensor]) -> "PromptEmbeds":
    """`texts`: one a segment. Each is encoded once, and alone: what a prompt means must not depend on its company."""
    embeds = {text: _without_padding(encode([text])[0]) for text in dict.fromkeys(texts)}
    length = max((whole for _, whole in embeds.values()), default=0)
    return PromptEmbeds([embeds[text][0] for text in texts], length)


class PromptEmbeds(Sequence[Tensor]):
    """A prompt's embeddings [T, C] for each segment, kept without their padding: ten thousand prompts fit in memory."""

    def __init__(self, rows: list[Tensor], length: int) -> None:
        self._rows = rows
        self._length = length

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        rows = self._rows[index]
        return torch.nn.functional.pad(rows, (0, 0, 0, self._length - len(rows)))


def _without_padding(embeds: Tensor) -> tuple[Tensor, int]:
    """[T, C] -> (its rows up to the last that is not zero, T)."""
    real = embeds.ne(0).any(dim=1).nonzero()
    end = int(real[-1]) + 1 if len(real) else 1
    return embeds[:end].clone(), len(embeds)
