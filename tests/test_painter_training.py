"""How the painter is trained: the world at twice the size, pairs as a film would draw them, a loss that falls."""

import numpy as np
import pytest
import torch

from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.life import Life, LifeConfig
from memflow_cli.models.theatre.painter import Painter, PainterConfig
from memflow_cli.models.wan.config import WanConfig
from training.contexts import StoryContexts
from training.drawing import render
from training.life import lessons, losses
from training.optimizer import MuonAdamW
from training.painter import CELL, WINDOW, PainterLearner, Samples, averaged, is_held_out_row
from training.pairs import DRAWN_CHUNKS, StoryWalk, make_pair, pair_story
from training.teacher_forcing import CHUNK, Context, Trainee
from training.text import TEXT_LENGTH, build_encoder
from training.world import sample_story

TINY = PainterConfig(widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), past=2)


def test_the_world_is_the_same_at_twice_the_size():
    story = sample_story(3)
    small, covered = render(story, 9, 2)
    large, covered_large = render(story, 9, 2, scale=2)
    assert large.shape == (8, 256, 448, 3) and covered_large.shape == (8, 256, 448)
    averaged_down = large.reshape(8, 128, 2, 224, 2, 3).mean((2, 4))
    assert np.abs(averaged_down - small).mean() < 1
    assert abs(covered_large.mean() - covered.mean()) < 0.01


@pytest.fixture(scope="module")
def autoencoder() -> PatchAutoencoder:
    from memflow_cli.models.catalog import THEATRE_FOLDER

    return PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")


@torch.no_grad()
def test_a_walk_whose_past_is_run_once_draws_what_training_draws():
    """The slow twin is `Trainee.stories`, which runs the clean chunks in every step."""
    torch.manual_seed(0)
    sizes = {"dim": 24, "ffn_dim": 32, "freq_dim": 16, "num_heads": 2, "num_layers": 2, "patch_size": (1, 2, 2)}
    model = Trainee(WanConfig(**sizes, text_dim=128, text_len=TEXT_LENGTH, in_dim=8, out_dim=8), build_encoder(50))
    for parameter in model.transformer.parameters():
        parameter.normal_(0, 0.2)
    story = sample_story(5)
    shown, noisy = torch.randn(2, story.num_chunks, CHUNK, 8, 4, 4)
    slots = torch.from_numpy(StoryContexts(story).streaming(np.random.default_rng(1)))
    ids = torch.randint(1, 50, (len(story.beats), TEXT_LENGTH))
    caption = torch.tensor([story.beat_of_chunks()] * 2)
    drawn = StoryWalk(model.eval(), shown, slots, ids, caption).predict(noisy, 0.6)
    twice = slots.repeat(2, 1)
    context = Context(twice.clamp_min(0), twice >= 0)
    sigma = torch.full((story.num_chunks,), 0.6)
    assert torch.allclose(drawn, model.stories(shown, noisy, sigma, ids, caption.flatten(), context), atol=1e-5)
    some = StoryWalk(model, shown, slots, ids, caption, [7, 3]).predict(noisy[[7, 3]], 0.6)
    assert torch.allclose(some, drawn[[7, 3]], atol=1e-5)


def fake_draw(story, shown, rng, chosen):
    return shown[[max(chunk - 1, 0) for chunk in chosen]] + 0.2 * torch.randn(len(chosen), *shown.shape[1:])


@pytest.fixture(scope="module")
def work(autoencoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "pairs").mkdir()
    for row in (0, 14):
        np.savez(folder / "pairs" / f"{row}.npz", **make_pair(row, fake_draw, autoencoder))
    return folder


