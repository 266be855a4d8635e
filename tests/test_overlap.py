"""Decode and encode beside the denoising: the same film, the same faults, and never more than a few chunks behind."""

import itertools
import json
import os
import signal
import threading
import time

import pytest
import torch

from memflow_cli.errors import Interrupted, MemflowError, OutOfMemoryError
from memflow_cli.film import video
from memflow_cli.film.events import ChunkDone, ChunkReplayed, SegmentDone
from memflow_cli.film.overlap import AHEAD, Overlap, overlap_pays, threads_beside, walk_threads
from memflow_cli.film.shooting import make_film
from memflow_cli.machine.stop_requests import StopRequests
from tiny_model import fail_at_frame, make, story, tiny_backbone, tiny_entry
from toy_backbone import ToyBackbone
from toy_backbone import model as toy_model

CPU = torch.device("cpu")
STORY = story("a fox", "an empty wood", "the fox again", "a bear", seconds=2.25)  # 12 chunks
LARGE = story("a fox", seconds=30, width=256, height=256)  # more frames than the encoder's queue and pipe hold


@pytest.fixture(scope="module", params=["theatre", "wan"])
def plain(request, tmp_path_factory):
    """(kind, the film's and the trace's bytes, its events) of the film made without overlap."""
    events: list[object] = []
    result = make(tmp_path_factory.mktemp("plain"), STORY, request.param, events=events.append, overlap=False)
    return request.param, result.path.read_bytes(), result.trace_path.read_bytes(), told(events)


def told(events: list[object]) -> list[tuple[str, int]]:
    """Chunks and segments in the order in which they were told."""
    return [
        (type(event).__name__, event.segment.index if isinstance(event, SegmentDone) else event.chunk)
        for event in events
        if isinstance(event, (ChunkDone, ChunkReplayed, SegmentDone))
    ]


def take_all(overlap: Overlap) -> list:
    taken = []
    while (item := overlap.take(everything=True)) is not None:
        taken.append(item)
    return taken


@pytest.mark.parametrize("ahead", [0, 1, AHEAD])
def test_results_come_in_order_with_their_tags(ahead):
    overlap: Overlap[int, float] = Overlap(CPU, ahead)
    for number in range(7):
        overlap.submit(number, lambda tensor: float(tensor.sum()), torch.full((2,), float(number)))
    assert take_all(overlap) == [(number, 2.0 * number) for number in range(7)]
    assert overlap.take(everything=True) is None
    overlap.close()


def test_the_caller_is_never_further_ahead_than_allowed():
    overlap: Overlap[int, int] = Overlap(CPU)
    finished: list[int] = []
    behind = []

    def slow(number: int) -> int:
        time.sleep(0.01)
        finished.append(number)
        return number

    for number in range(8):
        overlap.submit(number, lambda number=number: slow(number))
        while overlap.take() is not None:
            pass
        behind.append(number + 1 - len(finished))
    overlap.close()
    assert max(behind) == AHEAD


def test_what_a_piece_raises_is_raised_to_whoever_takes_it():
    overlap: Overlap[int, None] = Overlap(CPU)

    def fail() -> None:
        raise MemflowError("the sentence", "the hint")

    overlap.submit(1, fail)
    with pytest.raises(MemflowError, match="the sentence") as failed:
        overlap.take(everything=True)
    assert failed.value.hint == "the hint"
    overlap.close()


def test_closing_gives_up_what_has_not_begun():
    overlap: Overlap[int, None] = Overlap(CPU)
    begun = threading.Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        time.sleep(0.1)
        done.append(1)

    overlap.submit(1, first)
    overlap.submit(2, lambda: done.append(2))
    begun.wait()
    overlap.close()
    assert done == [1] and overlap.take(everything=True) is None


class Somewhere(ToyBackbone):
    """On a device, with passes of so much work."""

    def __init__(self, device: str, flops: float | None) -> None:
        super().__init__(toy_model(), CPU)
        self.device, self._flops = torch.device(device), flops

    def work_of_pass(self, grid, frames_in_view):
        return None if self._flops is None else (self._flops, 1.0)


