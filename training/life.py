"""Trains what lives in theatre's painted films: `python -m training.life --work DIR --minutes 15`, after `training.pairs`.

The painter stays as it is; two small networks learn from its features how far each place of the drawn world can move, and
where eyes are. The drawn world says both: by heights above a puppet's feet, by what sways in a backdrop, and by the same puppets
with their eyes closed.
"""

import argparse
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.life import BREATH, WIND, Life, LifeConfig
from memflow_cli.models.theatre.painter import UPSCALE, Painter, sketch
from training.drawing import GROUND, backdrop, paste
from training.optimizer import WeightAverage
from training.painter import CELL, is_held_out_row, trust_in, windows
from training.pairs import pair_story
from training.precision import fast_products
from training.world import FRAMES_PER_CHUNK, FRAMES_PER_LATENT, HEIGHT, WIDTH, Story, stage

BLOCK = CELL // 2  # painted pixels of a place that moves as one
RISE = 0.022  # of its height, by which a puppet's head rises when it breathes in
COVERED = 0.05  # share of a block from which it counts as a puppet's, or as what sways
LID_DIFFERENCE = 60  # of 255, between open and closed, from which a pixel is a lid's wholly
SHOWN_FRAMES, CHECKED_FRAMES = 1_500, 150
WINDOW = 3, 4  # cells in which eyes are looked for
AS_TOLD = 0.8  # trust from which a cell was drawn as told
AT_EYES, AT_PUPPETS = 0.35, 0.9
PUPPET_WEIGHT, LID_WEIGHT = 4.0, 12.0
RATE = 2e-3


@dataclass(frozen=True)
class Sway:
    """`colours`: of what sways; `pixels`: by how many it does at most; `foot`: the height that stays where it is, or None."""

    colours: tuple[tuple[int, int, int], ...]
    pixels: float
    foot: float | None = None


TREES = 0.72
SWAYING = {
    "meadow": (Sway(((250, 250, 252),), 5.0),),
    "forest": (Sway(((95, 150, 110), (50, 115, 70)), 5.0, TREES),),
    "snow": (Sway(((45, 105, 85),), 4.0, 0.78),),
    "beach": (Sway(((50, 150, 75), (140, 95, 55)), 5.0, 0.78), Sway(((250, 250, 250), (200, 60, 50)), 4.0)),
}
TOP = 0.1  # the height at which what grows sways most


@dataclass(frozen=True)
class Lesson:
    """A latent frame and what could move in it.

    `looked_at` [1 + past, C, h, w]; `trust` [h, w]; `reach` [4, 2, 2 h, 2 w] in painted pixels; `weight` [2 h, 2 w]: of the
    reach; `lids` uint8 [4, height, width]; `puppets` uint8 [4, height, width]: how much of a pixel a puppet covers.
    """

    looked_at: Tensor
    trust: Tensor
    reach: Tensor
    weight: Tensor
    lids: Tensor
    puppets: Tensor


