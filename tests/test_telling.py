"""What cannot be told does not stop the work: streams x commands x moments.

A render of an hour ended with `nohup`'s terminal, with a log on a full disk, with a closed stdout after the film was
complete: each time by an error of telling, and each time with an exit code that said the film had failed.
"""

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memflow_cli.cli.app import run
from memflow_cli.cli.streams import open_standard_streams, sure_streams
from memflow_cli.errors import Interrupted
from memflow_cli.film.shooting import make_film
from memflow_cli.machine.stop_requests import Stopped, StopRequests, stopped_by_signals
from memflow_cli.story.texts import clock, one_line, printable
from tiny_model import story as tiny_story
from tiny_model import tiny_backbone, tiny_entry

NOT_TOLD = 6
MEMFLOW = [sys.executable, "-m", "memflow_cli"]


class Stream:
    """A stream that goes wrong in its own way: `kind` is closed, full, gone or left; `after`: bytes that are still read."""

    def __init__(self, kind: str, after: int = 0) -> None:
        self.kind, self.after = kind, after
        self.number = -1
        self.far = -1
        if kind == "full":
            self.number = os.open("/dev/full", os.O_WRONLY)
        elif kind == "gone":
            self.far, self.number = pty.openpty()
        elif kind == "left":
            self.far, self.number = os.pipe()

    def take(self, number: int) -> None:
        """In the command's process: becomes stdout or stderr."""
        if self.kind == "closed":
            os.close(number)
        else:
            os.dup2(self.number, number)
        for other in (self.number, self.far):
            if other >= 0:
                os.close(other)

    def go_wrong(self) -> None:
        """In the other process, which reads so many bytes and leaves."""
        if self.number >= 0:
            os.close(self.number)
        with contextlib.suppress(OSError):  # what a terminal says when its last writer has left
            for _ in range(self.after):
                if not os.read(self.far, 1):
                    break
        if self.far >= 0:
            os.close(self.far)


