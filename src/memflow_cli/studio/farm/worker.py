"""A worker: a process on some node that holds a loaded model and makes film after film. No torch at import, no Ray.

What happens is kept until the driver has said that it knows: a call that is lost is made again, and a driver that does not
listen stops the film instead of filling this machine's memory.
"""

import json
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from memflow_cli.errors import MemflowError, ModelError
from memflow_cli.film.events import FilmDone, FilmStarted, FramesShown
from memflow_cli.models.entry import ModelEntry
from memflow_cli.studio.farm.lease import Lease
from memflow_cli.studio.farm.mirror import Mirror, Scratch
from memflow_cli.studio.farm.order import Attempt, Broken, Failed, Piece, Placed, Told, Unlike, own_class

if TYPE_CHECKING:
    from memflow_cli.studio.studio import Studio

MAX_KEPT = 256  # things told that the driver has not heard of yet
_MAX_AT_ONCE = 64
_MAX_BYTES_AT_ONCE = 16 << 20

MakeStudio = Callable[[ModelEntry], "Studio"]


class FilmWorker:
    """Its methods may be called from several threads at once. `prompts`: of all films to come with this model."""

    def __init__(self, make_studio: MakeStudio, prompts: Sequence[str], span: float) -> None:
        self._make_studio = make_studio
        self._prompts = prompts
        self._span = span
        self._studio: Studio | None = None
        self._attempts: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        self._told: deque[tuple[int, Told]] = deque()
        self._num_told = 0
        self._changed = threading.Condition()
        self._stop: MemflowError | None = None
        self._scratch: Scratch | None = None
        threading.Thread(target=self._work, name="films", daemon=True).start()

    def receive(self, token: str, piece: Piece) -> None:
        """Bytes of the run folder that an attempt goes on from, where this node does not see it."""
        if self._scratch is None or self._scratch.token != token:
            if self._scratch is not None:
                self._scratch.remove()
            self._scratch = Scratch(token)
        self._scratch.write(piece)

    def begin(self, attempt: Attempt) -> int:
        """Sets to work on a film. Returns how many things have been told so far."""
        self._stop = None
        self._attempts.put(attempt)
        return self._num_told

    def poll(self, known: int, seconds: float) -> list[tuple[int, Told]]:
        """What has happened after the first `known` things, with its number; waits up to so long for the next.

        What the driver knows is forgotten here.
        """
        with self._changed:
            while self._told and self._told[0][0] <= known:
                self._told.popleft()
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._told), seconds)
            return list(self._next_told())

    def stop(self, error: MemflowError) -> None:
        """The film is to stop after the chunk at hand, with this error."""
        self._stop = error

    # inside

    def _next_told(self) -> Iterator[tuple[int, Told]]:
        num_bytes = 0
        for number, told in islice(self._told, _MAX_AT_ONCE):
            yield number, told
            num_bytes += len(told.content) if isinstance(told, Piece) else 0
            if num_bytes > _MAX_BYTES_AT_ONCE:
                return

    def _tell(self, told: Told) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._told) < MAX_KEPT)
            self._num_told += 1
            self._told.append((self._num_told, told))
            self._changed.notify_all()

    def _wait_until_known(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._told)

    def _work(self) -> None:
        while True:
            attempt = self._attempts.get()
            try:
                ending: Told = self._make(attempt)
            except MemflowError as error:
                ending = Failed(own_class(error))
            except Exception:  # noqa: BLE001 - whatever it is, the driver hears of it
                ending = Broken(traceback.format_exc())
            self._tell(ending)

    def _make(self, attempt: Attempt) -> Told:
        if attempt.away:
            return self._make_away(attempt)
        token, dead = attempt.token, attempt.dead
        patience = (20 if attempt.before else 2) * self._span
        out = attempt.order.job.out
        with Lease.take(out, token, dead=dead, patience=patience, span=self._span, stop=lambda: self._stop) as lease:
            return self._shoot(attempt, lambda told: lease.check())

    def _make_away(self, attempt: Attempt) -> Told:
        scratch, self._scratch = self._scratch, None
        if scratch is None or scratch.token != attempt.token:
            scratch = Scratch(attempt.token)
        try:
            moved = scratch.moved(attempt)
            mirror = Mirror(moved.order.job.out)

            def bring_back(told: Told) -> None:
                if not isinstance(told, FilmStarted):
                    self._wait_until_known()  # what the chunk before has left is safe
                for piece in mirror.changes(told):
                    self._tell(piece)

            ending = self._shoot(moved, bring_back)
            self._wait_until_known()
            return ending
        finally:
            scratch.remove()

    def _shoot(self, attempt: Attempt, beside: Callable[[Told], None]) -> Told:
        """Makes the film, and tells of it. `beside`: called for all that is told, before."""
        studio = self._ready(attempt)
        job = attempt.order.job
        for event in studio.load(job, self._prompts):
            self._tell(event)
        machine = studio.machine
        if attempt.order.machine is not None and dict(attempt.order.machine) != dict(machine):
            return Unlike(machine)
        self._tell(Placed(machine))
        if self._stop is not None:
            raise self._stop
        ending: Told | None = None
        for event in studio.shoot(job, lambda: self._stop):
            if isinstance(event, FramesShown):
                continue
            beside(event)
            if isinstance(event, FilmDone):
                ending = event
            else:
                self._tell(event)
        assert ending is not None, "a film that ends without an error is done"
        return ending

    def _ready(self, attempt: Attempt) -> "Studio":
        """The studio for the attempt's film. Raises ModelError if this node's model is not the one that the job means."""
        if self._studio is None:
            job = attempt.order.job
            try:
                entry = job.find_entry()
                mine = json.loads(json.dumps(entry.identity()))
            except MemflowError as error:
                raise type(error)(f"node {attempt.node}: {error.message}", error.hint) from error
            if (difference := _difference(job.script.recipe.common["model"], mine)) is not None:
                raise ModelError(
                    f"node {attempt.node} has other files of {entry.name} than the driver: {difference}",
                    "copy the model to every node with the times of its files, or put it on a disk that all see",
                )
            self._studio = self._make_studio(entry)
        return self._studio


def _difference(wanted: Any, found: Any, path: str = "") -> str | None:
    """Where two JSON values differ first."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted({*wanted, *found}):
            if (told := _difference(wanted.get(key), found.get(key), f"{path}{key} ")) is not None:
                return told
        return None
    return None if wanted == found else f"{path}is {str(found)[:60]}, not {str(wanted)[:60]}"
