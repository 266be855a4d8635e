"""What a chunk of the paper theatre truly shows: drawn frames and their labels, for training and testing the judge.

The same labels say what a film should show under a story's prompts. A label is IGNORED where nobody could tell: a puppet of
which less than half is in view (cut by the stage's edge, behind another one, seen edge-on), what it wears where less than
most of it is in view. Four frames of a chunk's twelve are looked at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, ACCESSORY_COLOURS, COLOURS, SETTINGS, SPECIES
from training.drawing import draw_frame, sprite
from training.world import FRAMES_PER_CHUNK, MARKS, Motion, Puppet, Story, sample_story, stage

ACCESSORY_CLASSES = (None, *((kind, colour) for kind in ACCESSORIES for colour in ACCESSORY_COLOURS))
MOVES = ("stand", "left", "right", "jump", "wave", "spin")
LOOKED_AT = (1, 4, 7, 10)  # frames of a chunk
IGNORED = -100

IN_VIEW = 0.5  # share of a puppet's area, seen from the front, from which on it must be recognised
CLEARLY_IN_VIEW = 0.7  # from which on what it wears must be
NEAR = 48  # pixels between two puppets of which one would hide a part of the other
FRAMES_TO_MOVE = 2  # of those looked at, in which it must be in view to say how it moves

JUDGED_HEIGHT = 64  # of the frames that the judge looks at
ROUND_TRIPS = 0.25  # share of the training clips that pass through the autoencoder's patch basis
LATENT_NOISE = 0.15
HELD_OUT_STORIES = 0.1  # the judge may see every combination; the model may not


def worn_by(puppet: Puppet) -> tuple[str, str] | None:
    return (puppet.accessory, puppet.accessory_colour) if puppet.accessory and puppet.accessory_colour else None


@dataclass(frozen=True)
class Labels:
    """Labels of B clips, int16; T the frames looked at, S species. Classes are places in the vocabulary's tables."""

    setting: np.ndarray  # [B]
    present: np.ndarray  # [B, T, S], 1 or 0
    middle: np.ndarray  # [B, T, S], pixel column of a puppet in view
    colour: np.ndarray  # [B, T, S]
    accessory: np.ndarray  # [B, T, S]
    move: np.ndarray  # [B, S]

    @classmethod
    def join(cls, parts: "Sequence[Labels]") -> "Labels":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def __getitem__(self, rows) -> "Labels":
        return Labels(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.setting)


@cache
def _front_area(puppet: Puppet) -> float:
    return float(sprite(puppet, 1.0, 0.0, 0.0)[1].sum())


def shares_in_view(story: Story, motions: Sequence[Motion], t: int) -> list[float]:
    """How much of each puppet's front is in view at frame `t`: what later puppets cover is not."""
    free, shares = np.ones((1, 1), np.float32), []
    for puppet, motion in reversed(list(zip(story.puppets, motions, strict=True))):
        if np.isnan(motion.x[t]):
            shares.append(0.0)
            continue
        coverage = draw_frame(replace(story, puppets=(puppet,)), [motion], t)[1]
        shares.append(float((coverage * free).sum()) / _front_area(puppet))
        free = free * (1 - coverage)
    return shares[::-1]


def move_of(story: Story, motion: Motion, puppet: int, chunk: int) -> int:
    """Place in MOVES of what a puppet mostly does in a chunk; IGNORED if it walks for a part of it only."""
    steps = np.diff(motion.x[chunk * FRAMES_PER_CHUNK : (chunk + 1) * FRAMES_PER_CHUNK])
    steps = steps[~np.isnan(steps)]
    if not len(steps):
        return IGNORED
    walks = float((steps != 0).mean())
    if walks > 0.6:
        return MOVES.index("right" if steps.sum() > 0 else "left")
    if walks > 0.2:
        return IGNORED
    verb = story.beats[story.beat_of_chunks()[chunk]].acts[puppet].verb
    return MOVES.index(verb if verb in MOVES else "stand")


def label_chunks(story: Story, chunks: Iterable[int], motions: Sequence[Motion] | None = None) -> Labels:
    """What these chunks of a story show."""
    motions = stage(story) if motions is None else motions
    beats, size = story.beat_of_chunks(), (len(LOOKED_AT), len(SPECIES))
    parts = []
    for chunk in chunks:
        present, middle = np.zeros(size, np.int16), np.full(size, IGNORED, np.int16)
        colour, accessory, move = middle.copy(), middle.copy(), np.full(len(SPECIES), IGNORED, np.int16)
        for place, offset in enumerate(LOOKED_AT):
            t = chunk * FRAMES_PER_CHUNK + offset
            for puppet, motion, share in zip(story.puppets, motions, shares_in_view(story, motions, t), strict=True):
                row = place, SPECIES.index(puppet.species)
                if share <= 0:
                    continue
                present[row] = 1 if share >= IN_VIEW else IGNORED
                if share >= IN_VIEW:
                    middle[row], colour[row] = round(float(motion.x[t])), COLOURS.index(puppet.colour)
                if share >= CLEARLY_IN_VIEW:
                    accessory[row] = ACCESSORY_CLASSES.index(worn_by(puppet))
        for index, (puppet, motion) in enumerate(zip(story.puppets, motions, strict=True)):
            species = SPECIES.index(puppet.species)
            if (present[:, species] == 1).sum() >= FRAMES_TO_MOVE:
                move[species] = move_of(story, motion, index, chunk)
        setting = np.int16(list(SETTINGS).index(story.beats[beats[chunk]].setting))
        parts.append(
            Labels(*(np.asarray(value)[None] for value in (setting, present, middle, colour, accessory, move)))
        )
    return Labels.join(parts)


