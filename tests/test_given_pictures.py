"""Films that are given pictures of their characters: the same path for theatre's family and for Wan's, at tiny size."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from memflow_cli.backbone import with_defaults
from memflow_cli.cli.app import run
from memflow_cli.cli.pace import recalled_times
from memflow_cli.errors import UsageError
from memflow_cli.film.events import ChunkDone
from memflow_cli.film.excerpt import read_film
from memflow_cli.film.given import load_given
from memflow_cli.film.recipe import resolve
from memflow_cli.film.shooting import make_film
from memflow_cli.film.takes import Take
from memflow_cli.film.trace import read_trace
from memflow_cli.live.lines import play_lines
from memflow_cli.memory.cast import Casting
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.report.summary import summarise
from memflow_cli.report.telling import when_text
from memflow_cli.story.load import load_stories, load_storyboard
from memflow_cli.story.storyboard import Segment, Storyboard, Subject
from memflow_cli.studio.studio import Studio
from tiny_model import make, recipe_of, story, tiny_backbone, tiny_entry


@pytest.fixture
def pictures(tmp_path):
    for name, colour in (("fox", (200, 30, 60)), ("cat", (40, 60, 200)), ("wood", (20, 120, 40))):
        Image.new("RGB", (96, 48), colour).save(tmp_path / f"{name}.png")
    return tmp_path


def told(folder, *segments, **changes):
    """A story of segments as {what a `Segment` has besides its length}; the fox and the wood have pictures, the cat none."""
    board = story(*(segment.get("prompt", "a film") for segment in segments), seconds=2.25, **changes)
    characters = {"fox": Subject("a red fox", (str(folder / "fox.png"),)), "cat": Subject("a cat")}
    places = {"wood": Subject("a dark wood", (str(folder / "wood.png"),))}
    filled = tuple(replace(each, **segment) for each, segment in zip(board.segments, segments, strict=True))
    return replace(board, segments=filled, characters=characters, places=places)


FOX_COMES = {"prompt": "a red fox in a dark wood", "names": ("fox", "wood")}
NOBODY, CAT = {"prompt": "an empty hall"}, {"prompt": "a cat", "names": ("cat",)}
CHANGED = {"prompt": "the fox has a coat", "names": ("fox",), "remember": ("fox",)}
AGAIN, WITHOUT = {"prompt": "the fox again", "names": ("fox",)}, {"prompt": "the fox", "recall": ()}


def records_of(result):
    return list(read_trace(result.trace_path).records())


@pytest.mark.parametrize("kind", ["theatre", "wan"])
def test_a_picture_is_encoded_committed_and_recalled_from_the_first_chunk_on(pictures, kind):
    result = make(pictures, told(pictures, FOX_COMES, NOBODY, CAT, CHANGED, AGAIN, WITHOUT), kind)
    trace = read_trace(result.trace_path)
    assert [(item.frame, item.name, item.kind, item.file) for item in trace.header.given] == [
        (-1, "fox", "character", "fox.png"),
        (-2, "wood", "place", "wood.png"),
    ]
    first_of = {record.segment: record for record in reversed(list(trace.records()))}
    banks = {index: [item.frame for item in record.bank] for index, record in first_of.items()}
    assert banks[0] == [-1, -2] and first_of[0].called == ("fox", "wood")
    assert first_of[0].whose == {-1: ("fox",), -2: ("wood",)}
    assert all(frame >= 0 for frame in banks[1] + banks[2]), "the pictures are for those who call"
    assert -1 in banks[3]
    assert first_of[4].renewed == ("fox",) and -1 not in banks[4]
    assert banks[5] == [] and all(not record.bank for record in trace.records() if record.segment == 5)
    assert 0 < first_of[0].bank[0].use <= 1


@pytest.mark.parametrize("kind", ["theatre", "wan"])
def test_what_a_picture_shows_changes_the_film(pictures, kind):
    board = told(pictures, FOX_COMES, memory=MemoryOptions(policy="nam"))
    first = make(pictures, board, kind, "a.mp4").path.read_bytes()
    assert make(pictures, board, kind, "b.mp4").path.read_bytes() == first
    pixels = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
    Image.fromarray(pixels).save(pictures / "fox.png")
    assert make(pictures, board, kind, "c.mp4").path.read_bytes() != first


def test_a_picture_is_remembered_mirrored_as_well_where_that_helps(pictures):
    """Who looks to the left there comes in from the left, too; a place stays as it is."""
    pixels = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
    Image.fromarray(pixels).save(pictures / "fox.png")
    nam = MemoryOptions(policy="nam", mirror_pictures=True)
    made = make(pictures, told(pictures, FOX_COMES, memory=nam))
    trace = read_trace(made.trace_path)
    files = ["fox.png", "fox.png, mirrored", "wood.png"]
    assert [(item.frame, item.file) for item in trace.header.given] == list(zip((-1, -2, -3), files, strict=True))
    assert len({item.jpeg for item in trace.header.given[:2]}) == 2
    assert {item.frame for item in next(trace.records()).bank} == {-1, -2, -3}
    first, second, _ = load_given(replace(told(pictures, FOX_COMES), memory=nam), 96, 48)
    assert (second.pixels == first.pixels[:, ::-1]).all() and second.description == first.description
    once = make(pictures, told(pictures, FOX_COMES, memory=MemoryOptions(policy="nam")), name="once.mp4")
    assert once.path.read_bytes() != made.path.read_bytes()
    [shown] = summarise(trace).segments
    assert {when_text(item) for item in shown.pictures()} == {
        f"picture of {name}" for name in ("fox", "fox, mirrored", "wood")
    }


@pytest.mark.parametrize("activate", [None, 2])
def test_the_first_chunks_of_who_is_known_by_pictures_are_led_towards_them(pictures, activate):
    """Hats were lost that a picture showed: what the picture changes in a step counts more, until the film has shown them."""

    def made(guidance, scale=1.0):
        """Of each chunk how many frames of the bank its passes read; and the film."""
        nam = MemoryOptions(policy="nam", activate=activate, picture_guidance=guidance)
        entry, read, chunks = tiny_entry(), [], []
        entry = replace(entry, sampling=replace(entry.sampling, guidance_scale=scale))
        backbone = tiny_backbone(entry)
        predict = backbone.predict

        def count(*arguments, **more):
            cache = more["context"]
            read.append(sum(slot >= cache.shape.sink + cache.shape.window for slot in cache.heads.candidates))
            return predict(*arguments, **more)

        def keep(event):
            if isinstance(event, ChunkDone):
                chunks.append([*read])
                read.clear()

        backbone.predict = count
        board = told(pictures, NOBODY, FOX_COMES, CAT, AGAIN, memory=nam)
        name = f"{guidance}-{scale}.mp4"
        film = make_film(board, entry, with_defaults(backbone), pictures / name, events=keep, resume=False)
        return chunks, film.path.read_bytes()

    plainly, film = made(0.0)
    led, other = made(2.0)
    half = len(tiny_entry().sampling.steps) // 2
    for index, (before, after) in enumerate(zip(plainly, led, strict=True)):
        with_and_without = [frames for read in before[:half] for frames in (read, read - 2)]
        expected = with_and_without + before[half:] if index in (3, 4) else before
        assert after == expected, index
    assert other != film and made(0.0) == (plainly, film)
    by_prompt, _ = made(2.0, scale=3.0)
    for index in (3, 4):  # the pass without a prompt sees the bank: else somebody else's hat led, too
        assert by_prompt[index][: 3 * half] == [
            frames for read in plainly[index][:half] for frames in (read, read, read - 2)
        ]


def test_a_model_says_how_pictures_are_used_and_a_storyboard_may_say_otherwise(pictures):
    ours = replace(tiny_entry(), mirrors_pictures=True, picture_guidance=2.0)
    board = told(pictures, FOX_COMES)

    def resolved(board, entry, **asked):
        memory = resolve(replace(board, memory=MemoryOptions(**asked)), entry).memory
        return memory.mirror_pictures, memory.picture_guidance

    assert resolved(board, ours) == (True, 2.0) and resolved(board, tiny_entry()) == (False, 0.0)
    assert resolved(board, ours, mirror_pictures=False, picture_guidance=0.0) == (False, 0.0)
    assert resolved(board, tiny_entry(), mirror_pictures=True, picture_guidance=1.0) == (True, 1.0)
    without = replace(board, characters={}, places={})
    assert resolved(without, ours, mirror_pictures=True, picture_guidance=1.0) == (None, None)
    assert recipe_of(without, ours) == recipe_of(without, tiny_entry()), "films without pictures are what they were"
    assert recipe_of(board, ours) != recipe_of(board, tiny_entry())
    before = board.to_json()
    del before["memory"]["mirror_pictures"], before["memory"]["picture_guidance"]
    assert resolved(Storyboard.from_json(before), ours, **vars(Storyboard.from_json(before).memory)) == (False, 0.0)


def test_a_project_that_was_moved_makes_its_films_again_from_their_records(pictures):
    """film.json named its pictures by where they had been."""
    project, elsewhere = pictures / "project", pictures / "elsewhere"
    (project / "cast").mkdir(parents=True)
    for name in ("fox", "wood"):
        (pictures / f"{name}.png").rename(project / "cast" / f"{name}.png")
    made = make(project, told(project / "cast", FOX_COMES))
    project.rename(elsewhere)
    [again] = load_stories(elsewhere / "film.json")
    assert again.storyboard.files == [str(elsewhere / "cast" / f"{name}.png") for name in ("fox", "wood")]
    assert len(again.warnings) == 2 and f"{project / 'cast' / 'fox.png'} is not there any more" in again.warnings[0]
    assert (
        make(elsewhere, again.storyboard, name="b.mp4").path.read_bytes() == (elsewhere / made.path.name).read_bytes()
    )
    assert read_film(elsewhere / "film.mp4").storyboard.files == again.storyboard.files, (
        "to extend it, or take it again"
    )
    (elsewhere / "cast" / "fox.png").unlink()
    [lost] = load_stories(elsewhere / "film.json")
    assert lost.storyboard.files[0] == str(project / "cast" / "fox.png"), "what is nowhere is told by where it was"


def test_a_record_may_name_what_cannot_be_looked_at(pictures):
    """A name that is too long for any file ended in a traceback, and so did another user's home folder."""
    board = told(pictures, FOX_COMES)
    make(pictures, board)
    record = json.loads((pictures / "film.json").read_text())
    for path in (f"/{'a' * 300}.png", "/../../fox.png"):
        record["storyboard"]["characters"]["fox"]["pictures"] = [path]
        (pictures / "film.json").write_text(json.dumps(record))
        assert load_stories(pictures / "film.json")[0].storyboard.files[0] == path


