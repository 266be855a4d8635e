"""Films open in another decoder (PyAV) with the codec, frame count and duration they should have; frames are found by number."""

import io
import os
import threading
import time
from fractions import Fraction
from itertools import count

import av
import av.bitstream
import numpy as np
import pytest

from memflow_cli.errors import MemflowError
from memflow_cli.film import video
from memflow_cli.film.stitching import stitch
from memflow_cli.film.video import Encoder, PartWriter, exact_fps
from memflow_cli.film.video_reader import probe, read_frames
from mp4 import HEIGHT, WIDTH, boxes, number_of, numbered_frames, read_frame, write_film


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


def test_the_same_frames_are_the_same_bytes_a_hundred_times(tmp_path):
    """One resumed film of thirty differed in some twenty bytes: the encoder's macroblock tree, a look ahead at what later frames
    make of each block, gave other numbers from one call to the next on a CPU with AVX-512, and others again on one without.
    """
    for seed in range(4):
        steps = np.random.default_rng(seed).integers(-9, 10, (36, 4, 6, 3)).cumsum(0)
        frames = (128 + steps).clip(0, 255).astype(np.uint8).repeat(8, 1).repeat(8, 2)
        films = {_encoded(frames) for _ in range(25)}
        films |= {_encoded(frames, {"x264-params": f"asm={kind}"}) for kind in ("sse4", "avx2")}
        assert len(films) == 1


def _encoded(frames, options=None):
    class Container:
        def add_stream(self, codec, rate, **more):
            more["options"] = more["options"] | (options or {})
            return container.add_stream(codec, rate, **more)

    container = av.open(io.BytesIO(), "w", format="mp4")
    encoder = Encoder(Container(), frames.shape[2], frames.shape[1], Fraction(16))
    content = b"".join(bytes(packet) for pixels in frames for packet in encoder.encode(pixels))
    return content + b"".join(bytes(packet) for packet in encoder.flush())


def test_the_number_of_cores_does_not_change_the_bytes(tmp_path):
    """The conversion to YUV and the encoder use one thread each, whatever the machine offers."""
    cores = os.sched_getaffinity(0)
    films = []
    for allowed in ({min(cores)}, cores):
        folder = tmp_path / str(len(allowed))
        folder.mkdir(exist_ok=True)
        os.sched_setaffinity(0, allowed)
        try:
            films.append(write_film(folder).read_bytes())
        finally:
            os.sched_setaffinity(0, cores)
    assert films[0] == films[1]


@pytest.mark.parametrize("fps", [16, 24, 23.976])
def test_any_frame_is_found_by_its_number(tmp_path, fps):
    """The first frame, both sides of every border between parts, around keyframes, and the last."""
    film = write_film(tmp_path, lengths=(9, 60, 120), fps=fps)
    for index in (0, 9, 33, 188):
        assert number_of(read_frame(film, index)) == index
    many = [188, 0, 1, 8, 9, 10, 31, 32, 33, 33, 68, 69, 70, 187]
    assert {index: number_of(frame) for index, frame in read_frames(film, many)} == {index: index for index in many}


@pytest.mark.parametrize("step", [1, 9, 40, 150])
def test_frames_far_apart_are_found(tmp_path, step):
    film = write_film(tmp_path, lengths=(400,))
    assert [(index, number_of(frame)) for index, frame in read_frames(film, range(0, 400, step))] == [
        (index, index) for index in range(0, 400, step)
    ]


COLOURS = [
    (200, 60, 40),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (9, 200, 240),
]


@pytest.mark.parametrize("colour", COLOURS)
def test_frames_keep_their_colours(tmp_path, colour):
    """Converted with the matrix that the tags name: with another one, a pure red would be off by 20 levels."""
    colours = np.full((8, HEIGHT, WIDTH, 3), colour, np.uint8)
    with PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(colours)
    assert np.abs(read_frame(tmp_path / "a.mp4", 3).astype(int) - colour).max() <= 3


def test_white_and_black_are_those_of_limited_range(tmp_path):
    frames = np.zeros((8, HEIGHT, WIDTH, 3), np.uint8)
    frames[:, :, WIDTH // 2 :] = 255
    with PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:HEIGHT]
    assert abs(int(luma[5, 5]) - 16) <= 1 and abs(int(luma[5, -5]) - 235) <= 1


