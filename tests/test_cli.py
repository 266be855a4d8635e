"""The command line around generate: help, plan, init, versions, endings."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memflow_cli import __version__
from memflow_cli.cli.app import COMMANDS, run

MEMFLOW = [sys.executable, "-m", "memflow_cli"]


@pytest.fixture
def memflow(capfd):
    """Runs a command; returns (exit code, stdout, stderr)."""

    def memflow(*arguments):
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return memflow


@pytest.fixture
def story(tmp_path, tiny_model_folder):
    path = tmp_path / "story.yaml"
    path.write_text(
        f"title: Fox\nmodel: {tiny_model_folder}\nseed: 7\nsegments:\n"
        "- {prompt: a red fox, duration: 4s}\n- {prompt: the snow, duration: 2.9, transition: cut}\n"
    )
    return path


def test_version(memflow):
    assert memflow("--version") == memflow("-V") == (0, f"memflow {__version__}\n", "")


def test_help_names_every_command(memflow):
    code, out, _ = memflow("--help")
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    for name in COMMANDS:
        code, out, _ = memflow(name, "--help")
        assert code == 0
        assert f"memflow {name}" in out


def test_no_command_shows_the_help_and_an_unknown_one_is_an_error(memflow):
    assert memflow() == (0, memflow("--help")[1], "")
    assert memflow("models") == (0, memflow("models", "--help")[1], "")
    code, out, err = memflow("generat")
    assert (code, out) == (2, "")
    assert err.startswith("error: No such command 'generat'")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("memflow models show th", ["theatre"]),
        ("memflow generate a.yaml --model memf", ["memflow-1.3b"]),
        ("memflow generate a.yaml --progress js", ["jsonl"]),
        ("memflow generate a.yaml --dtype f", ["fp32", "fp16"]),
        ("memflow generate a.yaml --memory o", ["official"]),
        ("memflow bench --device c", ["cpu", "cuda"]),
        ("memflow do", ["doctor"]),
    ],
)
def test_a_shell_completes_models_and_choices(line, offered):
    environment = {**os.environ, "_MEMFLOW_COMPLETE": "complete_bash", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(line.split()) - 1)
    done = subprocess.run(MEMFLOW, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == offered, done.stderr


def test_the_plan_shows_the_rounding(memflow, story):
    code, out, err = memflow("plan", story)
    assert (code, err) == (0, "")
    assert "0:06.75 = 108 frames = 9 chunks of 12 frames (0.75 s)" in out
    assert "2  0:03.75  3.00 s  2.90 s       4  (cut) the snow" in out


def test_the_plan_as_json(memflow, story):
    code, out, _ = memflow("plan", story, "--json", "--memory", "window", "--set", "segments.1.seed=3")
    plan = json.loads(out)
    assert code == 0
    assert (plan["chunks"], plan["frames"], plan["seconds"], plan["fps"]) == (9, 108, 6.75, 16)
    assert plan["memory"]["policy"] == "window"
    assert plan["segments"][0]["seed"] == 3
    assert [segment["frames"] for segment in plan["segments"]] == [60, 48]
    assert plan["needs"]["archive_bytes"] == 0


def test_a_film_that_recalls_nothing_needs_no_archive(memflow, story):
    needs = [
        json.loads(memflow("plan", story, "--memory", "nam", "--bank", bank, "--json")[1])["needs"]["archive_bytes"]
        for bank in ("3", "0")
    ]
    assert needs[0] > 0 == needs[1]


def test_a_model_without_a_sink_is_not_asked_for_one(memflow, story):
    code, out, err = memflow("plan", story, "--model", "self-forcing-1.3b", "--memory", "sink")
    assert (code, out) == (2, "")
    assert "--memory: self-forcing-1.3b has no sink" in err and "choose window" in err


@pytest.mark.parametrize(
    ("memory", "options", "says", "hint"),
    [
        ("", ["--bank", 0], "{}: --bank: a bank of 0 recalls nothing, and fox has a picture", "a bank of at least 1"),
        ("memory: {bank: 0}", [], "{}, line 1: memory.bank: a bank of 0 recalls nothing", "a bank of at least 1"),
        (
            "",
            ["--memory", "official"],
            "{}: --memory: the policy official recalls no given picture",
            "choose policy nam",
        ),
        (
            "memory:\n  policy: sink",
            [],
            "{}, line 2: memory.policy: the policy sink recalls no given picture",
            "choose policy nam",
        ),
        ("", ["--model", "krea-realtime-14b"], "the policy rebuilt recalls no given picture", "choose another model"),
    ],
)
def test_what_recalls_no_picture_says_what_would(memflow, tmp_path, memory, options, says, hint):
    """A bank of 0 was told to choose the policy nam, which it had, and so was a model that cannot have it; an option
    was followed by the field that it stands for.
    """
    path = tmp_path / "pictured.yaml"
    characters = "characters: {fox: {description: a fox, picture: fox.png}}"
    path.write_text(f"{memory}\n{characters}\nsegments: [{{prompt: a, duration: 1}}]".lstrip())
    code, out, err = memflow("plan", path, *options)
    assert (code, out) == (2, "")
    assert says.format(path) in err and hint in err


def test_the_plan_of_a_model_that_is_not_downloaded(memflow, tmp_path):
    story = tmp_path / "story.yaml"
    story.write_text("segments: [{prompt: a fox, duration: 1m}]")
    code, out, _ = memflow("plan", story, "--model", "memflow-1.3b", "--json")
    assert code == 0
    assert (json.loads(out)["frames"], json.loads(out)["width"]) == (957, 832)


def test_several_plans_and_one_that_is_wrong(memflow, story, tmp_path):
    code, out, err = memflow("plan", story, tmp_path / "nope.yaml", story, "--json")
    first, failed, second = map(json.loads, out.splitlines())
    assert code == 1
    assert first == second
    assert (failed["status"], failed["storyboard"], failed["exit_code"]) == ("failed", str(tmp_path / "nope.yaml"), 2)
    assert "nope.yaml: no such file" in err
    assert "films are there" not in err
    assert memflow("plan", tmp_path / "nope.yaml")[0] == 2, "alone, with its own code"


def test_plan_and_help_never_import_torch(story):
    """A wrong storyboard's error and the help screen come at once."""
    program = "import sys; from memflow_cli.cli.app import run; code = run(sys.argv[1:]); "
    program += "sys.exit(code or ('torch' in sys.modules) * 99)"
    for arguments in (["plan", str(story)], ["--help"], ["init", "-"], ["generate", str(story), "--dry-run"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, (arguments, done.stderr)
        assert after.ru_utime - before.ru_utime < 1.5, f"{arguments}: seconds of computing before a word is said"


@pytest.mark.parametrize("options", [[], ["--model", "theatr"]])
def test_an_unknown_model_is_told_with_its_place(memflow, tmp_path, options):
    """With many storyboards on a command line, the sentence named none of them."""
    story = tmp_path / "story.yaml"
    story.write_text("title: Fox\nmodel: theatr\nsegments: [{prompt: a fox, duration: 3}]")
    code, out, err = memflow("plan", story, *options)
    assert (code, out) == (3, "")
    place = "story.yaml: --model: " if options else "story.yaml, line 2: "
    assert f"{place}there is no model named 'theatr'; did you mean 'theatre'?" in err


def test_theatre_tells_the_words_that_it_knows(memflow):
    from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SPECIES

    code, out, _ = memflow("models", "show", "theatre")
    _, heading, words = out.partition("It draws what these words say")
    assert code == 0 and heading
    assert all(word in words for word in (*SPECIES, *COLOURS, *ACCESSORIES))
    code, out, _ = memflow("models", "show", "theatre", "--json")
    assert json.loads(out)["vocabulary"]["puppets"] == list(SPECIES)


def test_what_theatre_cannot_draw_is_told_by_segment_and_the_film_is_made(memflow, tmp_path):
    story = tmp_path / "story.yaml"
    segments = "".join(f"- {{prompt: a red {who} sings in a meadow, duration: 0.7s}}\n" for who in ("fox", "dragon"))
    story.write_text(
        f"model: theatre\nseed: 1\nsize: 224x128\nsegments:\n{segments}- {{prompt: the fox sings, duration: 1}}\n"
    )
    code, out, err = memflow("generate", story, "-o", tmp_path / "film.mp4")
    assert (code, out) == (0, f"{tmp_path / 'film.mp4'}\n"), err
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].endswith("theatre draws no dragons (segment 2)")


def test_ten_thousand_segments_are_planned_at_once(memflow, tmp_path, tiny_model_folder):
    story = tmp_path / "long.yaml"
    segments = "- {prompt: a red fox walks in the snow, duration: 4s}\n" * 10_000
    story.write_text(f"model: {tiny_model_folder}\nsegments:\n{segments}")
    start = time.process_time()
    code, out, _ = memflow("plan", story)
    assert time.process_time() - start < 4
    assert code == 0
    assert "11:06:39.75" in out


def test_init_writes_a_storyboard_that_is_right(memflow, tmp_path):
    file = tmp_path / "new.yaml"
    code, out, _ = memflow("init", file)
    assert (code, out) == (0, f"{file}\n")
    from memflow_cli.story.load import load_storyboard

    assert len(load_storyboard(file).segments) == 6
    code, _, err = memflow("init", file)
    assert code == 2
    assert "exists already" in err
    assert memflow("init", file, "-y")[0] == 0
    assert memflow("init", tmp_path / "missing" / "new.yaml")[0] == 2


def test_inits_storyboard_asks_for_nothing_that_theatre_cannot_draw(memflow, tmp_path):
    from memflow_cli.models.theatre.language.limits import cannot_draw
    from memflow_cli.story.load import load_storyboard

    memflow("init", tmp_path / "new.yaml")
    assert not cannot_draw([segment.prompt for segment in load_storyboard(tmp_path / "new.yaml").segments])


def test_control_sequences_in_a_name_do_not_reach_the_terminal(memflow):
    _, _, err = memflow("plan", "\x1b[31mred.yaml")
    assert "\x1b" not in err
    assert "\\x1b[31mred.yaml" in err


def test_a_reader_that_leaves_is_no_error(story):
    command = " ".join([*MEMFLOW, "plan", str(story)])
    done = subprocess.run(["sh", "-c", f"{command} | head -1"], capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_chunk_keeps_the_run_and_says_how_to_go_on(story, tmp_path, number, code):
    film = tmp_path / "film.mp4"
    command = [*MEMFLOW, "generate", str(story), "-o", str(film), "--set", "segments.1.duration=10m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    latents = Path(f"{film}.run/latents.bin")
    wait_for(lambda: process.poll() is not None or (latents.exists() and latents.stat().st_size))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b""), err
    assert b"The same command goes on from there" in err
    assert b"Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4.run", "story.yaml"]


def test_the_result_goes_to_stdout_while_the_live_view_holds_the_terminal(story, tmp_path):
    """`film=$(memflow generate ...)` in a terminal was empty: rich's live view took stdout along to stderr."""
    terminal, stderr = os.openpty()
    command = [*MEMFLOW, "generate", str(story), "-o", str(tmp_path / "film.mp4")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)
    os.close(stderr)
    seen = b""
    with contextlib.suppress(OSError):  # how a terminal says that its last writer has left
        while content := os.read(terminal, 65536):
            seen += content
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert out.decode() == f"{tmp_path / 'film.mp4'}\n"
    assert b"recalls" in seen
    assert b"film.mp4" not in seen


def test_a_storyboard_whose_name_is_no_utf8(story, tmp_path):
    """Its name is the film's title and path: the record could not be written, after all the work was done."""
    named = tmp_path / os.fsdecode(b"fox-\xff.yaml")
    named.write_text(story.read_text().replace("title: Fox\n", "").replace("duration: 4s", "duration: 0.75"))
    for command in (["plan", "--json"], ["generate", "--json", "--inspect"], ["generate"]):
        done = subprocess.run([*MEMFLOW, *command, named.name], cwd=tmp_path, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr
        if "--json" in command:
            assert json.loads(done.stdout)["storyboard"] == named.name
    assert done.stdout == b"fox-\xff.mp4\n"
    assert json.loads(named.with_suffix(".json").read_text(encoding="utf-8"))["title"] == named.stem


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cut", "f.mp4", "--from", "a"], "--from: a whole number is expected"),
        (["retake", "f.mp4", "1.5"], "SEGMENT: a whole number is expected"),
        (["inspect-memory", "f.mp4", "--top", "0"], "--top: at least 1 is expected"),
        (["live", "--port", "99999"], "--port: at most 65535 is expected"),
        (["convert", "s.jsonl", "--segment-seconds", "x"], "--segment-seconds: a number is expected"),
        (["convert", "s.jsonl", "--segment-seconds", "nan"], "--segment-seconds: at least 0.01 is expected"),
    ],
)
def test_a_number_that_is_none_is_told_in_plain_words(arguments, says, capfd):
    """The library's words were "Input should be a valid integer, unable to parse string as an integer"."""
    assert run(arguments) == 2
    assert capfd.readouterr().err.startswith(f"error: {says}\nhint: memflow ")
