"""What a film needs before any work is done for it: its seed, its files, its outputs. No torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from memflow_cli.errors import ModelError, UsageError
from memflow_cli.film.names import run_path, srt_path, trace_path
from memflow_cli.film.placing import brought_subtitles
from memflow_cli.film.preflight import check_names, check_outputs
from memflow_cli.film.recipe import recorded_seed, unfinished_because
from memflow_cli.film.record import has_captions, tracks_of
from memflow_cli.film.run_on_disk import is_kept, latents_bytes
from memflow_cli.film.script import PlannedStory
from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.family import family_of
from memflow_cli.story.attached import check_attached
from memflow_cli.studio.job import Job, draw_seed, make_job


@dataclass(frozen=True)
class Wishes:
    """How films are to be made, whatever they show.

    `overwrite`: replace a film that is there; `no_overwrite`: leave it, whatever it is. `resume`: go on with an earlier
    run. `kept_bytes`: how large a run folder may be to be kept; None: as the model's family has it. `with_report`: a report
    of the film's memory is to follow.
    """

    overwrite: bool = False
    no_overwrite: bool = False
    resume: bool = True
    kept_bytes: float | None = None
    preview_decoder: Path | None = None
    with_report: bool = False


def prepare(
    planned: PlannedStory,
    entry: ModelEntry,
    out: Path,
    wishes: Wishes = Wishes(),
    is_new: bool = False,
    warn: Callable[[str], None] = lambda text: None,
) -> Job | None:
    """The film to be made, with its seed, or None if it is there and stays. Nothing is written.

    `is_new`: the film was made by an earlier life of this command, so that it is not to be made over again.
    Raises UsageError if it is another film, or if what is to be written would harm other files or cannot be written.
    """
    check_names(out, wishes.with_report)
    is_drawn = planned.storyboard.seed is None
    is_begun = run_path(out).is_dir()
    recorded = recorded_seed(out) if is_drawn and (is_begun or not wishes.overwrite) else None
    job = _job(planned, entry, out, wishes, draw_seed() if recorded is None else recorded)
    is_again = is_drawn and wishes.overwrite and not is_new and is_kept(run_path(out))
    if is_again and _missing(job) is None:  # nothing was edited: another seed is wanted
        job = _job(planned, entry, out, wishes, draw_seed())
    if out.exists() and not (wishes.no_overwrite or wishes.overwrite):
        # a picture that is gone would make it another film, and that would be told instead
        check_attached(planned.storyboard, planned.plan.width, planned.plan.height)
    if out.exists() and (is_new or not wishes.overwrite):
        reason = _missing(job)
        if wishes.no_overwrite or reason is None:
            if not trace_path(out).exists():
                warn(f"{trace_path(out)} is missing: what {out.name} remembered cannot be shown; -y makes both again")
            return None
        if not wishes.overwrite:
            raise UsageError(f"{out} exists and {reason}", hint="-y replaces it, -n leaves it as it is")
    plan = job.script.plan
    check_outputs(out, plan, job.script.recipe, wishes.resume, wishes.with_report)
    check_given(planned)
    if has_captions(planned.storyboard) and srt_path(out).exists() and not brought_subtitles(out):
        warn(
            f"{srt_path(out)} is not what a film of ours brought along, and stays as it is; the film's own track has the text"
        )
    return job


def check_given(planned: PlannedStory) -> None:
    """Reads the pictures and the sound that a storyboard names. Raises UsageError with all that will not do."""
    storyboard, plan = planned.storyboard, planned.plan
    check_attached(storyboard, plan.width, plan.height, planned.places)
    if storyboard.sound is not None:
        from memflow_cli.film.sound import check_sound  # with the libraries that read it

        try:
            check_sound(Path(storyboard.sound), plan.seconds)
        except UsageError as error:
            begin = planned.places.sorted_place(("sound",))[1] if planned.places else ""
            raise UsageError(begin + error.message, error.hint) from error


def check_inputs(entry: ModelEntry) -> None:
    """Raises ModelError for files of the model that are missing."""
    family_of(entry).check_files(entry)


def check_preview_decoder(entry: ModelEntry, path: Path | None) -> None:
    """Raises UsageError for a model that has other latents than a tiny decoder's, ModelError for a file that is not there."""
    if path is None:
        return
    if not family_of(entry).takes_preview_decoder:
        raise UsageError(
            f"--preview-decoder {path}: {entry.name}'s latents are not Wan's, which a tiny decoder decodes",
            "leave the option out, or choose a model of the Wan 2.1 family",
        )
    if not path.is_file():
        raise ModelError(f"--preview-decoder {path}: there is no such file")


def check_options(entry: ModelEntry, has_loras: bool, has_vram: bool) -> None:
    """Raises UsageError for options that a model's own loader does not get to see."""
    family = family_of(entry)
    asked = (("--lora", has_loras, family.takes_loras), ("--vram", has_vram, family.takes_placement))
    unused = [name for name, is_given, is_taken in asked if is_given and not is_taken]
    if unused:
        raise UsageError(
            f"{' and '.join(unused)}: {entry.name} comes from a plug-in, which loads it in its own way",
            "leave the option out, or choose another model with --model",
        )


def _job(planned: PlannedStory, entry: ModelEntry, out: Path, wishes: Wishes, seed: int) -> Job:
    job = make_job(planned, entry, out, seed, preview_decoder=wishes.preview_decoder, resume=wishes.resume)
    is_small = wishes.kept_bytes is not None and latents_bytes(job.script.plan) <= wishes.kept_bytes
    keep = family_of(entry).keeps_films if wishes.kept_bytes is None else is_small
    return replace(job, keep=keep)


def _missing(job: Job) -> str | None:
    script = job.script
    return unfinished_because(job.out, script.recipe, script.plan.title, tracks_of(script.storyboard))
