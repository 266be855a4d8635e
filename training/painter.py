"""Trains theatre's painter: `python -m training.painter --work DIR --minutes 70`, after `training.pairs`.

What goes in is mostly what the transformer really draws (training/pairs.py); the aim is the world drawn at twice the size.
The network over cells sees whole frames; pixels are painted in a window of cells only, more often than not where latents err.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.painter import UPSCALE, Painter, PainterConfig, sketch
from training.drawing import cell_masks, render
from training.optimizer import MuonAdamW, WeightAverage
from training.pairs import pair_story
from training.precision import fast_products
from training.world import Story, sample_story

HELD_OUT_EVERY = 15  # of the pairs' stories, the last of so many is never trained on
DRAWN, NOISED = 0.65, 0.2  # shares of what the model drew, and of true latents with noise; the rest is true
MOST_NOISE = 0.35
ELSEWHERE = (
    0.6  # a cell's squared error from which the model drew something else, which cannot be mended, and weighs less
)
CELL = 32  # painted pixels
WINDOW = 5, 6  # cells painted, of 8 x 14
POOL, LOOKS = 400, 5  # pictures that samples are drawn from; how often each is looked at
AT_ERRORS = 0.7  # how often the window lies where latents err, or where puppets are; else anywhere
MENDING_WEIGHT = 0.2  # of errors in latents, against those in pixels
LARGE_ERROR, LARGE_WEIGHT = 0.15, 4.0
PAINTING_SEED = 8_000_000  # of the stories whose true latents are shown
MUON_RATE, ADAM_RATE = 2e-3, 1e-3
WARM_UP_STEPS, HOLD = 40, 0.5


@dataclass(frozen=True)
class Shown:
    """A latent frame to paint. `looked_at` [1 + past, C, h, w]; `true` [C, h, w]; `trust` [h, w], a cell's weight in the loss.

    `interest` [h, w]: how likely a window lies there; `frames`: uint8 [4, height, width, 3].
    """

    looked_at: Tensor
    true: Tensor
    trust: Tensor
    interest: Tensor
    frames: np.ndarray


@dataclass(frozen=True)
class Sample:
    """A window of what is shown. `corner`: its first row and column of cells; `pixels` [4 * 3, height, width]: in -1..1."""

    shown: Shown
    corner: tuple[int, int]
    pixels: Tensor


@dataclass(frozen=True)
class Latents:
    """Latent frames to mend, as `Shown` has them, M of them."""

    looked_at: Tensor
    true: Tensor
    trust: Tensor


@dataclass(frozen=True)
class Pair:
    """As `pairs.make_pair` makes one; `drawn`: the places of the latent frames that the model drew."""

    story: Story
    true: np.ndarray
    shown: np.ndarray
    drawn: np.ndarray


class Samples:
    """Draws samples from the pairs of a folder, and from other stories' true latents.

    Drawing a picture costs more than looking at it: each is looked at in a few windows, among others, before it goes.
    """

    def __init__(self, folder: Path, autoencoder: PatchAutoencoder, past: int, rng: np.random.Generator) -> None:
        self._folder, self._autoencoder, self._past, self._rng = folder, autoencoder, past, rng
        self._rows: list[int] = []
        self._pool: list[Shown] = []
        self._read_pair = lru_cache(maxsize=400)(self._read_pair)
        self.look_again()

    def look_again(self) -> None:
        """Pairs may still be in the making."""
        rows = sorted(int(path.stem) for path in self._folder.glob("*.npz") if path.stem.isdigit())
        self._rows = [row for row in rows if not is_held_out_row(row)]
        assert self._rows, "training.pairs has to come first"

    def batch(self, size: int) -> list[Sample]:
        for _ in range(-(-size // LOOKS)):
            if len(self._pool) < POOL:
                self._pool.append(self._show())
            else:
                self._pool[int(self._rng.integers(POOL))] = self._show()
        return [self._window(self._pool[int(self._rng.integers(len(self._pool)))]) for _ in range(size)]

    def latents(self, size: int) -> Latents:
        """Latent frames of the pairs, with nothing drawn; a fifth of them true, with noise."""
        looked_at, true = [], []
        for _ in range(size):
            pair = self._read_pair(int(self._rng.choice(self._rows)))
            truth, at = pair.true, int(self._rng.choice(pair.drawn))
            noised = self._rng.random() < NOISED
            shown = self._ending_at(truth if noised else pair.shown, at)
            looked_at.append(shown + noised * MOST_NOISE * float(self._rng.random()) * torch.randn_like(shown))
            true.append(torch.from_numpy(truth[at]).float())
        shown, wanted = torch.stack(looked_at), torch.stack(true)
        return Latents(shown, wanted, trust_in((shown[:, 0] - wanted).square().mean(1)))

    def _show(self) -> Shown:
        rng, kind = self._rng, self._rng.random()
        if kind < DRAWN:
            pair = self._read_pair(int(rng.choice(self._rows)))
            story, at = pair.story, int(rng.choice(pair.drawn))
            looked_at, wanted = self._ending_at(pair.shown, at), torch.from_numpy(pair.true[at]).float()
        else:
            story = sample_story(PAINTING_SEED + int(rng.integers(1_000_000)))
            at = int(rng.integers(story.num_chunks * 3))
            first = max(0, at - self._past)
            pixels = torch.from_numpy(render(story, first, at - first + 1)[0]).float() / 255
            latents = self._autoencoder.encode(pixels)
            wanted = latents[-1].clone()
            if kind < DRAWN + NOISED:
                latents = latents + MOST_NOISE * float(rng.random()) * torch.randn_like(latents)
            looked_at = self._ending_at(latents.numpy(), len(latents) - 1)
        frames, coverage = render(story, at, 1, UPSCALE)
        error = (looked_at[0] - wanted).square().mean(0)
        trust = trust_in(error)
        covered = torch.from_numpy(cell_masks(coverage, CELL)[0]).float()
        return Shown(looked_at, wanted, trust, error * trust + 0.05 * covered, frames)

    def _window(self, shown: Shown) -> Sample:
        rows, columns = shown.interest.shape
        if self._rng.random() < AT_ERRORS:
            row, column = divmod(int(torch.multinomial(shown.interest.flatten() + 1e-4, 1)), columns)
        else:
            row, column = int(self._rng.integers(rows)), int(self._rng.integers(columns))
        off = self._rng.integers(-1, 2, size=2)
        top = min(max(row - WINDOW[0] // 2 + int(off[0]), 0), rows - WINDOW[0])
        left = min(max(column - WINDOW[1] // 2 + int(off[1]), 0), columns - WINDOW[1])
        window = shown.frames[:, CELL * top : CELL * (top + WINDOW[0]), CELL * left : CELL * (left + WINDOW[1])]
        pixels = torch.from_numpy(window.copy()).permute(0, 3, 1, 2).flatten(0, 1).float() / 127.5 - 1
        return Sample(shown, (top, left), pixels)

    def _ending_at(self, latents: np.ndarray, at: int) -> Tensor:
        """[1 + past, C, h, w], newest first; before the first there is the first."""
        back = [max(0, at - distance) for distance in range(self._past + 1)]
        return torch.from_numpy(latents[back].astype(np.float32))

    def _read_pair(self, row: int) -> Pair:
        with np.load(self._folder / f"{row}.npz") as file:
            return Pair(pair_story(row), file["true"], file["shown"], np.flatnonzero(file["drawn"]))


def trust_in(error: Tensor) -> Tensor:
    """The weight of cells whose latents have this mean squared error."""
    return 1 / (1 + (error / ELSEWHERE).square())


def is_held_out_row(row: int) -> bool:
    return row % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def painter_loss(painter: Painter, autoencoder: PatchAutoencoder, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error of the painted pixels)."""
    looked_at, true, trust = (
        torch.stack([getattr(sample.shown, name) for sample in samples]) for name in ("looked_at", "true", "trust")
    )
    corners, pixels = [sample.corner for sample in samples], torch.stack([sample.pixels for sample in samples])
    with fast_products(true.device):
        features, mended = painter.look(looked_at)
        decoded = sketch(autoencoder, windows(mended.detach().float(), corners)).to(features.dtype)
        painted = painter.paint(windows(features, corners), decoded)
    # In the products' own precision: there are twelve times as many pixels as anything else.
    size = (painted - pixels.to(painted.dtype)).abs()
    weight = F.interpolate(windows(trust.unsqueeze(1), corners), scale_factor=CELL, mode="bilinear")
    weight = weight * (1 + LARGE_WEIGHT * (size.detach().amax(1, keepdim=True) > LARGE_ERROR))
    loss = (size * (1 + size) * weight.to(size.dtype)).mean(dtype=torch.float32)
    loss = loss + mending_loss(mended, true, trust, autoencoder)
    return loss, size.detach().mean(dtype=torch.float32)


