"""Storyboard -> film.mp4: drives the pipeline, writes a part a segment, resumes, finishes atomically.

Beside the film lie film.json (everything needed to make it again) and film.memory.jsonl (the trace); while it is made,
film.mp4.run/ (see run_folder.py). Nothing here grows with the film's length but the list of its segments.
"""

import contextlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memflow_cli import __version__
from memflow_cli.backbone import Backbone
from memflow_cli.errors import Interrupted, MemflowError
from memflow_cli.film.events import (
    ChunkDone,
    ChunkReplayed,
    FilmDone,
    FilmResult,
    FilmStarted,
    SegmentDone,
    StageStarted,
)
from memflow_cli.film.frames import FilmFrames, Shown
from memflow_cli.film.overlap import AHEAD, Overlap, overlap_pays
from memflow_cli.film.parts import FilmParts
from memflow_cli.film.passages import chapters
from memflow_cli.film.placing import place
from memflow_cli.film.prompt_embeds import PromptEmbeds, encode_each
from memflow_cli.film.recipe import (
    FilmModel,
    check_record,
    make_recipe,
    record_path,
    recorded_seed,
    resolve,
    run_path,
    trace_path,
)
from memflow_cli.film.run_folder import FILM, RunFolder
from memflow_cli.film.stitching import stitch
from memflow_cli.film.trace import TraceHeader
from memflow_cli.machine.heap import give_back_freed_memory
from memflow_cli.machine.out_of_memory import HINT, doing, memory_errors
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.pipeline import Chunk, Walk, generate_chunks, planned_shots
from memflow_cli.story.picture import load_picture
from memflow_cli.story.plan import FilmPlan
from memflow_cli.story.storyboard import Storyboard

MAX_DESCRIPTION = 60_000  # characters of prompts in the film's metadata


__all__ = [
    "ChunkDone",
    "ChunkReplayed",
    "FilmDone",
    "FilmResult",
    "FilmStarted",
    "SegmentDone",
    "StageStarted",
    "make_film",
]

_LESS_MEMORY = f"{HINT}; what was finished is kept, and the same command goes on from there."

Events = Callable[[object], None]
Stop = Callable[[], MemflowError | None]


def make_film(
    storyboard: Storyboard,
    entry: FilmModel,
    backbone: Backbone,
    out: Path,
    events: Events = lambda event: None,
    *,
    resume: bool = True,
    keep_run: bool = False,
    stop: Stop = lambda: None,
    overlap: bool | None = None,
    preview_decoder: Path | None = None,
    accelerations: Sequence[str] = (),
) -> FilmResult:
    """Makes one film, or goes on with one that was interrupted. `out` ends in .mp4; whatever is there is replaced.

    `stop` is asked after every chunk; an error it returns is raised once the chunk is safe on disk. A storyboard without
    a seed gets the one its unfinished run was begun with, or 0. `overlap`: decode and encode beside the denoising, for the
    same film; unless told, where that pays. Events come from the caller's thread, in order, in either case.
    `preview_decoder`: the file that the backbone's decoder came from, if it is not the model's own; recorded.
    `accelerations`: what `wan.acceleration.accelerate` did to the backbone; recorded. Raises MemflowError and its kin;
    what was finished stays in the run folder, and the same call goes on from there.
    """
    check_record(out)
    resolved = resolve(storyboard, entry, recorded_seed(out) or 0)
    is_cpu = backbone.device.type == "cpu"  # whose kernels round differently by what the processor can do
    plan, recipe = make_recipe(
        resolved,
        entry,
        preview_decoder,
        device=backbone.device.type,
        dtype=str(backbone.dtype),
        **({"cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"} if is_cpu else {}),
        torch=torch.__version__,
        accelerate=", ".join(sorted(accelerations)) or "none",
    )
    policy = str(resolved.memory.policy)
    picture = _first_picture(resolved, backbone, plan)
    header = TraceHeader(__version__, entry.name, policy, plan)
    run = RunFolder(run_path(out), recipe, header, _latent_bytes(plan), resume)
    try:
        if keep_run:
            run.mark_kept()
        with memory_errors(f"at {plan.width}x{plan.height}", _LESS_MEMORY):
            ahead = AHEAD if (overlap_pays(backbone.device) if overlap is None else overlap) else 0
            film = _Film(resolved, backbone, plan, run, events, stop, picture, ahead)
            film.render()
            model = entry.identity() | entry.source(preview_decoder)
            details = {"recipe": recipe.to_json(), "model": model}
            result = film.finish(out, entry.name, details)
    except BaseException:
        run.close(remove=run.num_chunks == 0)
        raise
    run.close(remove=not keep_run)
    events(FilmDone(result))
    return result


