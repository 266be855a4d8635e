"""The judge: a small classifier that says what a frame of the paper theatre shows.

Trained on true, rendered frames only, never on generated ones, and never used in training the model.
`python -m benchmarks.judge --out judge.pt` trains it and prints its accuracy on held-out true frames.
"""

import argparse
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.theatre.vocabulary import ACCESSORIES, ACCESSORY_COLOURS, COLOURS, SETTINGS, SPECIES
from training.drawing import draw_frame
from training.world import FIRST_HELD_OUT_SEED, WIDTH, sample_story, stage

ACCESSORY_CLASSES = (None, *((kind, colour) for kind in ACCESSORIES for colour in ACCESSORY_COLOURS))
FULLY_VISIBLE = 32  # pixels between a puppet's middle and the edge of the stage, at least
IGNORED = -100


@dataclass(frozen=True)
class Seen:
    """One puppet as the judge sees it; `accessory` is None or (kind, colour)."""

    species: str
    colour: str
    accessory: tuple[str, str] | None


@dataclass(frozen=True)
class Verdict:
    setting: str
    puppets: tuple[Seen, ...]

    def of(self, species: str) -> Seen | None:
        return next((puppet for puppet in self.puppets if puppet.species == species), None)


class Judge(nn.Module):
    """Setting of the frame; for each species: is it there, its colour, what it wears."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 3 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Conv2d(sizes[-1], sizes[-1], 3, padding=1), nn.BatchNorm2d(sizes[-1]), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.setting = nn.Linear(sizes[-1], len(SETTINGS))
        self.queries = nn.Conv2d(sizes[-1], len(SPECIES), 1)  # where is each species?
        self.present = nn.Parameter(torch.zeros(len(SPECIES)))
        self.colour = nn.Conv2d(sizes[-1], len(COLOURS), 3, padding=1)
        self.accessory = nn.Conv2d(sizes[-1], len(ACCESSORY_CLASSES), 3, padding=1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Frames [P, 3, 64, 112] in -1..1 -> setting [P, 6], present [P, 6], colour [P, 6, 8], accessory [P, 6, 9]."""
        features = self.features(frames)
        where = self.queries(features).flatten(2)  # [P, species, cells]
        attention = where.softmax(-1)
        colour, accessory = (
            torch.einsum("psn,pcn->psc", attention, head(features).flatten(2)) for head in (self.colour, self.accessory)
        )
        return self.setting(features.mean((2, 3))), where.logsumexp(-1) + self.present, colour, accessory

    @torch.no_grad()
    def verdicts(self, frames: np.ndarray) -> list[Verdict]:
        """What frames uint8 [P, 128, 224, 3] show."""
        setting, present, colour, accessory = self(to_input(frames))
        settings = list(SETTINGS)
        return [
            Verdict(
                settings[int(setting[row].argmax())],
                tuple(
                    Seen(
                        name,
                        COLOURS[int(colour[row, index].argmax())],
                        ACCESSORY_CLASSES[int(accessory[row, index].argmax())],
                    )
                    for index, name in enumerate(SPECIES)
                    if present[row, index] > 0
                ),
            )
            for row in range(len(frames))
        ]


def to_input(frames: np.ndarray) -> Tensor:
    """uint8 [P, 128, 224, 3] -> half-size [P, 3, 64, 112] in -1..1."""
    return F.avg_pool2d(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1, 2)


