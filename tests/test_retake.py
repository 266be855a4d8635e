"""A take that is picked makes the film that its storyboard makes; the old film comes back byte for byte."""

import json
import re
import shutil

import av
import numpy as np
import pytest

from memflow_cli.cli.app import run
from memflow_cli.cli.film_story import storyboard_after
from memflow_cli.film.excerpt import read_film
from memflow_cli.film.takes import read_takes
from tiny_files import make_kept_film
from tiny_model import fail_at_frame

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
    make_kept_film(folder, STORY, tiny_model_folder)
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
    names = ["take-1.mp4", "take-2.mp4", "takes.html", "takes.jpg", "takes.json"]
    assert sorted(path.name for path in takes.iterdir()) == names
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


@pytest.mark.parametrize("kept", [None, "segment 3 was"])
@pytest.mark.parametrize(("mark", "newline"), [("", "\n"), ("\ufeff", "\r\n"), ("\ufeff", "\n")])
def test_a_storyboard_keeps_its_line_ends_and_its_mark(film, tiny_model_folder, mark, newline, kept):
    """A pick gave every line of a storyboard from Windows another end, and wrote a remark in front of its mark."""
    story = film.with_suffix(".yaml")
    text = STORY.format(model=tiny_model_folder)
    story.write_bytes((mark + text.replace("\n", newline)).encode())
    changed = storyboard_after(read_film(film), 1, read_takes(film, 1)[0], kept)
    assert changed.startswith(mark) and changed.count("\ufeff") == len(mark)
    lines = changed.removeprefix(mark).split(newline)
    assert all(line in lines for line in text.split("\n")) and "\n" not in "".join(lines)
    assert len(lines) == len(text.split("\n")) + 1 + (kept is not None)


def test_another_storyboard_of_that_name_stays(film, capfd):
    story = film.with_suffix(".yaml")
    story.write_text("segments: [{prompt: a bear, duration: 4s}]\n")
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert run(["retake", str(film), "--undo"]) == 0
    assert story.read_text() == "segments: [{prompt: a bear, duration: 4s}]\n"
    assert "stays as it is" in capfd.readouterr().err


def test_another_prompt_and_seed(film, capfd):
    assert run(["retake", str(film), "3", "--takes", "1", "--prompt", "a blue fox", "--seed", "5"]) == 0
    assert capfd.readouterr().out.split()[-1].endswith("takes.html")
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


@pytest.mark.parametrize("renamed", [0, 2, 5, 7, 20])
def test_an_exchange_that_was_killed_is_gone_on_with(film, monkeypatch, renamed):
    """The pieces of two films lay mixed after a kill, and the one that came from `before` lost its record for good."""
    before = content(film.parent)
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    picked = content(film.parent)
    left = iter(range(renamed))
    rename = type(film).rename

    def dying(self, target):
        if next(left, None) is None:
            raise OSError(5, "killed")
        return rename(self, target)

    monkeypatch.setattr(type(film), "rename", dying)
    code = run(["retake", str(film), "--undo"])
    monkeypatch.undo()
    if code:
        assert run(["retake", str(film), "--undo"]) == 0
    assert content(film.parent) == before
    assert run(["retake", str(film), "--undo"]) == 0
    assert content(film.parent) == picked


def test_takes_that_were_interrupted_are_gone_on_with(film, monkeypatch, capfd):
    """What had been made of the takes was thrown away by whatever stopped the command."""
    whole = frames(film.parent / "film.takes" / "02" / "take-2.mp4")
    shutil.rmtree(film.parent / "film.takes")
    fail_at_frame(monkeypatch, 40)
    assert run(["retake", str(film), "2", "--takes", "2"]) == 1
    capfd.readouterr()
    assert run(["retake", str(film), "2", "--takes", "2"]) == 0
    assert "take-1.mp4 is there already" in capfd.readouterr().err
    takes = film.parent / "film.takes" / "02"
    assert (frames(takes / "take-2.mp4") == whole).all() and not (takes / "unfinished").exists()


def test_a_pick_that_was_interrupted_is_gone_on_with(film, monkeypatch, capfd):
    fail_at_frame(monkeypatch, 30)
    assert run(["retake", str(film), "2", "--pick", "2"]) == 1
    before = frames(film)
    capfd.readouterr()
    assert run(["retake", str(film), "2", "--pick", "2"]) == 0
    assert "going on after" in capfd.readouterr().err
    assert (frames(film)[24:48] == frames(film.parent / "film.takes" / "02" / "take-2.mp4")).all()
    assert run(["retake", str(film), "2", "--pick", "2"]) == 0
    assert "already" in capfd.readouterr().err, "picked twice, the film that was there before would be gone"
    assert run(["retake", str(film), "--undo"]) == 0
    assert (frames(film) == before).all()