def half_size(frames: np.ndarray) -> np.ndarray:
    """uint8 [P, 128, 224, 3], or twice as wide and high -> uint8 [P, 64, 112, 3]: what the judge looks at, by averages."""
    times = frames.shape[1] // JUDGED_HEIGHT
    pooled = F.avg_pool2d(torch.from_numpy(frames).permute(0, 3, 1, 2).float(), times)
    return pooled.round().byte().permute(0, 2, 3, 1).numpy()


def _interesting_chunks(story: Story, motions: Sequence[Motion], rng: np.random.Generator, count: int) -> np.ndarray:
    """Fewer empty chunks, more of those in which somebody does more than stand."""
    weights = np.full(story.num_chunks, 0.2)
    for chunk, beat in enumerate(story.beat_of_chunks()):
        frames = slice(chunk * FRAMES_PER_CHUNK, (chunk + 1) * FRAMES_PER_CHUNK)
        for puppet in story.beats[beat].acts:
            if motions[puppet].visible()[frames].any():
                weights[chunk] += 1 if move_of(story, motions[puppet], puppet, chunk) in (IGNORED, 0) else 2
    return np.sort(rng.choice(story.num_chunks, count, replace=False, p=weights / weights.sum()))


def training_clips(
    seeds: Iterable[int], autoencoder: PatchAutoencoder | None, each: int = 5
) -> tuple[np.ndarray, Labels]:
    """Chunks of training stories: uint8 [B, 4, 64, 112, 3] and their labels; some seen through the autoencoder."""
    clips, labels = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 3])
        story = sample_story(seed, "free" if rng.random() < 0.5 else None, rng.random() < HELD_OUT_STORIES)
        motions = stage(story)
        chunks = _interesting_chunks(story, motions, rng, each)
        labels.append(label_chunks(story, chunks, motions))
        for chunk in chunks:
            first, through = chunk * FRAMES_PER_CHUNK, autoencoder is not None and rng.random() < ROUND_TRIPS
            offsets = range(FRAMES_PER_CHUNK) if through else LOOKED_AT
            frames = np.stack([draw_frame(story, list(motions), first + offset)[0] for offset in offsets])
            if autoencoder is not None and through:
                frames = noisy_round_trip(autoencoder, frames, rng)[list(LOOKED_AT)]
            clips.append(half_size(frames))
    return np.stack(clips), Labels.join(labels)


@torch.inference_mode()
def round_trip(autoencoder: PatchAutoencoder, frames: np.ndarray) -> np.ndarray:
    """True frames uint8 [12, 128, 224, 3] with the softness of the model's autoencoder."""
    latents = autoencoder.encode(torch.from_numpy(frames).float() / 255)
    return (autoencoder.decode(latents) * 255).round().byte().numpy()


@torch.inference_mode()
def noisy_round_trip(autoencoder: PatchAutoencoder, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same with a little noise in the latents and without the refiner, which costs more than all the rest."""
    latents = autoencoder.encode(torch.from_numpy(frames).float() / 255)
    noise = LATENT_NOISE * rng.random() * torch.from_numpy(rng.standard_normal(latents.shape, np.float32))
    pixels = autoencoder.decode_linear(latents + noise).unflatten(1, (-1, 3)).flatten(0, 1).permute(0, 2, 3, 1)
    return ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().byte().numpy()


def held_out_clips(
    seeds: Iterable[int], each: int = 4, held_out: bool = False, autoencoder: PatchAutoencoder | None = None
) -> tuple[np.ndarray, Labels]:
    """Any chunks of these stories, drawn as often as they are played; `autoencoder`: all seen through it."""
    clips, labels = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 4])
        story = sample_story(seed, held_out=held_out)
        motions = stage(story)
        chunks = rng.choice(story.num_chunks, each, replace=False)
        labels.append(label_chunks(story, chunks, motions))
        for chunk in chunks:
            first = chunk * FRAMES_PER_CHUNK
            offsets = range(FRAMES_PER_CHUNK) if autoencoder else LOOKED_AT
            frames = np.stack([draw_frame(story, list(motions), first + offset)[0] for offset in offsets])
            if autoencoder:
                frames = round_trip(autoencoder, frames)[list(LOOKED_AT)]
            clips.append(half_size(frames))
    return np.stack(clips), Labels.join(labels)


def doubled_clips(seeds: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Chunks in which somebody stands on two marks at once: uint8 [B, 4, 64, 112, 3], and the species [B]."""
    clips, doubled = [], []
    for seed in seeds:
        rng, story = np.random.default_rng([seed, 6]), sample_story(seed)
        motions = stage(story)
        times = int(rng.integers(story.num_chunks)) * FRAMES_PER_CHUNK + np.array(LOOKED_AT)
        places = np.array([motion.x[times] for motion in motions])
        free = [mark for mark in MARKS.values() if not (np.abs(places - mark) < NEAR).any()]
        standing = np.flatnonzero(np.ptp(places, axis=1) == 0)
        if len(free) and len(standing):
            chosen = int(rng.choice(standing))
            puppet, motion = story.puppets[chosen], motions[chosen]
            twin = replace(motion, x=np.where(np.isnan(motion.x), np.nan, int(rng.choice(free))))
            both = replace(story, puppets=(*story.puppets, puppet))
            clips.append(half_size(np.stack([draw_frame(both, [*motions, twin], t)[0] for t in times])))
            doubled.append(SPECIES.index(puppet.species))
    return np.stack(clips), np.array(doubled)


def cached_clips(path: Path, make) -> tuple[np.ndarray, Labels]:
    """`make()`, or what it gave last time."""
    if not path.exists():
        clips, labels = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, clips=clips, **{field.name: getattr(labels, field.name) for field in fields(labels)})
        part.replace(path)
    with np.load(path) as file:
        return file["clips"], Labels(*(file[field.name] for field in fields(Labels)))
