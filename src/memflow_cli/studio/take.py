"""A take: a film whose story is told while it is made.

    with studio.take("fox.mp4", seed=1) as take:
        for frames in take.play("a red fox walks in", seconds=4):
            show(frames)
        for frames in take.play("the fox jumps", seconds=2):
            show(frames)

It is a film like any other: with its record and its trace, and a run folder from which it goes on after whatever ends it.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from memflow_cli.backbone import Backbone
from memflow_cli.errors import UsageError
from memflow_cli.film.events import Event, FilmDone, FilmResult, FramesShown
from memflow_cli.film.film_under_way import FilmUnderWay
from memflow_cli.film.names import run_path
from memflow_cli.film.preflight import check_names
from memflow_cli.film.recipe import CASTING, Recipe, recorded_seed
from memflow_cli.film.run_on_disk import begun_recipe
from memflow_cli.film.script import ShootingScript, plan_story, write_script
from memflow_cli.film.shooting import LESS_MEMORY, machine_of
from memflow_cli.geometry import Geometry
from memflow_cli.machine.out_of_memory import memory_errors
from memflow_cli.memory.cast import NOBODY, Casting
from memflow_cli.models.entry import ModelEntry
from memflow_cli.story.plan import FilmPlan, SegmentPlan, Timeline, derive_seed
from memflow_cli.story.prompts import refer
from memflow_cli.story.storyboard import Segment, Storyboard
from memflow_cli.studio.job import draw_seed

OPEN_SECONDS = 3600.0  # planned for a prompt that holds until the next one comes


class Take:
    """A film under way, steered from outside; to be used in a `with` block, at whose end the film is put together.

    An error that leaves the block keeps what was made: the same take, with the same `out`, goes on from there.
    """

    def __init__(
        self,
        load: Callable[[ShootingScript], Backbone],
        entry: ModelEntry,
        storyboard: Storyboard,
        out: Path,
        accelerations: Sequence[str] = (),
        preview_decoder: Path | None = None,
        keep: bool = True,
    ) -> None:
        """`load`: the model, for a film like this. `storyboard`: without segments. Use `Studio.take`."""
        check_names(out)
        if out.exists():
            raise UsageError(f"{out} exists", "Give the film another name.")
        self.out = out
        self._load_model = load
        self._entry = entry
        self._begun = storyboard
        self._accelerations = accelerations
        self._preview_decoder = preview_decoder
        self._keep = keep
        self._script: ShootingScript | None = None
        self._timeline: Timeline | None = None
        self._segments: list[Segment] = []
        self._film: FilmUnderWay | None = None
        self._playing: Generator[Event] | None = None
        self._go_on()

    def load(self) -> None:
        """Loads the model now, not when the first prompt is played."""
        told = replace(self._begun, segments=(Segment("", 1.0),))
        self._load_model(self._script_for(told))

    def play(
        self,
        prompt: str,
        seconds: float | None = None,
        transition: str = "smooth",
        seed: int | None = None,
        casting: Casting = NOBODY,
    ) -> Iterator[np.ndarray]:
        """The frames [F, height, width, 3] uint8 that follow under a prompt, as they are decoded.

        `seconds`: for how long it holds, to the nearest chunk; None: until the next one comes. Playing something else, or
        ending the take, before all frames were asked for ends the segment with what was made. `transition`: "smooth", or
        "cut". `seed`: the segment's own. `casting`: whom to remember and recall, besides those whom the prompt refers to as
        {name}.
        """
        events = self.shoot(prompt, seconds, transition, seed, casting)
        return (event.frames for event in events if isinstance(event, FramesShown))

    def shoot(
        self,
        prompt: str,
        seconds: float | None = None,
        transition: str = "smooth",
        seed: int | None = None,
        casting: Casting = NOBODY,
    ) -> Generator[Event]:
        """As `play`, but all that happens is told; a chunk at a time, for as long as events are asked for.

        Raises UsageError for a prompt that refers to nobody's name.
        """
        prompt, names = self.refer(prompt)
        whom = asdict(replace(casting, names=tuple(dict.fromkeys([*names, *casting.names]))))
        return self.shoot_segment(Segment(prompt, float(seconds or 0), seed, transition, **whom))

    def shoot_segment(self, segment: Segment) -> Generator[Event]:
        """A segment whose prompt is complete, as a storyboard's are. 0 seconds: until the next one comes."""
        self._stop_playing()
        self._playing = self._shoot(replace(segment, seconds=segment.seconds or OPEN_SECONDS, image=None))
        return self._playing

    def refer(self, prompt: str) -> tuple[str, tuple[str, ...]]:
        """A prompt with its {names} described, in the film's style, and these names. Raises UsageError for an unknown one."""
        return refer(prompt, self._begun.descriptions, self._begun.style)

    def undo(self) -> None:
        """Takes the last prompt back, with all that was made under it: the film is where it was before."""
        self._stop_playing()
        self._reopen(self._segments[:-1])

    @property
    def storyboard(self) -> Storyboard:
        """What was played so far: the storyboard that makes the same film, frame by frame."""
        model = self._entry.given_as or self._entry.name
        resolved = self._begun if self._script is None else self._script.storyboard
        segments = list(self._segments)
        if (made := self._made_of_last) is not None:
            segments = segments[:-1]
            if made > 0:
                timeline = Timeline(self._entry.geometry, resolved.fps or self._entry.fps, resolved.seed or 0)
                for segment in self._segments:
                    timeline.add(segment)
                segments.append(replace(self._segments[-1], seconds=timeline.set_length(made).requested_seconds))
        return replace(resolved, model=model, segments=tuple(segments))

    @property
    def segments(self) -> Sequence[SegmentPlan]:
        """What was played so far, in chunks and frames; the last one as long as it was planned."""
        return () if self._timeline is None else tuple(self._timeline.segments)

    @property
    def plan(self) -> FilmPlan | None:
        """The film as far as it is known; None before anything is played. An earlier life's counts."""
        return None if self._film is None else self._film.plan

    @property
    def geometry(self) -> Geometry:
        """The model's."""
        return self._entry.geometry

    @property
    def num_chunks(self) -> int:
        """Chunks of what was made so far."""
        return 0 if self._film is None else self._film.num_chunks

    @property
    def num_frames(self) -> int:
        """Frames of what was made so far."""
        return 0 if self._film is None else self._film.plan.geometry.num_frames(self._film.num_chunks)

    def finish(self) -> FilmResult | None:
        """Puts the film together; None if nothing was played. The take is over."""
        self._stop_playing()
        _take_all(self._end_segment())
        film, self._film = self._film, None
        if film is None:
            return None
        with memory_errors(f"at {film.plan.width}x{film.plan.height}", LESS_MEMORY), film:
            for event in film.finish():
                if isinstance(event, FilmDone):
                    return event.result
        raise AssertionError("a film that ends without an error is done")

    def close(self) -> None:
        """Ends the take without putting the film together; another one of the same name goes on with it."""
        self._stop_playing()
        if self._film is not None:
            self._film.close()
            self._film = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self.close()

    # inside

    def _stop_playing(self) -> None:
        if self._playing is not None:
            self._playing.close()
            self._playing = None

    def _shoot(self, segment: Segment) -> Generator[Event]:
        yield from self._end_segment()
        with memory_errors(f"at {self._begun.width}x{self._begun.height}", LESS_MEMORY):
            film = yield from self._begin_segment(segment)
            planned = film.plan.segments[-1]
            self._enter(film, planned.index)
            for _ in range(planned.num_chunks):
                yield from film.chunk()
            yield from film.settle()

    def _begin_segment(self, segment: Segment) -> Generator[Event, None, FilmUnderWay]:
        self._segments.append(segment)
        if self._film is None:
            self._open()
            assert self._film is not None and self._timeline is not None, "it was opened"
            self._timeline.add(segment)
            yield from self._film.begin()
            return self._film
        assert self._timeline is not None, "an open film has its timeline"
        self._timeline.add(segment)
        yield from self._grow()
        return self._film

    @property
    def _made_of_last(self) -> int | None:
        """How many chunks the segment that was played last has, where these are not all that were planned."""
        if self._film is None or self._timeline is None or self._film.num_chunks == self._timeline.num_chunks:
            return None
        return self._film.num_chunks - self._timeline.segments[-1].start_chunk

    def _end_segment(self) -> Iterator[Event]:
        """The segment that was played last gets the length of what was made of it; with nothing made, it goes."""
        made = self._made_of_last
        if made is None or self._timeline is None:
            return
        if made <= 0:
            self._reopen(self._segments[:-1])
            return
        ended = self._timeline.set_length(made)
        self._segments[-1] = replace(self._segments[-1], seconds=ended.requested_seconds)
        yield from self._grow()

    def _grow(self) -> Iterator[Event]:
        assert self._film is not None and self._script is not None, "an open film grows"
        self._script = self._script.with_segments(self._segments)
        yield from self._film.grow(self._script, self._recipe_on(self._film.backbone))

    def _go_on(self) -> None:
        """With what an earlier take of this name has left."""
        recipe = begun_recipe(run_path(self.out))
        seed = recorded_seed(self.out) if recipe is not None and self._begun.seed is None else self._begun.seed
        self._begun = replace(self._begun, seed=draw_seed() if seed is None else seed)
        if recipe is not None:
            timeline = Timeline(self._entry.geometry, self._begun.fps or self._entry.fps, self._begun.seed or 0)
            self._reopen([_segment_of(timeline, one) for one in recipe.segments])

    def _reopen(self, segments: Sequence[Segment]) -> None:
        """Goes on with what is kept of these segments; the rest is given up."""
        if self._film is not None:
            self._film.close(remove=not segments)
        self._film, self._timeline, self._segments = None, None, list(segments)
        if not segments:
            return
        self._open()
        film, timeline = self._film, self._timeline
        assert film is not None and timeline is not None, "it was opened"
        for segment in segments:
            timeline.add(segment)
        _take_all(film.begin(to_go_on=True))
        for planned in list(film.plan.segments):
            if planned.start_chunk >= film.resumed:
                break
            self._enter(film, planned.index)
            for _ in range(planned.start_chunk, min(planned.end_chunk, film.resumed)):
                _take_all(film.chunk())
        kept = [planned for planned in film.plan.segments if planned.start_chunk < film.resumed]
        if len(kept) < len(segments):
            self._reopen([replace(one, seconds=plan.requested_seconds) for one, plan in zip(segments, kept)])
        else:
            _take_all(self._end_segment())

    def _open(self) -> None:
        """Opens the film with the segments at hand."""
        told = replace(self._begun, segments=tuple(self._segments))
        if self._script is None:
            self._script = self._script_for(told)
        self._script = self._script.with_segments(self._segments)
        plan = self._script.plan
        backbone = self._load_model(self._script)
        self._timeline = Timeline(plan.geometry, plan.fps, plan.seed)
        overlap = False if backbone.device.type == "cpu" else None  # who steers sees a chunk as soon as it is made
        self._film = FilmUnderWay(
            self._script, self._recipe_on(backbone), backbone, self.out, keep_run=self._keep, overlap=overlap
        )

    def _script_for(self, told: Storyboard) -> ShootingScript:
        return write_script(plan_story(told, self._entry), self._entry, preview_decoder=self._preview_decoder)

    def _enter(self, film: FilmUnderWay, index: int) -> None:
        """A segment's prompt, read in the light of those before it."""
        planned = film.plan.segments[: index + 1]
        film.enter(planned[-1], film.encode_story(planned))

    def _recipe_on(self, backbone: Backbone) -> Recipe:
        assert self._script is not None, "a film that is open has its script"
        return self._script.recipe_on(machine_of(backbone, self._accelerations))


def _take_all(events: Iterator[Event]) -> None:
    for _ in events:
        pass


def _segment_of(timeline: Timeline, recipe: Mapping[str, Any]) -> Segment:
    """A segment as a recipe has it: so many chunks, in seconds."""
    index = len(timeline.segments)
    seed = None if recipe["seed"] == derive_seed(timeline.film_seed, index) else recipe["seed"]
    casting: dict[str, Any] = {key: tuple(recipe[key]) for key in CASTING if key in recipe}
    segment = Segment(recipe["prompt"], 1.0, seed, recipe["transition"], **casting)
    timeline.add(segment)
    return replace(segment, seconds=timeline.set_length(recipe["num_chunks"]).requested_seconds)