class Kept:
    """A stream that is read to its end: a file."""

    def __init__(self, path) -> None:
        self.path = path
        self.number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def take(self, number: int) -> None:
        os.dup2(self.number, number)

    def go_wrong(self) -> None:
        os.close(self.number)

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def run_with(arguments, out, err) -> int:
    """Runs the command in a forked process, as `main` does, with these streams: its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            out.take(1)
            err.take(2)
            sys.stdout = None if getattr(out, "kind", "") == "closed" else open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = None if getattr(err, "kind", "") == "closed" else open(2, "w", closefd=False)  # noqa: SIM115
            open_standard_streams()
            code = run([str(argument) for argument in arguments])
        finally:
            os._exit(code)
    out.go_wrong()
    err.go_wrong()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film whose memory there is something to say about."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    entry = tiny_entry()
    make_film(tiny_story(), entry, tiny_backbone(entry), path)
    return path


@pytest.fixture
def story(tmp_path, tiny_model_folder):
    path = tmp_path / "story.yaml"
    path.write_text(f"model: {tiny_model_folder}\nseed: 7\nsegments: [{{prompt: a red fox, duration: 0.7s}}]\n")
    return path


WAYS = ["closed", "full", "gone", "left"]
TOLD = {"closed": 0, "left": 0, "full": NOT_TOLD, "gone": NOT_TOLD}
TALK = ["--version", "--help", "plan", "plan --json", "init -", "models list", "models show theatre --json"]
TALK += ["inspect-memory", "inspect-memory --format json", "generate --dry-run", "doctor --offline --json"]


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("command", TALK)
def test_a_stdout_that_cannot_be_written(command, kind, story, film, tmp_path):
    name, *options = command.split()
    subject = {"plan": [story], "generate": [story], "inspect-memory": [film, "-o", tmp_path / "out"]}.get(name, [])
    err = Kept(tmp_path / "err")
    assert run_with([name, *subject, *options], Stream(kind), err) == TOLD[kind], err.text
    assert "bug" not in err.text and "Traceback" not in err.text
    assert ("the result could not be printed" in err.text) == (TOLD[kind] != 0), "in words"


@pytest.mark.parametrize("kind,after", [*((kind, 0) for kind in WAYS), ("gone", 40), ("left", 40)])
@pytest.mark.parametrize("progress", ["plain", "rich", "jsonl", "none"])
def test_a_stderr_that_cannot_be_written_is_no_reason_to_stop(progress, kind, after, story, tmp_path):
    out = Kept(tmp_path / "out")
    made = tmp_path / "film.mp4"
    arguments = ["generate", story, "-o", made, "--progress", progress, "--json"]
    assert run_with(arguments, out, Stream(kind, after)) == 0
    assert json.loads(out.text)["status"] == "made" and made.exists()


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("options", [[], ["--json", "--progress", "jsonl"]], ids=["path", "json"])
def test_a_film_is_made_whatever_becomes_of_stdout(options, kind, story, tmp_path):
    err, made = Kept(tmp_path / "err"), tmp_path / "film.mp4"
    assert run_with(["generate", story, "-o", made, *options], Stream(kind), err) == TOLD[kind], err.text
    assert made.exists()
    if options:
        assert [json.loads(line) for line in err.text.splitlines()]
    again = ["generate", story, "-o", made, *options]
    assert run_with(again, Kept(tmp_path / "out"), Kept(tmp_path / "err")) == 0, "it is there"


def test_both_streams_gone_and_several_films(story, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(story.read_text())
    streams = Stream("gone", after=3), Stream("gone", after=3)
    assert run_with(["generate", story, other, "-o", f"{tmp_path}/", "--progress", "rich"], *streams) in (0, NOT_TOLD)
    assert {"story.mp4", "other.mp4"} <= {path.name for path in tmp_path.iterdir()}


def test_an_error_s_own_code_wins_over_what_could_not_be_told(story, tmp_path):
    assert run_with(["plan", tmp_path / "none.yaml", "--json"], Stream("full"), Stream("full")) == 2


def test_the_process_itself_ends_with_that_code(story):
    """Python flushes its streams once more at the end, and has a code of its own, 120, for when it cannot."""
    command = [*MEMFLOW, "plan", str(story)]
    for redirection, code in ((">/dev/full", 6), (">&-", 0), ("2>/dev/full", 0), (">&- 2>&- <&-", 0)):
        done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *command], capture_output=True, timeout=60)
        assert done.returncode == code, (redirection, done.stderr)
        assert b"Exception ignored" not in done.stderr and b"bug" not in done.stderr


def test_a_pipe_that_does_not_block_is_waited_for():
    """Another program that shares a pipe may have made it so: long JSON was cut off with BlockingIOError."""
    far, near = os.pipe()
    os.set_blocking(near, False)
    child = os.fork()
    if child == 0:
        os.close(near)
        time.sleep(0.2)
        num_bytes = 0
        while read := os.read(far, 65536):
            num_bytes += len(read)
        os._exit(0 if num_bytes == 1_000_001 else 1)
    os.close(far)
    with open(near, "w") as stream, contextlib.redirect_stdout(stream), sure_streams() as out:
        print("x" * 1_000_000)
    assert out.lost is None
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


FOX = "Der Fuchs kehrt zurück 🦊"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "latin-1", "euc_jp"])
@pytest.mark.parametrize("command", ["plan", "plan --json", "generate", "generate --json", "inspect-memory"])
def test_what_an_encoding_lacks_is_escaped(command, encoding, film, tmp_path, tiny_model_folder, monkeypatch):
    """In a C locale a film that was complete counted as failed, since its own name could not be printed."""
    path = tmp_path / "狐.yaml"
    prompts = "- {prompt: 一只红色的狐狸, duration: 0.7s}\n"
    path.write_text(f'title: "{FOX}"\nmodel: {tiny_model_folder}\nseed: 1\nsegments:\n{prompts}', encoding="utf-8")
    name, *options = command.split()
    subject = {"generate": [path, "-o", tmp_path / "狐.mp4"], "plan": [path]}.get(name, [film, "-f", "table"])
    written, told = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(sys, "stderr", told)
    assert run([name, *map(str, subject), *options]) == 0
    text = written.buffer.getvalue().decode(encoding)
    if options:
        assert json.loads(text)["title"] == FOX
    elif encoding == "ascii" and name != "inspect-memory":
        assert {"plan": r"zur\xfcck \U0001f98a", "generate": r"\u72d0.mp4"}[name] in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می‌خواهم　「キツネ」 10 000 👨‍👩‍👧", None),
        ("क्‍ष हिन्दी שָׁלוֹם‏ ❤️‍🔥 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", None),
        ("\x1b]0;mine\x07", r"\x1b]0;mine\x07"),
        ("a\x9b31m\x7f\x00", r"a\x9b31m\x7f\x00"),
        ("abc\u202egnp.exe\u2066", r"abc\u202egnp.exe\u2066"),
        ("the\u200datre\u200b", r"the\u200datre\u200b"),
        ("\udcff.yaml", r"\xff.yaml"),
        ("one\ttwo\nthree", None),
    ],
    ids=["as written", "scripts", "a title", "C1 and DEL", "direction", "hidden", "a byte", "lines"],
)
def test_a_terminal_obeys_nothing_and_words_stay_as_written(text, shown):
    assert printable(text) == (text if shown is None else shown)


def test_a_title_of_two_lines_is_one_line_of_talk(tmp_path, tiny_model_folder, capfd):
    path = tmp_path / "bt.yaml"
    segments = "segments: [{prompt: a red fox, duration: 0.7}]\n"
    path.write_text(f"title: |\n  The fox\n  Part two\nmodel: {tiny_model_folder}\nseed: 1\n{segments}")
    assert run(["generate", str(path), "-o", str(tmp_path / "bt.mp4")]) == 0
    assert "The fox Part two: 1 segment, 0:00.75, 1 chunk, seed 1\n" in capfd.readouterr().err
    assert one_line("  a \r\n\tb ") == "a b"


def test_what_a_stranger_s_model_says_is_shown_not_obeyed(tmp_path, tiny_model_folder, capfd):
    import shutil

    folder = shutil.copytree(tiny_model_folder, tmp_path / "e\x1b[31mvil")
    index = folder / "model_index.json"
    content = json.loads(index.read_text())
    content.setdefault("memflow", {})["summary"] = "nice\x1b]0;pwned\x07\x9b31m\x7f\u202e"
    index.write_text(json.dumps(content))
    for command in (["show"], ["show", "--json"], ["verify"]):
        run(["models", command[0], str(folder), *command[1:]])
        captured = capfd.readouterr()
        for character in "\x1b\x07\x9b\x7f\u202e":
            assert character not in captured.out + captured.err, command


def test_a_clock_counts_hours():
    assert [clock(4.5), clock(59.999), clock(3723), clock(125, 0)] == ["0:04.50", "1:00.00", "1:02:03.00", "2:05"]


def catches(process: subprocess.Popen, number: int) -> bool:
    """Whether a process handles a signal by now: before Python runs our first line, nobody can."""
    handled = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(int(handled[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("delay", [0.0, 0.25, 0.6, 1.4])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_in_the_first_seconds_ends_with_one_line(delay, number, code, story, tmp_path):
    """A Ctrl-C among the imports was a traceback, and one before the render passed without a word."""
    command = [*MEMFLOW, "generate", str(story), "-o", str(tmp_path / "film.mp4"), "--set", "segments.1.duration=10m"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not catches(process, signal.SIGHUP):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read1()
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b""), err
    assert err.decode().splitlines()[-1].startswith(("error: ", "hint: ")) and b"Traceback" not in err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_comes_in_a_finaliser_still_stops():
    """What it raises is dropped there, and a film of ten minutes went on as if nothing had been typed."""

    class Leaving:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    received: list[int] = []
    with stopped_by_signals(received):
        Leaving()
        assert received == [signal.SIGINT]
        with StopRequests() as stop:
            assert isinstance(stop(), Interrupted)
            with pytest.raises(Interrupted), stop.at_once():
                raise AssertionError("nothing is loaded any more")
    with StopRequests() as stop:
        assert stop() is None


def test_a_signal_that_comes_in_an_import_waits_until_it_is_over(tmp_path, monkeypatch):
    """An exception that came through a library's C++ ended the process: "terminate called", and no line of ours."""
    module = tmp_path / "slow_to_import.py"
    module.write_text(
        "import os, signal, time\n"
        "for _ in range(3):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.1)\n"
        "is_whole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    received: list[int] = []
    with stopped_by_signals(received), pytest.raises(Stopped):
        import slow_to_import

        assert slow_to_import.is_whole
        time.sleep(10)
    assert received == [signal.SIGINT] and sys.modules.pop("slow_to_import").is_whole


def test_a_terminal_that_closes_does_not_end_what_nohup_runs(story, tmp_path):
    """SIGHUP is an interrupt, but where it is ignored it stays ignored."""
    made = tmp_path / "film.mp4"
    command = [*MEMFLOW, "generate", str(story), "-o", str(made)]
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=ignore)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    process.kill()
    assert process.returncode == 0 and made.exists(), process.communicate()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_tests_start_hears_signals_under_nohup_too(number):
    """The tests above waited for ever where SIGHUP was ignored, or failed."""
    inner = f"import signal; print(signal.getsignal({number:d}) != signal.SIG_IGN)"
    outer = f"import conftest, subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    ignore = lambda: signal.signal(number, signal.SIG_IGN)  # noqa: E731
    options = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "timeout": 60}
    started = subprocess.run([sys.executable, "-c", outer], preexec_fn=ignore, **options)
    assert started.stdout == "True\n", started.stderr


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def live_view(columns: int, encoding: str, monkeypatch) -> list[str]:
    """What a terminal of that width shows of a film's second chunk, line by line, and all that was drawn before."""
    from memflow_cli.cli.terminal import LiveProgress
    from memflow_cli.film.events import ChunkDone, FilmStarted
    from memflow_cli.memory.record import ChunkRecord, Recalled
    from tiny_model import tiny_plan

    entry = tiny_entry()
    plan = tiny_plan(entry.geometry, [4, 4])
    drawn = Terminal(io.BytesIO(), encoding, write_through=True)
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    bank = (Recalled(0, 1.0), Recalled(3, 0.5))
    record = ChunkRecord(1, 0, "[bold]a fox[/] " * 20, 0.75, 1.5, (0,), (), bank, {})
    with LiveProgress() as progress:
        progress.film(2, 3)
        progress(FilmStarted(plan))
        progress(ChunkDone(1, plan.segments[0], record, {"denoise": 0.1}))
    return drawn.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_live_view_fits_its_terminal(columns, encoding, monkeypatch):
    import re

    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line) for line in live_view(columns, encoding, monkeypatch)]
    assert all(len(line) <= columns for line in lines), lines
    begin = max(number for number, line in enumerate(lines) if line.startswith("film "))
    view = [line for line in lines[begin:] if line]
    assert len(view) == 5 and all(len(line) <= columns - len("^C ") for line in view), (
        "nothing wraps, also after Ctrl-C"
    )
    text = "\n".join(lines)
    if columns >= 80:
        assert "2 of 3" in text and "0:02 of 0:06" in text and "recalls" in text and "1 of 2" in text