def test_colours_are_tagged_in_stream_and_container(tmp_path):
    """Primaries and transfer were missing with newer encoders, the container said nothing: editors guessed wrong."""
    film = write_film(tmp_path)
    with av.open(str(film)) as container:
        context = container.streams.video[0].codec_context
        frame = next(container.decode(video=0))
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    [description] = boxes(film.read_bytes(), "moov/trak/mdia/minf/stbl/stsd")
    [entry] = boxes(description[8:], "avc1")
    assert boxes(entry[78:], "colr") == [b"nclx\0\1\0\1\0\1\0"]  # bt709 three times, limited range
    raw = av.CodecContext.create("h264", "r")  # what the stream itself says, without the container
    with av.open(str(film)) as container:
        annex_b = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
        packets = [bytes(packet) for original in container.demux(video=0) for packet in annex_b.filter(original)]
    frame = next(frame for packet in packets for frame in raw.decode(av.Packet(packet)))
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)


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


@pytest.fixture
def failing_encoder(monkeypatch):
    """An encoder that fails at its sixth frame, as one does that finds no memory."""
    encode, numbers = Encoder.encode, count()

    def failing(self, pixels):
        if next(numbers) == 5:
            raise av.error.ExternalError(-542398533, "Generic error in an external library")
        return encode(self, pixels)

    monkeypatch.setattr(Encoder, "encode", failing)


def test_an_encoder_that_fails_is_a_sentence_and_leaves_nothing(tmp_path, failing_encoder):
    part = PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16)
    with pytest.raises(MemflowError, match="encoder failed on .*: Generic error in an external library"):
        for _ in range(100):
            part.write(numbered_frames(range(64)))
    with pytest.raises(MemflowError, match="encoder failed on"):
        part.close()
    part.abort()
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_stands_still_is_a_sentence(tmp_path, monkeypatch):
    """A disk that does not answer: nobody waits for ever, neither who writes nor who gives up."""
    goes_on = threading.Event()
    monkeypatch.setattr(Encoder, "encode", lambda self, pixels: goes_on.wait(60) and [])
    monkeypatch.setattr(video, "STALLED_SECONDS", 2)
    monkeypatch.setattr(video, "PATIENCE_SECONDS", 0.2)
    before = {*threading.enumerate()}
    part = PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16)
    with pytest.raises(MemflowError, match="nothing could be written for 2 seconds"):
        for _ in range(10):
            part.write(numbered_frames(range(4)))
    [encoding] = {*threading.enumerate()} - before
    began = time.monotonic()
    part.abort()
    assert time.monotonic() - began < 2
    goes_on.set()
    encoding.join(10)


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


def test_a_process_that_still_writes_does_not_spoil_the_film(tmp_path):
    """One that was stopped while it stitched, and goes on, still has the unfinished file open."""
    with PartWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, 16) as part:
        part.write(numbered_frames(range(8)))
    with (tmp_path / "film.mp4.unfinished").open("wb") as other:
        stitch([tmp_path / "a.mp4"], tmp_path / "film.mp4", 16, 8, {})
        other.write(bytes(1000))
    assert number_of(read_frame(tmp_path / "film.mp4", 5)) == 5


def test_parts_that_were_encoded_otherwise_are_not_joined(tmp_path):
    for name, width in (("a", WIDTH), ("b", 2 * WIDTH)):
        with PartWriter(tmp_path / f"{name}.mp4", width, HEIGHT, 16) as part:
            part.write(np.zeros((4, HEIGHT, width, 3), np.uint8))
    with pytest.raises(MemflowError, match="b.mp4 was encoded in another way"):
        stitch([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "film.mp4", 16, 8, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_no_command_of_the_machine_is_needed(tmp_path, monkeypatch):
    """A film needs no ffmpeg: an old one on the path, or one that IMAGEIO_FFMPEG_EXE names, changes nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "missing"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    assert number_of(read_frame(write_film(tmp_path), 20)) == 20


def test_what_is_not_a_video_is_a_sentence(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"not a film")
    with pytest.raises(MemflowError, match="cannot be read as a video"):
        probe(tmp_path / "film.mp4")
    with pytest.raises(MemflowError, match="cannot be read as a video"):
        probe(tmp_path / "none.mp4")


def test_a_list_of_other_files_is_not_read_as_a_video(tmp_path):
    """What calls itself film.mp4 may be a playlist: its files are none of ours."""
    film = write_film(tmp_path)
    for text in (f"ffconcat version 1.0\nfile {film}\n", f"#EXTM3U\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n"):
        (tmp_path / "list.mp4").write_text(text)
        with pytest.raises(MemflowError, match="cannot be read as a video"):
            probe(tmp_path / "list.mp4")
