"""A film's events -> what its viewers are sent: video, pictures of what was shown, what memory recalls, how fast it goes."""

import base64
import io
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from memflow_cli.film.events import ChunkDone, Event, FilmDone, FilmStarted, FramesShown
from memflow_cli.live.channel import Channel
from memflow_cli.live.fragments import encode_fragment, mime_type
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.story.plan import FilmPlan, SegmentPlan

THUMB_WIDTH = 216  # pixels; twice what the strip shows


class Showing:
    """Called with a film's events, in order. `mode`: "watch", or "live" for a film that viewers steer."""

    def __init__(self, channel: Channel, mode: str) -> None:
        self._channel = channel
        self._mode = mode
        self._plan: FilmPlan | None = None
        self._is_greeted = False
        self._late: np.ndarray | None = None  # the newest frame: a chunk's last, when its record comes
        self._began = time.perf_counter()
        self._first_frame = 0  # of this run's frames

    def __call__(self, event: Event) -> None:
        if isinstance(event, FilmStarted):
            self._plan = event.plan
            self._first_frame = event.plan.geometry.num_frames(event.resumed_chunks)
        elif isinstance(event, FramesShown):
            self._show(event.first_frame, event.frames)
        elif isinstance(event, ChunkDone):
            self._tell_chunk(event)
        elif isinstance(event, FilmDone):
            self._channel.tell(type="done", text=f"The film is finished: {event.result.path.name}")

    def tell_segment(self, segment: SegmentPlan) -> None:
        """A segment of the storyboard, or a prompt that has just begun to hold."""
        plan = self._known_plan
        self._channel.tell(
            type="segment",
            index=segment.index,
            prompt=segment.prompt,
            start=segment.start_frame / plan.fps,
            transition=segment.transition,
        )

    @property
    def _known_plan(self) -> FilmPlan:
        assert self._plan is not None, "a film begins with FilmStarted"
        return self._plan

    def _show(self, first_frame: int, frames: np.ndarray) -> None:
        plan = self._known_plan
        fragment = encode_fragment(frames, plan.fps)
        if not self._is_greeted:
            self._greet(plan, mime_type(fragment))
        self._channel.show(first_frame / plan.fps, fragment)
        self._late = frames[-1]

    def _greet(self, plan: FilmPlan, mime: str) -> None:
        """The first message, once the video's kind is known."""
        self._is_greeted = True
        facts = [f"{plan.width}x{plan.height}", f"{plan.fps} frames a second", f"seed {plan.seed}"]
        self._channel.tell(
            type="hello",
            mode=self._mode,
            title=plan.title,
            width=plan.width,
            height=plan.height,
            mime=mime,
            facts=facts,
        )
        if self._mode == "watch":
            for segment in plan.segments:
                self.tell_segment(segment)

    def _tell_chunk(self, event: ChunkDone) -> None:
        plan, record = self._known_plan, event.record
        assert self._late is not None, "a chunk's frames come before its record"
        self._channel.tell(
            type="chunk",
            index=event.chunk,
            segment=event.segment.index,
            start=record.start_seconds,
            end=record.end_seconds,
            thumb=thumbnail(self._late),
            recalled=recalled(plan, record),
            pace=self._pace(plan, event.chunk),
        )

    def _pace(self, plan: FilmPlan, chunk: int) -> str:
        made = plan.geometry.num_frames(chunk + 1)
        rate = (made - self._first_frame) / max(time.perf_counter() - self._began, 1e-6)
        text = f"{rate:.1f} frames/s"
        if rate < plan.fps:
            text += ", slower than it plays"
        if self._mode == "watch" and rate:
            left = max(0.0, plan.num_frames - made) / rate
            text += f" · {int(left // 60)}:{int(left % 60):02d} left"
        return text


def recalled(plan: FilmPlan, record: ChunkRecord) -> list[dict[str, float | int | None]]:
    """What memory recalled for a chunk, most used first: film time, and the share of heads in percent where heads chose."""
    bank = sorted(record.bank, key=lambda item: (-item.use, -item.score))
    chosen = bool(record.sink_use)
    return [
        {"seconds": plan.latent_frame_seconds(item.frame), "share": round(100 * item.use) if chosen else None}
        for item in bank
        if item.frame >= 0
    ]


def thumbnail(frame: np.ndarray | Sequence) -> str:
    """A frame [height, width, 3] uint8 as a small JPEG in a data address."""
    picture = Image.fromarray(np.asarray(frame))
    height = max(1, round(picture.height * THUMB_WIDTH / picture.width))
    target = io.BytesIO()
    picture.resize((THUMB_WIDTH, height), Image.Resampling.BOX if picture.width > THUMB_WIDTH else Image.Resampling.BICUBIC).save(
        target, "JPEG", quality=80
    )
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()
