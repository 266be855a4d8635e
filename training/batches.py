"""Training batches: rendered latents with fresh captions, noise; for stories, which chunks are predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from training.captions import captions
from training.contexts import StoryContexts
from training.data import Latents, sample_picture
from training.details import detail_weights, is_dim_wave
from training.drafts import CAPTION_DROPPED, Draft, emphasis_of
from training.stills import sample_stills
from training.teacher_forcing import CHUNK, Context
from training.text import TokenIds
from training.world import sample_story

SHIFT = 3.0
LEVELS = tuple(SHIFT * u / (1 + (SHIFT - 1) * u) for u in np.linspace(1, 1 / 8, 8))  # those that sampling steps on
DIM_WAVES = 5.0  # how much more often pictures of waves are drawn where they are seen least
LEVEL_SHARES = np.linspace(1.0, 0.4, 8) / np.linspace(1.0, 0.4, 8).sum()  # what a chunk shows is decided early


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
    emphasis: Tensor  # [M], weight in the loss
    details: Tensor  # [M, 1, h, w], what cells weigh besides: `details.detail_weights`


class Pictures:
    """Single latent frames. The last `NUM_HELD_OUT` rows are never trained on."""

    NUM_HELD_OUT = 512

    def __init__(self, data: Latents, token_ids: TokenIds) -> None:
        self._data, self._token_ids = data, token_ids
        self._scenes = [sample_picture(row) for row in range(len(data))]
        trained = self._scenes[: len(data) - self.NUM_HELD_OUT]
        chances = np.array([DIM_WAVES if is_dim_wave(scene.story.beats[0]) else 1.0 for scene in trained])
        self._chances = chances / chances.sum()

    def batch(self, rng: np.random.Generator, size: int, held_out: bool = False) -> PictureBatch:
        last = len(self._data) - self.NUM_HELD_OUT
        rows = rng.integers(last, len(self._data), size) if held_out else rng.choice(last, size, p=self._chances)
        rows = np.sort(rows)
        scenes = [self._scenes[row] for row in rows]
        lines = [captions(scene.story, rng)[0] for scene in scenes]
        if not held_out:
            lines = [line if rng.random() > CAPTION_DROPPED else "" for line in lines]
        return PictureBatch(
            clean=torch.from_numpy(self._data.latents[rows]).float()[:, None],
            mask=torch.from_numpy(self._data.masks[rows]).float()[:, None],
            ids=self._token_ids(lines),
            place=torch.tensor([scene.latent for scene in scenes]),
            emphasis=torch.tensor([emphasis_of(scene.story.beats[0]) for scene in scenes]),
            details=torch.from_numpy(np.stack([detail_weights(s.story)[0, s.latent] for s in scenes]))[:, None],
        )


@dataclass(frozen=True)
class StoryBatch:
    """M chunks of whole stories, and which K of them are to be predicted; some more than once, from other contexts."""

    rows: list[int]  # of the stories
    clean: Tensor  # [M, 3, C, h, w]
    mask: Tensor  # [M, 3, h, w] in 0..1: puppets
    shown_mask: Tensor  # as `mask`, with the puppets that `spoilt` chunks show as well
    spoilt: dict[int, Tensor]  # row of `clean` -> what contexts show instead, [3, C, h, w]: a film's mistake
    target: Tensor  # [K], rows of `clean`
    streaming: Tensor  # bool [K]: in the context that a film would have
    emphasis: Tensor  # [K], weight in the loss
    details: Tensor  # [K, 3, h, w], what cells weigh besides
    given: Tensor  # rows of `clean` that are given pictures
    ids: Tensor  # [P, T]
    caption: Tensor  # [M + K]: caption of each clean chunk, then of each target
    context: Context


class Stories:
    """Whole stories with memory, from one or more sources. The last `NUM_HELD_OUT` of each are never trained on."""

    NUM_HELD_OUT = 32

    def __init__(
        self,
        sources: Sequence[tuple[Latents, str | None]],
        token_ids: TokenIds,
        num_chunks: int,
        autoencoder: PatchAutoencoder,
    ) -> None:
        """`sources`: latents, and of which kind of story (None: any). `autoencoder`: theirs, for given pictures."""
        self._token_ids, self._autoencoder = token_ids, autoencoder
        self._rows = [
            (data, row, StoryContexts(sample_story(row, kind, num_chunks=num_chunks)))
            for data, kind in sources
            for row in range(len(data) - self.NUM_HELD_OUT)
        ]

    def batch(self, rng: np.random.Generator, size: int, rows: list[int] | None = None) -> StoryBatch:
        """`size` stories, or those of these `rows`, with targets, captions, contexts and given pictures drawn anew."""
        rows = rows or rng.choice(len(self._rows), size, replace=False).tolist()
        drafts: list[Draft] = []
        for data, row, contexts in (self._rows[row] for row in rows):
            stills = sample_stills(contexts.story, self._autoencoder, rng)
            drawn = _chunks(data.latents[row]), _chunks(data.masks[row])
            drafts.append(Draft(contexts, *drawn, stills, _counted(drafts), rng))
        slots = np.concatenate([*(draft.clean_slots for draft in drafts), *(draft.target_slots for draft in drafts)])
        present = torch.from_numpy(slots) >= 0
        return StoryBatch(
            rows=rows,
            clean=torch.cat([draft.clean for draft in drafts]),
            mask=torch.cat([draft.mask for draft in drafts]),
            shown_mask=torch.cat([draft.shown_mask for draft in drafts]),
            spoilt={row: frames for draft in drafts for row, frames in draft.spoilt.items()},
            target=torch.tensor([chunk for draft in drafts for chunk in draft.targets]),
            streaming=torch.tensor([kind == "streaming" for draft in drafts for kind in draft.kinds]),
            emphasis=torch.tensor([value for draft in drafts for value in draft.emphasis]),
            details=torch.cat([draft.details for draft in drafts]),
            given=torch.tensor([row for draft in drafts for row in draft.given]),
            ids=self._token_ids([line for draft in drafts for line in draft.lines]),
            caption=torch.tensor(
                [line for draft in drafts for line in draft.clean_caption]
                + [line for draft in drafts for line in draft.target_caption]
            ),
            context=Context(torch.from_numpy(slots).clamp_min(0), present),
        )


def _counted(drafts: Sequence[Draft]) -> tuple[int, int]:
    """How many chunks and captions there are already."""
    return sum(len(draft.clean) for draft in drafts), sum(len(draft.lines) for draft in drafts)


def _chunks(frames: np.ndarray) -> Tensor:
    """[T, ...] -> float32 [chunks, 3, ...]"""
    return torch.from_numpy(frames.astype(np.float32)).unflatten(0, (-1, CHUNK))
