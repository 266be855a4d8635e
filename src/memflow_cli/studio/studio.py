"""A studio: one model, loaded when its first film is made, and kept for all others.

studio = Studio("theatre")
studio.make(load_storyboard(Path("fox.yaml")), "fox.mp4")
"""

import gc
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch

from memflow_cli.backbone import Backbone
from memflow_cli.errors import UsageError
from memflow_cli.film.events import Event, FilmResult, StageStarted, Warned
from memflow_cli.film.film_under_way import Stop
from memflow_cli.film.names import record_path, trace_path
from memflow_cli.film.placing import finish_placing
from memflow_cli.film.preflight import check_names as check_names_of_film
from memflow_cli.film.recipe import recorded_seed
from memflow_cli.film.script import ShootingScript, plan_story
from memflow_cli.film.shooting import finished, machine_of, shoot
from memflow_cli.machine.device import check_names, choose_device, choose_dtype
from memflow_cli.machine.out_of_memory import HINT, memory_errors
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models import load
from memflow_cli.models.catalog import find_model
from memflow_cli.models.entry import Lora, ModelEntry
from memflow_cli.models.family import family_of
from memflow_cli.models.footprint import Placement, place
from memflow_cli.story.load import load_storyboard
from memflow_cli.story.storyboard import Storyboard, Subject
from memflow_cli.studio.job import Job
from memflow_cli.studio.needs import Wishes, check_inputs, check_options, check_preview_decoder, prepare
from memflow_cli.studio.take import Take

Events = Callable[[Event], None]


class Studio:
    """Makes films with one model. `model`: a name, a path, or an entry of the catalogue.

    `device`, `dtype`: as on the command line, `auto` unless told. `loras`: merged into the model. `vram`: bytes of the card
    that may be used. `preview_decoder`: a tiny decoder's file. `accelerate`: ways to make the model faster. `embeddings`: a
    folder to keep the embeddings of a large text encoder in. Raises ModelError for an unknown model, DeviceError and
    UsageError for what is not there or does not go together. Nothing is loaded before it is needed.
    """

    def __init__(
        self,
        model: str | Path | ModelEntry = "theatre",
        *,
        device: str = "auto",
        dtype: str = "auto",
        loras: Sequence[Lora] = (),
        vram: int | None = None,
        preview_decoder: Path | None = None,
        accelerate: Sequence[str] = (),
        embeddings: Path | None = None,
    ) -> None:
        check_names(device, dtype)
        entry = model if isinstance(model, ModelEntry) else find_model(model)
        self.entry = replace(entry, loras=(*entry.loras, *loras))
        check_options(self.entry, bool(self.entry.loras), vram is not None)
        check_preview_decoder(self.entry, preview_decoder)
        self._device = device
        self._dtype = dtype
        self._vram = vram
        self._preview_decoder = preview_decoder
        self._accelerate = tuple(accelerate)
        self._embeddings = embeddings
        self._backbone: Backbone | None = None
        self._placed_for: tuple[object, ...] | None = None  # the size of film that it was placed for; None: for all

    def make(
        self,
        storyboard: Storyboard,
        out: str | Path,
        events: Events = lambda event: None,
        *,
        overwrite: bool = False,
        resume: bool = True,
        keep: bool | None = None,
        stop: Stop = lambda: None,
    ) -> FilmResult:
        """Makes one film of a storyboard, or goes on with an interrupted one; with this studio's model, whatever the
        storyboard names.

        A film that is there already and would come out the same is left as it is. `overwrite`: another one is replaced.
        `keep`: leave beside the film what it can be edited and gone on from. `stop`: asked after every chunk for an error
        to stop with. Raises MemflowError and its kin.
        """
        out = Path(out)
        check_names_of_film(out)
        is_new = finish_placing(out)
        kept_bytes = None if keep is None else float("inf") if keep else 0
        wishes = Wishes(overwrite, False, resume, kept_bytes, self._preview_decoder)
        planned = plan_story(storyboard, self.entry)
        job = prepare(planned, self.entry, out, wishes, is_new, lambda text: events(Warned(text)))
        if job is None:
            plan = planned.with_seed(recorded_seed(out) or 0).plan
            return FilmResult(out, record_path(out), trace_path(out), plan, 0.0, {}, 0)
        return finished(self.shoot(job, stop), events)

    def shoot(self, job: Job, stop: Stop = lambda: None, prompts: Sequence[str] = ()) -> Generator[Event]:
        """A job's film as a stream of events. `prompts`: of all films to come, so that a large text encoder is loaded once."""
        yield from self.load(job, prompts)
        assert self._backbone is not None, "load() loads"
        yield from shoot(
            job.script,
            self._backbone,
            job.out,
            resume=job.resume,
            keep_run=job.keep,
            stop=stop,
            accelerations=self._accelerate,
        )

    def take(
        self,
        out: str | Path,
        *,
        seed: int | None = None,
        title: str | None = None,
        size: tuple[int, int] | None = None,
        fps: int | None = None,
        memory: MemoryOptions = MemoryOptions(),
        keep: bool = True,
        characters: Mapping[str, Subject] = MappingProxyType({}),
        places: Mapping[str, Subject] = MappingProxyType({}),
        style: str = "",
    ) -> Take:
        """A film whose story is told while it is made; goes on with one that was interrupted. See `Take`.

        `seed`: drawn unless given. `size`: width and height in pixels, the model's own unless given. `characters`, `places`:
        whom its prompts may refer to as {name}; memory knows them from their pictures. `style`: appended to every prompt.
        """
        out = Path(out)
        width, height = size or (None, None)
        empty = Storyboard(title or out.stem, (), self.entry.name, width, height, fps, seed, memory=memory)
        empty = replace(empty, characters=dict(characters), places=dict(places), style=style)
        return Take(self._loaded, self.entry, empty, out, self._accelerate, self._preview_decoder, keep)

    def load(self, job: Job, prompts: Sequence[str] = ()) -> Iterator[Event]:
        """Loads the model, unless one is there that can make this job's film."""
        if self.is_ready_for(job.script):
            return
        self.close()
        check_inputs(self.entry)  # a missing file is told before seconds of loading
        yield StageStarted("model")
        told: list[str] = []
        self._load(job.script, prompts or job.prompts, told.append)
        yield from map(Warned, told)

    def is_ready_for(self, script: ShootingScript) -> bool:
        """Whether this film needs no loading."""
        return self._backbone is not None and self._placed_for in (None, _placed_for(script))

    @property
    def machine(self) -> dict[str, str]:
        """What a film's bytes depend on besides its story and its model, once the model is loaded."""
        assert self._backbone is not None, "load() loads"
        return machine_of(self._backbone, self._accelerate)

    def close(self) -> None:
        """Lets the model go; the next film loads it again."""
        self._backbone = None
        gc.collect()  # and what refers to itself, as a recorded or compiled pass does

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loaded(self, script: ShootingScript) -> Backbone:
        if not self.is_ready_for(script):
            self.close()
            self._load(script, [segment.prompt for segment in script.plan.segments], lambda text: None)
        assert self._backbone is not None, "it was loaded just now"
        return self._backbone

    def _load(self, script: ShootingScript, prompts: Sequence[str], warn: Callable[[str], None]) -> None:
        device = choose_device(self._device)
        dtype = choose_dtype(self._dtype, device)
        placement = choose_placement(self._vram, self.entry, script, device, dtype)
        self._placed_for = None if placement is None else _placed_for(script)
        with memory_errors(f"for {self.entry.name}", f"{HINT}; so does --dtype bf16"):
            options = self._embeddings, placement, prompts, self._preview_decoder, warn
            backbone = load.load_model(self.entry, device, dtype, *options)
            speed_up(self.entry, backbone, self._accelerate, warn)
        self._backbone = backbone


