"""What each chunk of a story remembers in training: sink, bank and window, as slots that hold latent frames.

Two kinds of context. *Streaming*: what a film would have at this chunk. *Recall*: a context in which only the bank can
tell what the chunk's puppets look like, mostly from frames in which they are elsewhere on the stage; with streaming
contexts alone, looks are learnt as something that stays in its place.
Slots are fixed: sink, bank (by film time), then the two chunks before, newest last; -1 where there is none.
"""

import numpy as np

from training.data import puppet_places
from training.teacher_forcing import BANK, CHUNK, CONTEXT, SINK
from training.world import Story

SINK_KEPT = 0.88
BANK_SIZES, BANK_SIZE_SHARES = (3, 2, 1, 0), (0.75, 0.06, 0.06, 0.13)
WINDOW_SURVIVES_CUT = 0.5
WINDOW_KEPT = 0.85  # in recall, where the window does not show the puppets
ELSEWHERE = 24  # pixels from where a puppet was to where it is, to count as another place
SAME_PLACE_WEIGHT = 0.15
ENTRY_WEIGHT = 4.0  # how much more often a chunk is trained in which a puppet comes into view
CUT_WEIGHT, NEW_BEAT_WEIGHT = 4.0, 2.0  # the same for the first chunk after a cut, and of any other beat
SPOILT_STORIES, SPOILT_CHUNKS, SPOILT_RUN = 0.4, 0.12, 3


