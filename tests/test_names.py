"""Every name that a film will write is looked at before anything is rendered; nobody's file is replaced, nothing is in vain."""

import importlib.metadata
import json
import os
import shutil
import subprocess
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from memflow_cli.cli.app import run
from memflow_cli.errors import UsageError
from memflow_cli.film.names import record_path, report_path, run_path, trace_path
from memflow_cli.film.preflight import check_names

STORY = """\
title: T
model: toy
seed: {seed}
size: 32x32
segments:
- {{prompt: a red fox, duration: 0.25s}}
"""


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A current folder with story.yaml in it, for the toy model."""
    found = EntryPoint("toy", "toy_backbone:model", "memflow_cli.backbones")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **given: [found] if given["group"] == found.group else []
    )
    folder = tmp_path / "films"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_story(folder / "story.yaml")
    return folder


def write_story(path: Path, seed: int = 7) -> None:
    path.write_text(STORY.format(seed=seed))


def generate(*arguments: str) -> int:
    return run(["generate", "--progress", "none", *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, *arguments: str) -> str:
    """What is said when neither a dry run nor a run makes the film; neither changes a file, nor loads the model."""
    before = contents(Path())
    assert generate(*arguments, "--dry-run") == 2
    said = capsys.readouterr().err
    assert generate(*arguments) == 2
    assert capsys.readouterr().err == said and "unexpected" not in said
    assert contents(Path()) == before
    return said


@pytest.mark.parametrize("character", ["a", "狐", "é"])
def test_a_name_is_as_long_as_all_that_is_derived_from_it_allows(films, tmp_path, character, capsys):
    """241 to 248 bytes: the whole film was rendered, and then no name could be given to its record or trace, for ever."""
    most = (os.pathconf(films, "PC_NAME_MAX") - len(".memory.jsonl")) // len(character.encode())
    said = refused(capsys, "story.yaml", "-o", f"{character * (most + 1)}.mp4")
    assert "name is too long" in said and "bytes" in said
    shutil.copy("story.yaml", f"{character * (most + 1)}.yaml")
    assert "name is too long" in refused(capsys, f"{character * (most + 1)}.yaml")
    film = Path(f"{character * most}.mp4")
    assert generate("story.yaml", "-o", str(film)) == 0 and trace_path(film).exists()


def test_a_path_too_long_for_what_lies_in_the_run_folder(films, capsys):
    deep = films
    while len(str(deep)) < 4050:
        deep /= "d" * min(200, 4052 - len(str(deep)))
    with pytest.raises(UsageError, match="path of the film's folder is too long"):
        check_names(deep / "a-film-of-some-name.mp4")


@pytest.mark.parametrize("path", [record_path, trace_path, run_path, report_path], ids=lambda path: path.__name__)
@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe", "dangling"])
def test_what_is_not_ours_is_never_replaced(films, path, kind, capsys):
    """fox.memory.jsonl, a prompt file, was replaced by the trace of fox.mp4, with code 0."""
    place = path(Path("fox.mp4"))
    if kind == "file":
        place.write_text('{"prompts": ["a fox"]}\n')
    elif kind == "folder":
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        target = Path("mine")
        if kind == "link":
            target.write_text("mine")
        place.symlink_to(target)
    if (path, kind) == (report_path, "folder"):
        assert generate("story.yaml", "-o", "fox.mp4", "--dry-run", "--inspect") == 0
        return
    for options in [("--inspect",), ("--inspect", "-y"), ("--inspect", "--no-resume")]:
        assert str(place) in refused(capsys, "story.yaml", "-o", "fox.mp4", *options)


def test_a_prompt_file_that_the_trace_would_replace(films, capsys):
    Path("fox.memory.jsonl").write_text('{"prompts": ["a red fox"]}\n')
    assert "is not a film's memory trace" in refused(
        capsys, "fox.memory.jsonl", "--model", "toy", "--size", "32x32", "--segment-seconds", "0.25", "-o", "fox.mp4"
    )


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_a_film_that_is_not_a_regular_file(films, kind, capsys):
    """A link was replaced by a plain file, and what it named stayed empty."""
    if kind == "pipe":
        os.mkfifo("film.mp4")
    else:
        Path("big").mkdir()
        Path("film.mp4").symlink_to("big/real.mp4")
        if kind == "link":
            Path("big/real.mp4").write_text("mine")
    for options in [(), ("-y",)]:
        said = refused(capsys, "story.yaml", "-o", "film.mp4", *options)
        assert ("not a regular file" if kind == "pipe" else "is a symbolic link") in said
        assert kind == "pipe" or "big/real.mp4" in said


def test_a_file_of_somebody_elses_is_replaced_by_y_only(films, capsys):
    Path("film.mp4").write_text("mine")
    assert "is another film than this would be" in refused(capsys, "story.yaml", "-o", "film.mp4")
    assert generate("story.yaml", "-o", "film.mp4", "-y") == 0
    assert Path("film.mp4").stat().st_size > 1000


def test_two_films_that_would_share_a_record(films, capsys):
    assert generate("story.yaml", "-o", "film.mp4") == 0
    assert "would share film.json" in refused(capsys, "story.yaml", "-o", "film.MP4")
    assert run_path(Path("a.MP4")) == run_path(Path("a.mp4")), "so that two at once are seen"


def test_home_is_filled_in(films, tmp_path, monkeypatch, capsys):
    """--out=~/films/a.mp4: no shell fills it in, and the hint was to make a folder of the name ~."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert generate("story.yaml", "--out=~/a.mp4") == 0
    assert (tmp_path / "home" / "a.mp4").exists() and not Path("~").exists()
    assert "~nobody-of-this-name" in refused(capsys, "story.yaml", "--out=~nobody-of-this-name/a.mp4")
    assert generate("story.yaml", "--out=~/new/") == 0 and (tmp_path / "home" / "new" / "story.mp4").exists()


