"""Ray, as far as films need it: nodes that are asked, workers that are hired, calls that are waited for.

Nothing else imports Ray, and this file is imported only where a cluster is asked for. Calls are polls, not streams of
results: a driver that comes in by ray:// cannot receive those.
"""

import contextlib
import logging
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.studio.farm.nodes import Node, unique_names
from memflow_cli.studio.farm.worker import FilmWorker

Call = Any
"""Something that a worker was asked, whose answer is not there yet."""

LOCAL = "local"
_THREADS = 4  # of a worker's process that answer calls, beside the one that makes films
_ANSWER_SECONDS = 120.0
_NOTICED_SECONDS = 60.0  # in which a cluster notices that a node is gone
_OBJECT_STORE_BYTES = 256 << 20  # of a cluster on this machine alone: what is told of films is small


class WorkerLost(Exception):  # noqa: N818 - what happened, for the driver to act on
    """A worker is gone. `is_dead`: its process has ended for certain, and was not only cut off from the cluster."""

    def __init__(self, why: str, is_dead: bool) -> None:
        super().__init__(why)
        self.why = why
        self.is_dead = is_dead


class WorkerSilentError(Exception):
    """A worker did not answer this once; it may still be there."""


@dataclass(eq=False)
class Hired:
    """A worker's process. `node`: None until it runs."""

    actor: Any
    node: Node | None = None


class Cluster:
    """A connection to a cluster, from when it is made until it is closed. One at a time in a process."""

    def __init__(self, address: str) -> None:
        """`address`: ray://HOST:PORT, HOST:PORT of a cluster's head, or `LOCAL`: one that is started on this machine and
        ends with this process. Raises UsageError where there is none.
        """
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address == LOCAL:
            options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
            options["_plasma_directory"] = (
                tempfile.gettempdir()
            )  # a container's /dev/shm is small, or cannot be written
        _keep_from_stdout()
        with _signals_as_before():
            try:
                ray.init(address, **options)
            except Exception as error:
                with contextlib.suppress(RayError, RuntimeError):
                    ray.shutdown()
                what = " ".join(str(error).split())[:300]
                raise UsageError(
                    f"there is no Ray cluster at {address}, or this machine cannot join it: {what}",
                    "ray start --head starts one; --on ray without RAY_ADDRESS uses this machine alone",
                ) from error
        self._kind = ray.remote(RemoteWorker)
        self._nodes: dict[str, Node] = {}

    def close(self) -> None:
        """All workers end with it."""
        ray.shutdown()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # nodes

    def nodes(self) -> list[Node]:
        """Those that are alive and can make something."""
        found = [about for about in ray.nodes() if about["Alive"]]
        ids = [about["NodeID"] for about in found]
        names = unique_names([_name(about) for about in found], ids)
        resources = [about["Resources"] for about in found]
        nodes = [
            Node(node_id, name, has.get("CPU", 0.0), has.get("GPU", 0.0))
            for node_id, name, has in zip(ids, names, resources)
        ]
        self._nodes |= {node.node_id: node for node in nodes}
        return [node for node in nodes if node.num_cpus or node.num_gpus]

    def ask(self, nodes: Sequence[Node], look: Callable[[], dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Runs `look` once on each node: the node's name -> what it returned; a node that dies meanwhile is left out.

        Raises MemflowError where one is silent, or all are gone.
        """
        task = ray.remote(look)
        calls = {
            node: task.options(
                num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)
            ).remote()
            for node in nodes
        }
        found: dict[str, dict[str, Any]] = {}
        for node, call in calls.items():
            try:
                found[node.name] = ray.get(call, timeout=_ANSWER_SECONDS)
            except (RayError, GetTimeoutError) as error:
                if not self._is_alive_after(node, _NOTICED_SECONDS) and len(calls) > 1:
                    continue
                raise MemflowError(f"node {node.name} does not answer: {_first_line(error)}") from error
        return found

    # workers

    def share(self, content: object) -> Any:
        """Puts something where every node finds it: what stands for it may be given to `hire`."""
        return ray.put(content)

    def hire(self, arguments: Sequence[object], num_cpus: float, num_gpus: float, on: Node | None = None) -> Hired:
        """A new worker, made of `arguments`, as soon as there is room for it. `on`: there and nowhere else."""
        strategy: Any = "SPREAD" if on is None else NodeAffinitySchedulingStrategy(on.node_id, soft=False)
        return Hired(
            self._kind.options(
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                max_concurrency=_THREADS,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=strategy,
            ).remote(*arguments)
        )

    def call(self, worker: Hired, method: str, *arguments: object) -> Call:
        return getattr(worker.actor, method).remote(*arguments)

    def wait(self, calls: Sequence[Call], seconds: float) -> list[Call]:
        """The calls that are answered; waits up to so long for the first."""
        if not calls:
            return []
        ready, rest = ray.wait(list(calls), num_returns=1, timeout=seconds)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return ready

    def answer(self, worker: Hired, call: Call) -> Any:
        """What a call returned. Raises WorkerLost or WorkerSilentError."""
        try:
            return ray.get(call)
        except ActorUnavailableError as error:
            raise WorkerSilentError(_first_line(error)) from error
        except RayError as error:
            raise WorkerLost(_reason(error), worker.node is None or self._is_alive(worker.node)) from error

    def find_node(self, node_id: str) -> Node:
        if node_id not in self._nodes:
            self.nodes()
        return self._nodes.get(node_id) or Node(node_id, node_id[:8], 0, 0)

    def dismiss(self, worker: Hired) -> None:
        """Ends a worker's process at once, whatever it does."""
        with contextlib.suppress(RayError):
            ray.kill(worker.actor, no_restart=True)

    def _is_alive_after(self, node: Node, seconds: float) -> bool:
        """Whether the cluster still counts on a node; it takes a while to notice a death."""
        end = time.monotonic() + seconds
        while self._is_alive(node):
            if time.monotonic() > end:
                return True
            time.sleep(0.5)
        return False

    def _is_alive(self, node: Node) -> bool:
        return any(about["Alive"] for about in ray.nodes() if about["NodeID"] == node.node_id)


class RemoteWorker(FilmWorker):
    """A worker as Ray runs it."""

    def where(self) -> str:
        """The id of its node; answered as soon as the process runs."""
        return str(ray.get_runtime_context().get_node_id())


def _name(about: Mapping[str, Any]) -> str:
    """What a user calls a node: the name that it was started with, or its host's."""
    name = str(about.get("NodeName") or "")
    return name if name and name != about.get("NodeManagerAddress") else str(about.get("NodeManagerHostname") or name)


def _reason(error: Exception) -> str:
    """Why a worker is gone, in a few words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("class_name:", "actor_id:", "pid:", "namespace:", "ip:"))]
    return " ".join(told[-1:] or [type(error).__name__])[:300]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _keep_from_stdout() -> None:
    """Ray prints what its nodes complain of, as that one is gone, on the stdout of a driver, and has no option against it.
    Films' paths are printed there, and lost workers are told of anyway.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


@contextlib.contextmanager
def _signals_as_before() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