class Killed(BaseException):
    """Ends a render in the middle."""


@pytest.mark.parametrize("chunks", [1, 4, 8])
def test_a_resumed_film_is_the_same_film(pictures, chunks):
    board = told(pictures, FOX_COMES, CHANGED, {**AGAIN, "forget": ("wood",)})
    whole = make(pictures, board, name="whole.mp4")

    def stop(event):
        if isinstance(event, ChunkDone) and event.chunk == chunks - 1:
            raise Killed

    with pytest.raises(Killed):
        make(pictures, board, events=stop)
    again = make(pictures, board)
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert again.trace_path.read_bytes() == whole.trace_path.read_bytes()
    assert records_of(again)[-1].called == ("fox",)


def test_another_picture_or_another_word_about_memory_is_another_film(pictures):
    entry = tiny_entry()

    def recipe(board):
        return recipe_of(board, entry)

    board = told(pictures, FOX_COMES, AGAIN)
    before = recipe(board)
    assert recipe(board) == before
    for changed in ({**AGAIN, "remember": ("fox",)}, {**AGAIN, "forget": ("fox",)}, {**AGAIN, "recall": ()}, NOBODY):
        assert recipe(told(pictures, FOX_COMES, changed)).unchanged_segments(before) == 1
    Image.new("RGB", (96, 48), "white").save(pictures / "fox.png")
    assert before.differences(recipe(board)) == ["the picture fox.png of fox has changed"]


