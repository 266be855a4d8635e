"""The prompts of a film as the transformer takes them, kept small."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


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
