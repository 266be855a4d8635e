"""What lies where takes, or the films of a pick, are to come: nothing of the user's is replaced, and it is told at once."""

import contextlib
import shutil

import pytest

from memflow_cli.cli.app import run
from memflow_cli.film.run_on_disk import take_run
from tiny_files import make_kept_film

STORY = """\
model: {model}
seed: 7
captions: true
segments:
- {{prompt: a red fox, duration: 0.5s, caption: Hush.}}
- {{prompt: the snow, duration: 0.5s, transition: cut}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("made")
    make_kept_film(folder, STORY, tiny_model_folder, "film")
    assert run(["retake", str(folder / "film.mp4"), "2", "--takes", "1"]) == 0
    return folder


@pytest.fixture
def film(made, tmp_path):
    shutil.copytree(made, tmp_path / "films")
    return tmp_path / "films" / "film.mp4"


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


NAMES = ["01/take-1.mp4", "02/take-2.mp4", "01/takes.json", "01/takes.jpg", "01/takes.html"]
WAYS = [(name, kind) for name in NAMES for kind in ("link", "file", "folder")] + [("01", "link"), ("01", "file")]


@pytest.mark.parametrize(("name", "kind"), WAYS)
def test_what_is_in_the_way_of_a_take_is_left_as_it_is(name, kind, film, tmp_path, capfd):
    """A symbolic link, or a file of the user's own, was replaced by the take, or written through by its sheet and page."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "mine").write_text("mine")
    way = film.parent / "film.takes" / name
    way.parent.mkdir(exist_ok=True)
    if kind == "link":
        way.symlink_to(precious if name == "01" else precious / "mine")
    elif kind == "file":
        way.write_text("mine")
    else:
        way.mkdir()
    before = everything(tmp_path)
    assert run(["retake", str(film), "1" if name.startswith("01") else "2", "--takes", "1"]) in (1, 2)
    told = capfd.readouterr()
    assert str(way) in told.err and "unexpected" not in told.err and not told.out
    assert everything(tmp_path) == before


def test_a_folder_of_takes_that_is_the_user_s_own_is_refused(film, capfd):
    """Somebody's recordings in film.takes got a lock beside them, and their `lock` and `before` were overwritten."""
    shutil.rmtree(film.parent / "film.takes")
    (film.parent / "film.takes").mkdir()
    (film.parent / "film.takes" / "lock").write_text("my key")
    before = everything(film.parent)
    assert run(["retake", str(film), "2", "--takes", "1"]) == 2
    assert "not memflow's" in capfd.readouterr().err
    assert everything(film.parent) == before
    assert (film.parent / "film.takes" / "lock").read_text() == "my key"


def test_subtitles_and_a_storyboard_of_the_user_s_own_stay(film, capfd):
    """Their film.srt went aside with a pick, and was gone with the next; an --undo replaced a storyboard edited since."""
    subtitles, story = film.with_suffix(".srt"), film.with_suffix(".yaml")
    subtitles.write_text("in my own words")
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert run(["retake", str(film), "--undo"]) == 0
    assert subtitles.read_text() == "in my own words"
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    story.write_text("segments: [{prompt: a bear, duration: 4s}]\n")
    before = everything(film.parent)
    capfd.readouterr()
    assert run(["retake", str(film), "--undo"]) == 2
    assert f"{story} is not the film's storyboard" in capfd.readouterr().err
    assert everything(film.parent) == before
    story.unlink()
    assert run(["retake", str(film), "--undo"]) == 0
    assert subtitles.read_text() == "in my own words" and "red fox" in story.read_text()


@pytest.mark.parametrize("option", ["--pick=1", "--undo"])
def test_a_film_that_is_being_made_is_not_exchanged(option, film, capfd):
    """The run folder of a running `generate -y` was moved away under its hands."""
    if option == "--undo":
        assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    before = everything(film.parent)
    with contextlib.closing(take_run(film.with_name("film.mp4.run"))):
        assert run(["retake", str(film), *(["2"] if option == "--pick=1" else []), option]) == 2
    assert "another process" in capfd.readouterr().err
    assert {path: content for path, content in everything(film.parent).items() if "picked" not in str(path)} == before
