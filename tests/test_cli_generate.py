"""`memflow generate`, through the command line, with a whole model at tiny size."""

import contextlib
import gc
import inspect
import json
import re
import sys
import weakref
from pathlib import Path

import pytest

from memflow_cli.backbone import Sampling
from memflow_cli.cli.app import run
from memflow_cli.cli.pace import Pace
from memflow_cli.cli.progress import PlainProgress
from memflow_cli.errors import MemflowError
from memflow_cli.film.events import ChunkDone, ChunkReplayed, FilmStarted, SegmentDone, StageStarted
from memflow_cli.film.recipe import make_recipe, resolve
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.models.identity import files_digest
from memflow_cli.story.plan import plan_film
from memflow_cli.story.yaml_lines import read_yaml
from mp4 import write_tone
from tiny_model import tiny_entry, tiny_plan

STORY = """\
title: Fox
seed: 7
segments:
- {prompt: a red fox, duration: 1.5s}
- {prompt: the fox walks, duration: 1.5s}
"""


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.yaml"
    path.write_text(STORY)
    return path


@pytest.fixture
def generate(tiny_model_folder, capfd):
    """Runs the command; returns (exit code, stdout, stderr)."""

    def generate(*arguments):
        code = run(["generate", "--model", str(tiny_model_folder), *map(str, arguments)])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return generate


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def counted(*functions):
    """How often each of these was called, by name."""
    codes = {inspect.unwrap(function).__code__: function.__name__ for function in functions}
    calls = dict.fromkeys(codes.values(), 0)

    def note_call(frame, event, argument):
        if event == "call" and frame.f_code in codes:
            calls[codes[frame.f_code]] += 1

    sys.setprofile(note_call)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def test_a_film_is_resolved_and_planned_once_and_its_model_read_once(generate, story, tmp_path):
    """A storyboard was resolved twice, planned up to four times, and its model's files were hashed twice a film."""
    drawn = tmp_path / "drawn.yaml"
    drawn.write_text(STORY.replace("seed: 7\n", ""))
    files_digest.cache_clear()
    with counted(read_yaml, resolve, plan_film, make_recipe, files_digest) as calls:
        assert generate(story, drawn, "-o", f"{tmp_path}/")[0] == 0
    assert calls == {"read_yaml": 2, "resolve": 2, "plan_film": 2, "make_recipe": 2, "files_digest": 1}
    with counted(resolve, plan_film, files_digest) as calls:
        assert generate(story, "-o", tmp_path / "story.mp4")[0] == 0, "it is there already"
        assert generate(drawn, "-y", "-o", tmp_path / "drawn.mp4")[0] == 0, "with another seed"
    assert calls == {"resolve": 2, "plan_film": 2, "files_digest": 0}


def test_stdout_is_the_films_path_and_nothing_else(generate, story, tmp_path):
    code, out, err = generate(story, "-o", tmp_path / "film.mp4")
    assert (code, out) == (0, f"{tmp_path / 'film.mp4'}\n")
    assert names(tmp_path) == ["film.json", "film.memory.jsonl", "film.mp4", "film.mp4.run", "story.yaml"]
    assert "segment 2/2  0:01.50-0:03.00" in err, "one plain line a segment when stderr is not a terminal"


def test_json_is_one_document(generate, story, tmp_path):
    code, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--json", "--progress", "none")
    content = json.loads(out)
    assert code == 0
    assert content["status"] == "made"
    assert (content["frames"], content["fps"], content["seed"], content["width"]) == (48, 16, 7, 64)


def test_progress_as_json_lines(generate, story, tmp_path):
    code, _, err = generate(story, "-o", tmp_path / "film.mp4", "--progress", "jsonl")
    events = [json.loads(line) for line in err.splitlines()]
    assert code == 0
    assert [event["chunk"] for event in events if event["event"] == "chunk"] == [0, 1, 2, 3]
    assert [event["event"] for event in events[-2:]] == ["done", "note"]


