"""Renders the training set once: pictures (single latent frames) and stories, as fp16 latents on disk.

Everything follows from seeds: a row's caption and puppets are made again from its seed, only latents are stored.
"""

from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.language.vocabulary import SETTINGS
from training.beats import Act, Beat
from training.drawing import cell_masks, render
from training.world import (
    BACKDROPS_PER_SETTING,
    FRAMES_PER_LATENT,
    HEIGHT,
    LATENTS_PER_CHUNK,
    WIDTH,
    Story,
    sample_puppets,
    sample_story,
    shows_held_out,
    stage,
)

CELL = 16
GRID = HEIGHT // CELL, WIDTH // CELL
STORY_CHUNKS = 22
STORY_SOURCES = {  # name -> kind; None: any
    "stories": None,
    "returns": "comings and goings",
    "acting": "acting",
    "company": "company",
    "both": "both at once",
}


@dataclass(frozen=True)
class Picture:
    story: Story  # one beat
    latent: int  # which latent frame of its first chunk is drawn


def sample_picture(seed: int, held_out: bool = False) -> Picture:
    """An opening scene and one of its latent frames; with held-out combinations never, or always."""
    rng = np.random.default_rng([seed, 99])
    count = int(rng.choice(3, p=(0.06, 0.66, 0.28)))
    setting = str(rng.choice(list(SETTINGS)))
    count = max(count, 1) if held_out else count
    puppets = sample_puppets(rng, count)
    while shows_held_out(puppets, [setting]) != held_out:
        puppets = sample_puppets(rng, count)
    verbs = [str(rng.choice(("stand", "stand", "jump", "wave", "spin"))) for _ in puppets]
    acts = {index: Act(verb) for index, verb in enumerate(verbs)}
    if count == 1 and rng.random() < 0.15:
        acts = {0: Act(str(rng.choice(("walk", "enter", "leave"))), str(rng.choice(("left", "right"))))}
    beat = Beat(3, setting, int(rng.integers(BACKDROPS_PER_SETTING)), acts)
    return Picture(Story(seed, "picture", puppets, (beat,)), int(rng.integers(LATENTS_PER_CHUNK)))


def sample_fitting_clip(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four latent frames of a training story, and their puppets' coverage: for fitting the autoencoder."""
    story = sample_story(5_000_000 + seed)
    first = int(np.random.default_rng([seed, 5]).integers(story.num_chunks * 3 - 4))
    return render(story, first, 4)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _encode(autoencoder: PatchAutoencoder, frames: np.ndarray) -> np.ndarray:
    return autoencoder.encode(torch.from_numpy(frames).float() / 255).half().numpy()


def _render_pictures(folder: Path, autoencoder_folder: Path, rows: range) -> None:
    autoencoder = PatchAutoencoder.from_pretrained(autoencoder_folder)
    latents, masks = (np.load(folder / f"pictures_{name}.npy", mmap_mode="r+") for name in ("latents", "masks"))
    for row in rows:
        picture = sample_picture(row)
        frames, coverage = render(picture.story, picture.latent, 1)
        latents[row], masks[row] = _encode(autoencoder, frames)[0], cell_masks(coverage)[0]


def _render_stories(folder: Path, autoencoder_folder: Path, rows: range, name: str) -> None:
    autoencoder = PatchAutoencoder.from_pretrained(autoencoder_folder)
    latents, masks = (np.load(folder / f"{name}_{part}.npy", mmap_mode="r+") for part in ("latents", "masks"))
    for row in rows:
        frames, coverage = render(sample_story(row, STORY_SOURCES[name], num_chunks=STORY_CHUNKS))
        latents[row], masks[row] = _encode(autoencoder, frames), cell_masks(coverage)


def puppet_places(story: Story) -> np.ndarray:
    """Where each puppet is at the first frame of each latent frame, pixels [puppets, chunks, 3]; NaN: not in view."""
    rows = [np.where(motion.visible(), motion.x, np.nan)[::FRAMES_PER_LATENT] for motion in stage(story)]
    return np.reshape(rows, (len(rows), story.num_chunks, LATENTS_PER_CHUNK))


def visibility(story: Story) -> np.ndarray:
    """Which puppet is in view at the first latent frame of each chunk (its prototype): bool [puppets, chunks]."""
    return ~np.isnan(puppet_places(story)[..., 0])


def render_rows(folder: Path, autoencoder_folder: Path, name: str, rows: int, processes: int = 2) -> None:
    """Write `{name}_{latents,masks}.npy` for name "pictures" or one of STORY_SOURCES, unless they are there.

    Latents are fp16 [rows, (F,) C, h, w], masks bool [rows, (F,) h, w].
    """
    done = folder / f"{name}.done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    channels = PatchAutoencoder.from_pretrained(autoencoder_folder).config.latent_channels
    frames = () if name == "pictures" else (STORY_CHUNKS * 3,)
    job = _render_pictures if name == "pictures" else partial(_render_stories, name=name)
    for part, dtype, size in (("latents", np.float16, (channels, *GRID)), ("masks", np.bool_, GRID)):
        np.lib.format.open_memmap(folder / f"{name}_{part}.npy", "w+", dtype, (rows, *frames, *size)).flush()
    step = -(-rows // (processes * 8))
    jobs = [(folder, autoencoder_folder, range(first, min(first + step, rows))) for first in range(0, rows, step)]
    if processes == 1:
        for arguments in jobs:
            job(*arguments)
    else:
        with get_context("fork").Pool(processes, initializer=_one_thread) as pool:
            pool.starmap(job, jobs, chunksize=1)
    done.touch()


@dataclass(frozen=True)
class Latents:
    """What `render_rows` wrote, memory-mapped."""

    latents: np.ndarray
    masks: np.ndarray

    @classmethod
    def open(cls, folder: Path, name: str) -> "Latents":
        return cls(*(np.load(folder / f"{name}_{part}.npy", mmap_mode="r") for part in ("latents", "masks")))

    def __len__(self) -> int:
        return len(self.latents)
