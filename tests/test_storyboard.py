"""Storyboards: what may be written, what it becomes, and what is said when it is wrong."""

import contextlib
import io
import json
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from memflow_cli.cli.plan import print_plan
from memflow_cli.cli.stories import read_stories
from memflow_cli.errors import MemflowError, StoryboardError, UsageError
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import find_model
from memflow_cli.models.theatre.language.limits import cannot_draw
from memflow_cli.story.attached import check_attached
from memflow_cli.story.load import load_stories, load_storyboard
from memflow_cli.story.overrides import Override, parse_override
from memflow_cli.story.plan import plan_film
from memflow_cli.story.prompts import MAX_NAMES, complete_prompt, refer
from memflow_cli.story.quantities import parse_bytes, parse_seconds
from memflow_cli.story.storyboard import Segment, Storyboard, Subject
from memflow_cli.studio.needs import check_given

FULL = """\
title: The red fox
model: theatre
size: 224x128
fps: 24
seed: 7
style: "paper theatre"
characters:
  fox: "a red fox with a blue scarf"
memory: {policy: official, bank: 4, activate: 2, archive: 500MB}
segments:
  - prompt: "{fox} walks to the right in a meadow"
    duration: 4s
    image: first.png
  - prompt: "the empty {{meadow}}."
    duration: "1m10s"
    seed: 11
    transition: cut
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="story.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems_of(path, overrides=()):
    with pytest.raises(StoryboardError) as caught:
        load_storyboard(path, overrides)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def stories(path, overrides=()):
    return [loaded.storyboard for loaded in load_stories(path, 10, overrides)]


def test_every_field_is_read(write, tmp_path):
    path = write(FULL)
    assert load_storyboard(path) == Storyboard(
        title="The red fox",
        model="theatre",
        width=224,
        height=128,
        fps=24,
        seed=7,
        style="paper theatre",
        characters={"fox": Subject("a red fox with a blue scarf")},
        memory=MemoryOptions(policy="official", bank=4, activate=2, archive_bytes=500_000_000),
        segments=(
            Segment(
                "a red fox with a blue scarf walks to the right in a meadow, paper theatre",
                4.0,
                image=str(tmp_path / "first.png"),
                names=("fox",),
            ),
            Segment("the empty {meadow}. paper theatre", 70.0, seed=11, transition="cut"),
        ),
    )


def test_the_least_that_is_a_storyboard(write):
    board = load_storyboard(write("segments: [{prompt: a fox, duration: 3}]"))
    assert (board.title, board.model, board.fps, board.seed, board.width) == ("story", "theatre", None, None, None)
    assert board.memory.policy is None


def test_a_resolved_storyboard_survives_json(write):
    board = load_storyboard(write(FULL))
    assert Storyboard.from_json(json.loads(json.dumps(board.to_json()))) == board


def test_all_problems_at_once_in_the_order_of_lines(write):
    path = write(
        "titel: x\nmemory: {policy: nan}\ncharacters: {fox: a fox}\nsegments:\n"
        "- prompt: '{fix} runs'\n  duration: soon\n- prompt: a\n  durration: 3\n"
    )
    problems = problems_of(path)
    assert len(problems) == 6
    for problem, (line, text) in zip(
        problems,
        [
            (1, "titel: unknown key; did you mean title?"),
            (2, "memory.policy: 'nan' is not allowed; did you mean nam?"),
            (5, "segments.1.prompt: {fix} is not a character or place; did you mean fox?"),
            (6, "segments.1.duration: 'soon' is not a duration"),
            (7, "segments.2.duration: is missing"),
            (8, "segments.2.durration: unknown key; did you mean duration?"),
        ],
        strict=True,
    ):
        assert f"{path}, line {line}: {text}" in problem


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("segments: []", 1, "at least one segment"),
        ("title: x", 1, "segments: is missing"),
        ("", None, "empty"),
        ("- a\n- [b]", 1, "a mapping of keys"),
        ("segments:\n- prompt: {fox} runs\n  duration: 3", 2, "needs quotes"),
        ("segments:\n- prompt: {fox}\n  duration: 3", 2, "needs quotes"),
        ("segments:\n- prompt: he said: run\n  duration: 3", 2, "colon"),
        ("title: x\n bad\n\t- y: [", 3, "not valid YAML"),
        ("a: &x [1]\nb: *x", 1, "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tag"),
        ("segments: [{prompt: a, duration: 3}]\n---\na: 1", 2, "second document"),
        ("fps: 16\nfps: 24\nsegments: [{prompt: a, duration: 3}]", 2, "given twice"),
        ('title: "a\\x07b"\nsegments: [{prompt: a, duration: 3}]', 1, "control character U+0007"),
        ("title: a\x07b\nsegments: [{prompt: a, duration: 3}]", 1, "control character"),
        ("? [a]\n: b", 1, "a key must be a word"),
        ("x: " + "[" * 200, 1, "levels deep"),
        ("segments: [{prompt: '', duration: 3}]", 1, "empty"),
        ("segments: [{prompt: a, duration: 0}]", 1, "not longer than nothing"),
        ("segments: [{prompt: a, duration: -1s}]", 1, "not a duration"),
        ("segments: [{prompt: a, duration: 1e300}]", 1, "24h"),
        ("segments: [{prompt: a, duration: .nan}]", 1, "not a duration"),
        ("segments: [{prompt: a, duration: true}]", 1, "not a duration"),
        ("fps: 16.5\nsegments: [{prompt: a, duration: 3}]", 1, "not a whole number"),
        ("fps: 100000\nsegments: [{prompt: a, duration: 3}]", 1, "at most 240"),
        (f"seed: {10**30}\nsegments: [{{prompt: a, duration: 3}}]", 1, "out of range"),
        (f"seed: 1{'0' * 5000}\nsegments: [{{prompt: a, duration: 3}}]", 1, "not a whole number"),
        ("size: big\nsegments: [{prompt: a, duration: 3}]", 1, "not a size"),
        ("size: 0x128\nsegments: [{prompt: a, duration: 3}]", 1, "from 1 to"),
        ("memory: {archive: lots}\nsegments: [{prompt: a, duration: 3}]", 1, "not an amount of memory"),
        ("memory: nam\nsegments: [{prompt: a, duration: 3}]", 1, "expected keys with values"),
        ("segments: {prompt: a}", 1, "expected a list"),
        ("segments: [a fox runs]", 1, "expected keys with values"),
        ("characters: {fox: a {cat}}\nsegments: [{prompt: a, duration: 3}]", 1, "not valid YAML"),
        ("characters: {fox: 'a {cat}'}\nsegments: [{prompt: a, duration: 3}]", 1, "cannot refer"),
        ("segments: [{prompt: a, duration: 3}, {prompt: a, duration: 3, image: x.png}]", 1, "only the first"),
        ("segments: [{prompt: '{fox} runs', duration: 3}]", 1, "under `characters`"),
    ],
)
def test_a_wrong_storyboard_is_a_sentence_with_its_line(write, text, line, says):
    problems = problems_of(write(text))
    assert any(says in problem and (line is None or f"line {line}: " in problem) for problem in problems), problems


def test_a_megabyte_of_prompt_is_a_short_sentence(write):
    problems = problems_of(write(f"segments:\n- prompt: {'fox ' * 250_000}\n  duration: 3"))
    assert "at most 4,000" in problems[0]
    assert len(problems[0]) < 300


def test_a_style_can_make_a_prompt_too_long(write):
    problems = problems_of(write(f"style: {'s' * 900}\nsegments:\n- prompt: {'p' * 3900}\n  duration: 3"))
    assert "with descriptions and style 4,802" in problems[0]


def test_ten_thousand_segments_are_read_in_a_second_or_so(write):
    text = "segments:\n" + "- prompt: a fox runs in the snow\n  duration: 4s\n" * 10_000
    start = time.process_time()
    assert len(load_storyboard(write(text)).segments) == 10_000
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe\x00segments", "line 1: not UTF-8"), (b"x" * (33 << 20), "32 MiB")],
)
def test_a_file_that_is_no_text_is_refused(write, content, says):
    with pytest.raises(UsageError, match=says):
        load_storyboard(write(content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_storyboard(tmp_path / "nope.yaml")
    with pytest.raises(UsageError, match="a folder"):
        load_storyboard(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_storyboard(tmp_path / ("x" * 5000))


def test_a_description_that_begins_a_sentence_gets_a_capital():
    assert complete_prompt("A hill. {fox} runs; {fox} rests.", {"fox": "a fox"}, "Soft light.") == (
        "A hill. A fox runs; a fox rests. Soft light."
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4s", 4), (4, 4), (3.5, 3.5), ("3.5", 3.5), ("1m10s", 70), ("1h", 3600), ("1h 2m 3.5s", 3723.5), ("2m", 120)],
)
def test_durations(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "4x", "1s1m", "m", None, "-4", "4..5", "٤", [], "1:30"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("8GiB", 8 << 30), (1024, 1024), ("500MB", 500_000_000), ("1.5KiB", 1536), ("0", 0)]
)
def test_amounts_of_memory(text, num_bytes):
    assert parse_bytes(text) == num_bytes


def test_overrides_reach_every_field(write):
    overrides = [
        parse_override("memory.bank=5"),
        parse_override("segments.2.duration=8s"),
        parse_override("style="),
        parse_override("characters.fox=a blue fox"),
        parse_override("characters.fox.picture=fox.png"),
        Override("size", "64x32", "--size"),
    ]
    board = load_storyboard(write(FULL), overrides)
    assert board.memory.bank == 5
    assert board.segments[1].seconds == 8
    assert board.segments[0].prompt == "a blue fox walks to the right in a meadow"
    assert board.characters["fox"] == Subject("a blue fox", (str(Path("fox.png").absolute()),))
    assert (board.width, board.height) == (64, 32)


def test_an_override_makes_the_mapping_it_needs(write):
    board = load_storyboard(write("memory:\nsegments: [{prompt: a, duration: 3}]"), [parse_override("memory.bank=1")])
    assert board.memory.bank == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("memory.bnk=3", "--set memory.bnk: unknown key; did you mean bank?"),
        ("segments.9.prompt=x", "--set segments.9.prompt: there is no segment 9; the storyboard has 2"),
        ("segments.0.prompt=x", "'0' is not a segment's number"),
        ("title.x=1", "--set title.x: title holds no keys"),
        ("fps=fast", "--set fps: 'fast' is not a whole number"),
    ],
)
def test_a_wrong_override_is_named(write, setting, says):
    assert any(says in problem for problem in problems_of(write(FULL), [parse_override(setting)]))


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(UsageError, match="key=value"):
        parse_override("bank")


def test_published_prompt_files_are_a_film_a_line(write):
    path = write('{"prompts": ["a {fox} runs", "it sleeps"]}\n\na plain prompt: with a colon\n', "stories.jsonl")
    first, second = stories(path)
    assert [segment.prompt for segment in first.segments] == ["a {fox} runs", "it sleeps"]
    assert [segment.seconds for segment in first.segments] == [10, 10]
    assert second.segments[0].prompt == "a plain prompt: with a colon"
    assert stories(path, [parse_override("seed=3")])[1].seed == 3


@pytest.mark.parametrize(
    "line", ['{"prompts": []}', '{"prompts": "a"}', '{"prompt": ["a"]}', '{"prompts": [', "{" * 9999]
)
def test_a_wrong_line_of_a_prompt_file_is_named(write, line):
    with pytest.raises(StoryboardError, match="line 2"):
        load_stories(write(f"a fox\n{line}\n", "stories.jsonl"), 10)


def test_an_empty_prompt_file_is_refused(write):
    with pytest.raises(StoryboardError, match="no prompt"):
        load_stories(write("\n\n", "stories.txt"), 10)


# Storyboards from strangers. Most fields are right and some are not, so that every layer is reached, not only the first.

NASTY = [
    *(
        "{fox} runs",
        "{wolf}",
        "{",
        "}}",
        "{}",
        "{0.__class__}",
        "%s",
        "4s",
        "64x32",
        "8GiB",
        "nam",
        "cut",
        "1e999",
        "on",
        "~",
    ),
    *(
        "../../secret.png",
        "/dev/zero",
        "~nobody/x",
        "\x00",
        "\x1b[2J",
        "\u2028",
        "\ud800",
        "\ufeff",
        "&a",
        "*a",
        "!!int 3",
    ),
    *("٤", "<script>", "```", "a: b", "- a"),
]
LONG = st.sampled_from(["x", "{fox} ", "9"]).map(lambda text: text * 900)
TEXTS = st.sampled_from(NASTY) | LONG | st.text(max_size=20)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**30, 1e308, 0.01, 2**63])
WILD = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def mostly(*right):
    """One of the right values, or now and then anything at all."""
    return st.integers(0, 19).flatmap(lambda n: WILD if n == 19 else st.sampled_from(right))


SEGMENTS = st.fixed_dictionaries(
    {
        "prompt": mostly("a fox", "{fox} runs", "an empty meadow.", *NASTY[:8]),
        "duration": mostly(4, 0.1, "1m10s", "24h"),
    },
    optional={
        "seed": mostly(1, 2**63 - 1),
        "transition": mostly("cut", "smooth"),
        "image": mostly("first.png", "../first.png"),
        "durration": WILD,
    },
)
STORIES = st.fixed_dictionaries(
    {"segments": st.lists(SEGMENTS, min_size=1, max_size=3)},
    optional={
        "title": mostly("Fox"),
        "model": mostly("theatre", "memflow-1.3b", "theatr", "/dev", "x" * 300),
        "size": mostly("224x128", "832x480", "8192x8192", "100x32"),
        "fps": mostly(1, 16, 240),
        "seed": mostly(0, 7),
        "style": mostly("soft light"),
        "characters": mostly({"fox": "a red fox"}, {"fox": "{fox}"}),
        "memory": mostly({"bank": 64, "policy": "official"}, {"archive": "999999999TiB"}, {"activate": 0}),
        "titel": WILD,
    },
)
DAMAGE = st.tuples(
    st.integers(0, 400), st.sampled_from(["\n", "\t", "- ", ": ", "[", "{", "&a ", "*a", "\x00", "\n---\n", "'"])
)


def written(story, scars):
    """The story as YAML, one key a line and one segment a line, then damaged at some places."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in story.items() if key != "segments"]
    text = "\n".join([*lines, "segments:", *(f"- {json.dumps(segment)}" for segment in story["segments"])])
    for place, scar in scars:
        text = text[:place] + scar + text[place:]
    return text.encode()


