"""The painter's work in fewer and larger steps, for a CPU: autoencoder and painter as one, from latents to pixels as shown.

Sums are part of the convolution before them. What only moves numbers is one copy of long runs, for each convolution's
channels are put in the order in which the next step wants them. Numbers become pixels a few rows at a time, which stay in a
core's cache meanwhile, and are rounded once. The slow twins are `sketch`, `Painter.look` and `Painter.paint`, whose weights
these are.
Shapes: F latent frames, C latent channels, (h, w) cells. Pictures of many channels lie channels last, [F, h, w, channels].
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.models.packed import Convolution, Product
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.painter import UPSCALE, Painted, Painter

RGB = 3
ROWS_AT_ONCE = 8  # of places whose numbers stay in a core's cache while they become pixels

Residual = tuple[Convolution, Convolution]


class FusedPainter:
    """Latents -> painted frames. The weights are copied: changed later, they are as they were."""

    def __init__(self, autoencoder: PatchAutoencoder, painter: Painter) -> None:
        self._sketch = FusedSketch(autoencoder)
        self._enter = convolution(painter.enter)
        self._stages = [residual_blocks(blocks) for blocks in painter.stages]
        self._mend = convolution(painter.mend)
        self._ups = [convolution(up, apart(up.out_channels, 2)) for up in painter.ups]
        self._places = painter.places
        weight, bias = painter.from_pixels.weight, painter.from_pixels.bias
        self._from_pixels = Convolution(weight[:, apart(weight.shape[1], self._places)], cast("Tensor", bias))
        self._leave = Leave(painter)

    def paint(self, latents: Tensor) -> Painted | None:
        """Latents [1, 1 + past, C, h, w], newest first -> frames, uint8; None: there is NaN among them."""
        features = self._enter(latents.flatten(1, 2).contiguous(memory_format=torch.channels_last))
        features = run(self._stages[0], features)
        cells = F.silu(features)
        mended = latents[:, 0] + self._mend(cells)
        decoded = self._sketch.draw(mended)
        gathered = gather(decoded, self._places)
        for index, (up, blocks) in enumerate(zip(self._ups, self._stages[1:], strict=True)):
            features = spread(up(F.silu(features)), 2)
            if index == len(self._ups) - 1:
                features = self._from_pixels.add_to(features, gathered)
            features = run(blocks, features)
        places = F.silu(features)
        frames = self._leave(places, decoded)
        return None if frames is None else Painted(frames, cells, places)


class FusedSketch:
    """`painter.sketch`: what the autoencoder makes of latents."""

    def __init__(self, autoencoder: PatchAutoencoder) -> None:
        refiner, config = autoencoder.refiner, autoencoder.config
        self._patch = config.scale_factor_spatial
        sizes = config.scale_factor_temporal, self._patch, self._patch, RGB
        order = torch.arange(config.patch_numbers).view(sizes).permute(1, 2, 0, 3).flatten()
        self._scale = autoencoder.scale
        self._basis = Product(autoencoder.basis.T[order], autoencoder.mean[order])
        self._enter = convolution(refiner.enter)
        self._down = convolution(refiner.down)
        self._from_latent = convolution(refiner.from_latent)
        self._blocks = residual_blocks(refiner.blocks)
        self._up = convolution(refiner.up, apart(refiner.up.out_channels, 2))
        self._mix = convolution(refiner.mix)
        self._leave = convolution(refiner.leave)

    def draw(self, latents: Tensor) -> Tensor:
        """Latents [1, C, h, w] -> pixels [1, 4 * 3, 16 h, 16 w] in about -1..1."""
        patches = self._basis(latents.permute(0, 2, 3, 1) * self._scale)
        pixels = spread(patches.permute(0, 3, 1, 2), self._patch)
        fine = self._enter(pixels)
        coarse = self._down(F.silu(fine))
        ratio = coarse.shape[-1] // latents.shape[-1]
        cells = self._from_latent(latents.contiguous(memory_format=torch.channels_last))
        tiles(coarse, ratio).add_(tiles(cells, 1))
        coarse = run(self._blocks, coarse)
        tiles(fine, 2).add_(split(self._up(F.silu(coarse)), 2))
        fine = self._mix.add_to(fine, F.silu(fine))
        return self._leave.add_to(pixels, F.silu(fine))


class Leave:
    """The painter's last convolutions: how much of the sketch, enlarged smoothly, is kept, and what is added; and its pixels."""

    def __init__(self, painter: Painter) -> None:
        leave, self._places = painter.leave, painter.places
        self._frames = painter.config.frames_per_latent
        self._side = UPSCALE * self._places  # painted pixels of a place, each way
        sizes = self._frames, RGB, self._side, self._side
        order = torch.arange(leave.out_channels).view(sizes).permute(0, 2, 3, 1).flatten()  # (frame, row, column, RGB)
        self._finish = Convolution(leave.weight.detach()[order], cast("Tensor", leave.bias).detach()[order], padding=1)
        kernel = enlarging(self._places, self._frames * RGB)[order].to(leave.weight)
        self._enlarge = Convolution(kernel, kernel.new_zeros(len(kernel)))
        forget = painter.forget
        self._keep = Convolution(-forget.weight.detach(), 1 - cast("Tensor", forget.bias).detach(), padding=1)
        run = self._side * RGB  # bytes of a place's row, which are moved as few numbers
        self._unit = torch.int32 if run % 4 == 0 else torch.int16

    def __call__(self, features: Tensor, decoded: Tensor) -> Tensor | None:
        """Features [1, width, h, w], decoded pixels [1, 4 * 3, height, width] -> frames [4, 2 height, 2 width, 3] uint8."""
        smooth = self._enlarge(gather(with_rim(decoded, self._places), self._places))
        kept = self._keep(features).permute(0, 2, 3, 1).unsqueeze(-1)  # [1, h, w, (frame, row, column), 1]
        smooth.permute(0, 2, 3, 1).unflatten(-1, (-1, RGB)).mul_(kept)
        made = self._finish.add_to(smooth, features).permute(0, 2, 3, 1)[0]  # [h, w, channels]
        if not made.sum().isfinite():
            return None
        height, width, _ = made.shape
        shown = made.new_empty((self._frames, height, self._side, width, self._side * RGB), dtype=torch.uint8)
        for first in range(0, height, ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            pixels = made[rows].float().mul_(127.5).add_(128).clamp_(0, 255).to(torch.uint8)  # cut off is rounded here
            places = pixels.view(self._unit).unflatten(-1, (self._frames, self._side, -1))
            shown[:, rows].view(self._unit).copy_(places.permute(2, 0, 3, 1, 4))
        return shown.view(self._frames, height * self._side, width * self._side, RGB)


def with_rim(x: Tensor, size: int) -> Tensor:
    """[F, channels, h, w] with `size` pixels more on each side, which repeat those at the rim. Channels last."""
    inside = x.permute(0, 2, 3, 1)
    frames, height, width, channels = inside.shape
    whole = x.new_empty(frames, height + 2 * size, width + 2 * size, channels)
    whole[:, size:-size, size:-size] = inside
    whole[:, :size, size:-size], whole[:, -size:, size:-size] = inside[:, :1], inside[:, -1:]
    whole[:, :, :size], whole[:, :, -size:] = whole[:, :, size : size + 1], whole[:, :, -size - 1 : -size]
    return whole.permute(0, 3, 1, 2)


def enlarging(places: int, channels: int) -> Tensor:
    """The kernel [channels * side^2, places^2 * channels, 3, 3] that makes of the gathered pixels of a place and of those
    around it what `F.interpolate` makes, bilinear; for `F.pixel_shuffle`.
    """
    side = UPSCALE * places
    alone = torch.eye((3 * places) ** 2).view(-1, 1, 3 * places, 3 * places)  # each pixel of 3x3 places
    large = F.interpolate(alone, scale_factor=UPSCALE, mode="bilinear", align_corners=False)
    middle = large[:, 0, side : 2 * side, side : 2 * side]  # [pixels, side, side]
    middle = middle.view(3, places, 3, places, side, side).permute(
        4, 5, 1, 3, 0, 2
    )  # [side, side, places, places, 3, 3]
    kernel = torch.zeros(channels, side, side, places, places, channels, 3, 3)
    for channel in range(channels):
        kernel[channel, :, :, :, :, channel] = middle
    return kernel.view(channels * side**2, places**2 * channels, 3, 3)


# How channels lie


def apart(num_channels: int, factor: int) -> Tensor:
    """Channels as `F.pixel_shuffle` has them, in the order (row, column, channel)."""
    return torch.arange(num_channels).view(-1, factor**2).T.flatten()


def split(x: Tensor, factor: int) -> Tensor:
    """[F, (row, column, channel), h, w] -> [F, h, row, w, column, channel]."""
    return x.permute(0, 2, 3, 1).unflatten(-1, (factor, factor, -1)).permute(0, 1, 3, 2, 4, 5)


def tiles(x: Tensor, factor: int) -> Tensor:
    """[F, channels, h * factor, w * factor] -> a view [F, h, factor, w, factor, channels]."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, factor)).unflatten(1, (-1, factor))


def spread(x: Tensor, factor: int) -> Tensor:
    """[F, (row, column, channel), h, w] -> [F, channels, h * factor, w * factor]: `F.pixel_shuffle`."""
    return split(x, factor).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def gather(x: Tensor, factor: int) -> Tensor:
    """[F, channels, h * factor, w * factor] -> [F, (row, column, channel), h, w]: `F.pixel_unshuffle`."""
    return tiles(x, factor).permute(0, 1, 3, 2, 4, 5).flatten(3).permute(0, 3, 1, 2)


# Layers


def convolution(layer: nn.Module, order: Tensor | None = None) -> Convolution:
    """`order`: of what it makes."""
    assert isinstance(layer, nn.Conv2d), "both networks are made of plain convolutions"
    weight, bias = layer.weight.detach(), cast("Tensor", layer.bias).detach()
    if order is not None:
        weight, bias = weight[order], bias[order]
    return Convolution(weight, bias, cast("int", layer.padding[0]), layer.stride[0])


def residual_blocks(blocks: nn.Module) -> list[Residual]:
    """Of blocks SiLU, convolution, SiLU, convolution."""
    return [(convolution(block[1]), convolution(block[3])) for block in cast("Sequence[nn.Sequential]", blocks)]


def run(blocks: Sequence[Residual], features: Tensor) -> Tensor:
    """Features [F, width, h, w] after the blocks; in place."""
    for first, last in blocks:
        features = last.add_to(features, F.silu(first(F.silu(features))))
    return features
