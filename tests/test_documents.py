"""docs/json.md names every key that is printed or written, and no other; what it says about time holds."""

import json
import re
from pathlib import Path

import pytest

from memflow_cli.cli.app import run

PAGE = (Path(__file__).parent.parent / "docs" / "json.md").read_text(encoding="utf-8")
STORY = """\
title: Fox
seed: 7
captions: true
characters: {fox: a red fox}
segments:
- {prompt: "{fox}", duration: 3.75s}
- {prompt: the snow, duration: 3s}
"""
GEOMETRY = "geometry", "plan.geometry"
# keys that are data, not stable, or in another table
FREE = "recipe", "candidates", "whose", "storyboard.characters", "storyboard.places", "timings", "tracks"


def documented(heading: str) -> set[str]:
    """The keys in the first column of the table below a heading."""
    _, marker, section = PAGE.partition(f"\n{heading}\n")
    assert marker, f"docs/json.md has no heading {heading}"
    rows = [line for line in re.split(r"\n#+ ", section)[0].splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])}


def keys(value: object, place: str = "") -> set[str]:
    """Every key in a document, by its path: `needs.cache_bytes`, `segments[].prompt`."""
    found = {place} - {""}
    if isinstance(value, dict) and place not in GEOMETRY + FREE:
        for key, item in value.items():
            found |= keys(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        found = found.union(*(keys(item, f"{place}[]") for item in value)) - {f"{place}[]"}
    return found


def all_keys(*values: object) -> set[str]:
    return set().union(*map(keys, values))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def printed(capfd):
    """The JSON that a command prints."""

    def printed(*arguments):
        run([str(argument) for argument in arguments])
        return json.loads(capfd.readouterr().out)

    return printed


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    path = tmp_path_factory.mktemp("story") / "story.yaml"
    path.write_text(STORY)
    return path


@pytest.fixture(scope="module")
def film(story, tiny_model_folder):
    """A film that was interrupted and gone on with, decoded beside the denoising, with more remembered than it may keep."""
    path = story.parent / "film.mp4"
    options = ["--activate", "2", "--set", "memory.archive=3KB", "--progress", "none"]
    command = ["generate", str(story), "--model", str(tiny_model_folder), "-o", str(path), *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memflow_cli.film.film_under_way.overlap_pays", lambda *_: True)
        assert run([*command, "--max-time", "0.001s"]) == 5
        assert run(command) == 0
    return path


def test_plan(printed, story, tiny_model_folder):
    model = "--model", tiny_model_folder
    plan = printed("plan", story, *model, "--json")
    assert keys(plan) == documented("## `memflow plan --json`")
    assert keys(printed("generate", story, *model, "--dry-run", "--json")) == keys(plan)


def test_what_lies_beside_a_film(film, story, tiny_model_folder):
    record = json.loads(film.with_suffix(".json").read_text(encoding="utf-8"))
    assert keys(record) == documented("## `film.json`")
    assert keys(record["timings"]) == documented("## Timings")
    header, *rest = lines(film.with_suffix(".memory.jsonl"))
    segments, chunks = ([line for line in rest if ("plan_segment" in line) == wanted] for wanted in (True, False))
    given = {key for key in documented("### The header") if key.startswith("given")}  # of a film with pictures
    assert given and keys(header) == documented("### The header") - given
    assert all(keys(segment) == documented("### A segment") for segment in segments)
    assert keys(header["plan"]["geometry"]) == documented("## Geometry")
    other = story.parent / "official.mp4"
    arguments = ["--model", str(tiny_model_folder), "--memory", "official", "--set", "memory.record_interval=1"]
    assert run(["generate", str(story), "-o", str(other), *arguments, "--progress", "none"]) == 0
    more = [line for line in lines(other.with_suffix(".memory.jsonl"))[1:] if "chunk" in line]
    edited = {"renewed", "forgotten"}  # of a film whose segments say `remember` or `forget`
    assert edited <= documented("### A chunk") and all_keys(*chunks, *more) == documented("### A chunk") - edited


def test_live_lines(tmp_path, tiny_model_folder):
    from memflow_cli.live.lines import play_lines
    from memflow_cli.studio.studio import Studio

    told, studio = [], Studio(str(tiny_model_folder))
    for lines_given in (["a fox", "wait 1.5s", "snow", "undo", "wait soon"], ["a bear"]):
        take = studio.take(tmp_path / "film.mp4", seed=1)
        told += play_lines(take, (), lines_given)
        take.close()
    assert all_keys(*told) == documented("## `memflow live --stdin`")
    assert {answer["event"] for answer in told} == {"prompt", "wait", "undo", "error", "resumed"}


def test_inspect_memory(printed, film):
    content = printed("inspect-memory", film, "--format", "json")
    assert keys(content) == documented("## `memflow inspect-memory --format json`")


def test_latent_frames_become_times_as_the_page_computes_them(printed, film):
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], names)
    plan = lines(film.with_suffix(".memory.jsonl"))[0]["plan"]
    segments = printed("inspect-memory", film, "-f", "json")["segments"]
    recalled = [item for segment in segments for item in segment["recalled"]]
    assert len(recalled) > 3
    assert all(names["seconds"](plan, item["frame"]) == item["seconds"] for item in recalled)
    wan = {"fps": 16, "geometry": {"first_frames": 1, "temporal_stride": 4}}
    assert [names["seconds"](wan, frame) for frame in (0, 1, 3)] == [0, 0.0625, 0.5625]


def test_models(printed):
    listed = documented("## `memflow models list --json`")
    assert all(keys(model) == listed for model in printed("models", "list", "--json"))
    theatre, memflow = (printed("models", "show", name, "--json") for name in ("theatre", "memflow-1.3b"))
    assert all_keys(theatre, memflow) == listed | documented("## `memflow models show --json`")
    assert keys(theatre["geometry"]) == documented("## Geometry")


def test_doctor(printed):
    findings = printed("doctor", "--offline", "--json")
    assert all(keys(finding) == documented("## `memflow doctor --json`") for finding in findings)
    assert all(f"`{finding['check']}`" in PAGE for finding in findings)


def test_bench(printed, tiny_model_folder, monkeypatch):
    monkeypatch.setattr("memflow_cli.bench.speed.BLOCK_CHUNKS", 1)
    monkeypatch.setattr("memflow_cli.bench.speed.BLOCK_PAIRS", 3)
    arguments = ["--model", tiny_model_folder, "--policies", "sink,window", "--chunks", "15", "--overlap"]
    assert keys(printed("bench", *arguments, "--json")) == documented("## `memflow bench --json`")
