"""Whom a take is about, in the film's record and in its storyboard: always the same."""

import json
import shutil

import pytest

from memflow_cli.cli.app import run
from memflow_cli.cli.film_story import is_story_of, storyboard_after
from memflow_cli.cli.stories import read_stories
from memflow_cli.film.excerpt import read_film
from memflow_cli.film.takes import Take, find_take, follows, new_takes, read_takes, with_take, write_takes
from memflow_cli.story.prompts import complete_prompt
from tiny_files import make_kept_film

STORY = """\
title: Fox
model: {model}
seed: 7
style: ink on paper
characters: {{fox: a red fox, robot: a tin robot, twin: a red fox}}
memory: {{policy: nam}}
segments:
- {{prompt: snow, duration: 0.75s}}
- prompt: "{{fox}} comes in"
  duration: 0.75s
- prompt: the fox sits
  names: [fox]   # not by name
  duration: 0.75s
- prompt: "{{fox}} sits"
  names:
  - robot
  duration: 0.75s
- {{"prompt": "{{twin}} and {{robot}}", "duration": "0.75s"}}
"""
PROMPTS = [None, "snow", "{robot} waves", "{robot} and {fox}", "a red fox comes in", "{fox} sits", "{twin} and {robot}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    """A film beside its storyboard, film.yaml."""
    folder = tmp_path_factory.mktemp("made")
    return make_kept_film(folder, STORY, tiny_model_folder, "film")


@pytest.fixture
def film(made, tmp_path):
    shutil.copytree(made.parent, tmp_path / "films")
    return tmp_path / "films" / "film.mp4"


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("segment", range(5))
def test_the_storyboard_with_a_take_is_the_films(made, tmp_path, segment, prompt):
    """A prompt without a name called nobody by film.yaml, and whom the segment had been about by film.json."""
    told = read_film(made)
    board = told.storyboard
    complete = None if prompt is None else complete_prompt(prompt, board.descriptions, board.style)
    [take] = new_takes(told, segment, 1, 5, prompt, complete)
    story = tmp_path / "film.yaml"
    story.write_text(storyboard_after(told, segment, take, None))
    [read] = read_stories(story, 10.0, ())
    assert read.storyboard.segments == with_take(board, segment, take).segments


def test_a_prompt_that_names_nobody_keeps_the_names_and_is_taken_back(film):
    before = film.with_suffix(".yaml").read_text()
    assert run(["retake", str(film), "2", "--takes", "1", "--prompt", "snow falls"]) == 0
    assert run(["retake", str(film), "2", "--pick", "1"]) == 0
    assert is_story_of(film.with_suffix(".yaml"), read_film(film))
    assert read_film(film).record["recipe"]["segments"][1]["names"] == ["fox"]
    assert run(["retake", str(film), "--undo"]) == 0
    assert film.with_suffix(".yaml").read_text() == before


def test_takes_about_others_can_be_picked_one_after_the_other(film):
    """Once one was picked that was about somebody else, what came before the segment was said to be another."""
    assert run(["retake", str(film), "2", "--takes", "1"]) == 0
    assert run(["retake", str(film), "2", "--takes", "1", "--prompt", "{robot} waves"]) == 0
    for number, names in ((2, ("robot",)), (1, ("fox",))):
        assert run(["retake", str(film), "2", "--pick", str(number)]) == 0
        assert read_film(film).storyboard.segments[1].names == names
        assert is_story_of(film.with_suffix(".yaml"), read_film(film))


def test_takes_of_before_names_were_written_down_are_read(film):
    told = read_film(film)
    (film.parent / "film.takes" / "02").mkdir(parents=True)
    write_takes(film, 1, [Take(1, 5, "snow", "snow", follows(told, 1, with_names=True))])
    path = film.parent / "film.takes" / "02" / "takes.json"
    content = json.loads(path.read_text())
    del content["takes"][0]["names"]
    path.write_text(json.dumps(content))
    assert find_take(told, 1, 1).of(told.storyboard.segments[1]).names == ("fox",)
    assert read_takes(film, 1)[0].names is None