def test_json_lines_are_all_that_is_told(generate, story, tmp_path):
    """Notes, warnings and errors stood among them as plain text."""
    long, wrong = tmp_path / "long.yaml", tmp_path / "wrong.yaml"
    long.write_text(f"seed: 1\nsegments: [{{prompt: {'fox ' * 20}, duration: 0.7s}}]")
    wrong.write_text("segments: []")
    code, _, err = generate(long, wrong, "-o", f"{tmp_path}/", "--progress", "jsonl")
    events = [json.loads(line) for line in err.splitlines()]
    told = {kind: [event for event in events if event["event"] == kind] for kind in ("note", "warning", "error")}
    assert code == 1
    assert [set(event) for event in told["error"]] == [{"event", "text", "hint", "exit_code"}]
    assert "at least one segment" in told["error"][0]["text"] and told["error"][0]["exit_code"] == 2
    assert ["lost at the end" in event["text"] for event in told["warning"]] == [True]
    assert "1 of 2 films are there" in told["note"][-1]["text"]
    code, _, err = generate(wrong, "-o", "no/such/", "--progress", "jsonl", "--max-time", "soon")
    assert code == 2 and "soon" in json.loads(err)["text"], "what ends the command, too"
    assert generate("nope.yaml")[2].startswith("error: "), "the next command line talks as it is asked to"


