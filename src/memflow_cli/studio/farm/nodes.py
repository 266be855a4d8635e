"""The nodes of a cluster: what fits on them, and whether they have what this machine has. No torch, no Ray."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memflow_cli.errors import UsageError

_MAX_TOLD = 5
_TOKEN = ".memflow-{}"


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. `name`: what a user knows it by; no other node has it. `num_cpus`, `num_gpus`: in all."""

    node_id: str
    name: str
    num_cpus: float
    num_gpus: float

    def room(self, num_cpus: float, num_gpus: float) -> int:
        """How many films that need so much it can make at once."""
        fits = [have // need for have, need in ((self.num_cpus, num_cpus), (self.num_gpus, num_gpus)) if need]
        return int(min(fits, default=self.num_cpus or self.num_gpus))


@dataclass(frozen=True)
class Share:
    """What of a node one film is given, and how many films are made at once."""

    num_cpus: float
    num_gpus: float
    num_films: int


def share_out(
    nodes: Sequence[Node],
    num_films: int,
    may_use_gpu: bool,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    at_once: int | None = None,
) -> Share:
    """What each film gets where the command line does not say.

    a) a GPU, if any node has one and films may use it;
    b) with a GPU one core, without one as many as there are for it when all films are made at once, on one node;
    c) as many films at once as there is room for.

    Raises UsageError where no node has room for a single film.
    """
    if num_gpus is None:
        num_gpus = 1 if may_use_gpu and any(node.num_gpus for node in nodes) else 0
    usable = [node for node in nodes if node.num_gpus >= num_gpus]
    if num_cpus is None:
        cores = [int(node.num_cpus) for node in usable]
        a_node = -(-(at_once or num_films) // max(1, sum(map(bool, cores))))  # films, at most
        num_cpus = 1 if num_gpus else max([1, *(count // max(1, a_node) for count in cores if count)])
    room = sum(node.room(num_cpus, num_gpus) for node in usable)
    if not room:
        raise UsageError(
            f"no node of the cluster has {num_cpus:g} CPUs and {num_gpus:g} GPUs for a film",
            "give less with --cpus-per-film and --gpus-per-film, or add nodes",
        )
    return Share(num_cpus, num_gpus, min(at_once or room, num_films))


@contextlib.contextmanager
def tokens_in(folders: Sequence[Path]) -> Iterator[dict[str, str]]:
    """While entered, a small file in each folder: path -> what it says. Raises UsageError for a folder that takes none."""
    written: dict[str, str] = {}
    try:
        for folder in folders:
            path, text = folder / _TOKEN.format(secrets.token_hex(8)), secrets.token_hex(16)
            try:
                path.write_text(text)
            except OSError as error:
                raise UsageError(f"cannot write in {folder}: {error.strerror}") from error
            written[str(path)] = text
        yield written
    finally:
        for name in written:
            with contextlib.suppress(OSError):
                Path(name).unlink()


def make_look(tokens: Mapping[str, str]) -> Callable[[], dict[str, Any]]:
    """What every node is asked: a function that needs nothing of memflow, so that it also runs where memflow is missing."""

    def look() -> dict[str, Any]:
        import hashlib
        import importlib
        import importlib.metadata
        import os
        from pathlib import Path

        found: dict[str, Any] = {"memflow": None, "source": None, "torch": None, "problem": None, "unseen": []}
        try:
            memflow_cli = importlib.import_module("memflow_cli")
            found["memflow"] = memflow_cli.__version__
            folder = Path(str(memflow_cli.__file__)).parent
            digest = hashlib.sha256()
            for path in sorted(folder.rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
            found["source"] = digest.hexdigest()
            found["torch"] = importlib.metadata.version("torch").partition("+")[0]
        except (ImportError, OSError, AttributeError) as error:
            found["problem"] = f"{type(error).__name__}: {error}"
        for name, text in tokens.items():
            try:
                seen = Path(name).read_text() == text and os.access(Path(name).parent, os.W_OK | os.X_OK)
            except OSError:
                seen = False
            if not seen:
                found["unseen"].append(str(Path(name).parent))
        return found

    return look


def check_nodes(here: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UsageError if a node differs from this machine. `found`: what `look` saw, by the node's name."""
    told = [text for name, there in found.items() for text in _differences(name, here, there)]
    if not told:
        return
    more = [f"and {len(told) - _MAX_TOLD} more"] if len(told) > _MAX_TOLD else []
    unseen = any(there["unseen"] for there in found.values())
    hint = "install the same versions on every node"
    if unseen:
        hint = "mount the folder on every node under the same path, or have films brought back with --fetch"
    raise UsageError("\n  ".join([*told[:_MAX_TOLD], *more]), hint)


def _differences(name: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    if there["problem"]:
        yield f"node {name} cannot import memflow: {there['problem']}"
    elif there["memflow"] != here["memflow"]:
        yield f"node {name} has memflow {there['memflow']}, this machine {here['memflow']}"
    elif there["source"] != here["source"]:
        yield f"node {name} has memflow {there['memflow']} as well, but its code is another"
    elif there["torch"] != here["torch"]:
        yield f"node {name} has torch {there['torch']}, this machine {here['torch']}"
    for folder in there["unseen"]:
        yield f"node {name} does not see {folder} as this machine does, or cannot write in it"


def unique_names(names: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Names of nodes, those that stand for several with a piece of the node's id."""
    return [name if names.count(name) == 1 else f"{name}-{node_id[:6]}" for name, node_id in zip(names, ids)]
