"""Pictures of a story's puppets as an author gives them: somebody who stands, in another setting or on a plain ground.

A given picture comes into the bank as a frame of the film does, but nothing led up to it: all pictures of its latent frame
are alike, and its chunk has no past.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.language.vocabulary import ACTIONS, SETTINGS
from training.captions import describe
from training.drawing import backdrop, cell_masks, paste
from training.teacher_forcing import CHUNK
from training.world import BACKDROPS_PER_SETTING, FRAMES_PER_LATENT, HEIGHT, WIDTH, Motion, Puppet, Story, is_held_out

STILLS = 3  # of a story: each of two puppets, then both; of one puppet all three
PLAIN_GROUND, WHITE = 0.5, 0.4  # how often there is no setting, and the ground is white then
EDGE = 40  # pixels between the stage's edge and who stands alone
UNTOLD, SPECIES_ONLY, SENTENCE = 0.1, 0.2, 0.6  # how often its caption is empty, without looks, and more than a name


@dataclass(frozen=True)
class Stills:
    """`latents` [STILLS, 3, C, h, w], `masks` [STILLS, 3, h, w] in 0..1, and the caption that each is committed under."""

    latents: Tensor
    masks: Tensor
    captions: list[str]


def shown_in_stills(num_puppets: int) -> list[tuple[int, ...]]:
    """Which puppets each still shows."""
    return [(0,), (1,), (0, 1)] if num_puppets > 1 else [(0,)] * STILLS


def sample_stills(story: Story, autoencoder: PatchAutoencoder, rng: np.random.Generator) -> Stills:
    """Given pictures of a story's puppets; never of a held-out combination."""
    drawn = [
        _draw_still([story.puppets[index] for index in shown], rng) for shown in shown_in_stills(len(story.puppets))
    ]
    pixels = np.stack([frame for frame, _, _ in drawn]).repeat(FRAMES_PER_LATENT, axis=0)
    latents = autoencoder.encode(torch.from_numpy(pixels).float() / 255)  # [STILLS, C, h, w]
    covered = cell_masks(np.stack([coverage for _, coverage, _ in drawn]).repeat(FRAMES_PER_LATENT, axis=0))
    return Stills(
        latents.unsqueeze(1).repeat(1, CHUNK, 1, 1, 1),
        torch.from_numpy(covered).float().unsqueeze(1).repeat(1, CHUNK, 1, 1),
        [caption for _, _, caption in drawn],
    )


def _draw_still(puppets: list[Puppet], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    """Its frame uint8 [height, width, 3], coverage [height, width], and a caption."""
    settings = [name for name in SETTINGS if not any(is_held_out(p.species, p.colour, name) for p in puppets)]
    is_plain = rng.random() < PLAIN_GROUND
    setting, index = str(rng.choice(settings)), int(rng.integers(BACKDROPS_PER_SETTING))
    if is_plain:
        colour = np.full(3, 250) if rng.random() < WHITE else rng.integers(40, 250, 3)
        frame = np.empty((HEIGHT, WIDTH, 3), np.float32)
        frame[:] = colour
    else:
        frame = backdrop(setting, index).copy()
    coverage = np.zeros((HEIGHT, WIDTH), np.float32)
    middles = [int(rng.integers(EDGE, WIDTH - EDGE))]
    if len(puppets) > 1:
        middles = [round(WIDTH * part) + int(rng.integers(-14, 15)) for part in rng.permutation((0.27, 0.73))]
    for puppet, x in zip(puppets, middles, strict=True):
        paste(frame, coverage, puppet, standing(x, 1 if rng.random() < 0.5 else -1), 0)
    return frame.round().astype(np.uint8), coverage, _caption(puppets, None if is_plain else setting, rng)


def standing(x: float, facing: float, wave: float = 0, lift: float = 0) -> Motion:
    """A single frame of somebody who is at `x`."""
    values = (np.full(1, value, np.float32) for value in (x, lift, facing, 0, wave))
    return Motion(*values)


def _caption(puppets: list[Puppet], setting: str | None, rng: np.random.Generator) -> str:
    """What an author writes beside it: a sentence, a description, or nothing."""
    if rng.random() < UNTOLD:
        return ""
    species_only = rng.random() < SPECIES_ONLY
    names = [f"a {puppet.species}" if species_only else describe(puppet, rng) for puppet in puppets]
    if rng.random() > SENTENCE:
        return " and ".join(names)
    told = " and ".join(f"{name} {rng.choice(ACTIONS['stand'])}" for name in names)
    return f"{told} {rng.choice(SETTINGS[setting])}" if setting else told
