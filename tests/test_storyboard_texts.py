"""Texts of storyboards: as they were written, in every script, and advice that names the cause."""

import json
import time
import unicodedata

import pytest

from memflow_cli.errors import StoryboardError
from memflow_cli.models.theatre.language.vocabulary import words_of
from memflow_cli.story.load import load_stories, load_storyboard
from memflow_cli.story.overrides import parse_override

ONE = "segments:\n- prompt: {}\n  duration: 1\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="story.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


AS_WRITTEN = ["007", "1.10", "1e3", "true", "1999.50", "+5", ".5", "0x10", "1_000", "No", "12345678901234567890123"]


@pytest.mark.parametrize("text", AS_WRITTEN)
@pytest.mark.parametrize("name", ["story.yaml", "story.json"])
def test_a_number_in_a_text_field_stays_as_it_is_written(write, text, name):
    """`agent: 007` became "7 walks", a title of 1.10 became 1.1: the value was taken for the text."""
    is_number = text in ("1.10", "1e3", "true", "1999.50", "12345678901234567890123")
    written = text if is_number else json.dumps(text)
    if name.endswith(".yaml"):
        story = f"title: {text}\nstyle: {text}\ncharacters: {{agent: {text}}}\nsegments: [{{prompt: '{{agent}}!', duration: 1}}]"
    else:
        segment = f'{{"prompt": "{{agent}}!", "duration": 1, "caption": {written}}}'
        characters = f'{{"agent": {written}}}'
        story = f'{{"title": {written}, "style": {written}, "characters": {characters}, "segments": [{segment}]}}'
    board = load_storyboard(write(story, name))
    assert (board.title, board.style, board.segments[0].prompt) == (text, text, f"{text}! {text}")
    board = load_storyboard(
        write(ONE.format("a fox")), [parse_override(f"title={text}"), parse_override(f"segments.1.prompt={text}")]
    )
    assert (board.title, board.segments[0].prompt) == (text, text)


def test_numbers_are_numbers_where_numbers_are_meant(write):
    board = load_storyboard(
        write("seed: 007\nfps: 24\nmemory: {bank: 5}\ncaptions: true\nsegments: [{prompt: a, duration: 1e0}]")
    )
    assert (board.seed, board.fps, board.memory.bank, board.captions, board.segments[0].seconds) == (
        7,
        24,
        5,
        True,
        1.0,
    )


WORDS = ["می‌خواهم", "「キツネ」 と 狐", "10 000", "👨‍👩‍👧", "लोमड़ी", "ثعلب أحمر", "Füchsin"]


@pytest.mark.parametrize("text", WORDS)
def test_joiners_and_wide_spaces_stay(write, text):
    board = load_storyboard(write(f'title: "{text}"\n' + ONE.format(f'"{text} walks"')))
    assert (board.title, board.segments[0].prompt) == (text, f"{text} walks")


def test_a_title_is_one_line(write):
    """`title: |` kept its line breaks, and a line of progress was broken in three."""
    board = load_storyboard(write("title: |\n  The fox\n  Part two\n" + ONE.format("|\n    a fox\n    walks")))
    assert (board.title, board.segments[0].prompt) == ("The fox Part two", "a fox walks")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_a_name_is_the_same_however_its_accents_were_typed(write, forms):
    """A name in one normal form was unknown to a prompt in the other, and its sentence showed the same word twice."""
    defined, used = (unicodedata.normalize(form, "füchsin") for form in forms)
    segments = f'segments: [{{prompt: "{{{used}}} walks", duration: 1, remember: {used}, recall: [{used}]}}]'
    board = load_storyboard(write(f"characters:\n  {defined}: eine Füchsin\n{segments}\n"))
    assert board.segments[0].prompt == "eine Füchsin walks"
    assert board.segments[0].names == board.segments[0].remember == board.segments[0].recall == ("füchsin",)


def test_a_comment_that_cuts_a_text_is_told(write):
    """`a fox with scarf #3 runs` became "a fox with scarf" without a word: the rest is a comment in YAML."""
    for prompt in ("a fox with scarf #3 runs", "a fox\n    goes on # with this"):
        (warning,) = load_stories(write(ONE.format(prompt)))[0].warnings
        assert "line 2" in warning or "line 3" in warning
        assert "comment" in warning
    for whole in ('"a fox #3"', "'a fox' # a comment", "a fox#3"):
        assert (
            load_stories(write("# all about\nfps: 16  # frames\nmodel: theatre # ours\n" + ONE.format(whole)))[
                0
            ].warnings
            == ()
        )