def test_a_story_without_a_cast_is_recorded_as_it_always_was(tmp_path):
    """Its recipe and its trace have no word of all this."""
    board = story()
    entry = tiny_entry()
    recipe = recipe_of(board, entry)
    assert "given" not in recipe.common
    assert all(segment.keys() == {"prompt", "num_chunks", "seed", "transition", "image"} for segment in recipe.segments)
    sink = replace(board, memory=MemoryOptions(policy="sink"), segments=(replace(board.segments[0], names=("fox",)),))
    assert "names" not in recipe_of(sink, entry).segments[0]
    header, *lines = make(tmp_path, board).trace_path.read_text().splitlines()
    assert "given" not in json.loads(header)
    assert not {"called", "whose", "renewed", "forgotten"} & {key for line in lines for key in json.loads(line)}


@pytest.mark.parametrize("policy", ["official", "sink", "window", "ema-sink", "shot-sink"])
def test_policies_that_recall_no_picture_refuse_them(pictures, policy):
    board = told(pictures, FOX_COMES, memory=MemoryOptions(policy=policy))
    with pytest.raises(UsageError, match=f"the policy {policy} recalls no given picture, and fox has one"):
        resolve(board, tiny_entry())
    without = replace(board, characters={"fox": Subject("a red fox")}, places={})
    assert resolve(without, tiny_entry()).memory.policy == policy


