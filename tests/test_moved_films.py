"""A film is known by what its pictures show, not by where they lie; a picture that has changed is named."""

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from memflow_cli.cli.app import run
from memflow_cli.cli.film_story import is_story_of
from memflow_cli.film.excerpt import read_film
from memflow_cli.film.recipe import Recipe
from memflow_cli.story.storyboard import Subject
from tiny_files import make_kept_film
from tiny_model import fail_at_frame, recipe_of, story, tiny_entry

STORY = """\
title: Fox
model: {model}
seed: 7
memory: {{policy: nam}}
characters: {{fox: {{description: a red fox, picture: [fox.png, back.png]}}}}
places: {{wood: {{description: a dark wood, picture: wood.png}}}}
segments:
- {{prompt: "{{fox}} comes in", duration: 0.75s, image: start.png}}
- {{prompt: "the fox in {{wood}}", duration: 0.75s}}
"""
COLOURS = {"fox": (200, 30, 60), "back": (90, 30, 60), "wood": (20, 120, 40), "start": (90, 90, 90)}


def paint(path, colour):
    Image.new("RGB", (96, 48), colour).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    """A film beside its storyboard, film.yaml, with all its pictures."""
    folder = tmp_path_factory.mktemp("made")
    for name, colour in COLOURS.items():
        paint(folder / f"{name}.png", colour)
    return make_kept_film(folder, STORY, tiny_model_folder, "film")


@pytest.fixture
def film(made, tmp_path):
    """A copy of all of it, elsewhere."""
    shutil.copytree(made.parent, tmp_path / "films")
    return tmp_path / "films" / "film.mp4"


def generate(film, *more):
    return run(["generate", str(film.with_suffix(".yaml")), "-o", str(film), *more])


def test_a_copied_film_is_the_film_of_its_storyboard(film, capfd):
    """It was another film, for its pictures had other paths."""
    written = film.stat().st_mtime_ns
    assert generate(film) == 0 and film.stat().st_mtime_ns == written
    assert is_story_of(film.with_suffix(".yaml"), read_film(film))
    assert run(["retake", str(film), "2", "--takes", "1"]) == 0
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert "is not this film's storyboard" not in capfd.readouterr().err
    assert is_story_of(film.with_suffix(".yaml"), read_film(film))
    assert run(["retake", str(film), "--undo"]) == 0


def test_a_film_whose_record_holds_paths_is_known(film):
    """As records did before."""

    def with_path(identity):
        return f"/some where/else/{identity}"

    path = film.with_suffix(".json")
    record = json.loads(path.read_text())
    for given in record["recipe"]["common"]["given"].values():
        given[2] = [with_path(each) for each in given[2]]
    first = record["recipe"]["segments"][0]
    first["image"] = with_path(first["image"])
    path.write_text(json.dumps(record))
    written = film.stat().st_mtime_ns
    assert generate(film) == 0 and film.stat().st_mtime_ns == written


def test_an_edit_of_a_copied_film_goes_on_from_what_is_kept(film, capfd):
    story = film.with_suffix(".yaml")
    story.write_text(story.read_text().replace("the fox in", "the fox sleeps in"))
    capfd.readouterr()
    assert generate(film, "-y") == 0
    assert "going on after" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"fox": ("fox.png", "wood.png"), "cat": ()}, "the picture wood.png of fox has changed"),
        ({"fox": ("fox.png",), "cat": ()}, "fox had 2 pictures, has now 1"),
        ({"fox": (), "cat": ()}, "fox has no picture any more"),
        ({"fox": ("fox.png", "back.png"), "cat": ("wood.png",)}, "cat has a picture now"),
    ],
)
def test_what_became_of_pictures_is_told(made, now, says):
    def recipe(pictures):
        characters = {
            name: Subject(name, tuple(str(made.with_name(each)) for each in files)) for name, files in pictures.items()
        }
        return recipe_of(replace(story(), characters=characters), tiny_entry())

    before = recipe({"fox": ("fox.png", "back.png"), "cat": ()})
    assert before.differences(recipe(now)) == [says]
    damaged = Recipe({**before.common, "given": {"fox": 3}}, before.segments)
    assert damaged.differences(before) == ["fox has a picture now"]


def test_a_picture_that_changed_during_an_interruption_is_named(film, monkeypatch, capfd):
    """Twice the same text was told, cut off before what tells the pictures apart."""
    for path in film.parent.glob("film.[jm]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    fail_at_frame(monkeypatch, 14)
    assert generate(film) == 1
    paint(film.with_name("fox.png"), "white")
    capfd.readouterr()
    assert generate(film) == 2
    assert "begun otherwise: the picture fox.png of fox has changed\n" in capfd.readouterr().err
    story = film.with_suffix(".yaml")
    story.write_text(story.read_text().replace("a dark wood, picture: wood.png", "a dark wood"))
    paint(film.with_name("fox.png"), COLOURS["fox"])
    assert generate(film) == 2
    assert "begun otherwise: wood has no picture any more\n" in capfd.readouterr().err


@pytest.fixture
def here(made, tmp_path):
    """A film that was made where it lies, under its own pictures' paths."""
    shutil.copytree(made.parent, tmp_path / "here")
    film = tmp_path / "here" / "film.mp4"
    record = film.with_suffix(".json")
    record.write_text(record.read_text().replace(str(made.parent), str(film.parent)))
    return film


COMMANDS = (
    lambda film: ["generate", str(film.with_suffix(".yaml")), "-o", str(film)],
    lambda film: ["retake", str(film), "2", "--takes", "1"],
    lambda film: ["extend", str(film), "--prompt", "night", "-o", str(film.with_name("longer.mp4"))],
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "says"),
    [("fox", "the picture fox.png of fox has"), ("start", "the picture start.png that it starts from")],
)
def test_a_picture_that_is_gone_or_changed_is_told_before_anything_is_written(here, command, name, says, capfd):
    """The film was another one, or its run begun otherwise, with advice that the command did not take; files were left."""
    there = sorted(here.parent.iterdir())
    picture = here.with_name(f"{name}.png")
    paint(picture, "white")
    assert run(command(here)) == 2
    assert says in capfd.readouterr().err
    assert sorted(here.parent.iterdir()) == there
    picture.unlink()
    assert run(command(here)) == 2
    assert f"cannot read the picture {picture}" in capfd.readouterr().err
    assert sorted(here.parent.iterdir()) == [path for path in there if path != picture]
    assert run([*COMMANDS[0](here), "-n"]) == 0, "a film that is to stay needs none"
