"""The chunk loop: retrieve, denoise, commit, remember -> a stream of chunks.

It drives any backbone that speaks to its past through an `AttentionContext`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from memflow_cli.attention_context import PositionMode, PromptProjection
from memflow_cli.backbone import Backbone
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.policy import MemoryPolicy, Recall, Remembered
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.sampler import chunk_noise, denoise, schedule
from memflow_cli.story.plan import FilmPlan, SegmentPlan

NoiseSource = Callable[[SegmentPlan, int, tuple[int, ...]], Iterator[Tensor]]
"""(segment, the film's chunk, shape of a chunk's latents) -> the chunk's noise, see `sampler.denoise`."""


@dataclass(frozen=True)
class Chunk:
    """A finished chunk: clean latents [1, F, C, h, w] in fp32, its memory record, and seconds spent a stage."""

    index: int
    segment: int
    latents: Tensor
    record: ChunkRecord
    seconds: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def generate_chunks(
    backbone: Backbone,
    plan: FilmPlan,
    memory: MemoryPolicy,
    prompt_embeds: Sequence[Tensor],
    *,
    positions: PositionMode | None = None,
    noise: NoiseSource | None = None,
    replay: Iterable[Tensor] = (),
    synchronize: bool = False,
) -> Iterator[Chunk]:
    """Make a film's latents, chunk by chunk.

    `memory`: fresh, from `memory.policies.make_policy`. `prompt_embeds`: one [T, C] a segment. `positions`: the
    backbone's own unless given. `replay`: latents of the film's first chunks, as an earlier run made them;
    they are not denoised again, only committed, after which cache and memory are exactly as they were; what their heads
    read is not known, so their records' use is not to be relied on. `synchronize`:
    wait for the device after each stage, so that `Chunk.seconds` are exact; without it a GPU never waits in a chunk.
    """
    timer = _Timer(backbone.device if synchronize else None)
    walk = _Walk(backbone, plan, memory, positions or backbone.positions, noise or _seeded_noise, timer)
    yield from walk.run(prompt_embeds, iter(replay))


