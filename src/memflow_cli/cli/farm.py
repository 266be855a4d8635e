"""`memflow generate --on`: the films of one command line, made on a Ray cluster. Words, events and exit codes stay."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.cli.batch import Batch
from memflow_cli.cli.farm_options import INSTALL, FarmOptions
from memflow_cli.cli.farm_progress import FarmProgress, make_farm_progress
from memflow_cli.cli.generate_options import GenerateOptions
from memflow_cli.cli.maker import studio_for, told_before
from memflow_cli.cli.stories import Story
from memflow_cli.cli.talk import warn
from memflow_cli.errors import Interrupted, MemflowError, TimeLimitReached, UsageError

if TYPE_CHECKING:
    from memflow_cli.machine.stop_requests import StopRequests
    from memflow_cli.studio.farm.cluster import Cluster
    from memflow_cli.studio.farm.farm import Ways
    from memflow_cli.studio.farm.order import ModelKey, News, Order

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    # Of a cluster on this machine: no processes that nobody asked for, and films made no slower than without it.
    "RAY_enable_worker_prestart": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "GRPC_VERBOSITY": "NONE",
}


def make_on_cluster(
    films: Sequence[tuple[Story, Path]], given: GenerateOptions, farm: FarmOptions, batch: Batch
) -> None:
    """Raises UsageError before any work for a cluster that is not there, or a node that has not what it needs."""
    from memflow_cli.machine.stop_requests import StopRequests

    for name, setting in _QUIET.items():
        os.environ.setdefault(name, setting)
    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(make_farm_progress(given.progress, [story.plan.num_frames for story, _ in films]))
        stop = stack.enter_context(StopRequests(given.max_seconds(), tell.stage))
        with stop.at_once():
            tell.stage("joining the cluster")
            cluster = stack.enter_context(_cluster(farm.on or "ray"))
            ways = _ways(cluster, films, given, farm)
        _wait_for_writers([film for _, film in films], tell, stop)
        _Run(films, given, batch, tell, stop).make(cluster, ways)


class _Run:
    """Orders go out, news comes in."""

    def __init__(
        self,
        films: Sequence[tuple[Story, Path]],
        given: GenerateOptions,
        batch: Batch,
        tell: FarmProgress,
        stop: "StopRequests",
    ) -> None:
        self._films = films
        self._given = given
        self._batch = batch
        self._tell = tell
        self._stop = stop
        self._asked: dict[int, Path] = {}  # films handed out, and not over: number -> storyboard
        self._stopped: list[tuple[int, MemflowError]] = []

    def make(self, cluster: "Cluster", ways: "Ways") -> None:
        from memflow_cli.studio.farm.farm import Farm

        farm = Farm(cluster, ways, partial(studio_for, self._given), self._prompts())
        try:
            with contextlib.closing(farm.make(self._orders(), self._stop)) as making:
                for news in making:
                    self._hear(news)
        except Interrupted as at_once:
            self._stopped += [(number, at_once) for number in list(self._asked)[:1]]
        except MemflowError as of_all:
            with self._batch.afterwards():
                raise of_all
        if not self._stopped and self._asked and (error_of_all := self._stop()) is not None:
            self._stopped.append((next(iter(self._asked)), error_of_all))
        for number, error in self._stopped:
            story, film = self._films[number - 1]
            with self._batch.attempt(story.path, film):
                raise error

    def _orders(self) -> "Iterator[Order]":
        """The films that are to be made, those of one model one after the other; what is there already is told."""
        from memflow_cli.film.names import run_path
        from memflow_cli.film.placing import finish_placing
        from memflow_cli.film.preflight import check_names
        from memflow_cli.film.recipe import read_record
        from memflow_cli.film.run_on_disk import remove_leftover
        from memflow_cli.studio.farm.order import Order, absolute, begun_on
        from memflow_cli.studio.needs import prepare

        wishes = self._given.wishes()
        first = {story.entry: number for number, (story, _) in reversed(list(enumerate(self._films)))}
        in_order = sorted(enumerate(self._films, start=1), key=lambda item: first[item[1][0].entry])
        for number, (story, film) in in_order:
            job = None
            with self._batch.attempt(story.path, film):
                check_names(film, wishes.with_report)
                is_new = finish_placing(film)
                job = prepare(story.planned, story.entry, film, wishes, is_new, warn)
                if job is None:
                    remove_leftover(run_path(film), (read_record(film) or {}).get("recipe"))
                    self._batch.skipped(story, film)
                    if self._given.inspect:
                        self._batch.inspected(film)
                else:
                    told_before(story)
            if job is None:
                self._tell.over(number)
            else:
                self._asked[number] = story.path
                yield Order(number, absolute(job), begun_on(job))

    def _hear(self, news: "News") -> None:
        from memflow_cli.film.events import FilmDone, Warned
        from memflow_cli.studio.farm.mirror import done_at
        from memflow_cli.studio.farm.order import Failed

        story, film = self._films[news.number - 1]
        if isinstance(news.event, FilmDone):
            news = replace(news, event=done_at(film, news.event))  # as the command line calls it
        self._tell(film, news)
        match news.event:
            case FilmDone(result):
                del self._asked[news.number]
                self._batch.made(story, film, result)
                if self._given.inspect:
                    self._batch.inspected(film)
            case Failed(Interrupted() | TimeLimitReached() as error):
                self._stopped.append((news.number, error))
            case Failed(error):
                del self._asked[news.number]
                with self._batch.attempt(story.path, film):
                    raise error
            case Warned(text):
                warn(f"{film.name}: {text}")

    def _prompts(self) -> "dict[ModelKey, Sequence[str]]":
        """Of all films of a model, each once: a large text encoder is loaded once in a worker."""
        from memflow_cli.studio.farm.order import model_key

        found: dict[ModelKey, dict[str, None]] = {}
        for story, _ in self._films:
            entry = story.entry
            prompts = found.setdefault(model_key(entry.given_as or entry.name, entry.loras), {})
            prompts.update(dict.fromkeys(segment.prompt for segment in story.plan.segments))
        return {model: tuple(prompts) for model, prompts in found.items()}


def _cluster(on: str) -> "Cluster":
    try:
        from memflow_cli.studio.farm.cluster import LOCAL, Cluster

        if on != "ray":
            import grpc  # noqa: F401 - which Ray needs for ray://, and says so in its own way
    except ImportError as error:
        raise UsageError(f"--on: {error.name} is missing", INSTALL) from error
    return Cluster(on if on != "ray" else os.environ.get("RAY_ADDRESS") or LOCAL)


def _ways(cluster: "Cluster", films: Sequence[tuple[Story, Path]], given: GenerateOptions, farm: FarmOptions) -> "Ways":
    """What each film gets, once every node is known to have what it needs. Raises UsageError naming the node."""
    from memflow_cli.studio.farm.farm import Ways
    from memflow_cli.studio.farm.nodes import check_nodes, make_look, share_out, tokens_in

    nodes = cluster.nodes()
    may_use_gpu = given.device == "auto" or given.device.startswith("cuda")
    share = share_out(nodes, len(films), may_use_gpu, farm.cpus_per_film, farm.gpus_per_film, farm.films_at_once)
    folders = [] if farm.fetch else list(dict.fromkeys(film.absolute().parent for _, film in films))
    with tokens_in(folders) as tokens:
        look = make_look(tokens)
        usable = [node for node in nodes if node.room(share.num_cpus, share.num_gpus)]
        check_nodes(look(), cluster.ask(usable, look))
    return Ways(share, farm.retries, farm.fetch)


def _wait_for_writers(films: Sequence[Path], tell: FarmProgress, stop: "StopRequests") -> None:
    from memflow_cli.film.names import lease_path
    from memflow_cli.studio.farm.farm import wait_for_writers

    if left := [film for film in films if lease_path(film).exists()]:
        tell.stage("waiting until the workers of an earlier command have let go")
        wait_for_writers(left, stop)
