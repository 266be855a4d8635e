"""What lives in painted films: by the clock alone, the same in whatever portions a film comes; and what training teaches it."""

import json

import numpy as np
import pytest
import torch

from memflow_cli.errors import ModelError
from memflow_cli.film.shooting import make_film
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.autoencoder import WEIGHTS_NAME
from memflow_cli.models.theatre.fused_painter import FusedPainter
from memflow_cli.models.theatre.life import BREATH, WIND, Life, LifeConfig, beside, clock_at, displace, runs
from memflow_cli.models.theatre.painter import PainterConfig
from memflow_cli.models.theatre.painting import PaintingDecoder
from memflow_cli.models.theatre.scenery import GATHERED
from test_painter import TINY, tiny_autoencoder, tiny_painter
from test_resume import Killed, stop_after
from tiny_files import save_json, save_tiny_model
from tiny_model import story
from training.life import sway_of, what_lives
from training.world import HEIGHT, WIDTH, sample_story, stage

SMALL = LifeConfig(cell_width=16, place_width=8, hidden=8, places=4, cell=8)
COLUMNS = 28


def lively(config: LifeConfig = SMALL) -> Life:
    """Moves a few pixels everywhere, and has eyes everywhere."""
    torch.manual_seed(5)
    life = Life(config)
    for name, parameter in life.named_parameters():
        torch.nn.init.normal_(parameter, std=0.5 if name.startswith("reach") else 0.3)
    return life.eval().requires_grad_(False)


@pytest.fixture
def latents():
    return torch.randn(9, 24, 4, 6, generator=torch.Generator().manual_seed(4))


@pytest.fixture(params=["fused", "plain"])
def decoder(request):
    autoencoder, painter = tiny_autoencoder(4), tiny_painter()
    fused = FusedPainter(autoencoder, painter) if request.param == "fused" else None
    return PaintingDecoder(autoencoder, painter, fused, lively())


def decode(decoder: PaintingDecoder, latents: torch.Tensor, portions) -> torch.Tensor:
    decoder.reset()
    return torch.cat([decoder.decode(part) for part in latents.split(portions)])


def clocks(seconds: int, name: str) -> torch.Tensor:
    """[frames, columns]."""
    return torch.cat([getattr(clock_at(latent, 4, COLUMNS), name) for latent in range(4 * seconds)])


@pytest.mark.parametrize("name", ["breath", "wind"])
def test_breath_and_wind_never_jump(name):
    phase = clocks(45, name)  # of either, whole turns
    assert phase.min() < -0.99 and phase.max() > 0.99
    assert phase.diff(dim=0).abs().max() < 0.2 and phase.diff(dim=1).abs().max() < 0.4
    assert phase.mean(0).abs().max() < 0.05


