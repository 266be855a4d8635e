"""`memflow generate`: storyboards -> films."""

import contextlib
import gc
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli import options
from memflow_cli.cli.acceleration import Accelerate, parse_accelerations, speed_up
from memflow_cli.cli.batch import Batch
from memflow_cli.cli.caches import cache_folder
from memflow_cli.cli.completion import one_of
from memflow_cli.cli.device import check_names, choose_device, choose_dtype, choose_placement, parse_vram
from memflow_cli.cli.plan import print_plan
from memflow_cli.cli.progress import Progress, make_progress
from memflow_cli.cli.prompt_lengths import lost_tokens, warn_of_lost_tokens
from memflow_cli.cli.stories import Story, choose_outputs, draw_seed, read_stories, without_traces
from memflow_cli.cli.talk import note, talk_as, warn
from memflow_cli.cli.texts import warn_of_texts
from memflow_cli.cli.watch import watched
from memflow_cli.cli.words import PROGRESS_KINDS
from memflow_cli.errors import Interrupted, ModelError, UsageError

if TYPE_CHECKING:
    from memflow_cli.backbone import Backbone
    from memflow_cli.film.events import FilmResult
    from memflow_cli.machine.stop_requests import StopRequests
    from memflow_cli.models.entry import Lora, ModelEntry

# Bars and warnings of the libraries below, which would run through our own progress.
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def register(app: typer.Typer) -> None:
    app.command("generate")(generate)


