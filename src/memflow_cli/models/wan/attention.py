"""Attention over frames: rotary positions, and the two attention layers of a Wan block.

Shapes: B batch, F latent frames, N tokens a latent frame, H heads, D head size, T prompt tokens.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROPE_THETA = 10000.0
FEWEST_KEYS, MOST_SCORES = 128, 2**20
"""Within these bounds attention is spelled out on a CPU; theatre's chunks have up to 420 keys and a fifth of the scores."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""As `attend`."""

Rotate = Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]
"""As `rotate`."""

RotaryTable = Callable[[tuple[int, ...], tuple[int, int], int, torch.device], tuple[Tensor, Tensor]]
"""As `rotary_table`."""


class Angles(tuple[Tensor, Tensor]):
    """Cosine and sine; as complex numbers too, for who asks again and again. Not to be written to."""

    @cached_property
    def as_complex(self) -> Tensor:
        return torch.complex(*self)


@lru_cache(maxsize=32)
def rotary_table(positions: tuple[int, ...], grid: tuple[int, int], head_dim: int, device: torch.device) -> Angles:
    """Cosine and sine of every token's angles, each [F, N, 1, head_dim / 2] in fp32.

    `positions` holds one temporal position a latent frame, `grid` the rows and columns of tokens in a frame. A head is
    split into frame, row and column parts of d - 4 * (d // 6), 2 * (d // 6) and 2 * (d // 6) numbers (Wan2.1).
    Angles are computed in fp64 on the host for the positions asked for, so there is no longest film; the last tables
    are kept, since all layers and steps of a chunk ask for the same ones.
    """
    rows, columns = grid
    spatial = 2 * (head_dim // 6)
    parts = []
    for axis, (indices, size) in enumerate(
        ((positions, head_dim - 2 * spatial), (range(rows), spatial), (range(columns), spatial))
    ):
        frequencies = ROPE_THETA ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.outer(torch.tensor(list(indices), dtype=torch.float64), frequencies)
        shape = [1, 1, 1, size // 2]
        shape[axis] = len(indices)
        parts.append(angles.view(shape).expand(len(positions), rows, columns, size // 2))
    angles = torch.cat(parts, dim=-1).reshape(len(positions), rows * columns, 1, head_dim // 2)
    return Angles((angles.cos().float().to(device), angles.sin().float().to(device)))


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each interleaved pair of `x` [..., F, N, H, D] by the angles of `table` (from `rotary_table`)."""
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return rotate_as_complex(x, table)
    return rotate_by_parts(x, table)


def rotate_by_parts(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """As `rotate`, spelled out: what a compiler fuses into one kernel."""
    cosine, sine = table
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2).to(x.dtype)


def rotate_as_complex(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """As `rotate`, in a third of the operators: four times as fast where none are fused."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    turns = table.as_complex if isinstance(table, Angles) else torch.complex(*table)
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention. [B, L, H, D] queries over [B, S, H, D] keys and values -> [B, L, H, D]."""
    return (attend_spelled_out if _fits_the_cache(query, key) else attend_fused)(query, key, value)


def _fits_the_cache(query: Tensor, key: Tensor) -> bool:
    """Whether this is attention that a CPU does faster spelled out: 16 bits, more keys than a prompt's, not too many."""
    if query.device.type != "cpu" or query.dtype not in (torch.bfloat16, torch.float16):
        return False
    batch, length, heads, _ = query.shape
    return key.shape[1] >= FEWEST_KEYS and batch * heads * length * key.shape[1] <= MOST_SCORES


def attend_fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `attend`, by torch's fused kernels, which never hold all scores."""
    out = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return out.transpose(1, 2)


def attend_spelled_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `attend`, by two matrix products: in 16 bits on a CPU twice as fast, while the scores stay in its cache."""
    query, key, value = (x.transpose(1, 2).contiguous() for x in (query, key, value))
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    return (scores.softmax(dim=-1) @ value).transpose(1, 2)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis (all heads together), computed in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps).to(x.dtype)


class Attention(nn.Module):
    """The projections of one attention layer, under their original Wan names."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = RMSNorm(dim, eps)
        self.norm_k = RMSNorm(dim, eps)

    def split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1))

    def query(self, x: Tensor) -> Tensor:
        """[..., dim] -> normalised queries [..., H, D]."""
        return self.split_heads(self.norm_q(self.q(x)))

    def key(self, x: Tensor) -> Tensor:
        """[..., dim] -> normalised keys [..., H, D], before rotation."""
        return self.split_heads(self.norm_k(self.k(x)))

    def value(self, x: Tensor) -> Tensor:
        """[..., dim] -> values [..., H, D]."""
        return self.split_heads(self.v(x))