@cache
def sway_of(setting: str, index: int) -> np.ndarray:
    """How far the blocks of a backdrop sway, in painted pixels, float32 [16, 28]."""
    picture = backdrop(setting, index, UPSCALE)
    height = (np.arange(len(picture) // BLOCK) + 0.5) * BLOCK / len(picture)  # 0 above, 1 below
    most = np.zeros((len(picture) // BLOCK, picture.shape[1] // BLOCK), np.float32)
    for sway in SWAYING.get(setting, ()):
        is_it = np.any([np.abs(picture - np.array(colour)).max(-1) < 8 for colour in sway.colours], axis=0)
        there = in_blocks(is_it.astype(np.float32)) > COVERED
        growing = 1.0 if sway.foot is None else np.clip((sway.foot - height) / (sway.foot - TOP), 0, 1)[:, None]
        most = np.maximum(most, there * sway.pixels * growing)
    return most


def in_blocks(pixels: np.ndarray) -> np.ndarray:
    """Means of [height, width] over blocks."""
    height, width = pixels.shape
    return pixels.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3))


class Living(NamedTuple):
    """Of a latent frame: how far blocks move at most, which of them puppets cover, and what of its pixels lids and puppets do."""

    reach: np.ndarray  # float32 [4, 2, 16, 28], painted pixels
    covered: np.ndarray  # bool [4, 16, 28]
    lids: np.ndarray  # float32 [4, height, width] in 0..1
    puppets: np.ndarray  # float32 [4, height, width] in 0..1


def what_lives(story: Story, latent: int) -> Living:
    """Of a story's latent frame, as the world is drawn."""
    beat = story.beats[story.beat_of_chunks()[latent * FRAMES_PER_LATENT // FRAMES_PER_CHUNK]]
    behind = backdrop(beat.setting, beat.backdrop, UPSCALE)
    reach = np.zeros((FRAMES_PER_LATENT, 2, HEIGHT * UPSCALE // BLOCK, WIDTH * UPSCALE // BLOCK), np.float32)
    covered = np.zeros((FRAMES_PER_LATENT, *reach.shape[2:]), bool)
    puppets = np.zeros((FRAMES_PER_LATENT, *behind.shape[:2]), np.float32)
    lids = np.zeros((FRAMES_PER_LATENT, *behind.shape[:2]), np.float32)
    rows = (np.arange(reach.shape[2]) + 0.5) * BLOCK
    motions = stage(story)
    for frame in range(FRAMES_PER_LATENT):
        t = latent * FRAMES_PER_LATENT + frame
        pictures = [behind.copy(), behind.copy()]
        for puppet, motion in zip(story.puppets, motions, strict=True):
            if np.isnan(motion.x[t]):
                continue
            mask = np.zeros(behind.shape[:2], np.float32)
            for picture, closed_eyes in zip(pictures, (False, True), strict=True):
                paste(picture, mask, puppet, motion, t, UPSCALE, closed_eyes)
            puppets[frame] = np.maximum(puppets[frame], mask)
            here = in_blocks(mask) > COVERED
            feet = (GROUND - float(motion.lift[t])) * UPSCALE
            reach[frame, BREATH] = np.where(here, RISE * np.maximum(feet - rows, 0)[:, None], reach[frame, BREATH])
            covered[frame] |= here
        reach[frame, WIND] = np.where(covered[frame], 0, sway_of(beat.setting, beat.backdrop))
        lids[frame] = np.clip(np.abs(pictures[0] - pictures[1]).max(-1) / LID_DIFFERENCE, 0, 1)
    return Living(reach, covered, lids, puppets)


def make_lesson(folder: Path, row: int, rng: np.random.Generator, past: int) -> Lesson:
    """A latent frame of a pair, mostly one that the model drew."""
    with np.load(folder / f"{row}.npz") as file:
        true, shown, drawn = file["true"], file["shown"], np.flatnonzero(file["drawn"])
    at = int(rng.choice(drawn))
    latents = shown if rng.random() < 0.75 else true
    back = [max(0, at - distance) for distance in range(past + 1)]
    lives = what_lives(pair_story(row), at)
    error = torch.from_numpy(np.square(latents[at].astype(np.float32) - true[at]).mean(0))
    return Lesson(
        looked_at=torch.from_numpy(latents[back]),
        trust=trust_in(error),
        reach=torch.from_numpy(lives.reach),
        weight=torch.from_numpy(1 + PUPPET_WEIGHT * lives.covered.mean(0)).float(),
        lids=torch.from_numpy((lives.lids * 255).round().astype(np.uint8)),
        puppets=torch.from_numpy((lives.puppets * 255).round().astype(np.uint8)),
    )


def lessons(folder: Path, count: int, past: int, held_out: bool = False, seed: int = 9) -> list[Lesson]:
    rng = np.random.default_rng(seed)
    rows = sorted(int(path.stem) for path in folder.glob("*.npz") if path.stem.isdigit())
    rows = [row for row in rows if is_held_out_row(row) == held_out]
    assert rows, "training.pairs has to come first"
    return [make_lesson(folder, int(rng.choice(rows)), rng, past) for _ in range(count)]


def window_of(lesson: Lesson, rng: np.random.Generator) -> tuple[int, int]:
    """First row and column of the cells that are looked at: some with eyes, some with any part of a puppet, or any."""
    chosen = rng.random()
    cells = F.max_pool2d((lesson.lids if chosen < AT_EYES else lesson.puppets).amax(0)[None].float(), CELL)[0]
    if cells.any() and chosen < AT_PUPPETS:
        row, column = cells.nonzero()[int(rng.integers(int((cells > 0).sum())))].tolist()
    else:
        row, column = int(rng.integers(cells.shape[0])), int(rng.integers(cells.shape[1]))
    top, left = (at - int(rng.integers(size)) for at, size in zip((row, column), WINDOW, strict=True))
    most = [whole - part for whole, part in zip(cells.shape, WINDOW, strict=True)]
    return min(max(top, 0), most[0]), min(max(left, 0), most[1])


def losses(
    life: Life, painter: Painter, autoencoder: PatchAutoencoder, batch: list[Lesson], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """(of the reach, of the lids, of the puppets)."""
    corners = [window_of(lesson, rng) for lesson in batch]
    with torch.no_grad(), fast_products(torch.device("cpu")):
        features, mended = painter.look(torch.stack([lesson.looked_at.float() for lesson in batch]))
        seen = windows(mended.float(), corners, WINDOW)
        decoded = sketch(autoencoder, seen).to(features.dtype)
        places = painter.places_of(windows(features, corners, WINDOW), decoded)
        cells = F.silu(features)
    with fast_products(torch.device("cpu")):
        reaches, masks, covers = life.reaches(cells), life.lids(places), life.covers(places)
    wanted, trust = torch.stack([each.reach for each in batch]), torch.stack([each.trust for each in batch])
    weight = torch.stack([each.weight for each in batch]) * F.interpolate(trust[:, None], scale_factor=2)[:, 0]
    of_reach = (F.smooth_l1_loss(reaches, wanted, reduction="none") * weight[:, None, None]).mean()
    lids = windows((each.lids for each in batch), corners, WINDOW, CELL).float() / 255
    trusted = F.interpolate(windows((each.trust[None] for each in batch), corners, WINDOW), scale_factor=CELL)
    of_lids = F.binary_cross_entropy_with_logits(masks, lids, reduction="none") * (1 + LID_WEIGHT * lids) * trusted
    puppets = windows((each.puppets for each in batch), corners, WINDOW, CELL).float() / 255
    of_puppets = (F.binary_cross_entropy_with_logits(covers, puppets, reduction="none") * trusted).mean()
    return of_reach, of_lids.mean() * LID_WEIGHT, of_puppets


def train(life: Life, painter: Painter, autoencoder: PatchAutoencoder, folder: Path, seconds: float) -> Life:
    """Until the time is up; prints the losses of every 50 steps."""
    rng, past = np.random.default_rng(3), painter.config.past
    known = lessons(folder, SHOWN_FRAMES, past)
    optimizer = torch.optim.AdamW(life.parameters(), lr=RATE)
    average = WeightAverage(life, decay=0.98)
    started, step, recent = time.monotonic(), 0, []
    while (spent := time.monotonic() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, 2 * (1 - spent / seconds))
        batch = [known[int(index)] for index in rng.choice(len(known), 12, replace=False)]
        parts = losses(life, painter, autoencoder, batch, rng)
        sum(parts).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        step += 1
        recent.append([part.item() for part in parts])
        if step % 50 == 0:
            told = " ".join(f"{value:.4f}" for value in np.mean(recent, axis=0))
            print(f"step {step}, {spent:.0f} s: reach, lids, puppets {told}", flush=True)
            recent = []
    life.load_state_dict(average.state_dict()["weights"])
    return life.eval().requires_grad_(False)


@torch.no_grad()
def overlaps(life: Life, painter: Painter, autoencoder: PatchAutoencoder, known: list[Lesson]) -> tuple[float, float]:
    """Of the pixels that a puppet covers, or is taken to cover, the share of which both is true: in all cells, and in those in
    which the model drew what is told, and not somebody elsewhere.
    """
    counts = torch.zeros(2, 2)
    for lesson in known:
        features, mended = painter.look(lesson.looked_at[None].float())
        taken = life.covers(painter.places_of(features, sketch(autoencoder, mended)))[0] > 0
        covered = lesson.puppets > 127
        as_told = F.interpolate((lesson.trust > AS_TOLD).float()[None, None], scale_factor=CELL)[0, 0].bool()
        for row, where in enumerate((torch.ones_like(as_told), as_told)):
            counts[row] += torch.stack([(taken & covered & where).sum(), ((taken | covered) & where).sum()])
    everywhere, told = (counts[:, 0] / counts[:, 1]).tolist()
    return everywhere, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="with the folder pairs")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--start", type=Path, help="begin with the weights of this folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--check", action="store_true", help="train nothing; how well puppets are found in held-out stories"
    )
    parser.add_argument(
        "--out", type=Path, default=THEATRE_FOLDER / "vae" / "life", help="where the weights are written"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(3)
    painter = Painter.from_pretrained(THEATRE_FOLDER / "vae" / "painter")
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    if options.check:
        known = lessons(options.work / "pairs", CHECKED_FRAMES, painter.config.past, held_out=True)
        everywhere, told = overlaps(Life.from_pretrained(options.out), painter, autoencoder, known)
        print(f"puppets overlap by {everywhere:.3f} in all cells, by {told:.3f} in those drawn as told")
        return
    config = LifeConfig(painter.config.widths[0], painter.config.widths[-1])
    life = Life(config)
    if options.start:
        life.load_state_dict(Life.from_pretrained(options.start).state_dict())
    life = train(life, painter, autoencoder, options.work / "pairs", 60 * options.minutes)
    life.save_pretrained(options.out)


if __name__ == "__main__":
    main()
