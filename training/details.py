"""The few cells that decide whether a puppet is seen to wave, and what it wears: they weigh more in the loss."""

from functools import cache

import numpy as np

from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES
from training.beats import Beat
from training.data import CELL
from training.drawing import paste
from training.stills import standing
from training.world import FRAMES_PER_LATENT, HEIGHT, LATENTS_PER_CHUNK, WIDTH, Motion, Puppet, Story, stage

ARM_WEIGHT = 2.0  # of a cell where a waving arm is, or would be, in weights of a puppet, besides
DIM = {"city": 3.0, "forest": 2.0}  # settings against which an arm is seen least: how much more it weighs there
WORN_WEIGHT = 1.0  # of one where a hat or a scarf is, or would be
HEIGHTS = (0.65, 1.0, 1.35)  # of the arm, in the course of a wave
DIFFERENT = 4.0  # mean of 255 by which a cell differs without the detail


@cache
def arm_cells(species: str, x: int, facing: float) -> np.ndarray:
    """Cells in which who waves does not look like who stands: bool [h, w]."""
    still, waving = Puppet(species, "red"), [standing(x, facing, wave) for wave in HEIGHTS]
    return _differing(_drawn(still, standing(x, facing)), [_drawn(still, motion) for motion in waving])


@cache
def worn_cells(species: str, x: int, lift: float, facing: float) -> np.ndarray:
    """Cells in which who wears a hat or a scarf does not look like who wears nothing: bool [h, w]."""
    pose = standing(x, facing, lift=lift)
    wearing = [_drawn(Puppet(species, "red", worn, "blue"), pose) for worn in ACCESSORIES]
    return _differing(_drawn(Puppet(species, "red"), pose), wearing)


def detail_weights(story: Story) -> np.ndarray:
    """What cells weigh besides, in weights of a puppet, float32 [chunks, 3, h, w].

    Everybody's arm counts, raised or not, and everybody's hat and scarf, worn or not: where only arms that wave weigh more,
    whoever might be waving costs least when it is drawn so.
    """
    weights = np.zeros((story.num_chunks * LATENTS_PER_CHUNK, HEIGHT // CELL, WIDTH // CELL), np.float32)
    beats = story.beat_of_chunks()
    for puppet, motion in zip(story.puppets, stage(story), strict=True):
        for latent in np.flatnonzero(motion.visible()[::FRAMES_PER_LATENT]):
            setting = story.beats[beats[latent // LATENTS_PER_CHUNK]].setting
            t = latent * FRAMES_PER_LATENT
            x, facing = round(float(motion.x[t])), round(float(motion.facing[t]), 3)
            weights[latent] += WORN_WEIGHT * worn_cells(puppet.species, x, round(float(motion.lift[t])), facing)
            weights[latent] += ARM_WEIGHT * DIM.get(setting, 1.0) * arm_cells(puppet.species, x, facing)
    return weights.reshape(story.num_chunks, LATENTS_PER_CHUNK, *weights.shape[1:])


def is_dim_wave(beat: Beat) -> bool:
    """Whether somebody waves where that is seen least."""
    return beat.setting in DIM and any(act.verb == "wave" for act in beat.acts.values())


def _drawn(puppet: Puppet, motion: Motion) -> np.ndarray:
    frame, coverage = np.full((HEIGHT, WIDTH, 3), 128, np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    paste(frame, coverage, puppet, motion, 0)
    return frame


def _differing(plain: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    changes = np.max([np.abs(other - plain).mean(-1) for other in others], axis=0)
    return changes.reshape(HEIGHT // CELL, CELL, WIDTH // CELL, CELL).mean((1, 3)) > DIFFERENT