def test_a_bank_that_holds_nothing_takes_no_pictures(pictures):
    with pytest.raises(UsageError, match="a bank of 0 recalls nothing"):
        resolve(told(pictures, FOX_COMES, memory=MemoryOptions(policy="nam", bank=0)), tiny_entry())


@pytest.mark.parametrize("content", [None, b"not a picture"])
def test_a_bad_picture_is_a_sentence_and_nothing_is_left(pictures, content):
    (pictures / "fox.png").unlink()
    if content is not None:
        (pictures / "fox.png").write_bytes(content)
    (pictures / "films").mkdir()
    with pytest.raises(UsageError, match=r"fox\.png"):
        make(pictures / "films", told(pictures, FOX_COMES))
    assert list((pictures / "films").iterdir()) == []


def test_a_model_without_an_encoder_says_so(pictures, tmp_path):
    entry = tiny_entry()
    backbone = tiny_backbone(entry)
    del backbone.encode_frames
    with pytest.raises(UsageError, match="cannot start from a picture, nor be given one"):
        make_film(told(pictures, FOX_COMES), entry, with_defaults(backbone), tmp_path / "film.mp4")


def test_the_film_s_record_makes_it_again(pictures, tiny_model_folder):
    studio = Studio(tiny_model_folder, dtype="fp32")
    (pictures / "story.yaml").write_text(
        f"model: {tiny_model_folder}\nsize: 32x32\nseed: 1\nmemory: {{policy: nam}}\n"
        "characters: {fox: {description: a red fox, picture: fox.png}, cat: a cat}\n"
        "segments:\n- {prompt: '{fox} meets {cat}', duration: 1.5s}\n"
        "- {prompt: the fox goes, duration: 1.5s, names: fox, forget: cat}\n"
    )
    made = studio.make(load_storyboard(pictures / "story.yaml"), pictures / "film.mp4")
    [loaded] = load_stories(made.record_path)
    again = studio.make(loaded.storyboard, pictures / "again.mp4")
    assert again.path.read_bytes() == made.path.read_bytes() and not loaded.warnings
    assert [record.called for record in records_of(again)] == 2 * [("fox", "cat")] + 2 * [("fox",)]


def test_a_take_is_given_characters_and_its_prompts_refer_to_them(pictures, tiny_model_folder):
    studio = Studio(tiny_model_folder, dtype="fp32")
    fox = {"fox": Subject("a red fox", (str(pictures / "fox.png"),))}
    nam = MemoryOptions(policy="nam")
    with studio.take(pictures / "take.mp4", seed=7, size=(32, 32), memory=nam, characters=fox) as take:
        list(take.play("{fox} comes in", seconds=1.5))
        with pytest.raises(UsageError, match="{cat} is not a character or place of this film; known are fox"):
            take.play("{cat} comes in")
        list(take.play("it has a coat", seconds=1.5, casting=Casting(names=("fox",), remember=("fox",))))
        list(take.play("an empty hall", seconds=1.5))
        board = take.storyboard
    assert board.segments[0].prompt == "a red fox comes in"
    records = list(read_trace(pictures / "take.memory.jsonl").records())
    assert [item.frame for item in records[0].bank] == [-1] and records[4].renewed == ("fox",)
    again = studio.make(board, pictures / "again.mp4")
    assert again.trace_path.read_bytes() == (pictures / "take.memory.jsonl").read_bytes()


def test_an_interrupted_take_goes_on_with_whom_it_remembers(pictures, tiny_model_folder):
    studio = Studio(tiny_model_folder, dtype="fp32")
    fox = {"fox": Subject("a red fox", (str(pictures / "fox.png"),))}
    options = {"size": (32, 32), "memory": MemoryOptions(policy="nam"), "characters": fox}
    with pytest.raises(Killed), studio.take(pictures / "take.mp4", seed=7, **options) as take:
        list(take.play("{fox} comes in", seconds=1.5, casting=Casting(remember=("fox",))))
        raise Killed
    with studio.take(pictures / "take.mp4", **options) as take:
        list(take.play("{fox} again", seconds=1.5))
        board = take.storyboard
    assert board.segments[0].names == ("fox",) == board.segments[0].remember
    again = studio.make(board, pictures / "again.mp4")
    assert again.trace_path.read_bytes() == (pictures / "take.memory.jsonl").read_bytes()


