"""A render is never lost: killed, torn, changed or refused, what was finished is kept, and the film comes out the same."""

import json
import os
import random
import select
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memflow_cli.errors import Interrupted, MemflowError, Terminated, TimeLimitReached, UsageError
from memflow_cli.film.events import ChunkDone, ChunkReplayed, FilmStarted, SegmentDone
from memflow_cli.film.recipe import is_finished
from memflow_cli.film.shooting import make_film
from memflow_cli.film.video import QUEUED_WRITES, Encoder, PartWriter
from memflow_cli.machine.stop_requests import StopRequests
from tiny_model import HEIGHT, WIDTH, fail_at_frame, make, recipe_of, story, tiny_backbone, tiny_entry

STORY = story("a fox", "an empty wood", "the fox again", "a bear", seconds=2.25)  # 12 chunks


class Killed(BaseException):
    """Ends a render in the middle, as nothing that the code catches."""


def stop_after(chunks: int):
    def events(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == chunks - 1:
            raise Killed

    return events


def interrupt(folder: Path, chunks: int, kind: str = "theatre", storyboard=STORY) -> None:
    """Makes a film up to so many chunks."""
    with pytest.raises(Killed):
        make(folder, storyboard, kind, events=stop_after(chunks))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Puts the run folder of a film that was stopped after so many chunks into a folder: its path. Each is made once."""
    made: dict[str, Path] = {}

    def interrupted(folder: Path, chunks: int, kind: str = "theatre", storyboard=STORY) -> Path:
        key = f"{chunks} {kind} {storyboard}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp("interrupted")
            interrupt(made[key], chunks, kind, storyboard)
        shutil.copytree(made[key], folder, dirs_exist_ok=True)
        return folder / "film.mp4.run"

    return interrupted


@pytest.fixture(scope="module", params=["theatre", "wan"])
def whole(request, tmp_path_factory):
    """(kind, bytes of the film and of its trace) of the film made without a break."""
    result = make(tmp_path_factory.mktemp("whole"), STORY, request.param)
    return request.param, result.path.read_bytes(), result.trace_path.read_bytes()


@pytest.fixture(scope="module")
def theatre(tmp_path_factory):
    result = make(tmp_path_factory.mktemp("whole"), STORY)
    return result.path.read_bytes(), result.trace_path.read_bytes()


@pytest.mark.parametrize("chunks", [1, 3, 5, 11, 12])
def test_a_resumed_film_is_the_same_film(interrupted, whole, tmp_path, chunks):
    kind, film, trace = whole
    interrupted(tmp_path, chunks, kind)
    events: list[object] = []
    result = make(tmp_path, STORY, kind, events=events.append)
    assert result.path.read_bytes() == film and result.trace_path.read_bytes() == trace
    assert [event.chunk for event in events if isinstance(event, ChunkDone)] == list(range(chunks, 12))
    assert [event.chunk for event in events if isinstance(event, ChunkReplayed)] == list(range(chunks % 12))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.json", "film.memory.jsonl", "film.mp4"]


def test_finished_segments_are_not_encoded_again(interrupted, tmp_path):
    interrupted(tmp_path, 7)
    events: list[object] = []
    make(tmp_path, STORY, events=events.append)
    assert [event.segment.index for event in events if isinstance(event, SegmentDone)] == [2, 3]


def test_a_film_interrupted_again_and_again(theatre, tmp_path):
    for chunks in (2, 4, 9):
        interrupt(tmp_path, chunks)
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


@pytest.mark.parametrize(
    "name", ["latents.bin", "trace.jsonl", "parts.jsonl", "segment-00001.mp4", "segment-00002.mp4"]
)
@pytest.mark.parametrize("damage", ["torn", "flipped", "gone", "longer"])
def test_any_damage_in_the_run_folder_costs_work_but_never_the_film(interrupted, theatre, tmp_path, name, damage):
    run = interrupted(tmp_path, 7)
    path, generator = run / name, random.Random(name + damage)
    content = bytearray(path.read_bytes())
    if damage == "torn":
        content = content[: generator.randrange(len(content))]
    elif damage == "flipped":
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    elif damage == "longer":
        content += bytes(generator.randrange(1, 5000))
    path.write_bytes(content)
    if damage == "gone":
        path.unlink()
    result = make(tmp_path, STORY)
    assert result.path.read_bytes() == theatre[0]
    if not (name == "trace.jsonl" and damage == "flipped"):  # a flipped digit of a score is still a score
        assert result.trace_path.read_bytes() == theatre[1]


def test_a_changed_storyboard_keeps_what_comes_before_the_change(interrupted, tmp_path):
    interrupted(tmp_path, 10)
    segments = (*STORY.segments[:2], replace(STORY.segments[2], prompt="a wolf instead"), *STORY.segments[3:])
    changed = replace(STORY, segments=segments)
    events: list[object] = []
    result = make(tmp_path, changed, events=events.append)
    started = next(event for event in events if isinstance(event, FilmStarted))
    assert (started.resumed_chunks, started.changed_segment) == (6, 2)
    (tmp_path / "fresh").mkdir()
    fresh = make(tmp_path / "fresh", changed)
    assert result.path.read_bytes() == fresh.path.read_bytes()
    assert result.trace_path.read_bytes() == fresh.trace_path.read_bytes()


@pytest.mark.parametrize("count", [2, 6])
def test_segments_taken_away_or_added_at_the_end(interrupted, tmp_path, count):
    interrupted(tmp_path, 10)
    changed = replace(STORY, segments=(STORY.segments * 2)[:count])
    result = make(tmp_path, changed)
    (tmp_path / "fresh").mkdir()
    assert result.path.read_bytes() == make(tmp_path / "fresh", changed).path.read_bytes()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"seed": 8}, "seed was 7, is now 8"),
        ({"fps": 24}, "fps was 16, is now 24"),
        ({"width": 128, "height": 64}, "size was 64x32"),
    ],
)
def test_a_run_that_would_come_out_otherwise_is_refused(interrupted, theatre, tmp_path, change, words):
    interrupted(tmp_path, 4)
    with pytest.raises(UsageError, match=words) as refused:
        make(tmp_path, replace(STORY, **change))
    assert "--no-resume" in str(refused.value.hint)
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]  # the refusal harmed nothing


def test_another_model_or_version_is_refused(interrupted, tmp_path, monkeypatch):
    interrupted(tmp_path, 4)
    with pytest.raises(UsageError, match="model name was tiny-theatre, is now tiny-wan"):
        make(tmp_path, STORY, "wan")
    monkeypatch.setattr("memflow_cli.film.recipe.__version__", "99.0")
    with pytest.raises(UsageError, match="memflow was .*, is now 99.0"):
        make(tmp_path, STORY)


def test_a_run_is_not_continued_by_other_kernels(interrupted, tmp_path):
    interrupted(tmp_path, 4)
    with pytest.raises(UsageError, match="accelerate was none, is now sage"):
        make(tmp_path, STORY, accelerations=("sage",))


def test_no_resume_starts_over(interrupted, theatre, tmp_path):
    interrupted(tmp_path, 4, storyboard=replace(STORY, seed=9))
    events: list[object] = []
    result = make(tmp_path, STORY, resume=False, events=events.append)
    assert result.path.read_bytes() == theatre[0]
    assert next(event for event in events if isinstance(event, FilmStarted)).resumed_chunks == 0


def test_a_drawn_seed_is_drawn_once(interrupted, tmp_path):
    """A storyboard without a seed, interrupted: the same command goes on with the seed it was begun with."""
    interrupted(tmp_path, 4, storyboard=replace(STORY, seed=77))
    assert make(tmp_path, replace(STORY, seed=None)).plan.seed == 77


def test_the_run_folder_can_be_kept(tmp_path):
    result = make(tmp_path, STORY, keep_run=True)
    before = result.path.stat().st_mtime_ns
    events: list[object] = []
    again = make(tmp_path, STORY, keep_run=True, events=events.append)
    assert not [event for event in events if isinstance(event, (ChunkDone, ChunkReplayed))]
    assert again.path.read_bytes() == result.path.read_bytes() and again.path.stat().st_mtime_ns >= before


def test_a_finished_film_is_known_by_what_it_was_made_from(tmp_path):
    entry = tiny_entry()
    result = make(tmp_path, STORY)
    recipe = recipe_of(STORY, entry)
    title = STORY.title
    assert is_finished(result.path, recipe, title)
    assert not is_finished(result.path, recipe_of(replace(STORY, seed=8), entry), title)
    assert not is_finished(result.path, recipe, "Wolf"), "it stands in the film's metadata and in its record"
    with result.path.open("ab") as film:
        film.write(b"x")
    assert not is_finished(result.path, recipe, title)
    result.path.unlink()
    assert not is_finished(result.path, recipe, title)


def test_two_processes_do_not_share_an_output(tmp_path):
    """The second is told who renders; when the first is gone, its lock is gone with it."""
    messages: list[str] = []

    def second(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == 1:
            with pytest.raises(UsageError) as refused:
                make(tmp_path, STORY)
            messages.append(str(refused.value))

    result = make(tmp_path, STORY, events=second)
    assert f"film.mp4 is being rendered by another process (process {os.getpid()} on" in messages[0]
    assert result.path.exists()


def test_a_stale_lock_is_taken_over(interrupted, theatre, tmp_path):
    run = interrupted(tmp_path, 4)
    (run / "lock").write_text("process 1 on elsewhere")
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


@pytest.mark.parametrize("number, error", [(signal.SIGINT, Interrupted), (signal.SIGTERM, Terminated)])
def test_a_signal_finishes_the_chunk_and_says_how_to_go_on(theatre, tmp_path, number, error):
    def send(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == 4:
            os.kill(os.getpid(), number)

    heard: list[str] = []
    before = signal.getsignal(number)
    with StopRequests(tell=heard.append) as stop, pytest.raises(error) as stopped:
        make(tmp_path, STORY, events=send, stop=stop)
    assert "5 of 12 chunks are kept" in str(stopped.value) and "same command" in str(stopped.value.hint)
    assert heard and signal.getsignal(number) == before
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


def test_a_signal_is_heard_while_the_earlier_run_is_gone_over_again(interrupted, theatre, tmp_path):
    """It was heard only once the whole replay was done and a new chunk made."""
    interrupted(tmp_path, 8)
    replayed: list[int] = []

    def send(event: object) -> None:
        if isinstance(event, ChunkReplayed):
            replayed.append(event.chunk)
            if event.chunk == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with StopRequests() as stop, pytest.raises(Terminated, match="8 of 12 chunks are kept"):
        make(tmp_path, STORY, events=send, stop=stop)
    assert replayed == [0, 1, 2]
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


def test_the_time_limit_leaves_a_resumed_run_one_new_chunk(interrupted, tmp_path):
    interrupted(tmp_path, 4)
    with StopRequests(max_seconds=0) as stop, pytest.raises(TimeLimitReached, match="5 of 12 chunks are kept"):
        make(tmp_path, STORY, stop=stop)


def test_a_second_signal_stops_at_once(theatre, tmp_path):
    def send(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    with StopRequests() as stop, pytest.raises(Interrupted, match="at once"):
        make(tmp_path, STORY, events=send, stop=stop)
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


def test_the_time_limit_stops_between_chunks(theatre, tmp_path):
    with StopRequests(max_seconds=0) as stop, pytest.raises(TimeLimitReached, match="1 of 12 chunks are kept"):
        make(tmp_path, STORY, stop=stop)
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


def test_the_encoder_failing_loses_nothing_finished(theatre, tmp_path, monkeypatch):
    fail_at_frame(monkeypatch, 60)
    with pytest.raises(MemflowError, match="encoder failed") as failed:
        make(tmp_path, STORY)
    assert "same command goes on" in str(failed.value.hint)
    monkeypatch.undo()
    assert make(tmp_path, STORY).path.read_bytes() == theatre[0]


def test_a_slow_encoder_holds_the_generator_back(tmp_path, monkeypatch):
    """Frames wait in a queue of fixed length, never in memory without bound."""
    written, encoded, waiting = [], [], []
    write, encode = PartWriter.write, Encoder.encode

    def watched(self, frames):
        write(self, frames)
        written.append(len(frames))
        waiting.append(sum(written) - len(encoded))

    def slow(self, pixels):
        time.sleep(0.01)
        encoded.append(1)
        return encode(self, pixels)

    monkeypatch.setattr(PartWriter, "write", watched)
    monkeypatch.setattr(Encoder, "encode", slow)
    make(tmp_path, story("a fox", seconds=6))
    assert max(waiting) <= (QUEUED_WRITES + 1) * max(written), "and those of one write are being encoded"


@pytest.mark.parametrize("when", [2, 8])
def test_an_output_folder_removed_while_rendering_is_a_sentence(tmp_path, when):
    folder = tmp_path / "films"
    folder.mkdir()

    def remove(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == when:
            shutil.rmtree(folder)

    with pytest.raises(MemflowError, match="cannot write|failed on"):
        make(folder, STORY, events=remove)


def test_the_decoder_may_begin_in_the_middle():
    """The frames after `past` latent frames are those of decoding from the film's start, bit for bit."""
    backbone = tiny_backbone(tiny_entry("wan"))
    decoder = backbone.decoder()
    latents = torch.randn(decoder.past + 12, 16, 4, 8)
    whole = decoder.decode(latents)
    late = backbone.decoder()
    late.decode(latents[9 : 9 + decoder.past])
    assert torch.equal(late.decode(latents[9 + decoder.past :]), whole[-12:])


def test_killed_at_any_moment(theatre, tmp_path):
    """SIGKILL at random moments until the film is done. `benchmarks/kill.py` does this fifty times, and from the shell."""
    generator = random.Random(5)
    kills = 0
    while not (tmp_path / "film.mp4").exists():
        child = os.fork()
        if child == 0:
            try:
                make(tmp_path, STORY)
            finally:
                os._exit(0)
        ended = os.pidfd_open(child)
        select.select([ended], [], [], generator.uniform(0.02, 0.5) if kills < 5 else 60)
        os.close(ended)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    result = make(tmp_path, STORY) if not (tmp_path / "film.json").exists() else None
    assert result is None or result.path.exists()
    assert (tmp_path / "film.mp4").read_bytes() == theatre[0]
    assert json.loads((tmp_path / "film.json").read_text())["seed"] == 7


class Late:
    """A decoder that looks ahead: it gives each piece's frames with the next one."""

    past = None

    def __init__(self, decoder):
        self._decoder = decoder

    def reset(self):
        self._decoder.reset()
        self._held = torch.zeros(0, HEIGHT, WIDTH, 3)

    def decode(self, latents):
        frames, self._held = self._held, self._decoder.decode(latents)
        return frames

    def flush(self):
        return self._held


@pytest.mark.parametrize("chunks", [2, 5])
def test_a_decoder_that_looks_ahead_can_be_resumed(theatre, tmp_path, chunks):
    def make_late(**options):
        backbone = tiny_backbone(entry := tiny_entry())
        plain = backbone.decoder
        backbone.decoder = lambda: Late(plain())
        return make_film(STORY, entry, backbone, tmp_path / "film.mp4", **options)

    with pytest.raises(Killed):
        make_late(events=stop_after(chunks))
    assert make_late().path.read_bytes() == theatre[0]