@pytest.fixture
def threads():
    """Sets how many torch uses."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_gpu_overlaps_and_so_does_a_cpu_whose_walk_uses_one_core(threads):
    size = (64, 48)
    threads(4)
    assert overlap_pays(Somewhere("cuda:1", None), size) and walk_threads(Somewhere("cuda:1", 1e6), size) is None
    assert overlap_pays(Somewhere("cpu", 1e9), size) and walk_threads(Somewhere("cpu", 1e9), size) == 1
    for flops in (1e12, None):
        assert not overlap_pays(Somewhere("cpu", flops), size), "its operators use every core already"
        assert walk_threads(Somewhere("cpu", flops), size) is None
    assert (threads_beside(1), threads_beside(None)) == (3, None)
    threads(1)
    assert not overlap_pays(Somewhere("cpu", 1e9), size) and threads_beside(1) == 1


@pytest.mark.parametrize("overlap", [False, True])
def test_the_walk_keeps_to_one_thread_and_the_pieces_to_the_others(threads, tmp_path, overlap):
    """On two cores theatre's passes took a third longer with both: threads woke each other for operators of microseconds."""
    threads(3)
    backbone = tiny_backbone(tiny_entry())
    decoder = backbone.decoder()
    used = {"walk": set(), "decode": set()}
    decode, predict = decoder.decode, backbone.predict
    decoder.decode = lambda latents: used["decode"].add(torch.get_num_threads()) or decode(latents)
    backbone.predict = lambda *args, **more: used["walk"].add(torch.get_num_threads()) or predict(*args, **more)
    backbone.decoder = lambda: decoder
    make_film(STORY, tiny_entry(), backbone, tmp_path / "film.mp4", overlap=overlap)
    assert used == {"walk": {1}, "decode": {2 if overlap else 3}} and torch.get_num_threads() == 3


def test_the_film_is_the_same_with_any_number_of_threads(threads, plain, tmp_path):
    """With seven and more the sums of a product were taken in another order, in fp32 with two already."""
    kind, film, trace, _ = plain
    for count in (2, 8):
        threads(count)
        result = make(tmp_path, STORY, kind, name=f"{count}.mp4")
        assert result.path.read_bytes() == film and result.trace_path.read_bytes() == trace


def test_the_film_its_trace_and_its_events_are_the_same(plain, tmp_path):
    kind, film, trace, events_told = plain
    events: list[object] = []
    threads: set[int] = set()
    result = make(
        tmp_path,
        STORY,
        kind,
        events=lambda event: (events.append(event), threads.add(threading.get_ident())),
        overlap=True,
    )
    assert result.path.read_bytes() == film and result.trace_path.read_bytes() == trace
    assert told(events) == events_told
    assert threads == {threading.get_ident()}
    assert no_thread_is_left()


def test_decoding_happens_in_the_other_thread(tmp_path):
    backbone = tiny_backbone(tiny_entry())
    decoder = backbone.decoder()
    decode, threads = decoder.decode, set()
    decoder.decode = lambda latents: threads.add(threading.get_ident()) or decode(latents)
    backbone.decoder = lambda: decoder
    make_film(STORY, tiny_entry(), backbone, tmp_path / "film.mp4", overlap=True)
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_the_record_says_which_stages_ran_beside_the_others(tmp_path):
    events: list[object] = []
    make(tmp_path, STORY, events=events.append, overlap=True)
    timings = json.loads((tmp_path / "film.json").read_text())["timings"]
    assert timings["overlapped"] == ["decode", "encode"]
    in_turn = ("prompts", "retrieve", "denoise", "commit", "save", "wait", "stitch")
    assert 0 < sum(timings[stage] for stage in in_turn) <= timings["seconds"] + 0.01
    assert timings["decode"] > 0 and timings["encode"] > 0
    stages = {"retrieve", "denoise", "commit", "save", "decode", "encode"}
    assert all(set(event.seconds) == stages for event in events if isinstance(event, ChunkDone))
    make(tmp_path, STORY, overlap=False)
    timings = json.loads((tmp_path / "film.json").read_text())["timings"]
    assert timings["overlapped"] == [] and "wait" not in timings


class Killed(BaseException):
    """Ends a render in the middle, as nothing that the code catches."""