def test_an_extended_film_goes_on_with_whom_it_knows(pictures, tiny_model_folder):
    """By name in a prompt; with those whom another storyboard brings, but not with pictures of them."""
    head = f"model: {tiny_model_folder}\nsize: 32x32\nseed: 1\nmemory: {{policy: nam}}\ncharacters:\n"
    fox = "  fox: {description: a red fox, picture: fox.png}\n"
    first = "segments:\n- {prompt: '{fox} comes in', duration: 1.5s, remember: fox}\n"
    (pictures / "story.yaml").write_text(head + fox + first)
    film, longer = pictures / "film.mp4", pictures / "longer.mp4"
    assert run(["generate", str(pictures / "story.yaml"), "-o", str(film), "--keep-run"]) == 0
    assert run(["extend", str(film), "--prompt", "{fox} again", "--duration", "1.5s", "-o", str(longer)]) == 0
    (pictures / "whole.yaml").write_text(head + fox + first + "- {prompt: '{fox} again', duration: 1.5s}\n")
    assert run(["generate", str(pictures / "whole.yaml"), "-o", str(pictures / "whole.mp4")]) == 0
    trace = read_trace(longer.with_suffix(".memory.jsonl"))
    assert [record.called for record in trace.records()] == 4 * [("fox",)] and trace.header.given
    assert list(trace.records()) == list(read_trace(pictures / "whole.memory.jsonl").records())
    assert run(["extend", str(film), "--prompt", "{cat} again", "-o", str(pictures / "no.mp4")]) == 2
    (pictures / "more.yaml").write_text("characters: {cat: a cat}\nsegments: [{prompt: '{cat}', duration: 1.5s}]\n")
    assert run(["extend", str(film), str(pictures / "more.yaml"), "-o", str(pictures / "cat.mp4")]) == 0
    assert list(read_trace(pictures / "cat.memory.jsonl").records())[-1].called == ("cat",)
    (pictures / "more.yaml").write_text(
        "characters: {cat: {description: a cat, picture: cat.png}}\nsegments: [{prompt: '{cat}', duration: 1.5s}]\n"
    )
    assert run(["extend", str(film), str(pictures / "more.yaml"), "-o", str(pictures / "no.mp4")]) == 2
    assert not (pictures / "no.yaml").exists()


@pytest.mark.parametrize(
    ("cast", "says"),
    [
        ("characters: {fox: {description: a blue fox, picture: fox.png}}", "fox is 'a blue fox' here, and 'a red fox'"),
        (
            "characters: {fox: {description: a red fox, picture: cat.png}}",
            "fox has other pictures here than in the film",
        ),
        (
            "characters: {fox: a red fox, cat: {description: a cat, picture: cat.png}}",
            "cat has a picture here, and none",
        ),
        ("characters: {fox: a red fox}\nplaces: {cat: a cat}", "cat is a place here, and none in the film"),
        ("characters: {fox: {description: a red fox, picture: copy.png}}", None),
        ("characters: {fox: a red fox, cat: a cat}", None),
    ],
)
def test_what_follows_means_the_same_by_a_name(pictures, tiny_model_folder, cast, says, capfd):
    """Half of it was taken: the new prompt said another description, and the fox kept the old one and its picture."""
    (pictures / "story.yaml").write_text(
        f"model: {tiny_model_folder}\nsize: 32x32\nseed: 1\nmemory: {{policy: nam}}\n"
        "characters: {fox: {description: a red fox, picture: fox.png}, cat: a cat}\n"
        "segments: [{prompt: '{fox} meets {cat}', duration: 0.75s}]\n"
    )
    (pictures / "copy.png").write_bytes((pictures / "fox.png").read_bytes())
    assert run(["generate", str(pictures / "story.yaml"), "-o", str(pictures / "film.mp4")]) == 0
    (pictures / "more.yaml").write_text(f"{cast}\nsegments: [{{prompt: '{{fox}} again', duration: 0.75s}}]\n")
    capfd.readouterr()
    command = ["extend", str(pictures / "film.mp4"), str(pictures / "more.yaml"), "-o", str(pictures / "longer.mp4")]
    assert run(command) == (0 if says is None else 2)
    assert says is None or says in capfd.readouterr().err
    assert (pictures / "longer.yaml").exists() == (says is None)


