"""The archive: the prototypes of the whole film so far, within a byte budget."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from memflow_cli.attention_context import FrameState


@dataclass(frozen=True)
class Prototype:
    """A remembered latent frame, and what the retrieval score keeps of it."""

    state: FrameState
    features: Tensor

    @property
    def num_bytes(self) -> int:
        """Of state and features; features that are a view of the state cost nothing more."""
        parts = (self.state.keys, self.state.values, self.state.prompt_queries)
        shared = any(part is not None and self.features.data_ptr() == part.data_ptr() for part in parts)
        return self.state.num_bytes + (0 if shared else self.features.numel() * self.features.element_size())


class Archive:
    """Prototypes in film order. When full, the one most like its neighbour in time goes first: what is rare stays."""

    def __init__(self, num_bytes: int) -> None:
        self.prototypes: list[Prototype] = []
        self._budget = num_bytes
        self._used = 0
        self._pooled: list[Tensor] = []
        self._likeness: list[float] = []  # of each prototype to the one before it

    def add(self, prototype: Prototype) -> tuple[int, ...]:
        """Archive a prototype later than all others. Returns the latent frames that had to go for it."""
        pooled = prototype.state.keys.float().mean(dim=2).flatten()  # [L * B * H * D]
        self._likeness.append(_cosine(self._pooled[-1], pooled) if self._pooled else -1.0)
        self._pooled.append(pooled)
        self.prototypes.append(prototype)
        self._used += prototype.num_bytes
        evicted = []
        while self._used > self._budget and len(self.prototypes) > 1:
            evicted.append(self._evict(max(range(1, len(self._likeness)), key=self._likeness.__getitem__)))
        return tuple(evicted)

    def _evict(self, index: int) -> int:
        gone = self.prototypes.pop(index)
        self._pooled.pop(index)
        self._likeness.pop(index)
        self._used -= gone.num_bytes
        if index < len(self.prototypes):
            self._likeness[index] = _cosine(self._pooled[index - 1], self._pooled[index])
        return gone.state.frame


def _cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a, b, dim=0).item()
