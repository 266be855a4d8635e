"""The Wan autoencoder as a stream: latents in as they are made, frames out, state kept between the calls.

diffusers' AutoencoderKLWan is causal in time and decodes one latent frame after the other with a cache of features,
which its `decode` throws away at the end of a clip. Here the cache belongs to the decoder object, so that a film of any
length is decoded in pieces, with the same result as in one piece.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify
from torch import Tensor

FeatureCache = list[Any]
"""A slot for each causal convolution of the decoder: None, a marker, or features [1, C, <=2, h, w]."""


@dataclass(frozen=True)
class Tiling:
    """Decode in overlapping squares to save memory: their side and their distance, in pixels.

    `state_on_host`: each tile's features wait in host memory for the tile's next turn.
    """

    size: int = 256
    stride: int = 192
    state_on_host: bool = False


@dataclass
class DecoderState:
    """What a decoder remembers between two calls: a cache for each tile, and how many latent frames it has seen."""

    num_latent_frames: int = 0
    caches: dict[tuple[int, int], FeatureCache] = field(default_factory=dict)


class WanDecoder:
    """Latents to frames, streaming, one latent frame after the other. `tiling` bounds memory by the tile, not by the picture."""

    def __init__(self, vae: AutoencoderKLWan, tiling: Tiling | None = None) -> None:
        if vae.device.type == "cuda":
            channels_last(vae)
        self._vae = vae
        self.tiling = tiling
        self._num_slots: int = vae._cached_conv_counts["decoder"]
        # A temporal convolution looks two of its frames back, at the latent rate or a finer one; one more for the first
        # latent frame, which is decoded otherwise than all others.
        self.past = 1 + 2 * sum(
            isinstance(layer, WanCausalConv3d) and layer.kernel_size[0] > 1 for layer in vae.decoder.modules()
        )
        self._state = DecoderState()

    def reset(self) -> None:
        """Begin a new film."""
        self._state = DecoderState()

    def decode(self, latents: Tensor) -> Tensor:
        """The next latent frames [F, C, h, w], normalised -> their frames [F', height, width, 3], fp32 in 0..1.

        The film's first latent frame becomes one frame, every other `temporal_stride` frames.
        """
        with torch.inference_mode():
            pieces = [_to_frames(self._decode_one(latents[index : index + 1])) for index in range(len(latents))]
        return torch.cat(pieces)

    def flush(self) -> Tensor:
        """Frames held back: none, the decoder is causal. [0, 0, 0, 3]."""
        return torch.zeros(0, 0, 0, 3)

    def _decode_one(self, latents: Tensor) -> Tensor:
        """A normalised latent frame [1, C, h, w] -> pixels [1, 3, F', height, width] in -1..1."""
        z = denormalise(latents.to(self._vae.device, torch.float32), self._vae)
        z = z.transpose(0, 1).unsqueeze(0).to(self._vae.dtype)
        pixels = self._decode_tiles(z) if self._is_tiled(z) else self._decode_tile(z, (0, 0))
        if self._vae.config.patch_size is not None:
            pixels = unpatchify(pixels, patch_size=self._vae.config.patch_size)
        self._state.num_latent_frames += len(latents)
        return pixels.clamp(-1, 1)

    def _decode_tile(self, z: Tensor, tile: tuple[int, int]) -> Tensor:
        cache = self._state.caches.setdefault(tile, [None] * self._num_slots)
        z = self._vae.post_quant_conv(z)
        is_first = self._state.num_latent_frames == 0
        pixels = self._vae.decoder(z, feat_cache=cache, feat_idx=[0], first_chunk=is_first)
        if self.tiling is not None and self.tiling.state_on_host:
            cache[:] = [slot.cpu() if isinstance(slot, Tensor) else slot for slot in cache]
        return pixels

    def _is_tiled(self, z: Tensor) -> bool:
        if self.tiling is None:
            return False
        return max(z.shape[-2:]) > self.tiling.size // self._vae.spatial_compression_ratio

    def _decode_tiles(self, z: Tensor) -> Tensor:
        """Each tile with its own cache; where tiles overlap they fade into each other."""
        assert self.tiling is not None, "tiles need a tiling"
        ratio = self._vae.spatial_compression_ratio
        size, stride = self.tiling.size // ratio, self.tiling.stride // ratio
        scale = ratio // (self._vae.config.patch_size or 1)  # decoded cells a latent cell
        kept, overlap = stride * scale, (size - stride) * scale
        rows: list[list[Tensor]] = []
        for top in range(0, z.shape[-2], stride):
            row: list[Tensor] = []
            for left in range(0, z.shape[-1], stride):
                tile = self._decode_tile(z[..., top : top + size, left : left + size], (top, left))
                if rows:
                    tile = _fade(rows[-1][len(row)], tile, overlap, dim=-2)
                if row:
                    tile = _fade(row[-1], tile, overlap, dim=-1)
                row.append(tile)
            rows.append(row)
        strips = [torch.cat([tile[..., :kept, :kept] for tile in row], dim=-1) for row in rows]
        return torch.cat(strips, dim=-2)[..., : z.shape[-2] * scale, : z.shape[-1] * scale]


def channels_last(vae: AutoencoderKLWan) -> None:
    """Lay the decoder's convolutions out with channels innermost, as tensor cores read them; frames are the same but for
    rounding. Features follow the weights' layout. For CUDA, where it is the layout that cuDNN's fast kernels want; what it
    gains has not been measured. Again on the same autoencoder it does nothing.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in vae.decoder.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])


def encode(vae: AutoencoderKLWan, frames: Tensor) -> Tensor:
    """Frames [F, height, width, 3] in 0..1 -> normalised latents [F', C, h, w], fp32: the posterior's mode.

    F is 1, 5, 9, ...: the first frame makes the first latent frame, every four more another one.
    """
    pixels = (frames.permute(3, 0, 1, 2).unsqueeze(0) * 2 - 1).to(vae.device, vae.dtype)
    with torch.inference_mode():
        latents = vae.encode(pixels).latent_dist.mode()[0].transpose(0, 1).float()
    return normalise(latents, vae)


def normalise(latents: Tensor, vae: AutoencoderKLWan) -> Tensor:
    """The autoencoder's latents [F, C, h, w] -> what the transformer works on: mean 0, deviation 1, for each channel."""
    mean, deviation = _statistics(vae, latents)
    return (latents - mean) / deviation


def denormalise(latents: Tensor, vae: AutoencoderKLWan) -> Tensor:
    """The inverse of `normalise`."""
    mean, deviation = _statistics(vae, latents)
    return latents * deviation + mean


def _statistics(vae: AutoencoderKLWan, like: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(vae.config.latents_mean, dtype=like.dtype, device=like.device)
    deviation = torch.tensor(vae.config.latents_std, dtype=like.dtype, device=like.device)
    return mean.view(-1, 1, 1), deviation.view(-1, 1, 1)


def _fade(before: Tensor, tile: Tensor, overlap: int, dim: int) -> Tensor:
    """`tile` with its first `overlap` cells along `dim` faded in from the last ones of `before`."""
    overlap = min(before.shape[dim], tile.shape[dim], overlap)
    if overlap == 0:
        return tile
    weight = torch.arange(overlap, device=tile.device, dtype=torch.float32) / overlap
    weight = weight.view(-1, 1) if dim == -2 else weight
    ending = before.narrow(dim, before.shape[dim] - overlap, overlap)
    mixed = ending * (1 - weight) + tile.narrow(dim, 0, overlap) * weight
    rest = tile.narrow(dim, overlap, tile.shape[dim] - overlap)
    return torch.cat([mixed.to(tile.dtype), rest], dim=dim)


def _to_frames(pixels: Tensor) -> Tensor:
    """[1, 3, F, height, width] in -1..1 -> [F, height, width, 3], fp32 in 0..1."""
    return (pixels[0].permute(1, 2, 3, 0).float() + 1) / 2