def mending_loss(mended: Tensor, true: Tensor, trust: Tensor, autoencoder: PatchAutoencoder) -> Tensor:
    """Squared errors of latents [M, C, h, w], half by what they are worth in pixels, half all alike; by `trust` [M, h, w]."""
    worth = autoencoder.scale.square()[:, None, None] / autoencoder.scale.square().mean()
    return MENDING_WEIGHT * (((mended.float() - true).square() * (0.5 + 0.5 * worth)).mean(1) * trust).mean()


def latents_loss(painter: Painter, autoencoder: PatchAutoencoder, latents: Latents) -> Tensor:
    """The loss of latents alone, with nothing painted: what the network over cells learns from, many at a time."""
    with fast_products(latents.true.device):
        mended = painter.look(latents.looked_at)[1]
    return mending_loss(mended, latents.true, latents.trust, autoencoder)


def windows(
    maps: Iterable[Tensor], corners: list[tuple[int, int]], size: tuple[int, int] = WINDOW, scale: int = 1
) -> Tensor:
    """Maps [channels, h * scale, w * scale] -> the window of each, of `size` cells, [M, channels, rows, columns]."""
    (rows, columns), cut = size, []
    for whole, (top, left) in zip(maps, corners, strict=True):
        cut.append(whole[:, scale * top : scale * (top + rows), scale * left : scale * (left + columns)])
    return torch.stack(cut).contiguous(memory_format=torch.channels_last)


