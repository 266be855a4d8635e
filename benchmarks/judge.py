"""The judge: a small network that says what a chunk of the paper theatre shows, and who moves how.

Trained on true, drawn frames only (`python -m benchmarks.train_judge`), some of them seen through the model's autoencoder,
whose softness every generated film has; never on generated ones, and never used in training the model. Its weights lie
beside it, so that anybody measures with the same judge.
"""

import json
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.true_clips import ACCESSORY_CLASSES, IGNORED, LOOKED_AT, MOVES, Labels
from memflow_cli.models.theatre.language.vocabulary import COLOURS, SETTINGS, SPECIES

WEIGHTS = Path(__file__).with_name("judge.safetensors")
QUESTIONS = ("setting", "species", "once", "colour", "accessory", "action")
APART = 3  # columns between the middles of two puppets, at least


@dataclass(frozen=True)
class Seen:
    """One puppet as the judge sees it; `accessory` is None or (kind, colour)."""

    species: str
    colour: str
    accessory: tuple[str, str] | None


@dataclass(frozen=True)
class Answers:
    """What the judge says of B clips of T frames: classes as in `Labels`."""

    setting: np.ndarray  # [B, T]
    present: np.ndarray  # bool [B, T, S]
    twice: np.ndarray  # bool [B, T, S]: in two places at once
    colour: np.ndarray  # [B, T, S]
    accessory: np.ndarray  # [B, T, S]
    move: np.ndarray  # [B, S]

    def __getitem__(self, rows) -> "Answers":
        return Answers(*(getattr(self, field.name)[rows] for field in fields(self)))

    def seen(self, species: str) -> list[Seen | None]:
        """A species, frame by frame; None: not in view."""
        index = SPECIES.index(species)
        return [
            Seen(
                species,
                COLOURS[self.colour[clip, frame, index]],
                ACCESSORY_CLASSES[self.accessory[clip, frame, index]],
            )
            if self.present[clip, frame, index]
            else None
            for clip in range(self.present.shape[0])
            for frame in range(self.present.shape[1])
        ]


class Judge(nn.Module):
    """Every frame is folded into columns 16 pixels wide; each species is looked for among them.

    Looks are read from the column where a species is; its move from the same column of all the clip's frames.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        size = 6 * width
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise((3, width, 2 * width, 3 * width, 4 * width)), (2, 2, 2, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Conv2d(4 * width, size, (8, 3), padding=(0, 1), bias=False), nn.BatchNorm2d(size), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.mix = nn.Sequential(nn.Conv1d(size, size, 3, padding=1, bias=False), nn.BatchNorm1d(size), nn.ReLU())
        self.setting = nn.Linear(size, len(SETTINGS))
        self.where = nn.Conv1d(size, len(SPECIES), 1)
        self.species = nn.Parameter(0.1 * torch.randn(len(SPECIES), size))
        self.looks = nn.Sequential(
            nn.Linear(size, size), nn.ReLU(), nn.Linear(size, len(COLOURS) + len(ACCESSORY_CLASSES))
        )
        self.motion = nn.Sequential(
            nn.Conv1d(len(LOOKED_AT) * size, size, 3, padding=1, bias=False), nn.BatchNorm1d(size), nn.ReLU()
        )
        self.move = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, len(MOVES)))

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips [B, T, 3, 64, 112] in -1..1 -> logits.

        setting [B, T, 6], where [B, T, S, 14] (against 0 for nowhere), colour [B, T, S, 8], accessory [B, T, S, 9], move
        [B, S, 6].
        """
        num_clips = len(clips)
        columns = self.features(clips.flatten(0, 1)).squeeze(2)  # [B * T, C, 14]
        columns = columns + self.mix(columns)
        where = self.where(columns)
        pooled = torch.einsum("psw,pcw->psc", where.softmax(-1), columns)
        looks = self.looks(pooled + self.species).unflatten(0, (num_clips, -1))
        where = where.unflatten(0, (num_clips, -1))  # [B, T, S, 14]
        over_time = where.transpose(1, 2).flatten(2).softmax(-1).unflatten(-1, (-1, where.shape[-1])).sum(2)
        motion = self.motion(columns.unflatten(0, (num_clips, -1)).flatten(1, 2))
        moves = self.move(torch.einsum("bsw,bcw->bsc", over_time.to(motion.dtype), motion) + self.species)
        return {
            "setting": self.setting(columns.mean(-1)).unflatten(0, (num_clips, -1)),
            "where": where,
            "colour": looks[..., : len(COLOURS)],
            "accessory": looks[..., len(COLOURS) :],
            "move": moves,
        }

    @torch.inference_mode()
    def answers(self, clips: np.ndarray) -> Answers:
        """What clips uint8 [B, 4, 64, 112, 3] show."""
        logits = self(to_input(clips))
        where = logits["where"]
        return Answers(
            logits["setting"].argmax(-1).numpy(),
            (where.logsumexp(-1) > 0).numpy(),
            in_two_places(where).numpy(),
            *(logits[name].argmax(-1).numpy() for name in ("colour", "accessory", "move")),
        )


def in_two_places(where: Tensor) -> Tensor:
    """Whether a second column, away from the likeliest one, shows the species too: logits [..., 14] -> bool [...]."""
    place = where.argmax(-1, keepdim=True)
    far = (torch.arange(where.shape[-1]) - place).abs() >= APART
    return (where.amax(-1) > 0) & (where.masked_fill(~far, -torch.inf).amax(-1) > 0)


def to_input(clips: np.ndarray) -> Tensor:
    """uint8 [B, 4, 64, 112, 3] -> [B, 4, 3, 64, 112] in -1..1."""
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def agreement(answers: Answers, labels: Labels) -> dict[str, np.ndarray]:
    """Which answers are right, by question: bool arrays over all that is labelled.

    setting: of each frame. species: of each frame, whether exactly the right ones are in view. once: of each puppet in view
    of each frame, that there are not two of it. colour, accessory: of each puppet in view of each frame. action: of each
    puppet of each chunk, its direction included. A puppet that is not found is wrong in the last three.
    """
    asked = labels.present != IGNORED
    found = answers.present & (labels.present == 1)
    right = {
        "setting": answers.setting == labels.setting[:, None],
        "species": ((answers.present == (labels.present == 1)) | ~asked).all(-1),
        "once": ~answers.twice[labels.present == 1],
    }
    for name in ("colour", "accessory"):
        label = getattr(labels, name)
        right[name] = (found & (getattr(answers, name) == label))[label != IGNORED]
    moved = answers.present.any(1) & (answers.move == labels.move)
    right["action"] = moved[labels.move != IGNORED]
    return {name: values.flatten() for name, values in right.items()}


def tally(right: dict[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """What `agreement` gave, as (right, asked) by question."""
    return {question: (int(values.sum()), len(values)) for question, values in right.items()}


def save_judge(judge: Judge, path: Path, accuracy: dict | None = None) -> None:
    """As fp16; what was measured of it travels with it."""
    weights = {name: value.half().contiguous() for name, value in judge.state_dict().items()}
    save_file(weights, path, {"accuracy": json.dumps(accuracy or {})})


def load_judge(path: Path = WEIGHTS) -> Judge:
    weights = load_file(path)
    judge = Judge(weights["features.0.weight"].shape[0])
    judge.load_state_dict({name: value.float() for name, value in weights.items()})
    return judge.eval()
