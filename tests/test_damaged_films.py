"""Films whose file is damaged, or is none, are told as that; so is what live gets in place of lines."""

import io
import os
import shutil

import pytest

from memflow_cli.cli.app import run
from tiny_files import make_kept_film

STORY = """\
model: {model}
seed: 7
segments:
- {{prompt: a red fox, duration: 0.5s}}
- {{prompt: the snow, duration: 0.5s, transition: cut}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("made")
    make_kept_film(folder, STORY, tiny_model_folder)
    return folder


@pytest.fixture
def film(made, tmp_path):
    shutil.copytree(made, tmp_path / "films")
    return tmp_path / "films" / "film.mp4"


@pytest.mark.parametrize("kind", ["a beginning", "nothing", "a text", "noise"])
def test_a_cut_of_what_is_no_film_is_a_sentence_about_it(kind, film, capfd):
    """A film cut off after its first 40 bytes was "a bug in memflow", and a text told that its cut could not be written."""
    whole = film.read_bytes()
    film.write_bytes({"a beginning": whole[:40], "nothing": b"", "a text": b"Hello", "noise": os.urandom(999)}[kind])
    before = sorted(film.parent.iterdir())
    assert run(["cut", str(film), "--to", "1"]) == 1
    assert f"error: {film} cannot be read as a video: " in capfd.readouterr().err
    assert sorted(film.parent.iterdir()) == before


def test_a_cut_of_a_film_that_was_changed_says_so(film, capfd):
    """A damaged film gave a damaged cut without a word."""
    content = bytearray(film.read_bytes())
    content[len(content) // 2] ^= 255
    film.write_bytes(content)
    assert run(["cut", str(film), "--from", "1"]) == 0
    assert "not the film that its record tells of" in capfd.readouterr().err


def test_a_film_without_its_end_is_inspected_as_far_as_it_goes(film, capfd):
    """The page of a film whose last 100 bytes were missing was not written at all."""
    film.write_bytes(film.read_bytes()[:-100])
    assert run(["inspect-memory", str(film)]) == 2
    assert "pictures from there on are missing" in capfd.readouterr().err
    assert film.with_name("film.inspect").joinpath("index.html").is_file()


def test_a_damaged_take_keeps_nobody_from_another_one(film, capfd):
    """The new take was made, and then lost: the sheet of all could not be drawn, again and again."""
    assert run(["retake", str(film), "1", "--takes", "1"]) == 0
    first = film.parent / "film.takes" / "01" / "take-1.mp4"
    first.write_bytes(b"Hello")
    assert run(["retake", str(film), "1", "--takes", "1"]) == 0
    assert f"{first} cannot be read as a video" in capfd.readouterr().err
    assert sorted(path.name for path in first.parent.glob("*.mp4")) == ["take-1.mp4", "take-2.mp4"]
    assert not (first.parent / "unfinished").exists()


@pytest.mark.parametrize("stdin", [None, "x" * 300_000 + "\n"])
def test_live_without_lines_is_a_sentence(stdin, tiny_model_folder, tmp_path, monkeypatch, capfd):
    """A closed stdin was "a bug in memflow"; a line without an end was read until the memory was full."""
    monkeypatch.setattr("sys.stdin", stdin and io.StringIO(stdin))
    film = tmp_path / "film.mp4"
    assert run(["live", "--stdin", "-m", str(tiny_model_folder), "-o", str(film)]) == 2
    assert "nothing was played" in capfd.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_live_writes_its_storyboard_into_nothing_strange(kind, tmp_path, capfd):
    """A pipe in the storyboard's place was waited for, and a link replaced."""
    script = tmp_path / "film.yaml"
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to("nowhere"), "folder": os.mkdir}[kind](script)
    assert run(["live", "--stdin", "-o", str(tmp_path / "film.mp4")]) == 2
    assert str(script) in capfd.readouterr().err and os.listdir(tmp_path) == ["film.yaml"]


CUT, EXTEND = ["cut", "--to", "1"], ["extend", "--prompt", "a fox"]
OUTS = [
    (command, out) for command in (CUT, EXTEND) for out in ("no/a.mp4", f"{'x' * 245}.mp4", "folder.mp4", "mine.mp4")
]


@pytest.mark.parametrize(("command", "out"), [*OUTS, (EXTEND, "parts.mp4")])
def test_where_a_cut_or_longer_film_cannot_lie_is_told_first(command, out, film, tmp_path, capfd):
    """extend left a storyboard and a run folder beside a file of the user's own, and removed a folder of theirs."""
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "mine.json").write_text("mine")
    (tmp_path / "parts.mp4.copying").mkdir()
    (tmp_path / "parts.mp4.copying" / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert run([*command, str(film), "-o", str(tmp_path / out)]) == 2
    told = capfd.readouterr().err
    assert told.startswith("error: ") and "same command goes on" not in told and len(told) < 900
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "parts.mp4.copying" / "mine").read_text() == "mine"
