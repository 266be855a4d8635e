"""A film that is gone on with equals the film made in one go."""

import json

import av
import numpy as np
import pytest

from memflow_cli.cli.app import run
from tiny_model import fail_at_frame

STORY = """\
title: Fox
model: {model}
seed: 7
segments:
- {{prompt: a red fox, duration: 1.5s}}
- {{prompt: the snow, duration: 1.5s}}
"""


def frames(path):
    """All frames of a film, decoded: [F, height, width, 3]."""
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture
def film(tmp_path, tiny_model_folder):
    (tmp_path / "story.yaml").write_text(STORY.format(model=tiny_model_folder))
    assert run(["generate", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "film.mp4"), "--keep-run"]) == 0
    return tmp_path / "film.mp4"


def test_extended_equals_made_in_one_go(film, tmp_path, tiny_model_folder, capfd):
    longer = tmp_path / "longer.mp4"
    capfd.readouterr()
    assert run(["extend", str(film), "--prompt", "the fox again", "--duration", "2.25s", "-o", str(longer)]) == 0
    assert "going on after" in capfd.readouterr().err, "what was kept is used"
    whole = STORY.format(model=tiny_model_folder) + "- {prompt: the fox again, duration: 2.25s}\n"
    (tmp_path / "whole.yaml").write_text(whole)
    assert run(["generate", str(tmp_path / "whole.yaml"), "-o", str(tmp_path / "whole.mp4")]) == 0
    assert (frames(longer) == frames(tmp_path / "whole.mp4")).all()
    assert longer.with_suffix(".memory.jsonl").read_bytes().count(b"\n") == (
        tmp_path / "whole.memory.jsonl"
    ).read_bytes().count(b"\n")


def test_the_storyboard_that_is_written_makes_the_same_film(film, tmp_path):
    longer = tmp_path / "longer.mp4"
    assert run(["extend", str(film), "--prompt", "night", "--cut", "-o", str(longer)]) == 0
    assert run(["generate", str(tmp_path / "longer.yaml"), "-o", str(tmp_path / "again.mp4")]) == 0
    assert (frames(longer) == frames(tmp_path / "again.mp4")).all()
    record = json.loads(longer.with_suffix(".json").read_text())
    assert record["storyboard"]["segments"][2]["transition"] == "cut"


def test_without_what_was_kept_the_film_is_the_same(film, tmp_path):
    kept = tmp_path / "kept.mp4"
    assert run(["extend", str(film), "--prompt", "night", "-o", str(kept)]) == 0
    assert run(["tidy", str(tmp_path), "--free"]) == 0
    assert run(["extend", str(film), "--prompt", "night", "-o", str(tmp_path / "anew.mp4")]) == 0
    assert (frames(kept) == frames(tmp_path / "anew.mp4")).all()