def test_lines_of_a_live_film_refer_to_its_characters(pictures, tiny_model_folder):
    fox = {"fox": Subject("a red fox", (str(pictures / "fox.png"),))}
    studio, nam = Studio(tiny_model_folder, dtype="fp32"), MemoryOptions(policy="nam")
    opening = told(pictures, {"prompt": "a red {fox}", "names": ("fox",)}).segments
    with studio.take(pictures / "take.mp4", seed=7, size=(32, 32), memory=nam, characters=fox) as take:
        answers = list(play_lines(take, [replace(opening[0], seconds=0.75)], ["{fox} again", "{cat} comes in", "snow"]))
        board = take.storyboard
    assert [answer["event"] for answer in answers] == ["prompt", "prompt", "error", "prompt"]
    assert [segment.prompt for segment in board.segments] == ["a red {fox}", "a red fox again", "snow"]
    assert [segment.names for segment in board.segments] == [("fox",), ("fox",), ()]


def test_another_take_is_about_those_whom_its_prompt_refers_to():
    segment = Segment("a red fox", 1.5, names=("fox",))
    takes = [Take(1, 5, "the cat", written, "") for written in (None, "the cat", "{cat}")]
    assert [take.of(segment).names for take in takes] == [("fox",), ("fox",), ("cat",)]


# Looked at afterwards


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected")
    Image.new("RGB", (96, 48), (200, 30, 60)).save(folder / "fox.png")
    Image.new("RGB", (96, 48), (20, 120, 40)).save(folder / "wood.png")
    changed = {**CHANGED, "forget": ("wood",)}
    return make(folder, told(folder, FOX_COMES, NOBODY, changed, AGAIN))


def test_inspect_memory_shows_a_given_picture_as_what_it_is(inspected, tmp_path, capsys):
    assert (
        run(["inspect-memory", str(inspected.path), "-o", str(tmp_path), "-f", "json", "-f", "html", "-f", "png"]) == 0
    )
    segments = json.loads(capsys.readouterr().out)["segments"]
    fox, wood = (item for item in segments[0]["recalled"] if item["frame"] < 0)
    if fox["frame"] == -2:
        fox, wood = wood, fox
    assert fox["picture"] == {"name": "fox", "kind": "character", "file": "fox.png"} and fox["names"] == ["fox"]
    assert fox["seconds"] is None is fox["segment"] and 0 < fox["use"] <= 1
    assert segments[0]["called"] == ["fox", "wood"] and wood["picture"]["kind"] == "place"
    assert segments[2]["forgotten"] == ["wood"] and segments[3]["renewed"] == ["fox"]
    [dumped] = tmp_path.glob("segment-01/recall-*_t=given-1_*.png")
    assert np.abs(np.asarray(Image.open(dumped)).astype(int) - (200, 30, 60)).max() < 12, "a JPEG is lossy"
    page = (tmp_path / "index.html").read_text()
    assert "Memory looked at the given picture of fox and of wood." in page and '"given":"fox, fox.png"' in page
    assert (
        "calls fox, wood" in page and "fox: remembered as they were just before" in page and "wood: forgotten" in page
    )


def test_what_is_told_while_the_film_is_made_names_given_pictures(inspected):
    trace = read_trace(inspected.trace_path)
    records = [record for record in trace.records() if record.segment == 0]
    assert {"picture of fox", "picture of wood"} <= set(recalled_times(trace.header.plan, records))


def test_the_table_names_given_pictures(inspected, capsys):
    assert run(["inspect-memory", str(inspected.path), "-f", "table"]) == 0
    assert "picture of fox" in capsys.readouterr().out


def edited(result, folder, header=lambda content: None, record=lambda content: None):
    """The trace with its header and its first record changed."""
    lines = [json.loads(line) for line in result.trace_path.read_text().splitlines()]
    header(lines[0])
    record(next(line for line in lines if "chunk" in line))
    path = folder / "film.memory.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"bank": [[-3, 0.5, 1.0]]},
        {"whose": {"-3": ["fox"]}},
        {"whose": {"-1": "fox"}},
        {"whose": {"- 1": ["fox"]}},
        {"called": "fox"},
        {"renewed": [1]},
        {"forgotten": {}},
        {"candidates": {"-7": 0.5}},
    ],
)
def test_a_trace_that_tells_of_pictures_nobody_gave_is_refused(inspected, tmp_path, change):
    path = edited(inspected, tmp_path, record=lambda content: content.update(change))
    with pytest.raises(UsageError, match=r"film\.memory\.jsonl, line"):
        list(read_trace(path).records())


