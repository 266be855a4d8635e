"""A film whose trace stayed behind: its segments, as far as the MP4 itself tells of them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from memflow_cli.film.trace import TraceHeader
from memflow_cli.film.video_reader import VideoInfo, read_metadata
from memflow_cli.geometry import Geometry
from memflow_cli.report.summary import FilmMemory, SegmentMemory
from memflow_cli.story.plan import FilmPlan, SegmentPlan

MAX_SEGMENTS = 10_000
_PROMPT = re.compile(r"^(\d{1,7}(?:\.\d+)?) s: ", re.MULTILINE)
# One frame per chunk: a film of any length has a plan, whatever model made it.
_ANY_MODEL = Geometry(1, 1, 1, 1, (1, 1, 1), 1, 1, 1, chunk=1, sink=0, bank=0, window=1)


def memory_of_film(film: Path, video: VideoInfo) -> FilmMemory:
    """Title, seed, model, and the segments with their prompts from the film's metadata; nothing of what was recalled."""
    metadata = read_metadata(film)
    about = _about(metadata)
    fps = max(1, round(video.fps))
    starts = _starts(metadata.get("description", ""), fps, video.num_frames) or [(0, metadata.get("title", film.stem))]
    ends = [start for start, _ in starts[1:]] + [video.num_frames]
    plans = tuple(
        SegmentPlan(index, prompt, start, end - start, start, end - start, 0, "smooth", (end - start) / fps)
        for index, ((start, prompt), end) in enumerate(zip(starts, ends))
    )
    seed = about.get("seed")
    plan = FilmPlan(
        metadata.get("title", film.stem),
        video.width,
        video.height,
        fps,
        seed if type(seed) is int else 0,
        _ANY_MODEL,
        plans,
    )
    generator, model = str(about.get("generator", "")), str(about.get("model", ""))
    header = TraceHeader(generator.removeprefix("memflow-cli ")[:40], model[:200], "", plan)
    segments = (
        SegmentMemory(
            segment, segment.start_frame / fps, (segment.start_frame + segment.num_frames) / fps, (), (), 0, None
        )
        for segment in plans
    )
    return FilmMemory(header, tuple(segments), ())


def _about(metadata: Mapping[str, str]) -> dict[str, object]:
    try:
        about = json.loads(metadata.get("comment", "{}"))
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _starts(description: str, fps: int, num_frames: int) -> list[tuple[int, str]]:
    """(first frame, prompt) of each segment, where the description lists them as generate writes it; else none."""
    pieces = _PROMPT.split(description)[1 : 1 + 2 * MAX_SEGMENTS]
    starts = [(round(float(seconds) * fps), prompt.rstrip("\n")) for seconds, prompt in zip(pieces[::2], pieces[1::2])]
    frames = [frame for frame, _ in starts]
    is_sound = frames and frames[0] == 0 and all(a < b for a, b in zip(frames, [*frames[1:], num_frames]))
    return starts if is_sound else []
