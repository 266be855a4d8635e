"""Storyboards that others write: read as what they mean, what has no meaning here told, and converted to the same film."""

import json

import pytest

from memflow_cli.cli.app import run
from memflow_cli.cli.stories import read_stories
from memflow_cli.errors import MemflowError, StoryboardError
from memflow_cli.story.load import load_stories
from memflow_cli.story.storyboard import Storyboard

INFINITY = '"a {fox} walks[5s] | it runs fast [2.5s#] | it sleeps[1s] ; a fox; red | | good night"'
FRAMEPACK = "[0s: a forest] [3s-5s: a deer appears]\n[8s: it drinks]"
STORYMEM = {
    "story_overview": "A fox and its meadow",
    "scenes": [
        {"scene_num": 1, "video_prompts": ["a fox", "it walks"], "cut": ["True", "False"]},
        {"scene_num": 2, "video_prompts": ["a cat", "it sleeps"], "cut": [True, "True"], "first_frame_prompt": ["x"]},
    ],
}


def told(story):
    return [(s.prompt, s.seconds, s.transition, s.caption) for s in story.storyboard.segments]


def longlive(folder, captions=("a fox", "a cat", "a bear"), durations="3 1 2"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, caption in enumerate(captions):
        (folder / f"{number}.json").write_text(json.dumps({"caption": caption}))
    if durations is not None:
        (folder / "shot_durations.txt").write_text(durations)
    return folder


def test_infinity_ropes_line(tmp_path):
    (tmp_path / "films.txt").write_text(f"{INFINITY}\na fox [5s]\na fox\n")
    stories = load_stories(tmp_path / "films.txt", 10)
    assert told(stories[0]) == [
        ("a {fox} walks", 5.0, "smooth", "a fox; red"),
        ("it runs fast", 2.5, "cut", None),
        ("it sleeps", 1.0, "smooth", "good night"),
    ]
    assert [told(story) for story in stories[1:]] == [
        [("a fox", 5.0, "smooth", None)],
        [("a fox", 10.0, "smooth", None)],
    ]
    assert all(story.warnings == () for story in stories)


def test_infinity_ropes_line_that_is_not_complete_says_so(tmp_path):
    (tmp_path / "films.txt").write_text("a[5s] | b | c[1s] ; x | y | z | too many\n")
    (story,) = load_stories(tmp_path / "films.txt", 4)
    assert [seconds for _, seconds, _, _ in told(story)] == [5.0, 4.0, 1.0]
    assert ["no length" in story.warnings[0], "subtitles" in story.warnings[1]] == [True, True]


def test_framepack_studios_times(tmp_path):
    (tmp_path / "film.txt").write_text(FRAMEPACK)
    (story,) = load_stories(tmp_path / "film.txt", 10)
    assert [(prompt, seconds) for prompt, seconds, _, _ in told(story)] == [
        ("a forest", 3.0),
        ("a deer appears", 5.0),
        ("it drinks", 10.0),
    ]
    assert "gap" in story.warnings[0] and "no end" in story.warnings[1]
    (tmp_path / "film.txt").write_text("[0s] a forest\n[2s] a deer\n[4s] it drinks\n[0s] another film\n")
    first, second = load_stories(tmp_path / "film.txt", 1.5)
    assert [(prompt, seconds) for prompt, seconds, _, _ in told(first)] == [
        ("a forest", 2),
        ("a deer", 2),
        ("it drinks", 1.5),
    ]
    assert told(second)[0][0] == "another film"


def test_framepack_studios_text_outside_of_the_times(tmp_path):
    (tmp_path / "film.txt").write_text("a quiet wood [2s-4s: a deer] and then [3s: two deer] end\n")
    (story,) = load_stories(tmp_path / "film.txt", 10)
    assert [(p, s) for p, s, _, _ in told(story)] == [("a quiet wood", 2.0), ("a deer", 1.0), ("two deer", 10.0)]
    assert sum("outside of the times" in warning for warning in story.warnings) == 2
    assert any("overlap" in warning for warning in story.warnings)


def test_storymems_scenes(tmp_path):
    (tmp_path / "story.json").write_text(json.dumps(STORYMEM, indent=1))
    (story,) = load_stories(tmp_path / "story.json", 10)
    assert [(p, s, t) for p, s, t, _ in told(story)] == [
        ("a fox", 5.0, "smooth"),
        ("it walks", 5.0, "smooth"),
        ("a cat", 5.0, "cut"),
        ("it sleeps", 5.0, "cut"),
    ]
    assert "line 2" in story.warnings[0] and "story_overview" in story.warnings[0]
    assert "first_frame_prompt" in story.warnings[1]
    for wrong, says in (("maybe", "neither True nor False"), (2, "'2' is neither True nor False"), (None, "")):
        STORYMEM["scenes"][0]["cut"][1], kept = wrong, STORYMEM["scenes"][0]["cut"][1]
        (tmp_path / "story.json").write_text(json.dumps(STORYMEM))
        STORYMEM["scenes"][0]["cut"][1] = kept
        if wrong:
            with pytest.raises(StoryboardError, match=says):
                load_stories(tmp_path / "story.json", 10)
        else:
            load_stories(tmp_path / "story.json", 10)


def test_longlives_folders(tmp_path):
    folder = longlive(tmp_path / "set" / "caption" / "robot", ["a fox", "The scene transitions. A cat.", "a bear"])
    (folder / "global.json").write_text("{}")
    (folder / "1.json").write_text('{"caption": "The scene transitions. A cat.", "refers": []}')
    (one,) = load_stories(tmp_path / "set", 10)
    assert one.storyboard.title == "robot"
    assert [(p, round(s, 2), t) for p, s, t, _ in told(one)] == [
        ("a fox", 4.0, "smooth"),
        ("A cat.", 1.33, "cut"),
        ("a bear", 2.67, "cut"),
    ]
    assert any("global.json" in warning for warning in one.warnings)
    assert any("refers" in warning for warning in one.warnings)
    longlive(tmp_path / "set" / "caption" / "second", durations=None)
    assert [s.seconds for s in load_stories(tmp_path / "set", 7)[1].storyboard.segments] == [7, 7, 7]
    assert load_stories(folder, 10)[0].storyboard == one.storyboard


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: (folder / "1.json").write_text("{"), "1.json, line 1"),
        (lambda folder: (folder / "1.json").write_text('{"text": 1}'), '"caption"'),
        (lambda folder: (folder / "shot_durations.txt").write_text("1 x"), "whole numbers"),
        (lambda folder: (folder / "shot_durations.txt").write_text("1 0 999999999999999999"), "whole numbers"),
        (lambda folder: (folder / "0.json").write_bytes(b"\xff"), "not UTF-8"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "a folder, not a storyboard"),
    ],
)
def test_a_broken_folder_is_a_sentence(tmp_path, break_it, says):
    break_it(longlive(tmp_path / "film"))
    with pytest.raises(MemflowError, match=says):
        load_stories(tmp_path / "film", 10)


