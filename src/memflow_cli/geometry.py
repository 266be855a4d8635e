"""Seconds, frames, latent frames, chunks, tokens, bytes: all conversions.

*Frame* alone is a pixel frame. A latent frame is one time step of the latent and decodes to `temporal_stride` frames,
the film's first to `first_frames`. A chunk is `chunk` latent frames, denoised together. No other module converts.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from memflow_cli.errors import UsageError

MAX_SIDE = 8192  # pixels; the largest picture H.264 level 6 knows
MAX_QUERY_PLACES = 64  # of a frame: memory asks what it shows, not where exactly
KV_GROUP = 64  # numbers of a head that share a scale where keys and values are kept in eight bits


@dataclass(frozen=True)
class Geometry:
    """A model's own description of its sizes."""

    latent_channels: int
    spatial_stride: int  # pixels a latent cell, in both directions
    temporal_stride: int  # frames a latent frame
    first_frames: int  # frames the film's first latent frame decodes to: 1 (Wan VAE), 4 (theatre)
    patch_size: tuple[int, int, int]  # latent cells a token: frames, height, width
    num_layers: int
    num_heads: int
    head_dim: int
    chunk: int = 3  # latent frames denoised together
    sink: int = 3  # the film's first latent frames, always attended to
    bank: int = 3  # latent frames recalled, and the places that relative positions keep for them
    window: int = 9  # latent frames of the local window, the chunk being denoised included
    sizes: tuple[tuple[int, int], ...] = ()  # of films, all from latents of the smallest; none: any that fit

    def __post_init__(self) -> None:
        assert self.patch_size[0] == 1, "a token belongs to one latent frame"
        assert 1 <= self.first_frames <= self.temporal_stride, "the first latent frame cannot hold more than the others"
        assert self.window >= self.chunk > 0, "the window includes the chunk being denoised"

    def to_json(self) -> dict[str, Any]:
        """Its values for a film's recipe; `sizes` only where there are any, so that films begun without them go on."""
        values = asdict(self)
        return values if self.sizes else {name: value for name, value in values.items() if name != "sizes"}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Geometry":
        """The inverse of `to_json`. Raises TypeError for other values."""
        return Geometry(**{name: _as_tuple(value) for name, value in values.items()})

    # space

    @property
    def size_multiple(self) -> tuple[int, int]:
        """Width and height of a film are multiples of these: one token's pixels."""
        return self.spatial_stride * self.patch_size[2], self.spatial_stride * self.patch_size[1]

    def latent_size(self, width: int, height: int) -> tuple[int, int]:
        """(h, w) of the latent, from the film's width and height in pixels."""
        width, height = min(self.sizes, default=(width, height))
        return exact_div(height, self.spatial_stride), exact_div(width, self.spatial_stride)

    def chunk_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape of one chunk's latents: [1, F, C, h, w]."""
        return (1, self.chunk, self.latent_channels, *self.latent_size(width, height))

    def grid_size(self, width: int, height: int) -> tuple[int, int]:
        """(rows, columns) of tokens in a latent frame."""
        h, w = self.latent_size(width, height)
        return exact_div(h, self.patch_size[1]), exact_div(w, self.patch_size[2])

    def tokens_per_frame(self, width: int, height: int) -> int:
        """Tokens of one latent frame."""
        rows, columns = self.grid_size(width, height)
        return rows * columns

    def check_size(self, width: int, height: int, model: str) -> None:
        """Raises UsageError, with the sizes that fit, unless the model can make this picture."""
        if self.sizes:
            if (width, height) not in self.sizes:
                known = " or ".join(f"{w}x{h}" for w, h in self.sizes)
                raise UsageError(f"size {width}x{height}: model {model} makes films of {known} only")
            return
        for name, value, multiple in zip(("width", "height"), (width, height), self.size_multiple, strict=True):
            if value > MAX_SIDE:
                raise UsageError(f"size {width}x{height}: the {name} is at most {MAX_SIDE} pixels")
            if value < multiple or value % multiple:
                below, above = value // multiple * multiple, (value // multiple + 1) * multiple
                near = f"{below} or {above}" if below else f"{above}"
                raise UsageError(
                    f"size {width}x{height}: the {name} for model {model} must be a multiple of {multiple}, not {value}",
                    hint=f"the nearest {name} that fits is {near}",
                )

    # time

    def latent_to_frames(self, num_latent_frames: int) -> int:
        """Frames that a film's first `num_latent_frames` decode to."""
        if num_latent_frames == 0:
            return 0
        return self.first_frames + (num_latent_frames - 1) * self.temporal_stride

    def num_frames(self, num_chunks: int) -> int:
        """Frames of a film of `num_chunks`."""
        return self.latent_to_frames(num_chunks * self.chunk)

    def latent_frame_range(self, latent_frame: int) -> range:
        """The frames that this latent frame decodes to."""
        return range(self.latent_to_frames(latent_frame), self.latent_to_frames(latent_frame + 1))

    def chunk_frame_range(self, chunk: int) -> range:
        """The frames that this chunk decodes to."""
        return range(self.num_frames(chunk), self.num_frames(chunk + 1))

    def nearest_chunk(self, num_frames: float) -> int:
        """The number of chunks whose film is nearest to `num_frames`; of two equally near the longer."""
        per_chunk = self.chunk * self.temporal_stride
        return max(0, math.floor((num_frames + self.temporal_stride - self.first_frames) / per_chunk + 0.5))

    # bytes

    def kv_bytes_per_frame(self, width: int, height: int, itemsize: int, kv: str = "full") -> int:
        """Keys and values of one latent frame over all layers. `kv`: "int8" where they are kept in eight bits and scales."""
        heads = 2 * self.num_layers * self.tokens_per_frame(width, height) * self.num_heads
        return heads * (
            self.head_dim + self.head_dim // kv_group(self.head_dim) if kv == "int8" else self.head_dim * itemsize
        )

    def query_bytes_per_frame(self, width: int, height: int, itemsize: int) -> int:
        """What the cache keeps of what one latent frame asked of its prompt, all layers."""
        tokens = self.tokens_per_frame(width, height)
        return self.kv_bytes_per_frame(width, height, itemsize) // 2 * query_places(tokens) // tokens

    def latent_bytes_per_frame(self, width: int, height: int, itemsize: int) -> int:
        h, w = self.latent_size(width, height)
        return self.latent_channels * h * w * itemsize


def query_places(num_tokens: int) -> int:
    """Runs of neighbouring tokens whose prompt queries are kept as their mean; small frames keep every token's."""
    return max(count for count in range(1, MAX_QUERY_PLACES + 1) if num_tokens % count == 0)


def has_whole_kv_groups(head_dim: int) -> bool:
    """Whether a head's numbers can be kept in eight bits."""
    return head_dim % kv_group(head_dim) == 0


def kv_group(head_dim: int) -> int:
    """How many numbers of a head share a scale in eight bits; a small head is one group."""
    return min(head_dim, KV_GROUP)


def exact_div(dividend: int, divisor: int) -> int:
    assert dividend % divisor == 0, f"{dividend} is not a multiple of {divisor}"
    return dividend // divisor


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(each) for each in value) if isinstance(value, list) else value