@pytest.mark.parametrize("chunks, before, after", [(1, True, True), (5, True, False), (9, False, True)])
def test_a_film_that_was_stopped_goes_on_with_either_twin(plain, tmp_path, chunks, before, after):
    kind, film, trace, _ = plain

    def stop(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == chunks - 1:
            raise Killed

    with pytest.raises(Killed):
        make(tmp_path, STORY, kind, events=stop, overlap=before)
    assert no_thread_is_left() and not list(tmp_path.glob("*/*.unfinished"))
    events: list[object] = []
    result = make(tmp_path, STORY, kind, events=events.append, overlap=after)
    assert result.path.read_bytes() == film and result.trace_path.read_bytes() == trace
    kept = [event.chunk for event in events if isinstance(event, ChunkReplayed)]
    made = [event.chunk for event in events if isinstance(event, ChunkDone)]
    assert kept + made == list(range(12)) and chunks <= len(kept) <= chunks + AHEAD


def test_a_signal_tells_of_all_that_is_kept(plain, tmp_path):
    """The chunks under way are shown and told before the film stops, so that nothing told differs from what is kept."""
    kind, film, _, _ = plain
    events: list[object] = []

    def send(event: object) -> None:
        events.append(event)
        if isinstance(event, ChunkDone) and event.chunk == 4:
            signal.raise_signal(signal.SIGINT)  # in this thread: one from outside is heard whenever a thread gets to it

    with StopRequests() as stop, pytest.raises(Interrupted) as stopped:
        make(tmp_path, STORY, kind, events=send, stop=stop, overlap=True)
    done = [event.chunk for event in events if isinstance(event, ChunkDone)]
    assert 5 <= len(done) <= 5 + AHEAD and f"{len(done)} of 12 chunks are kept" in str(stopped.value)
    assert make(tmp_path, STORY, kind, overlap=True).path.read_bytes() == film


def test_a_second_signal_does_not_wait_for_an_encoder_that_hangs(tmp_path, monkeypatch):
    """The encoder stands still, the thread waits for it, the caller for the thread: a second Ctrl-C ends all three."""
    full, goes_on = threading.Event(), threading.Event()
    encode, write, numbers = video.Encoder.encode, video.PartWriter.write, itertools.count()

    def hanging(self, pixels):
        if not goes_on.wait(60):
            goes_on.set()
        return encode(self, pixels)

    def watched(self, frames) -> None:
        if next(numbers) == 1 + video.QUEUED_WRITES:  # one is being encoded, and no more may wait
            full.set()
        write(self, frames)

    def press_twice() -> None:
        full.wait(60)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # two that come at once are heard as one

    monkeypatch.setattr(video.Encoder, "encode", hanging)
    monkeypatch.setattr(video.PartWriter, "write", watched)
    monkeypatch.setattr(video, "PATIENCE_SECONDS", 0.2)
    threading.Thread(target=press_twice, daemon=True).start()
    with StopRequests() as stop, pytest.raises(Interrupted, match="at once"):
        make(tmp_path, LARGE, stop=stop, overlap=True)
    assert full.is_set() and not goes_on.is_set(), "it waited until the encoder went on by itself"
    goes_on.set()
    assert soon(no_thread_is_left)


@pytest.mark.parametrize("overlap", [False, True])
def test_the_encoder_failing_is_the_same_sentence(tmp_path, overlap, monkeypatch):
    fail_at_frame(monkeypatch, 60)
    one_segment = story("a fox", seconds=9)  # whose encoder lives as long as the film
    with pytest.raises(MemflowError, match="encoder failed") as failed:
        make(tmp_path, one_segment, overlap=overlap)
    assert "same command goes on" in str(failed.value.hint) and no_thread_is_left()
    monkeypatch.undo()
    film = make(tmp_path, one_segment, overlap=overlap).path.read_bytes()
    assert make(tmp_path, one_segment, name="whole.mp4", overlap=False).path.read_bytes() == film


@pytest.mark.parametrize("overlap", [False, True])
def test_running_out_of_memory_while_decoding_is_the_same_sentence(tmp_path, overlap, monkeypatch):
    from memflow_cli.models.theatre.autoencoder import PatchAutoencoder

    calls: list[int] = []
    decode = PatchAutoencoder.decode_linear

    def exhausted(self, latents):
        calls.append(0)
        if len(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return decode(self, latents)

    monkeypatch.setattr(PatchAutoencoder, "decode_linear", exhausted)
    with pytest.raises(
        OutOfMemoryError, match="out of memory at 64x32, while decoding frames, which asked for 20.00 MiB"
    ):
        make(tmp_path, STORY, overlap=overlap)
    monkeypatch.undo()
    assert no_thread_is_left()
    assert make(tmp_path, STORY, overlap=overlap).new_frames < 12 * 12  # what was finished was kept


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith(("overlap", "encoder"))]


def soon(is_so) -> bool:
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()
