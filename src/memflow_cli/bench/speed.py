"""How fast a model makes films here, and what its memory costs: policies side by side, chunk by chunk, in one run.

All policies make the same film at the same time, one chunk each in turn, so that a machine whose speed drifts gives the
same ratios. Figures are of the steady state: the window full, the bank full.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memflow_cli.backbone import Backbone
from memflow_cli.bench.ceilings import Ceilings, measure_ceilings, peak_bytes
from memflow_cli.errors import UsageError
from memflow_cli.film.frames import to_uint8
from memflow_cli.film.overlap import AHEAD, Overlap, overlap_pays, threads_beside, walk_threads
from memflow_cli.film.video import PartWriter
from memflow_cli.geometry import Geometry
from memflow_cli.machine.threads import using_threads
from memflow_cli.memory.options import RECALLING, MemoryOptions
from memflow_cli.pipeline import Chunk, generate_chunks, planned_shots
from memflow_cli.story.plan import FilmPlan, SegmentPlan
from memflow_cli.walks import make_walk

STAGES = ("retrieve", "denoise", "commit", "decode", "encode")
SEGMENT_CHUNKS = 16  # a prompt switch, with its recache, every 12 s of a 16 fps film
MAX_CHUNKS = 100_000  # of a film: more than a day of it
ACTIVATED = 3  # frames of sink and bank that each head reads under "+sma"
BLOCK_CHUNKS, BLOCK_PAIRS = 8, 8  # overlap is measured over blocks: its gain is in what follows a chunk


@dataclass
class PolicyFigures:
    """Seconds a chunk of one policy, in the order measured, and what a chunk is made of."""

    name: str
    frames_a_chunk: int
    chunk_seconds: list[float] = field(default_factory=list)
    stage_seconds: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    flops_a_chunk: float | None = None
    bytes_a_chunk: float | None = None

    @property
    def seconds(self) -> float:
        return statistics.median(self.chunk_seconds)

    @property
    def frames_per_second(self) -> float:
        return self.frames_a_chunk / self.seconds


@dataclass(frozen=True)
class Ratio:
    """Time of one policy over another's, chunk by chunk: median and quartiles."""

    policy: str
    baseline: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class OverlapFigures:
    """Decode and encode beside the denoising, as `generate` makes films on a GPU, against the same in turn.

    `frames_per_second`: overlapped; `ratio`: time overlapped over time in turn, block by block.
    """

    frames_per_second: float
    ratio: Ratio


@dataclass(frozen=True)
class BenchReport:
    figures: tuple[PolicyFigures, ...]
    ratios: tuple[Ratio, ...]
    ceilings: Ceilings
    first_frame_seconds: float
    peak_bytes: int
    overlap: OverlapFigures | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "policies": [
                {
                    "policy": item.name,
                    "frames_per_second": round(item.frames_per_second, 2),
                    "chunk_seconds": round(item.seconds, 5),
                    "stages": {
                        stage: round(statistics.median(spent), 5) for stage, spent in item.stage_seconds.items()
                    },
                    "flops_per_second": _rate(item.flops_a_chunk, item),
                    "bytes_per_second": _rate(item.bytes_a_chunk, item),
                }
                for item in self.figures
            ],
            "ratios": [_ratio_to_json(ratio) for ratio in self.ratios],
            "ceilings": {
                "flops": round(self.ceilings.flops),
                "bytes_per_second": round(self.ceilings.bytes_per_second),
            },
            "first_frame_seconds": round(self.first_frame_seconds, 4),
            "peak_bytes": self.peak_bytes,
            "overlap": self.overlap
            and {
                "frames_per_second": round(self.overlap.frames_per_second, 2),
                **_ratio_to_json(self.overlap.ratio),
            },
        }


def _ratio_to_json(ratio: Ratio) -> dict[str, Any]:
    return {
        "policy": ratio.policy,
        "to": ratio.baseline,
        "median": round(ratio.median, 4),
        "quartiles": [round(ratio.low, 4), round(ratio.high, 4)],
    }


