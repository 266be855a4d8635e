"""A film is shot: a generator of events, from the first prompt to the finished film.mp4.

Beside the film lie film.json (everything needed to make it again) and film.memory.jsonl (the trace); while it is made,
film.mp4.run/ (see run_folder.py). Nothing here grows with the film's length but the list of its segments.
"""

import contextlib
import platform
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import torch

from memflow_cli.backbone import Backbone
from memflow_cli.film.events import Event, FilmDone, FilmResult, StageStarted
from memflow_cli.film.film_under_way import FilmUnderWay, Stop
from memflow_cli.film.preflight import check_names
from memflow_cli.film.recipe import FilmModel, recorded_seed
from memflow_cli.film.script import ShootingScript, plan_story, write_script
from memflow_cli.machine.out_of_memory import HINT, memory_errors
from memflow_cli.story.storyboard import Storyboard

LESS_MEMORY = f"{HINT}; what was finished is kept, and the same command goes on from there."


def make_film(
    storyboard: Storyboard,
    model: FilmModel,
    backbone: Backbone,
    out: Path,
    events: Callable[[Event], None] = lambda event: None,
    *,
    resume: bool = True,
    keep_run: bool = False,
    stop: Stop = lambda: None,
    overlap: bool | None = None,
    preview_decoder: Path | None = None,
    accelerations: Sequence[str] = (),
) -> FilmResult:
    """Makes one film of a storyboard, see `shoot`. A storyboard without a seed gets the one its unfinished run was begun
    with, or 0. `preview_decoder`: the file that the backbone's decoder came from, if it is not the model's own; recorded.
    """
    script = write_script(plan_story(storyboard, model), model, recorded_seed(out) or 0, preview_decoder)
    shooting = shoot(
        script,
        backbone,
        out,
        resume=resume,
        keep_run=keep_run,
        stop=stop,
        overlap=overlap,
        accelerations=accelerations,
    )
    return finished(shooting, events)


def finished(shooting: Generator[Event], events: Callable[[Event], None] = lambda event: None) -> FilmResult:
    """Takes a film's events to their end, and tells `events` of each. What that raises ends the film."""
    result = None
    with contextlib.closing(shooting):
        for event in shooting:
            if isinstance(event, FilmDone):
                result = event.result
            events(event)
    assert result is not None, "a film that ends without an error is done"
    return result


def shoot(
    script: ShootingScript,
    backbone: Backbone,
    out: Path,
    *,
    resume: bool = True,
    keep_run: bool = False,
    stop: Stop = lambda: None,
    overlap: bool | None = None,
    accelerations: Sequence[str] = (),
) -> Generator[Event]:
    """Makes one film, or goes on with one that was interrupted. `out` ends in .mp4; whatever is there is replaced.

    Whoever stops asking for events ends it. `stop` is asked after every chunk; an error it returns is raised once the
    chunk is safe on disk. `overlap`: decode and encode beside the denoising, for the same film; unless told, where that
    pays. `accelerations`: what was done to the backbone to make it faster; recorded.
    Raises MemflowError and its kin; what was finished stays in the run folder, and the same call goes on from there.
    """
    check_names(out)
    recipe = script.recipe_on(machine_of(backbone, accelerations))
    with (
        memory_errors(f"at {script.plan.width}x{script.plan.height}", LESS_MEMORY),
        FilmUnderWay(script, recipe, backbone, out, stop, resume, keep_run, overlap) as film,
    ):
        yield from film.begin()
        if film.needs_chunks:
            yield from _make_chunks(film)
        yield from film.finish()


def _make_chunks(film: FilmUnderWay) -> Iterator[Event]:
    prompts = [segment.prompt for segment in film.plan.segments]
    yield StageStarted("prompts", len(set(prompts)))
    with film.timed("prompts"):
        told = film.encode_story(film.plan.segments)
    if film.resumed:
        yield StageStarted("replay", film.resumed)
    for segment in film.plan.segments:
        film.enter(segment, told)
        for chunk in range(segment.start_chunk, segment.end_chunk):
            yield from film.chunk()
            if film.resumed <= chunk < film.plan.num_chunks - 1:
                yield from film.heed_stop()


def machine_of(backbone: Backbone, accelerations: Sequence[str] = ()) -> dict[str, str]:
    """What a film's bytes depend on besides its story and its model."""
    is_cpu = backbone.device.type == "cpu"  # whose kernels round differently by what the processor can do
    return {
        "device": backbone.device.type,
        "dtype": str(backbone.dtype),
        **({"cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"} if is_cpu else {}),
        "torch": torch.__version__,
        "accelerate": ", ".join(sorted(accelerations)) or "none",
    }
