"""A film steered by lines of text, so that scripts and pipes can drive it: no browser, no packages besides."""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from memflow_cli.film.events import ChunkDone, Event, FilmStarted
from memflow_cli.story.quantities import parse_seconds
from memflow_cli.story.storyboard import Segment
from memflow_cli.studio.take import Take

_WAIT = re.compile(r"wait\s+(\S+)", re.IGNORECASE)
_CUT = re.compile(r"cut:\s*(.+)", re.IGNORECASE)


def play_lines(take: Take, opening: Sequence[Segment], lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Plays `opening`, then line by line: a prompt, `cut: prompt`, `wait 4s`, `undo`. An answer for each line.

    A prompt that nobody waits for gets one chunk. What a line says wrong is answered as `error`, and nothing is played.
    """
    player = _Player(take)
    for segment in opening:
        yield player.begin(segment.prompt, segment.transition, segment.seed)
        player.wait(segment.seconds)
    for line in lines:
        text = " ".join(line.split())
        if not text:
            continue
        if (waiting := _WAIT.fullmatch(text)) is not None:
            yield player.waited(waiting[1])
        elif text.lower() == "undo":
            yield player.undo()
        else:
            cut = _CUT.fullmatch(text)
            yield player.begin(cut[1] if cut else text, "cut" if cut else "smooth")


class _Player:
    """The take, and how far it has been played."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._playing: Generator[Event] | None = None
        self._fps = 0

    @property
    def _seconds(self) -> float:
        return round(self._take.num_frames / self._fps, 6) if self._fps else 0.0

    def begin(self, prompt: str, transition: str, seed: int | None = None) -> dict[str, Any]:
        start = self._seconds
        self._playing = self._take.shoot(prompt, None, transition, seed)
        self._chunk()
        return {"event": "prompt", "prompt": prompt, "transition": transition, "from": start}

    def wait(self, seconds: float) -> None:
        """Lets so much film go by since the prompt's first chunk began, to the nearest chunk."""
        if self._playing is None:
            return
        end = self._take.segments[-1].start_frame / self._fps + seconds
        while self._seconds + self._chunk_seconds / 2 < end:
            self._chunk()

    def waited(self, text: str) -> dict[str, Any]:
        try:
            seconds = parse_seconds(text)
        except ValueError as error:
            return {"event": "error", "text": str(error)}
        if self._playing is None:
            return {"event": "error", "text": "wait comes after a prompt"}
        end = self._seconds + seconds - (self._chunk_seconds if self._is_fresh else 0)
        while self._seconds + self._chunk_seconds / 2 < end:
            self._chunk()
        return {"event": "wait", "until": self._seconds}

    def undo(self) -> dict[str, Any]:
        self._playing = None
        self._take.undo()
        return {"event": "undo", "from": self._seconds}

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
        for event in self._playing:
            if isinstance(event, FilmStarted):
                self._fps = event.plan.fps
            if isinstance(event, ChunkDone):
                return
