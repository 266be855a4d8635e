"""Training batches: rendered latents with fresh captions, noise, and - for stories - what each chunk may remember."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.captions import captions
from training.data import Latents, sample_picture, visibility
from training.teacher_forcing import BANK, CHUNK, CONTEXT, SINK, Context
from training.text import TokenIds
from training.world import Story, sample_story

SHIFT = 3.0
LEVELS = tuple(SHIFT * u / (1 + (SHIFT - 1) * u) for u in np.linspace(1, 1 / 8, 8))  # those that sampling steps on
LEVEL_SHARES = np.linspace(1.0, 0.4, 8) / np.linspace(1.0, 0.4, 8).sum()  # what a chunk shows is decided early
CAPTION_DROPPED = 0.04
WINDOW_DROPPED = 0.25  # chunks that see no window: only the bank can tell what their puppets look like
RETURN_WEIGHT = 4.0  # in the loss, of a chunk in which a puppet is back that the window does not show


def sample_sigma(rng: np.random.Generator, size: int) -> Tensor:
    """Noise levels [size]: mostly exactly those of the sampler, else anything."""
    u = rng.uniform(0.02, 1, size)
    anything = SHIFT * u / (1 + (SHIFT - 1) * u)
    sigma = np.where(rng.random(size) < 0.6, rng.choice(LEVELS, size, p=LEVEL_SHARES), anything)
    return torch.from_numpy(sigma).float()


def add_noise(clean: Tensor, sigma: Tensor) -> Tensor:
    """(1 - sigma) * clean + sigma * noise, one sigma for each first index."""
    sigma = sigma.view(-1, *[1] * (clean.ndim - 1))
    return (1 - sigma) * clean + sigma * torch.randn_like(clean)


@dataclass(frozen=True)
class PictureBatch:
    clean: Tensor  # [M, 1, C, h, w]
    mask: Tensor  # [M, 1, h, w] in 0..1: puppets
    ids: Tensor  # [M, T]
    place: Tensor  # [M], 0..2: which latent frame of a first chunk


class Pictures:
    """Single latent frames. The last `NUM_HELD_OUT` rows are never trained on."""

    NUM_HELD_OUT = 512

    def __init__(self, data: Latents, token_ids: TokenIds) -> None:
        self._data, self._token_ids = data, token_ids
        self._scenes = [sample_picture(row) for row in range(len(data))]

    def batch(self, rng: np.random.Generator, size: int, held_out: bool = False) -> PictureBatch:
        last = len(self._data) - self.NUM_HELD_OUT
        rows = np.sort(rng.integers(last, len(self._data), size) if held_out else rng.integers(last, size=size))
        lines = [captions(self._scenes[row].story, rng)[0] for row in rows]
        if not held_out:
            lines = [line if rng.random() > CAPTION_DROPPED else "" for line in lines]
        return PictureBatch(
            clean=torch.from_numpy(self._data.latents[rows]).float()[:, None],
            mask=torch.from_numpy(self._data.masks[rows]).float()[:, None],
            ids=self._token_ids(lines),
            place=torch.tensor([self._scenes[row].latent % CHUNK for row in rows]),
        )


@dataclass(frozen=True)
class StoryBatch:
    clean: Tensor  # [M, 3, C, h, w], all chunks of all stories
    mask: Tensor  # [M, 3, h, w]
    ids: Tensor  # [P, T]
    caption: Tensor  # [2 * M]: caption of each chunk when clean, then when noisy
    context: Context
    weight: Tensor  # [M], in the loss


class Stories:
    """Whole stories with memory. The last `NUM_HELD_OUT` rows are never trained on."""

    NUM_HELD_OUT = 32

    def __init__(self, data: Latents, token_ids: TokenIds, num_chunks: int) -> None:
        self._data, self._token_ids = data, token_ids
        self._stories = [sample_story(row, num_chunks=num_chunks) for row in range(len(data))]
        self._visible = [visibility(story) for story in self._stories]

    def batch(self, rng: np.random.Generator, size: int, held_out: bool = False) -> StoryBatch:
        last = len(self._data) - self.NUM_HELD_OUT
        rows = rng.integers(last, len(self._data), size) if held_out else rng.choice(last, size, replace=False)
        lines, clean_caption, noisy_caption, index, present, weight = [], [], [], [], [], []
        for place, row in enumerate(np.sort(rows)):
            story, first = self._stories[row], len(lines)
            said = captions(story, rng, said_again=0.0 if rng.random() < 0.5 else 0.4)
            lines += [line if held_out or rng.random() > CAPTION_DROPPED else "" for line in said]
            beats = story.beat_of_chunks()
            noisy_caption += [first + beat for beat in beats]
            clean_caption += [first + beat for beat in recached_beats(story, rng)]
            slots = context_slots(story, self._visible[row], rng, plain=held_out)
            present.append(slots >= 0)
            weight.append(np.where(returns(self._visible[row]), RETURN_WEIGHT, 1))
            index.append(np.maximum(slots, 0) + place * story.num_chunks * CHUNK)
        rows = np.sort(rows)
        return StoryBatch(
            clean=torch.from_numpy(self._data.latents[rows]).float().flatten(0, 1).unflatten(0, (-1, CHUNK)),
            mask=torch.from_numpy(self._data.masks[rows]).float().flatten(0, 1).unflatten(0, (-1, CHUNK)),
            ids=self._token_ids(lines),
            caption=torch.tensor(clean_caption + noisy_caption),
            context=Context(torch.from_numpy(np.concatenate(index)), torch.from_numpy(np.concatenate(present))),
            weight=torch.from_numpy(np.concatenate(weight)).float(),
        )


def recached_beats(story: Story, rng: np.random.Generator) -> list[int]:
    """The beat whose caption each chunk is committed under: half of all prompt switches recache two chunks."""
    beats = story.beat_of_chunks()
    for beat, start in enumerate(story.beat_starts[1:], start=1):
        if not story.beats[beat].cut and rng.random() < 0.5:
            beats[max(start - 2, 0) : start] = [beat] * min(2, start)
    return beats


def returns(visible: np.ndarray) -> np.ndarray:
    """Chunks in which a puppet is on its way in that was seen before, but not in the two chunks before: bool [chunks].

    `visible` [puppets, chunks] speaks of a chunk's first frame; the two chunks before it show the puppet coming in.
    """
    before = np.zeros_like(visible)
    back = np.zeros_like(visible)
    for chunk in range(3, visible.shape[1]):
        before[:, chunk] = visible[:, : chunk - 2].any(1)
        back[:, chunk] = visible[:, chunk] & ~visible[:, chunk - 2 : chunk].any(1) & before[:, chunk]
    here = back.any(0)
    return here | np.append(here[1:], False) | np.append(here[2:], (False, False))


def context_slots(story: Story, visible: np.ndarray, rng: np.random.Generator, plain: bool = False) -> np.ndarray:
    """The clean latent frame in each context slot of each chunk, -1 where there is none: int [chunks, CONTEXT].

    Slots are fixed: sink, bank (by film time), then the two chunks before, newest last. The bank prefers frames that
    show the puppets of the chunk's beat. `plain`: always sink and a full bank; else sometimes less.
    """
    slots = np.full((story.num_chunks, CONTEXT), -1)
    use_sink = plain or rng.random() < 0.88
    bank_size = BANK if plain else int(rng.choice((3, 2, 1, 0), p=(0.75, 0.06, 0.06, 0.13)))
    window_survives_cut = not plain and rng.random() < 0.5
    without_window = rng.random(story.num_chunks) < (0 if plain else WINDOW_DROPPED)
    scene_start = 0
    for chunk, beat_index in enumerate(story.beat_of_chunks()):
        beat = story.beats[beat_index]
        if beat.cut and chunk == story.beat_starts[beat_index] and not window_survives_cut:
            scene_start = chunk
        recent = () if without_window[chunk] else (chunk - 2, chunk - 1)
        window = [c for c in recent if c >= max(scene_start, 1 if use_sink else 0)]
        for c in window:
            first = CONTEXT - CHUNK * (chunk - c)
            slots[chunk, first : first + CHUNK] = range(CHUNK * c, CHUNK * c + CHUNK)
        if use_sink and chunk > 0:
            slots[chunk, :SINK] = range(SINK)
        candidates = np.array([c for c in range(1 if use_sink else 0, chunk) if c not in window and c != chunk - 1])
        if bank_size and len(candidates):
            wanted = visible[list(beat.acts)][:, candidates].sum(0) if beat.acts else np.zeros(len(candidates))
            weights = 0.03 + wanted if plain or rng.random() < 0.8 else np.ones(len(candidates))
            count = min(bank_size, len(candidates))
            recalled = np.sort(rng.choice(candidates, count, replace=False, p=weights / weights.sum()))
            slots[chunk, SINK : SINK + count] = CHUNK * recalled
    return slots