@options.with_story_options
def generate(
    storyboards: options.Storyboards,
    story_options: options.StoryOptions,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILM|FOLDER/", help="film.mp4, or a folder for several films. [here]"),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora", metavar="FILE[:STRENGTH]", help="A LoRA of your own, merged into the model; several work."
        ),
    ] = None,
    vram: Annotated[
        str,
        typer.Option(
            "--vram",
            metavar="auto|SIZE",
            help="Memory of the card that may be used, such as 8GiB; what does not fit is streamed or left on the host.",
        ),
    ] = "auto",
    preview_decoder: options.PreviewDecoder = None,
    accelerate: Accelerate = "",
    offline: Annotated[
        bool, typer.Option("--offline", help="Never touch the network. (generate downloads nothing in any case.)")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace a film that is there already.")] = False,
    no_overwrite: Annotated[
        bool, typer.Option("--no-overwrite", "-n", help="Leave a film that is there already, whatever it is.")
    ] = False,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Start over instead of going on with an interrupted run.")
    ] = False,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="auto|no|SIZE",
            help="Keep what a film can be edited and gone on from, up to this size (film.mp4.run). [auto: theatre's]",
        ),
    ] = "auto",
    keep_run: Annotated[bool, typer.Option("--keep-run", help="Keep that of whatever size.")] = False,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time", metavar="TIME", help="Stop after this long (90s, 2h); the same command goes on later."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Play the film on a page of this machine while it is made.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="With --watch: print the page's address instead of opening it.")
    ] = False,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Write what the film remembered beside it (see inspect-memory).")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check storyboards, pictures, model files, outputs; print the plan; make nothing."
        ),
    ] = False,
    progress: Annotated[
        str,
        typer.Option(
            metavar="|".join(PROGRESS_KINDS),
            help="What is told on stderr while films are made.",
            autocompletion=one_of(*PROGRESS_KINDS),
        ),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a film on stdout.")] = False,
) -> None:
    """Make films of storyboards.

    Prints each film's path on stdout. Beside film.mp4 lie film.json (all that is needed to make it again) and
    film.memory.jsonl (what memory did). An interrupted film goes on with the same command; a finished one whose
    storyboard, model and seed are unchanged is left alone. Several storyboards share one loaded model; one that fails
    does not stop the others.
    """
    if progress not in PROGRESS_KINDS:
        raise UsageError(f"--progress {progress[:40]}: no such kind", hint=f"allowed: {', '.join(PROGRESS_KINDS)}")
    talk_as(progress)
    if overwrite and no_overwrite:
        raise UsageError("--overwrite and --no-overwrite contradict each other")
    check_names(device, dtype)
    accelerations = parse_accelerations(accelerate)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if watch and len(storyboards) > 1:
        raise UsageError("--watch shows one film", "give one storyboard")
    max_seconds = _max_seconds(max_time)
    vram_bytes = parse_vram(vram)
    kept_bytes = _kept_bytes(keep, keep_run)
    loras = tuple(_parse_lora(text) for text in lora or [])
    overrides = story_options.overrides()

    batch = Batch(as_json)
    stories: list[Story] = []
    for path in without_traces(storyboards):
        with batch.attempt(path):
            found = read_stories(path, story_options.segment_seconds, overrides)
            for story in found:
                _check_preview_decoder(story.entry, preview_decoder)
                _check_plugin(story.entry, loras, vram)
            stories.extend(
                replace(story, entry=replace(story.entry, loras=loras or story.entry.loras)) for story in found
            )
    batch.num_films = len(stories) + len(batch.failures)
    if not stories:
        batch.finish()
    outputs = choose_outputs([story.name for story in stories], out, batch.num_films, make_folder=not dry_run)
    if dry_run:
        for story, film in zip(stories, outputs, strict=True):
            with batch.attempt(story.path, film):
                _check(story, film, preview_decoder, overwrite, no_overwrite, not no_resume, inspect)
                print_plan(story, as_json)
        batch.finish()
        return

    from memflow_cli.film import preflight
    from memflow_cli.film.placing import finish_placing
    from memflow_cli.film.recipe import read_record, run_path
    from memflow_cli.film.run_folder import remove_leftover
    from memflow_cli.machine.stop_requests import StopRequests

    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(make_progress(progress))
        stop = stack.enter_context(StopRequests(max_seconds, tell.stage))
        if watch:
            tell = stack.enter_context(watched(tell, not no_browser))
        place = device, dtype, vram_bytes
        maker = _Maker(
            stories, *place, preview_decoder, accelerations, tell, stop, resume=not no_resume, kept_bytes=kept_bytes
        )
        for number, (story, film) in enumerate(zip(stories, outputs, strict=True)):
            with batch.attempt(story.path, film):
                stopped = stop()
                if isinstance(stopped, Interrupted) or (stopped and number > 0):  # a time limit is asked after a chunk
                    raise stopped
                preflight.check_names(film, inspect)
                is_new = finish_placing(film)
                given = preview_decoder, overwrite, no_overwrite, not no_resume, inspect
                job = _prepare(story, film, *given, is_new=is_new)
                if job is None:
                    remove_leftover(run_path(film), (read_record(film) or {}).get("recipe"))
                    batch.skipped(story, film)
                else:
                    tell.film(number + 1, len(stories))
                    batch.made(job, film, maker.make(job, film))
                if inspect:
                    with batch.afterwards():
                        tell.stage("writing what it remembered")
                        _write_report(film)
            if batch.stopped:
                break
    batch.sum_up()
    batch.finish()


def _check_preview_decoder(entry: "ModelEntry", path: Path | None) -> None:
    """Raises UsageError for a model that has other latents than a tiny decoder's, ModelError for a file that is not there."""
    from memflow_cli.models.family import family_of

    if path is None:
        return
    if not family_of(entry).takes_preview_decoder:
        raise UsageError(
            f"--preview-decoder {path}: {entry.name}'s latents are not Wan's, which a tiny decoder decodes",
            "leave the option out, or choose a model of the Wan 2.1 family",
        )
    if not path.is_file():
        raise ModelError(f"--preview-decoder {path}: there is no such file")