@pytest.mark.parametrize(("term", "is_live"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_that_cannot_go_back_gets_plain_lines(term, is_live, monkeypatch):
    from memflow_cli.cli.progress import PlainProgress, make_progress

    monkeypatch.setattr(sys, "stderr", Terminal(io.BytesIO()))
    monkeypatch.setenv("TERM", term)
    assert isinstance(make_progress("auto"), PlainProgress) != is_live


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_on_a_terminal_tables_break_between_words(columns, story, tmp_path):
    """At 80 columns the terminal itself broke them, in the middle of words and back to its left edge."""
    words = [
        "a",
        "red",
        "fox",
        "in",
        "the",
        "snow",
        "walks",
        "to",
        "the",
        "far",
        "side",
        "of",
        "the",
        "quiet",
        "frozen",
        "lake",
    ]
    story.write_text(story.read_text().replace("a red fox", " ".join(words)))
    far, near = pty.openpty()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.close(far)
            os.dup2(near, 1)
            os.environ["COLUMNS"] = str(columns)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            code = run(["plan", str(story)]) or run(["models", "list"])
        finally:
            os._exit(code)
    os.close(near)
    seen = b""
    with contextlib.suppress(OSError):
        while content := os.read(far, 65536):
            seen += content
    os.close(far)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    lines = seen.decode().splitlines()
    assert all(len(line) <= columns for line in lines), lines
    assert set(words) <= {word for line in lines for word in line.split()}