class _Walk:
    """One film's walk: the state that lives from chunk to chunk."""

    def __init__(
        self,
        backbone: Backbone,
        plan: FilmPlan,
        memory: MemoryPolicy,
        positions: PositionMode,
        noise: NoiseSource,
        timer: "_Timer",
    ) -> None:
        geometry = backbone.geometry
        grid = geometry.grid_size(plan.width, plan.height)
        self.backbone = backbone
        self.plan = plan
        self.memory = memory
        self.noise = noise
        self.latent_shape = (
            1,
            geometry.chunk,
            geometry.latent_channels,
            *geometry.latent_size(plan.width, plan.height),
        )
        self.levels = schedule(backbone.sampling)
        needs = memory.needs
        window = geometry.window
        self.cache = KVCache(
            CacheShape(
                num_layers=geometry.num_layers,
                num_heads=geometry.num_heads,
                head_dim=geometry.head_dim,
                num_tokens=grid[0] * grid[1],
                sink=needs.sink,
                window=window,
                bank=needs.bank,
                memory_places=geometry.sink + max(geometry.bank, needs.bank),
            ),
            rotate=lambda key, positions: backbone.rotate(key, positions, grid),
            positions=positions,
            activation=needs.activation,
            attend_bank=needs.attend_bank,
            keep_prompt_queries=needs.keep_prompt_queries,
            dtype=backbone.dtype,
            device=backbone.device,
        )
        self.latents: deque[Tensor] = deque(maxlen=-(-(needs.sink + window) // geometry.chunk))
        self.scores: dict[int, float] = {}
        self.timer = timer

    def run(self, prompt_embeds: Sequence[Tensor], replay: Iterator[Tensor]) -> Iterator[Chunk]:
        for segment in self.plan.segments:
            prompt = self.backbone.project_prompt(prompt_embeds[segment.index].unsqueeze(0))
            for index in range(segment.start_chunk, segment.end_chunk):
                self.timer.start()
                entered = self.enter(segment, prompt) if index == segment.start_chunk else Remembered()
                frames = self.frames_of(index)
                left = self.memory.leave(self.cache, self.cache.leaving(frames))
                recall = self.recall(prompt)
                record = self.record(segment, index, recall)
                self.timer.stop("retrieve")
                latents = next(replay, None)
                if latents is None:
                    latents = self.denoise(segment, index, frames, prompt)
                latents = latents.to(self.backbone.device)
                use = self.cache.sink_and_bank_use()
                self.timer.stop("denoise")
                self.commit(frames, latents, prompt)
                kept = self.memory.committed(self.cache, index, frames.start)
                self.timer.stop("commit")
                record = _complete(record, use, (entered, left, kept))
                yield Chunk(index, segment.index, latents, record, self.timer.seconds())

    def enter(self, segment: SegmentPlan, prompt: PromptProjection) -> Remembered:
        """A new segment: the memory learns of its prompt, the window is run again under it, or emptied (a cut)."""
        self.memory.switch_prompt(prompt)
        self.scores.clear()
        if segment.start_chunk == 0:
            return Remembered()
        if segment.transition == "cut":
            left = self.memory.leave(self.cache, self.cache.window_frames)
            self.cache.clear_window()
            self.latents.clear()
            return left
        self.recache(self.frames_of(segment.start_chunk), prompt)
        return Remembered()

    def recache(self, coming: range, prompt: PromptProjection) -> None:
        """Run the latents that the coming chunk will see again, clean, under the new prompt."""
        length = self.backbone.geometry.chunk
        if self.memory.joint_recache:
            self.recall(prompt)
            latents = torch.cat(list(self.latents), dim=1)
            length = min(self.cache.shape.sink + self.cache.shape.window, latents.shape[1])
            self.commit_pass(range(coming.start - length, coming.start), latents[:, -length:], prompt)
            return
        visible = self.cache.window_before(coming)
        for back in range(len(self.latents), 0, -1):
            frames = range(coming.start - back * length, coming.start - (back - 1) * length)
            if frames.start in visible:
                self.commit_pass(frames, self.latents[-back], prompt)

    def recall(self, prompt: PromptProjection) -> Recall:
        recall = self.memory.recall(self.cache, prompt)
        self.scores.update(recall.scores)
        return recall

    def denoise(self, segment: SegmentPlan, chunk: int, frames: range, prompt: PromptProjection) -> Tensor:
        self.cache.begin(frames, keep=False)
        noise = (sample.to(self.backbone.device) for sample in self.noise(segment, chunk, self.latent_shape))
        halfway = self.levels[len(self.levels) // 2].timestep

        def predict(latents: Tensor, timestep: float) -> Tensor:
            if timestep == halfway:
                self.cache.choose_again()  # the first pass chose by noise; now queries know who is about to be seen
            return self.backbone.predict(latents, timestep, prompt=prompt, context=self.cache)

        return denoise(predict, noise, self.levels, self.backbone.sampling)

    def commit(self, frames: range, latents: Tensor, prompt: PromptProjection) -> None:
        self.commit_pass(frames, latents, prompt)
        self.latents.append(latents)

    def commit_pass(self, frames: range, latents: Tensor, prompt: PromptProjection) -> None:
        """The clean pass: only here do keys and values become permanent."""
        self.cache.begin(frames)
        stage = getattr(self.backbone, "stage", self.backbone.predict)
        stage(latents, float(self.backbone.sampling.context_noise), prompt, self.cache)
        self.cache.commit()

    def frames_of(self, chunk: int) -> range:
        """The latent frames of a chunk."""
        length = self.backbone.geometry.chunk
        return range(chunk * length, (chunk + 1) * length)

    def record(self, segment: SegmentPlan, chunk: int, recall: Recall) -> ChunkRecord:
        """What the chunk at hand is about to see."""
        banks = self.cache.banks_in_view
        shared = all(bank == banks[0] for bank in banks)
        recalled = dict.fromkeys(frame for bank in banks for frame in bank)
        pixel_frames = self.backbone.geometry.chunk_frame_range(chunk)
        return ChunkRecord(
            chunk=chunk,
            segment=segment.index,
            prompt=segment.prompt,
            start_seconds=pixel_frames.start / self.plan.fps,
            end_seconds=pixel_frames.stop / self.plan.fps,
            sink=self.cache.sink_frames,
            window=self.cache.window_before(self.frames_of(chunk)),
            bank=tuple(Recalled(frame, self.scores.get(frame, 0.0)) for frame in recalled),
            candidates=recall.scores,
            layer_banks=() if shared else tuple(tuple(bank) for bank in banks),
        )


def _seeded_noise(segment: SegmentPlan, chunk: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    return chunk_noise(segment.seed, chunk - segment.start_chunk, shape)


def _complete(record: ChunkRecord, use: dict[int, float], remembered: Sequence[Remembered]) -> ChunkRecord:
    """The record with what was known only after the chunk: use by attention, and the archive's changes."""
    layers = record.layer_banks
    held = {
        item.frame: sum(item.frame in bank for bank in layers) / len(layers) if layers else 1.0 for item in record.bank
    }
    return replace(
        record,
        bank=tuple(replace(item, use=use.get(item.frame, 0.0) if use else held[item.frame]) for item in record.bank),
        sink_use=tuple(use.get(frame, 0.0) for frame in record.sink) if use else (),
        archived=tuple(frame for part in remembered for frame in part.archived),
        evicted=tuple(frame for part in remembered for frame in part.evicted),
    )


class _Timer:
    """Seconds a stage of the chunk at hand. Without a device to wait for, a GPU's work is timed when it is issued."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._last = 0.0

    def start(self) -> None:
        self._seconds = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self._seconds[stage] = now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        return dict(self._seconds)