def test_json_is_read_as_json(write):
    """Every browser and json.dump write emoji as two escapes, which YAML readers refuse."""
    content = {"segments": [{"prompt": "a 🦊\tfox: {{x}} # \\ /", "duration": 1}], "title": 1.5}
    for text in (
        json.dumps(content),
        json.dumps(content, indent="\t"),
        json.dumps(content, ensure_ascii=False, indent=1),
    ):
        for name in ("story.json", "story.yaml"):
            board = load_storyboard(write(text, name))
            assert (board.segments[0].prompt, board.title) == ("a 🦊 fox: {x} # \\ /", "1.5")
    problems = problems_of(write('{\n "segments": [\n  {"prompt": "a",\n   "duration": "soon"}]\n}', "story.json"))
    assert "line 4: segments.1.duration: 'soon'" in problems[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("[1,]", 1),
        ('{"a": 1,}', 1),
        ('{"a" 1}', 1),
        ("{a: 1}", 1),
        ('{"a":\n "\\x"}', 2),
        ('{"a": 1}\n{}', 2),
        ('{\n"a": 01}', 2),
        ("[" * 5000, 1),
        ('"\n"', 1),
    ],
)
def test_what_is_not_json_is_a_sentence_with_its_line(write, text, line):
    assert f"line {line}: " in problems_of(write(text, "story.json"))[0]


ADVICE = [
    ("'it's a fox'", "apostrophe"),
    ("- a fox", "starts with -"),
    ('"a fox', "line 2 opens is never closed"),
    ("'a fox", "line 2 opens is never closed"),
    ('"wide" a fox', "closing quote"),
    ("{fox} runs", "needs quotes"),
    ("[wide] a fox", "needs quotes"),
    ("@fox", "special character"),
    ("`fox`", "special character"),
    ("%fox", "special character"),
    ("*fox* runs", "quotes"),
    ("*fox", "quotes"),
    ("&fox runs", "quotes"),
    ("!fox runs", "quotes"),
    ("> fox", "starts with ?, > or |"),
    ("| fox", "starts with ?, > or |"),
    ("? fox", "starts with ?, > or |"),
    ("he said: run", "colon"),
    ('"D:\\weights\\wan"', "backslash"),
    ('"a \\ud83e\\udd8a fox"', "character itself"),
]


@pytest.mark.parametrize(("prompt", "advice"), ADVICE)
def test_advice_names_the_cause(write, prompt, advice):
    """Every fault was told to be an unquoted colon, since every line of a storyboard has one."""
    (problem,) = problems_of(write(ONE.format(prompt)))
    assert advice in problem
    assert ("colon" in problem) == (advice == "colon")
    assert "line 2" in problem or "line 3" in problem or "line 4" in problem


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("segments:\n  - prompt: a fox\n   duration: 1\n", "indentation"),
        ("segments:\n  - prompt: a fox\n      duration: 1\n", "indentation"),
        ("title: x\n  fps: 3\nsegments: []\n", "indentation"),
        ("segments:\n\t- prompt: a fox\n", "tabs"),
        ("segments:\n  - prompt: a fox\n\tduration: 1\n", "tabs"),
        ("segments:\n  - prompt:a fox\n    duration: 1\n", "colon needs a blank"),
        ("segments:\n  -prompt: a\n   duration: 1\n", "dash needs a blank"),
        ("segments: [{prompt: he said: a, duration: 1}]\n", "colon in it"),
        ("segments: [{prompt: a, duration: 1}\n", "bracket is not closed"),
        ("characters: {fox: a {cat}}\nsegments: []\n", "{ or ["),
    ],
)
def test_advice_names_the_cause_of_a_wrong_shape(write, text, advice):
    assert advice in problems_of(write(text))[0]


def problems_of(path):
    with pytest.raises(StoryboardError) as caught:
        load_stories(path)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("一只红色的狐狸", ["一只红色的狐狸"]),
        ("красная лиса, идёт", ["красная", "лиса", "идёт"]),
        ("ثعلب أحمر يمشي", ["ثعلب", "أحمر", "يمشي"]),
        ("ein roter Füchs läuft", ["ein", "roter", "füchs", "läuft"]),
        ("a fox 🦊🦊 walks", ["a", "fox", "🦊🦊", "walks"]),
        ("लोमड़ी", ["लोमड़ी"]),
        ("นกสีแดง", ["นกสีแดง"]),
        ("It's a fox, left.", ["it's", "a", "fox", "left"]),
        ("“a red-and-blue fox” – 3 hats!", ["a", "red", "and", "blue", "fox", "3", "hats"]),
    ],
)
def test_words_are_found_in_every_script(text, words):
    """Only a to z were looked at: nothing was said of Chinese, and German was told as "f, chs, l, uft"."""
    found = words_of(unicodedata.normalize("NFD", text))
    assert found == [unicodedata.normalize("NFC", word) for word in words]


