"""Pictures of what the model has learned so far: a sheet of prompts, sampled as the product samples."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from memflow_cli.catalog import Sampling
from memflow_cli.sampler import sigmas
from memflow_cli.theatre.autoencoder import PatchAutoencoder
from training.data import GRID
from training.teacher_forcing import Trainee
from training.text import TokenIds

PROMPTS = (
    "A red fox stands still in a meadow.",
    "A blue cat waves on a beach.",
    "A green robot stands still in a desert.",
    "A pink rabbit jumps in the snow.",
    "An orange bear stands still in a city at night.",
    "A yellow bird stands still in a forest.",
    "A purple bear waves in a meadow.",
    "A white rabbit spins on a beach.",
    "A blue bird with a red hat waits in a desert.",
    "A red robot wearing a yellow scarf waves in the snow.",
    "A yellow cat in a blue hat stands still in a city at night.",
    "A purple fox with a white scarf jumps in a forest.",
    "A pink fox waves and a blue robot jumps in a meadow.",
    "A yellow rabbit stands still while an orange bird waits on a beach.",
    "A green bear with a red hat waits and a white cat waves in the snow.",
    "An empty forest.",
    "Nobody is in the desert.",
    "A quiet city at night.",
)


@torch.no_grad()
def sample_pictures(model: Trainee, ids: Tensor, channels: int, steps: int, shift: float, seed: int = 0) -> Tensor:
    """Single latent frames [P, C, h, w] for token ids [P, T], as the first of a film."""
    generator = torch.Generator().manual_seed(seed)
    levels = sigmas(Sampling(steps=tuple(round(1000 * (1 - k / steps)) for k in range(steps)), shift=shift))
    latents = torch.randn(len(ids), 1, channels, *GRID, generator=generator)
    place = torch.zeros(len(ids), dtype=torch.long)
    for level, following in zip(levels, (*levels[1:], 0.0), strict=True):
        with torch.autocast("cpu", torch.bfloat16):
            clean = model.pictures(latents, torch.full((len(ids),), level), ids, place).float()
        latents = (1 - following) * clean + following * torch.randn(clean.shape, generator=generator)
    return clean[:, 0]


def sheet(frames: np.ndarray, titles, path: Path, columns: int = 6) -> None:
    """Save pictures [P, height, width, 3] uint8 as one PNG with their titles."""
    tiles = []
    for frame, title in zip(frames, titles, strict=True):
        tile = Image.new("RGB", (frame.shape[1], frame.shape[0] + 12), "white")
        tile.paste(Image.fromarray(frame), (0, 12))
        ImageDraw.Draw(tile).text((1, 0), title[:40], fill="black")
        tiles.append(np.asarray(tile))
    rows = [np.concatenate(tiles[first : first + columns], 1) for first in range(0, len(tiles), columns)]
    Image.fromarray(np.concatenate(rows)).save(path)


def preview(model: Trainee, token_ids: TokenIds, autoencoder: PatchAutoencoder, path: Path, steps=4, shift=3.0) -> None:
    latents = sample_pictures(model, token_ids(list(PROMPTS)), autoencoder.config.latent_channels, steps, shift)
    frames = autoencoder.decode(latents)[::4]
    sheet((frames * 255).round().byte().numpy(), PROMPTS, path)
