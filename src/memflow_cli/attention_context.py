"""The seam between a backbone, its cache and the memory: what they know of each other, and nothing more.

By `AttentionContext` any KV-cached streaming backbone can use the memory; a backbone never sees a policy, a policy never
sees a layer. Shapes: B batch, F latent frames, N tokens a latent frame, H heads, D head size, T prompt tokens, L layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Rotate = Callable[[Tensor, Sequence[int]], Tensor]
"""(keys [B, F, N, H, D], one temporal position a frame) -> rotated keys of the same shape."""

PositionMode = Literal["absolute", "relative", "packed"]


@dataclass(frozen=True, eq=False)
class PromptProjection:
    """A prompt as the backbone's cross-attention sees it: finished, so that retrieval can never meet an empty query.
    Equal to itself alone.

    `keys`, `values`: for each layer [B, T, H, D]. `mask`: [B, T], true where there is a real token, not padding.
    `embeds`: the text encoder's output [B, T, C], by which memory tells whether two prompts say the same word.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    embeds: Tensor

    @cached_property
    def real_keys(self) -> Tensor:
        """The keys without padding, head by head: [L * H, T', D] in fp32, with T' real tokens."""
        keys = torch.stack([key[0] for key in self.keys]).float()[:, self.mask[0]]  # [L, T', H, D]
        return keys.transpose(1, 2).flatten(0, 1)

    @cached_property
    def words(self) -> Tensor:
        """The embeddings of the real tokens, each of length 1: [T', C] in fp16, in host memory."""
        return F.normalize(self.embeds[0][self.mask[0]].float(), dim=-1).half().cpu()


@dataclass(frozen=True)
class FrameState:
    """All layers' state of one latent frame.

    `keys` (before rotation) and `values`: [L, B, N, H, D]. `prompt_queries`: what its tokens asked the prompt,
    [L, B, M, H, D] with M places of neighbouring tokens, or None where the cache does not keep them.
    """

    frame: int
    keys: Tensor
    values: Tensor
    prompt_queries: Tensor | None = None

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Its tensors: keys, values, and prompt queries where there are any."""
        queries = () if self.prompt_queries is None else (self.prompt_queries,)
        return (self.keys, self.values, *queries)

    @property
    def num_bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in self.parts)

    def load(self) -> "FrameState":
        """The state itself; a stored one (memory/archive.py) is read back here."""
        return self


class StoredFrame(Protocol):
    """A frame's state, wherever it is kept."""

    @property
    def frame(self) -> int: ...

    def load(self) -> FrameState: ...


class AttentionContext(Protocol):
    """All that a backbone knows about its past. The seam by which any KV-cached streaming backbone can use the memory."""

    @property
    def positions(self) -> Sequence[int]:
        """The temporal position of each latent frame at hand, for its queries' rotation."""
        ...

    @property
    def observes(self) -> bool:
        """Whether anything is kept of what `observe` is told; if not, a pass may leave out what leads there."""
        ...

    def gather(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stage the keys and values of the frames at hand; return all that their queries may attend to.

        `query`: [B, F, N, H, D], rotated. `key` (before rotation), `value`: [B, F, N, H, D].
        Returns rotated keys and values, each [B, S, H, D] with S tokens in view.
        """
        ...

    def observe(self, layer: int, prompt_query: Tensor) -> None:
        """See the queries [B, F, N, H, D] that the frames at hand put to the prompt."""
        ...


class Activation(Protocol):
    """Sparse Memory Activation: which remembered frames each head reads."""

    @property
    def count(self) -> int:
        """How many frames of sink and bank a head reads."""
        ...

    @property
    def as_published(self) -> bool:
        """Choose anew in every pass, and let the frames at hand compete while they fill the sink. Otherwise: choose
        in a chunk's first pass and halfway, among frames of the past only.
        """
        ...

    def choose(self, query: Tensor, keys: Tensor) -> Tensor:
        """Pooled query [B, H, D] and pooled rotated keys [B, S, H, D] of S candidates -> indices [B, H, count]."""
        ...
