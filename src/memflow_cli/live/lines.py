"""A film steered by lines of text, so that scripts and pipes can drive it: no browser, no packages besides."""

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.events import ChunkDone, Event
from memflow_cli.story.quantities import parse_seconds
from memflow_cli.story.schema import MAX_PROMPT_LENGTH
from memflow_cli.story.storyboard import Segment
from memflow_cli.story.texts import without_controls
from memflow_cli.studio.take import Take

LEAST_SECONDS = 0.3  # of a segment that are worth to be gone on with

Stop = Callable[[], MemflowError | None]

_WAIT = re.compile(r"wait\s+(\S+)", re.IGNORECASE)
_CUT = re.compile(r"cut:\s*(.+)", re.IGNORECASE)


def play_lines(
    take: Take, opening: Sequence[Segment], lines: Iterable[str], stop: Stop = lambda: None
) -> Iterator[dict[str, Any]]:
    """Plays `opening`, then line by line: a prompt, `cut: prompt`, `wait 4s`, `undo`. An answer for each line.

    A prompt that nobody waits for gets one chunk. What a line says wrong is answered as `error`, and nothing is played.
    A film that an earlier run has begun is told of first, as `resumed`. Raises what `stop` says after a chunk.
    """
    player = _Player(take, stop)
    if take.segments:
        yield {"event": "resumed", "from": player.seconds, "prompts": len(take.segments)}
    for segment in opening:
        yield player.begin(replace(segment, seconds=0.0))
        player.wait(segment.seconds)
    for line in lines:
        text = " ".join(without_controls(line).split())
        if not text:
            continue
        if (waiting := _WAIT.fullmatch(text)) is not None:
            yield player.waited(waiting[1])
        elif text.lower() == "undo":
            yield player.undo()
        else:
            yield player.begin_line(text)


def rest_of(opening: Sequence[Segment], played: Sequence[Segment]) -> list[Segment]:
    """What is left of an opening after so much was played of it: nothing, if something else was played."""
    prompts = [segment.prompt for segment in played]
    if not played or prompts != [segment.prompt for segment in opening[: len(played)]]:
        return [] if played else list(opening)
    last = opening[len(played) - 1]
    missing = last.seconds - played[-1].seconds
    rest = list(opening[len(played) :])
    if missing >= LEAST_SECONDS:
        rest.insert(0, replace(last, seconds=missing, transition="smooth"))
    return rest


class _Player:
    """The take, and how far it has been played."""

    def __init__(self, take: Take, stop: Stop) -> None:
        self._take = take
        self._stop = stop
        self._playing: Generator[Event] | None = None

    @property
    def seconds(self) -> float:
        """Of the film, made so far."""
        return round(self._take.num_frames / self._fps, 6) if self._take.num_frames else 0.0

    @property
    def _fps(self) -> int:
        assert self._take.plan is not None, "something was played"
        return self._take.plan.fps

    def begin_line(self, text: str) -> dict[str, Any]:
        """A prompt, or one after `cut:`; it may refer to characters and places that the take was given."""
        cut = _CUT.fullmatch(text)
        try:
            prompt, names = self._take.refer(cut[1] if cut else text)
        except UsageError as error:
            return {"event": "error", "text": error.message}
        if len(prompt) > MAX_PROMPT_LENGTH:
            return {"event": "error", "text": f"a prompt has at most {MAX_PROMPT_LENGTH:,} characters"}
        return self.begin(Segment(prompt, 0.0, transition="cut" if cut else "smooth", names=names))

    def begin(self, segment: Segment) -> dict[str, Any]:
        start = self.seconds
        self._playing = self._take.shoot_segment(segment)
        self._chunk()
        return {"event": "prompt", "prompt": segment.prompt, "transition": segment.transition, "from": start}

    def wait(self, seconds: float) -> None:
        """Lets so much film go by since the prompt's first chunk began, to the nearest chunk."""
        if self._playing is None:
            return
        end = self._take.segments[-1].start_frame / self._fps + seconds
        while self.seconds + self._chunk_seconds / 2 < end:
            self._chunk()

    def waited(self, text: str) -> dict[str, Any]:
        try:
            seconds = parse_seconds(text)
        except ValueError as error:
            return {"event": "error", "text": str(error)}
        if self._playing is None:
            return {"event": "error", "text": "wait comes after a prompt"}
        end = self.seconds + seconds - (self._chunk_seconds if self._is_fresh else 0)
        while self.seconds + self._chunk_seconds / 2 < end:
            self._chunk()
        return {"event": "wait", "until": self.seconds}

    def undo(self) -> dict[str, Any]:
        self._playing = None
        self._take.undo()
        return {"event": "undo", "from": self.seconds}

    @property
    def _is_fresh(self) -> bool:
        """Whether the segment has only the chunk that it was given when it began."""
        segment = self._take.segments[-1]
        return self._take.num_chunks - segment.start_chunk == 1

    @property
    def _chunk_seconds(self) -> float:
        geometry = self._take.geometry
        return geometry.chunk * geometry.temporal_stride / self._fps

    def _chunk(self) -> None:
        assert self._playing is not None, "a prompt is playing"
        if not any(isinstance(event, ChunkDone) for event in self._playing):
            return
        if (error := self._stop()) is not None:
            raise error
