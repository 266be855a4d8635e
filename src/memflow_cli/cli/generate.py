"""`memflow generate`: storyboards -> films."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from memflow_cli.cli import options
from memflow_cli.cli.batch import Batch
from memflow_cli.cli.farm_options import FarmOptions
from memflow_cli.cli.generate_options import GenerateOptions
from memflow_cli.cli.maker import Maker
from memflow_cli.cli.plan import print_plan
from memflow_cli.cli.progress import make_progress
from memflow_cli.cli.stories import Story, choose_outputs, read_stories, without_traces
from memflow_cli.cli.talk import talk_as, warn
from memflow_cli.cli.watch import watched
from memflow_cli.cli.words import check_progress_kind
from memflow_cli.errors import Interrupted


def register(app: typer.Typer) -> None:
    app.command("generate")(generate)


@options.with_options
def generate(
    storyboards: options.Storyboards,
    story_options: options.StoryOptions,
    given: GenerateOptions,
    farm: FarmOptions = FarmOptions(),
) -> None:
    """Make films of storyboards.

    Prints each film's path on stdout. Beside film.mp4 lie film.json (all that is needed to make it again) and
    film.memory.jsonl (what memory did). An interrupted film goes on with the same command; a finished one whose
    storyboard, model and seed are unchanged is left alone. Several storyboards share one loaded model; one that fails
    does not stop the others.
    """
    check_progress_kind(given.progress)
    talk_as(given.progress)
    given.check(len(storyboards))
    farm.check(given.watch)
    if given.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    batch = Batch(given.as_json)
    stories = list(_read(storyboards, story_options, given, batch))
    batch.num_films = len(stories) + len(batch.failures)
    if not stories:
        batch.finish()
    names = [story.name for story in stories]
    outputs = choose_outputs(names, given.out, batch.num_films, make_folder=not given.dry_run)
    films = list(zip(stories, outputs, strict=True))
    if given.dry_run:
        _check_all(films, given, batch)
    else:
        if farm.on is None:
            _make_all(films, given, batch)
        else:
            from memflow_cli.cli.farm import make_on_cluster

            make_on_cluster(films, given, farm, batch)
        batch.sum_up()
    batch.finish()


def _read(
    storyboards: Sequence[Path], story_options: options.StoryOptions, given: GenerateOptions, batch: Batch
) -> Iterator[Story]:
    """The films that can be made; what is wrong with the others is told."""
    from memflow_cli.studio.needs import check_options, check_preview_decoder

    loras, has_vram = given.loras(), given.vram != "auto"
    overrides = story_options.overrides()
    for options_of_all in (given.accelerations, given.vram_bytes, given.max_seconds, given.wishes):
        options_of_all()  # wrong ones are told once, before any film
    for path in without_traces(storyboards):
        with batch.attempt(path):
            found = read_stories(path, story_options.segment_seconds, overrides)
            for story in found:
                check_preview_decoder(story.entry, given.preview_decoder)
                check_options(story.entry, bool(loras), has_vram)
            yield from [replace(one, entry=replace(one.entry, loras=loras or one.entry.loras)) for one in found]


def _check_all(films: Sequence[tuple[Story, Path]], given: GenerateOptions, batch: Batch) -> None:
    """Tells what would keep these films from being made, as far as can be told without a device, and their plans."""
    from memflow_cli.studio.needs import check_inputs, prepare

    wishes = given.wishes()
    for story, film in films:
        with batch.attempt(story.path, film):
            if prepare(story.planned, story.entry, film, wishes, warn=warn) is not None:
                check_inputs(story.entry)
            print_plan(story, given.as_json)


def _make_all(films: Sequence[tuple[Story, Path]], given: GenerateOptions, batch: Batch) -> None:
    from memflow_cli.film.names import run_path
    from memflow_cli.film.placing import finish_placing
    from memflow_cli.film.preflight import check_names
    from memflow_cli.film.recipe import read_record
    from memflow_cli.film.run_on_disk import remove_leftover
    from memflow_cli.machine.stop_requests import StopRequests
    from memflow_cli.studio.needs import prepare

    wishes = given.wishes()
    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(make_progress(given.progress))
        stop = stack.enter_context(StopRequests(given.max_seconds(), tell.stage))
        if given.watch:
            tell = stack.enter_context(watched(tell, not given.no_browser))
        maker = Maker([story for story, _ in films], given, tell, stop)
        for number, (story, film) in enumerate(films, start=1):
            with batch.attempt(story.path, film):
                stopped = stop()
                if isinstance(stopped, Interrupted) or (stopped and number > 1):  # a time limit is asked after a chunk
                    raise stopped
                check_names(film, wishes.with_report)
                is_new = finish_placing(film)
                job = prepare(story.planned, story.entry, film, wishes, is_new, warn)
                if job is None:
                    remove_leftover(run_path(film), (read_record(film) or {}).get("recipe"))
                    batch.skipped(story, film)
                else:
                    tell.film(number, len(films))
                    batch.made(story, film, maker.make(story, job))
                if given.inspect:
                    tell.stage("writing what it remembered")
                    batch.inspected(film)
            if batch.stopped:
                break
