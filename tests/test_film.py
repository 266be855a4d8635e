"""A storyboard becomes a film: exact, repeatable, with its record and its trace beside it, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from memflow_cli.cli.progress import PlainProgress
from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.events import ChunkDone, FilmDone, FilmStarted, FramesShown, SegmentDone
from memflow_cli.film.recipe import recorded_seed
from memflow_cli.film.shooting import make_film
from memflow_cli.film.trace import read_trace
from memflow_cli.film.video_reader import probe, read_frames
from memflow_cli.story.storyboard import Storyboard
from memflow_cli.story.texts import clock
from tiny_model import make, recipe_of, story, tiny_backbone, tiny_entry, watch_frames


def decoded(path: Path) -> np.ndarray:
    return np.stack([frame for _, frame in read_frames(path, range(probe(path).num_frames))])


@pytest.mark.parametrize("kind, fps, num_frames", [("theatre", 16, 72), ("wan", 16, 69), ("theatre", 24, 108)])
def test_a_film_has_the_planned_frames_and_its_companions(tmp_path, kind, fps, num_frames):
    result = make(tmp_path, story(fps=fps), kind)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.json", "film.memory.jsonl", "film.mp4"]
    with av.open(str(result.path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (64, 32, num_frames, fps)
        assert sum(1 for _ in container.decode(stream)) == num_frames == result.plan.num_frames
        assert container.metadata["title"] == "Fox"
        assert json.loads(container.metadata["comment"])["seed"] == 7
        assert "the empty meadow" in container.metadata["description"]


@pytest.mark.parametrize("kind", ["theatre", "wan"])
def test_same_storyboard_and_seed_give_the_same_bytes(tmp_path, kind):
    """Twice in one process, with other torch work in between; film and trace."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = make(tmp_path / "a", kind=kind)
    torch.randn(5)
    second = make(tmp_path / "b", kind=kind)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.trace_path.read_bytes() == second.trace_path.read_bytes()
    other = make(tmp_path / "b", story(seed=8), kind=kind)
    assert other.path.read_bytes() != first.path.read_bytes()


def test_the_record_makes_the_film_again(tmp_path):
    first = make(tmp_path, story(seed=None))
    record = json.loads(first.record_path.read_text())
    storyboard = Storyboard.from_json(record["storyboard"])
    assert (storyboard.width, storyboard.height, storyboard.model, storyboard.memory.policy) == (
        64,
        32,
        "tiny-theatre",
        "nam",
    )
    assert make(tmp_path, storyboard, name="again.mp4").path.read_bytes() == first.path.read_bytes()
    assert {"denoise", "commit", "retrieve", "decode", "encode", "stitch"} <= set(record["timings"])
    assert record["num_bytes"] == first.path.stat().st_size and recorded_seed(first.path) == 0


def test_the_record_names_the_preview_decoder(tmp_path):
    (tmp_path / "tiny.pth").write_bytes(b"weights")
    record = json.loads(make(tmp_path, preview_decoder=tmp_path / "tiny.pth").record_path.read_text())
    assert record["model"]["preview_decoder"] == str(tmp_path / "tiny.pth")
    assert record["model"]["path"] is None and record["model"]["loras"] == []


def test_the_trace_tells_what_was_recalled(tmp_path):
    result = make(tmp_path, story(seconds=3))
    trace = read_trace(result.trace_path)
    records = list(trace.records())
    assert trace.header.plan == result.plan and trace.header.policy == "nam"
    assert [record.chunk for record in records] == list(range(result.plan.num_chunks))
    assert records[-1].prompt == "the fox again" and len(records[-1].bank) == 3
    for record in records:
        recalled = [item.frame for item in record.bank]
        assert not set(recalled) & {*record.sink, *record.window} and len(set(recalled)) == len(recalled)
        assert record.end_seconds - record.start_seconds == pytest.approx(0.75)


def test_progress_is_told_in_order(tmp_path):
    events: list[object] = []
    make(tmp_path, events=events.append)
    assert isinstance(events[0], FilmStarted) and isinstance(events[-1], FilmDone)
    assert [event.chunk for event in events if isinstance(event, ChunkDone)] == list(range(6))
    assert [event.segment.index for event in events if isinstance(event, SegmentDone)] == [0, 1, 2]
    assert set(next(event for event in events if isinstance(event, ChunkDone)).seconds) >= {
        "denoise",
        "decode",
        "encode",
    }