def _check_plugin(entry: "ModelEntry", loras: tuple["Lora", ...], vram: str) -> None:
    """Raises UsageError for options that a plug-in's own loader does not get to see."""
    from memflow_cli.models.family import family_of

    family = family_of(entry)
    asked = (("--lora", loras, family.takes_loras), ("--vram", vram != "auto", family.takes_placement))
    unused = [name for name, is_given, is_taken in asked if is_given and not is_taken]
    if unused:
        raise UsageError(
            f"{' and '.join(unused)}: {entry.name} comes from a plug-in, which loads it in its own way",
            "leave the option out, or choose another model with --model",
        )


def _prepare(
    story: Story,
    film: Path,
    preview_decoder: Path | None,
    overwrite: bool,
    no_overwrite: bool,
    resume: bool,
    with_report: bool,
    is_new: bool = False,
) -> Story | None:
    """The story with its seed, or None if the film is there and stays. Raises UsageError if it is another film, or if
    what is to be written would harm other files or cannot be written.

    `is_new`: the film was made by an earlier life of this command, so that it is not to be made over again.
    """
    from memflow_cli.film.names import run_path, trace_path
    from memflow_cli.film.preflight import check_names, check_outputs
    from memflow_cli.film.recipe import make_recipe, recorded_seed, unfinished_because
    from memflow_cli.film.run_folder import is_kept
    from memflow_cli.story.attached import check_attached

    check_names(film, with_report)
    is_begun = run_path(film).is_dir()
    is_drawn = story.storyboard.seed is None
    if is_drawn:
        recorded = recorded_seed(film) if is_begun or not overwrite else None
        story = story.with_seed(draw_seed() if recorded is None else recorded)
    plan, recipe = make_recipe(story.storyboard, story.entry, preview_decoder)
    is_again = is_drawn and overwrite and not is_new and is_kept(run_path(film))
    if is_again and unfinished_because(film, recipe, plan.title) is None:  # nothing was edited: another seed is wanted
        story = story.with_seed(draw_seed())
        plan, recipe = make_recipe(story.storyboard, story.entry, preview_decoder)
    if film.exists() and (is_new or not overwrite):
        reason = unfinished_because(film, recipe, plan.title)
        if no_overwrite or reason is None:
            if not trace_path(film).exists():
                warn(f"{trace_path(film)} is missing: what {film.name} remembered cannot be shown; -y makes both again")
            return None
        if not overwrite:
            raise UsageError(f"{film} exists and {reason}", hint="-y replaces it, -n leaves it as it is")
    check_outputs(film, plan, recipe, resume, with_report)
    check_attached(story.storyboard, plan.width, plan.height)
    return story


def _check(
    story: Story,
    film: Path,
    preview_decoder: Path | None,
    overwrite: bool,
    no_overwrite: bool,
    resume: bool,
    with_report: bool,
) -> None:
    """Raises MemflowError for what would keep this film from being made, as far as can be told without a device."""
    from memflow_cli.models.family import family_of

    if _prepare(story, film, preview_decoder, overwrite, no_overwrite, resume, with_report) is None:
        return
    family_of(story.entry).check_files(story.entry)


def _write_report(film: Path) -> None:
    from memflow_cli import report
    from memflow_cli.film.names import report_path

    folder = report_path(film)
    found = report.inspect(film)
    if found.memory is None:
        raise UsageError(str(found.problem), found.hint)
    report.write_report(found, folder)
    note(f"open {folder / 'index.html'} to see what it remembered")


