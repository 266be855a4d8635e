"""Storyboard -> film.mp4: drives the pipeline, writes a part a segment, resumes, finishes atomically.

Beside the film lie film.json (everything needed to make it again) and film.memory.jsonl (the trace); while it is made,
film.mp4.run/ (see run_folder.py). Nothing here grows with the film's length but the list of its segments.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memflow_cli import __version__
from memflow_cli.catalog import ModelEntry
from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film_events import (
    ChunkDone,
    ChunkReplayed,
    FilmDone,
    FilmResult,
    FilmStarted,
    SegmentDone,
    StageStarted,
)
from memflow_cli.film_parts import FilmParts
from memflow_cli.geometry import FilmPlan
from memflow_cli.host_memory import give_back_freed_memory
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory_errors import HINT, memory_errors
from memflow_cli.picture import load_picture
from memflow_cli.pipeline import Backbone, StreamingDecoder, generate_chunks
from memflow_cli.recipe import (
    make_recipe,
    model_identity,
    read_record,
    record_path,
    recorded_seed,
    resolve,
    run_path,
    trace_path,
)
from memflow_cli.run_folder import RunFolder, file_sha256, write_through
from memflow_cli.storyboard import Storyboard
from memflow_cli.trace import ChunkRecord, TraceHeader
from memflow_cli.video import rename_through, stitch

GIVE_BACK_CHUNKS = 4  # from one return of freed memory to the next; it costs milliseconds
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
    entry: ModelEntry,
    backbone: Backbone,
    out: Path,
    events: Events = lambda event: None,
    *,
    resume: bool = True,
    keep_run: bool = False,
    stop: Stop = lambda: None,
) -> FilmResult:
    """Makes one film, or goes on with one that was interrupted. `out` ends in .mp4; whatever is there is replaced.

    `stop` is asked after every chunk; an error it returns is raised once the chunk is safe on disk. A storyboard without
    a seed gets the one its unfinished run was begun with, or 0. Raises MemflowError and its kin; what was finished stays
    in the run folder, and the same call goes on from there.
    """
    if record_path(out).exists() and read_record(out) is None:
        raise UsageError(
            f"{record_path(out)} is no film's record, and would be overwritten by one",
            "Give the film another name with -o.",
        )
    resolved = resolve(storyboard, entry, recorded_seed(out) or 0)
    plan, recipe = make_recipe(
        resolved, entry, device=backbone.device.type, dtype=str(backbone.dtype), torch=torch.__version__
    )
    policy = str(resolved.memory.policy)
    picture = _first_picture(resolved, backbone, plan)
    header = TraceHeader(__version__, entry.name, policy, plan)
    run = RunFolder(run_path(out), recipe, header, _latent_bytes(plan), resume)
    try:
        with memory_errors(f"at {plan.width}x{plan.height}", _LESS_MEMORY):
            film = _Film(resolved, backbone, plan, run, events, stop, picture)
            film.render()
            details = {"recipe": recipe.to_json(), "model": model_identity(entry)}
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

    def render(self) -> None:
        """All that is still missing of the film's parts."""
        self.events(FilmStarted(self.plan, self.resumed, self.run.changed_segment))
        try:
            decoder = self.backbone.decoder()
            decoder.reset()
            if not self.parts.are_complete:
                self._decode_again(decoder)
                if self.resumed < self.plan.num_chunks:
                    self._generate(decoder)
                self._show(decoder.flush())
        except BaseException:
            self.parts.abort()
            raise
        assert self.parts.are_complete, "the decoder owes frames"

    def _decode_again(self, decoder: StreamingDecoder) -> None:
        """Brings the decoder to where the earlier run ended; frames of the unfinished segment are encoded once more."""
        chunk = self.plan.geometry.chunk
        shown = self.parts.start_chunk
        first = 0 if decoder.past is None else max(0, shown - -(-decoder.past // chunk))
        with self._timed("replay"):
            for index, latents in enumerate(self._kept_latents(first), start=first):
                frames = decoder.decode(latents[0].to(self.backbone.device))
                if index >= shown:
                    self._show(frames)

    def _generate(self, decoder: StreamingDecoder) -> None:
        prompts = self._encode_prompts()
        # A GPU takes remembered frames back from the host's memory without waiting; a CPU's own memory stays flat.
        archive_folder = self.run.path if self.backbone.device.type == "cpu" else None
        memory = make_policy(self.storyboard.memory, self.plan.geometry, archive_folder)
        positions: Any = self.storyboard.memory.positions
        given = self._kept_latents() if self.resumed else self._picture_latents()
        chunks = generate_chunks(self.backbone, self.plan, memory, prompts, positions=positions, replay=given)
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
                continue
            seconds = dict(chunk.seconds)
            for stage, spent in seconds.items():
                self._add(stage, spent)
            with self._timed("save", seconds):
                self._keep(chunk.index, chunk.latents, chunk.record)
            with self._timed("decode", seconds):
                frames = decoder.decode(chunk.latents[0])
            self._show(frames, seconds)
            self.events(ChunkDone(chunk.index, self.plan.segments[chunk.segment], chunk.record, seconds))
            if chunk.index % GIVE_BACK_CHUNKS == 0:
                give_back_freed_memory()
            if chunk.index + 1 < self.plan.num_chunks and (error := self.stop()) is not None:
                done = f"{chunk.index + 1} of {self.plan.num_chunks} chunks are kept in {self.run.path}"
                raise type(error)(f"{error.message}; {done}", "The same command goes on from there.")

    def _encode_prompts(self) -> "_PromptEmbeds":
        """Every prompt once, each alone: what a prompt means must not depend on its company."""
        with self._timed("prompts"):
            texts = list(dict.fromkeys(segment.prompt for segment in self.plan.segments))
            self.events(StageStarted("prompts", len(texts)))
            embeds = {text: _without_padding(self.backbone.encode_prompts([text])[0]) for text in texts}
        length = max((whole for _, whole in embeds.values()), default=0)
        return _PromptEmbeds([embeds[segment.prompt][0] for segment in self.plan.segments], length)

    def _kept_latents(self, first: int = 0) -> Iterator[Tensor]:
        """The earlier run's chunks [1, F, C, h, w] from `first` on, read from disk one at a time."""
        shape = _latent_shape(self.plan)
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

    def _show(self, frames: Tensor, seconds: dict[str, float] | None = None) -> None:
        """Frames [F, height, width, 3] in 0..1 go to the encoder, as uint8."""
        if not len(frames):
            return
        with self._timed("encode", seconds):
            pixels = (frames.clamp(0, 1) * 255).round_().to(torch.uint8).cpu().numpy()
            self.parts.write(pixels)

    def finish(self, out: Path, model: str, details: dict[str, Any]) -> FilmResult:
        """Parts -> film; then trace and record take their places, and last, by a rename, the film."""
        plan = self.plan
        self.events(StageStarted("stitch", len(plan.segments)))
        whole = self.run.path / "film.mp4"
        with self._timed("stitch"):
            stitch(self.run.parts, whole, plan.fps, plan.num_frames, self._metadata(model))
        seconds = time.perf_counter() - self.started
        timings = {stage: round(spent, 3) for stage, spent in self.timings.items()}
        new_chunks = plan.num_chunks - self.resumed
        content = {
            "memflow": __version__,
            "title": plan.title,
            "seed": plan.seed,
            "sha256": file_sha256(whole),
            "num_bytes": whole.stat().st_size,
            "num_frames": plan.num_frames,
            "seconds": round(plan.seconds, 3),
            **details,
            "storyboard": self.storyboard.to_json(),
            "timings": {"seconds": round(seconds, 3), "resumed_chunks": self.resumed, **timings},
        }
        trace_copy = self.run.path / "trace.copy"
        with _unwritable(out):
            shutil.copyfile(self.run.trace_path, trace_copy)
        rename_through(trace_copy, trace_path(out))
        write_through(record_path(out), json.dumps(content, indent=2, ensure_ascii=False).encode())
        rename_through(whole, out)
        new_frames = plan.num_frames - plan.geometry.num_frames(self.resumed)
        assert new_chunks >= 0, "no more can be kept than the film has"
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


class _PromptEmbeds(Sequence[Tensor]):
    """A prompt's embeddings [T, C] for each segment, kept without their padding: ten thousand prompts fit in memory."""

    def __init__(self, rows: list[Tensor], length: int) -> None:
        self._rows = rows
        self._length = length

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        rows = self._rows[index]
        return torch.nn.functional.pad(rows, (0, 0, 0, self._length - len(rows)))


def _without_padding(embeds: Tensor) -> tuple[Tensor, int]:
    """[T, C] -> (its rows up to the last that is not zero, T)."""
    real = embeds.ne(0).any(dim=1).nonzero()
    end = int(real[-1]) + 1 if len(real) else 1
    return embeds[:end].clone(), len(embeds)


def _first_picture(storyboard: Storyboard, backbone: Backbone, plan: FilmPlan) -> np.ndarray | None:
    """The picture that the first segment names, at the film's size. Raises UsageError if it, or the model, will not do."""
    path = storyboard.segments[0].image
    if path is None:
        return None
    if not hasattr(backbone, "encode_frames"):
        raise UsageError(f"the model {storyboard.model} cannot start from a picture", "leave out `image:`")
    return load_picture(Path(path), plan.width, plan.height)


def _latent_shape(plan: FilmPlan) -> tuple[int, ...]:
    geometry = plan.geometry
    return (1, geometry.chunk, geometry.latent_channels, *geometry.latent_size(plan.width, plan.height))


def _latent_bytes(plan: FilmPlan) -> int:
    return plan.geometry.chunk * plan.geometry.latent_bytes_per_frame(plan.width, plan.height, itemsize=4)


@contextlib.contextmanager
def _unwritable(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MemflowError(f"cannot write beside {out}: {error.strerror}") from error
