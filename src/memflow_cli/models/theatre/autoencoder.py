"""theatre's autoencoder: principal components of pixel patches, and a small convolutional refiner of what they decode to.

A latent frame is 4 pixel frames, the film's first included, and depends on no other: it streams by nature.
Shapes: F latent frames, C latent channels, (h, w) cells of 16x16 pixels.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class AutoencoderConfig:
    latent_channels: int = 192
    scale_factor_spatial: int = 16
    scale_factor_temporal: int = 4
    refiner_channels: int = 32
    refiner_body_channels: int = 64
    refiner_blocks: int = 4

    @property
    def patch_numbers(self) -> int:
        return self.scale_factor_temporal * self.scale_factor_spatial**2 * 3

    @property
    def first_frames(self) -> int:
        return self.scale_factor_temporal


class Refiner(nn.Module):
    """Sharpens four decoded frames at once: 2-D convolutions, body at half resolution, exactly nothing when untrained."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        pixels, wide, body = 3 * config.scale_factor_temporal, config.refiner_channels, config.refiner_body_channels
        self.enter = nn.Conv2d(pixels, wide, 3, padding=1)
        self.down = nn.Conv2d(wide, body, 2, stride=2)
        self.from_latent = nn.Conv2d(config.latent_channels, body, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(), nn.Conv2d(body, body, 3, padding=1), nn.SiLU(), nn.Conv2d(body, body, 3, padding=1)
            )
            for _ in range(config.refiner_blocks)
        )
        self.up = nn.Conv2d(body, 4 * wide, 1)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1)
        self.leave = nn.Conv2d(wide, pixels, 3, padding=1)
        for last in (*(block[-1] for block in self.blocks), self.leave):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, pixels: Tensor, latents: Tensor) -> Tensor:
        """Decoded `pixels` [F, 4 * 3, height, width] in -1..1 and their `latents` [F, C, h, w] -> better pixels."""
        fine = self.enter(pixels)
        coarse = self.down(F.silu(fine))
        coarse = coarse + F.interpolate(self.from_latent(latents), size=coarse.shape[-2:])
        for block in self.blocks:
            coarse = coarse + block(coarse)
        fine = fine + F.pixel_shuffle(self.up(F.silu(coarse)), 2)
        fine = fine + self.mix(F.silu(fine))
        return pixels + self.leave(F.silu(fine))


class PatchAutoencoder(nn.Module):
    """Linear both ways over an orthonormal patch basis; latents come normalised, ready for the transformer."""

    mean: Tensor  # [patch_numbers], in -1..1
    basis: Tensor  # [C, patch_numbers], orthonormal rows
    scale: Tensor  # [C], what a latent of 1 is worth along its basis vector

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.patch_numbers))
        self.register_buffer("basis", torch.zeros(config.latent_channels, config.patch_numbers))
        self.register_buffer("scale", torch.ones(config.latent_channels))
        self.refiner = Refiner(config)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [4 * F, height, width, 3] in 0..1 -> latents [F, C, h, w]."""
        patches = self._to_patches(frames * 2 - 1)
        return (((patches - self.mean) @ self.basis.T) / self.scale).permute(0, 3, 1, 2)

    def decode_linear(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] -> what the basis alone decodes to, [F, 4 * 3, height, width] in about -1..1."""
        patches = (latents.permute(0, 2, 3, 1) * self.scale) @ self.basis + self.mean
        t, p = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        pixels = patches.unflatten(-1, (t, p, p, 3)).permute(0, 3, 6, 1, 4, 2, 5)  # [F, t, 3, h, p, w, p]
        return pixels.flatten(5, 6).flatten(3, 4).flatten(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] -> frames [4 * F, height, width, 3] fp32 in 0..1."""
        latents = latents.to(self.basis)
        pixels = self.refiner(self.decode_linear(latents), latents)
        frames = pixels.unflatten(1, (-1, 3)).flatten(0, 1).permute(0, 2, 3, 1)
        return (frames.float() / 2 + 0.5).clamp(0, 1)

    def _to_patches(self, frames: Tensor) -> Tensor:
        """[4 * F, height, width, 3] -> [F, h, w, patch_numbers]."""
        t, p = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        patches = frames.unflatten(2, (-1, p)).unflatten(1, (-1, p)).unflatten(0, (-1, t))  # [F, t, h, p, w, p, 3]
        return patches.permute(0, 2, 4, 1, 3, 5, 6).flatten(3)

    def save_pretrained(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        description = {
            "_class_name": type(self).__name__,
            **asdict(self.config),
            "first_frames": self.config.first_frames,
        }
        (folder / "config.json").write_text(json.dumps(description, indent=2) + "\n")
        save_file({name: t.to(dtype).contiguous() for name, t in self.state_dict().items()}, folder / WEIGHTS_NAME)

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "PatchAutoencoder":
        description = json.loads((folder / "config.json").read_text())
        known = {field.name for field in fields(AutoencoderConfig)}
        model = cls(AutoencoderConfig(**{name: value for name, value in description.items() if name in known}))
        model.load_state_dict(load_file(folder / WEIGHTS_NAME))
        return model.to(dtype).eval().requires_grad_(False)


class PatchStreamingDecoder:
    """Latents to frames as they come. There is no state: every latent frame stands for itself."""

    past = 0

    def __init__(self, autoencoder: PatchAutoencoder) -> None:
        self._autoencoder = autoencoder

    def reset(self) -> None:
        """Begin a new film."""

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] -> frames [4 * F, height, width, 3] fp32 in 0..1."""
        return self._autoencoder.decode(latents)

    def flush(self) -> Tensor:
        """What is still to come at the film's end: no frames."""
        return torch.empty(0, 0, 0, 3)