def test_a_pair_holds_the_truth_and_what_is_drawn_of_it(work):
    with np.load(work / "pairs" / "0.npz") as pair:
        true, shown, drawn = pair["true"].astype(np.float32), pair["shown"].astype(np.float32), pair["drawn"]
    assert true.shape == shown.shape == (66, 192, 8, 14) and drawn.shape == (66,)
    assert np.array_equal(shown[~drawn], true[~drawn])
    chunks = np.flatnonzero(drawn[::CHUNK])
    assert drawn.sum() == 2 * DRAWN_CHUNKS * CHUNK and (np.diff(chunks)[::2] == 1).all()
    true, shown = (latents.reshape(22, CHUNK, 192, 8, 14) for latents in (true, shown))
    for first in chunks[::2]:
        for before, after in ((true[max(first - 1, 0)], shown[first]), (shown[first], shown[first + 1])):
            assert np.square(after - before).mean() == pytest.approx(0.04, rel=0.1), "each after the one before"
    assert pair_story(2).kind == "comings and goings"


def test_samples_are_windows_of_the_truth_and_never_of_held_out_stories(work, autoencoder):
    samples = Samples(work / "pairs", autoencoder, past=2, rng=np.random.default_rng(0))
    assert is_held_out_row(14)
    with np.load(work / "pairs" / "0.npz") as pair:
        known = torch.from_numpy(pair["true"]).float()
    assert all((latents == known).flatten(1).all(1).any() for latents in samples.latents(12).true), "those of row 0"
    for sample in samples.batch(6):
        (top, left), (rows, columns) = sample.corner, WINDOW
        assert sample.shown.looked_at.shape == (3, 192, 8, 14) and sample.pixels.shape == (
            12,
            rows * CELL,
            columns * CELL,
        )
        frame = torch.from_numpy(sample.shown.frames[0]).permute(2, 0, 1).float() / 127.5 - 1
        window = frame[:, CELL * top : CELL * (top + rows), CELL * left : CELL * (left + columns)]
        assert torch.equal(sample.pixels[:3], window)
        assert sample.shown.trust.min() > 0 and sample.shown.trust.max() <= 1


def test_training_goes_on_where_it_stopped(work, autoencoder, tmp_path):
    samples = Samples(work / "pairs", autoencoder, past=2, rng=np.random.default_rng(0))
    batch = samples.batch(2)
    learner = PainterLearner(Painter(TINY), seconds=100)
    losses = [learner.step(autoencoder, batch)[0] for _ in range(8)]
    assert losses[-1] < losses[0]
    learner.save(tmp_path / "painter.pt")
    other = PainterLearner(Painter(TINY), seconds=100)
    other.load(tmp_path / "painter.pt")
    assert other.steps == 8 and other.step(autoencoder, batch)[0] == learner.step(autoencoder, batch)[0]
    assert isinstance(averaged(tmp_path / "painter.pt", TINY), Painter)


def test_what_lives_is_learned_and_the_painter_is_left_alone(work, autoencoder):
    painter = Painter(TINY).eval().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in painter.state_dict().items()}
    known = lessons(work / "pairs", 4, TINY.past)
    assert known[0].looked_at.shape == (3, 192, 8, 14) and known[0].reach.shape == (4, 2, 16, 28)
    life = Life(LifeConfig(TINY.widths[0], TINY.widths[-1], hidden=16))
    optimizer = torch.optim.AdamW(life.parameters(), lr=3e-3)
    told = []
    for _ in range(40):
        parts = losses(life, painter, autoencoder, known, np.random.default_rng(2))
        told.append([part.item() for part in parts])
        sum(parts).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(after < first for first, after in zip(told[0], told[-1], strict=True)), told
    assert all(torch.equal(tensor, before[name]) for name, tensor in painter.state_dict().items())


def test_a_convolution_is_a_matrix_to_muon():
    """As the same numbers in two dimensions would be moved."""
    torch.manual_seed(1)
    flat = torch.nn.Parameter(torch.randn(6, 36))
    folded = torch.nn.Parameter(flat.detach().clone().view(6, 4, 3, 3))
    for parameter in (flat, folded):
        other = torch.nn.Parameter(torch.zeros(1))
        optimizer = MuonAdamW([parameter], [other], 0.1, 0.1)
        other.grad = torch.zeros(1)
        parameter.grad = torch.linspace(-1, 1, 216).view(parameter.shape)
        optimizer.step(1.0)
    assert torch.allclose(flat.detach(), folded.detach().flatten(1))
