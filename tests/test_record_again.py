"""A film's record is all that is needed to make the film again."""

import json

import pytest

from memflow_cli.cli.app import run
from memflow_cli.story.load import load_stories
from tiny_files import save_model

STORY = """\
title: 1.10
model: ./tiny
size: 64x32
seed: 7
style: paper theatre.
characters: {fox: a red fox}
memory: {bank: 2}
segments:
- {prompt: "{fox} runs {{fast}}", duration: 1.5s, title: One}
- {prompt: the fox sleeps, duration: 1s, transition: cut, seed: 11, names: [fox]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    save_model(folder / "tiny")
    (folder / "story.yaml").write_text(STORY)
    assert run(["generate", str(folder / "story.yaml"), "-o", str(folder / "film.mp4"), "--progress", "none"]) == 0
    return folder


def record(path):
    return json.loads(path.with_suffix(".json").read_text())


def test_a_record_makes_the_film_again(folder, monkeypatch, capfd):
    """film.json was refused with ten problems, although it is called all that is needed to make a film again."""
    monkeypatch.chdir("/")  # its model was named by a path that counted from the storyboard
    assert run(["generate", str(folder / "film.json"), "-o", str(folder / "again.mp4")]) == 0, capfd.readouterr().err
    assert record(folder / "again.mp4")["sha256"] == record(folder / "film.mp4")["sha256"]
    assert record(folder / "again.mp4")["storyboard"] == record(folder / "film.mp4")["storyboard"]


def test_a_record_is_planned_changed_and_converted(folder, capfd):
    assert run(["plan", "--json", str(folder / "film.json"), "--seed", "8", "--set", "segments.2.duration=3"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert (plan["seed"], plan["segments"][1]["requested_seconds"], plan["title"]) == (8, 3.0, "1.10")
    assert run(["convert", str(folder / "film.json"), "-o", str(folder / "back.yaml"), "-y"]) == 0
    (written,), (read,) = load_stories(folder / "back.yaml"), load_stories(folder / "film.json")
    assert written.storyboard == read.storyboard


def test_the_loras_of_a_record_are_used_or_missed(folder, capfd):
    content = record(folder / "film.mp4")
    content["model"]["loras"] = [{"path": str(folder / "gone.safetensors"), "strength": 0.5}]
    (folder / "other.json").write_text(json.dumps(content))
    assert run(["generate", str(folder / "other.json"), "-o", str(folder / "other.mp4")]) == 3
    assert "gone.safetensors" in capfd.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content["storyboard"].pop("segments"),
        lambda content: content["storyboard"].update(segments=[]),
        lambda content: content["storyboard"].update(segments=[{"prompt": 1}]),
        lambda content: content["storyboard"].update(fps=1e99),
        lambda content: content["storyboard"].update(memory=[]),
        lambda content: content["storyboard"].update(unknown=1),
        lambda content: content["storyboard"]["segments"][0].update(seconds="x"),
        lambda content: content["storyboard"]["segments"][0].update(seconds=-1),
        lambda content: content["storyboard"]["segments"][0].update(prompt=None),
        lambda content: content.update(model=5),
        lambda content: content["model"].update(loras=[1]),
        lambda content: content["model"].update(path=[1]),
    ],
)
def test_a_damaged_record_is_a_sentence(folder, damage, capfd):
    content = record(folder / "film.mp4")
    damage(content)
    (folder / "damaged.json").write_text(json.dumps(content))
    assert run(["plan", str(folder / "damaged.json")]) == 2
    err = capfd.readouterr().err
    assert "damaged.json" in err and "Traceback" not in err and "bug" not in err