FILES = (
    st.builds(written, STORIES, st.just([]) | st.lists(DAMAGE, max_size=2))
    | WILD.map(lambda value: json.dumps(value).encode())
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=200)
)


@pytest.fixture
def bounded():
    """A context in which a block may take 5 s of the processor and 1 GiB of memory more than there was."""

    @contextlib.contextmanager
    def bounded():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), before[1]))
        start = time.process_time()
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        assert time.process_time() - start < 5

    return bounded


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(content=FILES)
def test_whatever_a_file_holds_the_answer_is_a_plan_or_a_sentence(write, bounded, content):
    """What `memflow plan` and generate do with a file before anything is loaded, for wild values, texts and bytes."""
    path = write(content)
    try:
        with bounded():
            for story in read_stories(path, 10.0, ()):
                assert story.plan.num_chunks >= len(story.storyboard.segments) > 0
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    print_plan(story, as_json=True)
                    print_plan(story, as_json=False)
                json.loads(printed.getvalue().partition("\n")[0])
    except MemflowError as error:
        event("a sentence")
        assert error.message.encode("utf-8", "surrogatepass")
        assert len(error.message) < 20_000
        assert error.exit_code in (2, 3)
    else:
        event("a plan")


STORYBOARDS = sorted((Path(__file__).parent.parent / "storyboards").glob("*.yaml"))