def made_after(film):
    segments = json.loads(film.with_suffix(".json").read_text())["storyboard"]["segments"]
    return [segment["made_after"] is not None for segment in segments]


def test_what_comes_after_can_stay_where_it_begins_with_a_cut(film, capfd):
    """No storyboard makes such a film, for its end was made when memory had seen another take: nothing may say so."""
    before, kept = frames(film), content(film.parent)
    capfd.readouterr()
    assert run(["retake", str(film), "2", "--pick", "2", "--then", "keep"]) == 0
    assert "memory had seen" in capfd.readouterr().err
    now = frames(film)
    assert (now[:24] == before[:24]).all() and (now[48:] == before[48:]).all()
    assert (now[24:48] == frames(film.parent / "film.takes" / "02" / "take-2.mp4")).all()
    assert made_after(film) == [False, False, True]
    assert "anew" in film.with_suffix(".yaml").read_text().splitlines()[0]

    assert run(["generate", str(film.with_suffix(".json")), "-o", str(film.with_name("again.mp4"))]) == 2
    assert "made after another take" in capfd.readouterr().err
    assert run(["generate", str(film.with_suffix(".json")), "-o", str(film)]) == 0, "it is there as it is"
    assert run(["generate", str(film.with_suffix(".json")), "-o", str(film), "-y", "--no-resume"]) == 2
    assert run(["generate", str(film.with_suffix(".yaml")), "-o", str(film)]) == 2
    one_piece = anew(film, film.with_suffix(".yaml"))
    assert (one_piece[:48] == now[:48]).all() and (one_piece[48:] != now[48:]).any()
    assert run(["inspect-memory", str(film), "-f", "json"]) == 0

    assert run(["retake", str(film), "--undo"]) == 0
    assert content(film.parent) == kept


def test_a_film_with_a_kept_end_is_edited_further(film):
    before = frames(film)
    assert run(["retake", str(film), "2", "--pick", "2", "--then", "keep"]) == 0
    now, longer = frames(film), film.with_name("longer.mp4")
    assert run(["extend", str(film), "--prompt", "night", "--duration", "0.75s", "-o", str(longer)]) == 0
    assert (frames(longer)[: len(now)] == now).all() and made_after(longer) == [False, False, True, False]
    assert run(["retake", str(longer), "2", "--takes", "1"]) == 0
    assert run(["retake", str(film), "2", "--pick", "1", "--then", "keep"]) == 0
    assert (frames(film)[48:] == before[48:]).all() and made_after(film) == [False, False, True]
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert made_after(film) == [False, False, False]
    assert "anew" not in film.with_suffix(".yaml").read_text()
    assert (frames(film) == anew(film, film.with_suffix(".json"))).all()


def test_what_cannot_stay_is_a_sentence(film, capfd):
    assert run(["retake", str(film), "1", "--takes", "1"]) == 0
    assert run(["retake", str(film), "1", "--pick", "1", "--then", "keep"]) == 2
    assert "goes on smoothly" in capfd.readouterr().err
    shutil.rmtree(film.parent / "film.mp4.run")
    assert run(["retake", str(film), "2", "--pick", "1", "--then", "keep"]) == 2
    assert "keeps nothing" in capfd.readouterr().err


def test_the_page_of_takes_shows_what_others_wrote_as_text(film):
    page = film.parent / "film.takes" / "02" / "takes.html"
    assert run(["retake", str(film), "2", "--takes", "1", "--prompt", "<script>alert(1)</script>"]) == 0
    text = page.read_text()
    assert text.count("<video") == 4 and "<script>alert" not in text and "default-src 'none'" in text
    assert not re.search(r"(src|href)=\"https?:", text)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["film.mp4"], "segments 1 to 3"),
        (["film.mp4", "4"], "segments 1 to 3"),
        (["film.mp4", "2", "--pick", "9"], "takes 1, 2"),
        (["film.mp4", "3", "--pick", "1"], "no takes"),
        (["film.mp4", "2", "--pick", "1", "--seed", "3"], "--pick"),
        (["film.mp4", "2", "--takes", "0"], "--takes 0"),
        (["film.mp4", "2", "--seed", "-1"], "--seed -1"),
        (["film.mp4", "2", "--prompt", "{bear} walks"], "{bear}"),
        (["film.mp4", "2", "--prompt", " "], "empty"),
        (["film.mp4", "2", "--pick", "1", "--then", "wait"], "remake or keep"),
        (["film.mp4", "2", "--then", "keep"], "remake or keep"),
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
