"""A film that is shortened has the very frames of the film that it was cut from."""

import json

import av
import numpy as np
import pytest

from memflow_cli.cli.app import run
from memflow_cli.film.video_reader import read_metadata
from test_film_tracks import write_tone

STORY = """\
title: Fox
model: {model}
seed: 7
captions: true
segments:
- {{prompt: a red fox, duration: 1.5s}}
- {{prompt: the snow, duration: 0.75s, title: Winter}}
- {{prompt: the fox again, duration: 1.5s, transition: cut}}
- {{prompt: a blue fox, duration: 0.75s}}
"""


def frames(path):
    """All frames of a film, decoded: [F, height, width, 3]."""
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def film(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("cut")
    (folder / "story.yaml").write_text(STORY.format(model=tiny_model_folder))
    assert run(["generate", str(folder / "story.yaml"), "-o", str(folder / "film.mp4"), "--keep", "no"]) == 0
    return folder / "film.mp4"


@pytest.mark.parametrize(("first", "last"), [(1, 4), (1, 2), (2, 3), (4, 4)])
def test_a_shorter_film_has_the_frames_of_its_segments(film, tmp_path, first, last, capfd):
    before = film.read_bytes()
    shorter = tmp_path / "shorter.mp4"
    assert run(["cut", str(film), "--from", str(first), "--to", str(last), "-o", str(shorter)]) == 0
    said = capfd.readouterr()
    assert said.out.strip() == str(shorter) and "no record" in said.err
    recipe = json.loads(film.with_suffix(".json").read_text())["recipe"]
    chunks = [segment["num_chunks"] for segment in recipe["segments"]]
    whole = frames(film)
    per_chunk = len(whole) // sum(chunks)
    start, end = per_chunk * sum(chunks[: first - 1]), per_chunk * sum(chunks[:last])
    assert (frames(shorter) == whole[start:end]).all() and len(frames(shorter)) == end - start
    assert film.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shorter.mp4"]


def test_the_file_says_what_it_is(film, tmp_path):
    shorter = tmp_path / "shorter.mp4"
    assert run(["cut", str(film), "--from", "2", "--to", "3", "-o", str(shorter)]) == 0
    with av.open(shorter) as container:
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["Winter", "the fox again"]
        assert container.chapters()[0]["start"] == 0
        assert len(container.streams.subtitles) == 1
        assert container.streams.video[0].start_time == 0
    about = json.loads(read_metadata(shorter)["comment"])
    assert about["cut_from"]["film"] == "film.mp4" and about["cut_from"]["segments"] == [2, 3]


def test_sound_comes_along(tmp_path, tiny_model_folder):
    write_tone(tmp_path / "tone.wav", 10)
    (tmp_path / "story.yaml").write_text("sound: tone.wav\n" + STORY.format(model=tiny_model_folder))
    assert run(["generate", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "film.mp4")]) == 0
    assert run(["cut", str(tmp_path / "film.mp4"), "--from", "2", "-o", str(tmp_path / "shorter.mp4")]) == 0
    with av.open(tmp_path / "shorter.mp4") as container:
        sound, picture = container.streams.audio[0], container.streams.video[0]
        seconds = float(picture.duration * picture.time_base)
        assert abs(float(sound.duration * sound.time_base) - seconds) < 0.05


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["film.mp4", "--from", "3", "--to", "2"], "behind the last"),
        (["film.mp4", "--to", "5"], "segments 1 to 4"),
        (["film.mp4", "-o", "film.mp4"], "exists already"),
        (["film.mp4", "-o", "shorter.avi"], ".mp4"),
        (["none.mp4"], "no such film"),
        (["story.mp4"], "story.json"),
    ],
)
def test_wrong_input_is_a_sentence(film, monkeypatch, capfd, arguments, says):
    monkeypatch.chdir(film.parent)
    (film.parent / "story.mp4").write_bytes(b"no film of ours")
    assert run(["cut", *arguments]) == 2
    assert says in capfd.readouterr().err


@pytest.mark.parametrize(
    ("codec", "settings", "says"),
    [("mpeg4", {}, "encoded anew, as mpeg4"), ("libx264", {"g": "12", "bf": "2"}, "out of their order")],
)
def test_a_film_that_was_encoded_anew_is_not_cut(film, tmp_path, codec, settings, says, capfd):
    """Its frames came out in another order; and where no decoder was there, the reader's error was called a bug."""
    again = tmp_path / "again.mp4"
    again.with_suffix(".json").write_bytes(film.with_suffix(".json").read_bytes())
    with av.open(again, "w") as container:
        stream = container.add_stream(codec, rate=16, options=settings)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(len(frames(film))):
            shade = np.full((64, 64, 3), number * 5 % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    assert run(["cut", str(again), "--to", "2", "-o", str(tmp_path / "shorter.mp4")]) == 1
    assert says in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.json", "again.mp4"]