class PainterLearner:
    """Painter, optimizer and average, with the clock that they stop by."""

    def __init__(self, painter: Painter, seconds: float, seed: int = 5) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.painter = painter.to(memory_format=torch.channels_last).train().requires_grad_(True)
        matrices = [
            p for name, p in self.painter.named_parameters() if p.ndim > 1 and name.split(".")[0] in ("stages", "ups")
        ]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.painter.parameters() if id(p) not in chosen]
        self.optimizer = MuonAdamW(matrices, others, MUON_RATE, ADAM_RATE)
        self.average = WeightAverage(self.painter, decay=0.98)
        self.seconds, self.elapsed, self.steps = seconds, 0.0, 0

    def step(
        self, autoencoder: PatchAutoencoder, samples: list[Sample], latents: Latents | None = None
    ) -> tuple[float, float, float]:
        """One update; returns (loss, error) of what was painted and the loss of latents alone, 0 for what was not asked."""
        loss = error = alone = torch.zeros(())
        if samples:
            loss, error = painter_loss(self.painter, autoencoder, samples)
            loss.backward()
        if latents is not None:
            alone = latents_loss(self.painter, autoencoder, latents)
            alone.backward()
        falling = (1 - self.elapsed / self.seconds) / (1 - HOLD)
        self.optimizer.step(min(1, (self.steps + 1) / WARM_UP_STEPS, max(0.01, falling)))
        self.optimizer.zero_grad()
        self.average.update()
        self.steps += 1
        return loss.item(), error.item(), alone.item()

    def save(self, path: Path) -> None:
        state = {
            "model": self.painter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "steps": self.steps,
            "elapsed": self.elapsed,
            "draws": json.dumps(self.rng.bit_generator.state),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.painter.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.steps, self.elapsed = state["steps"], state["elapsed"]
        self.rng.bit_generator.state = json.loads(state["draws"])


def train(learner: PainterLearner, autoencoder: PatchAutoencoder, work: Path, batch: int, mending: int) -> None:
    """Until the time is up; a line of the log every 25 steps, a checkpoint every two minutes."""
    samples = Samples(work / "pairs", autoencoder, learner.painter.config.past, learner.rng)
    checkpoint, log = work / "painter.pt", work / "painter.csv"
    new = not log.exists()
    with log.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("seconds", "step", "loss", "mean_error", "mending_loss"))
        last, recent, saved = time.monotonic(), [], learner.elapsed
        while learner.elapsed < learner.seconds:
            latents = samples.latents(mending) if mending else None
            recent.append(learner.step(autoencoder, samples.batch(batch), latents))
            now = time.monotonic()
            learner.elapsed, last = learner.elapsed + now - last, now
            if learner.steps % 25 == 0:
                writer.writerow((round(learner.elapsed), learner.steps, *(f"{v:.4f}" for v in np.mean(recent, axis=0))))
                file.flush()
                recent = []
                samples.look_again()
            if learner.elapsed - saved > 120:
                learner.save(checkpoint)
                saved = learner.elapsed
    learner.save(checkpoint)


def averaged(checkpoint: Path, config: PainterConfig) -> Painter:
    """The averaged weights of a checkpoint."""
    painter = Painter(config)
    painter.load_state_dict(torch.load(checkpoint, weights_only=True)["average"]["weights"])
    return painter.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="with the folder pairs; for the checkpoint too")
    parser.add_argument("--minutes", type=float, default=70.0, help="the same command goes on after an interruption")
    parser.add_argument("--batch", type=int, default=16, help="windows painted in a step; 0: latents are mended only")
    parser.add_argument("--mending", type=int, default=0, help="latent frames mended in a step besides")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="begin with the weights of an exported painter")
    parser.add_argument("--export", type=Path, help="train no further; write the averaged weights to this folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, checkpoint = PainterConfig(), options.work / "painter.pt"
    if options.export:
        averaged(checkpoint, config).save_pretrained(options.export)
        return
    painter = Painter.from_pretrained(options.start) if options.start else Painter(config)
    learner = PainterLearner(painter, 60 * options.minutes)
    if checkpoint.exists():
        learner.load(checkpoint)
    train(
        learner, PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae"), options.work, options.batch, options.mending
    )


if __name__ == "__main__":
    main()
