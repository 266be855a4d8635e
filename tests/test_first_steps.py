"""What whoever uses memflow for the first time trips over is a sentence, and nothing is left behind by it."""

import json
import shlex
from pathlib import Path

import pytest

from memflow_cli.cli.app import run
from memflow_cli.errors import MemflowError
from memflow_cli.film.durable import write_through
from memflow_cli.film.names import film_path, record_path, trace_path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with what lies beside a film, as far as its names tell."""
    for name in ("film.mp4", "film.json", "film.yaml", "film.memory.jsonl"):
        (tmp_path / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("beside", ["film.json", "film.yaml", "film.memory.jsonl"])
@pytest.mark.parametrize("command", ["cut", "retake", "extend"])
def test_what_lies_beside_a_film_is_not_taken_for_it(here, beside, command, capfd):
    """`extend film.json` made all of the film anew, and `cut film.json` said that film.json was damaged."""
    more = ["--prompt", "night", "-o", "longer.mp4"] if command == "extend" else []
    assert run([command, beside, *more]) == 2
    assert f"{beside} is not a film" in (said := capfd.readouterr().err) and "did you mean film.mp4?" in said
    assert len(list(here.iterdir())) == 4


@pytest.mark.parametrize("name", ["film.mp4", "a.b.mp4"])
@pytest.mark.parametrize("beside", [record_path, trace_path, lambda film: film.with_suffix(".yaml")])
def test_the_film_is_known_by_what_lies_beside_it(name, beside):
    """Of a.b.memory.jsonl, a.mp4 was meant to be the film."""
    assert film_path(beside(Path(name))) == Path(name)


@pytest.mark.parametrize("out", ["x.mkv", "x", "nowhere/x.mp4"])
@pytest.mark.parametrize("command", [["live", "--stdin"], ["extend", "film.mp4", "--prompt", "a"], ["cut", "film.mp4"]])
def test_a_film_goes_nowhere_that_no_film_is_found(here, out, command, capfd):
    """`live -o x.mkv` made a film beside which x.mp4.run stood as unfinished."""
    (here / "film.json").write_text("{")
    assert run([*command, "-o", out]) == 2
    assert not list(here.glob("x*")) and len(list(here.iterdir())) == 4, capfd.readouterr().err


@pytest.mark.parametrize("command", [["extend", "-o", "longer.mp4", "--prompt", "a"], ["retake"]])
def test_a_kind_of_progress_that_there_is_not_is_told_first(here, command, capfd):
    """It was told once the film's storyboard and a copy of all that it keeps, or a folder of takes, had been written."""
    name, *more = command
    assert run([name, "film.mp4", *more, "--progress", "loud"]) == 2
    assert capfd.readouterr().err.startswith("error: --progress loud: no such kind")


@pytest.mark.parametrize("name", ["story.txt", "story.json", "story.jsonl", "story.mp4", "nowhere/story.yaml"])
def test_a_storyboard_is_written_where_it_is_read_as_one(here, name, capfd):
    """`init story.txt` wrote a storyboard of which `plan story.txt` read every line as a film of its own."""
    assert run(["init", name]) == 2
    assert "name ends in .yaml" in (said := capfd.readouterr().err) or "mkdir -p nowhere" in said
    Path("prompts.txt").write_text("a red fox\n")
    if "/" not in name:
        assert run(["convert", "prompts.txt", "-o", name]) == 2
    assert not Path(name).exists()


@pytest.mark.parametrize("name", ["a b.yaml", "it's.yaml", "-x.yaml", "$HOME.yaml", "🦊.yaml"])
def test_a_command_that_is_told_can_be_typed(here, name, capfd):
    """`next: memflow plan a b.yaml` is a plan of two storyboards, `memflow plan -x.yaml` one of none."""
    assert run(["init", f"./{name}"]) == 0
    told = capfd.readouterr().err.removeprefix("next: ").partition(", then ")[0]
    program, *words = shlex.split(told)
    assert program == "memflow" and run(words) == 0


def test_a_text_that_is_not_utf8_is_told_with_what_to_do(here, capfd):
    """What `>` of some shells writes was "a control character, which YAML does not allow", and a film "not UTF-8 text"."""
    text = "segments: [{prompt: a fox, duration: 1s}]\n"
    for name in ("utf-16", "utf-16-le", "utf-16-be", "latin-1"):
        mark = "ü" if name == "latin-1" else "\ufeff" if name != "utf-16" else ""
        for path in (Path("story.yaml"), Path("story.txt"), Path("story.json")):
            path.write_bytes((mark + text).encode(name))
            assert run(["plan", str(path)]) == 2
            assert "not UTF-8 text\nhint: save it as UTF-8" in capfd.readouterr().err
    Path("film.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    assert run(["plan", "film.mp4"]) == 2
    assert "a film, not a storyboard\nhint: its record is read: film.json" in capfd.readouterr().err


@pytest.mark.parametrize("line", ["duration:", "duration: ~", "prompt: a\n  duration: 1s\n-"])
def test_nothing_is_called_nothing(here, line, capfd):
    """An empty duration was "None"."""
    Path("story.yaml").write_text(f"segments:\n- {line}\n")
    assert run(["plan", "story.yaml"]) == 2
    assert "nothing" in (said := capfd.readouterr().err) and "None" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "s.yaml", "--memory", "foo"],
        ["plan", "s.yaml", "--kv", "foo"],
        ["inspect-memory", "film.mp4", "--format", "foo"],
    ],
)
def test_a_word_that_is_none_of_those_allowed_is_told_in_plain_words(arguments, capfd):
    """The library's words were "Invalid value for '--format' / '-f': Value error, 'foo' is not one of"."""
    assert run(arguments) == 2
    assert capfd.readouterr().err.startswith(f"error: {arguments[2]}: 'foo' is not one of '")


def test_what_cannot_be_written_leaves_no_part_of_it(tmp_path):
    """A full disk kept story.yaml.unfinished."""
    (tmp_path / "there").mkdir()
    with pytest.raises(MemflowError, match="cannot write"):
        write_through(tmp_path / "there", b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_tidy_tells_a_folder_that_no_film_left_from_what_is_kept(here, capfd):
    """An empty film.mp4.run was "of a finished film, which can be edited and gone on from"; a name of two lines took two."""
    assert run(["tidy"]) == 0
    assert "no film in . keeps anything" in capfd.readouterr().err
    folder = here / "two\nlines.mp4.run"
    folder.mkdir()
    for asked in (".", folder.name):
        assert run(["tidy", asked, "--json"]) == 0
        assert [row["state"] for row in json.loads(capfd.readouterr().out)] == ["leftover"]
    assert run(["tidy", "--free"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 1 and not folder.exists()
    assert run(["tidy", "film.mp4"]) == 2
    assert "a file, not a folder" in capfd.readouterr().err
