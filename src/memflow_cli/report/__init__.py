"""Trace + film -> recalled frames, contact sheets, memory map, one HTML page. No torch, no model."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.durable import write_through
from memflow_cli.film.names import film_path, run_path, trace_path
from memflow_cli.film.ours import not_a_link
from memflow_cli.film.preflight import check_report_folder
from memflow_cli.film.trace import read_trace
from memflow_cli.film.video_reader import VideoInfo, probe, read_frames
from memflow_cli.report.given import read_given
from memflow_cli.report.page import make_page, relative_url
from memflow_cli.report.pictures import Picture, draw_map, draw_sheet
from memflow_cli.report.summary import FilmMemory, RecalledFrame, SegmentMemory, summarise
from memflow_cli.report.telling import score_text, told, use_text, when_text
from memflow_cli.report.without_trace import memory_of_film
from memflow_cli.story.texts import clock

OWN_FRAMES = 6  # pictures that stand for a segment
MANY_PICTURES = 1500  # above this many, segments show fewer of their own
PAGE_PICTURE_BYTES = 9_000_000  # as JPEG; a third more as text in the page
BYTES_A_PIXEL = 0.2  # what a JPEG thumbnail of this quality is expected to take
MIN_THUMBNAIL, MAX_THUMBNAIL = 96, 320
PNG_LEVEL = 6
SHEET_QUALITY = 78  # of a JPEG; a sheet is to be looked at, the frames themselves lie beside it


@dataclass
class Inspection:
    """What there is to show. `problem`: why something is missing, as a sentence; `video` None: no pictures.

    `folder`: where a report goes unless it is told otherwise.
    """

    name: str
    folder: Path
    memory: FilmMemory | None = None
    film: Path | None = None
    video: VideoInfo | None = None
    problem: str | None = None
    hint: str | None = None
    written: list[Path] = field(default_factory=list)


def inspect(path: Path) -> Inspection:
    """Opens a film and its trace, given either. What is missing or does not fit becomes `problem`.

    Raises UsageError if there is nothing to show at all.
    """
    if path.is_dir():
        raise UsageError(f"{path}: a folder, not a film")
    if path.suffix in (".json", ".yaml", ".yml"):  # the film's record, or its storyboard
        path = film_path(path)
    is_trace = path.suffix == ".jsonl"
    film = film_path(path) if is_trace else path
    trace = path if is_trace else trace_path(path)
    if is_trace and path.parent.suffix == ".run":
        film = path.parent.with_suffix("")
    elif not film.is_file() and not trace.is_file() and (run_path(film) / "trace.jsonl").is_file():
        trace, is_trace = run_path(film) / "trace.jsonl", True
    found = Inspection(film.stem, film.with_name(f"{film.stem}.inspect"))
    if not is_trace and not film.is_file() and not trace.is_file():
        raise UsageError(f"{path}: no such film")
    try:
        found.memory = summarise(read_trace(trace))
    except UsageError as error:
        found.problem, found.hint = error.message, error.hint
        if not trace.exists():
            found.problem = f"{film} has no memory trace: there is no {trace}"
            found.hint = (
                f"memflow generate writes it beside the film; a film that was moved needs {trace.name} moved along. "
                "Title and prompts come from the film itself."
            )
        if is_trace or not film.is_file():
            raise UsageError(found.problem, found.hint) from error
    try:
        found.video, found.film = probe(film), film
    except MemflowError as error:
        missing = f"the film is missing: there is no {film}" if not film.exists() else error.message
        if not film.exists() and trace.parent == run_path(film):
            missing = f"{film} is still being made, or was interrupted"
        found.problem = found.problem or f"{missing}; the trace is shown without pictures"
        if found.memory is None:
            raise UsageError(found.problem, found.hint) from error
    if found.memory is None and found.video is not None:
        found.memory = memory_of_film(film, found.video)
        return found
    if found.memory and found.video and found.video.num_frames != found.memory.plan.num_frames:
        plan = found.memory.plan
        found.problem = (
            f"{film} has {found.video.num_frames} frames ({found.video.seconds:.2f} s), its trace tells of "
            f"{plan.num_frames} ({plan.seconds:.2f} s): another film, or encoded anew; pictures are those at the same time"
        )
    return found


def write_report(
    found: Inspection, folder: Path, pictures: bool = True, page: bool = True, top: int = 6, only: Sequence[int] = ()
) -> None:
    """Writes into `folder`; `only`: numbers of the segments wanted (from 0), all if empty.

    segment-03/recall-1_t=00-02.25_score=0.41.png, segment-03/sheet.jpg, memory-map.png; index.html.
    """
    assert found.memory is not None, "without a trace there is nothing to write"
    memory = found.memory
    chosen = [segment for segment in memory.segments if not only or segment.plan.index in only]
    if folder == found.folder:  # the user's own choice of a folder may be a link
        not_a_link(folder)
    check_report_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        gallery = _Gallery(found, chosen, top, folder if pictures else None)
        gallery.read()
        if pictures:
            found.written += gallery.write_sheets()
            if memory.chunks:
                not_a_link(folder / "memory-map.png").unlink(missing_ok=True)  # it may have another name elsewhere
                draw_map(memory, gallery.heads()).save(folder / "memory-map.png", compress_level=PNG_LEVEL)
                found.written.append(folder / "memory-map.png")
        if page:
            problem = " ".join(filter(None, (found.problem, found.hint))) or None
            url = relative_url(found.film, folder) if found.film else None
            text = make_page(memory, gallery.own, gallery.thumbnails, url, top, problem)
            write_through(folder / "index.html", text.encode(errors="replace"))
            found.written.append(folder / "index.html")
    except OSError as error:
        raise MemflowError(f"cannot write into {folder}: {error.strerror}") from error


class _Gallery:
    """The pictures of a report. The film is read once, in order; only thumbnails stay in memory."""

    def __init__(self, found: Inspection, segments: Sequence[SegmentMemory], top: int, folder: Path | None) -> None:
        assert found.memory is not None, "a gallery needs a trace"
        self._found = found
        self._segments = segments
        self._top = top
        self._folder = folder
        self._plan = found.memory.plan
        self._aspect = min(8.0, max(0.125, self._plan.width / self._plan.height))  # a trace may claim anything
        digits = max(2, len(str(len(self._plan.segments))))
        self._folders = {
            segment.plan.index: (folder or Path()) / f"segment-{segment.plan.index + 1:0{digits}}"
            for segment in segments
        }
        count = OWN_FRAMES if len(segments) * (OWN_FRAMES + top) <= MANY_PICTURES else 2
        self.own = {segment.plan.index: _own_frames(segment, count) for segment in segments}
        self.thumbnails: dict[int, bytes] = {}  # film frame -> JPEG

    def read(self) -> None:
        """Reads every picture that is wanted, keeps its thumbnail, and writes the recalled frames themselves."""
        dumps = self._dumps()
        wanted = {frame for own in self.own.values() for frame in own}
        shown = [item for segment in self._segments for item in segment.recalled[: self._top]]
        wanted |= {item.film_frame for item in shown if item.picture is None}
        sources: dict[int, list[int]] = {}  # frame of the video file -> frames of the film as planned
        for frame in sorted(wanted):
            if (source := self._source(frame)) is not None:
                sources.setdefault(source, []).append(frame)
        pictures = {item.film_frame: item.picture for item in shown if item.picture is not None}
        size = self._thumbnail_size(max(1, len(sources) + len(pictures)))
        for frame, picture in pictures.items():
            if (pixels := read_given(picture)) is not None:
                self._keep(pixels, [frame], dumps.get(frame, []), size)
        if not sources or self._found.film is None:
            return
        with ThreadPoolExecutor(_workers()) as pool:
            jobs: list[Callable[[], None]] = []
            for source, pixels in self._readable(self._found.film, list(sources)):
                files = [path for frame in sources[source] for path in dumps.get(frame, ())]
                jobs.append(pool.submit(self._keep, pixels, sources[source], files, size).result)
                while len(jobs) > 64:
                    jobs.pop(0)()
            for job in jobs:
                job()

    def _readable(self, film: Path, sources: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames of a film as far as they can be read; of a damaged one the others are missing, and that is told."""
        try:
            yield from read_frames(film, sources, self._found.video)
        except MemflowError as error:
            self._found.problem = self._found.problem or f"{error.message}; pictures from there on are missing"

    def _keep(self, pixels: np.ndarray, frames: list[int], files: list[Path], size: tuple[int, int]) -> None:
        image = Image.fromarray(pixels)
        if files:
            not_a_link(files[0]).write_bytes(_encoded(image, "PNG", compress_level=PNG_LEVEL))
            for path in files[1:]:
                _same_file(files[0], path)
        thumbnail = _encoded(image.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=86)
        for frame in frames:
            self.thumbnails[frame] = thumbnail

    def write_sheets(self) -> Iterator[Path]:
        with ThreadPoolExecutor(_workers()) as pool:
            yield from pool.map(self._write_sheet, self._segments)

    def _write_sheet(self, segment: SegmentMemory) -> Path:
        memory = self._found.memory
        assert memory is not None, "a gallery needs a trace"
        own = [Picture(self._picture(frame), clock(frame / self._plan.fps)) for frame in self.own[segment.plan.index]]
        recalled = [
            Picture(
                self._picture(item.film_frame),
                " · ".join([when_text(item), *(item.names if item.picture is None else ())]),
                f"score {score_text(item.score)}   {use_text(memory, segment, item)}",
            )
            for item in segment.recalled[: self._top]
        ]
        path = not_a_link(self._folders[segment.plan.index] / "sheet.jpg")
        not_a_link(path.parent).mkdir(exist_ok=True)
        sheet = draw_sheet(segment, told(memory, segment), own, recalled, self._aspect)
        for old in (path, path.with_suffix(".png")):  # an earlier version's
            old.unlink(missing_ok=True)
        sheet.save(path, quality=SHEET_QUALITY, optimize=True)
        return path

    def _dumps(self) -> dict[int, list[Path]]:
        """Film frame -> the files it is written to; folders are made, and emptied of an earlier report."""
        dumps: dict[int, list[Path]] = {}
        if self._folder is None:
            return dumps
        for segment in self._segments:
            place = self._folders[segment.plan.index]
            not_a_link(place).mkdir(exist_ok=True)
            for old in place.glob("recall-*_t=*_score=*.png"):
                old.unlink()
            for rank, item in enumerate(segment.recalled[: self._top], start=1):
                dumps.setdefault(item.film_frame, []).append(place / recall_name(rank, item))
        return dumps

    def _source(self, frame: int) -> int | None:
        """The video file's frame that shows this frame of the film: the same, or in a strange file the one at its time."""
        video = self._found.video
        if video is None:
            return None
        if video.num_frames != self._plan.num_frames:
            frame = round(frame / self._plan.fps * video.fps)
        return frame if frame < video.num_frames else None

    def heads(self) -> dict[int, Image.Image]:
        """A late picture of every segment, by its number: by then what it is about has come in."""
        pictures = {index: self._picture(frames[-1]) for index, frames in self.own.items() if frames}
        return {index: picture for index, picture in pictures.items() if picture is not None}

    def _picture(self, frame: int) -> Image.Image | None:
        content = self.thumbnails.get(frame)
        return None if content is None else Image.open(io.BytesIO(content)).convert("RGB")

    def _thumbnail_size(self, num_pictures: int) -> tuple[int, int]:
        """As large as the page's budget allows, never larger than the film."""
        aspect = self._aspect
        fits = int((PAGE_PICTURE_BYTES * aspect / (num_pictures * BYTES_A_PIXEL)) ** 0.5)
        width = max(MIN_THUMBNAIL, min(fits, MAX_THUMBNAIL, self._plan.width))
        return width, max(1, round(width / aspect))


def _same_file(path: Path, other: Path) -> None:
    """A frame that several segments recalled takes its place on the disk once, where the drive can."""
    try:
        os.link(path, other)
    except OSError:
        other.write_bytes(path.read_bytes())


def recall_name(rank: int, item: RecalledFrame) -> str:
    when = clock(item.seconds).replace(":", "-").zfill(8) if item.picture is None else f"given{item.frame}"
    return f"recall-{rank}_t={when}_score={score_text(item.score)}.png"


def _own_frames(segment: SegmentMemory, count: int) -> list[int]:
    """Film frames from the middle of `count` equal stretches of a segment."""
    start, length = segment.plan.start_frame, segment.plan.num_frames
    return sorted({start + int((index + 0.5) * length / count) for index in range(count)})


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _workers() -> int:
    return min(4, os.cpu_count() or 1)
