"""Parts -> the film, packet by packet, with chapters, subtitles and sound. No torch."""

import contextlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av

from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.film.durable import rename_through
from memflow_cli.film.passages import Passage
from memflow_cli.film.run_on_disk import START_OVER
from memflow_cli.film.sound import copied_sound, sound_packets
from memflow_cli.film.video import exact_fps, file_url, open_mp4, said, ticks
from memflow_cli.story.texts import without_controls

MILLISECONDS = Fraction(1, 1000)
MAX_CAPTION_BYTES = 65_535  # a subtitle's length is two bytes
_SUBTITLE_STYLE = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, BackColour, Bold, Italic, Underline, BorderStyle, Outline, Alignment
Style: Default,Sans,18,&Hffffff,&H0,0,0,0,1,1,2
"""


def stitch(
    parts: Sequence[Path],
    out: Path,
    fps: float,
    num_frames: int,
    metadata: Mapping[str, str],
    chapters: Sequence[Passage] = (),
    subtitles: Sequence[Passage] | None = None,
    sound: Path | None = None,
) -> None:
    """Joins `parts` (in order) packet by packet into `out`, which appears complete or not at all.

    The index comes first in the file (faststart). `chapters` and `subtitles` are in film order and do not overlap;
    subtitles: None makes no such track. `sound`: an audio file, cut or padded to the film's length. Raises MemflowError
    if the parts do not hold exactly `num_frames`, UsageError if the sound cannot be read.
    """
    rate = exact_fps(fps)
    with _new_film(out, rate, metadata, chapters, KEPT) as film, _open(parts[0]) as first:
        picture_stream = film.add_stream_from_template(first.streams.video[0])
        tracks = [_picture_packets(parts, picture_stream, rate, num_frames, out)]
        if subtitles is not None:
            tracks.append(_subtitle_packets(film, subtitles, rate, num_frames))
        if sound is not None:
            tracks.append(sound_packets(film, sound, num_frames / rate))
        _mux(film, tracks)


def cut_out(
    source: Path,
    out: Path,
    fps: float,
    frames: range,
    metadata: Mapping[str, str],
    chapters: Sequence[Passage] = (),
    subtitles: Sequence[Passage] | None = None,
) -> None:
    """Copies these frames of the film `source` packet by packet into `out`, which appears complete or not at all.

    The first of them is a key frame. Sound comes along, cut at the borders of its packets. `chapters` and `subtitles` count
    from the first frame. Raises MemflowError if the film has no such frames.
    """
    rate = exact_fps(fps)
    with _new_film(out, rate, metadata, chapters, None) as film, _open(source) as pictures, _open(source) as sounds:
        picture_stream = film.add_stream_from_template(pictures.streams.video[0])
        tracks = [_copied_pictures(pictures, picture_stream, rate, frames, source)]
        if subtitles is not None:
            tracks.append(_subtitle_packets(film, subtitles, rate, len(frames)))
        if sounds.streams.audio:
            tracks.append(copied_sound(film, sounds, frames.start / rate, frames.stop / rate))
        _mux(film, tracks)


@contextlib.contextmanager
def _new_film(
    out: Path, rate: Fraction, metadata: Mapping[str, str], chapters: Sequence[Passage], hint: str | None
) -> Iterator[Any]:
    """An MP4 to write, its index first in the file. It gets its name once all went well. `hint`: where it cannot be written."""
    unfinished = out.with_name(out.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        with open_mp4(unfinished, ticks(rate)[0], movflags="+faststart") as film:
            film.metadata.update({key: without_controls(text) for key, text in metadata.items()})
            if chapters:
                film.set_chapters([_chapter(number, chapter, rate) for number, chapter in enumerate(chapters)])
            yield film
        rename_through(unfinished, out)
    except (OSError, av.FFmpegError) as error:
        raise MemflowError(f"cannot write {out}: {said(error)}", hint) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _mux(film: Any, tracks: Sequence[Iterator[tuple[Fraction, Any]]]) -> None:
    for _, packet in heapq.merge(*tracks, key=lambda timed: timed[0]):
        film.mux(packet)


def srt(subtitles: Sequence[Passage], fps: float) -> bytes:
    """The subtitles as a SubRip file of their own."""
    rate = exact_fps(fps)
    blocks = []
    for number, subtitle in enumerate(subtitles, start=1):
        start, end = (_clock(frame / rate) for frame in (subtitle.start_frame, subtitle.end_frame))
        # An empty line ends a subtitle.
        lines = [line for line in without_controls(subtitle.text).splitlines() if line.strip()]
        blocks.append("\n".join([str(number), f"{start} --> {end}", *lines]) + "\n")
    return "\n".join(blocks).encode()


def _clock(seconds: Fraction) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"


def _chapter(number: int, chapter: Passage, rate: Fraction) -> dict[str, Any]:
    start, end = (round(frame / rate / MILLISECONDS) for frame in (chapter.start_frame, chapter.end_frame))
    title = " ".join(without_controls(chapter.text).split())
    return {"id": number, "start": start, "end": end, "time_base": MILLISECONDS, "metadata": {"title": title}}


def _open(part: Path) -> Any:
    return av.open(file_url(part), format="mp4", metadata_errors="replace")


def _picture_packets(
    parts: Sequence[Path], stream: Any, rate: Fraction, num_frames: int, out: Path
) -> Iterator[tuple[Fraction, Any]]:
    settings = bytes(stream.codec_context.extradata)
    number = 0
    for part in parts:
        with _open(part) as container:
            video = container.streams.video[0]
            if bytes(video.codec_context.extradata) != settings:
                raise MemflowError(f"{part} was encoded in another way than the parts before it", START_OVER)
            for packet in container.demux(video):
                if not packet.size:  # the end
                    continue
                yield number / rate, _placed(packet, stream, number, rate)
                number += 1
    if number != num_frames:
        raise MemflowError(f"the parts of {out} hold {number} frames, but the film has {num_frames}")


def _copied_pictures(
    container: Any, stream: Any, rate: Fraction, frames: range, source: Path
) -> Iterator[tuple[Fraction, Any]]:
    copied, shown_at = 0, -1
    packets = (packet for packet in container.demux(container.streams.video[0]) if packet.size)
    for packet in islice(packets, frames.start, frames.stop):
        if not copied and not packet.is_keyframe:
            raise MemflowError(f"{source} cannot be cut before its frame {frames.start}: no part begins there")
        if packet.pts is None or packet.pts <= shown_at:
            raise MemflowError(f"{source} was encoded anew, with frames out of their order: it cannot be cut")
        shown_at = packet.pts
        yield copied / rate, _placed(packet, stream, copied, rate)
        copied += 1
    if copied != len(frames):
        raise MemflowError(f"{source} ends after {frames.start + copied} frames; {frames.stop} were expected")


def _placed(packet: Any, stream: Any, number: int, rate: Fraction) -> Any:
    """A packet as frame `number` of the film."""
    ticks_a_second, ticks_a_frame = ticks(rate)
    packet.stream = stream
    packet.time_base = Fraction(1, ticks_a_second)
    packet.pts = packet.dts = number * ticks_a_frame
    packet.duration = ticks_a_frame
    return packet


def _subtitle_packets(
    film: Any, subtitles: Sequence[Passage], rate: Fraction, num_frames: int
) -> Iterator[tuple[Fraction, Any]]:
    """Adds a subtitle track to `film`. Its packets; in the format (3GPP timed text) the stretches between are empty ones."""
    stream = film.add_stream("mov_text")
    stream.codec_context.subtitle_header = _SUBTITLE_STYLE.encode()
    stream.codec_context.time_base = stream.time_base = MILLISECONDS
    return _subtitles_and_gaps(stream, subtitles, rate, num_frames)


def _subtitles_and_gaps(
    stream: Any, subtitles: Sequence[Passage], rate: Fraction, num_frames: int
) -> Iterator[tuple[Fraction, Any]]:
    shown_to = 0
    for subtitle in [*subtitles, Passage("", num_frames, 0)]:
        start, end = subtitle.start_frame, subtitle.end_frame
        assert start >= shown_to, "subtitles are in film order and do not overlap"
        for text, first, last in (("", shown_to, start), (without_controls(subtitle.text), start, end)):
            if last > first:
                yield first / rate, _subtitle_packet(stream, text, first / rate, last / rate)
        shown_to = end


def _subtitle_packet(stream: Any, text: str, start: Fraction, end: Fraction) -> Any:
    content = text.encode()[:MAX_CAPTION_BYTES].decode(errors="ignore").encode()
    packet = av.Packet(len(content).to_bytes(2, "big") + content)
    packet.stream, packet.time_base = stream, MILLISECONDS
    packet.pts = packet.dts = round(start / MILLISECONDS)
    packet.duration = round(end / MILLISECONDS) - packet.pts
    packet.is_keyframe = True
    return packet
