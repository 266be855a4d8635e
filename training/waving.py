"""Where a waving arm is: a few cells that decide whether a puppet is seen to wave."""

from functools import cache

import numpy as np

from training.data import CELL
from training.drawing import paste
from training.stills import standing
from training.world import FRAMES_PER_LATENT, HEIGHT, LATENTS_PER_CHUNK, WIDTH, Puppet, Story, stage

HEIGHTS = (0.65, 1.0, 1.35)  # of the arm, in the course of a wave
DIFFERENT = 4.0  # mean of 255 by which a cell differs from that of who stands


@cache
def arm_cells(species: str, x: int, facing: float) -> np.ndarray:
    """Cells in which who waves does not look like who stands: bool [h, w]."""

    def drawn(wave: float) -> np.ndarray:
        frame, coverage = np.full((HEIGHT, WIDTH, 3), 128, np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
        paste(frame, coverage, Puppet(species, "red"), standing(x, facing, wave), 0)
        return frame

    changes = np.max([np.abs(drawn(wave) - drawn(0.0)).mean(-1) for wave in HEIGHTS], axis=0)
    return changes.reshape(HEIGHT // CELL, CELL, WIDTH // CELL, CELL).mean((1, 3)) > DIFFERENT


def waving_cells(story: Story) -> np.ndarray:
    """The arms of all who wave: bool [chunks, 3, h, w]."""
    cells = np.zeros((story.num_chunks * LATENTS_PER_CHUNK, HEIGHT // CELL, WIDTH // CELL), bool)
    for puppet, motion in zip(story.puppets, stage(story), strict=True):
        at = slice(None, None, FRAMES_PER_LATENT)
        for latent in np.flatnonzero(motion.wave[at] > 0):
            t = latent * FRAMES_PER_LATENT
            cells[latent] |= arm_cells(puppet.species, round(float(motion.x[t])), float(motion.facing[t]))
    return cells.reshape(story.num_chunks, LATENTS_PER_CHUNK, *cells.shape[1:])
