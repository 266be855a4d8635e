"""Training beyond teacher forcing: contexts with a film's mistakes in them, the model's own chunks, hard actions."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.wan.checkpoint import load_transformer
from training.batches import Stories, StoryBatch
from training.beats import Act, Beat
from training.contexts import StoryContexts, spoil
from training.data import GRID, STORY_CHUNKS, Latents, visibility
from training.drafts import EMPHASIS, emphasis_of
from training.export import pack
from training.learn import OWN_DEPTH, Learner, Options, theatre_config
from training.optimizer import orthogonalise
from training.plots import ACTIONS_ON_THE_SPOT
from training.precision import fast_products
from training.run import adopt, make_autoencoder, make_tokenizer
from training.text import TokenIds
from training.world import sample_story

CHANNELS = 192
TINY = {"dim": 48, "ffn_dim": 64, "num_heads": 2, "num_layers": 1}


def test_acting_stories_are_full_of_actions_and_mostly_have_a_cut():
    stories = [sample_story(seed, "acting") for seed in range(60)]
    acts = [act for story in stories for beat in story.beats for act in beat.acts.values()]
    assert sum(act.verb in ACTIONS_ON_THE_SPOT for act in acts) > 0.4 * len(acts)
    assert sum(any(beat.cut for beat in story.beats) for story in stories) > 30
    assert {story.num_chunks for story in stories} == {22}


def test_in_company_two_are_together_and_one_moves():
    together, beside = [], []
    for seed in range(60):
        story = sample_story(seed, "company")
        together.append(visibility(story).all(0).mean())
        for acts in (beat.acts.values() for beat in story.beats):
            if any(act.verb in ("enter", "leave", "walk") for act in acts):
                beside.append(any(act.verb == "stand" for act in acts))
        assert story.num_chunks == 22 and len(story.puppets) == 2 and not any(beat.cut for beat in story.beats)
    assert np.mean(together) > 0.35 and len(beside) > 120 and np.mean(beside) > 0.5


@pytest.mark.parametrize("has_bf16", (True, False))
def test_products_are_in_bf16_only_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch, has_bf16: bool):
    """On a CPU without bf16 instructions training and benchmarks were a hundred times slower than in fp32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16}, raising=False)
    matrix = torch.randn(8, 6)
    with fast_products(torch.device("cpu")):
        product = matrix @ matrix.mT
    expected = torch.bfloat16 if has_bf16 else torch.float32
    assert product.dtype == expected
    assert orthogonalise(matrix[None]).dtype == expected


def test_exported_weights_load_as_nearly_the_same(learner, tmp_path: Path):
    transformer = learner.model.transformer
    packed = pack(transformer.state_dict())
    matrices = [name for name in packed if name.startswith("blocks.") and packed[name].dtype == torch.int8]
    assert matrices and all(packed[name].abs().max() == 31 for name in matrices)
    save_file(packed, tmp_path / "model.safetensors")
    loaded = load_transformer(tmp_path, transformer.config).state_dict()
    for name, true in transformer.state_dict().items():
        assert (loaded[name] - true).norm() <= 0.05 * true.norm(), name


def test_a_spoilt_chunk_shows_the_puppets_of_another():
    clean = np.arange(4 * 3 * 2 * 1 * 4, dtype=np.float32).reshape(4, 3, 2, 1, 4)
    masks = np.zeros((4, 3, 1, 4), np.float32)
    masks[1, ..., 0], masks[3, ..., 2] = 1, 0.2  # chunk 1 has a puppet at the left, chunk 3 one at the right
    twice, elsewhere = (spoil(clean, masks, 1, 3, whole) for whole in (False, True))
    assert (twice[..., 2] == clean[3, ..., 2]).all() and (twice[..., 0] == clean[1, ..., 0]).all()
    assert (elsewhere[..., [0, 2]] == clean[3][..., [0, 2]]).all()
    for spoilt in (twice, elsewhere):
        assert (spoilt[..., [1, 3]] == clean[1][..., [1, 3]]).all()


def test_faults_come_from_the_same_scene():
    count = 0
    for seed in range(60):
        contexts = StoryContexts(story := sample_story(seed, "acting"))
        for chunk, other in contexts.spoilt(np.random.default_rng(seed)):
            count += 1
            beats = story.beat_of_chunks()
            assert story.beats[beats[chunk]].setting == story.beats[beats[other]].setting
            assert chunk != other
    assert count > 60