@pytest.mark.parametrize(
    "line",
    [
        "inspect-memory film.mp4 --out=~/made",
        "inspect-memory film.mp4 -o~/made",
        "convert story.yaml --out=~/made/",
        "convert story.yaml -o~/made/new/story.yaml",
        "cut film.mp4 --out=~/made.mp4",
        "extend film.mp4 --prompt=bear --out=~/made.mp4",
        "init ~/made.yaml",
    ],
)
def test_home_is_filled_in_for_every_command(films, tmp_path, line, monkeypatch, capsys):
    """Only generate's -o knew: `inspect-memory --out=~/x` and `convert --out=~/x/` made a folder of the name ~."""
    assert generate("story.yaml", "-o", "film.mp4") == 0
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert run(line.split()) == 0, capsys.readouterr().err
    assert not Path("~").exists() and any(path.name.startswith("made") for path in (tmp_path / "home").iterdir())
    assert run(line.replace("~/", "~nobody-of-this-name/").split()) == 2
    assert "~nobody-of-this-name" in capsys.readouterr().err and not list(films.glob("~*"))


@pytest.mark.parametrize("command", [["init"], ["convert", "story.yaml", "-o"]])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "below a file"])
def test_a_storyboard_is_written_into_a_file_and_nothing_else(films, tmp_path, command, kind, capsys):
    """A pipe was waited for, for ever; through a link somebody else's file was replaced; "exists already, -y replaces it"
    was said of the file in whose place a folder was wanted.
    """
    target = tmp_path / "mine"
    target.write_text("mine")
    place = Path("story.yaml/new.yaml" if kind == "below a file" else "new.yaml")
    if kind in ("link", "dangling"):
        place.symlink_to(target if kind == "link" else "nowhere")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder" and command == ["init"]:
        place.mkdir()
    elif kind == "folder":
        Path("new.yaml/story.yaml").mkdir(parents=True)
    assert run([*command, str(place), "-y"]) == 2
    said = capsys.readouterr().err
    assert "new.yaml" in said and "-y replaces" not in said and "unexpected" not in said
    assert target.read_text() == "mine" and not Path("nowhere").exists()


