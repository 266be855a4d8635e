"""A studio makes many films with one model; a take is a film whose story is told while it is made."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from memflow_cli.errors import UsageError
from memflow_cli.film.events import ChunkDone, FramesShown, StageStarted, Warned
from memflow_cli.film.script import plan_story
from memflow_cli.film.shooting import finished
from memflow_cli.film.trace import read_trace
from memflow_cli.film.video_reader import probe, read_frames
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.story.load import load_storyboard
from memflow_cli.story.writing import storyboard_to_yaml
from memflow_cli.studio.needs import prepare
from memflow_cli.studio.studio import Studio
from tiny_model import story

PROMPTS = ("a red fox in a meadow", "the empty meadow", "the fox again")


@pytest.fixture(scope="module")
def studio(tiny_model_folder):
    return Studio(tiny_model_folder, dtype="fp32")


def pictures(path):
    return np.stack([frame for _, frame in read_frames(path, range(probe(path).num_frames))])


def made(studio, take_storyboard, path):
    """The film that the storyboard of a take makes, by way of its YAML."""
    file = path.with_suffix(".yaml")
    file.write_text(storyboard_to_yaml(take_storyboard))
    return studio.make(load_storyboard(file), path)


def test_one_model_many_films(studio, tmp_path):
    events = []
    first = studio.make(story(*PROMPTS), tmp_path / "a.mp4", events.append)
    second = studio.make(story(*PROMPTS), tmp_path / "b.mp4", events.append)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert sum(event == StageStarted("model") for event in events) <= 1, "loaded once"
    kept = studio.make(story(*PROMPTS), tmp_path / "a.mp4")
    assert kept.new_frames == 0 and kept.plan == first.plan, "the very film that is there stays"
    with pytest.raises(UsageError, match="another film"):
        studio.make(story(*PROMPTS, seed=8), tmp_path / "a.mp4")
    assert studio.make(story(*PROMPTS, seed=8), tmp_path / "a.mp4", overwrite=True).new_frames == 72


def test_a_job_is_all_that_another_process_needs(studio, tmp_path):
    job = prepare(plan_story(story(*PROMPTS), studio.entry), studio.entry, tmp_path / "a.mp4")
    again = pickle.loads(pickle.dumps(job))
    assert again == job
    other = Studio(again.find_entry(), dtype="fp32")
    result = finished(other.shoot(again))
    assert result.path.read_bytes() == studio.make(story(*PROMPTS), tmp_path / "b.mp4").path.read_bytes()


def test_what_was_played_is_a_film_like_any_other(studio, tmp_path):
    shown = []
    with studio.take(tmp_path / "take.mp4", seed=7, size=(32, 32)) as take:
        shown += take.play(PROMPTS[0], seconds=3)
        for number, frames in enumerate(take.play(PROMPTS[1], seconds=6, transition="cut")):
            shown.append(frames)
            if number == 2:
                break
        for frames in take.play(PROMPTS[2]):
            shown.append(frames)
            if take.num_frames >= 12 * 9:
                break
        board = take.storyboard
    assert [segment.prompt for segment in board.segments] == list(PROMPTS)
    assert board.segments[1].transition == "cut" and board.seed == 7
    assert sum(map(len, shown)) == probe(tmp_path / "take.mp4").num_frames == 108
    assert [record.prompt for record in read_trace(tmp_path / "take.memory.jsonl").records()][-1] == PROMPTS[2]
    again = made(studio, board, tmp_path / "again.mp4")
    assert np.array_equal(pictures(again.path), pictures(tmp_path / "take.mp4"))
    assert again.trace_path.read_bytes() == (tmp_path / "take.memory.jsonl").read_bytes()


class Killed(BaseException):
    """Ends a take in the middle."""


@pytest.mark.parametrize("stop_at", [0, 1, 4, 5, 7])
def test_a_take_goes_on_after_whatever_ended_it(studio, tmp_path, stop_at):
    """The same take, interrupted after so many chunks: what was made stays, and the rest is played as if nothing was."""
    out = tmp_path / "take.mp4"
    with pytest.raises(Killed), studio.take(out, seed=7) as take:
        count = 0
        for prompt in PROMPTS:
            if count == stop_at:
                raise Killed
            for event in take.shoot(prompt, seconds=2.25):
                if isinstance(event, ChunkDone):
                    count += 1
                    if count == stop_at:
                        raise Killed
    assert not out.exists()
    with studio.take(out) as take:
        assert take.num_frames == 12 * stop_at, "a chunk that was made is kept"
        for _ in take.play("and a bear", seconds=1.5):
            pass
        board = take.storyboard
    assert board.seed == 7 or stop_at == 0
    assert np.array_equal(pictures(made(studio, board, tmp_path / "again.mp4").path), pictures(out))


def test_undo_goes_back_to_the_start_of_the_last_prompt(studio, tmp_path):
    out = tmp_path / "take.mp4"
    with studio.take(out, seed=7, memory=MemoryOptions(policy="nam", activate=2)) as take:
        list(take.play(PROMPTS[0], seconds=3))
        playing = take.play("a mistake", seconds=3)
        next(playing)
        take.undo()
        assert take.num_frames == 48
        list(take.play(PROMPTS[1], seconds=1.5))
        take.undo()
        list(take.play(PROMPTS[2], seconds=1.5))
        board = take.storyboard
    assert [segment.prompt for segment in board.segments] == [PROMPTS[0], PROMPTS[2]]
    assert np.array_equal(pictures(made(studio, board, tmp_path / "again.mp4").path), pictures(out))


def test_a_take_in_which_nothing_was_played_leaves_nothing(studio, tmp_path):
    with studio.take(tmp_path / "take.mp4") as take:
        assert take.storyboard.segments == ()
    with studio.take(tmp_path / "take.mp4") as take:
        next(take.play(PROMPTS[0], seconds=3))
        take.undo()
    assert list(tmp_path.iterdir()) == []


def test_frames_come_as_they_are_decoded(studio, tmp_path):
    with studio.take(tmp_path / "take.mp4", seed=1) as take:
        events = list(take.shoot(PROMPTS[0], seconds=1.5))
    kinds = [type(event) for event in events if isinstance(event, FramesShown | ChunkDone)]
    assert kinds == [FramesShown, ChunkDone] * 2
    assert not any(isinstance(event, Warned) for event in events)


def test_a_take_does_not_replace_a_film(studio, tmp_path):
    (tmp_path / "take.mp4").write_bytes(b"somebody's film")
    with pytest.raises(UsageError, match="exists"):
        studio.take(tmp_path / "take.mp4")


def test_a_studios_model_makes_whatever_storyboard_it_is_given(studio, tmp_path):
    result = studio.make(replace(story(*PROMPTS), model="longlive-1.3b"), tmp_path / "a.mp4")
    assert read_trace(result.trace_path).header.model == studio.entry.name