def test_small_and_quick_actions_weigh_more():
    assert (
        emphasis_of(Beat(3, "forest", 0, {0: Act("stand"), 1: Act("wave")})) == EMPHASIS["wave"] > EMPHASIS["walk"] > 1
    )
    assert emphasis_of(Beat(3, "forest", 0, {0: Act("jump")})) == 1


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(THEATRE_FOLDER / "tokenizer")


@pytest.fixture
def learner(tokenizer) -> Learner:
    options = Options(seconds=60, pictures=0, stories=1, own_context=1.0)
    return Learner(theatre_config(**TINY), len(tokenizer), torch.ones(CHANNELS), options)


@pytest.fixture(scope="module")
def stories(tokenizer) -> Stories:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(STORY_CHUNKS * 3, CHANNELS, *GRID)).astype(np.float16)
    rows = Stories.NUM_HELD_OUT + 2
    masks = np.zeros((rows, STORY_CHUNKS * 3, *GRID), bool)
    for frame in range(STORY_CHUNKS * 3):
        masks[:, frame, 3:6, frame // 3 % 11 : frame // 3 % 11 + 3] = True
    latents = Latents(np.broadcast_to(one, (rows, *one.shape)), masks)
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    return Stories([(latents, "acting")], TokenIds(tokenizer), STORY_CHUNKS, autoencoder)


def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    """But for a little noise; what a new model makes is nothing, and like nothing."""
    return bool(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.9)


def changed(batch: StoryBatch, shown: torch.Tensor) -> set[int]:
    """The chunks of which contexts show something else than the truth."""
    return {row for row, frames in enumerate(batch.clean) if not alike(shown[row], frames)}


def test_contexts_show_own_chunks(learner, stories):
    batch, shown = learner.draw_stories(stories)
    own = set(batch.target[batch.streaming].tolist())
    assert changed(batch, shown) - set(batch.spoilt) == own - set(batch.spoilt)
    assert len(batch.emphasis) == len(batch.target)


def test_own_chunks_are_made_from_own_chunks(learner, stories):
    drawn = [learner.draw_stories(stories) for _ in range(OWN_DEPTH)]
    assert all(batch.rows == drawn[0][0].rows for batch, _ in drawn)
    faults = set().union(*(batch.spoilt for batch, _ in drawn))
    made = [changed(batch, shown) - faults for batch, shown in drawn]
    assert all(earlier <= later for earlier, later in pairwise(made))
    assert made[0] < made[-1]
    batch, shown = learner.draw_stories(stories)
    own = set(batch.target[batch.streaming].tolist())
    assert changed(batch, shown) - set(batch.spoilt) == own - set(batch.spoilt), "after so many it begins anew"


def test_contexts_show_faults(learner, stories):
    learner.options = replace(learner.options, own_context=0.0)
    drawn = [learner.draw_stories(stories) for _ in range(20)]
    assert any(batch.spoilt for batch, _ in drawn)
    for batch, shown in drawn:
        assert all(alike(shown[row], frames) for row, frames in batch.spoilt.items())
        assert changed(batch, shown) <= set(batch.spoilt)
        for row, (true, seen) in enumerate(zip(batch.mask, batch.shown_mask, strict=True)):
            assert (seen >= true).all() and (row in batch.spoilt or torch.equal(seen, true))
    assert any(not torch.equal(batch.mask, batch.shown_mask) for batch, _ in drawn)


def test_training_goes_on_with_an_exported_model(tmp_path: Path):
    """Its weights are of its own latents and words, not of those that a new folder would find."""
    adopt(THEATRE_FOLDER, tmp_path)
    assert (
        make_tokenizer(tmp_path).get_vocab()
        == PreTrainedTokenizerFast.from_pretrained(THEATRE_FOLDER / "tokenizer").get_vocab()
    )
    shipped = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae").state_dict()
    adopted = make_autoencoder(tmp_path).state_dict()
    assert all(torch.equal(tensor, adopted[name]) for name, tensor in shipped.items())
    adopt(tmp_path / "another", tmp_path)  # what is there stays


def test_training_goes_on_from_its_checkpoint(learner, tokenizer, stories, tmp_path: Path):
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    learner.step(None, stories)
    learner.save(tmp_path / "stories.pt")
    after = learner.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    other = Learner(theatre_config(**TINY), len(tokenizer), torch.ones(CHANNELS), learner.options)
    other.load(tmp_path / "stories.pt")
    assert other.step_count == 1
    assert all(torch.equal(tensor, after[name]) for name, tensor in other.model.state_dict().items())
