"""What lies in the MP4 beside the pictures, read back by another program's library: chapters, subtitles, sound."""

import os
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from memflow_cli.errors import UsageError
from memflow_cli.film.ours import OurFolder
from memflow_cli.film.passages import Passage, chapters, first_words, subtitles
from memflow_cli.film.placing import brought_subtitles, finish_placing
from memflow_cli.film.sound import check_sound
from memflow_cli.film.stitching import srt, stitch
from memflow_cli.film.video_reader import probe
from memflow_cli.story.plan import plan_film
from mp4 import number_of, write_part, write_tone
from tiny_model import make, story, tiny_entry

CHAPTERS = [Passage("Dawn", 0, 9), Passage("Ein Fuchs — 日本\n狐", 9, 24), Passage("= ; # \\ x\x1b[31m", 33, 12)]
CAPTIONS = [Passage("A fox.", 9, 24), Passage("It is gone —\n\nfor <i>good</i>, {\\an8}", 33, 12)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    return [write_part(folder / f"{start}.mp4", start, length) for start, length in ((0, 9), (9, 24), (33, 12))]


def test_every_segment_is_a_chapter_with_its_title(parts, tmp_path):
    stitch(parts, tmp_path / "film.mp4", 16, 45, {}, CHAPTERS)
    with av.open(str(tmp_path / "film.mp4")) as film:
        found = film.chapters()
        assert [float(chapter["start"] * chapter["time_base"]) for chapter in found] == [0, 0.562, 2.062]
        assert [float(chapter["end"] * chapter["time_base"]) for chapter in found] == [0.562, 2.062, 2.812]
        titles = [chapter["metadata"]["title"] for chapter in found]
        assert titles == ["Dawn", "Ein Fuchs — 日本 狐", "= ; # \\ x[31m"]
        assert [number_of(frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)] == list(range(45))


def test_captions_are_a_subtitle_track(parts, tmp_path):
    stitch(parts, tmp_path / "film.mp4", 16, 45, {}, CHAPTERS, CAPTIONS)
    with av.open(str(tmp_path / "film.mp4")) as film:
        [track] = film.streams.subtitles
        assert track.codec_context.name == "mov_text"
        texts = [
            (packet.pts, packet.duration, bytes(packet)[2:].decode()) for packet in film.demux(track) if packet.size
        ]
    assert [(start, text) for start, _, text in texts if text] == [(562, CAPTIONS[0].text), (2062, CAPTIONS[1].text)]
    assert sum(duration for _, duration, _ in texts) == 2812  # the stretches between are there, and empty
    assert probe(tmp_path / "film.mp4").num_frames == 45


def test_captions_lie_beside_the_film_too(tmp_path):
    (tmp_path / "film.srt").write_bytes(srt([*CAPTIONS, Passage("late", 16 * 3661, 16)], 16))
    assert (tmp_path / "film.srt").read_text() == (
        "1\n00:00:00,562 --> 00:00:02,062\nA fox.\n\n"
        "2\n00:00:02,062 --> 00:00:02,812\nIt is gone —\nfor <i>good</i>, {\\an8}\n\n"
        "3\n01:01:01,000 --> 01:01:02,000\nlate\n"
    )
    with av.open(str(tmp_path / "film.srt")) as file:
        assert len([packet for packet in file.demux() if packet.size]) == 3


def sound_of(film: Path) -> tuple[np.ndarray, int]:
    with av.open(str(film)) as container:
        [stream] = container.streams.audio
        assert stream.codec_context.name == "aac"
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        return np.concatenate(frames, axis=1), stream.codec_context.sample_rate


@pytest.mark.parametrize("seconds", [0.4, 2.8125, 30])
def test_sound_is_as_long_as_the_film(parts, tmp_path, seconds):
    """Cut where it is longer, silent after its end where it is shorter."""
    tone = write_tone(tmp_path / "tone.wav", seconds)
    stitch(parts, tmp_path / "film.mp4", 16, 45, {}, CHAPTERS, CAPTIONS, tone)
    samples, rate = sound_of(tmp_path / "film.mp4")
    assert abs(samples.shape[1] / rate - 45 / 16) <= 1024 / rate
    loud = np.abs(samples[0]).reshape(-1)[: int(min(seconds, 2.8) * rate)]
    assert loud[rate // 10 :].max() > 0.3
    if seconds < 2:
        assert np.abs(samples[:, int((seconds + 0.1) * rate) :]).max() < 0.01
    assert probe(tmp_path / "film.mp4").num_frames == 45


def test_all_tracks_together_give_the_same_bytes_every_time(parts, tmp_path):
    tone = write_tone(tmp_path / "tone.wav", 5)
    for name in ("a.mp4", "b.mp4"):
        stitch(parts, tmp_path / name, 16, 45, {"title": "x"}, CHAPTERS, CAPTIONS, tone)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("kind", ["missing", "text", "playlist", "folder", "pipe", "picture only", "torn"])
def test_a_sound_that_cannot_be_read_is_a_sentence(parts, tmp_path, kind):
    """A pipe would be waited for, and a playlist would open files that it names."""
    path = tmp_path / "music.wav"
    tone = write_tone(tmp_path / "tone.wav", 1)
    if kind == "text":
        path.write_text("not a sound")
    elif kind == "playlist":
        path.write_text(f"#EXTM3U\n#EXTINF:1,\n{tone}\n#EXT-X-ENDLIST\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "picture only":
        path.write_bytes(parts[0].read_bytes())
    elif kind == "torn":
        path.write_bytes(tone.read_bytes()[:20])
    with pytest.raises(UsageError, match=r"music\.wav"):
        check_sound(path)
    with pytest.raises(UsageError, match=r"music\.wav"):
        stitch(parts, tmp_path / "film.mp4", 16, 45, {}, sound=path)
    assert not (tmp_path / "film.mp4").exists()


def test_chapters_and_captions_follow_the_plan():
    storyboard = story("a red fox walks in from the left, slowly, and looks at the moon", "a bear", seconds=2.25)
    plan = plan_film(storyboard, tiny_entry().geometry, (64, 32))
    found = chapters(plan, [None, "The bear"])
    assert [passage.text for passage in found] == ["a red fox walks in from the left…", "The bear"]
    assert [passage.start_frame for passage in found] == [0, plan.segments[1].start_frame]
    assert found[-1].end_frame == plan.num_frames
    assert subtitles(plan, [None, "Growl."]) == [Passage("Growl.", found[1].start_frame, found[1].num_frames)]


def test_a_title_of_one_long_word_is_cut():
    assert first_words("x" * 50) == "x" * 39 + "…" and first_words("one two") == "one two"


def test_a_storyboard_brings_titles_captions_and_sound(tmp_path):
    tone = write_tone(tmp_path / "tone.wav", 1)
    plain = story("a fox", "a wood", seconds=2.25)
    first, second = plain.segments
    segments = (replace(first, title="Dawn", caption="A fox."), second)
    made = make(tmp_path, replace(plain, segments=segments, captions=True, sound=str(tone)))
    with av.open(str(made.path)) as film:
        assert [chapter["metadata"]["title"] for chapter in film.chapters()] == ["Dawn", "a wood"]
        assert len(film.streams.subtitles) == len(film.streams.audio) == 1
    text = made.path.with_suffix(".srt").read_text()
    assert "A fox." in text and "a wood" in text and made.plan.num_frames == probe(made.path).num_frames
    only = replace(plain, segments=(replace(first, caption="Only here."), second))
    make(tmp_path, only)  # of a film that brought one along, the subtitles are renewed
    assert "a wood" not in made.path.with_suffix(".srt").read_text()
    make(tmp_path, plain)
    assert not made.path.with_suffix(".srt").exists(), "subtitles of the film before lay beside one that has none"


@pytest.mark.parametrize("kind", ["before", "edited", "link", "folder"])
def test_a_users_own_subtitles_stay(tmp_path, kind):
    """Whoever corrected film.srt by hand found it overwritten as soon as the film was made again."""
    captioned = replace(story("a fox", seconds=1.5), captions=True)
    path = tmp_path / "film.srt"
    if kind == "edited":
        make(tmp_path, captioned)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "mine").write_text("mine")
        path.symlink_to("mine")
    else:
        path.write_text("mine")
    make(tmp_path, replace(captioned, seed=8))
    assert path.is_dir() if kind == "folder" else path.read_text() == "mine"


class Killed(BaseException):
    pass


@pytest.mark.parametrize("before", ["captions", "none"])
@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_subtitles_take_their_place_with_the_film(tmp_path, monkeypatch, moves, before):
    """They were written after the film had its place: a kill in between left a film without, for ever."""
    captioned = replace(story("a fox", seconds=1.5), captions=True)
    made = make(tmp_path, replace(captioned, captions=before == "captions", seed=8))
    path, move_out = tmp_path / "film.srt", OurFolder.move_out
    old = path.read_bytes() if before == "captions" else None
    left = [moves]

    def move(self, name, target):
        if not left[0]:
            raise Killed
        left[0] -= 1
        move_out(self, name, target)

    monkeypatch.setattr(OurFolder, "move_out", move)
    with pytest.raises(Killed):
        make(tmp_path, replace(captioned, segments=story("a wood", seconds=1.5).segments))
    monkeypatch.undo()
    assert moves or (path.read_bytes() if path.exists() else None) == old
    assert finish_placing(made.path)
    assert "a wood" in path.read_text() and brought_subtitles(made.path)


def test_a_sound_that_cannot_be_read_is_told_before_anything_is_rendered(tmp_path):
    (tmp_path / "music.wav").write_text("not a sound")
    with pytest.raises(UsageError, match=r"music\.wav"):
        make(tmp_path, replace(story("a fox", seconds=1.5), sound=str(tmp_path / "music.wav")))
    assert [path.name for path in tmp_path.iterdir()] == ["music.wav"]
