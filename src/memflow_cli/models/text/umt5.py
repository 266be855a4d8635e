"""The UMT5 encoder, with the names that its published weights have.

For small encoders, theatre's above all: transformers has it too, loads the large ones (large.py), and tests compare the
two; but importing that takes seconds, which a film on a laptop would wait for.
Shapes: L tokens, H heads, C channels of the embeddings.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.errors import ModelError
from memflow_cli.models.files import read_json

# Above any encoder's: a config.json from strangers must not keep the machine busy.
MAX_LAYERS = 200
MAX_SIZE = 1 << 20


class UMT5Sizes(NamedTuple):
    """What an encoder's config.json says; the names are its own."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6


def read_sizes(folder: Path) -> UMT5Sizes:
    """Raises ModelError if config.json is missing, or describes another kind of encoder or one of absurd size."""
    path = folder / "config.json"
    if not path.exists():
        raise ModelError(f"the text encoder is missing: there is no {path}")
    values = read_json(path)
    if values.get("model_type") != "umt5" or values.get("feed_forward_proj", "gated-gelu") != "gated-gelu":
        raise ModelError(f"{path} describes a text encoder that is not UMT5 ({str(values.get('model_type'))[:40]})")
    try:
        sizes = UMT5Sizes(**{name: values[name] for name in UMT5Sizes._fields if name in values})
    except TypeError as error:
        raise ModelError(f"{path} does not describe a UMT5 encoder: {error}") from error
    for name, size in sizes._asdict().items():
        if name == "layer_norm_epsilon":
            is_right = type(size) is float and 0 < size < 1
        else:
            least, most = (4, MAX_SIZE) if "relative" in name else (1, MAX_LAYERS if name == "num_layers" else MAX_SIZE)
            is_right = type(size) is int and least <= size <= most
        if not is_right:
            raise ModelError(f"{path} does not describe a UMT5 encoder: {name} is {str(size)[:40]}")
    if sizes.relative_attention_max_distance <= sizes.relative_attention_num_buckets // 4:
        raise ModelError(f"{path} does not describe a UMT5 encoder: its distances are fewer than its buckets")
    return sizes


def _embedding(count: int, dim: int) -> nn.Embedding:
    """Without initial numbers: it is always loaded, and drawing them on the meta device imports torch's compiler."""
    return nn.Embedding(count, dim, _weight=torch.empty(count, dim))


class Norm(nn.Module):
    """Root-mean-square norm, computed in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), None, self.eps).to(self.weight.dtype) * self.weight


class SelfAttention(nn.Module):
    """Attention with a learned bias for each distance, and, as in all of T5, no scaling of the scores."""

    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        inner = sizes.num_heads * sizes.d_kv
        self.sizes = sizes
        self.q = nn.Linear(sizes.d_model, inner, bias=False)
        self.k = nn.Linear(sizes.d_model, inner, bias=False)
        self.v = nn.Linear(sizes.d_model, inner, bias=False)
        self.o = nn.Linear(inner, sizes.d_model, bias=False)
        self.relative_attention_bias = _embedding(sizes.relative_attention_num_buckets, sizes.num_heads)

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        """Tokens [L, C], the distances' buckets [L, L] -> [L, C]."""
        query, key, value = (part(x).unflatten(-1, (self.sizes.num_heads, -1)).transpose(0, 1) for part in self._inputs)
        bias = self.relative_attention_bias(buckets).permute(2, 0, 1)  # [H, L, L]
        weights = (query @ key.transpose(1, 2) + bias).float().softmax(dim=-1).to(x.dtype)
        return self.o((weights @ value).transpose(0, 1).flatten(1))

    @property
    def _inputs(self) -> tuple[nn.Linear, ...]:
        return self.q, self.k, self.v


class GatedFeedForward(nn.Module):
    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.wi_0 = nn.Linear(sizes.d_model, sizes.d_ff, bias=False)
        self.wi_1 = nn.Linear(sizes.d_model, sizes.d_ff, bias=False)
        self.wo = nn.Linear(sizes.d_ff, sizes.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class AttentionLayer(nn.Module):
    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.SelfAttention = SelfAttention(sizes)
        self.layer_norm = Norm(sizes.d_model, sizes.layer_norm_epsilon)

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), buckets)


class FeedForwardLayer(nn.Module):
    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.DenseReluDense = GatedFeedForward(sizes)
        self.layer_norm = Norm(sizes.d_model, sizes.layer_norm_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(sizes), FeedForwardLayer(sizes)])

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        attention, feed_forward = self.layer
        return feed_forward(attention(x, buckets))


class Stack(nn.Module):
    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.embed_tokens = _embedding(sizes.vocab_size, sizes.d_model)
        self.block = nn.ModuleList([Block(sizes) for _ in range(sizes.num_layers)])
        self.final_layer_norm = Norm(sizes.d_model, sizes.layer_norm_epsilon)


class UMT5Encoder(nn.Module):
    """One prompt's tokens -> its embeddings."""

    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Stack(sizes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [L], no padding -> embeddings [L, C]."""
        x = self.encoder.embed_tokens(tokens)
        buckets = self._buckets(len(tokens)).to(x.device)
        for block in self.encoder.block:
            x = block(x, buckets)
        return self.encoder.final_layer_norm(x)

    def _buckets(self, length: int) -> Tensor:
        """Which bias each pair [L, L] of query and key gets: near ones exact, far ones ever coarser, by direction."""
        half = self.sizes.relative_attention_num_buckets // 2
        exact = half // 2
        place = torch.arange(length)
        offset = place[None, :] - place[:, None]  # key - query
        distance = offset.abs()
        stretch = math.log(self.sizes.relative_attention_max_distance / exact)
        far = exact + (torch.log(distance.clamp(min=1).float() / exact) / stretch * (half - exact)).long()
        near_or_far = torch.where(distance < exact, distance, far.clamp(max=half - 1))
        return near_or_far + half * (offset > 0)
