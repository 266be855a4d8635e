"""A story of a training batch: which of its chunks are predicted, in which contexts, under which captions."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from training.beats import Beat
from training.captions import captions
from training.contexts import StoryContexts, spoil
from training.stills import STILLS, Stills
from training.teacher_forcing import CHUNK, CONTEXT
from training.world import Story

CAPTION_DROPPED = 0.04
STREAMING_TARGETS, RECALL_TARGETS, GIVEN_TARGETS = 12, 9, 3  # chunks of a story that are predicted, by kind of context
# What is small in the picture, or passes fast, weighs more in the loss, and so does who walks, where a mistake is seen best.
EMPHASIS = {"wave": 3.5, "spin": 3.5, "walk": 1.75, "enter": 1.75, "leave": 1.75}
RECACHED = 0.85  # how often the window is run again under a new prompt, as a film does at every smooth switch
SAID_AGAIN, SAID_AGAIN_SHARES = (0.0, 0.4, 1.0), (0.4, 0.3, 0.3)  # how often a story's known puppets are described
LOOKS_UNSAID = 0.85  # how often the prompt of a recall target names its puppets by species only


class Draft:
    """A story's M chunks, given pictures among them, and its K targets. Rows and lines are those of the whole batch.

    `clean`, `mask`, `shown_mask`, `spoilt`, `emphasis`, `details`, `given`: as in `batches.StoryBatch`; `lines`: captions.
    """

    def __init__(
        self,
        contexts: StoryContexts,
        clean: Tensor,
        mask: Tensor,
        stills: Stills,
        counted: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:
        """`counted`: chunks and captions of the batch's stories before this one."""
        self._contexts, self._rng = contexts, rng
        self._first_chunk, first_line = counted
        story, beats = contexts.story, contexts.story.beat_of_chunks()
        committed_beats, unlike_film = recached_beats(story, rng)
        self._streaming = contexts.streaming(rng)
        self.clean, self.mask = torch.cat([clean, stills.latents]), torch.cat([mask, stills.masks])
        self.given = range(self._first_chunk + story.num_chunks, self._first_chunk + story.num_chunks + STILLS)
        self._spoil(clean, mask)
        said = captions(story, rng, said_again=float(rng.choice(SAID_AGAIN, p=SAID_AGAIN_SHARES)))
        unsaid = captions(story, rng, said_again=0.0, known=range(len(story.puppets)))
        untold = captions(story, rng, tells_looks=False)
        lines = [line if rng.random() > CAPTION_DROPPED else "" for line in said + unsaid + untold]
        self.lines = lines + stills.captions
        bare = {"streaming": 0, "recall": len(said), "given": 2 * len(said)}
        self.targets, self.kinds = self._choose(unlike_film)
        chunks = [target - self._first_chunk for target in self.targets]
        skipped = [bare[kind] if rng.random() < LOOKS_UNSAID else 0 for kind in self.kinds]
        self.target_caption = [first_line + beats[chunk] + skip for chunk, skip in zip(chunks, skipped, strict=True)]
        self.clean_caption = [first_line + line for line in (*committed_beats, *range(len(lines), len(self.lines)))]
        self.emphasis = [emphasis_of(story.beats[beats[chunk]]) for chunk in chunks]
        self.details = torch.from_numpy(contexts.details[chunks])
        slots = [self._slots(chunk, kind) for chunk, kind in zip(chunks, self.kinds, strict=True)]
        self.target_slots = _rows_of(np.stack(slots), self._first_chunk)
        no_past = np.full((STILLS, CONTEXT), -1)
        self.clean_slots = _rows_of(np.concatenate([self._streaming, no_past]), self._first_chunk)

    def _choose(self, unlike_film: Collection[int]) -> tuple[list[int], list[str]]:
        """Rows of the targets, and each one's kind of context."""
        contexts, rng = self._contexts, self._rng
        chosen = {
            "streaming": contexts.draw_streaming_chunks(rng, STREAMING_TARGETS, unlike_film),
            "recall": contexts.draw_recall_chunks(rng, RECALL_TARGETS, unlike_film),
            "given": contexts.draw_given_chunks(rng, GIVEN_TARGETS, unlike_film),
        }
        kinds = [kind for kind, chunks in chosen.items() for _ in chunks]
        return [self._first_chunk + chunk for chunks in chosen.values() for chunk in chunks], kinds

    def _slots(self, chunk: int, kind: str) -> np.ndarray:
        """int [CONTEXT], of the story's own rows."""
        streaming, slots = self._streaming[chunk], None
        if kind == "recall":
            slots = self._contexts.recall(chunk, streaming, self._rng)
        elif kind == "given":
            slots = self._contexts.given(chunk, streaming, self._rng)
        return streaming if slots is None else slots

    def _spoil(self, clean: Tensor, mask: Tensor) -> None:
        self.spoilt: dict[int, Tensor] = {}
        self.shown_mask = self.mask.clone()
        for chunk, other in self._contexts.spoilt(self._rng):
            frames = spoil(clean.numpy(), mask.numpy(), chunk, other, whole=self._rng.random() < 0.5)
            self.spoilt[self._first_chunk + chunk] = torch.from_numpy(frames)
            self.shown_mask[chunk] = torch.maximum(mask[chunk], mask[other])


def emphasis_of(beat: Beat) -> float:
    """How much a picture of this beat weighs in the loss."""
    return max((EMPHASIS.get(act.verb, 1.0) for act in beat.acts.values()), default=1.0)


def _rows_of(slots: np.ndarray, first_chunk: int) -> np.ndarray:
    """A story's slots as rows of a batch's latent frames."""
    return np.where(slots >= 0, slots + first_chunk * CHUNK, -1)


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
