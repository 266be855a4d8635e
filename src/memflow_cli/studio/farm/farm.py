"""The driver: hands films to workers and tells what comes of them. No torch.

What it holds is bounded by the number of workers: orders are asked for when there is somebody to make them, and of each
film under way no more than what was told last. Films that are made are forgotten.
"""

import random
import secrets
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.film.events import ChunkDone, FilmDone, FilmStarted
from memflow_cli.film.film_under_way import Stop
from memflow_cli.studio.farm.cluster import Call, Cluster, Hired, WorkerLost, WorkerSilentError
from memflow_cli.studio.farm.lease import SPAN, Watch
from memflow_cli.studio.farm.mirror import Receiver, done_at
from memflow_cli.studio.farm.nodes import Node, Share
from memflow_cli.studio.farm.order import (
    Attempt,
    Broken,
    Failed,
    Lost,
    Machine,
    ModelKey,
    News,
    Order,
    Piece,
    Placed,
    Told,
    Unlike,
)
from memflow_cli.studio.farm.policy import Give, Hire, Seat, Standing, next_move
from memflow_cli.studio.farm.worker import MakeStudio

RETRIES = 3
_POLL_SECONDS = 2.0
_HEED_SECONDS = 0.5  # how long a Ctrl-C may wait to be heard
_DRIVER_PATIENCE = 90.0  # for the workers of a driver that died: Ray waits 30 s for one that came in by ray://


@dataclass(eq=False)
class _Worker:
    """A worker as the driver knows it. `call`: the one that it is to answer; None: it is idle."""

    model: ModelKey
    hired: Hired
    call: Call | None = None
    machine: Machine | None = None
    standing: Standing | None = None
    attempt: Attempt | None = None
    known: int = 0
    has_begun: bool = False  # there is something of the film that a chunk at hand belongs to
    receiver: Receiver | None = None

    @property
    def state(self) -> str:
        return "starting" if self.hired.node is None else "idle" if self.standing is None else "busy"

    @property
    def node(self) -> str:
        return "" if self.hired.node is None else self.hired.node.name


@dataclass(frozen=True)
class Ways:
    """How films are made on a cluster. `retries`: workers that a film may lose in a row without a new chunk. `fetch`: there
    is no disk that all nodes share. `span`: of a lease, in seconds.
    """

    share: Share
    retries: int = RETRIES
    fetch: bool = False
    span: float = SPAN


