"""The report as one HTML page: style, script, data and pictures inside, nothing loaded from anywhere but the film beside it.

Everything that comes from a trace reaches the page as JSON and is shown as text; a content security policy allows no
script but the page's own.
"""

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memflow_cli.report.summary import FilmMemory, SegmentMemory
from memflow_cli.report.telling import notes as cast_notes
from memflow_cli.report.telling import told, use_text
from memflow_cli.story.texts import clock

MAX_PICTURE_BYTES = 10_000_000  # as JPEG; a third more as text. What does not fit is shown as an empty frame


def make_page(
    memory: FilmMemory,
    own_frames: Mapping[int, Sequence[int]],
    thumbnails: Mapping[int, bytes],
    film_url: str | None,
    top: int,
    problem: str | None = None,
) -> str:
    """`own_frames`: film frames that stand for each segment, by its number; `thumbnails`: JPEG of a film frame."""
    images = _Images(thumbnails)
    segments = [
        _segment(memory, segment, own_frames.get(segment.plan.index, ()), images.place, top)
        for segment in memory.segments
    ]
    data = {
        **_film(memory),
        "problem": problem,
        "film": film_url,
        "segments": segments,
        "chunks": _chunks(memory),
        "imageOfFrame": {
            item["frame"]: item["image"]
            for segment in segments
            for item in segment["recalled"]
            if item["image"] is not None
        },
        "images": images.urls,
    }
    style, script = _resource("page.css"), _resource("page.js")
    parts = {
        "TITLE": html.escape(f"{memory.plan.title} · memory"),
        "STYLE": style,
        "SCRIPT": script,
        "STYLE_HASH": _policy_hash(style),
        "SCRIPT_HASH": _policy_hash(script),
        "DATA": _json_in_html(data),
    }
    # One pass: what is filled in is never searched again.
    return re.sub(r"@([A-Z_]+)@", lambda found: parts[found[1]], _resource("page.html"))


def relative_url(film: Path, folder: Path) -> str:
    """The film as the page in `folder` links to it."""
    try:
        return quote(os.fsencode(os.path.relpath(film.resolve(), folder.resolve()).replace(os.sep, "/")))
    except ValueError:  # another drive
        return film.resolve().as_uri()


class _Images:
    """The pictures inside the page, each once, as far as there is room. `urls`: in the order of their first use."""

    def __init__(self, thumbnails: Mapping[int, bytes]) -> None:
        self._thumbnails = thumbnails
        self._places: dict[int, int] = {}
        self._room = MAX_PICTURE_BYTES
        self.urls: list[str] = []

    def place(self, film_frame: int) -> int | None:
        """A film frame's place among the pictures; None if it has no picture, or there is no room for it."""
        content = self._thumbnails.get(film_frame, b"")
        if content and film_frame not in self._places and len(content) <= self._room:
            self._room -= len(content)
            self._places[film_frame] = len(self.urls)
            self.urls.append("data:image/jpeg;base64," + base64.b64encode(content).decode())
        return self._places.get(film_frame)


def _film(memory: FilmMemory) -> dict[str, Any]:
    """What the page says of the whole film."""
    plan, header = memory.plan, memory.header
    return {
        "title": plan.title,
        "facts": _facts(memory),
        "made": f"memflow-cli {header.memflow} · "
        + (f"memory trace version {header.version}" if memory.chunks else "without its memory trace"),
        "width": plan.width,
        "height": plan.height,
        "fps": plan.fps,
        "seconds": plan.seconds,
        "firstFrames": plan.geometry.first_frames,
        "temporalStride": plan.geometry.temporal_stride,
        "chunk": plan.geometry.chunk,
        "numChunks": plan.num_chunks,
        "first": memory.best_segment(),
    }


def _chunks(memory: FilmMemory) -> dict[str, Any]:
    """What each chunk remembered, a list of each kind."""
    return {
        "bank": [
            [
                [item.frame, round(100 * min(1.0, max(0.0, item.use))), _score(item.score)]
                for item in chunk.bank
                if item.frame >= 0  # given pictures have no place on the map
            ]
            for chunk in memory.chunks
        ],
        "sink": [chunk.sink for chunk in memory.chunks],
        "window": [chunk.window for chunk in memory.chunks],
        "archive": [chunk.archive_size for chunk in memory.chunks],
    }


def _segment(memory: FilmMemory, segment: SegmentMemory, own: Sequence[int], image: Any, top: int) -> dict[str, Any]:
    plan = memory.plan
    notes = [*(["begins with a cut"] if segment.plan.transition == "cut" else []), *cast_notes(segment)]
    if segment.sink_use is not None:
        notes.append(f"the film's opening was read by {segment.sink_use:.0%} of the attention")
    pictures = [{"seconds": frame / plan.fps, "image": image(frame)} for frame in own]
    return {
        "prompt": segment.plan.prompt,
        "start": segment.start_seconds,
        "end": segment.end_seconds,
        "startChunk": segment.plan.start_chunk,
        "numChunks": segment.plan.num_chunks,
        "told": told(memory, segment),
        "notes": " · ".join(notes),
        "chose": segment.is_activated,
        "own": [picture for picture in pictures if picture["image"] is not None],
        "recalled": [
            {
                "frame": item.frame,
                "segment": item.segment,
                "score": _score(item.score),
                "use": round(item.use, 4),
                "useText": use_text(memory, segment, item),
                "image": image(item.film_frame),
                "names": item.names,
                "given": None if item.picture is None else f"{item.picture.name}, {item.picture.file}",
            }
            for item in segment.recalled[:top]
        ],
        "numRecalled": len(segment.recalled),
        "candidates": [[item.frame, _score(item.score), item.is_recalled] for item in segment.candidates],
        "numCandidates": segment.num_candidates,
    }


def _facts(memory: FilmMemory) -> list[str]:
    plan = memory.plan
    facts = [
        clock(plan.seconds, 0 if plan.seconds >= 10 else 2),
        f"{len(plan.segments)} segments",
        memory.header.model,
        f"{memory.header.policy} memory" if memory.header.policy else "",
        f"seed {plan.seed}",
        f"{plan.width} × {plan.height} at {plan.fps} frames/s",
    ]
    if 0 < len(memory.chunks) < plan.num_chunks:
        done = plan.seconds * len(memory.chunks) / plan.num_chunks
        facts.append(f"unfinished: {clock(done)} so far")
    return [fact for fact in facts if fact]


def _score(score: float) -> float:
    return float(f"{score:.4g}")


def _json_in_html(data: Any) -> str:
    """JSON that no HTML parser can mistake for the end of its script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (resources.files("memflow_cli.report") / name).read_text("utf-8")
