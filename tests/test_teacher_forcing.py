"""Training sees what the product shows: teacher forcing in parallel equals streaming with the key-value cache."""

import numpy as np
import pytest
import torch

from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.models.wan.attention import rotary_table, rotate
from memflow_cli.models.wan.config import WanConfig
from training.batches import StoryBatch
from training.beats import Act, Beat
from training.contexts import StoryContexts
from training.drafts import recached_beats
from training.learn import where_puppets_may_be
from training.teacher_forcing import BANK, CHUNK, CONTEXT, SINK, WINDOW, Context, Trainee
from training.text import build_encoder, encode_ids
from training.world import KINDS, Puppet, Story, sample_story

GRID = (2, 3)
CHUNKS = 7
BANKED = {4: [3], 5: [3, 6], 6: [3, 6, 9]}  # chunk -> latent frames in its bank


@pytest.fixture
def trainee() -> Trainee:
    torch.manual_seed(0)
    config = WanConfig(
        dim=48, ffn_dim=64, freq_dim=32, text_dim=128, text_len=8, num_heads=2, num_layers=2, in_dim=4, out_dim=4
    )
    model = Trainee(config, build_encoder(50))
    torch.nn.init.normal_(model.transformer.head.head.weight, std=0.1)
    return model.eval().requires_grad_(False)


def slots_of(chunk: int) -> list[int]:
    """Sink, bank, then the two chunks before (the sink's own chunk is not in the window)."""
    slots = [-1] * CONTEXT
    if chunk:
        slots[:SINK] = range(SINK)
    banked = BANKED.get(chunk, [])
    slots[SINK : SINK + len(banked)] = banked
    for earlier in (chunk - 2, chunk - 1):
        if earlier >= 1:
            first = CONTEXT - CHUNK * (chunk - earlier)
            slots[first : first + CHUNK] = range(CHUNK * earlier, CHUNK * earlier + CHUNK)
    return slots


def streamed(model, clean, noisy, sigma, prompt) -> torch.Tensor:
    """The same predictions, one chunk after the other through the product's cache."""
    transformer = model.transformer
    head_dim = transformer.config.head_dim
    shape = CacheShape(
        num_layers=2, num_heads=2, head_dim=head_dim, num_tokens=GRID[0] * GRID[1], sink=SINK, window=WINDOW, bank=BANK,
        memory_places=SINK + BANK,
    )  # fmt: skip

    def turn(key, positions):
        return rotate(key, rotary_table(tuple(positions), GRID, head_dim, key.device))

    cache, states, predictions = KVCache(shape, turn, positions="relative"), {}, []
    for chunk in range(CHUNKS):
        frames = range(CHUNK * chunk, CHUNK * chunk + CHUNK)
        for frame in cache.leaving(frames):
            states[frame] = cache.read(frame)
        cache.load_bank([states[frame] for frame in BANKED.get(chunk, [])])
        cache.begin(frames)
        timestep = torch.full((1, CHUNK), 1000 * float(sigma[chunk]))
        predictions.append(transformer(noisy[chunk : chunk + 1], timestep, prompt, cache))
        cache.begin(frames)
        transformer(clean[chunk : chunk + 1], torch.zeros(1, CHUNK), prompt, cache)
        cache.commit()
    return torch.cat(predictions)


def test_teacher_forcing_equals_streaming(trainee):
    ids = torch.tensor([[5, 6, 7, 1, 0, 0, 0, 0]])
    clean, noisy = torch.randn(2, CHUNKS, CHUNK, 4, 4, 6)
    sigma = torch.linspace(1, 0.3, CHUNKS)
    slots = torch.tensor([slots_of(chunk) for chunk in range(CHUNKS)]).repeat(2, 1)
    context = Context(slots.clamp_min(0), slots >= 0)
    parallel = trainee.stories(clean, noisy, sigma, ids, torch.zeros(2 * CHUNKS, dtype=torch.long), context)
    prompt = trainee.transformer.project_prompt(encode_ids(trainee.encoder, ids))
    assert torch.allclose(parallel, streamed(trainee, clean, noisy, sigma, prompt), atol=1e-5)


@pytest.mark.parametrize("place", [0, 2])
def test_a_picture_is_a_frame_of_a_first_chunk(trainee, place):
    """At any place in it: alone, a frame sees nothing but itself, and only distances count."""
    ids = torch.tensor([[5, 6, 1, 0, 0, 0, 0, 0]])
    noisy = torch.randn(1, 1, 4, 4, 6)
    picture = trainee.pictures(noisy, torch.tensor([0.7]), ids, torch.tensor([place]))
    prompt = trainee.transformer.project_prompt(encode_ids(trainee.encoder, ids))
    alone = trainee.transformer(noisy, torch.full((1, 1), 700.0), prompt, OneFrame(place))
    assert torch.allclose(picture, alone, atol=1e-5)