class StoryContexts:
    """The contexts of one story's chunks; `shows` [puppets, chunks]: in view at a chunk's first frame, its prototype."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self._x = puppet_places(story)
        self._in_view = ~np.isnan(self._x)
        self.shows = self._in_view[..., 0]
        earlier = np.zeros_like(self.shows)
        for chunk in range(1, story.num_chunks):
            earlier[:, chunk] = self._in_view[:, max(chunk - 2, 0) : chunk].any((1, 2))
        self.enters = (self._in_view.any(2) & ~earlier).any(0)  # [chunks]
        self.enters[0] = False
        self._weights = np.where(self.enters, ENTRY_WEIGHT, 1.0)  # [chunks]
        for beat, start in zip(story.beats, story.beat_starts, strict=True):
            self._weights[start] = max(self._weights[start], CUT_WEIGHT if beat.cut else NEW_BEAT_WEIGHT)

    def streaming(self, rng: np.random.Generator) -> np.ndarray:
        """int [chunks, CONTEXT]. The bank prefers frames that show the puppets of the chunk's beat."""
        story = self.story
        slots = np.full((story.num_chunks, CONTEXT), -1)
        use_sink = rng.random() < SINK_KEPT
        bank_size = int(rng.choice(BANK_SIZES, p=BANK_SIZE_SHARES))
        window_survives_cut = rng.random() < WINDOW_SURVIVES_CUT
        scene_start = 0
        for chunk, beat_index in enumerate(story.beat_of_chunks()):
            beat = story.beats[beat_index]
            if beat.cut and chunk == story.beat_starts[beat_index] and not window_survives_cut:
                scene_start = chunk
            window = [c for c in (chunk - 2, chunk - 1) if c >= max(scene_start, 1 if use_sink else 0)]
            for c in window:
                first = CONTEXT - CHUNK * (chunk - c)
                slots[chunk, first : first + CHUNK] = range(CHUNK * c, CHUNK * c + CHUNK)
            if use_sink and chunk > 0:
                slots[chunk, :SINK] = range(SINK)
            candidates = np.array([c for c in range(1 if use_sink else 0, chunk) if c not in window and c != chunk - 1])
            if bank_size and len(candidates):
                wanted = self.shows[list(beat.acts)][:, candidates].sum(0) if beat.acts else np.zeros(len(candidates))
                weights = 0.03 + wanted if rng.random() < 0.8 else np.ones(len(candidates))
                slots[chunk, SINK : SINK + BANK] = _bank(_draw(rng, candidates, weights, bank_size))
        return slots

    def recall(self, chunk: int, streaming: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """int [CONTEXT], made from the chunk's `streaming` slots; None if its puppets were never seen before."""
        wanted = np.flatnonzero(self._in_view[:, chunk].any(-1))
        slots = np.where(np.arange(CONTEXT) < SINK, streaming, -1)
        window = streaming[SINK + BANK :]
        window_chunks = np.unique(window[window >= 0] // CHUNK)
        if not self._in_view[wanted][:, window_chunks].any() and rng.random() < WINDOW_KEPT:
            slots[SINK + BANK :] = window
        else:
            window_chunks = window_chunks[:0]
        candidates = np.setdiff1d(np.arange(1, chunk), window_chunks)
        recalled: list[int] = []
        for puppet in rng.permutation(wanted):
            distance = np.abs(self._x[puppet, candidates, 0] - np.nanmean(self._x[puppet, chunk]))
            weights = np.where(np.isnan(distance), 0, np.where(distance > ELSEWHERE, 1, SAME_PLACE_WEIGHT))
            if not weights.any():
                return None
            if not self.shows[puppet, recalled].any():
                recalled += _draw(rng, candidates, weights, 1)
        more = np.setdiff1d(candidates, recalled)
        size = int(rng.choice((3, 2, 1), p=(0.7, 0.15, 0.15))) - len(recalled)
        if size > 0 and len(more):
            recalled += _draw(rng, more, 0.2 + self.shows[wanted][:, more].sum(0), size)
        slots[SINK : SINK + BANK] = _bank(recalled)
        return slots

    def draw_streaming_chunks(self, rng: np.random.Generator, count: int) -> list[int]:
        """Which chunks to train in their streaming context, without repetition."""
        return _draw(rng, np.arange(self.story.num_chunks), self._weights, count)

    def draw_recall_chunks(self, rng: np.random.Generator, count: int) -> list[int]:
        """Which chunks to train in a recall context, with repetition: each would draw other frames."""
        weights = self._in_view.any((0, 2)) * self._weights
        weights[:2] = 0
        if not weights.any():
            return self.draw_streaming_chunks(rng, count)
        return rng.choice(len(weights), count, p=weights / weights.sum()).tolist()

    def spoilt(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Faults to be shown in contexts: (chunk, another chunk of its scene whose puppets are pasted there), in runs."""
        faults = []
        if rng.random() < SPOILT_STORIES:
            cuts = [start for beat, start in zip(self.story.beats, self.story.beat_starts, strict=True) if beat.cut]
            scenes = np.searchsorted(cuts, np.arange(self.story.num_chunks), side="right")
            for first in np.flatnonzero(rng.random(self.story.num_chunks) < SPOILT_CHUNKS):
                other = int(rng.choice(np.flatnonzero(scenes == scenes[first])))
                run = range(first, min(first + int(rng.integers(1, SPOILT_RUN + 1)), self.story.num_chunks))
                faults += [(chunk, other) for chunk in run if scenes[chunk] == scenes[first] and chunk != other]
        return faults


def spoil(clean: np.ndarray, masks: np.ndarray, chunk: int, other: int, whole: bool) -> np.ndarray:
    """A copy of a chunk [3, C, h, w] of `clean` [chunks, 3, C, h, w] with the puppets of another one pasted into it.

    masks: [chunks, 3, h, w] in 0..1. `whole`: the chunk's own puppets give way, so that they may be missing or elsewhere;
    else there may be two of them. What a film shows after a mistake, which the next chunk is to mend.
    """
    pasted = masks[other] > 0
    pasted = pasted | (masks[chunk] > 0) if whole else pasted
    return np.where(pasted[:, None], clean[other], clean[chunk])


def _draw(rng: np.random.Generator, candidates: np.ndarray, weights: np.ndarray, count: int) -> list[int]:
    count = min(count, int((weights > 0).sum()))
    return rng.choice(candidates, count, replace=False, p=weights / weights.sum()).tolist()


def _bank(chunks: list[int]) -> np.ndarray:
    """The bank's slots: the first latent frame of each recalled chunk, by film time."""
    slots = np.full(BANK, -1)
    slots[: len(chunks)] = CHUNK * np.sort(chunks)
    return slots