@pytest.mark.parametrize("path", STORYBOARDS, ids=lambda path: path.stem)
def test_the_storyboards_that_come_along_are_right(path):
    board = load_storyboard(path)
    entry = find_model(board.model)
    plan_film(board, entry.geometry, (entry.width, entry.height))
    if board.model == "theatre":
        assert not cannot_draw([segment.prompt for segment in board.segments])


def test_there_are_storyboards_for_both_kinds_of_model():
    models = [load_storyboard(path).model for path in STORYBOARDS]
    assert models.count("theatre") >= 4
    assert "memflow-1.3b" in models


SUBJECTS = """\
characters:
  fox: {description: a red fox, picture: [a.png, sub/b.png]}
  cat: a cat
places: {meadow: {description: a meadow, picture: a.png}}
sound: music.wav
captions: true
segments:
- {prompt: "{fox} in {meadow}", duration: 1, names: [cat, fox], remember: fox, forget: [cat], recall: none,
   title: One, caption: Hello}
- {prompt: a, duration: 1, recall: cat}
"""


def test_characters_places_and_what_is_said_of_memory(write, tmp_path):
    board = load_storyboard(write(SUBJECTS))
    pictures = (str(tmp_path / "a.png"), str(tmp_path / "sub" / "b.png"))
    assert board.characters == {"fox": Subject("a red fox", pictures), "cat": Subject("a cat")}
    assert board.places == {"meadow": Subject("a meadow", pictures[:1])}
    assert (board.sound, board.captions) == (str(tmp_path / "music.wav"), True)
    first, second = board.segments
    assert first.prompt == "a red fox in a meadow"
    assert first.names == ("fox", "meadow", "cat")
    assert (first.remember, first.forget, first.recall, second.recall) == (("fox",), ("cat",), (), ("cat",))
    assert (first.title, first.caption, second.title) == ("One", "Hello", None)
    assert Storyboard.from_json(json.loads(json.dumps(board.to_json()))) == board


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("remember: fox", "remember: fix"),
            "segments.1.remember: 'fix' is not a character or place; did you mean fox?",
        ),
        (("recall: cat", "recall: [cat, dog]"), "segments.2.recall: 'dog' is not"),
        (("names: [cat, fox]", "names: [5, [a]]"), "expected a text"),
        (("  cat: a cat", "  none: a cat"), "not `none`"),
        (("meadow:", "fox:"), "is the name of a character already"),
        (("  cat: a cat", "  cat:"), "expected a text, or the keys description and picture"),
        (("  cat: a cat", "  cat: {picture: a.png}"), "description: is missing"),
        (("  cat: a cat", "  cat: {description: '', picture: a.png}"), "cat.description: is empty"),
        (("  cat: a cat", "  cat: ' '"), "characters.cat: is empty"),
        (("  cat: a cat", "  cat: a cat\n  'cat ': a cat"), "line 4: 'cat' is given twice"),
        (("remember: fox", "remember: Fox"), "did you mean fox?"),
        (("cat: a cat", "CAT: a cat"), "segments.2.recall: 'cat' is not a character or place; did you mean CAT?"),
        (("{fox} in", "{Fox} in"), "{Fox} is not a character or place; did you mean fox?"),
        (("sound: music.wav", "style: '{fox}s'"), "style: {fox}: a style cannot refer to a character or place"),
        (("sound: music.wav", "style: '{nobody}'"), "style: {nobody}: a style cannot refer"),
        (("  cat: a cat", "  cat: {description: a, pictures: a.png}"), "unknown key; did you mean picture?"),
        (("sub/b.png", "../b.png"), "is outside the storyboard's folder"),
        (("music.wav", "/etc/passwd"), "sound: is outside the storyboard's folder"),
        (("picture: [a.png, sub/b.png]", "picture: {a: 1}"), "picture: expected a file's name, or a list of them"),
        (("picture: [a.png, sub/b.png]", "picture: [a.png, null]"), "picture: expected a file's name"),
        (("sound: music.wav", "sound: {a: 1}"), "sound: expected a file's name"),
        (("remember: fox", "remember: {fox}"), "remember: expected a name without braces"),
        *((("recall: cat", f"recall: {each}"), "write `none`") for each in ("None", "NONE", "[none]")),
        (("remember: fox", "remember: none"), "segments.1.remember: for nobody, leave it out"),
        (("captions: true", "captions: yes"), "neither true nor false"),
        (("title: One", "title: [1]"), "segments.1.title: expected a text"),
    ],
)
def test_wrong_subjects_and_names_are_sentences(write, change, says):
    problems = problems_of(write(SUBJECTS.replace(*change)))
    assert any(says in problem and "line" in problem for problem in problems), problems


