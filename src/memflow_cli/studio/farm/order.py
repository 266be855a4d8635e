"""A film that is to be made on a cluster, and what is told of it. No torch, no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memflow_cli.errors import MemflowError
from memflow_cli.film.events import Event
from memflow_cli.film.names import run_path
from memflow_cli.film.run_on_disk import begun_recipe, is_kept
from memflow_cli.models.entry import Lora
from memflow_cli.studio.job import Job

Machine = Mapping[str, str]
"""A kind of machine: device, dtype, torch and whatever else of it a film's bytes depend on (`shooting.machine_of`)."""

ModelKey = tuple[str, tuple[Lora, ...]]
"""What a worker has loaded: a model's address and the LoRAs merged into it."""


@dataclass(frozen=True)
class Order:
    """One film of a batch. `number`: which one. `machine`: the kind of machine that it was begun on, if it was begun."""

    number: int
    job: Job
    machine: Machine | None = None

    @property
    def model(self) -> ModelKey:
        return self.job.model, self.job.loras


@dataclass(frozen=True)
class Attempt:
    """An order in the hands of one worker.

    `token`: its name, which no other attempt has. `node`: what the worker's node is called. `before`: the tokens of the
    attempts that it goes on from; `dead`: those of them whose process is known to have ended. `away`: the worker has a
    folder of its own, which is mirrored.
    """

    order: Order
    token: str
    node: str
    before: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    away: bool = False


@dataclass(frozen=True)
class Failed:
    """The film failed for a reason of its own, or was stopped: another worker would fare no better."""

    error: MemflowError


@dataclass(frozen=True)
class Broken:
    """The worker failed in a way that nobody foresaw. `text`: what was raised, and where."""

    text: str


@dataclass(frozen=True)
class Unlike:
    """The worker's machine is of another kind than the one that the film was begun on; it has not touched the film."""

    machine: Machine


@dataclass(frozen=True)
class Placed:
    """The model is loaded; the film is made on this kind of machine from here on."""

    machine: Machine


@dataclass(frozen=True)
class Lost:
    """The worker is gone, or was broken, and another one takes the film up. `why`: the end of a sentence."""

    why: str


@dataclass(frozen=True)
class Piece:
    """Bytes of a file of a run folder elsewhere, which belong at `offset`; what the file has beyond them goes.

    `anew`: the file takes the place of the one before, once its `is_last` piece is there.
    """

    name: str
    offset: int
    content: bytes
    anew: bool = False
    is_last: bool = True


Told = Event | Placed | Piece | Failed | Broken | Unlike
"""What a worker tells of an attempt. The last is a FilmDone, Failed, Broken or Unlike."""


@dataclass(frozen=True)
class News:
    """What the driver tells of a film. The last of each is a FilmDone or a Failed."""

    number: int
    node: str
    event: Event | Lost | Failed


def own_class(error: MemflowError) -> MemflowError:
    """The error as one of errors.py, which pickles: a kind of its own may ask for more than words when it is made."""
    for kind in type(error).__mro__:
        is_ours = issubclass(kind, MemflowError) and kind.__module__ == MemflowError.__module__
        if is_ours and (kind is MemflowError or "__init__" not in vars(kind)):
            return kind(error.message, error.hint)
    return MemflowError(error.message, error.hint)


def model_key(model: str, loras: Sequence[Lora]) -> ModelKey:
    """With paths as they hold in every folder."""
    here = Path(model)
    address = str(here.absolute()) if here.exists() else model
    return address, tuple(replace(lora, path=lora.path.absolute()) for lora in loras)


def absolute(job: Job) -> Job:
    """The job with its paths as they hold in every folder; a storyboard's own are absolute already."""
    model, loras = model_key(job.model, job.loras)
    decoder = None if job.preview_decoder is None else job.preview_decoder.absolute()
    return replace(job, model=model, loras=loras, preview_decoder=decoder, out=job.out.absolute())


def begun_on(job: Job) -> Machine | None:
    """The kind of machine that a film was begun on: what its run's recipe says besides the job's own. None: not begun."""
    run = run_path(job.out)
    begun = begun_recipe(run) if job.resume and not is_kept(run) else None
    if begun is None:
        return None
    return {key: value for key, value in begun.common.items() if key not in job.script.recipe.common}
