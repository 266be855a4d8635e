"""What each chunk of a story remembers in training: sink, bank and window, as slots that hold latent frames.

Three kinds of context. *Streaming*: what a film would have at this chunk. *Recall*: mostly chunks in which a puppet comes into
view that neither sink nor window need show, with a bank that shows it, mostly from frames in which it is elsewhere on the
stage; with streaming contexts alone, looks are learnt as something that stays in its place. The window mostly stays what a
film would have: without it nothing says where a puppet stands, or how long its beat has been going on.
*Given*: as recall, but given pictures show who comes into view, and the film has not yet.
Slots are fixed: sink, bank (by film time), then the two chunks before, newest last; -1 where there is none.
"""

from collections.abc import Collection

import numpy as np

from training.data import puppet_places
from training.details import detail_weights
from training.stills import shown_in_stills
from training.teacher_forcing import BANK, CHUNK, CONTEXT, SINK
from training.world import FRAMES_PER_CHUNK, WIDTH, Story, stage

SINK_KEPT = 0.88
BANK_SIZES, BANK_SIZE_SHARES = (3, 2, 1, 0), (0.75, 0.06, 0.06, 0.13)
WINDOW_SURVIVES_CUT = 0.15
WINDOW_DROPPED = 0.3  # in recall, where the window shows the puppets already
ELSEWHERE = 24  # pixels from where a puppet was to where it is, to count as another place
SAME_PLACE_WEIGHT = 0.15
SINK_SHOWS_GIVEN, WINDOW_SHOWS_GIVEN = 0.3, 0.4  # how often sink and window stay though they show who a picture shows
GIVEN_TOGETHER, GIVEN_OTHER, GIVEN_BESIDE_FILM = 0.4, 0.25, 0.5
REACH = 29  # pixels from a puppet's middle to its foremost part
# How much targets prefer chunks: a puppet comes into view, there or one before; the first after a cut; the first of a beat.
ENTRY_WEIGHT, CUT_WEIGHT, NEW_BEAT_WEIGHT = 4.0, 10.0, 2.0
SPOILT_STORIES, SPOILT_CHUNKS = 0.4, 0.2


