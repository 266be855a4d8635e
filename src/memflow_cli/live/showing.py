"""A film's events -> what its viewers are sent: video, pictures of what was shown, what memory recalls, how fast it goes."""

import base64
import io
import time

import numpy as np
from PIL import Image

from memflow_cli.film.events import ChunkDone, Event, FilmDone, FilmStarted, FramesShown
from memflow_cli.film.fragments import FragmentWriter
from memflow_cli.live.channel import Channel
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.story.plan import FilmPlan, SegmentPlan

THUMB_WIDTH = 216  # pixels; twice what the strip shows


class Showing:
    """Called with a film's events, in order. `mode`: "watch", or "live" for a film that viewers steer."""

    def __init__(self, channel: Channel, mode: str) -> None:
        self._channel = channel
        self._mode = mode
        self._plan: FilmPlan | None = None
        self._writer: FragmentWriter | None = None
        self._offset = 0.0  # seconds of the film at which the writer's own time begins
        self._newest: np.ndarray | None = None  # the newest frame: a chunk's last, when its record comes
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
            self.begin_again()
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
        if self._writer is None:
            self._writer = FragmentWriter(plan.width, plan.height, plan.fps)
            self._offset = first_frame / plan.fps
            if self._newest is None:
                self._greet(plan, mime_type(self._writer.init_segment()))
            self._channel.show(self._offset, self._writer.init_segment())
        self._channel.show(self._offset, self._writer.write(frames))
        self._newest = frames[-1]

    def _greet(self, plan: FilmPlan, mime: str) -> None:
        """The first message, once the video's kind is known."""
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

    def greet(self, title: str, width: int, height: int) -> None:
        """The first message of a film that nobody has played yet: a page to type into."""
        self._channel.tell(type="hello", mode=self._mode, title=title, width=width, height=height, mime=None, facts=[])

    def go_on(self, plan: FilmPlan, num_frames: int) -> None:
        """An earlier run has made so many frames; what comes now follows them."""
        self._plan, self._first_frame = plan, num_frames
        for segment in plan.segments:
            self.tell_segment(segment)
        self._channel.tell(type="resumed", start=num_frames / plan.fps)

    def begin_again(self) -> None:
        """The next frames take the place of some that were shown: they get a head of their own."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _tell_chunk(self, event: ChunkDone) -> None:
        plan, record = self._known_plan, event.record
        assert self._newest is not None, "a chunk's frames come before its record"
        self._channel.tell(
            type="chunk",
            index=event.chunk,
            segment=event.segment.index,
            start=record.start_seconds,
            end=record.end_seconds,
            thumb=thumbnail(self._newest),
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


def mime_type(head: bytes) -> str:
    """What a MediaSource is told of a video: profile and level as its head has them."""
    place = head.find(b"avcC")
    assert place > 0, "a video has a head"
    return f'video/mp4; codecs="avc1.{head[place + 5 : place + 8].hex()}"'


def thumbnail(frame: np.ndarray) -> str:
    """A frame [height, width, 3] uint8 as a small JPEG in a data address."""
    picture = Image.fromarray(frame)
    size = THUMB_WIDTH, max(1, round(picture.height * THUMB_WIDTH / picture.width))
    target = io.BytesIO()
    picture.resize(size, Image.Resampling.BILINEAR).save(target, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()