class _Maker:
    """Makes films with one loaded model; loads another only when a story asks for it. `stories`: all that may come."""

    def __init__(
        self,
        stories: Sequence[Story],
        device: str,
        dtype: str,
        vram: int | None,
        preview_decoder: Path | None,
        accelerations: tuple[str, ...],
        tell: Progress,
        stop: "StopRequests",
        resume: bool,
        kept_bytes: float | None,
    ) -> None:
        self._stories = stories
        self._device = device
        self._dtype = dtype
        self._vram = vram
        self._preview_decoder = preview_decoder
        self._accelerations = accelerations
        self._tell = tell
        self._stop = stop
        self._places = False  # whether what was loaded was placed for one size of film
        self._resume = resume
        self._kept_bytes = kept_bytes
        self._loaded: tuple[tuple[object, ...], Backbone] | None = None

    def make(self, story: Story, film: Path) -> "FilmResult":
        warn_of_texts(story)
        warn_of_lost_tokens(story, lost_tokens(story))
        with self._stop.at_once():
            backbone = self._load(story)
        from memflow_cli.film.shooting import make_film

        return make_film(
            story.storyboard,
            story.entry,
            backbone,
            film,
            self._tell,
            resume=self._resume,
            keep_run=_keeps(story, self._kept_bytes),
            stop=self._stop,
            preview_decoder=self._preview_decoder,
            accelerations=self._accelerations,
        )

    def _load(self, story: Story) -> "Backbone":
        entry = story.entry
        # What fits on the card depends on the picture and the memory, so films alike in both share a loaded model.
        memory = story.storyboard.memory
        wanted = (entry, story.plan.width, story.plan.height, memory.policy, memory.bank, memory.activate)
        if self._loaded and (self._loaded[0] == wanted or (self._loaded[0][0] == entry and not self._places)):
            return self._loaded[1]
        self._loaded = None  # the old model goes before the new one comes,
        gc.collect()  # and with it what refers to itself, as a recorded or compiled pass does
        from memflow_cli.models.family import family_of

        family_of(entry).check_files(entry)  # a missing file is told before seconds of imports
        self._tell.stage(f"loading {entry.name}")
        for library_talk, setting in _QUIET.items():
            os.environ.setdefault(library_talk, setting)
        from memflow_cli.machine.out_of_memory import HINT, memory_errors
        from memflow_cli.models.load import load_model

        device = choose_device(self._device)
        precision = choose_dtype(self._dtype, device)
        placement = choose_placement(self._vram, story, device, precision)
        self._places = placement is not None
        prompts = [part.prompt for other in self._stories if other.entry == entry for part in other.plan.segments]
        with memory_errors(f"for {entry.name}", f"{HINT}; so does --dtype bf16"):
            options = cache_folder("embeddings"), placement, prompts, self._preview_decoder, warn
            backbone = load_model(entry, device, precision, *options)
            speed_up(entry, backbone, self._accelerations)
        self._loaded = wanted, backbone
        return backbone


def _kept_bytes(keep: str, keep_run: bool) -> float | None:
    """How large a film's run folder may be for it to be kept; None: as the model has it. Raises UsageError."""
    from memflow_cli.story.quantities import parse_bytes

    if keep_run or keep == "auto":
        return float("inf") if keep_run else None
    try:
        return 0 if keep == "no" else parse_bytes(keep)
    except ValueError as error:
        raise UsageError(f"--keep: {error}", hint="for example --keep 2GiB, --keep no, or --keep auto") from None


def _keeps(story: Story, kept_bytes: float | None) -> bool:
    from memflow_cli.film.run_folder import latents_bytes
    from memflow_cli.models.family import family_of

    if kept_bytes is None:
        return family_of(story.entry).keeps_films
    return latents_bytes(story.plan) <= kept_bytes


def _max_seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from memflow_cli.story.quantities import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"--max-time: {error}") from None


def _parse_lora(text: str) -> "Lora":
    """FILE or FILE:STRENGTH. Raises UsageError for a strength that is none, ModelError for a file that is not there."""
    from memflow_cli.models.entry import Lora

    name, _, strength = text.rpartition(":")
    lora = Lora(Path(text))
    if name and not Path(text).exists():
        try:
            lora = Lora(Path(name), float(strength))
            if not math.isfinite(lora.strength):
                raise ValueError
        except ValueError:
            raise UsageError(f"--lora {text}: {strength!r} is not a number", hint="--lora my.safetensors:0.8") from None
    if not lora.path.is_file():
        raise ModelError(f"--lora {text}: there is no file {lora.path}")
    return lora
