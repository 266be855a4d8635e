"""A film under way: it is begun, or gone on with, then made chunk by chunk under one prompt after the other, and finished.

What happens is told as events: every stage is a generator of them.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from memflow_cli.backbone import Backbone
from memflow_cli.errors import Interrupted, MemflowError, UsageError
from memflow_cli.film.events import (
    ChunkDone,
    ChunkReplayed,
    Event,
    FilmDone,
    FilmResult,
    FilmStarted,
    FramesShown,
    StageStarted,
)
from memflow_cli.film.film_file import check_tracks, join_film, subtitles_file
from memflow_cli.film.frames import FilmFrames, Shown
from memflow_cli.film.given import encode_told, give_pictures, load_given, shot_of, still
from memflow_cli.film.names import record_path, run_path, trace_path
from memflow_cli.film.overlap import AHEAD, Overlap, overlap_pays, threads_beside, walk_threads
from memflow_cli.film.parts import FilmParts
from memflow_cli.film.placing import place
from memflow_cli.film.preflight import check_made_after
from memflow_cli.film.prompt_embeds import StoryEmbeds
from memflow_cli.film.recipe import Recipe
from memflow_cli.film.record import make_record
from memflow_cli.film.run_folder import RunFolder
from memflow_cli.film.run_on_disk import FILM
from memflow_cli.film.script import ShootingScript
from memflow_cli.film.trace import TraceHeader
from memflow_cli.machine.heap import give_back_freed_memory
from memflow_cli.machine.threads import using_threads
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.pipeline import Chunk, Walk
from memflow_cli.story.picture import load_picture
from memflow_cli.story.plan import SegmentPlan
from memflow_cli.walks import make_walk

Stop = Callable[[], MemflowError | None]


class FilmUnderWay:
    """One film being made: `begin`, then `enter` and `chunk` for all that is to come, then `finish`. To be closed.

    `resumed`: how many chunks an earlier run made. They go the same way, replayed: whoever makes a film need not care.
    """

    def __init__(
        self,
        script: ShootingScript,
        recipe: Recipe,
        backbone: Backbone,
        out: Path,
        stop: Stop = lambda: None,
        resume: bool = True,
        keep_run: bool = False,
        overlap: bool | None = None,
    ) -> None:
        """Opens the film's run folder. `recipe`: the script's, with the machine. See `shooting.shoot`."""
        self.script = script
        self.plan = script.plan
        self.recipe = recipe
        self.backbone = backbone
        self.out = out
        self._stop = stop
        self._keep_run = keep_run
        check_tracks(script.storyboard)
        self._picture = _first_picture(script)
        self._pictures = load_given(script.storyboard, *script.plan.size)
        decoder = backbone.decoder_at(*self.plan.size)
        header = self._header_of(script)
        self._run = RunFolder(run_path(out), recipe, header, _latent_bytes(script), resume)
        self.resumed = self._run.num_chunks
        try:
            check_made_after(out, recipe, sum(segment.end_chunk <= self.resumed for segment in self.plan.segments))
        except UsageError:
            self._run.close(remove=self.resumed == 0)
            raise
        self._started = time.perf_counter()
        self._timings: dict[str, float] = {}
        self._parts = FilmParts(self.plan, self._run)
        self._frames = FilmFrames(decoder, self._parts)
        self._next_frame = self.plan.geometry.num_frames(self._parts.start_chunk)
        pays = overlap_pays(backbone, self.plan.size) if overlap is None else overlap
        self._threads = walk_threads(backbone, self.plan.size)
        ahead = AHEAD if pays else 0
        self._beside: Overlap[Chunk | None, Shown] = Overlap(backbone.device, ahead, threads_beside(self._threads))
        self._walk: Walk | None = None
        self._given: Iterator[Tensor] = iter(())
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, remove: bool = False) -> None:
        """Lets go of everything. What was made stays in the run folder unless told to `remove` it, or nothing was."""
        if self._is_closed:
            return
        self._is_closed = True
        self._parts.kill()
        self._beside.close()
        self._parts.abort()
        self._run.close(remove=remove or self._run.num_chunks == 0)

    # stages

    def begin(self, to_go_on: bool = False) -> Iterator[Event]:
        """Tells of the film, and brings the decoder to where the earlier run ended.

        `to_go_on`: also where nothing is missing of what is known of the film, for it will grow.
        """
        if self._keep_run:
            self._run.mark_kept()
        yield FilmStarted(self.plan, self.resumed, self._run.changed_segment, self.backbone.sampling)
        if to_go_on or not self._parts.are_complete:
            yield from self._decode_again()

    @property
    def needs_chunks(self) -> bool:
        """Whether the walk has to be gone: otherwise all chunks are there, at most some frames are not yet encoded."""
        return self.resumed < self.plan.num_chunks

    def encode_story(self, segments: Sequence[SegmentPlan]) -> StoryEmbeds:
        """What the film's first segments are told, each in the light of those before it."""
        with self._walking():
            return encode_told(self.backbone, self.script.storyboard, segments, self._pictures)

    def enter(self, segment: SegmentPlan, told: StoryEmbeds) -> None:
        """A segment begins. `told`: what the film's segments are told, this one among them."""
        walk = self._walk = self._walk or self._begin_walk(told)
        is_replayed = walk.index < self.resumed
        with self._walking(), self.timed("replay") if is_replayed else contextlib.nullcontext():
            walk.enter(shot_of(self.script.storyboard, segment, told))

    def chunk(self) -> Iterator[Event]:
        """The next chunk of the segment: made, kept and handed to the decoder, or replayed."""
        assert self._walk is not None, "a chunk belongs to a segment"
        if self._walk.index < self.resumed:
            with self._walking(), self.timed("replay"):
                chunk = self._walk.chunk(next(self._given))
            yield ChunkReplayed(chunk.index)
            self._heed_interrupts()
            return
        with self._walking():
            chunk = self._walk.chunk(next(self._given, None))
        seconds = dict(chunk.seconds)
        for stage, spent in seconds.items():
            self._add(stage, spent)
        with self.timed("save", seconds):
            self._keep(chunk.index, chunk.latents, chunk.record)
        yield from self._hand_over(replace(chunk, seconds=seconds), self._frames.show, chunk.latents[0])
        give_back_freed_memory()

    def grow(self, script: ShootingScript, recipe: Recipe) -> Iterator[Event]:
        """The story has gone on, or its last segment got another length. `recipe`: the script's, with the machine."""
        yield from self.settle()
        self.script, self.plan, self.recipe = script, script.plan, recipe
        self._run.grow(recipe, self._header_of(script))
        yield from [self._parts.seal(segment) for segment in self._parts.grow(script.plan)]

    def settle(self) -> Iterator[Event]:
        """Waits until all that was made has been shown and told of."""
        yield from self._tell(everything=True)

    @property
    def num_chunks(self) -> int:
        """How many chunks are made and kept."""
        return self._run.num_chunks

    def heed_stop(self) -> Iterator[Event]:
        """After a new chunk: raises what the film is to stop with, if anything, once all that was made has been told of."""
        if (error := self._stop()) is not None:
            yield from self.settle()
            raise self._stopped(error)

    def finish(self) -> Iterator[Event]:
        """Parts -> film, which then takes its place with trace and record."""
        if not self._parts.are_complete:
            yield from self._hand_over(None, self._frames.flush)
            yield from self._tell(everything=True)
        self._beside.close()
        assert self._parts.are_complete, "the decoder owes frames"
        yield StageStarted("stitch", len(self.plan.segments))
        result = self._put_together()
        self.close(remove=not self._keep_run)
        yield FilmDone(result)

    @contextlib.contextmanager
    def timed(self, stage: str, seconds: dict[str, float] | None = None) -> Iterator[None]:
        """Counts the seconds within as those of a stage; in `seconds` too."""
        before = time.perf_counter()
        yield
        spent = time.perf_counter() - before
        self._add(stage, spent)
        if seconds is not None:
            seconds[stage] = seconds.get(stage, 0.0) + spent

    # inside

    def _walking(self) -> contextlib.AbstractContextManager[None]:
        """The walk, and what it is told, is made within: with as many threads as pay, whatever the machine has."""
        return using_threads(self._threads)

    def _decode_again(self) -> Iterator[Event]:
        """Frames of the segment that was under way are encoded once more."""
        geometry, shown = self.plan.geometry, self._parts.start_chunk
        past = self._frames.past
        first = 0 if past is None else max(0, shown - -(-past // geometry.chunk))
        if first:
            self._frames.go_on_at(first * geometry.chunk)
        for index, latents in enumerate(self._kept_latents(first), start=first):
            frames = len(geometry.chunk_frame_range(index))
            work = self._frames.show if index >= shown else partial(self._frames.skip, num_frames=frames)
            yield from self._hand_over(None, work, latents[0].to(self.backbone.device))
            self._heed_interrupts()
        yield from self._tell(everything=True)

    def _header_of(self, script: ShootingScript) -> TraceHeader:
        return replace(script.trace_header, given=tuple(picture.about for picture in self._pictures))

    def _begin_walk(self, told: StoryEmbeds) -> Walk:
        # A GPU takes remembered frames back from the host's memory without waiting; a CPU's own memory stays flat.
        archive_folder = self._run.path if self.backbone.device.type == "cpu" else None
        options = self.script.storyboard.memory
        self._given = self._kept_latents() if self.resumed else self._picture_latents()
        walk = make_walk(self.backbone, self.plan.size, self.plan.fps, options, archive_folder)
        give_pictures(walk, self._pictures, told)
        return walk

    def _heed_interrupts(self) -> None:
        """While an earlier run is gone over again. A time limit waits until there is a new chunk: every run gets on."""
        if isinstance(error := self._stop(), Interrupted):
            raise self._stopped(error)

    def _stopped(self, error: MemflowError) -> MemflowError:
        done = f"{self._run.num_chunks} of {self.plan.num_chunks} chunks are kept in {self._run.path}"
        return type(error)(f"{error.message}; {done}", "The same command goes on from there.")

    def _kept_latents(self, first: int = 0) -> Iterator[Tensor]:
        """The earlier run's chunks [1, F, C, h, w] from `first` on, read from disk one at a time."""
        shape = self.plan.geometry.chunk_shape(*self.plan.size)
        for content in self._run.latents(first, self.resumed):
            yield torch.tensor(np.frombuffer(content, np.float32).reshape(shape))  # in memory as torch aligns it

    def _picture_latents(self) -> Iterator[Tensor]:
        """The picture that the film starts from, held for the first chunk: [1, F, C, h, w], committed, not denoised."""
        if self._picture is not None:
            yield still(self.backbone, self._picture)

    def _keep(self, chunk: int, latents: Tensor, record: ChunkRecord) -> None:
        values = latents.to("cpu", torch.float32).contiguous().numpy()
        if not np.isfinite(values).all():
            raise MemflowError(
                f"chunk {chunk + 1} ({record.start_seconds:.2f} s) came out as no picture: NaN or Inf in its latents",
                "Other weights, another --dtype or another --seed may help; the chunks before it are kept.",
            )
        self._run.trace.write(record)
        self._run.append(chunk, values.tobytes())

    def _hand_over(self, chunk: Chunk | None, work: Callable[..., Shown], *latents: Tensor) -> Iterator[Event]:
        """Latents [F, C, h, w] go to the decoder; `chunk`: whose they are, None for what is not a new chunk."""
        self._beside.submit(chunk, work, *latents)
        yield from self._tell()

    def _tell(self, everything: bool = False) -> Iterator[Event]:
        """Seals the segments and tells of the chunks that have been shown; with `everything`, of all."""
        while True:
            with self.timed("wait") if self._beside.ahead else contextlib.nullcontext():
                taken = self._beside.take(everything)
            if taken is None:
                return
            chunk, shown = taken
            sealed = [self._parts.seal(segment) for segment in shown.segments]
            for stage, spent in shown.seconds.items():
                self._add(stage, spent)
            if shown.frames is not None:
                self._next_frame += len(shown.frames)
                yield FramesShown(self._next_frame - len(shown.frames), shown.frames)
            if chunk is not None:
                segment = self.plan.segments[chunk.segment]
                yield ChunkDone(chunk.index, segment, chunk.record, chunk.seconds | shown.seconds)
            yield from sealed

    def _put_together(self) -> FilmResult:
        plan, out = self.plan, self.out
        whole = self._run.path / FILM
        with self.timed("stitch"):
            try:
                join_film(self._run.parts, whole, plan, self.script.storyboard)
            except MemflowError:
                self._run.recheck_parts()
                raise
        try:
            checksum, num_bytes = self._run.folder.sha256(FILM), whole.stat().st_size
        except OSError as error:
            raise MemflowError(f"cannot write beside {out}: {error.strerror}") from error
        seconds = time.perf_counter() - self._started
        timings = {stage: round(spent, 3) for stage, spent in self._timings.items()}
        cost = {
            "seconds": round(seconds, 3),
            "resumed_chunks": self.resumed,
            # These ran beside the other stages, which, with the waiting for these, make up the seconds.
            "overlapped": ["decode", "encode"] if self._beside.ahead else [],
            **timings,
        }
        record = make_record(self.script, self.recipe, checksum, num_bytes, cost)
        place(self._run.folder, out, record, subtitles_file(plan, self.script.storyboard))
        new_frames = plan.num_frames - plan.geometry.num_frames(self.resumed)
        assert new_frames >= 0, "no more can be kept than the film has"
        return FilmResult(out, record_path(out), trace_path(out), plan, seconds, timings, new_frames)

    def _add(self, stage: str, spent: float) -> None:
        self._timings[stage] = self._timings.get(stage, 0.0) + spent


def _first_picture(script: ShootingScript) -> np.ndarray | None:
    """The picture that the first segment names, at the film's size. Raises UsageError if it will not do."""
    path = script.storyboard.segments[0].image
    return None if path is None else load_picture(Path(path), *script.plan.size)


def _latent_bytes(script: ShootingScript) -> int:
    plan = script.plan
    return plan.geometry.chunk * plan.geometry.latent_bytes_per_frame(*plan.size, itemsize=4)