class StoryContexts:
    """The contexts of one story's chunks.

    `shows` [puppets, chunks]: whose middle is in view at a chunk's first frame, its prototype. `glimpsed`: of whom any part
    may be in view at any of its frames. `details`: what cells weigh besides in the loss, [chunks, 3, h, w].
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self._x = puppet_places(story)
        self.shows = ~np.isnan(self._x[..., 0])
        self.glimpsed = glimpsed(story)
        self.details = detail_weights(story)
        self._entering = np.zeros(story.num_chunks, bool)
        for chunk in range(1, story.num_chunks):
            new = self.glimpsed[:, chunk] & ~self.glimpsed[:, max(chunk - 2, 0) : chunk].any(1)
            self._entering[chunk : chunk + 2] |= new.any()
        self._cuts = [start for beat, start in zip(story.beats, story.beat_starts, strict=True) if beat.cut]
        self._weights = np.where(self._entering, ENTRY_WEIGHT, 1.0)  # [chunks]
        self._weights[story.beat_starts] = np.maximum(self._weights[story.beat_starts], NEW_BEAT_WEIGHT)
        self._weights[self._cuts] = CUT_WEIGHT

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
            candidates = np.array([c for c in range(1 if use_sink else 0, chunk) if c not in window])
            if bank_size and len(candidates):
                wanted = self.shows[list(beat.acts)][:, candidates].sum(0) if beat.acts else np.zeros(len(candidates))
                weights = 0.03 + wanted if rng.random() < 0.8 else np.ones(len(candidates))
                slots[chunk, SINK : SINK + BANK] = _bank(_draw(rng, candidates, weights, bank_size))
        return slots

    def recall(self, chunk: int, streaming: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """int [CONTEXT], made from the chunk's `streaming` slots; None if a puppet that is wanted was never seen before.

        Wanted are the puppets that the window does not show; all of them if it shows them all, and then the window may go.
        At a cut it always goes.
        """
        slots = np.where(np.arange(CONTEXT) < SINK, streaming, -1)
        window = streaming[SINK + BANK :]
        window_chunks = np.unique(window[window >= 0] // CHUNK)
        in_view = self.glimpsed[:, chunk]
        wanted = np.flatnonzero(in_view & ~self.glimpsed[:, window_chunks].any(1))
        if chunk in self._cuts or (not len(wanted) and rng.random() < WINDOW_DROPPED):
            window_chunks = window_chunks[:0]
        else:
            slots[SINK + BANK :] = window
        wanted = wanted if len(wanted) else np.flatnonzero(in_view)
        candidates = np.setdiff1d(np.arange(1, chunk), window_chunks)
        places = self._x[:, chunk]
        recalled: list[int] = []
        for puppet in rng.permutation(wanted):
            here = places[puppet][~np.isnan(places[puppet])]
            distance = np.abs(self._x[puppet, candidates, 0] - (here.mean() if len(here) else -WIDTH))
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

    def given(self, chunk: int, streaming: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """int [CONTEXT]: the bank shows who is in view by given pictures; frames of the film beside them show somebody else.

        Given pictures are chunks after the story's own, as `shown_in_stills` orders them.
        """
        slots = streaming.copy()
        in_view = np.flatnonzero(self.glimpsed[:, chunk])
        window = streaming[SINK + BANK :]
        window_chunks = np.unique(window[window >= 0] // CHUNK)
        if self.glimpsed[in_view, 0].any() and rng.random() > SINK_SHOWS_GIVEN:
            slots[:SINK] = -1
        if self.glimpsed[in_view][:, window_chunks].any() and rng.random() > WINDOW_SHOWS_GIVEN:
            slots[SINK + BANK :] = -1
        stills = shown_in_stills(len(self.glimpsed))
        alone = [stills.index((int(puppet),)) for puppet in in_view]
        together = len(self.glimpsed) > 1 and rng.random() < GIVEN_TOGETHER
        chosen = [len(stills) - 1] if together else alone
        if not together and len(alone) == 1 < len(self.glimpsed) and rng.random() < GIVEN_OTHER:
            chosen = [0, 1]
        bank = [self.story.num_chunks + still for still in rng.permutation(chosen).tolist()]
        candidates = np.setdiff1d(np.arange(1, chunk), window_chunks)
        candidates = candidates[~self.glimpsed[in_view][:, candidates].any(0)]
        if len(candidates) and rng.random() < GIVEN_BESIDE_FILM:
            bank += sorted(_draw(rng, candidates, np.ones(len(candidates)), BANK - len(bank)))
        slots[SINK : SINK + BANK] = -1
        slots[SINK : SINK + len(bank)] = CHUNK * np.array(bank)
        return slots

    def draw_streaming_chunks(self, rng: np.random.Generator, count: int, avoided: Collection[int] = ()) -> list[int]:
        """Which chunks to train in their streaming context, without repetition; `avoided` ones if there are too few."""
        return _draw(rng, np.arange(self.story.num_chunks), self._weights_but(avoided), count)

    def draw_recall_chunks(self, rng: np.random.Generator, count: int, avoided: Collection[int] = ()) -> list[int]:
        """Which chunks to train in a recall context, with repetition: each would draw other frames."""
        weights = self.glimpsed.any(0) * self._weights_but(avoided)
        weights[:2] = 0
        if not weights.any():
            return self.draw_streaming_chunks(rng, count, avoided)
        return rng.choice(len(weights), count, p=weights / weights.sum()).tolist()

    def draw_given_chunks(self, rng: np.random.Generator, count: int, avoided: Collection[int] = ()) -> list[int]:
        """Which chunks to train with given pictures, with repetition: mostly those in which somebody comes into view."""
        weights = self.glimpsed.any(0) * self._weights_but(avoided)
        weights[0] *= ENTRY_WEIGHT
        if not weights.any():
            return self.draw_streaming_chunks(rng, count, avoided)
        return rng.choice(len(weights), count, p=weights / weights.sum()).tolist()

    def _weights_but(self, avoided: Collection[int]) -> np.ndarray:
        weights = self._weights.copy()
        weights[list(avoided)] *= 1e-3
        return weights

    def spoilt(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Faults to be shown in contexts: (chunk, another chunk of its scene whose puppets are pasted there).

        Never two in a row: what is wrong for longer than the window cannot be mended.
        """
        faults: list[tuple[int, int]] = []
        if rng.random() < SPOILT_STORIES:
            scenes = np.searchsorted(self._cuts, np.arange(self.story.num_chunks), side="right")
            for chunk in np.flatnonzero(rng.random(self.story.num_chunks) < SPOILT_CHUNKS).tolist():
                other = int(rng.choice(np.flatnonzero(scenes == scenes[chunk])))
                if chunk != other and not (faults and faults[-1][0] == chunk - 1):
                    faults.append((chunk, other))
        return faults


def glimpsed(story: Story) -> np.ndarray:
    """Of which puppets any part may be in view in which chunks: bool [puppets, chunks]."""
    rows = [(motion.x > -REACH) & (motion.x < WIDTH + REACH) for motion in stage(story)]
    return np.reshape(rows, (len(rows), story.num_chunks, FRAMES_PER_CHUNK)).any(-1)


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
