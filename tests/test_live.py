"""A film that is steered while it plays is the film that its storyboard makes."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
import time

import av
import numpy as np
import pytest

from browser import Page, find_chromium
from memflow_cli.cli.app import run
from memflow_cli.live.channel import Channel
from memflow_cli.live.lines import rest_of
from memflow_cli.live.session import Session
from memflow_cli.story.storyboard import Segment
from memflow_cli.studio.studio import Studio

LIVE = [sys.executable, "-m", "memflow_cli", "live"]
TEN = """\
a red fox
wait 1.5s
the snow
wait 2.25s
cut: a city at night
wait 1.5s
the fox again
undo
a cat
wait 0.75s
cut: the woods
wait 3s
nobody
the fox jumps
wait 1.5s
cut: a beach
the waves
wait 0.75s
"""


def frames(path):
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_what_was_played_by_lines_is_what_its_storyboard_makes(tmp_path, tiny_model_folder):
    """Prompts, cuts, an undo, a prompt that nobody waits for: each line is answered, and generate makes the same film."""
    film = tmp_path / "film.mp4"
    command = [*LIVE, "--stdin", "-o", str(film), "--model", str(tiny_model_folder), "--seed", "5"]
    done = subprocess.run(command, input=TEN, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == len(TEN.splitlines())
    starts = [answer["from"] for answer in answers if answer["event"] == "prompt"]
    assert starts[:3] == [0, 1.5, 3.75] and starts == sorted(starts)
    assert done.stdout.splitlines()[-1] == str(film)
    script = film.with_suffix(".yaml")
    assert "the fox again" not in script.read_text() and 'transition: "cut"' in script.read_text()
    assert run(["generate", str(script), "-o", str(tmp_path / "again.mp4"), "--progress", "none"]) == 0
    assert (frames(film) == frames(tmp_path / "again.mp4")).all()


def test_what_holds_for_a_whole_storyboard_holds_for_the_prompts_after_it(tmp_path, tiny_model_folder):
    """Style and memory were those of the storyboard no longer, and nobody said so."""
    film, story = tmp_path / "film.mp4", tmp_path / "story.yaml"
    story.write_text(
        f"model: {tiny_model_folder}\nseed: 5\nstyle: ink on paper\nmemory: {{policy: sink, kv: int8}}\n"
        "characters: {fox: a red fox}\nsegments: [{prompt: '{fox} in the snow', duration: 1.5s}]\n"
    )
    lines = "{fox} at night\nwait 1.5s\n"
    done = subprocess.run([*LIVE, str(story), "--stdin", "-o", str(film)], input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads(film.with_suffix(".json").read_text())["storyboard"]
    assert [each["prompt"] for each in record["segments"]] == [
        "a red fox in the snow, ink on paper",
        "a red fox at night, ink on paper",
    ]
    assert (record["memory"]["policy"], record["memory"]["kv"]) == ("sink", "int8")
    assert (
        run(["generate", str(film.with_suffix(".yaml")), "-o", str(tmp_path / "again.mp4"), "--progress", "none"]) == 0
    )
    assert (frames(film) == frames(tmp_path / "again.mp4")).all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_stopped_goes_on_with_the_same_command(tmp_path, tiny_model_folder, number):
    """Ctrl-C was not heard while a line was waited for; and what went on after a stop began at 0 and could not wait."""
    film = tmp_path / "film.mp4"
    command = [*LIVE, "--stdin", "-o", str(film), "--model", str(tiny_model_folder), "--seed", "5"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first:
        first.stdin.write("a red fox\nwait 1.5s\n")
        first.stdin.flush()
        assert [json.loads(first.stdout.readline())["event"] for _ in range(2)] == ["prompt", "wait"]
        first.send_signal(number)
        assert first.wait(200) == {signal.SIGINT: 130, signal.SIGKILL: -9}[number]
        if number != signal.SIGKILL:
            assert "2 chunks are kept" in first.stderr.read() and film.with_suffix(".yaml").exists()
    done = subprocess.run(command, input="the snow\nwait 1.5s\n", capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert answers[0] == {"event": "resumed", "from": 1.5, "prompts": 1}
    assert (answers[1]["from"], answers[2]["until"]) == (1.5, 3.0)
    script = film.with_suffix(".yaml")
    assert run(["generate", str(script), "-o", str(tmp_path / "again.mp4"), "--progress", "none"]) == 0
    assert (frames(film) == frames(tmp_path / "again.mp4")).all() and len(frames(film)) == 48


@pytest.mark.parametrize(
    ("played", "left"),
    [
        ([], [("a", 3.0, "smooth"), ("b", 2.0, "cut"), ("c", 1.5, "smooth")]),
        ([("a", 3.0)], [("b", 2.0, "cut"), ("c", 1.5, "smooth")]),
        ([("a", 3.0), ("b", 0.75)], [("b", 1.25, "smooth"), ("c", 1.5, "smooth")]),
        ([("a", 3.0), ("b", 2.0), ("c", 1.5), ("d", 1.5)], []),
        ([("a", 3.0), ("x", 0.75)], []),
    ],
)
def test_what_is_left_of_an_opening(played, left):
    opening = [Segment("a", 3.0), Segment("b", 2.0, transition="cut"), Segment("c", 1.5)]
    rest = rest_of(opening, [Segment(prompt, seconds) for prompt, seconds in played])
    assert [(segment.prompt, segment.seconds, segment.transition) for segment in rest] == left


def test_a_cpu_plays_a_size_that_it_keeps_up_with(tmp_path, monkeypatch, capfd):
    """Of a model that was made for several; one that was made for a single size is played at that."""
    film = tmp_path / "film.mp4"
    monkeypatch.setattr(sys, "stdin", io.StringIO("a red fox\nwait 0.75s\n"))
    assert run(["live", "--stdin", "-o", str(film), "--model", "theatre", "--device", "cpu"]) == 0
    assert "--size 448x256" in capfd.readouterr().err
    assert frames(film).shape[1:] == (128, 224, 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(["live", "--stdin", "-o", str(tmp_path / "b.mp4"), "--model", "memflow-1.3b", "--device", "cpu"]) == 2
    said = capfd.readouterr().err
    assert "nothing was played" in said and "playing at" not in said


def test_pictures_are_looked_at_before_the_model_is_loaded(tmp_path, monkeypatch, capfd):
    """Seconds of loading went by until a missing picture was told."""
    story = tmp_path / "story.yaml"
    story.write_text(
        "characters: {fox: {description: a fox, picture: a.png}, cat: {description: a cat, picture: b.png}}\n"
        "segments: [{prompt: '{fox}', duration: 1}]\n"
    )
    monkeypatch.setattr("memflow_cli.studio.studio.Studio", lambda *_, **__: pytest.fail("the model would be loaded"))
    assert run(["live", str(story), "--stdin", "-o", str(tmp_path / "film.mp4")]) == 2
    err = capfd.readouterr().err
    assert f"{story}, line 1: characters.fox.picture: cannot read the picture {tmp_path / 'a.png'}" in err
    assert "characters.cat.picture" in err


def test_what_is_not_played_is_told(tmp_path, monkeypatch, capfd):
    """A storyboard's first picture and its sound were left out without a word."""
    story = tmp_path / "story.yaml"
    for name in ("first.png", "song.wav"):
        (tmp_path / name).write_bytes(b"never read")
    story.write_text("sound: song.wav\nsegments:\n- {prompt: a red fox, duration: 0.75, image: first.png}\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("wait 0.75s\n"))
    assert run(["live", str(story), "--stdin", "-o", str(tmp_path / "film.mp4"), "--size", "224x128"]) == 0
    told = capfd.readouterr().err
    assert "live plays no image: first.png is left out" in told and "live plays no sound: song.wav is left out" in told


def test_wrong_lines_are_answered_and_play_nothing(tmp_path, tiny_model_folder):
    text = "wait 1s\na fox\nwait soon\n{cat} walks\n"
    command = [*LIVE, "--stdin", "-o", str(tmp_path / "film.mp4"), "--model", str(tiny_model_folder)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=100)
    events = [json.loads(line)["event"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0 and events == ["error", "prompt", "error", "error"]


class Viewer:
    """Follows a channel as the server does for a page, in an event loop of its own."""

    def __init__(self, channel):
        self.told = []
        threading.Thread(target=asyncio.run, args=(self.follow(channel),), daemon=True).start()

    async def follow(self, channel):
        channel.attach()
        async for message in channel.follow():
            if isinstance(message, str):
                self.told.append(json.loads(message))

    def texts(self, kind):
        return [content for content in self.told if content["type"] == kind]


@pytest.fixture
def session(tmp_path, tiny_model_folder):
    """A session in a thread of its own, and one who views it."""
    studio = Studio(str(tiny_model_folder))
    take, channel = studio.take(tmp_path / "film.mp4", seed=3), Channel()
    session = Session(take, channel)
    results = []
    thread = threading.Thread(target=lambda: results.append(session.run()), daemon=True)
    thread.start()
    yield session, Viewer(channel), take, results, thread
    session.command({"type": "finish"})
    thread.join(60)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


def test_the_film_waits_for_its_player(session):
    session, viewer, take, *_ = session
    session.command({"type": "prompt", "text": "a red fox"})
    wait_for(lambda: len(viewer.texts("chunk")) >= 2)
    time.sleep(0.5)
    made = len(viewer.texts("chunk"))
    assert made <= 3, "nobody has played anything yet"
    session.command({"type": "played", "seconds": 1.4})
    wait_for(lambda: len(viewer.texts("chunk")) > made)


def test_a_player_that_stands_still_gets_more(session):
    """After stalls a browser wants more film before it goes on than was made ahead of it: both waited for ever."""
    session, viewer, take, *_ = session
    session.command({"type": "prompt", "text": "a red fox"})
    wait_for(lambda: len(viewer.texts("chunk")) >= 2)
    session.command({"type": "played", "seconds": 0.1, "starved": True})
    wait_for(lambda: len(viewer.texts("chunk")) >= 5)
    time.sleep(0.3)
    assert len(viewer.texts("chunk")) <= 6, "not without end"


def test_a_prompt_holds_from_the_next_chunk_on_and_undo_takes_it_back(session, tmp_path):
    session, viewer, take, results, thread = session
    session.command({"type": "prompt", "text": "a red fox"})
    wait_for(lambda: len(viewer.texts("chunk")) >= 2)
    session.command({"type": "prompt", "text": "<b>the snow</b>", "cut": True})
    wait_for(lambda: len(viewer.texts("segment")) == 2)
    told = viewer.texts("segment")[1]
    assert told["prompt"] == "<b>the snow</b>" and told["transition"] == "cut"
    session.command({"type": "undo"})
    wait_for(lambda: viewer.texts("undone"))
    assert viewer.texts("undone")[0] == {"type": "undone", "start": told["start"], "segments": 1}
    session.command({"type": "finish"})
    thread.join(60)
    assert [segment.prompt for segment in take.storyboard.segments] in ([], ["a red fox"])
    assert results[0].path.exists()
    wait_for(lambda: viewer.texts("done"))


def test_a_page_goes_on_with_what_an_earlier_run_has_played(tmp_path, tiny_model_folder):
    """The page of a film that was gone on with failed at its first frame, and would have waited for ever before that."""
    studio = Studio(str(tiny_model_folder))
    take = studio.take(tmp_path / "film.mp4", seed=3)
    assert sum(len(batch) for batch in take.play("a red fox", 2.25)) == 36
    take.close()
    take, channel, results = studio.take(tmp_path / "film.mp4"), Channel(), []
    session = Session(take, channel)
    session.greet()
    thread = threading.Thread(target=lambda: results.append(session.run()), daemon=True)
    thread.start()
    viewer = Viewer(channel)
    wait_for(lambda: viewer.texts("segment"))
    assert viewer.texts("resumed") == [{"type": "resumed", "start": 2.25}]
    assert [told["prompt"] for told in viewer.texts("segment")] == ["a red fox"]
    session.command({"type": "prompt", "text": "the snow"})
    wait_for(lambda: viewer.texts("chunk"))
    assert viewer.texts("chunk")[0]["start"] == 2.25
    wait_for(lambda: viewer.texts("from"))
    session.command({"type": "undo"})
    wait_for(lambda: viewer.texts("undone"))
    session.command({"type": "finish"})
    thread.join(60)
    assert results[0].plan.num_frames == 36


def test_prompts_are_bounded(session):
    session, viewer, *_ = session
    session.command({"type": "prompt", "text": "x" * 5000})
    session.command({"type": "prompt", "text": 7})
    session.command({"type": "played", "seconds": "soon"})
    session.command({"type": "nonsense"})
    wait_for(lambda: viewer.texts("refused"))
    assert not viewer.texts("segment")


@pytest.mark.slow
def test_typed_in_a_browser(tmp_path):
    """As a person uses it: type, Enter, look; Shift+Enter; undo; finish."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    film = tmp_path / "film.mp4"
    command = [*LIVE, "-o", str(film), "--no-browser", "--seed", "7", "--size", "224x128"]
    made = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    page = Page(chromium, tmp_path / "profile")
    try:
        address = next(line.split(" at ")[1].strip() for line in made.stderr if "play it at" in line)
        page.open(address, 1280)
        page.wait_for("document.activeElement.id === 'prompt'")
        for letters in "A red fox stands still in a meadow.":
            page.press(letters, letters)
        page.press("Enter")
        page.wait_for("document.getElementById('film').currentTime > 1.5", 120)
        for letters in "The fox waves.":
            page.press(letters, letters)
        page.press("Enter")
        page.wait_for("document.querySelectorAll('#segments li').length === 2", 60)
        page.click("#finish")
        page.wait_for("document.getElementById('state').textContent.includes('finished')", 60)
        assert made.wait(60) == 0
        assert not page.errors
        assert len(frames(film)) > 24 and film.with_suffix(".yaml").read_text().count("prompt:") == 2
    finally:
        page.close()
        made.kill()