def test_plain_lists(tmp_path):
    for name, text in (("list.json", '["a {fox}", "a cat"]'), ("list.yaml", "- a {fox}\n- a cat\n")):
        (tmp_path / name).write_text(text)
        (story,) = load_stories(tmp_path / name, 4)
        assert [(p, s) for p, s, _, _ in told(story)] == [("a {fox}", 4), ("a cat", 4)]


def example(tmp_path, kind):
    files = {
        "infinity.txt": INFINITY,
        "framepack.txt": FRAMEPACK,
        "storymem.json": json.dumps(STORYMEM),
        "lines.jsonl": '{"prompts": ["a fox", "a {cat}"], "seed": 4, "size": "224x128"}',
        "list.json": '["a fox", "a cat"]',
    }
    if kind == "longlive":
        return longlive(tmp_path / "longlive")
    (tmp_path / kind).write_text(files[kind])
    return tmp_path / kind


@pytest.mark.parametrize(
    "kind", ["infinity.txt", "framepack.txt", "storymem.json", "lines.jsonl", "list.json", "longlive"]
)
def test_what_is_converted_plans_the_same_film(tmp_path, kind, capfd):
    source = example(tmp_path, kind)
    assert run(["convert", str(source), "-o", str(tmp_path / "out" / "story.yaml"), "--segment-seconds", "3"]) == 0
    told_then = capfd.readouterr().err
    (before,) = read_stories(source, 3.0, ())
    (after,) = read_stories(tmp_path / "out" / "story.yaml", 10.0, ())
    assert after.storyboard == before.storyboard
    assert after.plan == before.plan
    assert all(warning.partition(": ")[2] in told_then for warning in before.warnings)
    with (tmp_path / "out" / "story.yaml").open("a") as file:
        file.write("# changed by hand\n")
    assert run(["convert", str(source), "-o", str(tmp_path / "out" / "story.yaml")]) == 2, "it is there already"
    assert run(["convert", str(source)]) == 0
    assert "segments:" in capfd.readouterr().out


def test_several_films_need_a_folder(tmp_path, capfd):
    (tmp_path / "films.txt").write_text("a fox\na cat\n")
    assert run(["convert", str(tmp_path / "films.txt"), "-o", str(tmp_path / "one.yaml")]) == 2
    assert run(["convert", str(tmp_path / "films.txt")]) == 2
    assert run(["convert", str(tmp_path / "films.txt"), "-o", f"{tmp_path}/all/"]) == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["films-1.yaml", "films-2.yaml"]
    assert isinstance(load_stories(tmp_path / "all" / "films-2.yaml")[0].storyboard, Storyboard)
