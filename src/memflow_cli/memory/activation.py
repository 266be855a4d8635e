"""Sparse Memory Activation (SMA): each head reads only the remembered frames that answer its queries.

Source: MemFlow (arXiv:2512.14699), section on Sparse Memory Activation.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TopFrames:
    """Per head, the `count` frames of sink and bank whose pooled key agrees best with the chunk's pooled query.

    `as_published`: choose anew in every pass, with the chunk at hand competing while it fills the sink. Default: choose
    in a chunk's first pass, by its noise, and again halfway through its steps, by what it has become.
    """

    count: int
    as_published: bool = False

    def choose(self, query: Tensor, keys: Tensor) -> Tensor:
        """Query [B, H, D] and keys [B, S, H, D], both mean-pooled over tokens after rotation -> indices [B, H, count].

        Indices rise: frames keep their order.
        """
        scores = (query.unsqueeze(1) * keys).sum(dim=-1)  # [B, S, H]
        return scores.transpose(1, 2).topk(self.count, dim=-1).indices.sort(dim=-1).values
