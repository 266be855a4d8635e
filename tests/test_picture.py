"""`image:` - a film starts from a given picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import toy_backbone
from memflow_cli.cli.app import run
from memflow_cli.errors import UsageError
from memflow_cli.film.recipe import make_recipe
from memflow_cli.film.shooting import make_film
from memflow_cli.film.video_reader import read_frame
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.story.picture import load_picture
from memflow_cli.story.plan import plan_film
from tiny_files import save_model
from tiny_model import story


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "start.png"
    Image.new("RGB", (300, 100), (200, 30, 60)).save(path)
    return path


def starting_from(path, *prompts: str):
    board = story(*(prompts or ("a red fox", "the snow")), seconds=1.5, width=64, height=32)
    first = replace(board.segments[0], image=str(path))
    return replace(board, segments=(first, *board.segments[1:]))


def test_the_picture_is_scaled_to_cover_and_cropped_evenly(tmp_path):
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    square = load_picture(tmp_path / "wide.png", 64, 64)
    assert square.shape == (64, 64, 3) and square.dtype == np.uint8 and (square > 240).all()
    tall = load_picture(tmp_path / "wide.png", 32, 128)
    assert tall.shape == (128, 32, 3) and (tall > 240).all()


def test_transparent_and_turned_pictures(tmp_path):
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (load_picture(tmp_path / "clear.png", 16, 16) == 255).all()
    turned = Image.new("RGB", (64, 32), (255, 0, 0))
    turned.paste((0, 0, 255), (32, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = load_picture(tmp_path / "turned.jpg", 32, 64)
    assert upright[8, 16, 0] > 200 and upright[56, 16, 2] > 200


def test_a_missing_or_broken_picture_is_a_sentence_and_nothing_is_left(folder, picture, tmp_path):
    entry = find_model(folder)
    backbone = load_model(entry)
    content = picture.read_bytes()
    cases = {"no.png": None, "text.png": b"hello", "cut.png": content[: len(content) // 2], "empty.jpg": b""}
    out = tmp_path / "films"
    out.mkdir()
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match=name) as caught:
            make_film(starting_from(tmp_path / name), entry, backbone, out / "film.mp4")
        assert caught.value.exit_code == 2
    assert list(out.iterdir()) == []


def test_the_first_chunk_is_the_picture_and_the_rest_follows_from_it(folder, picture, tmp_path):
    entry = find_model(folder)
    backbone = load_model(entry)
    seen = []

    def listening(run):
        return lambda latents, timestep, *a, **o: seen.append(timestep) or run(latents, timestep, *a, **o)

    backbone.predict, backbone.stage = listening(backbone.predict), listening(backbone.stage)
    result = make_film(starting_from(picture), entry, backbone, tmp_path / "film.mp4", keep_run=True)
    assert seen[0] == 0.0 and seen[1] > 900, "the picture is committed, not denoised; then the next chunk begins"
    given = backbone.encode_frames(torch.from_numpy(load_picture(picture, 64, 32).copy()).expand(9, -1, -1, -1) / 255)
    expected = (backbone.decoder().decode(given)[0].clamp(0, 1) * 255).round().numpy()
    assert np.abs(read_frame(tmp_path / "film.mp4", 0).astype(float) - expected).mean() < 12, "H.264 is lossy"
    without = make_film(story("a red fox", "the snow", width=64, height=32), entry, backbone, tmp_path / "other.mp4")
    assert result.plan.num_frames == without.plan.num_frames
    difference = read_frame(tmp_path / "film.mp4", 20).astype(float) - read_frame(tmp_path / "other.mp4", 20)
    assert np.abs(difference).max() > 2, "what follows knows the picture"


def test_on_the_command_line_its_path_counts_from_the_storyboard(folder, picture, tmp_path, monkeypatch, capfd):
    films = tmp_path / "films"
    films.mkdir()
    monkeypatch.chdir(films)
    story_file = tmp_path / "story.yaml"
    segment = "{prompt: a red fox, duration: 1.5s, image: start.png}"
    story_file.write_text(f"model: {folder}\nsize: 32x64\nseed: 1\nsegments: [{segment}]\n")
    assert run(["generate", str(story_file)]) == 0, capfd.readouterr().err
    assert read_frame(films / "story.mp4", 0).shape == (64, 32, 3)
    picture.write_bytes(b"no picture")
    assert run(["generate", str(story_file), "-y"]) == 2
    err = capfd.readouterr().err
    assert str(picture) in err and "Traceback" not in err
    assert len(list(films.iterdir())) == 3, "the film that was there stays, with its record and trace"


def test_another_picture_under_the_same_name_makes_another_film(folder, picture):
    entry = find_model(folder)
    before = make_recipe(starting_from(picture), entry)[1]
    assert before == make_recipe(starting_from(picture), entry)[1]
    Image.new("RGB", (30, 30), "green").save(picture)
    assert make_recipe(starting_from(picture), entry)[1].unchanged_segments(before) == 0
    assert plan_film(starting_from(picture), entry.geometry).num_chunks == 4


def test_a_model_that_cannot_encode_says_so(picture, tmp_path):
    entry = toy_backbone.model()
    with pytest.raises(UsageError, match="cannot start from a picture"):
        make_film(starting_from(picture), entry, load_model(entry), tmp_path / "film.mp4")
