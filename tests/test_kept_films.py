"""A finished film keeps what it can be gone on from: an edit makes again only what comes after it, and no bit differs."""

import importlib.metadata
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from memflow_cli.cli.app import run

STORY = ("a red fox", "an empty wood", "the fox again", "a bear")


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A current folder, where the toy model is known."""
    found = EntryPoint("toy", "toy_backbone:model", "memflow_cli.backbones")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **given: [found] if given["group"] == found.group else []
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_story(*prompts: str, seed: int | None = 7) -> None:
    lines = [f"- {{prompt: {prompt}, duration: 0.5s}}" for prompt in prompts]
    seeds = [] if seed is None else [f"seed: {seed}"]
    Path("story.yaml").write_text("\n".join(["model: toy", *seeds, "size: 32x32", "segments:", *lines]))


def generate(film: str = "film.mp4", *options: str) -> int:
    return run(["generate", "story.yaml", "-o", film, "--progress", "jsonl", *options])


def made_again(capsys) -> tuple[int, int]:
    """(chunks that were kept, chunks that were made) by the last command."""
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    kept = next(event["resumed_chunks"] for event in events if event["event"] == "film")
    return kept, sum(event["event"] == "chunk" for event in events)


@pytest.mark.parametrize(
    "edited, kept",
    [
        (("a red fox", "an empty wood", "a wolf", "a bear"), 4),
        (("a red fox", "an empty wood", "the fox again", "a bear", "snow"), 8),
        (("a red fox", "an empty wood"), 4),
        (("an owl", "an empty wood", "the fox again", "a bear"), 0),
        (STORY, 8),
    ],
    ids=["third", "longer", "shorter", "first", "unchanged"],
)
def test_an_edited_film_is_made_again_from_the_first_change_on(films, edited, kept, capsys):
    write_story(*STORY)
    assert generate("film.mp4", "--keep", "1MB") == 0
    old = Path("film.mp4").read_bytes()
    write_story(*edited)
    capsys.readouterr()
    if edited != STORY:
        assert generate("film.mp4", "--keep", "1MB") == 2, "a film is replaced by -y only"
        assert Path("film.mp4").read_bytes() == old
    capsys.readouterr()
    assert generate("film.mp4", "--keep", "1MB", "-y") == 0
    assert made_again(capsys) == (kept, 2 * len(edited) - kept)
    assert generate("fresh.mp4", "--keep", "no") == 0
    assert Path("film.mp4").read_bytes() == Path("fresh.mp4").read_bytes()
    assert Path("film.memory.jsonl").read_bytes() == Path("fresh.memory.jsonl").read_bytes()
    assert Path("film.mp4.run").exists() and not Path("fresh.mp4.run").exists()


def test_a_finished_film_stays_with_what_it_keeps(films, capsys):
    write_story(*STORY)
    assert generate("film.mp4", "--keep", "1MB") == 0
    before = {path.name: path.read_bytes() for path in Path("film.mp4.run").iterdir() if path.name != "lock"}
    assert generate("film.mp4") == 0
    assert {path.name: path.read_bytes() for path in Path("film.mp4.run").iterdir() if path.name != "lock"} == before


def test_a_film_of_another_seed_takes_the_place_of_what_was_kept(films, capsys):
    """What is kept of a finished film is not an interrupted render, which is never given up unasked."""
    write_story(*STORY)
    assert generate("film.mp4", "--keep", "1MB") == 0
    write_story(*STORY, seed=8)
    capsys.readouterr()
    assert generate("film.mp4", "--keep", "1MB", "-y") == 0
    assert made_again(capsys) == (0, 8)
    assert json.loads(Path("film.json").read_text())["seed"] == 8


def test_a_drawn_seed_stays_for_an_edit_and_is_drawn_anew_for_the_same_film(films, capsys):
    write_story(*STORY, seed=None)
    assert generate("film.mp4", "--keep", "1MB") == 0
    seed = json.loads(Path("film.json").read_text())["seed"]
    write_story(*STORY[:3], "a wolf", seed=None)
    assert generate("film.mp4", "--keep", "1MB", "-y") == 0
    assert json.loads(Path("film.json").read_text())["seed"] == seed
    assert generate("film.mp4", "--keep", "1MB", "-y") == 0
    assert json.loads(Path("film.json").read_text())["seed"] != seed


@pytest.mark.parametrize("keep, is_kept", [("no", False), ("auto", False), ("100B", False), ("1MB", True)])
def test_how_much_is_kept(films, keep, is_kept):
    write_story(*STORY)
    assert generate("film.mp4", "--keep", keep) == 0
    assert Path("film.mp4.run").exists() == is_kept


def test_theatre_keeps_its_films():
    from memflow_cli.models.catalog import find_model
    from memflow_cli.models.family import family_of

    assert family_of(find_model("theatre")).keeps_films and not family_of(find_model("memflow-1.3b")).keeps_films


def test_a_size_that_is_none_is_a_sentence(films, capsys):
    write_story(*STORY)
    assert generate("film.mp4", "--keep", "much") == 2
    assert "--keep" in capsys.readouterr().err


def tidy(capsys, *arguments: str) -> list[dict]:
    capsys.readouterr()
    assert run(["tidy", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_tidy_lists_and_frees(films, capsys):
    from memflow_cli.film.locked_folder import LockedFolder
    from memflow_cli.film.run_on_disk import is_run

    write_story(*STORY)
    Path("deep").mkdir()
    for film in ("film.mp4", "deep/more.mp4"):
        assert generate(film, "--keep", "1MB") == 0
    assert generate("begun.mp4", "--max-time", "0.001s") == 5
    foreign = Path("mine.mp4.run")
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    rows = {row["film"]: row for row in tidy(capsys)}
    assert {film: row["state"] for film, row in rows.items()} == {
        "film.mp4": "kept",
        "deep/more.mp4": "kept",
        "begun.mp4": "unfinished",
    }
    assert rows["film.mp4"]["bytes"] > 8 * 1000 and not any(row["freed"] for row in rows.values())
    with LockedFolder.take(Path("film.mp4.run"), is_run):
        assert {row["film"]: row["state"] for row in tidy(capsys, "--free")}["film.mp4"] == "in use"
    assert Path("film.mp4.run").exists() and not Path("deep/more.mp4.run").exists()
    assert [row["film"] for row in tidy(capsys, "--free") if row["freed"]] == ["film.mp4"]
    assert Path("begun.mp4.run").exists(), "what was rendered of a film that is not finished"
    assert run(["tidy", "--unfinished"]) == 2
    assert run(["tidy", "--free", "--unfinished"]) == 0
    assert "freed" in capsys.readouterr().out
    assert not Path("begun.mp4.run").exists() and (foreign / "notes.txt").exists()
    assert generate("film.mp4") == 0 and generate("deep/more.mp4") == 0, "the films are there as they were"