@pytest.mark.parametrize(
    "line",
    ["generate story.yaml -o {}.mp4", "generate story.yaml -o {}/", "generate {}.yaml", "plan {}.yaml", "init {}.yaml",
     "inspect-memory {}.mp4", "inspect-memory film.mp4 -o {}", "convert story.yaml -o {}.yaml", "tidy {}", "cut {}.mp4",
     "models show ./{}", "generate story.yaml --lora {}.safetensors", "models make-tiny theatre {}"],
)  # fmt: skip
def test_a_name_that_the_system_does_not_take_is_a_sentence(films, line, capsys):
    """`-o` with 264 letters: code 1, as if the film could not be made, and the name alone over four lines."""
    assert generate("story.yaml", "-o", "film.mp4") == 0
    before = contents(Path())
    assert run(line.format("x" * 300).split()) in (2, 3)
    said = capsys.readouterr().err
    assert "unexpected" not in said and "x" * 30 in said and contents(Path()) == before


@pytest.mark.parametrize("option", ["--model", "--lora"])
def test_a_file_that_is_not_weights_is_told_by_the_dry_run(films, option, capsys):
    """`-m story.yaml`: "the model story is not downloaded ... memflow models pull story.yaml"."""
    for arguments in (["--dry-run"], []):
        assert generate("story.yaml", option, "story.yaml", "-o", "film.mp4", *arguments) == 3
        said = capsys.readouterr().err
        assert "story.yaml is not a checkpoint" in said and "pull" not in said
    assert os.listdir() == ["story.yaml"]


@pytest.mark.parametrize("out", ["/proc/film.mp4", "/proc/films/", "other.mp4.run", "other.mp4.run/"])
def test_where_no_film_can_be_is_told_by_the_dry_run(films, out, capsys):
    """/proc says that it can be written; a film of this name was put among the files of the run folder of another."""
    assert generate("story.yaml", "-o", "other.mp4", "--keep-run") == 0
    refused(capsys, "story.yaml", "-o", out)


def test_a_folder_that_is_named_is_made(films, capsys):
    assert generate("story.yaml", "-o", "new/deep/", "--dry-run") == 0
    assert not Path("new").exists(), "a dry run writes nothing"
    assert generate("story.yaml", "-o", "new/deep/") == 0
    assert Path("new/deep/story.mp4").exists()
    assert "mkdir -p" in refused(capsys, "story.yaml", "-o", "other/film.mp4")


def test_a_loop_over_prompt_files_does_not_take_traces_for_stories(films, capsys):
    """`generate *.jsonl`, given twice in one folder, found the traces of its own films."""
    Path("one.jsonl").write_text("a red fox\n")
    options = ["--model", "toy", "--size", "32x32", "--segment-seconds", "0.25"]
    for _ in range(2):
        assert generate(*sorted(map(str, Path().glob("*.jsonl"))), *options) == 0
    assert "is what a film remembered" in refused(capsys, "one.memory.jsonl", *options)


def test_a_dry_run_refuses_a_run_of_another_recipe_or_process(films, capsys):
    from memflow_cli.film.locked_folder import LockedFolder
    from memflow_cli.film.run_on_disk import is_run

    assert generate("story.yaml", "-o", "film.mp4", "--keep-run") == 0
    Path("film.mp4.run/keep").unlink()  # as one that was begun and not finished: a kept one gives way
    write_story(Path("story.yaml"), seed=8)
    said = refused(capsys, "story.yaml", "-o", "film.mp4", "-y")
    assert "seed was 7, is now 8" in said and "--no-resume" in said
    assert generate("story.yaml", "-o", "film.mp4", "-y", "--no-resume", "--dry-run") == 0
    with LockedFolder.take(Path("film.mp4.run"), is_run):
        assert "is being rendered by another process" in refused(capsys, "story.yaml", "-o", "film.mp4", "-y")


def test_a_disk_that_cannot_take_the_film(films, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=10**9, used=10**9, free=100))
    assert generate("story.yaml", "-o", "film.mp4", "--dry-run") == 1
    assert "no space left on the disk" in capsys.readouterr().err
    assert generate("story.yaml", "-o", "film.mp4") == 1
    assert os.listdir() == ["story.yaml"]