def run_bench(
    backbone: Backbone,
    size: tuple[int, int],
    policies: Sequence[str],
    chunks: int,
    prompts: Sequence[str] | Tensor,
    on_chunk: Callable[[int], None] = lambda chunk: None,
    overlap: str | None = None,
    measures_overlap: bool | None = True,
) -> BenchReport:
    """Measure `policies` ("window", "sink", "official", "nam"; those that recall also with "+sma", all with "+int8") on films
    of `chunks` chunks.

    `size`: width, height. `prompts`: two texts, or two embeddings [2, T, C]. `on_chunk`: told how many of `num_chunks`
    are done. `overlap`: a policy whose film is then made with overlap and without, block by block; `measures_overlap`: whether
    that is done, None: where films are made so.
    Raises UsageError for an unknown policy, or for a film too short to reach the steady state.
    """
    warm_up = steady_after(backbone.geometry)
    if chunks < warm_up + 3:
        raise UsageError(f"--chunks {chunks}: memory is full after {warm_up} chunks; at least {warm_up + 3} are needed")
    if chunks > MAX_CHUNKS:
        raise UsageError(f"--chunks {chunks}: at most {MAX_CHUNKS:,} are measured")
    plan = bench_plan(backbone.geometry, size, chunks)
    embeds = (
        prompts if isinstance(prompts, Tensor) else torch.cat([backbone.encode_prompts([text]) for text in prompts])
    )
    began = time.perf_counter()
    first_frame = 0.0
    with tempfile.TemporaryDirectory(prefix="memflow-bench-") as folder:
        lanes = [Lane(backbone, plan, name, embeds, Path(folder, f"{name}.mp4")) for name in policies]
        for index in range(chunks):
            on_chunk(index)
            turn = index % len(lanes)  # nobody is always first
            for lane in lanes[turn:] + lanes[:turn]:
                lane.step(counted=index >= warm_up)
                first_frame = first_frame or time.perf_counter() - began
        for lane in lanes:
            lane.close()
    figures = tuple(lane.figures for lane in lanes)
    peak, ceilings = peak_bytes(backbone), measure_ceilings(backbone)
    del lanes, lane
    overlapped = None
    if overlap is not None and (overlap_pays(backbone, size) if measures_overlap is None else measures_overlap):
        overlapped = _measure_overlap(backbone, size, overlap, embeds, lambda chunk: on_chunk(chunks + chunk))
    return BenchReport(figures, _ratios(figures), ceilings, first_frame, peak, overlapped)


def num_chunks(geometry: Geometry, chunks: int, overlap: bool) -> int:
    """How often `run_bench` tells of a chunk."""
    return chunks + (steady_after(geometry) + BLOCK_PAIRS * BLOCK_CHUNKS if overlap else 0)


def memory_options(name: str) -> MemoryOptions:
    """ "nam+sma+int8" -> options."""
    policy, *extras = name.split("+")
    if {*extras} - {"sma", "int8"}:
        raise UsageError(f"policy {name!r}: only +sma and +int8 can be added", "for example nam+sma or nam+int8")
    if "sma" in extras and policy not in RECALLING:
        raise UsageError(f"policy {name!r}: {policy} recalls no frames of which heads could read some")
    return MemoryOptions(
        policy=policy, activate=ACTIVATED if "sma" in extras else None, kv="int8" if "int8" in extras else "full"
    )