@pytest.mark.parametrize("frames", [[-2, -1], [-1, -1], [0, -1], [-1, -3]])
def test_given_pictures_are_numbered(inspected, tmp_path, frames):
    def renumber(content):
        for item, frame in zip(content["given"], frames, strict=True):
            item["frame"] = frame

    with pytest.raises(UsageError, match="not numbered -1, -2"):
        read_trace(edited(inspected, tmp_path, header=renumber))


@pytest.mark.parametrize("content", ["", "no base64!", "aGVsbG8=", "A" * (4 << 20)])
def test_what_is_not_a_picture_in_a_trace_is_shown_without_one(inspected, tmp_path, content):
    def spoil(header):
        header["given"][0]["jpeg"] = content

    path = edited(inspected, tmp_path, header=spoil)
    (tmp_path / "film.mp4").write_bytes(inspected.path.read_bytes())
    assert run(["inspect-memory", str(path), "-o", str(tmp_path / "out"), "-f", "png", "-f", "html"]) == 0
    assert not list(tmp_path.glob("out/segment-01/recall-*_t=given-1_*.png"))
    assert list(tmp_path.glob("out/segment-01/recall-*_t=given-2_*.png"))


def test_plan_says_who_is_called_and_where_memory_has_them_from(pictures, capsys):
    (pictures / "story.yaml").write_text(
        "memory: {policy: nam}\ncharacters: {fox: {description: a fox, picture: fox.png}, cat: a white cat}\nsegments:\n"
        "- {prompt: '{fox} comes in', duration: 3s}\n"
        "- {prompt: '{cat} comes in', duration: 3s}\n"
        "- {prompt: the fox has a red hat, duration: 3s, names: fox, remember: fox}\n"
        "- {prompt: '{fox} and {cat} come back', duration: 3s, forget: cat}\n"
        "- {prompt: the stage is empty, duration: 3s, recall: [cat]}\n"
        "- {prompt: the stage is empty, duration: 3s, recall: none}\n"
    )
    assert run(["plan", str(pictures / "story.yaml")]) == 0
    said = capsys.readouterr().out
    assert "  1  fox: its picture\n  2  cat: nothing yet: this segment first shows it\n" in said
    assert (
        "4  cat: forgotten when it begins; fox: the end of segment 3, which remembers it; cat: nothing: what was"
        in said
    )
    assert "5  cat: segment 4, which first shows it\n  6  nothing is recalled\n" in said
    assert run(["plan", str(pictures / "story.yaml"), "--json"]) == 0
    calls = [segment["calls"] for segment in json.loads(capsys.readouterr().out)["segments"]]
    assert calls[0] == [{"name": "fox", "source": "picture", "segment": None}]
    assert calls[3][0] == {"name": "fox", "source": "remembered", "segment": 3} and calls[5] == []


@pytest.mark.parametrize(
    ("description", "prompt", "told"),
    [
        ("the quiet place", "a red fox waves in {home}", "in a meadow"),
        ("a desert", "a red fox waves", "in a meadow"),  # called, and its description not in the prompt
        ("a desert", "a red fox waves in {home}", None),
        ("the quiet place", "a red fox waves in the snow, {home}", None),
        ("a meadow", "a red fox waves", None),
    ],
)
def test_where_theatre_does_not_know_a_place_by_its_picture_is_said(pictures, description, prompt, told, capsys):
    """A picture of a desert, and the film was in a meadow without a word."""
    (pictures / "story.yaml").write_text(
        f"places: {{home: {{description: {description}, picture: fox.png}}}}\nsegments:\n"
        f"- {{prompt: '{prompt}', names: home, duration: 3s}}\n- {{prompt: the fox spins, names: home, duration: 3s}}\n"
    )
    assert run(["plan", str(pictures / "story.yaml")]) == 0
    said = capsys.readouterr().err
    assert said.count("knows no place by its picture alone") == (0 if told is None else 1)
    assert told is None or f"it is {told}, for the prompt names none of theatre's settings (segment 1)" in said


