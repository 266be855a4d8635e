"""Films of one command line, made one after the other in one studio."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memflow_cli.cli.acceleration import choose_compiler_cache
from memflow_cli.cli.caches import cache_folder
from memflow_cli.cli.generate_options import GenerateOptions
from memflow_cli.cli.progress import Progress
from memflow_cli.cli.prompt_lengths import lost_tokens, warn_of_lost_tokens
from memflow_cli.cli.stories import Story
from memflow_cli.cli.story_warnings import warn_of_texts
from memflow_cli.cli.talk import warn
from memflow_cli.machine.threads import wait_without_spinning

if TYPE_CHECKING:
    from memflow_cli.film.events import FilmResult
    from memflow_cli.machine.stop_requests import StopRequests
    from memflow_cli.models.entry import ModelEntry
    from memflow_cli.studio.job import Job
    from memflow_cli.studio.studio import Studio

# Bars and warnings of the libraries below, which would run through our own progress.
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def told_before(story: Story) -> None:
    """What is known of a film before it is made. Raises ModelError for files of its model that are missing."""
    from memflow_cli.studio.needs import check_inputs

    warn_of_texts(story)
    warn_of_lost_tokens(story, lost_tokens(story))
    check_inputs(story.entry)  # before seconds of imports


class Maker:
    """Makes films in one studio as long as they are of one model. `stories`: all that may come."""

    def __init__(self, stories: Sequence[Story], given: GenerateOptions, tell: Progress, stop: "StopRequests") -> None:
        self._stories = stories
        self._given = given
        self._tell = tell
        self._stop = stop
        self._studio: Studio | None = None

    def make(self, story: Story, job: "Job") -> "FilmResult":
        told_before(story)
        prompts = [part.prompt for one in self._stories if one.entry == story.entry for part in one.plan.segments]
        with self._stop.at_once():
            studio = self._studio_of(story.entry)
            for event in studio.load(job, prompts):
                self._told(event)
        from memflow_cli.film.shooting import finished

        return finished(studio.shoot(job, self._stop), self._told)

    def _studio_of(self, entry: "ModelEntry") -> "Studio":
        if self._studio is not None and self._studio.entry == entry:
            return self._studio
        if self._studio is not None:
            self._studio.close()  # the old model goes before the new one comes
        self._studio = studio_for(self._given, entry)
        return self._studio

    def _told(self, event: Any) -> None:
        from memflow_cli.film.events import StageStarted, Warned

        if isinstance(event, Warned):
            warn(event.text)
        elif isinstance(event, StageStarted) and event.stage == "model":
            assert self._studio is not None, "a studio loads its model"
            self._tell.stage(f"loading {self._studio.entry.name}")
        else:
            self._tell(event)


def studio_for(given: GenerateOptions, entry: "ModelEntry") -> "Studio":
    """A studio as the command line asks for it, in this process or, on a cluster, in another."""
    for library_talk, setting in _QUIET.items():
        os.environ.setdefault(library_talk, setting)
    if given.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    wait_without_spinning(os.environ)
    from memflow_cli.studio.studio import Studio

    if names := given.accelerations():
        choose_compiler_cache()
    return Studio(
        entry,
        device=given.device,
        dtype=given.dtype,
        vram=given.vram_bytes(),
        preview_decoder=given.preview_decoder,
        accelerate=names,
        embeddings=cache_folder("embeddings"),
    )
