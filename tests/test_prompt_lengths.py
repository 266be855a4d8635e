"""A prompt that is longer than the model reads is said so once, with the segment and how much is lost."""

import json

import pytest

from memflow_cli.cli.app import run
from memflow_cli.cli.prompt_lengths import LostTokens, lost_tokens
from memflow_cli.cli.stories import read_stories

LONG = "the red fox walks in the snow " * 3  # 21 words and an end token; the tiny model reads 12


@pytest.fixture
def story(tmp_path, tiny_model_folder):
    path = tmp_path / "story.yaml"
    segments = "".join(f"- {{prompt: {prompt}, duration: 1s}}\n" for prompt in ("a red fox", LONG, "the snow", LONG))
    path.write_text(f"title: t\nmodel: {tiny_model_folder}\nseed: 1\nsegments:\n{segments}")
    return path


@pytest.mark.parametrize("command", [["generate", "--progress", "plain"], ["plan"]])
def test_each_command_warns_once_and_names_segments_and_tokens(command, story, tmp_path, capfd):
    out = ["-o", str(tmp_path / "film.mp4")] if command[0] == "generate" else []
    assert run([*command, str(story), *out]) == 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "reads 12 tokens of a prompt; lost at the end: 10 of segment 2, 10 of segment 4" in warnings[0]


def test_the_plan_tells_scripts_too(story, capfd):
    assert run(["plan", str(story), "--json"]) == 0
    segments = json.loads(capfd.readouterr().out)["segments"]
    assert [segment["lost_tokens"] for segment in segments] == [0, 10, 0, 10]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a fox " * 40, LostTokens((0,))),
        ("a fox " * 100, LostTokens((0,), is_exact=False)),
        ("a fox " * 300, LostTokens((89,), is_exact=False)),
    ],
    ids=["surely fits", "may fit", "does not"],
)
def test_without_the_tokenizer_only_what_is_certain_is_said(prompt, expected, tmp_path, monkeypatch, capfd):
    """memflow-1.3b reads 512 tokens, and a plan of it needs no download."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    path = tmp_path / "story.yaml"
    path.write_text(f"title: t\nmodel: memflow-1.3b\nsegments:\n- {{prompt: {prompt}, duration: 1s}}\n")
    [story] = read_stories(path, 10.0, [])
    assert lost_tokens(story) == expected
    assert run(["plan", str(path)]) == 0
    assert ("lost at the end: at least 89 of segment 1" in capfd.readouterr().err) == any(expected.of_segment)


def test_theatre_s_own_storyboards_are_read_whole(capfd):
    assert run(["plan", "storyboards/quickstart.yaml"]) == 0
    assert "warning" not in capfd.readouterr().err
