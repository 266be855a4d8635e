"""Training batches: rendered latents with fresh captions, noise; for stories, which chunks are predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.captions import captions
from training.contexts import StoryContexts, spoil
from training.data import Latents, sample_picture
from training.teacher_forcing import CHUNK, Context
from training.text import TokenIds
from training.world import Beat, Story, sample_story

SHIFT = 3.0
LEVELS = tuple(SHIFT * u / (1 + (SHIFT - 1) * u) for u in np.linspace(1, 1 / 8, 8))  # those that sampling steps on
LEVEL_SHARES = np.linspace(1.0, 0.4, 8) / np.linspace(1.0, 0.4, 8).sum()  # what a chunk shows is decided early
CAPTION_DROPPED = 0.04
STREAMING_TARGETS, RECALL_TARGETS = 12, 12  # chunks of a story that are predicted, by kind of context
HARD_ACTIONS, EMPHASIS = {"wave", "spin"}, 3.5  # what is small in the picture, or passes fast, weighs more
RECACHED = 0.85  # how often the window is run again under a new prompt, as a film does at every smooth switch
SAID_AGAIN, SAID_AGAIN_SHARES = (0.0, 0.4, 1.0), (0.4, 0.3, 0.3)  # how often a story's known puppets are described
LOOKS_UNSAID = 0.85  # how often the prompt of a recall target names its puppets by species only


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


def emphasis_of(beat: Beat) -> float:
    """How much a picture of this beat weighs in the loss."""
    return EMPHASIS if any(act.verb in HARD_ACTIONS for act in beat.acts.values()) else 1.0


@dataclass(frozen=True)
class PictureBatch:
    clean: Tensor  # [M, 1, C, h, w]
    mask: Tensor  # [M, 1, h, w] in 0..1: puppets
    ids: Tensor  # [M, T]
    place: Tensor  # [M], 0..2: which latent frame of a first chunk
    emphasis: Tensor  # [M], weight in the loss


class Pictures:
    """Single latent frames. The last `NUM_HELD_OUT` rows are never trained on."""

    NUM_HELD_OUT = 512

    def __init__(self, data: Latents, token_ids: TokenIds) -> None:
        self._data, self._token_ids = data, token_ids
        self._scenes = [sample_picture(row) for row in range(len(data))]

    def batch(self, rng: np.random.Generator, size: int, held_out: bool = False) -> PictureBatch:
        last = len(self._data) - self.NUM_HELD_OUT
        rows = np.sort(rng.integers(last, len(self._data), size) if held_out else rng.integers(last, size=size))
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
    ids: Tensor  # [P, T]
    caption: Tensor  # [M + K]: caption of each clean chunk, then of each target
    context: Context


class Stories:
    """Whole stories with memory, from one or more sources. The last `NUM_HELD_OUT` of each are never trained on."""

    NUM_HELD_OUT = 32

    def __init__(self, sources: Sequence[tuple[Latents, str | None]], token_ids: TokenIds, num_chunks: int) -> None:
        """`sources`: latents, and of which kind of story (None: any)."""
        self._token_ids = token_ids
        self._rows = [
            (data, row, StoryContexts(sample_story(row, kind, num_chunks=num_chunks)))
            for data, kind in sources
            for row in range(len(data) - self.NUM_HELD_OUT)
        ]

    def batch(self, rng: np.random.Generator, size: int, rows: list[int] | None = None) -> StoryBatch:
        """`size` stories, or those of these `rows`, with targets, captions and contexts drawn anew."""
        rows = rows or rng.choice(len(self._rows), size, replace=False).tolist()
        lines, targets, clean_caption, target_caption, clean_slots, target_slots = [], [], [], [], [], []
        clean, masks, shown_masks = [], [], []
        spoilt: dict[int, Tensor] = {}
        emphasis: list[float] = []
        is_streaming: list[bool] = []
        for place, (data, row, contexts) in enumerate(self._rows[row] for row in rows):
            clean.append(_chunks(data.latents[row]))
            masks.append(_chunks(data.masks[row]))
            shown_masks.append(masks[-1].clone())
            story, beats = contexts.story, contexts.story.beat_of_chunks()
            first_line, first_chunk = len(lines), place * contexts.story.num_chunks
            said = captions(story, rng, said_again=float(rng.choice(SAID_AGAIN, p=SAID_AGAIN_SHARES)))
            unsaid = captions(story, rng, said_again=0.0, known=range(len(story.puppets)))
            lines += [line if rng.random() > CAPTION_DROPPED else "" for line in said + unsaid]
            for chunk, other in contexts.spoilt(rng):
                frames = spoil(clean[-1].numpy(), masks[-1].numpy(), chunk, other, whole=rng.random() < 0.5)
                spoilt[first_chunk + chunk] = torch.from_numpy(frames)
                shown_masks[-1][chunk] = torch.maximum(masks[-1][chunk], masks[-1][other])
            streaming = contexts.streaming(rng)
            committed_beats, unlike_film = recached_beats(story, rng)
            wanted = [(c, False) for c in contexts.draw_streaming_chunks(rng, STREAMING_TARGETS, unlike_film)]
            wanted += [(c, True) for c in contexts.draw_recall_chunks(rng, RECALL_TARGETS, unlike_film)]
            for chunk, recall in wanted:
                slots = contexts.recall(chunk, streaming[chunk], rng) if recall else None
                bare = slots is not None and rng.random() < LOOKS_UNSAID
                target_slots.append(_rows_of(streaming[chunk] if slots is None else slots, first_chunk))
                target_caption.append(first_line + beats[chunk] + (len(said) if bare else 0))
                targets.append(first_chunk + chunk)
                is_streaming.append(not recall)
                emphasis.append(emphasis_of(story.beats[beats[chunk]]))
            clean_slots.append(_rows_of(streaming, first_chunk))
            clean_caption += [first_line + beat for beat in committed_beats]
        slots = torch.from_numpy(np.concatenate([*clean_slots, target_slots]))
        return StoryBatch(
            rows=rows,
            clean=torch.cat(clean),
            mask=torch.cat(masks),
            shown_mask=torch.cat(shown_masks),
            spoilt=spoilt,
            target=torch.tensor(targets),
            streaming=torch.tensor(is_streaming),
            emphasis=torch.tensor(emphasis),
            ids=self._token_ids(lines),
            caption=torch.tensor(clean_caption + target_caption),
            context=Context(slots.clamp_min(0), slots >= 0),
        )


def _rows_of(slots: np.ndarray, first_chunk: int) -> np.ndarray:
    """A story's slots as rows of a batch's latent frames."""
    return np.where(slots >= 0, slots + first_chunk * CHUNK, -1)


def _chunks(frames: np.ndarray) -> Tensor:
    """[T, ...] -> float32 [chunks, 3, ...]"""
    return torch.from_numpy(frames.astype(np.float32)).unflatten(0, (-1, CHUNK))


def recached_beats(story: Story, rng: np.random.Generator) -> tuple[list[int], set[int]]:
    """The beat under whose caption each chunk is committed, and the chunks which would then see what no film shows.

    A smooth switch commits the two chunks before it again. A chunk is committed once here: if under the new prompt, the
    chunk before the switch would see it too soon; if under the old one, the two chunks after it too late.
    """
    beats, unlike_film = story.beat_of_chunks(), set[int]()
    for beat, start in enumerate(story.beat_starts[1:], start=1):
        first = max(start - 2, 1)  # the film's first chunk is the sink
        if story.beats[beat].cut or start == first:
            continue
        if rng.random() < RECACHED:
            beats[first:start] = [beat] * (start - first)
            unlike_film.add(start - 1)
        else:
            unlike_film |= {start, start + 1}
    return beats, unlike_film - {story.num_chunks}
