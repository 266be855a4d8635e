"""`image:` - a film starts from a given picture."""

import resource
import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import toy_backbone
from memflow_cli.cli.app import run
from memflow_cli.errors import UsageError
from memflow_cli.film.shooting import make_film
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.story.picture import load_picture
from memflow_cli.story.plan import plan_film
from mp4 import read_frame
from tiny_files import save_model
from tiny_model import recipe_of, story


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
    before = recipe_of(starting_from(picture), entry)
    assert before == recipe_of(starting_from(picture), entry)
    Image.new("RGB", (30, 30), "green").save(picture)
    assert recipe_of(starting_from(picture), entry).unchanged_segments(before) == 0
    assert plan_film(starting_from(picture), entry.geometry).num_chunks == 4


def test_a_model_that_cannot_encode_says_so(picture, tmp_path):
    entry = toy_backbone.model()
    with pytest.raises(UsageError, match="cannot start from a picture"):
        make_film(starting_from(picture), entry, load_model(entry), tmp_path / "film.mp4")


def ramp(bits: int = 8) -> np.ndarray:
    """[32, 64]: black above, white below."""
    return np.linspace(0, 2**bits - 1, 64 * 32).reshape(32, 64).astype(np.uint16 if bits > 8 else np.uint8)


def png(width: int, height: int, bits: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


SMALL_CHUNK = b"\0\0\0\1tEXtx" + struct.pack(">I", zlib.crc32(b"tEXtx"))


def deep_rows(*channels) -> bytes:
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack(channels, -1))


KINDS = {
    "grey": lambda path: Image.fromarray(ramp()).save(path),
    "16-bit grey": lambda path: Image.fromarray(ramp(16)).save(path),
    "16-bit colours": lambda path: path.write_bytes(png(64, 32, 16, 2, deep_rows(*[ramp(16)] * 3))),
    "16-bit grey, opaque": lambda path: path.write_bytes(
        png(64, 32, 16, 4, deep_rows(ramp(16), np.full((32, 64), 65535)))
    ),
    "one bit": lambda path: Image.fromarray(ramp() > 127).save(path),
    "palette": lambda path: Image.fromarray(ramp()).convert("P").save(path),
    "grey with alpha": lambda path: Image.fromarray(np.stack([ramp(), np.full((32, 64), 255, np.uint8)], -1)).save(
        path
    ),
    "CMYK": lambda path: Image.fromarray(np.stack([ramp()] * 3, -1)).convert("CMYK").save(path, "JPEG", quality=95),
    "grey JPEG": lambda path: Image.fromarray(ramp()).save(path, "JPEG", quality=95),
    "WebP": lambda path: Image.fromarray(np.stack([ramp()] * 3, -1)).save(path, "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_ramp_is_a_ramp_in_every_kind_of_file(tmp_path, kind):
    """A 16-bit grey picture came out white: its values were clipped at 255 instead of divided."""
    KINDS[kind](tmp_path / "ramp.png")
    found = load_picture(tmp_path / "ramp.png", 64, 32).astype(int)
    assert found.shape == (32, 64, 3)
    assert found[:4].mean() < 30 and found[-4:].mean() > 225
    assert 112 < found.mean() < 144
    assert np.ptp(found, axis=2).max() < 12, "grey stays grey"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
def test_a_picture_of_another_kind_is_not_called_broken(tmp_path, kind):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", kind)
    with pytest.raises(UsageError, match=r"a\.png is no PNG, JPEG or WebP$"):
        load_picture(tmp_path / "a.png", 64, 32)


def test_of_an_animation_the_first_picture_counts(tmp_path):
    frames = [Image.new("RGB", (64, 32), colour) for colour in ("red", "blue")]
    for name in ("a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert load_picture(tmp_path / name, 64, 32)[..., 0].min() > 240


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: png(1, 60_000_000, 1, 0, bytes(2000)), "too large"),
        (lambda: png(20_000, 20_000, 1, 0, bytes(2000)), "too large"),
        (lambda: png(2**31 - 1, 1, 8, 0, bytes(100)), "too large"),
        (lambda: png(8000, 1, 8, 0, bytes(8001)), "is a line"),
        (lambda: png(0, 0, 8, 0, b""), "not a picture"),
        (
            lambda: png(
                64, 32, 8, 0, bytes(65 * 32), (b"\0\0\0\1tEXtx" + struct.pack(">I", zlib.crc32(b"tEXtx"))) * 200_000
            ),
            "chunks",
        ),
    ],
)
def test_a_picture_made_to_fill_memory_or_time_is_refused_before_it_is_read(tmp_path, content, says):
    """A PNG of 117 KB, one pixel wide and 60,000,000 high, took 3.5 GB; one of two million chunks half a minute."""
    (tmp_path / "bomb.png").write_bytes(content())
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=says):
        load_picture(tmp_path / "bomb.png", 64, 32)
    assert time.process_time() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kilobytes"


def test_a_large_picture_is_shrunk_while_it_is_read(tmp_path):
    quarter = Image.new("RGB", (5000, 4000), (200, 30, 60))
    quarter.save(tmp_path / "large.jpg")
    assert np.abs(load_picture(tmp_path / "large.jpg", 64, 32).astype(int) - (200, 30, 60)).max() < 6