def make(
    storyboard: Storyboard | str | Path,
    out: str | Path,
    events: Events = lambda event: None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    overwrite: bool = False,
) -> FilmResult:
    """Makes one film of a storyboard, or of a storyboard's file, with the model that it names. See `Studio.make`."""
    if not isinstance(storyboard, Storyboard):
        storyboard = load_storyboard(storyboard)
    with Studio(storyboard.model, device=device, dtype=dtype) as studio:
        return studio.make(storyboard, out, events, overwrite=overwrite)


def take(
    out: str | Path,
    model: str | Path = "theatre",
    *,
    seed: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Take:
    """A film whose story is told while it is made. See `Studio.take`."""
    return Studio(model, device=device, dtype=dtype).take(out, seed=seed)


def _placed_for(script: ShootingScript) -> tuple[object, ...]:
    """What fits on the card depends on the picture and the memory; films alike in both share a loaded model."""
    memory = script.storyboard.memory
    return (*script.plan.size, memory.policy, memory.bank, memory.activate, memory.kv)


def speed_up(
    entry: ModelEntry, backbone: Backbone, names: Sequence[str], warn: Callable[[str], None] = lambda text: None
) -> None:
    """Switches on what was asked for. `warn` is told what was not to be had. Raises UsageError for a way that the model's
    family does not know.
    """
    if not names:
        return
    family = family_of(entry)
    if unknown := [name for name in names if name not in family.accelerations]:
        raise UsageError(f"--accelerate: {entry.name} knows no such way", f"leave out {', '.join(unknown)}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        family.accelerate(backbone, names)
    for warning in caught:
        if warning.category is RuntimeWarning:
            warn(str(warning.message))


def choose_placement(
    budget: int | None, entry: ModelEntry, script: ShootingScript, device: torch.device, dtype: torch.dtype
) -> Placement | None:
    """What of a model stays on the card; None: all of it, unasked.

    `budget`: bytes of the card that may be used; None: those that are free now. Raises OutOfMemoryError if the film does
    not fit whatever gives way.
    """
    if budget is None:
        if device.type != "cuda" or not family_of(entry).takes_placement:
            return None
        torch.cuda.empty_cache()  # what torch keeps of a model before is free too
        budget = torch.cuda.mem_get_info(device)[0]
    memory: Any = script.storyboard.memory
    return place(entry, *script.plan.size, memory.num_recalled, budget, dtype.itemsize, memory.num_chosen, memory.kv)