def test_without_progress_only_errors_are_told(generate, story, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("segments: []")
    code, _, err = generate(story, wrong, "-o", f"{tmp_path}/", "--progress", "none")
    assert code == 1
    assert len(err.splitlines()) == 1 and err.startswith("error: ")


def test_the_live_view_draws_without_a_terminal_too(generate, story, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    code, _, err = generate(story, "-o", tmp_path / "film.mp4", "--progress", "rich")
    assert code == 0
    assert "segment 1 a red fox" in err
    assert "\x1b[3" not in err


def test_options_override_the_storyboard(generate, story, tmp_path):
    options = ["--seed", "5", "--size", "32x64", "--fps", "8", "--memory", "sink", "--set", "segments.2.duration=3s"]
    code, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--json", *options)
    content = json.loads(out)
    assert (code, content["seed"], content["width"], content["fps"], content["seconds"]) == (0, 5, 32, 8, 4.5)
    assert json.loads((tmp_path / "film.json").read_text())["storyboard"]["memory"]["policy"] == "sink"


def test_a_drawn_seed_is_told_and_recorded(generate, story, tmp_path):
    story.write_text(STORY.replace("seed: 7\n", ""))
    _, out, err = generate(story, "-o", tmp_path / "film.mp4", "--json")
    seed = json.loads(out)["seed"]
    assert f"seed {seed}" in err
    assert json.loads((tmp_path / "film.json").read_text())["seed"] == seed
    code, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--json")
    assert (code, json.loads(out)["status"]) == (0, "kept"), "a seed that was drawn is drawn once"
    _, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--json", "-y")
    assert json.loads(out)["seed"] != seed, "asked to make it again, a new one is drawn"


def test_a_finished_film_is_left_alone_and_another_is_not_overwritten(generate, story, tmp_path):
    film = tmp_path / "film.mp4"
    generate(story, "-o", film)
    before = film.stat().st_mtime_ns
    code, out, err = generate(story, "-o", film)
    assert (code, out) == (0, f"{film}\n")
    assert "stays" in err
    code, out, err = generate(story, "-o", film, "--seed", "8")
    assert (code, out) == (2, "")
    assert "-y replaces it" in err
    assert generate(story, "-o", film, "--seed", "8", "-n")[0] == 0
    assert film.stat().st_mtime_ns == before
    assert generate(story, "-o", film, "--seed", "8", "-y")[0] == 0
    assert film.stat().st_mtime_ns != before


@pytest.mark.parametrize("change", ["captions: true\n", "sound: tone.wav\n", "chapter"])
def test_other_captions_sound_or_chapters_make_another_film(generate, story, tmp_path, change):
    """Whoever added `captions: true` to a film that was there was told that it is there and stays, and got none."""
    write_tone(tmp_path / "tone.wav", 1)
    film = tmp_path / "film.mp4"
    assert generate(story, "-o", film)[0] == 0
    before = film.read_bytes()
    story.write_text(
        STORY.replace("prompt: the fox", "title: Dawn, prompt: the fox") if change == "chapter" else change + STORY
    )
    code, _, err = generate(story, "-o", film)
    assert code == 2 and "titles, captions or another sound" in err and film.read_bytes() == before
    assert generate(story, "-y", "-o", film)[0] == 0 and film.read_bytes() != before
    code, _, err = generate(story, "-o", film)
    assert code == 0 and "there already" in err
    if change.startswith("sound"):
        write_tone(tmp_path / "tone.wav", 2)
        assert generate(story, "-o", film)[0] == 2, "the same file's other content"


def test_a_sound_that_ends_in_rubbish_is_told_by_the_dry_run(generate, story, tmp_path):
    """--dry-run said that all is well, and the run failed once the model was loaded."""
    (tmp_path / "noise.mp3").write_bytes(b"not a sound" * 1000)
    story.write_text("sound: noise.mp3\n" + STORY)
    code, _, err = generate(story, "--dry-run", "-o", tmp_path / "film.mp4")
    assert code == 2 and "noise.mp3" in err
    assert names(tmp_path) == ["noise.mp3", "story.yaml"]


def test_a_new_title_makes_another_film(generate, story, tmp_path):
    """It was kept, with the old title in its metadata and its record."""
    film = tmp_path / "film.mp4"
    generate(story, "-o", film)
    story.write_text(STORY.replace("title: Fox", "title: Wolf"))
    code, _, err = generate(story, "-o", film)
    assert code == 2 and "-y replaces it" in err
    assert generate(story, "-o", film, "-y")[0] == 0
    assert json.loads((tmp_path / "film.json").read_text())["title"] == "Wolf"
    assert generate(story, "-o", film)[0] == 0


def test_two_storyboards_do_not_fit_into_one_file_even_if_one_is_wrong(generate, story, tmp_path):
    """The one that was right became the film that both were to become."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("segments: []")
    code, out, err = generate(story, wrong, "-o", tmp_path / "film.mp4")
    assert (code, out) == (2, "")
    assert "2 films do not fit into one file" in err
    assert names(tmp_path) == ["story.yaml", "wrong.yaml"]


def test_several_storyboards_and_one_that_fails(generate, story, tmp_path):
    wrong, other, folder = tmp_path / "wrong.yaml", tmp_path / "other.yaml", tmp_path / "films"
    wrong.write_text("segments: []")
    other.write_text(STORY)
    folder.mkdir()
    code, out, err = generate(story, wrong, other, "-o", f"{folder}/")
    assert code == 1
    assert out.split() == [str(folder / "story.mp4"), str(folder / "other.mp4")]
    assert "at least one segment" in err
    assert "2 of 3 films are there" in err and f"failed  {wrong}" in err
    assert err.count("loading tiny") == 1, "one model for all"


@pytest.mark.parametrize("error", [MemflowError, ZeroDivisionError])
def test_a_film_that_fails_stops_no_other_and_is_let_go(generate, story, tmp_path, monkeypatch, error):
    """An error that nobody foresaw ended the batch; any error held, by its traceback, its film's caches to the end."""
    other, caches, alive = tmp_path / "other.yaml", [], []
    other.write_text(STORY)
    commit, make_cache = KVCache.commit, KVCache.__init__

    def first_film_fails(cache):
        if len(caches) == 1:
            raise error("no luck")
        commit(cache)

    def watched(cache, *arguments, **options):
        alive.append([known() for known in caches if known() is not None])
        caches.append(weakref.ref(cache))
        make_cache(cache, *arguments, **options)

    monkeypatch.setattr(KVCache, "commit", first_film_fails)
    monkeypatch.setattr(KVCache, "__init__", watched)
    gc.disable()
    try:
        code, out, err = generate(story, other, "-o", f"{tmp_path}/", "--json")
    finally:
        gc.enable()
    failed, made = map(json.loads, out.splitlines())
    assert (code, failed["status"], failed["exit_code"], made["status"]) == (1, "failed", 1, "made")
    assert "no luck" in failed["error"] and "no luck" in err
    assert alive == [[], []], "a cache of the film before"


def test_json_tells_of_failures_too(generate, story, tmp_path):
    code, out, _ = generate(story, tmp_path / "nope.yaml", "-o", f"{tmp_path}/", "--json")
    failed, made = map(json.loads, out.splitlines())
    assert (code, failed["status"], failed["exit_code"], made["status"]) == (1, "failed", 2, "made")


def test_a_prompt_file_is_a_film_a_line(generate, tmp_path):
    path = tmp_path / "published.jsonl"
    path.write_text('{"prompts": ["a red fox", "the fox walks"]}\nthe snow\n')
    code, out, _ = generate(path, "-o", f"{tmp_path}/", "--segment-seconds", "1.5", "--seed", "1")
    assert code == 0
    assert out.split() == [str(tmp_path / "published-1.mp4"), str(tmp_path / "published-2.mp4")]


def test_dry_run_makes_nothing(generate, story, tmp_path):
    code, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["frames"] == 48
    assert names(tmp_path) == ["story.yaml"]


def test_dry_run_finds_what_would_keep_the_film_from_being_made(generate, story, tmp_path, monkeypatch):
    film = tmp_path / "film.mp4"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    dry = [story, "-o", film, "--dry-run"]
    code, out, err = generate(*dry, "--model", "memflow-1.3b")
    assert (code, out) == (3, "") and "is not downloaded" in err
    code, out, err = generate(*dry, "--set", "segments.1.image=nope.png")
    assert (code, out) == (2, "") and "cannot read the picture" in err
    assert generate(*dry, "--vram", "plenty")[0] == 2
    film.write_bytes(b"a film")
    code, out, err = generate(*dry)
    assert (code, out) == (2, "") and "-y replaces it" in err
    (tmp_path / "film.json").write_text("{}")
    code, out, err = generate(*dry, "-y")
    assert (code, out) == (2, "") and "is not a film's record" in err
    (tmp_path / "film.json").unlink()
    assert generate(*dry, "-y")[0] == 0
    assert names(tmp_path) == ["film.mp4", "story.yaml"]


def test_a_report_that_cannot_be_written_is_no_second_document(generate, story, tmp_path):
    """The film was told as made, and then, since its report had failed, as failed."""
    (tmp_path / "film.inspect").mkdir()
    (tmp_path / "film.inspect" / "segment-01").write_text("in the way")
    code, out, err = generate(story, "-o", tmp_path / "film.mp4", "--json", "--inspect")
    assert (code, json.loads(out)["status"]) == (1, "made")
    assert "cannot write into" in err
    (tmp_path / "film.inspect" / "segment-01").unlink()
    code, out, err = generate(story, "-o", tmp_path / "film.mp4", "--json", "--inspect")
    assert (code, json.loads(out)["status"]) == (0, "kept")
    assert (tmp_path / "film.inspect" / "index.html").is_file(), "a film that was there already has its report too"
    (tmp_path / "film.memory.jsonl").unlink()
    code, out, err = generate(story, "-o", tmp_path / "film.mp4", "--json", "--inspect")
    assert (code, json.loads(out)["status"]) == (0, "kept")
    assert "film.memory.jsonl is missing: what film.mp4 remembered cannot be shown" in err


def test_speed_is_that_of_new_chunks(monkeypatch, tmp_path, capsys):
    """Reading the prompts and going over the earlier run again counted as if they had made frames, ever so slowly."""
    now = 100.0
    monkeypatch.setattr("memflow_cli.cli.pace.time.perf_counter", lambda: now)
    plan = tiny_plan(tiny_entry().geometry, (6, 6))
    begun = FilmStarted(plan, resumed_chunks=4)
    told, pace = PlainProgress(), Pace(begun)
    told(begun)
    for stage, spent in (("prompts", 50), ("replay", 1)):
        told(StageStarted(stage))
        now += spent
    for chunk in range(4):
        told(ChunkReplayed(chunk))
        now += 10
    for chunk in range(4, 8):
        now += 2
        record = ChunkRecord(chunk, 0, "a fox", 0.0, 0.75)
        done = ChunkDone(chunk, plan.segments[0], record, {"denoise": 1.5, "decode": 0.5})
        told(done)
        pace.chunk_done(done)
    told(SegmentDone(plan.segments[0], tmp_path))
    assert f"{4 * 12 / 8:.1f} frames/s" in capsys.readouterr().err
    assert pace.frames_per_second == pytest.approx(4 * 12 / 8)
    assert pace.seconds_left == pytest.approx(8)


def test_the_time_left_knows_that_a_prompts_first_chunks_take_more_passes(monkeypatch):
    """Two guided chunks of 13 passes stood for all others, of 9: a film was said to take a third longer than it did."""
    now = 100.0
    monkeypatch.setattr("memflow_cli.cli.pace.time.perf_counter", lambda: now)
    plan, sampling = tiny_plan(tiny_entry().geometry, (6, 6)), Sampling(steps=(1000,) * 8, guidance_scale=3)
    pace = Pace(FilmStarted(plan, sampling=sampling))
    assert pace.seconds_left is None
    spent = [13 + 4, 13 + 4, *[9 + 4] * 4] * 2  # seconds: one a pass, and four for the rest of a chunk
    for chunk, seconds in enumerate(spent):
        now += seconds
        record = ChunkRecord(chunk, 0, "a fox", 0.0, 0.75)
        pace.chunk_done(ChunkDone(chunk, plan.segments[chunk // 6], record, {"denoise": seconds - 4, "decode": 4}))
        assert pace.seconds_left == pytest.approx(sum(spent[chunk + 1 :]))


def test_a_time_limit_keeps_the_run_and_the_same_command_goes_on(generate, story, tmp_path):
    command = [story, "-o", tmp_path / "film.mp4", "--max-time", "0.001s"]
    code, out, err = generate(*command)
    assert (code, out) == (5, "")
    assert "goes on from there" in err
    assert names(tmp_path) == ["film.mp4.run", "story.yaml"]
    code, out, err = generate(*command[:3])
    assert code == 0
    assert "going on after 1 chunk of an earlier run" in err
    assert names(tmp_path) == ["film.json", "film.memory.jsonl", "film.mp4", "film.mp4.run", "story.yaml"]


def test_a_changed_storyboard_keeps_what_it_can_and_says_so(generate, story, tmp_path):
    stopped = [story, "-o", tmp_path / "film.mp4", "--max-time", "0.001s"]
    assert generate(*stopped)[0] == 5
    story.write_text(STORY.replace("the fox walks", "the snow"))
    code, _, err = generate(*stopped[:3])
    assert code == 0
    assert "after 1 chunk of an earlier run" in err
    assert "the storyboard changed from segment 2 on, which is made anew" in err


def test_a_run_that_was_begun_otherwise_is_refused_until_it_is_given_up(generate, story, tmp_path):
    stopped = [story, "-o", tmp_path / "film.mp4", "--max-time", "0.001s"]
    assert generate(*stopped)[0] == 5
    code, out, err = generate(*stopped[:3], "--seed", "8")
    assert (code, out) == (2, "")
    assert "seed was 7, is now 8" in err
    assert "--no-resume" in err
    code, _, err = generate(*stopped[:3], "--seed", "8", "--no-resume")
    assert code == 0
    assert "earlier run" not in err
    assert names(tmp_path) == ["film.json", "film.memory.jsonl", "film.mp4", "film.mp4.run", "story.yaml"]


def test_a_kept_run_folder_stays_and_one_that_a_kill_left_behind_goes(generate, story, tmp_path):
    run_folder = tmp_path / "film.mp4.run"
    assert generate(story, "-o", tmp_path / "film.mp4", "--keep-run")[0] == 0
    assert generate(story, "-o", tmp_path / "film.mp4")[0] == 0
    assert (run_folder / "latents.bin").exists()
    (run_folder / "keep").unlink()
    parts = (run_folder / "parts.jsonl").read_bytes()
    (run_folder / "parts.jsonl").write_bytes(parts.splitlines(keepends=True)[0])
    assert generate(story, "-o", tmp_path / "film.mp4")[0] == 0
    assert run_folder.exists(), "a film that -y was making anew is not a leftover"
    (run_folder / "parts.jsonl").write_bytes(parts)
    assert generate(story, "-o", tmp_path / "film.mp4")[0] == 0
    assert not run_folder.exists()


def test_json_has_the_keys_that_the_page_promises(generate, story, tmp_path):
    page = (Path(__file__).parent.parent / "docs" / "json.md").read_text(encoding="utf-8")
    _, _, section = page.partition("## `memflow generate --json`")
    promised: dict[str, set[str]] = {"all": set(), "made": set(), "failed": set()}
    for line in section.partition("## `memflow plan --json`")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[1] in promised:
            promised[cells[1]] |= set(re.findall(r"`(\w+)`", cells[0]))
    _, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--json")
    assert set(json.loads(out)) == promised["all"] | promised["made"]
    _, out, _ = generate(story, "-o", tmp_path / "film.mp4", "--json")
    assert set(json.loads(out)) == promised["all"]
    _, out, _ = generate(tmp_path / "nope.yaml", "--json")
    assert set(json.loads(out)) == promised["all"] | promised["failed"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nope.yaml"], 2, "nope.yaml: no such file"),
        (["story.yaml", "-o", "missing/film.mp4"], 2, "there is no folder missing"),
        (["story.yaml", "-o", "story.yaml/"], 2, "there is no folder story.yaml"),
        (["story.yaml", "-o", "film.avi"], 2, "ends in .mp4"),
        (["story.yaml", "story.yaml", "-o", "film.mp4"], 2, "name a folder"),
        (["story.yaml", "story.yaml"], 2, "two of the storyboards would become story.mp4"),
        (["story.yaml", "--size", "100x32"], 2, "must be a multiple of 32, not 100"),
        (["story.yaml", "--size", "big"], 2, "--size: 'big' is not a size"),
        (["story.yaml", "--bank", "-1"], 2, "--bank: -1 is out of range"),
        (["story.yaml", "--fps", "0"], 2, "--fps: 0 is out of range"),
        (["story.yaml", "--memory", "elephant"], 2, "elephant"),
        (["story.yaml", "--set", "memory.bnk=3"], 2, "did you mean bank?"),
        (["story.yaml", "--set", "bank"], 2, "key=value"),
        (["story.yaml", "--device", "abacus"], 2, "no such device"),
        (["story.yaml", "--device", "cuda"], 3, "sees no such device"),
        (["story.yaml", "--dtype", "int4"], 2, "no such precision"),
        (["story.yaml", "--progress", "loud"], 2, "no such kind"),
        (["story.yaml", "--max-time", "soon"], 2, "--max-time: 'soon' is not a duration"),
        (["story.yaml", "--lora", "nope.safetensors"], 3, "nope.safetensors"),
        (["story.yaml", "-y", "-n"], 2, "contradict"),
        (["story.yaml", "--modle", "x"], 2, "No such option: --modle"),
        (["story.yaml", "--model", "theatr"], 3, "did you mean 'theatre'?"),
        (["story.yaml", "--model", "memflow-1.3b", "--size", "832x480"], 3, "memflow models pull memflow-1.3b"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_input_is_a_sentence_and_leaves_nothing(generate, story, tmp_path, monkeypatch, arguments, code, says):
    import torch

    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("this machine has the device that the test says is missing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    got, out, err = generate(*arguments)
    assert says in err, err
    assert (got, out) == (code, "")
    assert [line for line in err.splitlines() if line.startswith("error: ")], "one sentence"
    assert names(tmp_path) == ["story.yaml"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("segments:\n- prompt: [", "line 2: not valid YAML"),
        ("segments: [{prompt: a, duration: 3}]\nsise: 1x1", "line 2: sise: unknown key; did you mean size?"),
        ("segments: [{prompt: a, duration: soon}]", "line 1: segments.1.duration: 'soon' is not a duration"),
        ("segments: []", "at least one segment"),
        (f"segments: [{{prompt: {'fox ' * 260_000}, duration: 3}}]", "at most 4,000 are allowed"),
        (
            "memory:\n  policy: sink\n  activate: 2\nsegments: [{prompt: a, duration: 3}]",
            "story.yaml, line 3: memory.activate: the policy sink recalls no frames",
        ),
        ("size: 100x32\nsegments: [{prompt: a, duration: 3}]", "story.yaml, line 1: size 100x32: the width for model"),
    ],
)
def test_a_wrong_storyboard_is_a_sentence_and_leaves_nothing(generate, story, tmp_path, text, says):
    story.write_text(text)
    code, out, err = generate(story, "-o", tmp_path / "film.mp4")
    assert says in err
    assert (code, out) == (2, "")
    assert names(tmp_path) == ["story.yaml"]


def test_an_unwritable_folder_is_a_sentence(generate, story, tmp_path):
    """The super-user may write anywhere but where no file can be made at all."""
    code, out, err = generate(story, "-o", "/proc/film.mp4")
    assert (code, out) == (2, "")
    assert "/proc" in err


def test_a_bug_is_one_sentence_and_how_to_see_more(generate, story, tmp_path, monkeypatch):
    import memflow_cli.studio.studio

    def broken(*_, **__):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(memflow_cli.studio.studio, "shoot", broken)
    code, out, err = generate(story, "-o", tmp_path / "film.mp4")
    assert (code, out) == (1, "")
    assert "unexpected ZeroDivisionError: by nought" in err
    assert "MEMFLOW_TRACEBACK=1" in err
