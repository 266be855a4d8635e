"""Stopped before any call that changes a file, every command goes on: the right film, and nothing else left behind.

Each life of a command is a process of its own that is killed before its n-th such call; then the same command is given
again. A stand-in for the encoder writes frames as they are, since hundreds of films are made here; the real one is killed
in test_resume and in benchmarks/kill.py.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from crash_points import life

STORY = """\
title: {title}
model: toy
seed: {seed}
size: 32x32
segments:
- {{prompt: {first}, duration: 0.25s}}
- {{prompt: {second}, duration: 0.25s}}
"""
COMPANIONS = ["film.json", "film.memory.jsonl", "film.mp4"]


@pytest.fixture(scope="module", autouse=True)
def toy():
    """The toy model is known, and all that a life needs is imported before it is forked off."""
    import toy_backbone  # noqa: F401
    from memflow_cli.film import film_under_way, parts, run_folder

    found = EntryPoint("toy", "toy_backbone:model", "memflow_cli.backbones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.metadata, "entry_points", lambda **given: [found] if given["group"] == found.group else []
        )
        patch.setattr(parts, "PartWriter", PlainFrames)
        patch.setattr(run_folder, "probe", PlainFrames.probe)
        patch.setattr(film_under_way, "stitch", PlainFrames.stitch)
        yield


class PlainFrames:
    """Writes, reads and joins videos of frames as they are, in the encoder's manner: a name comes with a whole file."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self.path = path
        self._about = {"width": width, "height": height}
        self._frames: list[bytes] = []

    def write(self, frames) -> None:
        self._frames += [frame.tobytes().hex() for frame in frames]

    def close(self) -> None:
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        unfinished.write_text(json.dumps({**self._about, "frames": self._frames}))
        os.replace(unfinished, self.path)

    @staticmethod
    def probe(path: Path) -> SimpleNamespace:
        about = json.loads(path.read_text())
        return SimpleNamespace(width=about["width"], height=about["height"], num_frames=len(about["frames"]))

    @staticmethod
    def stitch(parts, out: Path, fps: float, num_frames: int, metadata: dict[str, str]) -> None:
        frames = [frame for part in parts for frame in json.loads(part.read_text())["frames"]]
        assert len(frames) == num_frames
        unfinished = out.with_name(out.name + ".unfinished")
        unfinished.write_text(json.dumps({**metadata, "frames": frames}))
        os.replace(unfinished, out)


def write_story(folder: Path, first: str = "a red fox", second: str = "a bear", seed: int = 7, title: str = "T") -> str:
    path = folder / "story.yaml"
    path.write_text(STORY.format(title=title, seed=seed, first=first, second=second))
    return str(path)


def generate(folder: Path, *options: str, die_at: int | None = None) -> tuple[int, list[str]]:
    arguments = ["generate", str(folder / "story.yaml"), "-o", str(folder / "film.mp4"), "--progress", "none", *options]
    return life(arguments, folder.parent / "talk", die_at)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Case:
    """`options`: of the command that is killed and given again. `left`: what lies beside film and storyboard at the end.

    `step`: every so many of the calls is tried, where other cases come to most of the same.
    """

    options: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    step: int = 1

    def prepare(self, folder: Path) -> None:
        write_story(folder)


class Overwriting(Case):
    def prepare(self, folder: Path) -> None:
        write_story(folder, "an owl", title="Old")
        assert generate(folder)[0] == 0
        write_story(folder)


class Edited(Case):
    """The second segment, or both, after a kill of a film that was almost done."""

    first = "a red fox"

    def prepare(self, folder: Path) -> None:
        write_story(folder, self.first, "a wolf")
        calls = generate(folder, die_at=0)[1]
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_story(folder, self.first, "a wolf")
        last = max(number for number, call in enumerate(calls, start=1) if call == "__exit__ parts.jsonl")
        assert generate(folder, die_at=last)[0] == -9
        write_story(folder)


class EditedFromTheStart(Edited):
    first = "an owl"


class Begun(Case):
    """With --no-resume, on a render of the same storyboard."""

    def prepare(self, folder: Path) -> None:
        Edited.prepare(Edited(), folder)


CASES = {
    "generate": Case(),
    "overwrite": Overwriting(("-y",)),
    "edited": Edited(),
    "edited from the start": EditedFromTheStart(step=3),
    "no-resume": Begun(("--no-resume",), step=3),
    "keep-run": Case(("--keep-run",), ("film.mp4.run",), step=3),
}


@pytest.fixture(scope="module")
def right(tmp_path_factory) -> tuple[str, str]:
    """Checksums of the film and its trace, made without a break."""
    folder = tmp_path_factory.mktemp("right") / "films"
    folder.mkdir()
    write_story(folder)
    assert generate(folder)[0] == 0
    return sha256(folder / "film.mp4"), sha256(folder / "film.memory.jsonl")


def assert_no_record_of_another_film(folder: Path) -> None:
    if (folder / "film.json").exists() and (folder / "film.mp4").exists():
        assert json.loads((folder / "film.json").read_text())["sha256"] == sha256(folder / "film.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_killed_before_any_change_the_same_command_makes_the_film(name, right, tmp_path):
    case = CASES[name]
    template, folder = tmp_path / "template", tmp_path / "films"
    template.mkdir()
    case.prepare(template)
    shutil.copytree(template, folder)
    code, calls = generate(folder, *case.options, die_at=0)
    assert code == 0, (tmp_path / "talk").read_text()
    for die_at in range(1, len(calls) + 1, case.step):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        what = f"killed before {calls[die_at - 1]} ({die_at} of {len(calls)})"
        assert generate(folder, *case.options, die_at=die_at)[0] == -9, what
        assert_no_record_of_another_film(folder)
        assert generate(folder, *case.options)[0] == 0, f"{what}: {(tmp_path / 'talk').read_text()}"
        assert (sha256(folder / "film.mp4"), sha256(folder / "film.memory.jsonl")) == right, what
        assert_no_record_of_another_film(folder)
        assert sorted(os.listdir(folder)) == sorted([*COMPANIONS, "story.yaml", *case.left]), what
