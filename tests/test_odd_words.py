"""What is told of words that are odd: brackets that are no lengths, paths of any length, options without an argument."""

import io
import json
import re

import pytest

from memflow_cli.cli.app import run
from memflow_cli.cli.words import table
from memflow_cli.story.load import load_stories
from memflow_cli.story.texts import shortened


@pytest.mark.parametrize("bracket", ["[1e400s]", "[-3s]", "[5 sec]", "[1234567s]", "[nan s]", "[7]"])
def test_a_bracket_that_is_almost_a_length_is_told(bracket, tmp_path):
    """`a fox walks[1e400s]` became a prompt with the bracket in it, of ten seconds, without a word."""
    (tmp_path / "a.txt").write_text(f"a fox walks{bracket}\n")
    (story,) = load_stories(tmp_path / "a.txt")
    assert bracket in story.storyboard.segments[0].prompt
    assert any(bracket in warning for warning in story.warnings)


@pytest.mark.parametrize("line", ["a fox walks[5s]", "a fox[5s] | a cat[4]", "a sign says [3] here", "a fox [red]"])
def test_other_brackets_are_not_told(line, tmp_path):
    (tmp_path / "a.txt").write_text(line + "\n")
    assert not load_stories(tmp_path / "a.txt")[0].warnings


@pytest.mark.parametrize("name", ["x" * 5000, "a b/" * 2000])
def test_a_path_of_thousands_of_characters_is_told_short(name, capfd):
    """A path of 5,000 characters filled the terminal, and the sentence about it was out of sight."""
    assert run(["plan", f"{name}.yaml"]) == 2
    told = capfd.readouterr().err
    assert len(told) < 2500 and name[:100] in told and "…" in told


def test_sentences_of_usual_length_stay_whole():
    sentence = "error: " + "films/" * 50 + "film.mp4 is not there, and so on. " * 20
    assert shortened(sentence) == sentence


@pytest.mark.parametrize(
    ("arguments", "help_of"),
    [(["generate", "--seed"], "generate"), (["retake", "film.mp4", "--takes"], "retake"), (["models", "x"], "models")],
)
def test_the_hint_is_the_command_s_own_help(arguments, help_of, capfd):
    """An option without its argument was told with the help of the whole program."""
    assert run(arguments) == 2
    assert capfd.readouterr().err.endswith(f"hint: memflow {help_of} --help\n")


def test_a_table_stands_upright_on_a_narrow_terminal(monkeypatch):
    """`memflow bench` on 40 columns broke in the middle of its rows."""
    rows = [["ms a chunk", "frames/s", "quartiles"], ["nam+sma", "12.3", "0.9 - 1.2"], ["window", "9.0", "1 - 1"]]
    wide = table(rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert table(rows) == wide
    monkeypatch.setenv("COLUMNS", "24")
    narrow = table(rows)
    assert max(map(len, narrow.splitlines())) <= 24
    assert narrow.splitlines()[:3] == ["nam+sma", "  frames/s   12.3", "  quartiles  0.9 - 1.2"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize("command", ["plan", "models show", "models list", "doctor"])
def test_no_line_is_wider_than_the_terminal_but_for_what_is_to_be_copied(command, columns, tmp_path, monkeypatch):
    """On 40 columns the terminal broke lines of 46, 100 and 200 characters in the middle of a word."""
    story = tmp_path / "story.yaml"
    text = "segments:\n- {prompt: '{fox} walks to the left', duration: 3s}\ncharacters: {fox: a red fox with a hat}\n"
    story.write_text(text)
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("COLUMNS", str(columns))
    more = {"plan": [str(story), "--meaning"], "models show": ["theatre"], "doctor": ["--offline"]}
    run([*command.split(), *more.get(command, [])])
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown.getvalue().splitlines()]
    assert len(lines) > 8
    copied = re.compile(r"\s*(repair: .*|.*/\S*)")
    assert not [line for line in lines if len(line) > columns and not copied.fullmatch(line)]


@pytest.mark.parametrize("line", ["  image: no.png", "  image: ''", "sound: no.wav", "sound: '  '"])
def test_plan_refuses_the_files_that_a_dry_run_refuses(line, tmp_path, capfd):
    """`plan` showed the film of a story whose picture or sound was not there, which `generate --dry-run` refused."""
    segment, end = (line, "") if line.startswith(" ") else ("", line)
    story = tmp_path / "story.yaml"
    story.write_text(f"segments:\n- prompt: a fox\n  duration: 1s\n{segment}\n{end}\n")
    assert run(["plan", str(story)]) == 2
    planned = capfd.readouterr()
    assert run(["generate", str(story), "--dry-run", "-o", str(tmp_path / "a.mp4")]) == 2
    assert planned.err == capfd.readouterr().err and not planned.out
    assert ("no." in planned.err) != ("is empty" in planned.err)


def test_plan_of_several_films_tells_of_each(tmp_path, capfd):
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompts": ["a fox"], "sound": "no.wav"}) + "\n\n" + '["a cat"]\n')
    assert run(["plan", str(tmp_path / "a.jsonl")]) == 2
    told = capfd.readouterr()
    assert "no.wav" in told.err and "a cat" in told.out


@pytest.mark.parametrize("arguments", [["doctor"], ["generate", "story.yaml"], ["tidy"], ["plan", "story.yaml"]])
def test_a_current_folder_that_is_gone_is_a_sentence(arguments, tmp_path, monkeypatch, capfd):
    """A library of torch's ended the process, with words about itself; `generate` spoke of "-o None"."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(arguments) == 2
    assert capfd.readouterr().err.startswith("error: the current folder is gone")


def test_a_folder_in_the_film_s_place_is_told_without_an_option_that_nobody_gave(tmp_path, monkeypatch, capfd):
    (tmp_path / "story.yaml").write_text("segments:\n- {prompt: a fox, duration: 1s}\n")
    (tmp_path / "story.mp4").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["generate", "story.yaml", "--dry-run"]) == 2
    told = capfd.readouterr().err
    assert "story.mp4 is a folder" in told and "None" not in told
