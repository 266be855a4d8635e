"""A film that is steered while it plays: prompts come in from viewers, chunks go out to them.

One thread makes the film. What viewers ask for waits in a queue; between two chunks the newest wishes are heeded. The film is
never more than a chunk ahead of the player, so that a prompt is seen soon after Enter.
"""

import queue
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.events import ChunkDone, Event, FilmDone, FilmResult, FilmStarted
from memflow_cli.live.channel import Channel
from memflow_cli.live.showing import Showing
from memflow_cli.story.plan import FilmPlan
from memflow_cli.story.storyboard import Segment
from memflow_cli.story.texts import without_controls
from memflow_cli.studio.take import Take

MAX_PROMPT = 4000  # characters, as in a storyboard
MAX_WISHES = 32  # that wait; what comes beyond is refused
STARVED_CHUNKS = (
    5  # that a player gets at once which stands still: after stalls a browser may want more before it goes on
)
WAIT_SECONDS = 0.02  # between two looks at what viewers ask for

Stop = Callable[[], MemflowError | None]


@dataclass(frozen=True)
class Wish:
    """`kind`: prompt, undo, pause, finish."""

    kind: str
    text: str = ""
    is_cut: bool = False
    is_on: bool = False


class Session:
    """Plays `opening`, then what viewers ask for, until one of them finishes the film, or `stop` says so."""

    def __init__(
        self,
        take: Take,
        channel: Channel,
        opening: Iterable[Segment] = (),
        stop: Stop = lambda: None,
        finish: Callable[[], FilmResult | None] | None = None,
    ) -> None:
        """`finish`: puts the film together, as the take does unless told otherwise."""
        self._take = take
        self._channel = channel
        self._showing = Showing(channel, "live")
        self._opening = list(opening)
        self._stop = stop
        self._put_together = finish or take.finish
        self._wishes: queue.Queue[Wish] = queue.Queue(MAX_WISHES)
        self._played = 0.0  # seconds of the film, by the viewer who is furthest
        self._is_starved = False  # stands still although film lies ahead of it: its browser wants more at once
        self._is_paused = False
        self._playing: Generator[Event] | None = None
        self._lead = 0.0  # seconds that a chunk has: how far the film may be ahead
        self._fps = 0

    def greet(self) -> None:
        """Lets viewers type before anything is there to be seen; what an earlier run has played is told."""
        told, plan = self._take.storyboard, self._take.plan
        self._showing.greet(told.title, told.width or 0, told.height or 0)
        if plan is not None:
            self._know(plan)
            self._played = self._made_seconds
            self._showing.go_on(plan, self._take.num_frames)

    def command(self, content: dict[str, Any]) -> None:
        """What a viewer has sent, from the server's thread. Whatever is not understood is dropped."""
        kind, seconds, text = content.get("type"), content.get("seconds"), content.get("text")
        if kind == "played" and isinstance(seconds, int | float) and 0 <= seconds <= self._made_seconds + 1:
            self._played = max(self._played, float(seconds))
            self._is_starved = content.get("starved") is True
        elif kind == "prompt" and isinstance(text, str):
            self._wish_for_prompt(text, content.get("cut") is True)
        elif kind == "pause":
            self._put(Wish("pause", is_on=content.get("on") is True))
        elif kind in ("undo", "finish"):
            self._put(Wish(str(kind)))

    def run(self) -> FilmResult | None:
        """Makes the film until it is finished; None if nothing was ever played. Raises what `stop` says."""
        self._take.load()  # while the first prompt is still being typed
        while True:
            if (error := self._stop()) is not None:
                raise error
            if not self._heed_wishes():
                return self._finish()
            if self._playing is None and self._opening and not self._is_paused:
                self._begin(self._opening.pop(0))
            if self._playing is None or self._is_paused or self._is_ahead:
                time.sleep(WAIT_SECONDS)
                continue
            if not self._make_chunk():
                self._playing = None

    # viewers

    def _wish_for_prompt(self, text: str, is_cut: bool) -> None:
        text = " ".join(without_controls(text).split())
        if not text:
            return
        if len(text) > MAX_PROMPT:
            self._channel.tell(
                type="refused", text=f"A prompt has at most {MAX_PROMPT:,} characters; this has {len(text):,}."
            )
            return
        self._put(Wish("prompt", text, is_cut))

    def _put(self, wish: Wish) -> None:
        try:
            self._wishes.put_nowait(wish)
        except queue.Full:
            self._channel.tell(type="refused", text="Too many wishes wait already.")

    # the film

    @property
    def _made_seconds(self) -> float:
        return self._take.num_frames / self._fps if self._fps else 0.0

    @property
    def _is_ahead(self) -> bool:
        """Whether the next chunk would be too early: a chunk that plays, and one that waits, are enough for a player that
        plays."""
        enough = STARVED_CHUNKS if self._is_starved else 1.2
        return self._lead > 0 and self._made_seconds - self._played > self._lead * enough

    def _heed_wishes(self) -> bool:
        """All that were sent until now; False if the film is to end."""
        while True:
            try:
                wish = self._wishes.get_nowait()
            except queue.Empty:
                return True
            if wish.kind == "finish":
                return False
            if wish.kind == "pause":
                self._is_paused = wish.is_on
                self._channel.tell(type="state", paused=wish.is_on, text="Paused" if wish.is_on else "")
            elif wish.kind == "undo":
                self._undo()
            else:
                self._play_wish(wish)

    def _play_wish(self, wish: Wish) -> None:
        try:
            prompt, names = self._take.refer(wish.text)
        except UsageError as error:
            self._channel.tell(type="refused", text=error.message)
            return
        self._opening = []
        self._begin(Segment(prompt, 0.0, transition="cut" if wish.is_cut else "smooth", names=names))

    def _begin(self, segment: Segment) -> None:
        self._playing = self._take.shoot_segment(segment)
        if self._make_chunk():
            planned = self._take.segments[-1]
            self._showing.tell_segment(planned)
            self._channel.tell(type="from", start=planned.start_frame / self._fps)

    def _make_chunk(self) -> bool:
        """One chunk of the segment at hand, shown; False at the segment's end."""
        assert self._playing is not None, "a prompt is playing"
        for event in self._playing:
            if isinstance(event, FilmStarted):
                self._know(event.plan)
            self._showing(event)
            if isinstance(event, ChunkDone):
                return True
        return False

    def _know(self, plan: FilmPlan) -> None:
        self._fps = plan.fps
        self._lead = plan.geometry.chunk * plan.geometry.temporal_stride / plan.fps

    def _undo(self) -> None:
        self._playing = None
        self._opening = []
        self._take.undo()
        self._showing.begin_again()
        self._played = min(self._played, self._made_seconds)
        self._channel.tell(type="undone", start=self._made_seconds, segments=len(self._take.segments))

    def _finish(self) -> FilmResult | None:
        self._playing = None
        result = self._put_together()
        if result is not None:
            self._showing(FilmDone(result))
        return result
