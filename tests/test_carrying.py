"""Storyboards that memflow writes beside a film can be read there, wherever pictures and sound lie."""

import io
import wave
from dataclasses import replace

import pytest
from PIL import Image

from memflow_cli.cli.app import run
from memflow_cli.cli.film_story import is_story_of
from memflow_cli.errors import MemflowError
from memflow_cli.film.carrying import carried, carry
from memflow_cli.film.excerpt import read_film
from memflow_cli.film.ours import NotOursError
from memflow_cli.story.load import load_storyboard
from memflow_cli.story.storyboard import Subject
from tiny_model import story

STORY = """\
title: Fox
model: {model}
seed: 7
size: 32x32
memory: {{policy: nam}}
sound: a.wav
characters: {{fox: {{description: a red fox, picture: [fox.png, old/fox.png]}}}}
places: {{wood: {{description: a dark wood, picture: wood.png}}}}
segments:
- {{prompt: "{{fox}} comes in", duration: 0.75s, image: start.png}}
- {{prompt: "the fox in {{wood}}", duration: 0.75s}}
"""
COPIES = ["a.wav", "fox-2.png", "fox.png", "start.png", "wood.png"]


@pytest.fixture
def told(tmp_path, tiny_model_folder):
    """A storyboard with its pictures, in a folder of its own."""
    folder = tmp_path / "story"
    (folder / "old").mkdir(parents=True)
    for shade, name in enumerate(("fox", "old/fox", "wood", "start")):
        Image.new("RGB", (96, 48), (200, 60 * shade, 9)).save(folder / f"{name}.png")
    with wave.open(str(folder / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    (folder / "a.yaml").write_text(STORY.format(model=tiny_model_folder))
    return folder / "a.yaml"


@pytest.fixture
def film(told, tmp_path):
    """Its film, elsewhere."""
    (tmp_path / "out").mkdir()
    assert run(["generate", str(told), "-o", str(tmp_path / "out" / "film.mp4"), "--keep-run"]) == 0
    return tmp_path / "out" / "film.mp4"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_extended_film_brings_its_pictures(film):
    """`generate story/a.yaml -o out/film.mp4`, and nothing could go on with that film."""
    longer = film.with_name("longer.mp4")
    assert run(["extend", str(film), "--prompt", "{fox} again", "--duration", "0.75s", "-o", str(longer)]) == 0
    assert names_in(film.with_name("longer.files")) == COPIES
    assert is_story_of(longer.with_suffix(".yaml"), read_film(longer))
    again = film.with_name("again.mp4")
    assert run(["generate", str(longer.with_suffix(".yaml")), "-o", str(again)]) == 0
    assert again.read_bytes() == longer.read_bytes()
    further = film.with_name("further.mp4")
    assert run(["extend", str(longer), "--prompt", "night", "--duration", "0.75s", "-o", str(further)]) == 0
    assert not further.with_suffix(".files").exists(), "they lie in that folder already"


def test_a_picked_take_writes_a_storyboard_that_can_be_read(film):
    assert run(["retake", str(film), "2", "--takes", "1"]) == 0
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert names_in(film.with_name("film.files")) == COPIES
    assert is_story_of(film.with_suffix(".yaml"), read_film(film))
    for _ in range(2):
        assert run(["retake", str(film), "--undo"]) == 0
    assert is_story_of(film.with_suffix(".yaml"), read_film(film))


def test_a_live_film_s_storyboard_can_be_read(told, tmp_path, monkeypatch):
    out = tmp_path / "out" / "live.mp4"
    out.parent.mkdir()
    monkeypatch.setattr("sys.stdin", io.StringIO("{fox} waves\nwait 0.75s\n"))
    assert run(["live", str(told), "--stdin", "-o", str(out), "--device", "cpu"]) == 0
    assert load_storyboard(out.with_suffix(".yaml")).characters["fox"].pictures[1].endswith("live.files/fox-2.png")
    assert run(["generate", str(out.with_suffix(".yaml")), "-o", str(out.with_name("again.mp4"))]) == 0
    assert out.with_name("again.mp4").read_bytes() == out.read_bytes()


def test_a_converted_record_brings_its_pictures(film, tmp_path, capfd):
    script = tmp_path / "new" / "story.yaml"
    assert run(["convert", str(film.with_suffix(".json")), "-o", str(script)]) == 0
    assert "lies outside" not in capfd.readouterr().err
    assert names_in(script.parent) == ["story.files", "story.yaml"]
    assert load_storyboard(script).title == "Fox"
    assert run(["convert", str(film.with_suffix(".json")), "-o", str(script)]) == 0, "it is there"
    assert names_in(script.parent / "story.files") == COPIES
    assert run(["convert", str(film.with_suffix(".json"))]) == 0
    assert "lies outside" in capfd.readouterr().err, "what is printed brings nothing"
    assert run(["convert", str(film.with_suffix(".json")), "-o", str(tmp_path / "no" / "story.txt")]) == 2
    assert not (tmp_path / "no").exists()


def test_a_stranger_s_storyboard_still_reads_nothing_elsewhere(told, tmp_path, capfd):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.yaml").write_text(told.read_text().replace("start.png", "../story/start.png"))
    assert run(["generate", str(tmp_path / "other" / "b.yaml"), "-o", str(tmp_path / "b.mp4")]) == 2
    assert "is outside the storyboard's folder" in capfd.readouterr().err


def test_an_extension_that_is_refused_leaves_nothing(film, told, capfd):
    there = names_in(film.parent)
    command = ["extend", str(film), "-o", str(film.with_name("longer.mp4")), "--prompt", "night"]
    (told.parent / "wood.png").write_bytes(b"no picture")
    assert run(command) == 2
    assert "wood.png" in capfd.readouterr().err
    assert names_in(film.parent) == there
    (told.parent / "wood.png").unlink()
    assert run(command) == 2
    assert "cannot read the picture" in capfd.readouterr().err
    assert names_in(film.parent) == there


def test_what_lies_in_the_copies_place_stays(told, tmp_path):
    """Another file of that name, and a link: the copy gets another name. The same content is not copied twice."""
    script = tmp_path / "out" / "film.yaml"
    folder = tmp_path / "out" / "film.files"
    folder.mkdir(parents=True)
    (folder / "wood.png").write_bytes(b"another")
    (folder / "start.png").symlink_to(told.parent / "start.png")
    (folder / "a.wav").write_bytes((told.parent / "a.wav").read_bytes())
    board = load_storyboard(told)
    with pytest.raises(MemflowError, match="enough"), carried(carry(board, script)):
        assert {"start-2.png", "wood-2.png", "fox.png", "fox-2.png"} < {*names_in(folder)}
        raise MemflowError("enough")
    assert names_in(folder) == ["a.wav", "start.png", "wood.png"]
    assert (folder / "wood.png").read_bytes() == b"another"


def test_a_link_in_the_place_of_the_folder_is_refused(told, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "film.files").symlink_to(told.parent)
    with pytest.raises(NotOursError), carried(carry(load_storyboard(told), tmp_path / "out" / "film.yaml")):
        pass


def test_a_link_inside_the_folder_that_leads_out_of_it_is_copied(told, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "fox.png").symlink_to(told.parent / "fox.png")
    board = replace(story(), characters={"fox": Subject("a fox", (str(folder / "fox.png"),))})
    [picture] = carry(board, folder / "film.yaml").storyboard.characters["fox"].pictures
    assert picture == str(folder / "film.files" / "fox.png")