@dataclass
class Farm:
    """Workers on a cluster, hired when there are films for them. `prompts`: of all films of a model."""

    cluster: Cluster
    ways: Ways
    make_studio: MakeStudio
    prompts: dict[ModelKey, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._workers: list[_Worker] = []
        self._waiting: list[Standing] = []
        self._shared: dict[ModelKey, Any] = {}
        self._machines: dict[str, Machine] = {}  # node id -> its kind
        self._stopped: MemflowError | None = None
        self._false_starts = 0

    def make(self, orders: Iterator[Order], stop: Stop = lambda: None) -> Generator[News]:
        """Makes the films, and tells of each until it is done or has failed. Films of one model follow each other.

        `stop`: asked all the time; with an error from it, films end after the chunk at hand, and no others begin.
        """
        try:
            is_more = True
            while True:
                if self._stopped is None and (error := stop()) is not None:
                    self._stopped = error
                    yield from self._stop_all(error)
                while is_more and self._stopped is None and len(self._waiting) <= self.ways.share.num_films:
                    order = next(orders, None)
                    is_more = order is not None
                    self._waiting += [] if order is None else [Standing(order)]
                if self._stopped is None:
                    yield from self._move()
                busy = [worker for worker in self._workers if worker.standing is not None]
                if not busy and (self._stopped is not None or not (self._waiting or is_more)):
                    return
                yield from self._listen()
        finally:
            self.close()

    def close(self) -> None:
        """Ends all workers, whatever they do."""
        while self._workers:
            self._let_go(self._workers[-1])

    # handing out

    def _move(self) -> Iterator[News]:
        most = self.ways.share.num_films
        while self._waiting and (len(self._workers) < most or any(worker.state == "idle" for worker in self._workers)):
            for standing in self._waiting:
                if self._meets_others(standing) and not self._nodes_for(standing):
                    standing.order = replace(standing.order, machine=None)  # the run folder itself says what differs
            seats = [Seat(worker.model, worker.state, worker.machine) for worker in self._workers]
            match next_move(self._waiting, seats, most):
                case Give(film, seat):
                    yield from self._give(self._waiting.pop(film), self._workers[seat])
                case Hire(film, instead):
                    if instead is not None:
                        self._let_go(self._workers[instead])
                    self._hire(self._waiting[film])
                case None:
                    return

    def _hire(self, standing: Standing) -> None:
        order, share = standing.order, self.ways.share
        if order.model not in self._shared:
            self._shared[order.model] = self.cluster.share(tuple(self.prompts.get(order.model, ())))
        arguments = self.make_studio, self._shared[order.model], self.ways.span
        on = random.choice(self._nodes_for(standing)) if self._meets_others(standing) else None
        hired = self.cluster.hire(arguments, share.num_cpus, share.num_gpus, on)
        self._workers.append(_Worker(order.model, hired, self.cluster.call(hired, "where")))

    def _give(self, standing: Standing, worker: _Worker) -> Iterator[News]:
        token = secrets.token_hex(8)
        order, away = standing.order, self.ways.fetch
        attempt = Attempt(order, token, worker.node, standing.before, standing.dead, away)
        worker.standing, worker.attempt, worker.has_begun = standing, attempt, False
        try:
            if away:
                worker.receiver = Receiver(order.job)
                for piece in worker.receiver.pieces() if order.job.resume else ():
                    self.cluster.answer(worker.hired, self.cluster.call(worker.hired, "receive", token, piece))
            worker.call = self.cluster.call(worker.hired, "begin", attempt)
        except MemflowError as error:
            yield self._ended(worker, Failed(error))
        except (WorkerLost, WorkerSilentError) as error:
            yield from self._lost(worker, str(error), True)

    # listening

    def _listen(self) -> Iterator[News]:
        calls = {worker.call: worker for worker in self._workers if worker.call is not None}
        for call in self.cluster.wait(list(calls), _HEED_SECONDS):
            worker = calls[call]
            if worker.call != call:
                continue
            try:
                answer = self.cluster.answer(worker.hired, call)
            except WorkerLost as error:
                yield from self._lost(worker, error.why, error.is_dead)
                continue
            except WorkerSilentError:
                answer = []
            worker.call = None
            yield from self._heard(worker, answer)
        if not calls:
            time.sleep(0.01)

    def _heard(self, worker: _Worker, answer: Any) -> Iterator[News]:
        if isinstance(answer, str):  # where it is
            self._false_starts = 0
            worker.hired.node = self.cluster.find_node(answer)
            worker.machine = self._machines.get(answer)
            return
        for number, told in answer if isinstance(answer, list) else ():
            if worker.standing is None or number <= worker.known:
                continue
            worker.known = number
            yield from self._told(worker, told)
        if worker.standing is not None:
            worker.call = self.cluster.call(worker.hired, "poll", worker.known, _POLL_SECONDS)

    def _told(self, worker: _Worker, told: Told) -> Iterator[News]:
        standing = worker.standing
        assert standing is not None, "only of a film is anything told"
        match told:
            case Piece():
                try:
                    assert worker.receiver is not None, "what is made elsewhere is received"
                    worker.receiver.write(told)
                except MemflowError as error:
                    yield self._ended(worker, Failed(error))
                    self._let_go(worker)
            case Placed(machine):
                worker.machine = machine
                self._remember(worker, machine)
                if standing.order.machine is None:
                    standing.order = replace(standing.order, machine=machine)
            case Unlike(machine):
                worker.machine = machine
                self._remember(worker, machine)
                self._release(worker)
                self._waiting.insert(0, standing)
            case Broken(text):
                yield from self._lost(worker, text.strip().splitlines()[-1][:300], True)
            case FilmDone() | Failed():
                yield self._ended(worker, told)
            case _:
                if isinstance(told, FilmStarted):
                    worker.has_begun = True
                    standing.order = replace(standing.order, job=replace(standing.order.job, resume=True))
                if isinstance(told, ChunkDone):
                    standing.losses = 0
                yield News(standing.order.number, worker.node, told)

    def _ended(self, worker: _Worker, told: FilmDone | Failed) -> News:
        """The film is done, or has failed; its worker is free."""
        standing = worker.standing
        assert standing is not None, "a film ends once"
        out: Path = standing.order.job.out
        if isinstance(told, FilmDone):
            try:
                told = worker.receiver.finish(told) if worker.receiver is not None else done_at(out, told)
            except MemflowError as error:
                told = Failed(error)
        self._release(worker)
        return News(standing.order.number, worker.node, told)

    def _lost(self, worker: _Worker, why: str, is_dead: bool) -> Iterator[News]:
        """The worker is gone. Its film, if it had one, waits for another, unless it has lost too many."""
        standing, attempt = worker.standing, worker.attempt
        is_false_start = worker.state == "starting"
        self._let_go(worker)
        if is_false_start:
            self._false_starts += 1
            if self._false_starts > self.ways.retries:
                raise MemflowError(f"workers do not start on the cluster: {why}")
        if standing is None or attempt is None:
            return
        standing.before += (attempt.token,)
        standing.dead += (attempt.token,) if is_dead else ()
        standing.losses += 1
        order = standing.order
        if self._stopped is not None:
            yield News(order.number, worker.node, Failed(_kept(self._stopped)))
        elif standing.losses > self.ways.retries:
            times = f"{standing.losses} workers were lost, without a new chunk between them"
            yield News(
                order.number, worker.node, Failed(MemflowError(f"{times}, the last one on {worker.node}: {why}", KEPT))
            )
        else:
            self._waiting.insert(0, standing)
            yield News(order.number, worker.node, Lost(why))

    def _stop_all(self, error: MemflowError) -> Iterator[News]:
        """Films end after the chunk at hand; where there is none yet, as while a model is loaded, at once."""
        for worker in [worker for worker in self._workers if worker.standing is not None]:
            if worker.has_begun:
                self.cluster.call(worker.hired, "stop", error)
            else:
                yield from self._lost(worker, error.message, True)
        for standing in self._waiting:
            if standing.before:
                yield News(standing.order.number, "", Failed(_kept(error)))
        self._waiting.clear()

    # workers

    def _remember(self, worker: _Worker, machine: Machine) -> None:
        if worker.hired.node is not None:
            self._machines[worker.hired.node.node_id] = machine

    def _meets_others(self, standing: Standing) -> bool:
        """Whether the cluster has machines that are known to be of another kind than the film's."""
        return standing.order.machine is not None and not all(map(standing.suits, self._machines.values()))

    def _nodes_for(self, standing: Standing) -> list[Node]:
        """The nodes with room for the film that are of its kind, as far as is known."""
        share = self.ways.share
        nodes = [node for node in self.cluster.nodes() if node.room(share.num_cpus, share.num_gpus)]
        return [node for node in nodes if standing.suits(self._machines.get(node.node_id))]

    def _release(self, worker: _Worker) -> None:
        if worker.receiver is not None:
            worker.receiver.close()
        worker.standing, worker.attempt, worker.receiver = None, None, None

    def _let_go(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._release(worker)
        self.cluster.dismiss(worker.hired)


def wait_for_writers(films: Sequence[Path], stop: Stop = lambda: None, span: float = SPAN) -> None:
    """Waits until the leases of films, which an earlier driver's workers have left or still hold, are over.

    Raises what `stop` says. One that is still renewed after a while is another driver's: it stays.
    """
    watches = [Watch(film, span) for film in films]
    while watches := [watch for watch in watches if not watch.is_over()]:
        if (error := stop()) is not None:
            raise error
        if watches[0].seconds > _DRIVER_PATIENCE:
            return
        time.sleep(span / 30)


def _kept(error: MemflowError) -> MemflowError:
    return type(error)(error.message, KEPT)
