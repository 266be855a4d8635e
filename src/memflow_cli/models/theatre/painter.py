"""theatre's painter: a second decoder, which paints twice as wide and high as the patch autoencoder decodes.

Latents go through a network over cells first, where a convolution costs least: it mends what the transformer drew wrong, by what
the latent frames before show, and says what is to be painted; a few cheap stages turn that into pixels.
Shapes: F latent frames, C latent channels, (h, w) cells of 32x32 painted pixels.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memflow_cli.models.theatre.autoencoder import WEIGHTS_NAME, PatchAutoencoder
from memflow_cli.models.weights.quantised import SCALE, dequantise, quantise_rows

UPSCALE = 2  # painted pixels for each one that the autoencoder decodes, in both directions


class Painted(NamedTuple):
    """A latent frame as it is painted, and what it was painted from."""

    frames: Tensor  # [4, 32 h, 32 w, 3], uint8 or in 0..1
    cells: Tensor  # [1, widths[0], h, w]
    places: Tensor  # [1, widths[-1], 8 h, 8 w]


@dataclass(frozen=True)
class PainterConfig:
    """`widths`, `blocks`: channels and residual blocks at 1, 2, 4 and 8 places a cell. `past`: latent frames looked back at."""

    width: int = 448
    height: int = 256
    past: int = 3
    latent_channels: int = 192
    frames_per_latent: int = 4
    cell: int = 16  # pixels of a cell as the autoencoder decodes it
    widths: tuple[int, ...] = (256, 160, 96, 48)
    blocks: tuple[int, ...] = (5, 2, 2, 2)


def residual_block(width: int) -> nn.Sequential:
    """Adds exactly nothing when untrained."""
    block = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1))
    nn.init.zeros_(block[-1].weight)
    nn.init.zeros_(block[-1].bias)
    return block


class Painter(nn.Module):
    """Untrained, it paints what the autoencoder decodes to, scaled up."""

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.config = config
        pixels = 3 * config.frames_per_latent
        places = config.cell // 2 ** (len(config.widths) - 1)  # decoded pixels a place of the finest stage, each way
        painted = (UPSCALE * places) ** 2  # pixels of such a place
        self.enter = nn.Conv2d((1 + config.past) * config.latent_channels, config.widths[0], 1)
        self.stages = nn.ModuleList(
            nn.ModuleList(residual_block(width) for _ in range(count))
            for width, count in zip(config.widths, config.blocks, strict=True)
        )
        self.mend = nn.Conv2d(config.widths[0], config.latent_channels, 1)
        self.ups = nn.ModuleList(
            nn.Conv2d(before, 4 * after, 1) for before, after in zip(config.widths, config.widths[1:], strict=False)
        )
        self.from_pixels = nn.Conv2d(pixels * places**2, config.widths[-1], 1)
        self.leave = nn.Conv2d(config.widths[-1], pixels * painted, 3, padding=1)
        self.forget = nn.Conv2d(config.widths[-1], config.frames_per_latent * painted, 3, padding=1)
        self.places = places
        for last in (self.mend, self.leave, self.forget):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def look(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [F, 1 + past, C, h, w], newest first -> (features [F, width, h, w], mended latents [F, C, h, w])."""
        features = self.enter(latents.flatten(1, 2).contiguous(memory_format=torch.channels_last))
        features = run_blocks(self.stages[0], features)
        return features, latents[:, 0] + self.mend(F.silu(features))

    def paint(self, features: Tensor, decoded: Tensor) -> Tensor:
        """`look`'s features and what the autoencoder makes of its latents, [F, 4 * 3, 16 h, 16 w] -> [F, 4 * 3, 32 h, 32 w].

        Pixels in -1..1. What is painted is added to that sketch, of which it says for each pixel how much is kept. Any part of
        the picture may be painted alone, in whole cells; only its rim will differ.
        """
        return self.finish(self.places_of(features, decoded), decoded)

    def places_of(self, features: Tensor, decoded: Tensor) -> Tensor:
        """What is known of each place before it is painted, [F, widths[-1], 8 h, 8 w]; from what `paint` is given."""
        for index, (up, blocks) in enumerate(zip(self.ups, self.stages[1:], strict=True)):
            features = F.pixel_shuffle(up(F.silu(features)), 2)
            if index == len(self.ups) - 1:
                features = features + self.from_pixels(F.pixel_unshuffle(decoded, self.places))
            features = run_blocks(blocks, features)
        return F.silu(features)

    def finish(self, features: Tensor, decoded: Tensor) -> Tensor:
        """`places_of`'s places and the sketch -> pixels, as `paint` makes them."""
        side = UPSCALE * self.places
        smooth = F.interpolate(decoded, scale_factor=UPSCALE, mode="bilinear", align_corners=False)
        kept = 1 - F.pixel_shuffle(self.forget(features), side)
        smooth = (smooth.unflatten(1, (-1, 3)) * kept.unsqueeze(2)).flatten(1, 2)
        return smooth + F.pixel_shuffle(self.leave(features), side)

    def save_pretrained(self, folder: Path) -> None:
        """Matrices in eight bits, a scale a row; the rest in fp32."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(
            json.dumps({"_class_name": type(self).__name__, **asdict(self.config)}, indent=2) + "\n"
        )
        packed = {}
        for name, tensor in self.state_dict().items():
            if tensor.ndim > 1:
                packed[name], packed[name + SCALE] = (part.contiguous() for part in quantise_rows(tensor))
            else:
                packed[name] = tensor.float().contiguous()
        save_file(packed, folder / WEIGHTS_NAME)

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "Painter":
        description = json.loads((folder / "config.json").read_text())
        known = {field.name for field in fields(PainterConfig)}
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items() if name in known}
        model = cls(PainterConfig(**values))
        weights = dequantise(folder, load_file(folder / WEIGHTS_NAME))
        for name, untrained in model.forget.named_parameters(prefix="forget"):
            weights.setdefault(name, untrained)  # painters made before there was this layer keep all of the sketch
        model.load_state_dict(weights)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.to(dtype).eval().requires_grad_(False)


def sketch(autoencoder: PatchAutoencoder, latents: Tensor) -> Tensor:
    """What the autoencoder makes of latents [F, C, h, w]: pixels [F, 4 * 3, 16 h, 16 w] in about -1..1, to be painted over."""
    pixels = autoencoder.decode_linear(latents).contiguous(memory_format=torch.channels_last)
    return autoencoder.refiner(pixels, latents)


def run_blocks(blocks: Sequence[nn.Module], features: Tensor) -> Tensor:
    for block in blocks:
        features = features + block(features)
    return features