def test_parts_appear_while_the_film_is_made(tmp_path):
    seen: list[list[str]] = []

    def look(event: object) -> None:
        if isinstance(event, SegmentDone):
            seen.append(sorted(path.name for path in event.path.parent.glob("segment-*.mp4")))
            assert probe(event.path).num_frames == event.segment.num_frames

    make(tmp_path, events=look)
    assert seen == [[f"segment-{number:05d}.mp4" for number in range(1, last + 1)] for last in (1, 2, 3)]


def test_pictures_survive_encoding(tmp_path):
    """The film's frames are those the decoder made, within what H.264 loses."""
    entry = tiny_entry()
    backbone = tiny_backbone(entry)
    shown = watch_frames(backbone)
    result = make_film(story(), entry, backbone, tmp_path / "film.mp4")
    difference = np.abs(decoded(result.path).astype(float) - torch.cat(shown).numpy() * 255)
    assert difference.mean() < 5  # saturated colours that change four times a second: hard for an encoder


def test_no_picture_in_the_latents_is_a_sentence_that_names_the_chunk(tmp_path):
    entry = tiny_entry()
    backbone = tiny_backbone(entry)
    predict, calls = backbone.predict, []

    def failing(latents, timestep, prompt, context):
        calls.extend([timestep] if timestep else [])  # the clean pass may be made by another method
        return predict(latents, timestep, prompt, context) * (float("nan") if timestep and len(calls) == 5 else 1)

    backbone.predict = failing
    with pytest.raises(MemflowError, match=r"chunk 3 \(1.50 s\) came out as no picture: NaN or Inf"):
        make_film(story(), entry, backbone, tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists() and (tmp_path / "film.mp4.run" / "run.json").exists()


def test_a_film_that_never_began_leaves_nothing(tmp_path):
    entry = tiny_entry()
    backbone = tiny_backbone(entry)
    backbone.encode_prompts = lambda prompts: (_ for _ in ()).throw(MemflowError("no text encoder"))
    with pytest.raises(MemflowError, match="no text encoder"):
        make_film(story(), entry, backbone, tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_record_is_not_overwritten(tmp_path):
    """A storyboard may be JSON, story.json, and its film story.mp4: the record beside it would take its place."""
    (tmp_path / "film.json").write_text('{"segments": [{"prompt": "a fox", "duration": 3}]}')
    with pytest.raises(UsageError, match=r"film.json is not a film's record"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["film.json"]


def test_segments_that_repeat_are_encoded_once_and_alone(tmp_path):
    entry = tiny_entry()
    backbone = tiny_backbone(entry)
    encode, asked = backbone.encode_prompts, []
    backbone.encode_prompts = lambda prompts: asked.append(list(prompts)) or encode(prompts)
    make_film(story("a fox", "a wood", "a fox"), entry, backbone, tmp_path / "film.mp4")
    assert asked == [["a fox"], ["a wood"]]


def test_recipes_see_every_change_that_matters():
    entry = tiny_entry()
    base = replace(story(), width=64, height=32)
    recipe = recipe_of(base, entry)
    for change in ({"fps": 24}, {"seed": 8}, {"width": 128}):
        assert recipe.differences(recipe_of(replace(base, **change), entry))
    assert not recipe.differences(recipe_of(replace(base, title="Other"), entry))
    changed = replace(base, segments=(*base.segments[:2], replace(base.segments[2], prompt="a wolf")))
    assert recipe.unchanged_segments(recipe_of(changed, entry)) == 2


def test_things_are_told_as_they_happen(tmp_path, capfd):
    """A segment was told of before its last chunk, so that "recalled ..." showed the bank of the segment before, and in a
    batch another film's.
    """
    events: list[object] = []
    result = make(tmp_path, story(seconds=3), events=events.append)
    banks = {record.chunk: record.bank for record in read_trace(result.trace_path).records()}
    for index, event in enumerate(events):
        if isinstance(event, SegmentDone):
            before = [other for other in events[:index] if isinstance(other, ChunkDone)]
            assert before[-1].chunk == event.segment.end_chunk - 1
    shown = [event for event in events if isinstance(event, FramesShown)]
    assert [event.first_frame for event in shown] == list(range(0, result.plan.num_frames, 12))
    assert all(event.frames.shape == (12, 32, 64, 3) and event.frames.dtype == np.uint8 for event in shown)

    progress = PlainProgress()
    for event in (*events, *events):  # two films of a batch
        progress(event)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("segment ")]
    for segment, line in zip(result.plan.segments * 2, lines, strict=True):
        recalled = {item.frame for chunk in range(segment.start_chunk, segment.end_chunk) for item in banks[chunk]}
        times = {clock(result.plan.latent_frame_seconds(frame)) for frame in recalled}
        told = line.partition("recalled ")[2].split("  ")[0].split()
        assert set(told) <= times and len(told) == min(6, len(times))