def test_everybody_blinks_and_briefly_and_not_all_at_once():
    lids = clocks(60, "lids")
    closed = lids > 0
    assert 0.02 < closed.float().mean() < 0.1
    assert all(closed[:, column].any() for column in range(COLUMNS))
    assert (closed[:, 0] != closed[:, -1]).any() and (closed[:, 0] != closed[:, COLUMNS // 2]).any()
    longest = max(run.stop - run.start for column in (0, COLUMNS // 2, COLUMNS - 1) for run in runs(closed[:, column]))
    assert longest <= 4


def test_what_moves_by_whole_pixels_is_the_same_elsewhere_and_the_rest_is_untouched():
    frames = torch.randint(0, 256, (2, 64, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    by = torch.zeros(2, 2, 16, 28)
    by[:, 0, 4:10, 5:12], by[:, 1, 4:10, 5:12] = 2, -1
    shown = frames.clone()
    displace(shown, by)
    assert torch.equal(shown[:, 22:34, 26:42], frames[:, 23:35, 24:40])
    assert torch.equal(shown[:, :, 60:], frames[:, :, 60:]) and torch.equal(shown[:, 48:], frames[:, 48:])


def test_what_does_not_move_is_bit_for_bit_what_was_painted():
    frames = torch.randint(0, 256, (4, 64, 112, 3), dtype=torch.uint8)
    shown = frames.clone()
    displace(shown, torch.full((4, 2, 16, 28), 0.01))
    assert torch.equal(shown, frames)


@pytest.mark.parametrize("portions", [1, 3, [2, 5, 2]])
def test_streamed_equals_whole(decoder, latents, portions):
    assert torch.equal(decode(decoder, latents, portions), decode(decoder, latents, 9))


def test_begun_in_mid_film_it_is_the_same_if_it_is_told_where(decoder):
    latents = torch.randn(40, 24, 4, 6, generator=torch.Generator().manual_seed(4))
    whole = decode(decoder, latents, 3)
    assert decoder.past == TINY.past + GATHERED, "the scene is gathered from so many"
    first = 38 - decoder.past
    for told, same in ((first, True), (0, False)):
        decoder.go_on_at(told)
        decoder.decode(latents[first:38])
        assert torch.equal(decoder.decode(latents[38:]), whole[4 * 38 :]) == same


def test_it_moves_and_blinks(decoder, latents):
    """The same latent frame over and over is no still picture."""
    frames = decode(decoder, latents[:1].expand(20, -1, -1, -1), 20)
    assert frames.dtype == torch.uint8 and (frames.int().diff(dim=0).abs().amax((1, 2, 3)) > 1).all()


def test_fused_it_is_the_same(latents):
    autoencoder, painter, life = tiny_autoencoder(4), tiny_painter(), lively()
    plain, fused = (
        decode(PaintingDecoder(autoencoder, painter, twin, life), latents, 9)
        for twin in (None, FusedPainter(autoencoder, painter))
    )
    assert (plain.int() - fused.int()).abs().max() <= 4, "rounded at other places"


def test_untrained_it_changes_next_to_nothing(latents):
    autoencoder, painter = tiny_autoencoder(4), tiny_painter()
    still, untrained = (
        decode(PaintingDecoder(autoencoder, painter, None, life), latents, 9) for life in (None, Life(SMALL).eval())
    )
    assert (still * 255 - untrained.float()).abs().max() < 3


def test_a_lid_has_the_colour_of_what_is_around_the_eye():
    pixels, lids = torch.full((1, 3, 40, 40), 0.8), torch.zeros(1, 1, 40, 40)
    lids[..., 14:24, 16:23] = 1
    pixels[..., 14:24, 16:23] = 0.1
    assert torch.allclose(beside(pixels, 1 - lids, 4)[..., 14:24, 16:23], torch.tensor(0.8), atol=1e-5)


def test_nan_is_not_moved_away(latents):
    autoencoder, painter = tiny_autoencoder(4), tiny_painter()
    painter.leave.bias[3] = float("nan")
    decoder = PaintingDecoder(autoencoder, painter, FusedPainter(autoencoder, painter), lively())
    assert decode(decoder, latents, 9).isnan().any()


def test_saved_and_loaded_it_lives_the_same(tmp_path):
    life = lively()
    life.save_pretrained(tmp_path)
    loaded = Life.from_pretrained(tmp_path)
    assert loaded.config == life.config
    for name, tensor in life.state_dict().items():
        assert torch.allclose(tensor, loaded.state_dict()[name], atol=1e-3), name


@pytest.fixture
def folder(tmp_path):
    """As theatre: painted films, which live."""
    folder = save_tiny_model(tmp_path / "tiny")
    config = PainterConfig(width=128, height=64, past=2, latent_channels=8, widths=(16, 12, 8, 8), blocks=(1, 1, 1, 1))
    tiny_painter(config).save_pretrained(folder / "vae" / "painter")
    lively(LifeConfig(cell_width=16, place_width=8, hidden=8)).save_pretrained(folder / "vae" / "life")
    about = {"width": 128, "height": 64, "positions": "relative", "sizes": ["128x64", "64x32"]}
    save_json(folder / "model_index.json", {"memflow": about})
    return folder


def test_a_model_with_life_in_its_folder_has_it_in_its_painted_films_only(folder):
    latents = torch.randn(2, 8, 2, 4, generator=torch.Generator().manual_seed(4))
    lives = load_model(find_model(folder))
    (folder / "vae" / "life" / "config.json").unlink()
    with pytest.raises(ModelError, match="life"):
        load_model(find_model(folder))
    for path in (folder / "vae" / "life").iterdir():
        path.unlink()
    (folder / "vae" / "life").rmdir()
    still = load_model(find_model(folder))
    sizes = ((128, 64), (64, 32))
    moved, same = [
        torch.equal(*(model.decoder_at(*size).decode(latents) for model in (lives, still))) for size in sizes
    ]
    assert not moved and same


@pytest.mark.parametrize("chunks", [2, 7])
def test_an_interrupted_film_goes_on_living_where_it_was(folder, tmp_path, chunks):
    entry = find_model(folder)
    backbone, told = load_model(entry), story("a fox", "an empty wood", "the fox again", seconds=2.25)
    whole = make_film(told, entry, backbone, tmp_path / "whole.mp4").path.read_bytes()
    with pytest.raises(Killed):
        make_film(told, entry, backbone, tmp_path / "again.mp4", events=stop_after(chunks))
    assert make_film(told, entry, backbone, tmp_path / "again.mp4").path.read_bytes() == whole


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": 10**9},
        {"hidden": "many"},
        {"cell_width": 12},
        {"frames": 3},
        {"places": 4},
        {"strange": 1},
        "nan",
        "lost",
    ],
)
def test_life_that_is_not_this_painters_is_a_sentence(folder, wrong):
    life = folder / "vae" / "life"
    if wrong == "lost":
        (life / WEIGHTS_NAME).unlink()
    elif wrong == "nan":
        broken = lively(LifeConfig(cell_width=16, place_width=8, hidden=8))
        broken.reach[0].bias[0] = float("nan")
        broken.save_pretrained(life)
    else:
        described = json.loads((life / "config.json").read_text()) | wrong
        (life / "config.json").write_text(json.dumps(described))
        if "cell_width" in wrong or "places" in wrong:
            known = {name: value for name, value in described.items() if name != "_class_name"}
            lively(LifeConfig(**known)).save_pretrained(life)
    with pytest.raises(ModelError, match="life"):
        load_model(find_model(folder))


# What training teaches


def test_puppets_breathe_from_their_feet_up_and_what_is_behind_them_does_not_sway():
    story = sample_story(5, "acting")
    seen = 0
    for latent in range(0, 3 * story.num_chunks, 5):
        reach, covered, lids, puppets = what_lives(story, latent)
        assert lids.shape == puppets.shape == (4, 2 * HEIGHT, 2 * WIDTH) and lids.max() <= 1
        assert (reach[:, BREATH][~covered] == 0).all() and (reach[:, WIND][covered] == 0).all()
        for frame in np.flatnonzero(covered.any((1, 2))):
            column = reach[frame, BREATH].max(1)
            rows = np.flatnonzero(column)
            assert (np.diff(column[rows[0] : rows[-1] + 1]) <= 1e-6).all() or len(story.puppets) > 1
            assert 1 < column.max() < 6
            seen += 1
    assert seen > 10


def test_eyes_are_where_puppets_are():
    story = sample_story(5, "one puppet")
    visible = stage(story)[0].visible()[::4]
    for latent in np.flatnonzero(visible)[2:40:6]:
        _, covered, lids, _ = what_lives(story, int(latent))
        blocks = lids.reshape(4, 16, 16, 28, 16).max((2, 4)) > 0.5
        assert not (blocks & ~covered).any()
        assert 30 < (lids[0] > 0.5).sum() < 500


@pytest.mark.parametrize(
    "setting, sways", [("forest", True), ("meadow", True), ("snow", True), ("beach", True), ("city", False)]
)
def test_trees_clouds_and_boats_sway(setting, sways):
    for index in range(3):
        reach = sway_of(setting, index)
        assert (reach.max() > 1) == sways and (reach[-4:] == 0).all(), "the ground stands still"