def true_frames(seeds, each: int = 6, held_out: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Frames of stories, and their labels int [P, 1 + 3 * species]: setting, then present, colour, accessory.

    Frames in which a puppet is cut by the stage's edge are left out: nobody could say what they show.
    """
    frames, labels = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 3])
        story = sample_story(seed, held_out=held_out)
        motions, beats = stage(story), story.beat_of_chunks()
        for t in rng.integers(story.num_chunks * 12, size=each):
            places = [motion.x[t] for motion in motions]
            if any(-48 < x < FULLY_VISIBLE or WIDTH - FULLY_VISIBLE < x < WIDTH + 48 for x in places):
                continue
            label = np.full((len(SPECIES), 3), IGNORED)
            label[:, 0] = 0
            for puppet, x in zip(story.puppets, places, strict=True):
                if 0 < x < WIDTH:
                    worn = puppet.accessory and (puppet.accessory, puppet.accessory_colour)
                    row = SPECIES.index(puppet.species)
                    label[row] = 1, COLOURS.index(puppet.colour), ACCESSORY_CLASSES.index(worn)
            setting = list(SETTINGS).index(story.beats[beats[t // 12]].setting)
            frames.append(draw_frame(story, motions, int(t))[0])
            labels.append([setting, *label.flatten()])
    return np.stack(frames), np.array(labels)


def judge_loss(outputs, labels: Tensor) -> Tensor:
    setting, present, colour, accessory = outputs
    of_species = labels[:, 1:].unflatten(1, (len(SPECIES), 3))
    loss = F.cross_entropy(setting, labels[:, 0])
    loss = loss + F.binary_cross_entropy_with_logits(present, of_species[..., 0].float())
    for logits, column in ((colour, 1), (accessory, 2)):
        loss = loss + F.cross_entropy(logits.flatten(0, 1), of_species[..., column].flatten(), ignore_index=IGNORED)
    return loss


def spoil(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise, brightness: the judge must not hang on what no generated frame has."""
    noise = 0.12 * torch.rand(len(frames), 1, 1, 1, generator=generator)
    frames = frames + noise * torch.randn(frames.shape, generator=generator)
    frames = frames * (0.92 + 0.16 * torch.rand(len(frames), 1, 1, 1, generator=generator))
    blurred = F.avg_pool2d(frames, 3, 1, 1)
    return torch.where(torch.rand(len(frames), 1, 1, 1, generator=generator) < 0.5, blurred, frames)


@torch.no_grad()
def accuracy(judge: Judge, frames: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Share of right answers by question; colour and accessory where a puppet is."""
    setting, present, colour, accessory = judge(to_input(frames))
    truth = torch.from_numpy(labels)
    of_species = truth[:, 1:].unflatten(1, (len(SPECIES), 3))
    there = of_species[..., 0] == 1
    right = {
        "setting": setting.argmax(-1) == truth[:, 0],
        "present": ((present > 0) == there).all(-1),
        "colour": (colour.argmax(-1) == of_species[..., 1])[there],
        "accessory": (accessory.argmax(-1) == of_species[..., 2])[there],
    }
    return {name: round(float(values.float().mean()), 4) for name, values in right.items()}


def train_judge(judge: Judge, first_seed: int, num_stories: int, epochs: int, batch: int = 64) -> None:
    frames, labels = true_frames(range(first_seed, first_seed + num_stories))
    inputs, truth = torch.cat([to_input(part) for part in np.array_split(frames, 40)]), torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(0)
    judge.train()
    steps = epochs * (len(inputs) // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 0.5 * (1 + math.cos(math.pi * s / steps)))
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for rows in order[: len(order) // batch * batch].split(batch):
            outputs = judge(spoil(inputs[rows], generator))
            optimizer.zero_grad()
            judge_loss(outputs, truth[rows]).backward()
            optimizer.step()
            schedule.step()
    judge.eval()


def load_judge(path: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(path, weights_only=True))
    return judge.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="go on from this judge")
    parser.add_argument("--first-seed", type=int, default=2_000_000)
    parser.add_argument("--stories", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    started = time.monotonic()
    torch.manual_seed(0)
    judge = load_judge(options.start) if options.start else Judge()
    train_judge(judge, options.first_seed, options.stories, options.epochs)
    torch.save(judge.state_dict(), options.out)
    first = FIRST_HELD_OUT_SEED + 500_000
    print("held-out stories:", accuracy(judge, *true_frames(range(first, first + 300))))
    print("held-out combinations:", accuracy(judge, *true_frames(range(first, first + 300), held_out=True)))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