def test_an_extension_that_was_interrupted_is_gone_on_with(film, tmp_path, monkeypatch, capfd):
    """The storyboard that the first life had written kept the second from doing anything."""
    longer = tmp_path / "longer.mp4"
    command = ["extend", str(film), "--prompt", "night", "--duration", "2.25s", "-o", str(longer)]
    fail_at_frame(monkeypatch, 20)
    assert run(command) == 1
    capfd.readouterr()
    assert run(command) == 0
    assert "going on after" in capfd.readouterr().err
    assert run(["generate", str(tmp_path / "longer.yaml"), "-o", str(tmp_path / "anew.mp4")]) == 0
    assert (frames(longer) == frames(tmp_path / "anew.mp4")).all()
    assert run(command) == 0, "it is there"
    assert run([*command, "--prompt", "day"]) == 2, "another one is not"
    assert "exists already" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prompt", "a", "-o", "film.mp4"], "another file"),
        (["-o", "longer.mp4"], "what follows"),
        (["--prompt", "a", "--duration", "soon", "-o", "longer.mp4"], "--duration"),
        (["missing.yaml", "-o", "longer.mp4"], "no such file"),
    ],
)
def test_wrong_input_is_a_sentence(film, tmp_path, monkeypatch, capfd, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert run(["extend", "film.mp4", *arguments]) == 2
    assert says in capfd.readouterr().err
    assert not (tmp_path / "longer.mp4").exists()


@pytest.mark.parametrize("record", [None, "{}", "[1]", '["a cat"]', "{", '{"prompts": ["a cat"]}', '"a cat"'])
def test_a_film_goes_on_from_nothing_but_a_film_s_record(record, tmp_path, capfd):
    """A film.json that held a list was read as a storyboard of its own, and the film went on with that story."""
    (tmp_path / "film.mp4").write_bytes(b"film")
    if record is not None:
        (tmp_path / "film.json").write_text(record)
    there = sorted(tmp_path.iterdir())
    assert run(["extend", str(tmp_path / "film.mp4"), "--prompt", "night", "-o", str(tmp_path / "longer.mp4")]) == 2
    assert "film.json is missing, or no film's record" in capfd.readouterr().err
    assert sorted(tmp_path.iterdir()) == there


def test_a_prompt_that_cannot_be_one_is_refused_before_anything_is_written(film, tmp_path, capfd):
    """An empty one left a run folder behind, one with a control character a folder of takes, and half an emoji became a ?."""
    there = sorted(tmp_path.iterdir())
    commands = (
        ["extend", str(film), "-o", str(tmp_path / "longer.mp4")],
        ["retake", str(film), "1", "--takes", "1"],
    )
    for prompt in ("", " \u3000", "a\x1b[31mb", "a\x00b", "a\udcffb", "x" * 4001):
        for command in commands:
            assert run([*command, "--prompt", prompt]) == 2, (command, prompt)
            assert capfd.readouterr().err.startswith("error: --prompt: ")
    assert sorted(tmp_path.iterdir()) == there


def test_a_prompt_that_calls_somebody_unknown_is_refused_before_anything_is_written(film, tmp_path, capfd):
    """Where the film has no characters, `{cat}` itself was drawn, braces and all. `{{` is a brace, as in a storyboard."""
    there, longer = sorted(tmp_path.iterdir()), tmp_path / "longer.mp4"
    for command in (["extend", str(film), "-o", str(longer)], ["retake", str(film), "1", "--takes", "1"]):
        assert run([*command, "--prompt", "{cat} walks"]) == 2
        told = "error: --prompt: {cat} is not a character or place of this film; it has none: describe who is meant"
        assert told in capfd.readouterr().err
    assert sorted(tmp_path.iterdir()) == there
    assert run(["extend", str(film), "-o", str(longer), "--prompt", "{{cat}} walks", "--duration", "0.75s"]) == 0
    record = json.loads(longer.with_suffix(".json").read_text())
    assert record["storyboard"]["segments"][-1]["prompt"] == "{cat} walks"


def test_a_film_that_goes_on_keeps_its_style(film, tmp_path):
    """`retake --prompt` appended it, `extend --prompt` did not, and the film went on looking otherwise."""
    story, styled, longer = tmp_path / "styled.yaml", tmp_path / "styled.mp4", tmp_path / "longer.mp4"
    story.write_text('style: "ink, {{}} on paper"\n' + (tmp_path / "story.yaml").read_text())
    assert run(["generate", str(story), "-o", str(styled), "--keep-run"]) == 0
    more = ["--prompt", "night", "--prompt", "day, ink, {{}} on paper", "--duration", "0.75s"]
    assert run(["extend", str(styled), "-o", str(longer), *more]) == 0
    prompts = [each["prompt"] for each in json.loads(longer.with_suffix(".json").read_text())["storyboard"]["segments"]]
    assert prompts[-2:] == ["night, ink, {} on paper", "day, ink, {} on paper"]


def test_whom_the_film_has_is_said_where_a_prompt_calls_somebody_else(film, tmp_path, capfd):
    """retake did not say it."""
    story, cast = tmp_path / "cast.yaml", tmp_path / "cast.mp4"
    text = (tmp_path / "story.yaml").read_text()
    story.write_text("characters: {fox: a red fox, hat: a hat}\n" + text)
    assert run(["generate", str(story), "-o", str(cast), "--keep-run"]) == 0
    for command in (["extend", str(cast), "-o", str(tmp_path / "on.mp4")], ["retake", str(cast), "1"]):
        assert run([*command, "--prompt", "{cat} meets {fox}"]) == 2
        told = "--prompt: {cat} is not a character or place of this film; did you mean hat?; known are fox, hat"
        assert told in capfd.readouterr().err