@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_a_film_that_was_damaged_is_not_taken_for_made(films, place, capsys):
    """1,500 damaged bytes of the same length: "is there already and stays"."""
    assert generate("story.yaml", "-o", "film.mp4") == 0
    film = bytearray(Path("film.mp4").read_bytes())
    film[int(place * len(film))] ^= 1
    Path("film.mp4").write_bytes(film)
    assert "is damaged" in refused(capsys, "story.yaml", "-o", "film.mp4")
    assert generate("story.yaml", "-o", "film.mp4", "-n") == 0
    assert generate("story.yaml", "-o", "film.mp4", "-y") == 0
    assert generate("story.yaml", "-o", "film.mp4") == 0


def test_a_trace_that_is_gone_is_told(films, capsys):
    assert generate("story.yaml", "-o", "film.mp4") == 0
    Path("film.memory.jsonl").unlink()
    assert run(["generate", "story.yaml", "-o", "film.mp4", "--progress", "plain"]) == 0
    assert "film.memory.jsonl is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["film.json", "film.mp4.run/run.json", "film.memory.jsonl"])
@pytest.mark.parametrize("endless", ["pipe", "/dev/zero"])
def test_nothing_endless_is_read_or_waited_for(films, name, endless, capsys):
    place = Path(name)
    place.parent.mkdir(exist_ok=True)
    if endless == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(endless)
    assert generate("story.yaml", "-o", "film.mp4") == 2
    assert str(place) in capsys.readouterr().err


def test_a_record_of_a_finished_film_is_valid_json_of_its_bytes(films):
    assert generate("story.yaml", "-o", "film.mp4") == 0
    checksum = subprocess.run(["sha256sum", "film.mp4"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert json.loads(Path("film.json").read_text())["sha256"] == checksum


@pytest.mark.parametrize("name", ["film.inspect/index.html", "film.inspect/memory-map.png", "film.inspect/segment-01"])
def test_a_report_is_not_written_through_a_link(films, tmp_path, name, capsys):
    assert generate("story.yaml", "-o", "film.mp4") == 0
    Path("film.inspect").mkdir()
    target = tmp_path / "mine"
    if name.endswith("segment-01"):
        target.mkdir()
        (target / "recall-1_t=0_score=1.png").write_text("mine")
    else:
        target.write_text("mine")
    Path(name).symlink_to(target)
    assert run(["inspect-memory", "film.mp4"]) == 2
    assert f"{name} is a symbolic link" in capsys.readouterr().err
    assert (target.read_text() if target.is_file() else (target / "recall-1_t=0_score=1.png").read_text()) == "mine"


@pytest.mark.parametrize("where", ["-o", "film.inspect"])
def test_a_page_that_is_not_ours_is_not_replaced_by_a_report(films, where, capsys):
    """`inspect-memory film.mp4 -o .`, in a folder with somebody's own index.html, replaced it."""
    assert generate("story.yaml", "-o", "film.mp4") == 0
    folder = Path("site" if where == "-o" else "film.inspect")
    folder.mkdir()
    (folder / "index.html").write_text("<title>my home page</title>")
    options = ["-o", "site"] if where == "-o" else []
    assert run(["inspect-memory", "film.mp4", *options]) == 2
    assert "is not a page of ours" in capsys.readouterr().err
    assert os.listdir(folder) == ["index.html"] and "my home page" in (folder / "index.html").read_text()
    if where != "-o":
        assert "is not a page of ours" in refused(capsys, "story.yaml", "-o", "film.mp4", "--inspect", "-y")
    (folder / "index.html").unlink()
    assert run(["inspect-memory", "film.mp4", *options]) == run(["inspect-memory", "film.mp4", *options]) == 0


@pytest.mark.parametrize("endless", ["pipe", "/dev/zero"])
def test_a_report_waits_for_nothing(films, endless, capsys):
    """A pipe of the trace's name was opened, and waited for, for ever."""
    assert generate("story.yaml", "-o", "film.mp4") == 0
    trace = Path("film.memory.jsonl")
    trace.unlink()
    if endless == "pipe":
        os.mkfifo(trace)
    else:
        trace.symlink_to(endless)
    assert run(["inspect-memory", "film.mp4"]) == 2
    assert "not a regular file" in capsys.readouterr().err