def test_plan_says_what_is_forgotten_and_remembered(pictures, capsys):
    """Of who was forgotten it said that no segment had shown them, or that this one was the first to."""
    (pictures / "story.yaml").write_text(
        "memory: {policy: nam}\ncharacters: {fox: a red fox}\nsegments:\n"
        "- {prompt: '{fox} comes in', duration: 3s}\n"
        "- {prompt: '{fox} waves', duration: 3s, forget: fox, remember: fox}\n"
        "- {prompt: the stage is empty, duration: 3s, forget: fox, recall: fox}\n"
        "- {prompt: '{fox} comes back', duration: 3s}\n"
        "- {prompt: '{fox} waves', duration: 3s}\n"
    )
    assert run(["plan", str(pictures / "story.yaml")]) == 0
    said = capsys.readouterr().out
    anew = "fox: nothing: what was shown is forgotten, and this segment shows it anew"
    assert f"2  fox: forgotten when it begins; {anew}; fox: remembered as at its end\n" in said
    assert "3  fox: forgotten when it begins; fox: nothing: what was shown is forgotten\n" in said
    assert f"4  {anew}\n  5  fox: segment 4, which first shows it\n" in said
    assert run(["plan", str(pictures / "story.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["segments"]
    assert [each["calls"][0]["source"] for each in told] == ["here", "anew", "forgotten", "anew", "shown"]
    assert told[1]["remember"] == told[1]["forget"] == ["fox"] and told[0]["remember"] == []


def story_of_pictures(pictures, count, *segments, **memory):
    characters = {f"c{number}": {"description": "a fox", "picture": "fox.png"} for number in range(count)}
    story = {"memory": {"policy": "nam", **memory}, "characters": characters, "segments": list(segments)}
    (pictures / "story.yaml").write_text(json.dumps(story))
    return str(pictures / "story.yaml")


def test_a_picture_that_nobody_calls_is_told(pictures, capsys):
    """Without braces a prompt calls nobody: the picture was never recalled, and not a word was said."""
    path = story_of_pictures(pictures, 2, {"prompt": "the fox walks, and {c1} waves", "duration": "3s"})
    assert run(["plan", path]) == 0
    said = capsys.readouterr().err
    assert (
        "c0 has a picture, and no segment calls it: write {c0} in a prompt, or names: [c0]" in said and "c1" not in said
    )


@pytest.mark.parametrize(("bank", "is_told"), [(1, True), (2, False)])
def test_a_bank_too_small_for_the_pictures_that_are_called_is_told(pictures, capsys, bank, is_told):
    path = story_of_pictures(pictures, 2, {"prompt": "{c0} and {c1} wave", "duration": "3s"}, bank=bank)
    assert run(["plan", path]) == 0
    said = "segment 1 calls 2 who are known by their pictures, and the bank holds 1 frame: memory.bank: 2"
    assert (said in capsys.readouterr().err) is is_told


def test_what_a_bank_of_nothing_ignores_is_told(pictures, capsys):
    path = story_of_pictures(pictures, 0, {"prompt": "a fox waves", "duration": "3s", "recall": "none"}, bank=0)
    assert run(["plan", path]) == 0
    said = capsys.readouterr()
    assert "a bank of 0 recalls nothing, and ignores recall (segment 1)" in said.err and "who is called" not in said.out


def test_pictures_are_counted_as_memory(pictures, capsys):
    """Forty pictures took more than the whole archive may, and the plan was the same as with none."""

    def archive_bytes(count):
        names = " and ".join(f"{{c{number}}}" for number in range(count)) or "a fox"
        path = story_of_pictures(
            pictures, count, {"prompt": f"{names} wave", "duration": "3s"}, bank=4, archive="500KB"
        )
        assert run(["plan", path, "--json"]) == 0
        said = capsys.readouterr()
        return json.loads(said.out)["needs"]["archive_bytes"], "more than the archive may" in said.err

    assert archive_bytes(0) == (500_000, False)
    two, four = archive_bytes(2), archive_bytes(4)
    assert four == (2 * two[0], True) and two[1]


def test_what_a_policy_ignores_is_told(pictures, capsys):
    (pictures / "story.yaml").write_text(
        "memory: {policy: sink}\ncharacters: {fox: a red fox}\nsegments:\n"
        "- {prompt: '{fox} comes in', duration: 3s, remember: fox}\n- {prompt: it goes, duration: 3s, recall: none}\n"
    )
    assert run(["plan", str(pictures / "story.yaml")]) == 0
    said = capsys.readouterr()
    assert "does not know who is who, and ignores remember (segment 1), recall (segment 2)" in said.err
    assert "who is called" not in said.out


def test_plan_refuses_pictures_where_memory_takes_none(pictures, capsys):
    (pictures / "story.yaml").write_text(
        "memory: {policy: official}\ncharacters:\n  fox: {description: a fox, picture: fox.png}\n"
        "segments: [{prompt: '{fox}', duration: 3s}]\n"
    )
    assert run(["plan", str(pictures / "story.yaml")]) == 2
    said = capsys.readouterr().err
    assert "line 1" in said and "the policy official recalls no given picture, and fox has one" in said