@pytest.mark.parametrize("key", ["names", "remember", "forget", "recall", "image", "title", "caption"])
def test_a_field_with_nothing_behind_it_is_left_at_its_default(write, key):
    """`recall:` was, and `remember:` was told to be a text."""
    board = load_storyboard(write(f"segments:\n- prompt: a\n  duration: 1\n  {key}:"))
    assert board.segments[0] == Segment("a", 1.0)
    board = load_storyboard(write("characters:\n  fox:\n    description: a fox\n    picture:\n" + ONE))
    assert board.characters["fox"] == Subject("a fox")


def test_an_empty_list_recalls_nobody(write):
    assert load_storyboard(write("segments: [{prompt: a, duration: 1, recall: []}]")).segments[0].recall == ()


def test_advice_about_files_outside_can_be_followed(write, tmp_path):
    """It was told for each of several pictures, all of which it would have replaced; no shell would have read it; and a
    link beside the storyboard was to be put beside the storyboard.
    """
    for name in ("c.png", "d.png"):
        (tmp_path / name).symlink_to("/etc/passwd")
    text = """\
characters:
  Zoë-fox 狐: {description: a fox, picture: ../a.png}
  cat: {description: a cat, picture: [../a.png, b.png, /b.png]}
  bear: {description: a bear, picture: c.png}
  pig: {description: a pig, picture: [c.png, d.png]}
segments: [{prompt: a, duration: 1}]
"""
    beside = "outside the storyboard's folder; put the file beside the storyboard"
    link = "outside the storyboard's folder; put the file itself there"
    path = write(text)
    assert [problem.split("picture: ", 1)[1] for problem in problems_of(path)] == [
        f"is {beside}, or name it yourself: --set 'characters.Zoë-fox 狐.picture=PATH'",
        f"../a.png, /b.png are {beside}",
        f"is a link that leads {link}, or name it yourself: --set characters.bear.picture=PATH",
        f"c.png, d.png are links that lead {link}",
    ]


