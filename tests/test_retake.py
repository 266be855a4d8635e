"""A take that is picked makes the film that its storyboard makes; the old film comes back byte for byte."""

import json
import shutil

import av
import numpy as np
import pytest

from memflow_cli.cli.app import run

STORY = """\
title: Fox
model: {model}
seed: 7
segments:
- prompt: a red fox
  duration: 1.5s
- prompt: the snow   # white
  duration: 1.5s
- {{prompt: the fox again, duration: 1.5s, transition: cut}}
"""


def frames(path):
    """All frames of a film, decoded: [F, height, width, 3]."""
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def content(folder):
    """Every file that lies beside a film, and in what it keeps."""
    found = [path for path in (*folder.glob("*"), *folder.glob("*.run/*")) if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    """A film of three segments and two takes of its second."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "story.yaml").write_text(STORY.format(model=tiny_model_folder))
    assert run(["generate", str(folder / "story.yaml"), "-o", str(folder / "film.mp4"), "--keep-run"]) == 0
    assert run(["retake", str(folder / "film.mp4"), "2", "--takes", "2"]) == 0
    return folder


@pytest.fixture
def film(made, tmp_path):
    shutil.copytree(made, tmp_path / "films")
    return tmp_path / "films" / "film.mp4"


def anew(film, story):
    """The film that a storyboard makes from nothing."""
    whole = film.with_name("anew") / "anew.mp4"
    whole.parent.mkdir()
    assert run(["generate", str(story), "-o", str(whole)]) == 0
    return frames(whole)


def test_takes_lie_side_by_side_and_differ(film):
    takes = film.parent / "film.takes" / "02"
    assert sorted(path.name for path in takes.iterdir()) == ["take-1.mp4", "take-2.mp4", "takes.jpg", "takes.json"]
    first, second = frames(takes / "take-1.mp4"), frames(takes / "take-2.mp4")
    assert first.shape == second.shape and len(first) == 24
    assert (first != second).any() and (first != frames(film)[24:48]).any()


def test_a_picked_take_makes_the_film_of_its_storyboard(film, capfd):
    before = frames(film)
    capfd.readouterr()
    assert run(["retake", str(film), "2", "--pick", "2"]) == 0
    assert "going on after" in capfd.readouterr().err, "what was kept is used"
    now = frames(film)
    assert (now[:24] == before[:24]).all()
    assert (now[24:48] == frames(film.parent / "film.takes" / "02" / "take-2.mp4")).all()
    assert (now[48:] != before[48:]).any()
    assert (now == anew(film, film.with_suffix(".yaml"))).all()
    shutil.rmtree(film.with_name("anew"))
    assert (now == anew(film, film.with_suffix(".json"))).all()
    assert not any(path.name in ("picked", "unfinished", "aside") for path in film.parent.rglob("*"))


def test_undo_brings_back_the_very_bytes_and_undo_again_the_pick(film):
    before = content(film.parent)
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    picked = content(film.parent)
    assert picked["film.mp4"] != before["film.mp4"] and "film.yaml" in picked
    assert run(["retake", str(film), "--undo"]) == 0
    assert content(film.parent) == before
    assert run(["retake", str(film), "--undo"]) == 0
    assert content(film.parent) == picked


def test_the_films_own_storyboard_is_changed_in_one_line(film, tiny_model_folder):
    story = film.with_suffix(".yaml")
    story.write_text(STORY.format(model=tiny_model_folder))
    before = story.read_text()
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    seed = json.loads((film.parent / "film.takes" / "02" / "takes.json").read_text())["takes"][0]["seed"]
    lines = story.read_text().splitlines()
    assert [line for line in lines if line not in before.splitlines()] == [f"  seed: {seed}"]
    assert (frames(film) == anew(film, story)).all()
    assert run(["retake", str(film), "--undo"]) == 0
    assert story.read_text() == before


def test_another_storyboard_of_that_name_stays(film, capfd):
    story = film.with_suffix(".yaml")
    story.write_text("segments: [{prompt: a bear, duration: 4s}]\n")
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert run(["retake", str(film), "--undo"]) == 0
    assert story.read_text() == "segments: [{prompt: a bear, duration: 4s}]\n"
    assert "stays as it is" in capfd.readouterr().err


def test_another_prompt_and_seed(film, capfd):
    assert run(["retake", str(film), "3", "--takes", "1", "--prompt", "a blue fox", "--seed", "5"]) == 0
    assert capfd.readouterr().out.split()[-1].endswith("takes.jpg")
    assert run(["retake", str(film), "3", "--pick", "1"]) == 0
    segment = json.loads(film.with_suffix(".json").read_text())["storyboard"]["segments"][2]
    assert (segment["prompt"], segment["seed"], segment["transition"]) == ("a blue fox", 5, "cut")
    assert (frames(film) == anew(film, film.with_suffix(".yaml"))).all()


def test_without_what_was_kept_the_takes_are_the_same(film, capfd):
    kept = frames(film.parent / "film.takes" / "02" / "take-1.mp4")
    shutil.rmtree(film.parent / "film.takes")
    shutil.rmtree(film.parent / "film.mp4.run")
    assert run(["retake", str(film), "2", "--takes", "1"]) == 0
    assert "made anew" in capfd.readouterr().err
    assert (frames(film.parent / "film.takes" / "02" / "take-1.mp4") == kept).all()


def test_takes_of_a_film_that_began_otherwise_are_refused(film, capfd):
    assert run(["retake", str(film), "1", "--takes", "1"]) == 0
    assert run(["retake", str(film), "1", "--pick", "1"]) == 0
    assert run(["retake", str(film), "2", "--pick", "1"]) == 2
    assert "comes before segment 2" in capfd.readouterr().err


def test_a_kill_amid_the_exchange_leaves_the_old_film(film):
    before = content(film.parent)
    aside = film.parent / "film.takes" / "aside"
    aside.mkdir()
    for name in ("film.memory.jsonl", "film.mp4.run", "film.json"):
        (film.parent / name).rename(aside / name)
    assert run(["retake", str(film), "--undo"]) == 2, "nothing was picked"
    assert content(film.parent) == before and not aside.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["film.mp4"], "segments 1 to 3"),
        (["film.mp4", "4"], "segments 1 to 3"),
        (["film.mp4", "2", "--pick", "9"], "takes 1, 2"),
        (["film.mp4", "3", "--pick", "1"], "takes none"),
        (["film.mp4", "2", "--pick", "1", "--seed", "3"], "--pick"),
        (["film.mp4", "2", "--takes", "0"], "--takes 0"),
        (["film.mp4", "2", "--seed", "-1"], "--seed -1"),
        (["film.mp4", "2", "--prompt", "{bear} walks"], "{bear}"),
        (["film.mp4", "2", "--prompt", " "], "empty"),
        (["film.mp4", "2", "--undo"], "last pick"),
        (["film.mp4", "--undo"], "no take was picked"),
        (["none.mp4", "1"], "no such film"),
    ],
)
def test_wrong_input_is_a_sentence(made, monkeypatch, capfd, arguments, says):
    monkeypatch.chdir(made)
    before = content(made)
    assert run(["retake", *arguments]) == 2
    assert says in capfd.readouterr().err
    assert content(made) == before
