"""A film in fragments: what a browser plays while it is made is read by any decoder, frame by frame."""

import io

import av
import numpy as np
import pytest

from memflow_cli.film.fragments import FragmentWriter, top_boxes
from memflow_cli.film.stitching import stitch
from memflow_cli.film.video import exact_fps
from memflow_cli.film.video_reader import probe
from mp4 import HEIGHT, WIDTH, boxes, number_of, numbered_frames

LENGTHS = (9, 12, 12, 12, 1, 12, 12)  # of chunks; a keyframe comes in the middle of one


def fragments(fps: float = 16) -> tuple[bytes, list[bytes]]:
    writer = FragmentWriter(WIDTH, HEIGHT, fps)
    starts = np.cumsum((0, *LENGTHS))
    made = [writer.write(numbered_frames(range(start, start + length))) for start, length in zip(starts, LENGTHS)]
    writer.close()
    return writer.init_segment(), made


def decoded(content: bytes) -> list[tuple[float, np.ndarray]]:
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        return [(float(frame.pts * stream.time_base), frame.to_ndarray()) for frame in container.decode(stream)]


@pytest.mark.parametrize("fps", [16, 24, 23.976])
def test_every_chunk_is_one_fragment_at_its_time(fps):
    """One moof and one mdat, numbered, begun where the fragment before ended; none waits for the next chunk."""
    init, made = fragments(fps)
    assert [name for name, _ in top_boxes(init)] == [b"ftyp", b"moov"]
    [timescale] = [int.from_bytes(box[12:16], "big") for box in boxes(init, "moov/trak/mdia/mdhd")]
    starts = np.cumsum((0, *LENGTHS))
    for number, (fragment, start, length) in enumerate(zip(made, starts, LENGTHS), start=1):
        assert [name for name, _ in top_boxes(fragment)] == [b"moof", b"mdat"]
        assert boxes(fragment, "moof/mfhd") == [bytes(4) + number.to_bytes(4, "big")]
        [begins] = [int.from_bytes(box[4:], "big") for box in boxes(fragment, "moof/traf/tfdt")]
        assert begins == start * timescale / exact_fps(fps)
        assert [int.from_bytes(box[4:8], "big") for box in boxes(fragment, "moof/traf/trun")] == [length]


@pytest.mark.parametrize("fps", [16, 23.976])
def test_a_decoder_sees_every_frame_at_its_time(fps):
    init, made = fragments(fps)
    frames = decoded(init + b"".join(made))
    assert [seconds for seconds, _ in frames] == [
        pytest.approx(index / exact_fps(fps)) for index in range(sum(LENGTHS))
    ]
    with av.open(io.BytesIO(init + b"".join(made))) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
    assert shown == list(range(sum(LENGTHS)))


def test_fragments_become_a_film_without_encoding_again(tmp_path):
    init, made = fragments()
    part = tmp_path / "live.mp4"
    part.write_bytes(init + b"".join(made))
    stitch([part], tmp_path / "film.mp4", 16, sum(LENGTHS), {"title": "live"})
    assert probe(tmp_path / "film.mp4").num_frames == sum(LENGTHS)
    before, after = decoded(part.read_bytes()), decoded((tmp_path / "film.mp4").read_bytes())
    assert all(first[0] == then[0] and np.array_equal(first[1], then[1]) for first, then in zip(before, after))
    content = (tmp_path / "film.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat") and b"moof" not in content


def test_same_frames_give_the_same_fragments():
    assert fragments() == fragments()


def test_what_is_not_of_this_film_is_refused():
    writer = FragmentWriter(WIDTH, HEIGHT, 16)
    for frames in (np.zeros((0, HEIGHT, WIDTH, 3), np.uint8), np.zeros((1, HEIGHT, 2 * WIDTH, 3), np.uint8)):
        with pytest.raises(AssertionError, match="are not frames of this film"):
            writer.write(frames)
