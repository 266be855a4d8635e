"""Films open in another decoder (PyAV) with the codec, frame count and duration they should have; frames are found by number."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from memflow_cli.errors import MemflowError
from memflow_cli.film import video
from memflow_cli.film.video import PartWriter, exact_fps, probe, read_frame, read_frames, stitch

WIDTH, HEIGHT = 96, 64
BITS = 12


def numbered_frames(numbers) -> np.ndarray:
    """Frames that show their own number as 12 black or white squares, which survives any encoding. [F, 64, 96, 3] uint8."""
    numbers = np.asarray(list(numbers))
    bits = (numbers[:, None] >> np.arange(BITS)) & 1
    cells = bits.reshape(-1, 2, 6).repeat(32, axis=1).repeat(16, axis=2)
    return np.where(cells[..., None], 235, 20).astype(np.uint8).repeat(3, axis=3)


def number_of(frame: np.ndarray) -> int:
    cells = frame.mean(axis=2).reshape(2, 32, 6, 16).mean(axis=(1, 3)).reshape(-1) > 128
    return int((cells << np.arange(BITS)).sum())


def write_film(folder: Path, lengths=(9, 24, 12), fps: float = 16, name: str = "film.mp4", **metadata: str) -> Path:
    parts, start = [], 0
    for index, length in enumerate(lengths):
        parts.append(folder / f"segment-{index + 1:04d}.mp4")
        with PartWriter(parts[-1], WIDTH, HEIGHT, fps) as part:
            for first in range(start, start + length, 5):
                part.write(numbered_frames(range(first, min(first + 5, start + length))))
        start += length
    stitch(parts, folder / name, fps, start, metadata)
    return folder / name


@pytest.mark.parametrize("fps", [16, 24, 23.976, 29.97, 12.5, 7.3, 60])
def test_another_decoder_sees_every_frame_at_its_exact_time(tmp_path, fps):
    film = write_film(tmp_path, fps=fps)
    rate = exact_fps(fps)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height, stream.frames) == (WIDTH, HEIGHT, 45)
        assert stream.average_rate == rate
        assert stream.duration * stream.time_base == 45 / rate
        frames = list(container.decode(stream))
    assert [frame.pts * stream.time_base for frame in frames] == [index / rate for index in range(45)]
    assert [number_of(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(45))
    info = probe(film)
    assert (info.codec, info.num_frames) == ("h264", 45) and info.fps == pytest.approx(float(rate))


def test_broadcast_rates_are_exact():
    assert exact_fps(23.976) == exact_fps(24000 / 1001) == Fraction(24000, 1001)
    assert exact_fps(24) == 24 and exact_fps(12.5) == Fraction(25, 2)


def test_index_comes_before_the_pictures(tmp_path):
    content = write_film(tmp_path).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_same_frames_give_the_same_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert write_film(tmp_path / "a", title="x").read_bytes() == write_film(tmp_path / "b", title="x").read_bytes()


@pytest.mark.parametrize("fps", [16, 24, 23.976])
def test_any_frame_is_found_by_its_number(tmp_path, fps):
    """The first frame, both sides of every border between parts, around keyframes, and the last."""
    film = write_film(tmp_path, lengths=(9, 60, 120), fps=fps)
    for index in (0, 1, 8, 9, 10, 31, 32, 33, 68, 69, 70, 187, 188):
        assert number_of(read_frame(film, index)) == index
    many = dict(read_frames(film, [188, 0, 47, 48, 48, 9]))
    assert {index: number_of(frame) for index, frame in many.items()} == {index: index for index in (0, 9, 47, 48, 188)}


def test_frames_far_apart_are_read_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("memflow_cli.film.video.READ_GROUP", 7)
    film = write_film(tmp_path, lengths=(400,))
    assert [(index, number_of(frame)) for index, frame in read_frames(film, range(0, 400, 9))] == [
        (index, index) for index in range(0, 400, 9)
    ]


def test_frames_keep_their_colours(tmp_path):
    colours = np.zeros((8, HEIGHT, WIDTH, 3), np.uint8)
    colours[:] = (200, 60, 40)
    with PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(colours)
    assert np.abs(read_frame(tmp_path / "a.mp4", 3).astype(int) - (200, 60, 40)).max() <= 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == 1  # bt709


def test_a_frame_that_is_not_there_is_a_sentence(tmp_path):
    film = write_film(tmp_path)
    with pytest.raises(MemflowError, match="has 45 frames; there is no frame 45"):
        read_frame(film, 45)


@pytest.mark.parametrize(
    "folder", ["with space", 'it\'s "quoted"', "ünï—日本", "%d 100%", "-dash", "a:b", "new\nline", "#1?x=2&y"]
)
def test_odd_paths(tmp_path, folder):
    (tmp_path / folder).mkdir()
    film = write_film(tmp_path / folder, name=f"{folder}.mp4")
    assert number_of(read_frame(film, 20)) == 20
    assert sorted(path.name for path in film.parent.iterdir()) == sorted(
        [f"{folder}.mp4", "segment-0001.mp4", "segment-0002.mp4", "segment-0003.mp4"]
    )


def test_metadata_is_kept_as_it_was_written(tmp_path):
    title = "It's = a; #test \\ of\nlines “and” \U0001f98a"
    film = write_film(tmp_path, title=title, comment='{"seed": 7}', description="x" * 300_000 + "\0\x07")
    with av.open(str(film)) as container:
        assert container.metadata["title"] == title
        assert container.metadata["comment"] == '{"seed": 7}'
        assert container.metadata["description"] == "x" * 300_000


def test_an_encoder_that_dies_is_a_sentence_and_leaves_nothing(tmp_path):
    part = PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16)
    part.write(numbered_frames(range(8)))
    part._process.kill()
    with pytest.raises(MemflowError, match="encoder .ffmpeg. failed on"):
        for _ in range(100):
            part.write(numbered_frames(range(64)))
    with pytest.raises(MemflowError, match="encoder .ffmpeg. failed on"):
        part.close()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_part_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(numbered_frames(range(8)))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    part = PartWriter(tmp_path / "missing" / "a.mp4", WIDTH, HEIGHT, 16)
    with pytest.raises(MemflowError, match="No such file or directory"):
        part.write(numbered_frames(range(8)))
        part.close()


def test_parts_that_lack_frames_are_not_joined(tmp_path):
    with PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(numbered_frames(range(8)))
    with pytest.raises(MemflowError, match="hold 8 frames, but the film has 9"):
        stitch([tmp_path / "a.mp4"], tmp_path / "film.mp4", 16, 9, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_orphaned_ffmpeg_does_not_write_into_the_film(tmp_path):
    """One whose memflow was killed while it stitched still has the unfinished file open."""
    with PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(numbered_frames(range(8)))
    with (tmp_path / "film.mp4.unfinished").open("wb") as orphan:
        stitch([tmp_path / "a.mp4"], tmp_path / "film.mp4", 16, 8, {})
        orphan.write(bytes(1000))
    assert number_of(read_frame(tmp_path / "film.mp4", 5)) == 5


@pytest.mark.parametrize("there", [False, True])
def test_an_ffmpeg_that_cannot_be_run_is_a_sentence(tmp_path, monkeypatch, there):
    command = tmp_path / "ffmpeg"
    if there:
        command.write_text("not executable")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(command))
    video._ffmpeg.cache_clear()
    try:
        with pytest.raises(MemflowError, match=f"cannot run the ffmpeg {command}") as refused:
            PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16)
    finally:
        video._ffmpeg.cache_clear()
    assert "IMAGEIO_FFMPEG_EXE" in str(refused.value.hint)


def test_what_is_no_video_is_a_sentence(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"not a film")
    with pytest.raises(MemflowError, match="cannot be read as a video"):
        probe(tmp_path / "film.mp4")
    with pytest.raises(MemflowError, match="cannot be read as a video"):
        probe(tmp_path / "none.mp4")
