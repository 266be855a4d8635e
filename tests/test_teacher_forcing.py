"""Training sees what the product shows: teacher forcing in parallel equals streaming with the key-value cache."""

import numpy as np
import pytest
import torch

from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.wan.attention import rotary_table, rotate
from memflow_cli.wan.config import WanConfig
from training.contexts import StoryContexts
from training.data import puppet_places
from training.teacher_forcing import BANK, CHUNK, CONTEXT, SINK, WINDOW, Context, Trainee
from training.text import build_encoder, encode_ids
from training.world import KINDS, sample_story

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
def test_in_recall_slots_only_the_bank_shows_the_puppets(kind):
    recalled = 0
    for seed in range(20):
        rng, contexts = np.random.default_rng(seed), StoryContexts(sample_story(seed, kind))
        in_view = ~np.isnan(puppet_places(contexts.story))
        streaming = contexts.streaming(rng)
        for chunk in contexts.draw_recall_chunks(rng, 6):
            slots = contexts.recall(chunk, streaming[chunk], rng)
            if slots is None:
                continue
            recalled += 1
            check_slots(slots, chunk)
            bank, window = slots[SINK : SINK + BANK] // CHUNK, slots[SINK + BANK :]
            for puppet in np.flatnonzero(in_view[:, chunk].any(-1)):
                assert in_view[puppet, bank[bank >= 0], 0].any()
                assert not in_view[puppet, window[window >= 0] // CHUNK].any()
    assert recalled > 20