# Lines of prompt files


@pytest.mark.parametrize(
    ("lines", "films"),
    [
        ('\ufeff{"prompts": ["a fox", "a cat"]}\n\ufeff["a", "b"]', [["a fox", "a cat"], ["a", "b"]]),
        ('"a fox walks"', [["a fox walks"]]),
        ('"wide" a fox walks', [['"wide" a fox walks']]),
        ("# my prompts\na fox\n\n// more\na cat", [["a fox"], ["a cat"]]),
        ("[wide shot] a fox", [["[wide shot] a fox"]]),
        ("The scene transitions. A fox.\nThe fox transitions.", [["A fox."], ["The fox transitions."]]),
        ("u\u0308ber", [["über"]]),
        ("{fox} walks\n{a}: b", [["{fox} walks"], ["{a}: b"]]),
    ],
)
@pytest.mark.parametrize("name", ["films.jsonl", "films.txt"])
def test_a_line_is_read_as_what_it_is(write, lines, films, name):
    """A byte order mark, a JSON list and a JSON text each became a film whose prompt was the JSON itself."""
    stories = [loaded.storyboard for loaded in load_stories(write(lines, name))]
    assert [[segment.prompt for segment in board.segments] for board in stories] == films


def test_a_lines_other_keys_are_read_or_told(write):
    """Durations, seed, fps and size of a line were left out without a word."""
    line = '{"prompts": ["a fox", "a cat"], "durations": [5, 20.5], "seed": 3, "fps": 24, "size": "64x32", "cfg": 7}'
    (loaded,) = load_stories(write(line, "films.jsonl"))
    board = loaded.storyboard
    assert ([segment.seconds for segment in board.segments], board.seed, board.fps, board.width) == (
        [5, 20.5],
        3,
        24,
        64,
    )
    assert len(loaded.warnings) == 1 and "'cfg'" in loaded.warnings[0] and "line 1" in loaded.warnings[0]


@pytest.mark.parametrize("kind", ["characters", "places"])
def test_a_line_that_has_characters_refers_to_them(write, kind):
    """They were read, but `{fox}` stayed as it was written, and nobody could be called, without a word."""
    line = {"prompts": ["{fox} walks {{here}}"], kind: {"fox": {"description": "a fox", "picture": "fox.png"}}}
    others = {"prompts": ["{fox} walks"], "style": "soft {light}"}
    path = write("\n".join(json.dumps(each) for each in (line, others)), "films.jsonl")
    first, second = [loaded.storyboard for loaded in load_stories(path)]
    assert (first.segments[0].prompt, first.segments[0].names) == ("a fox walks {here}", ("fox",))
    assert first.subjects["fox"].pictures == (str(path.parent / "fox.png"),)
    assert (second.segments[0].prompt, second.segments[0].names) == ("{fox} walks, soft {light}", ())
    (problem,) = problems_of(write(json.dumps({**line, "prompts": ["{fix}"]}), "films.jsonl"))
    assert "line 1: segments.1.prompt: {fix} is not a character or place; did you mean fox?" in problem


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompts": ["a"], "durations": [1, 2]}', "one for each prompt"),
        ('{"prompts": ["a"], "seed": "x"}', "not a whole number"),
        ('{"prompts": [["a"]]}', "list of at least one text"),
        ('["a", {}]', "list of at least one text"),
        ('["a", "b"', "not valid JSON"),
        ('[{"a": 1}', "not valid JSON"),
    ],
)
def test_a_line_that_is_almost_json_is_refused(write, line, says):
    (problem,) = problems_of(write(f"a fox\n{line}", "films.jsonl"))
    assert "line 2" in problem and says in problem


@pytest.mark.parametrize("name", ["films.jsonl", "films.txt"])
@pytest.mark.parametrize(
    "text",
    [
        '[\n  "a fox",\n  "a cat"\n]\n',
        '{\n  "prompts": [\n    "a fox"\n  ]\n}',
        '[\n"a fox",\n"a cat",\n]',
        '"a fox",\n"a cat"',
        '"a fox", "a cat"',
        "[null]",
        "null",
        "}",
    ],
)
def test_a_document_over_several_lines_is_not_a_film_a_line(write, name, text):
    """A JSON list as an editor lays it out, in a .jsonl or .txt: films of `[`, of `"a fox",` and of `]`."""
    problems = problems_of(write(text, name))
    assert "JSON" in problems[0] or "at least one text" in problems[0]


