"""Storyboards are written so that reading gives an equal one, and edited so that nothing else changes."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memflow_cli.errors import UsageError
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.story.editing import set_segment_field
from memflow_cli.story.load import load_storyboard
from memflow_cli.story.prompts import composed, is_blank, one_line, with_style
from memflow_cli.story.scalars import plain
from memflow_cli.story.storyboard import Segment, Storyboard, Subject
from memflow_cli.story.writing import storyboard_to_yaml
from memflow_cli.story.yaml_lines import read_yaml

FOLDER = Path("/nowhere/films")
PLAIN = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029"), max_size=40)
AWKWARD = st.sampled_from(
    [
        "007",
        "1.10",
        "true",
        "null",
        "~",
        "- a",
        "a: b",
        "a #b",
        "{fox}",
        '"',
        "'",
        "\\n",
        "#",
        "🦊\u200d",
        "\ufeffx",
        "none",
    ]
)
TEXTS = (PLAIN | AWKWARD).map(composed)
LINES = TEXTS.map(one_line).filter(str.strip)
NAMES = st.sampled_from(["fox", "füchsin", "agent 007", "1", "the-cat"])
SEEDS = st.none() | st.integers(0, 2**63 - 1)
PATHS = st.sampled_from(["a.png", "b/c d.png", "ä.png", "007"]).map(lambda name: str(FOLDER / name))
SUBJECTS = st.dictionaries(
    NAMES,
    st.builds(Subject, TEXTS.filter(lambda text: not is_blank(text)), st.lists(PATHS, max_size=2).map(tuple)),
    max_size=3,
)
MEMORY = st.builds(
    MemoryOptions,
    policy=st.sampled_from([None, "nam", "sink", "window"]),
    bank=st.integers(0, 64),
    activate=st.none() | st.integers(1, 9),
    archive_bytes=st.integers(0, 2**50),
    score=st.sampled_from([None, "combined"]),
)
SECONDS = st.floats(1e-6, 86400).map(lambda x: round(x, 9)).filter(bool) | st.integers(1, 86400).map(float)


@st.composite
def storyboards(draw):
    characters = draw(SUBJECTS)
    places = {name: each for name, each in draw(SUBJECTS).items() if name not in characters}
    names = (
        st.lists(st.sampled_from([*characters, *places]), unique=True, max_size=2).map(tuple)
        if characters or places
        else st.just(())
    )
    style = one_line(draw(TEXTS))
    segments = draw(
        st.lists(
            st.builds(
                Segment,
                prompt=LINES.map(lambda text: with_style(text, style)),
                seconds=SECONDS,
                seed=SEEDS,
                transition=st.sampled_from(["smooth", "cut"]),
                title=st.none() | TEXTS.map(one_line),
                caption=st.none() | TEXTS,
                names=names,
                remember=names,
                forget=names,
                recall=st.none() | names,
            ),
            min_size=1,
            max_size=4,
        )
    )
    segments[0] = dataclasses.replace(segments[0], image=draw(st.none() | PATHS))
    return Storyboard(
        title=draw(LINES),
        segments=tuple(segments),
        model=draw(st.sampled_from(["theatre", "memflow-1.3b", "/models/a b"])),
        width=draw(st.just(64)),
        height=draw(st.just(32)),
        fps=draw(st.none() | st.integers(1, 240)),
        seed=draw(SEEDS),
        style=style,
        memory=draw(MEMORY),
        characters=characters,
        places=places,
        captions=draw(st.booleans()),
        sound=draw(st.none() | PATHS),
    )


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=150)
@given(board=storyboards())
def test_what_is_written_reads_as_an_equal_storyboard(tmp_path_factory, board):
    folder = tmp_path_factory.getbasetemp() / "written"
    folder.mkdir(exist_ok=True)
    text = storyboard_to_yaml(board, FOLDER)
    (folder / "story.yaml").write_text(text, encoding="utf-8")
    moved = json.loads(
        json.dumps(board.to_json()).replace(json.dumps(str(FOLDER))[1:-1], json.dumps(str(folder))[1:-1])
    )
    assert load_storyboard(folder / "story.yaml") == Storyboard.from_json(moved)


def test_a_record_of_the_first_version_is_read():
    """Characters were texts, and segments knew nothing of names, titles and captions."""
    old = {
        "title": "x",
        "segments": [{"prompt": "a", "seconds": 1.0, "seed": None, "transition": "smooth", "image": None}],
        "memory": {"policy": "nam", "bank": 3},
        "characters": {"fox": "a red fox"},
        "seed": 1,
    }
    board = Storyboard.from_json(old)
    assert board.characters == {"fox": Subject("a red fox")} and board.places == {}
    assert board.segments[0].names == () and board.segments[0].recall is None


STYLES = [
    (
        "# about the fox\n"
        "title: x  # a title\n"
        "segments:\n"
        "\n"
        "  # first\n"
        "  - prompt: a fox  # who walks\n"
        "    duration: 3s # long\n"
        "\n"
        "  - duration: 2\n"
        "    seed: 5  # chosen\n"
        "    prompt: |\n"
        "      a cat\n"
        "      sleeps\n"
        "# the end\n"
    ),
    ("segments:\n- {prompt: a fox, duration: 3}\n- { 'prompt': \"a, {{cat}} }\", duration: 2, seed: 5 }  # flow\n"),
    ('{"segments": [\n  {"prompt": "a fox", "duration": 3},\n  {"prompt": "a cat", "duration": 2, "seed": 5}\n]}\n'),
    (
        "segments:\n"
        "  -\n"
        "    prompt: a fox\n"
        "    duration: 3\n"
        "  - prompt:\n"
        "      a fox that\n"
        "      goes on\n"
        "    duration: 2\n"
        "    seed:\n"
    ),
    ("segments: [{prompt: a fox, duration: 3,},\n  {prompt: a cat, duration: 2}]"),
    ("segments:\n- prompt: >-\n    folded\n    text\n  duration: 1\n- prompt: 'it''s'\n  duration: 2"),
]


@pytest.mark.parametrize("text", STYLES)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("key", "value"), [("seed", 2**48), ("prompt", 'a "new" fox: #1'), ("recall", ["fox"]), ("title", "007")]
)
def test_one_field_is_set_and_nothing_else_changes(text, index, key, value):
    changed = set_segment_field(text, index, key, value)
    wanted = plain(read_yaml(text).value)
    wanted["segments"][index][key] = value
    assert plain(read_yaml(changed).value) == wanted
    comments = [line[line.index(" # ") :] for line in text.split("\n") if " # " in line]
    assert all(comment in changed for comment in comments)
    once_more = set_segment_field(changed, index, key, value)
    assert once_more == changed


@pytest.mark.parametrize(
    "said", ["names:\n  - a\n  - b  # both", "names :\n    - a\n\n", "'names':\n  - a", "names: a"]
)
@pytest.mark.parametrize("after", ["", "\n  seed: 3", "\n- {prompt: b, duration: 1}", "\n# end\n"])
def test_a_list_of_lines_is_set(said, after):
    """What follows the list was drawn up into its line."""
    text = f"segments:\n- prompt: a\n  duration: 1\n  {said}{after}"
    changed = set_segment_field(text, 0, "names", ["fox"])
    wanted = plain(read_yaml(text).value)
    wanted["segments"][0]["names"] = ["fox"]
    assert plain(read_yaml(changed).value) == wanted


@pytest.mark.parametrize(
    ("text", "index"), [("segments: [{prompt: a, duration: 1}]", 1), ("a: 1", 0), ("segments: [1]", 0), ("[]", 0)]
)
def test_a_segment_that_is_not_there_is_a_sentence(text, index):
    with pytest.raises(UsageError, match="no segment"):
        set_segment_field(text, index, "seed", 1)