class OneFrame:
    """The context of a frame that stands alone at a place of the first chunk."""

    observes = False

    def __init__(self, place: int) -> None:
        self.positions = [CONTEXT + place]

    def gather(self, layer, query, key, value):
        key = rotate(key, rotary_table(tuple(self.positions), GRID, key.shape[-1], key.device))
        return key.flatten(1, 2), value.flatten(1, 2)

    def observe(self, layer, prompt_query):
        pass


def check_slots(row: np.ndarray, chunk: int) -> None:
    present = row[row >= 0]
    assert (present < CHUNK * chunk).all()
    assert len(set(present.tolist())) == len(present)
    bank = row[SINK : SINK + BANK]
    assert (bank[bank >= 0] % CHUNK == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_streaming_slots_hold_only_the_past_and_no_frame_twice(kind):
    for seed in range(20):
        contexts = StoryContexts(sample_story(seed, kind))
        for chunk, row in enumerate(contexts.streaming(np.random.default_rng(seed))):
            check_slots(row, chunk)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recall_context_shows_every_puppet_that_comes_into_view(kind):
    recalled = entering = 0
    for seed in range(20):
        rng, contexts = np.random.default_rng(seed), StoryContexts(sample_story(seed, kind))
        streaming = contexts.streaming(rng)
        for chunk in contexts.draw_recall_chunks(rng, 6):
            slots = contexts.recall(chunk, streaming[chunk], rng)
            if slots is None:
                continue
            recalled += 1
            check_slots(slots, chunk)
            bank, window = (kept[kept >= 0] // CHUNK for kept in (slots[SINK : SINK + BANK], slots[SINK + BANK :]))
            for puppet in np.flatnonzero(contexts.glimpsed[:, chunk]):
                assert contexts.shows[puppet, bank].any() or contexts.glimpsed[puppet, window].any()
                entering += not contexts.glimpsed[puppet, window].any()
    assert recalled > 20
    assert entering > 10


def test_a_puppet_is_glimpsed_before_its_middle_is_in_view():
    story = Story(0, "free", (Puppet("fox", "red"),), (Beat(3, "meadow", 0, {0: Act("enter", "left")}),))
    contexts = StoryContexts(story)
    assert contexts.glimpsed.tolist() == [[True, True, True]]
    assert contexts.shows.tolist() == [[False, False, True]]


def test_chunks_that_see_what_no_film_shows_are_avoided():
    story = sample_story(5, "comings and goings")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        beats, unlike_film = recached_beats(story, rng)
        for beat, start in enumerate(story.beat_starts[1:], start=1):
            if start == 1:
                continue  # the sink is never committed again
            recached = beats[start - 1] == beat
            assert (start - 1 in unlike_film) if recached else {start, start + 1} - {story.num_chunks} <= unlike_film
        assert beats[0] == 0
        contexts = StoryContexts(story)
        few = set(range(story.num_chunks)) - unlike_film
        assert set(contexts.draw_streaming_chunks(rng, min(8, len(few)), unlike_film)) <= few


def test_cells_where_a_puppet_was_count_as_those_where_it_is():
    mask = torch.zeros(2, 3, 1, 4)
    mask[0, ..., 0], mask[1, ..., 2] = 1, 1
    pasted = torch.zeros_like(mask)
    pasted[0, ..., 3] = 1
    slots = torch.full((3, CONTEXT), -1)
    slots[2, :SINK] = torch.arange(SINK)
    batch = StoryBatch(
        rows=[0],
        clean=torch.zeros(2, 3, 1, 1, 4),
        mask=mask,
        shown_mask=torch.maximum(mask, pasted),
        spoilt={},
        target=torch.tensor([1]),
        streaming=torch.tensor([True]),
        emphasis=torch.ones(1),
        details=torch.zeros(1, 3, 1, 4),
        given=torch.tensor([], dtype=torch.long),
        ids=torch.zeros(1, 1, dtype=torch.long),
        caption=torch.zeros(3, dtype=torch.long),
        context=Context(slots.clamp_min(0), slots >= 0),
    )
    assert where_puppets_may_be(batch)[0, 0].tolist() == [[1, 0, 1, 1]]