def test_a_prompt_that_begins_with_a_quoted_word_is_one(write):
    stories = load_stories(write('"Hello", says the fox\n"stop": a fox cries\n[a, b] a cat', "films.txt"))
    prompts = [loaded.storyboard.segments[0].prompt for loaded in stories]
    assert prompts == ['"Hello", says the fox', '"stop": a fox cries', "[a, b] a cat"]


def test_reading_takes_time_in_proportion_to_the_file(write):
    """1.5 MB of a valid storyboard took 50 s, since every segment made a list of all characters; {names} over 20,000 characters
    took 14 s, since each was compared with all of them.
    """
    characters = "characters:\n" + "".join(f"  c{number}: x\n" for number in range(20_000))
    files = [
        characters + "segments:\n" + "- {prompt: a fox, duration: 1s}\n" * 10_000,
        characters + "segments:\n" + f"- {{prompt: '{''.join(f'{{z{n}}}' for n in range(500))}', duration: 1s}}\n" * 4,
        f"characters: {{a: '{'x' * 1000}'}}\nsegments:\n" + f"- {{prompt: '{'{a}' * 1300}', duration: 1s}}\n" * 500,
        "segments:\n" + f"- {{prompt: '{'{' * 3990}', duration: 1s}}\n" * 500,
        "segments:\n" + f"- {{prompt: '{'. ' * 1990}', duration: 1s}}\n" * 500,
        "x: &a " * 50_000,
        '"' * 400_000,
    ]
    for text in files:
        start = time.process_time()
        try:
            load_storyboard(write(text))
        except StoryboardError as error:
            assert len(error.message) < 40_000
        assert time.process_time() - start < 6, text[:80]


def test_a_model_that_is_wrong_is_among_every_problem_at_once(write):
    """`model: theater` was told only after all other problems had been mended."""
    path = write("model: theater\nsegments: [{prompt: a, duration: soon}]")
    with pytest.raises(StoryboardError) as caught:
        load_stories(path, check_model=lambda name: f"there is no model named {name!r}")
    assert [
        "line 1: model: there is no model named 'theater'" in caught.value.problems[0],
        len(caught.value.problems),
    ] == [True, 2]


def test_a_comment_cuts_no_text_without_a_word(write):
    """In a YAML list of prompts nothing was said; `prompt: #1 fox` was told to be "a text"; a lone `a fox # x` was a bug."""
    (loaded,) = load_stories(write("- a red fox #1\n- a bear\n"))
    assert len(loaded.warnings) == 1 and "line 1: prompt 1: the text ends before ` #`" in loaded.warnings[0]
    (problem,) = problems_of(write("segments:\n- prompt: #1 fox\n  duration: 1s\n"))
    assert "line 2" in problem and "a comment" in problem and "quotes" in problem
    for text in ("a fox # walks", "7 # seven", "# nothing"):
        assert problems_of(write(text))


@pytest.mark.parametrize("name", ["लोमड़ी", "แม่", "שועל", "نینجا‌ها", "é" + "v", "e\u0301v", "ஆடு", "狐", "fox-2"])
def test_a_character_has_a_name_in_any_script(write, name):
    """Names whose vowels are marks, in Hindi, Thai or Tamil, were refused as "up to 40 letters"."""
    board = load_storyboard(
        write(f"characters: {{{name}: a fox}}\nsegments: [{{prompt: '{{{name}}} walks', duration: 1s}}]")
    )
    assert board.segments[0].prompt == "a fox walks"


@pytest.mark.parametrize("blank", ["\u200b", "\u00a0", "\u3000", "\u200d\ufeff", "\u202f \u2060"])
def test_a_prompt_that_shows_nothing_is_empty(write, blank):
    (problem,) = problems_of(write(f'segments: [{{prompt: "{blank}", duration: 1s}}]'))
    assert "is empty" in problem


@pytest.mark.parametrize(
    "field", ["size: [224, 128]", "size: {width: 224}", "memory: [7]", "fps: [24]", "title: {a: 1.50}"]
)
def test_a_value_is_quoted_as_it_was_written(write, field):
    """`size: [224, 128]` was answered with the name of a class of ours."""
    (problem,) = problems_of(write(f"{field}\nsegments: [{{prompt: a, duration: 1s}}]"))
    assert "Scalar" not in problem
