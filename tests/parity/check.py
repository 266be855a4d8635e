"""Compare recordings of the published code with this package: python tests/parity/check.py FILE.safetensors...

Each recording's weights, noise and prompts run through the product's own transformer, cache, memory and sampler. One
line a file: NAME max_abs_err=... bank_mismatches=...; exit 1 if an error exceeds 1e-4 or a bank differs.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from memflow_cli.attention_context import PromptProjection
from memflow_cli.backbone import Sampling
from memflow_cli.geometry import Geometry
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.official import OfficialMemory
from memflow_cli.memory.policy import Recall
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.pipeline import Shot, Walk, generate_chunks, planned_shots
from memflow_cli.story.plan import FilmPlan, SegmentPlan

TOLERANCE = 1e-4


class Result(NamedTuple):
    max_abs_err: float
    bank_mismatches: int

    @property
    def passed(self) -> bool:
        return self.max_abs_err <= TOLERANCE and self.bank_mismatches == 0


class ListeningMemory(OfficialMemory):
    """The product's policy, which also writes down each layer's bank after every retrieval."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.heard: list[list[list[int]]] = []

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        recall = super().recall(cache, prompt)
        self.heard.append([list(bank) for bank in cache.bank_frames])
        return recall


def check(path: Path) -> Result:
    """Run one recording. Raises KeyError or ValueError if the file is no recording."""
    with safe_open(path, framework="pt") as file:
        scenario = json.loads(file.metadata()["scenario"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    prefix = "weights.model."
    weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    model = build_model(scenario, weights)
    memory = build_memory(scenario)
    plan = build_plan(scenario, model.geometry)
    walk = Walk(model, plan.size, plan.fps, memory, noise=recorded_noise(tensors, plan))
    chunks = generate_chunks(walk, planned_shots(plan, tensors["prompt_embeds"]))
    latents = torch.cat([chunk.latents for chunk in chunks], dim=1)
    expected = scenario["bank_frames_per_retrieval"]
    mismatches = abs(len(expected) - len(memory.heard))
    for wanted, heard in zip(expected, memory.heard, strict=False):
        mismatches += sum(a != b for a, b in zip(wanted, heard, strict=True))
    return Result((latents - tensors["latents"]).abs().max().item(), mismatches)


def build_model(scenario: dict[str, Any], weights: dict[str, Tensor]) -> WanModel:
    """The product's model, in fp32, with a recording's sizes and weights."""
    config = scenario["config"]
    wan = WanConfig.from_dict(config)
    transformer = CausalWanTransformer(wan)
    transformer.load_state_dict(weights, strict=True)
    geometry = Geometry(
        latent_channels=wan.in_dim,
        spatial_stride=8,
        temporal_stride=4,
        first_frames=1,
        patch_size=wan.patch_size,
        num_layers=wan.num_layers,
        num_heads=wan.num_heads,
        head_dim=wan.head_dim,
        chunk=scenario["chunk_frames"],
        sink=config["sink_size"],
        window=config["local_attn_size"] - config["sink_size"],
    )
    sampling = Sampling(
        steps=tuple(scenario["denoising_step_list"]),
        shift=config["timestep_shift"],
        warp=scenario["warp_denoising_step"],
        context_noise=scenario["context_noise"],
    )
    return WanModel(transformer, geometry, sampling, "absolute", encode_prompts=_no_text, make_decoder=_no_decoder)


def build_memory(scenario: dict[str, Any]) -> ListeningMemory:
    config = scenario["config"]
    activate = 3 if config["SMA"] else None  # the published code's constant
    bank = config["bank_size"] if scenario.get("bank", True) else 0
    return ListeningMemory(config["sink_size"], bank, config["record_interval"], activate)


def build_plan(scenario: dict[str, Any], geometry: Geometry) -> FilmPlan:
    """A prompt starts with the first chunk that begins at or after its switch frame."""
    num_chunks = scenario["num_frames"] // geometry.chunk
    starts = [0] + [-(-frame // geometry.chunk) for frame in scenario["switch_frame_indices"]]
    segments = [
        SegmentPlan(
            index=index,
            prompt=f"prompt {index}",
            start_chunk=start,
            num_chunks=end - start,
            start_frame=geometry.num_frames(start),
            num_frames=geometry.num_frames(end) - geometry.num_frames(start),
            seed=0,
            transition="smooth",
            requested_seconds=0.0,
        )
        for index, (start, end) in enumerate(zip(starts, [*starts[1:], num_chunks], strict=True))
    ]
    stride = geometry.spatial_stride
    width, height = scenario["config"]["latent_width"] * stride, scenario["config"]["latent_height"] * stride
    return FilmPlan("parity", width, height, 16, 0, geometry, tuple(segments))


def recorded_noise(tensors: dict[str, Tensor], plan: FilmPlan) -> Any:
    """The recording's noise in place of the seeded one."""
    starts = {segment.prompt: segment.start_chunk for segment in plan.segments}

    def noise(shot: Shot, index: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
        length, chunk = shape[1], starts[shot.prompt] + index
        yield tensors["noise"][:, chunk * length : (chunk + 1) * length]
        num_chunks = tensors["noise"].shape[1] // length
        yield from tensors["renoise"].reshape(num_chunks, -1, *shape)[chunk]

    return noise


def _no_text(prompts: Any) -> Tensor:
    raise NotImplementedError("a recording brings its prompt embeddings")


def _no_decoder() -> Any:
    raise NotImplementedError("a recording ends with latents")


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    results = []
    for path in paths:
        result = check(Path(path))
        print(f"{Path(path).stem} max_abs_err={result.max_abs_err:.2e} bank_mismatches={result.bank_mismatches}")
        results.append(result)
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