def steady_after(geometry: Geometry) -> int:
    """Chunks until sink, window and bank are full, for every policy."""
    return -(-geometry.window // geometry.chunk) + 3 * geometry.bank


def bench_plan(geometry: Geometry, size: tuple[int, int], chunks: int) -> FilmPlan:
    """A film of `chunks` chunks with a prompt switch every `SEGMENT_CHUNKS`."""
    segments = []
    for index, start in enumerate(range(0, chunks, SEGMENT_CHUNKS)):
        end = min(start + SEGMENT_CHUNKS, chunks)
        first, last = geometry.num_frames(start), geometry.num_frames(end)
        seconds = (last - first) / 16
        segments.append(SegmentPlan(index, "", start, end - start, first, last - first, index, "smooth", seconds))
    geometry.check_size(*size, model="this model")
    return FilmPlan("bench", *size, 16, 0, geometry, tuple(segments))


def _measure_overlap(
    backbone: Backbone, size: tuple[int, int], name: str, embeds: Tensor, on_chunk: Callable[[int], None]
) -> OverlapFigures:
    """Two films of one policy, one with overlap; a block of chunks of each in turn, until its last frame is encoded."""
    warm_up = steady_after(backbone.geometry)
    plan = bench_plan(backbone.geometry, size, warm_up + BLOCK_PAIRS * BLOCK_CHUNKS)
    seconds: dict[int, list[float]] = {0: [], AHEAD: []}
    with tempfile.TemporaryDirectory(prefix="memflow-bench-") as folder:
        lanes = {
            ahead: Lane(backbone, plan, name, embeds, Path(folder, f"{ahead}.mp4"), synchronize=False)
            for ahead in seconds
        }
        first = 0
        for pair, count in enumerate([warm_up, *[BLOCK_CHUNKS] * BLOCK_PAIRS]):
            on_chunk(first)
            for ahead in (0, AHEAD) if pair % 2 else (AHEAD, 0):
                spent = lanes[ahead].block(count, ahead)
                if pair:  # the first block warms up
                    seconds[ahead].append(spent)
            first += count
        for lane in lanes.values():
            lane.close()
    low, median, high = statistics.quantiles([a / b for a, b in zip(seconds[AHEAD], seconds[0])], n=4)
    frames = BLOCK_CHUNKS * len(plan.geometry.chunk_frame_range(1))
    rate = frames / statistics.median(seconds[AHEAD])
    return OverlapFigures(rate, Ratio(f"{name}, overlapped", f"{name}, in turn", median, low, high))


class Lane:
    """One policy's film among others, a chunk at a time, encoded to `part`.

    `embeds`: [P, T, C], its segments' prompts, again and again.
    """

    def __init__(
        self,
        backbone: Backbone,
        plan: FilmPlan,
        name: str,
        embeds: Tensor,
        part: Path,
        synchronize: bool = True,
    ) -> None:
        self._backbone = backbone
        self._options = memory_options(name)
        prompts = [embeds[segment.index % len(embeds)] for segment in plan.segments]
        walk = make_walk(backbone, plan.size, plan.fps, self._options, synchronize=synchronize)
        self.threads = walk_threads(backbone, plan.size)
        """See `walk_threads`; None in its place is the slow twin."""
        self._chunks = generate_chunks(walk, planned_shots(plan, prompts))
        self._decoder = backbone.decoder_at(*plan.size)
        self._decoder.reset()
        self._writer = PartWriter(part, plan.width, plan.height, plan.fps)
        self._plan = plan
        self.figures = PolicyFigures(name, len(plan.geometry.chunk_frame_range(1)))

    def step(self, counted: bool) -> None:
        start = time.perf_counter()
        with using_threads(self.threads):
            chunk = next(self._chunks)
        generated = time.perf_counter()
        frames = self._decoder.decode(chunk.latents[0])
        pixels = to_uint8(frames)
        decoded = time.perf_counter()
        self._writer.write(pixels)
        end = time.perf_counter()
        if not counted:
            return
        self.figures.chunk_seconds.append(end - start)
        spent = chunk.seconds | {"decode": decoded - generated, "encode": end - decoded}
        for stage in STAGES:
            self.figures.stage_seconds[stage].append(spent[stage])
        self._count_work(chunk)

    def block(self, count: int, ahead: int) -> float:
        """Makes so many chunks as a film is made; the seconds until all their frames are with the encoder."""
        start = time.perf_counter()
        beside: Overlap[None, None] = Overlap(self._backbone.device, ahead, threads_beside(self.threads))
        for _ in range(count):
            with using_threads(self.threads):
                latents = next(self._chunks).latents
            latents.to("cpu")  # a film keeps them
            beside.submit(None, self._show, latents[0])
            while beside.take() is not None:
                pass
        while beside.take(everything=True) is not None:
            pass
        beside.close()
        return time.perf_counter() - start

    def _show(self, latents: Tensor) -> None:
        self._writer.write(to_uint8(self._decoder.decode(latents)))

    def _count_work(self, chunk: Chunk) -> None:
        """The arithmetic of a chunk, for backbones that know theirs."""
        record = chunk.record
        remembered = len(record.sink) + len(record.bank)
        if self._options.activate:
            remembered = min(remembered, self._options.activate)
        frames_in_view = remembered + len(record.window) + self._plan.geometry.chunk
        work = self._backbone.work_of_pass(self._plan.geometry.grid_size(*self._plan.size), frames_in_view)
        if work is None:
            return
        flops, num_bytes = work
        passes = len(self._backbone.sampling.steps) + 1  # of most chunks; the first under a prompt may be led by it
        self.figures.flops_a_chunk, self.figures.bytes_a_chunk = passes * flops, passes * num_bytes

    def close(self) -> None:
        self._writer.close()


def _ratios(figures: Sequence[PolicyFigures]) -> tuple[Ratio, ...]:
    """Every policy against `sink` and `window`, where these were measured."""
    ratios = []
    for baseline in (item for item in figures if item.name in ("sink", "window")):
        for item in figures:
            if item is not baseline:
                pairs = zip(item.chunk_seconds, baseline.chunk_seconds, strict=True)
                low, median, high = statistics.quantiles([a / b for a, b in pairs], n=4)
                ratios.append(Ratio(item.name, baseline.name, median, low, high))
    return tuple(ratios)


def _rate(amount: float | None, figures: PolicyFigures) -> int | None:
    """Work a second while the backbone runs (denoise and commit)."""
    busy = statistics.median(figures.stage_seconds["denoise"]) + statistics.median(figures.stage_seconds["commit"])
    return None if amount is None else round(amount / busy)