def test_files_that_a_storyboard_names_are_looked_at_before_the_film(write, tmp_path):
    from PIL import Image

    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "music.wav").write_bytes(b"RIFF")
    board = load_storyboard(write(SUBJECTS))
    check_attached(board, 16, 16)
    (tmp_path / "sub" / "b.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="b.png is no PNG, JPEG or WebP"):
        check_attached(board, 16, 16)
    Image.new("RGB", (8, 8)).save(tmp_path / "sub" / "b.png")
    for content, says in ((b"", "sound: .*empty"), (None, "sound: .*No such file")):
        (tmp_path / "music.wav").unlink() if content is None else (tmp_path / "music.wav").write_bytes(content)
        with pytest.raises(UsageError, match=says):
            check_attached(board, 16, 16)


def test_every_picture_that_will_not_do_is_told_with_its_line(write, tmp_path):
    """Of several storyboards only "cannot read the picture /.../nowhere.png" was told, and only the first of each."""
    from PIL import Image

    (tmp_path / "b.png").write_bytes(b"x")
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    text = """\
characters:
  fox: {description: a fox, picture: a.png}
  cat: {description: a cat, picture: [c.png, b.png, a.png]}
places:
  wood: {description: a wood, picture: c.png}
sound: none.wav
segments: [{prompt: a, duration: 1, image: b.png}]
"""
    [story] = read_stories(write(text), 10.0, [parse_override("places.wood.picture=/nowhere/d.png")])
    with pytest.raises(StoryboardError) as caught:
        check_given(story.planned)
    begins = [
        "--set places.wood.picture: cannot read the picture /nowhere/d.png",
        f"{story.path}, line 2: characters.fox.picture: cannot read the picture {tmp_path / 'a.png'}",
        f"{story.path}, line 3: characters.cat.picture.2: {tmp_path / 'b.png'} is no",
        f"{story.path}, line 3: characters.cat.picture.3: cannot read the picture {tmp_path / 'a.png'}",
        f"{story.path}, line 6: sound: cannot read the sound {tmp_path / 'none.wav'}",
        f"{story.path}, line 7: segments.1.image: {tmp_path / 'b.png'} is no",
    ]
    for problem, begin in zip(caught.value.problems, begins, strict=True):
        assert problem.startswith(begin)
    [story] = read_stories(write("sound: a.wav\n" + ONE), 10.0, ())
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    with pytest.raises(UsageError, match=r"story.yaml, line 1: sound: .*a\.wav"):
        check_given(story.planned)


def test_a_path_counts_from_what_says_it(write, tmp_path, monkeypatch):
    """A path in a file counted from the current folder, and a path on the command line from the file."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write("model: ./mine\nsegments: [{prompt: a, duration: 1, image: a.png}]")
    assert load_storyboard(path).model == str(tmp_path / "mine")
    board = load_storyboard(path, [parse_override("segments.1.image=b.png"), Override("model", "./other", "--model")])
    assert (board.segments[0].image, board.model) == (str(tmp_path / "here" / "b.png"), "./other")
    assert load_storyboard(write("model: memflow-1.3b\nsegments: [{prompt: a, duration: 1}]")).model == "memflow-1.3b"


def test_blanks_of_a_name_do_not_count(write):
    """A character called `"cat "` could not be called, and `{red  fox}` with two blanks was nobody."""
    head = 'characters: {" cat ": a cat, "red  fox": {description: a fox}}\n'
    segment = '{prompt: "{cat} and {red  fox}, {red fox}", duration: 1, remember: "red  fox", recall: [" cat"]}'
    path = write(f"{head}segments: [{segment}]")
    board = load_storyboard(path)
    assert list(board.characters) == ["cat", "red fox"]
    assert board.segments[0].prompt == "a cat and a fox, a fox"
    assert (board.segments[0].names, board.segments[0].remember) == (("cat", "red fox"), ("red fox",))
    assert refer("{ red  fox }", board.descriptions) == ("a fox", ("red fox",))
    changed = load_storyboard(path, [parse_override("characters.red  fox.description=a bear")])
    assert changed.segments[0].prompt == "a cat and a bear, a bear"
    (problem,) = problems_of(
        write(f'title: x\ncharacters:\n  a: b\n  "cat ":\n    pictur: x\n    description: y\n{ONE}')
    )
    assert "line 5: characters.cat.pictur: unknown key" in problem


ONE = "segments: [{prompt: a, duration: 1}]\n"


def test_braces_mean_the_same_in_styles_and_descriptions_as_in_prompts(write):
    """`{{` stayed two braces in a style, and a `{fox}` in it was drawn as it stands."""
    text = "style: 'on {{paper}}'\ncharacters: {fox: 'a {{red}} fox'}\nsegments: [{prompt: '{fox} {{x}}', duration: 1}]"
    board = load_storyboard(write(text))
    assert (board.style, board.segments[0].prompt) == ("on {paper}", "a {red} fox {x}, on {paper}")
    assert board.characters["fox"].description == "a {red} fox"


def test_a_title_or_caption_that_refers_to_somebody_is_told(write):
    head = "title: '{fox} and {bear}'\ncharacters: {fox: a fox}\n"
    (loaded,) = load_stories(write(head + "segments: [{prompt: a, duration: 1,\n title: '{fox}', caption: '{ fox }'}]"))
    assert loaded.storyboard.title == "{fox} and {bear}"
    (warning,) = loaded.warnings
    assert "line 1: title: {fox} stays as it is written" in warning and "2 more places" in warning
    assert load_stories(write("title: '{fox}'\nsegments: [{prompt: a, duration: 1}]"))[0].warnings == ()


@pytest.mark.parametrize("listed", [0, 6])
def test_what_calls_more_than_a_bank_can_hold_is_told(write, listed):
    """A prompt of 70 {names} was read, and its film's record was not: a list of names has a limit."""
    names = [f"n{number}" for number in range(MAX_NAMES + 1)]
    characters = "characters: {" + ", ".join(f"{name}: x" for name in names) + "}\n"

    def told(names):
        prompt, others = "".join(f"{{{name}}}" for name in names[listed:]), ", ".join(names[:listed])
        return write(f"{characters}segments:\n- prompt: '{prompt}'\n  names: [{others}]\n  duration: 1")

    assert len(load_storyboard(told(names[1:])).segments[0].names) == MAX_NAMES
    (problem,) = problems_of(told(names))
    assert f"line 3: segments.1.prompt: {MAX_NAMES + 1} names; at most {MAX_NAMES} are allowed" in problem
    with pytest.raises(UsageError, match=f"at most {MAX_NAMES}"):
        refer("".join(f"{{{name}}}" for name in names), dict.fromkeys(names, "x"))


def test_a_name_that_is_called_later_in_another_case_is_told():
    with pytest.raises(UsageError, match="{FOX} is not a character or place of this film; did you mean fox?"):
        refer("{FOX} walks", {"fox": "a fox"})
