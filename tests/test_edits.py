"""Edited in any order, a film is what its final storyboard makes; and no kill loses it."""

import importlib.metadata
import itertools
import json
import os
import random
import shutil
from importlib.metadata import EntryPoint

import av
import numpy as np
import pytest
from PIL import Image

from crash_points import life
from memflow_cli.cli.app import run

STORY = """\
title: Edited
model: toy
seed: 7
size: 32x32
segments:
- {prompt: a red fox, duration: 0.5s}
- {prompt: the snow, duration: 0.25s, transition: cut}
- {prompt: the fox again, duration: 0.5s}
"""
SHORT = ["--progress", "none"]


@pytest.fixture(scope="module", autouse=True)
def toy():
    """The toy model is known, and all that a life needs is imported before it is forked off. Sheets are left unpainted."""
    import memflow_cli.cli.generate
    import memflow_cli.models.load
    import memflow_cli.report.takes_page
    import memflow_cli.report.takes_sheet
    import toy_backbone  # noqa: F401

    found = EntryPoint("toy", "toy_backbone:model", "memflow_cli.backbones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.metadata, "entry_points", lambda **given: [found] if given["group"] == found.group else []
        )
        patch.setattr(memflow_cli.report.takes_sheet, "draw_takes", lambda takes: Image.new("RGB", (8, 8)))
        yield


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A kept film of three segments, with two takes of its first."""
    folder = tmp_path_factory.mktemp("begun") / "films"
    folder.mkdir()
    (folder / "story.yaml").write_text(STORY)
    film = folder / "film.mp4"
    assert run(["generate", str(folder / "story.yaml"), "-o", str(film), "--keep-run", *SHORT]) == 0
    assert run(["retake", str(film), "1", "--takes", "2", *SHORT]) == 0
    return folder


def frames(path):
    """All frames of a film, decoded: [F, height, width, 3]."""
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


class Editor:
    """Edits a film at random, and knows which film it has come to."""

    def __init__(self, film, seed):
        self.film = film
        self.draw = random.Random(seed)
        self.numbers = itertools.count(1)
        self.can_undo = False

    def edit(self):
        edits = [self.extend, self.extend, self.retake, self.retake, self.cut]
        self.draw.choice([*edits, self.undo, self.undo] if self.can_undo else edits)()

    @property
    def record(self):
        return json.loads(self.film.with_suffix(".json").read_text())

    def extend(self):
        longer = self.film.with_name(f"longer-{next(self.numbers)}.mp4")
        cut = ["--cut"] if self.draw.random() < 0.5 else []
        what = ["--prompt", self.draw.choice(["night", "a bear"]), "--duration", "0.25s", *cut]
        assert run(["extend", str(self.film), *what, "-o", str(longer), *SHORT]) == 0
        before = frames(self.film)
        assert (frames(longer)[: len(before)] == before).all()
        self.film, self.can_undo = longer, False

    def retake(self):
        segment = str(self.draw.randint(1, len(self.record["storyboard"]["segments"])))
        other = ["--prompt", "an owl"] if self.draw.random() < 0.5 else []
        assert run(["retake", str(self.film), segment, "--takes", "1", *other, *SHORT]) == 0
        takes = self.film.with_name(f"{self.film.stem}.takes") / segment.zfill(2) / "takes.json"
        number = json.loads(takes.read_text())["takes"][-1]["number"]
        assert run(["retake", str(self.film), segment, "--pick", str(number), *SHORT]) == 0
        self.can_undo = True

    def undo(self):
        assert run(["retake", str(self.film), "--undo"]) == 0

    def cut(self):
        """The film goes on as it is; what was cut out of it has its frames."""
        lengths = [segment["num_chunks"] for segment in self.record["recipe"]["segments"]]
        first = self.draw.randint(1, len(lengths))
        last = self.draw.randint(first, len(lengths))
        shorter = self.film.with_name(f"shorter-{next(self.numbers)}.mp4")
        assert run(["cut", str(self.film), "--from", str(first), "--to", str(last), "-o", str(shorter)]) == 0
        whole = frames(self.film)
        chunk = len(whole) // sum(lengths)
        assert (frames(shorter) == whole[chunk * sum(lengths[: first - 1]) : chunk * sum(lengths[:last])]).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 6))
def test_a_film_edited_in_any_order_is_the_film_of_its_storyboard(begun, tmp_path, seed):
    shutil.copytree(begun, tmp_path / "films")
    editor = Editor(tmp_path / "films" / "film.mp4", seed)
    for _ in range(3):
        editor.edit()
    yaml = editor.film.with_suffix(".yaml")
    told = yaml if yaml.exists() and seed % 2 else editor.film.with_suffix(".json")
    assert run(["generate", str(told), "-o", str(tmp_path / "anew.mp4"), "--keep", "no", *SHORT]) == 0
    assert (frames(editor.film) == frames(tmp_path / "anew.mp4")).all()


COMMANDS = {
    "takes": ["retake", "film.mp4", "2", "--takes", "1", *SHORT],
    "pick": ["retake", "film.mp4", "1", "--pick", "1", *SHORT],
    "pick and keep": ["retake", "film.mp4", "1", "--pick", "2", "--then", "keep", *SHORT],
    "undo": ["retake", "film.mp4", "--undo"],
    "extend": ["extend", "film.mp4", "--prompt", "night", "--duration", "0.25s", "-o", "longer.mp4", *SHORT],
    "cut": ["cut", "film.mp4", "--from", "2", "-o", "shorter.mp4"],
}
MOMENTS = 5  # of each command at which it is killed; benchmarks/kill_edits.py kills at any, by the clock


def contents(folder):
    """All that is to be the same: times are written down in the .json files, and a lock names a process."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock" and path.suffix != ".json"
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_any_change_the_same_command_goes_on(name, begun, tmp_path, monkeypatch):
    template, folder, talk = tmp_path / "template", tmp_path / "films", tmp_path / "talk"
    shutil.copytree(begun, template)
    if name == "undo":
        monkeypatch.chdir(template)
        assert run(COMMANDS["pick"]) == 0
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    code, calls = life(COMMANDS[name], talk, die_at=0)
    assert code == 0, talk.read_text()
    wanted = contents(folder)
    films = {contents(template)["film.mp4"], wanted["film.mp4"]}
    draw = random.Random(name)
    for die_at in sorted(draw.sample(range(1, len(calls) + 1), min(MOMENTS, len(calls)))):
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        monkeypatch.chdir(folder)
        what = f"killed before {calls[die_at - 1]} ({die_at} of {len(calls)})"
        assert life(COMMANDS[name], talk, die_at)[0] == -9, what
        assert any(path.read_bytes() in films for path in folder.rglob("film.mp4")), f"{what}: the film is lost"
        if contents(folder) != wanted:  # an undo that is over would take itself back
            assert life(COMMANDS[name], talk)[0] == 0, f"{what}: {talk.read_text()}"
        found = contents(folder)
        assert found.keys() == wanted.keys(), what
        assert found == wanted, what