class _Film:
    """One film being made: its stages, and what they cost."""

    def __init__(
        self,
        storyboard: Storyboard,
        backbone: Backbone,
        plan: FilmPlan,
        run: RunFolder,
        events: Events,
        stop: Stop,
        picture: np.ndarray | None,
        ahead: int,
    ) -> None:
        self.storyboard = storyboard
        self.backbone = backbone
        self.plan = plan
        self.run = run
        self.events = events
        self.stop = stop
        self.picture = picture
        self.resumed = run.num_chunks
        self.started = time.perf_counter()
        self.timings: dict[str, float] = {}
        self.parts = FilmParts(plan, run, events)
        self.frames = FilmFrames(backbone.decoder(), self.parts)
        self.beside: Overlap[Chunk | None, Shown] = Overlap(backbone.device, ahead)

    def render(self) -> None:
        """All that is still missing of the film's parts."""
        self.events(FilmStarted(self.plan, self.resumed, self.run.changed_segment))
        try:
            if not self.parts.are_complete:
                self._decode_again()
                if self.resumed < self.plan.num_chunks:
                    self._generate()
                self._hand_over(None, self.frames.flush)
                self._tell(everything=True)
        except BaseException:
            self.parts.kill()
            self.beside.close()
            self.parts.abort()
            raise
        self.beside.close()
        assert self.parts.are_complete, "the decoder owes frames"

    def _decode_again(self) -> None:
        """Brings the decoder to where the earlier run ended; frames of the unfinished segment are encoded once more."""
        chunk = self.plan.geometry.chunk
        shown = self.parts.start_chunk
        first = 0 if self.frames.past is None else max(0, shown - -(-self.frames.past // chunk))
        for index, latents in enumerate(self._kept_latents(first), start=first):
            frames = len(self.plan.geometry.chunk_frame_range(index))
            work = self.frames.show if index >= shown else partial(self.frames.skip, num_frames=frames)
            self._hand_over(None, work, latents[0].to(self.backbone.device))
            self._heed_interrupts()
        self._tell(everything=True)

    def _generate(self) -> None:
        prompts = self._encode_prompts()
        # A GPU takes remembered frames back from the host's memory without waiting; a CPU's own memory stays flat.
        archive_folder = self.run.path if self.backbone.device.type == "cpu" else None
        memory = make_policy(self.storyboard.memory, self.plan.geometry, archive_folder)
        positions: Any = self.storyboard.memory.positions
        given = self._kept_latents() if self.resumed else self._picture_latents()
        walk = Walk(self.backbone, self.plan.size, self.plan.fps, memory, positions)
        chunks = generate_chunks(walk, planned_shots(self.plan, prompts), given)
        if self.resumed:
            self.events(StageStarted("replay", self.resumed))
        while True:
            before = time.perf_counter()
            chunk = next(chunks, None)
            if chunk is None:
                return
            if chunk.index < self.resumed:
                self._add("replay", time.perf_counter() - before)
                self.events(ChunkReplayed(chunk.index))
                self._heed_interrupts()
                continue
            seconds = dict(chunk.seconds)
            for stage, spent in seconds.items():
                self._add(stage, spent)
            with self._timed("save", seconds):
                self._keep(chunk.index, chunk.latents, chunk.record)
            self._hand_over(replace(chunk, seconds=seconds), self.frames.show, chunk.latents[0])
            give_back_freed_memory()
            if chunk.index + 1 < self.plan.num_chunks and (error := self.stop()) is not None:
                self._tell(everything=True)
                raise self._stopped(error)

    def _heed_interrupts(self) -> None:
        """While an earlier run is gone over again. A time limit waits until there is a new chunk: every run gets on."""
        if isinstance(error := self.stop(), Interrupted):
            raise self._stopped(error)

    def _stopped(self, error: MemflowError) -> MemflowError:
        done = f"{self.run.num_chunks} of {self.plan.num_chunks} chunks are kept in {self.run.path}"
        return type(error)(f"{error.message}; {done}", "The same command goes on from there.")

    @doing("encoding the prompts")
    def _encode_prompts(self) -> PromptEmbeds:
        texts = [segment.prompt for segment in self.plan.segments]
        self.events(StageStarted("prompts", len(set(texts))))
        with self._timed("prompts"):
            return encode_each(texts, self.backbone.encode_prompts)

    def _kept_latents(self, first: int = 0) -> Iterator[Tensor]:
        """The earlier run's chunks [1, F, C, h, w] from `first` on, read from disk one at a time."""
        shape = self.plan.geometry.chunk_shape(*self.plan.size)
        for content in self.run.latents(first, self.resumed):
            yield torch.from_numpy(np.frombuffer(content, np.float32).reshape(shape).copy())

    def _picture_latents(self) -> Iterator[Tensor]:
        """The picture that the film starts from, held for the first chunk: [1, F, C, h, w], committed, not denoised."""
        if self.picture is not None:
            geometry = self.plan.geometry
            pixels = torch.from_numpy(self.picture.copy()).float() / 255
            still = pixels.expand(geometry.num_frames(1), *pixels.shape)
            yield self.backbone.encode_frames(still).unsqueeze(0).to("cpu", torch.float32)

    def _keep(self, chunk: int, latents: Tensor, record: ChunkRecord) -> None:
        values = latents.to("cpu", torch.float32).contiguous().numpy()
        if not np.isfinite(values).all():
            raise MemflowError(
                f"chunk {chunk + 1} ({record.start_seconds:.2f} s) came out as no picture: NaN or Inf in its latents",
                "Other weights, another --dtype or another --seed may help; the chunks before it are kept.",
            )
        self.run.trace.write(record)
        self.run.append(chunk, values.tobytes())

    def _hand_over(self, chunk: Chunk | None, work: Callable[..., Shown], *latents: Tensor) -> None:
        """Latents [F, C, h, w] go to the decoder; `chunk`: whose they are, None for what is no new chunk."""
        self.beside.submit(chunk, work, *latents)
        self._tell()

    def _tell(self, everything: bool = False) -> None:
        """Seals the segments and tells of the chunks that have been shown; with `everything`, of all."""
        while True:
            with self._timed("wait") if self.beside.ahead else contextlib.nullcontext():
                taken = self.beside.take(everything)
            if taken is None:
                return
            chunk, shown = taken
            for segment in shown.segments:
                self.parts.seal(segment)
            for stage, spent in shown.seconds.items():
                self._add(stage, spent)
            if chunk is not None:
                segment = self.plan.segments[chunk.segment]
                self.events(ChunkDone(chunk.index, segment, chunk.record, chunk.seconds | shown.seconds))

    def finish(self, out: Path, model: str, details: dict[str, Any]) -> FilmResult:
        """Parts -> film, which then takes its place with trace and record."""
        plan = self.plan
        self.events(StageStarted("stitch", len(plan.segments)))
        whole = self.run.path / FILM
        with self._timed("stitch"):
            try:
                stitch(self.run.parts, whole, plan.fps, plan.num_frames, self._metadata(model), chapters(plan))
            except MemflowError:
                self.run.recheck_parts()
                raise
        try:
            checksum, num_bytes = self.run.folder.sha256(FILM), whole.stat().st_size
        except OSError as error:
            raise MemflowError(f"cannot write beside {out}: {error.strerror}") from error
        seconds = time.perf_counter() - self.started
        timings = {stage: round(spent, 3) for stage, spent in self.timings.items()}
        content = {
            "memflow": __version__,
            "title": plan.title,
            "seed": plan.seed,
            "sha256": checksum,
            "num_bytes": num_bytes,
            "num_frames": plan.num_frames,
            "seconds": round(plan.seconds, 3),
            **details,
            "storyboard": self.storyboard.to_json(),
            "timings": {
                "seconds": round(seconds, 3),
                "resumed_chunks": self.resumed,
                # These ran beside the other stages, which, with the waiting for these, make up the seconds.
                "overlapped": ["decode", "encode"] if self.beside.ahead else [],
                **timings,
            },
        }
        place(self.run.folder, out, content)
        new_frames = plan.num_frames - plan.geometry.num_frames(self.resumed)
        assert new_frames >= 0, "no more can be kept than the film has"
        return FilmResult(out, record_path(out), trace_path(out), plan, seconds, timings, new_frames)

    def _metadata(self, model: str) -> dict[str, str]:
        plan = self.plan
        lines = (f"{segment.start_frame / plan.fps:.2f} s: {segment.prompt}" for segment in plan.segments)
        about = {"generator": f"memflow-cli {__version__}", "model": model, "seed": plan.seed}
        description = ""
        for line in lines:
            if len(description) + len(line) > MAX_DESCRIPTION:
                break
            description += ("\n" if description else "") + line
        return {"title": plan.title, "description": description, "comment": json.dumps(about)}

    def _add(self, stage: str, spent: float) -> None:
        self.timings[stage] = self.timings.get(stage, 0.0) + spent

    @contextlib.contextmanager
    def _timed(self, stage: str, seconds: dict[str, float] | None = None) -> Iterator[None]:
        before = time.perf_counter()
        yield
        spent = time.perf_counter() - before
        self._add(stage, spent)
        if seconds is not None:
            seconds[stage] = seconds.get(stage, 0.0) + spent


def _first_picture(storyboard: Storyboard, backbone: Backbone, plan: FilmPlan) -> np.ndarray | None:
    """The picture that the first segment names, at the film's size. Raises UsageError if it, or the model, will not do."""
    path = storyboard.segments[0].image
    if path is None:
        return None
    return load_picture(Path(path), plan.width, plan.height)


def _latent_bytes(plan: FilmPlan) -> int:
    return plan.geometry.chunk * plan.geometry.latent_bytes_per_frame(plan.width, plan.height, itemsize=4)
