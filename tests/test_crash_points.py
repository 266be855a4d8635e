"""Stopped before any call that changes a file, every command goes on: the right film, and nothing else left behind.

Each life of a command is a process of its own that is killed before its n-th such call; then the same command is given
again. The model is small, its films are two chunks long.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from crash_points import EVERY_CALL, life

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
    import memflow_cli.cli.generate
    import memflow_cli.cli.inspect_memory
    import memflow_cli.machine.stop_requests
    import memflow_cli.models.load
    import memflow_cli.report  # noqa: F401
    import toy_backbone  # noqa: F401

    found = EntryPoint("toy", "toy_backbone:model", "memflow_cli.backbones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.metadata, "entry_points", lambda **given: [found] if given["group"] == found.group else []
        )
        yield


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

    `step`: every so many of the calls is tried; with HYPOTHESIS_PROFILE=long, each.
    """

    options: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    step: int = 3

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
    "edited from the start": EditedFromTheStart(step=6),
    "no-resume": Begun(("--no-resume",), step=6),
    "keep-run": Case(("--keep-run",), ("film.mp4.run",), step=6),
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
    for die_at in range(1, len(calls) + 1, 1 if EVERY_CALL else case.step):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        what = f"killed before {calls[die_at - 1]} ({die_at} of {len(calls)})"
        assert generate(folder, *case.options, die_at=die_at)[0] == -9, what
        assert_no_record_of_another_film(folder)
        assert generate(folder, *case.options)[0] == 0, f"{what}: {(tmp_path / 'talk').read_text()}"
        assert (sha256(folder / "film.mp4"), sha256(folder / "film.memory.jsonl")) == right, what
        assert_no_record_of_another_film(folder)
        assert sorted(os.listdir(folder)) == sorted([*COMPANIONS, "story.yaml", *case.left]), what


@pytest.mark.slow
def test_a_batch_killed_in_its_second_film_leaves_the_first_as_it_is(right, tmp_path):
    template, folder = tmp_path / "template", tmp_path / "films"
    template.mkdir()
    write_story(template, "an owl")
    (template / "story.yaml").rename(template / "a.yaml")
    write_story(template)
    (template / "story.yaml").rename(template / "b.yaml")

    def batch(die_at: int | None = None) -> tuple[int, list[str]]:
        stories = [str(folder / name) for name in ("a.yaml", "b.yaml")]
        return life(["generate", *stories, "-o", f"{folder}/", "--progress", "none"], tmp_path / "talk", die_at)

    shutil.copytree(template, folder)
    code, calls = batch(die_at=0)
    assert code == 0
    whole = {path.name: sha256(path) for path in folder.glob("*.m*")}
    for die_at in range(len(calls) // 2 - 4, len(calls) + 1, 5):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        assert batch(die_at)[0] == -9
        first = (folder / "a.mp4").stat().st_mtime_ns if (folder / "a.json").exists() else None
        assert batch()[0] == 0, (tmp_path / "talk").read_text()
        assert {path.name: sha256(path) for path in folder.glob("*.m*")} == whole
        assert first in (None, (folder / "a.mp4").stat().st_mtime_ns)
        assert not list(folder.glob("*.run"))
    assert sha256(folder / "b.mp4") == right[0]


@pytest.mark.slow
def test_a_report_killed_before_any_change_is_written_the_next_time(tmp_path):
    folder = tmp_path / "films"
    arguments = ["inspect-memory", str(folder / "film.mp4")]

    def contents() -> dict[str, str]:
        return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}

    template = tmp_path / "template"
    template.mkdir()
    write_story(template)
    assert generate(template)[0] == 0
    shutil.copytree(template, folder)
    before = contents()
    code, calls = life(arguments, tmp_path / "talk", die_at=0)
    assert code == 0, (tmp_path / "talk").read_text()
    whole = contents()
    for die_at in range(1, len(calls) + 1, 2):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        assert life(arguments, tmp_path / "talk", die_at)[0] == -9
        assert before.items() <= contents().items(), "the film and what lies beside it is only read"
        assert life(arguments, tmp_path / "talk")[0] == 0
        assert contents() == whole


def remains(folder: Path) -> dict[str, object]:
    """Every file and what is in it, but for what differs between two runs: who holds a lock, and how long it took."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "lock":
            content = path.read_bytes()
            record = json.loads(content) if path.suffix == ".json" else None
            if isinstance(record, dict) and "timings" in record:
                found[str(path.relative_to(folder))] = {**record, "timings": None}
            else:
                found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


OTHERS = {
    "init": ["init", "new.yaml", "-y"],
    "convert": ["convert", "prompts.jsonl", "-o", "made/"],
    "cut": ["cut", "film.mp4", "--to", "1"],
    "tidy": ["tidy", "--free"],
    "make-tiny": ["models", "make-tiny", "theatre", "tiny"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a finished film and what it keeps."""
    folder = tmp_path_factory.mktemp("finished") / "films"
    folder.mkdir()
    write_story(folder)
    (folder / "prompts.jsonl").write_text('["a red fox"]\n["a bear"]\n')
    (folder / "new.yaml").write_text("old")
    assert generate(folder, "--keep-run")[0] == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_any_other_command_killed_before_any_change_goes_on(name, finished, tmp_path, monkeypatch):
    """The same command again does what it would have done: nothing is in its way, nothing is lost, nothing is left over."""
    import memflow_cli.models.family
    import memflow_cli.models.theatre.autoencoder
    import memflow_cli.models.wan.tiny  # noqa: F401 - imported before a life is forked off

    folder, talk = tmp_path / "films", tmp_path / "talk"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def begin_anew() -> None:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(finished, folder, dirs_exist_ok=True)

    begin_anew()
    before = remains(folder)
    code, calls = life(OTHERS[name], talk, die_at=0)
    assert code == 0, talk.read_text()
    whole = remains(folder)
    for die_at in range(1, len(calls) + 1, 1 if EVERY_CALL else 1 + len(calls) // 12):
        begin_anew()
        what = f"killed before {calls[die_at - 1]} ({die_at} of {len(calls)})"
        assert life(OTHERS[name], talk, die_at)[0] == -9, what
        assert life(OTHERS[name], talk)[0] == 0, f"{what}: {talk.read_text()}"
        assert remains(folder).keys() == whole.keys(), what
        assert remains(folder) == whole, what
    assert before != whole
