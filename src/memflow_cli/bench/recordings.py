"""Recordings of published code, and how the product plays each: its model, its memory, its walk.

A recording is a safetensors file: tiny random weights, noise and prompts, and the latents that the published code made of
them in fp32 on a CPU. `recorded/` holds one of each system.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from memflow_cli.attention_context import PromptProjection
from memflow_cli.backbone import Sampling
from memflow_cli.film.overlap import Overlap
from memflow_cli.geometry import Geometry
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.ema_sink import EmaSink
from memflow_cli.memory.official import OfficialMemory
from memflow_cli.memory.policy import MemoryPolicy, NoMemory, Recall
from memflow_cli.memory.shot_sink import ShotSink
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.pipeline import NoiseSource, Shot, Walk
from memflow_cli.rebuilt_walk import RebuiltWalk

STRIDE = 8  # pixels for a latent cell; any number does, since nothing is decoded
SMALLEST_SIGMA = 0.00498008  # of the shift-5 table of 1,000 steps: what Krea's last step, told as 0, stands for
PUBLISHED_ACTIVATION = 3


Prepare = Callable[[WanModel], WanModel]


@dataclass(frozen=True)
class Recording:
    """`prepare`: what is done to the model before it plays, such as moving it to a device. `most_chunks`: the film is played
    no further. `int8`: the cache keeps eight bits. `ahead`: latents are taken beside the denoising, see `Overlap`.
    """

    scenario: dict[str, Any]
    tensors: dict[str, Tensor]
    prepare: Prepare = lambda model: model
    most_chunks: int | None = None
    int8: bool = False
    ahead: int = 0

    @property
    def system(self) -> str:
        """Who published the code that made it, in one word."""
        return str(self.scenario.get("model", "memflow")).split("-")[0]

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.scenario["config"])

    @property
    def chunk(self) -> int:
        return int(self.scenario["chunk_frames"])

    @property
    def num_chunks(self) -> int:
        whole = self.scenario["num_frames"] // self.chunk
        return whole if self.most_chunks is None else min(whole, self.most_chunks)

    @property
    def given(self) -> tuple[Tensor, ...]:
        """The given latent frames as chunks; a picture alone, which its chunk is generated around, is not among them."""
        if self.has_picture or not self.scenario.get("initial_frames"):
            return ()
        return self.tensors["initial_latent"].split(self.chunk, dim=1)

    @property
    def has_picture(self) -> bool:
        return bool(self.scenario.get("independent_first_frame"))


@dataclass
class Played:
    """What the product made of a recording: `others` are compared with the tensors of the same names."""

    latents: Tensor
    mismatches: int = 0
    others: dict[str, Tensor] = field(default_factory=dict)


def read(path: Path) -> Recording:
    with safe_open(path, framework="pt") as file:
        scenario = json.loads(file.metadata()["scenario"])
        return Recording(scenario, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def recorded() -> list[Path]:
    """The recordings of this package, one of each system."""
    return sorted((Path(__file__).parent / "recorded").glob("*.safetensors"))


def play(recording: Recording) -> Played:
    """Raises ValueError for a recording of a system that is not known."""
    family = recording.scenario.get("model", "memflow")
    known = {
        "reward-forcing": _play_reward_forcing,
        "causal-forcing": _play_causal_forcing,
        "longlive-2": _play_longlive_2,
        "krea-realtime": _play_krea,
        "memflow": _play_memflow,
    }
    for name, play_it in known.items():
        if family.startswith(name):
            return play_it(recording)
    raise ValueError(f"a recording of {family}, which nothing here plays")


# What each published system is, in the product's words


def _play_memflow(recording: Recording) -> Played:
    config = recording.config
    activate = PUBLISHED_ACTIVATION if config["SMA"] else None
    bank = config["bank_size"] if recording.scenario.get("bank", True) else 0
    memory = ListeningMemory(config["sink_size"], bank, config["record_interval"], activate)
    walk = _walk(recording, build_model(recording), memory)
    played = Played(_walk_through(walk, _switches(recording), recording))
    expected = recording.scenario["bank_frames_per_retrieval"]
    played.mismatches = abs(len(expected) - len(memory.heard))
    for wanted, heard in zip(expected, memory.heard, strict=False):
        played.mismatches += sum(a != b for a, b in zip(wanted, heard, strict=True))
    return played


def _play_reward_forcing(recording: Recording) -> Played:
    memory = EmaSink(recording.config["sink_size"], recording.config["ema_alpha"])
    walk = _walk(recording, build_model(recording), memory, positions="packed")
    played = Played(_walk_through(walk, _switches(recording), recording))
    sink = [walk.cache.read(frame) for frame in walk.cache.sink_frames]
    for name, part in (("final_sink_k", "keys"), ("final_sink_v", "values")):
        played.others[name] = torch.cat([getattr(state, part)[:, 0] for state in sink], dim=1)
    return played


def _play_causal_forcing(recording: Recording) -> Played:
    walk = _walk(recording, build_model(recording), NoMemory(recording.config["sink_size"]))
    return Played(_walk_through(walk, [_Turn(0, 0)], recording))


def _play_longlive_2(recording: Recording) -> Played:
    scenario = recording.scenario
    sink, offset = recording.config["sink_size"], scenario["rope_offset_per_shot"]
    memory = ShotSink(sink, recording.chunk, offset, pins=scenario["multi_shot_sink"])
    walk = _walk(recording, build_model(recording), memory)
    rows, cuts = scenario["prompt_of_chunk"], scenario["shot_start_chunks"]
    turns = [
        _Turn(chunk, row, "cut" if chunk in cuts else "smooth")
        for chunk, row in enumerate(rows)
        if chunk == 0 or row != rows[chunk - 1] or chunk in cuts
    ]
    attended, positions = [], []

    def look(frames: range) -> None:
        cache = walk.cache
        held = {*cache.sink_frames, *cache.bank_frames[0], *cache.window_before(frames), *frames}
        attended.append(sorted(held))
        positions.append([float(cache.position(frame)) for frame in sorted(held)])

    played = Played(_walk_through(walk, turns, recording, look))
    for name, seen in (("attended_frames_per_chunk", attended), ("key_positions_per_chunk", positions)):
        wanted = [sorted(chunk) for chunk in scenario[name]][: recording.num_chunks]
        played.mismatches += sum(a != sorted(b) for a, b in zip(wanted, seen, strict=True))
    return played


def _play_krea(recording: Recording) -> Played:
    scenario = recording.scenario
    model, options = build_model(recording), {"keep_first_frame": scenario["keep_first_frame"]}
    walk = RecordedPictures(model, _size(recording), 16, noise=_noise(recording), int8=recording.int8, **options)
    walk.encoded = recording.tensors.get("reencoded_first_frame")
    turns = [_Turn(0, 0), *(_Turn(block, row, steps=steps) for block, row, steps in scenario["prompt_switches"])]
    return Played(_walk_through(walk, turns, recording))


class ListeningMemory(OfficialMemory):
    """The product's policy, which also writes down each layer's bank after every retrieval."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.heard: list[list[list[int]]] = []

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        recall = super().recall(cache, prompt)
        self.heard.append([list(bank) for bank in cache.bank_frames])
        return recall


class RecordedPictures(RebuiltWalk):
    """The product's walk, with the recorded encodings in place of those of decoded pictures: a recording has no decoder."""

    encoded: Tensor | None = None

    def encode_oldest(self) -> Tensor:
        assert self.encoded is not None, "this recording encodes no picture"
        return self.encoded[self.index][None, None]


# Model, walk, noise


def build_model(recording: Recording) -> WanModel:
    """The product's model, in fp32, with a recording's sizes and weights."""
    prefix = "weights.model."
    weights = {
        name.removeprefix(prefix): tensor for name, tensor in recording.tensors.items() if name.startswith(prefix)
    }
    wan = WanConfig.from_dict(recording.config)
    transformer = CausalWanTransformer(wan)
    transformer.load_state_dict(weights, strict=True)
    sink, window = _sink_and_window(recording)
    geometry = Geometry(
        latent_channels=wan.in_dim,
        spatial_stride=STRIDE,
        temporal_stride=4,
        first_frames=1,
        patch_size=wan.patch_size,
        num_layers=wan.num_layers,
        num_heads=wan.num_heads,
        head_dim=wan.head_dim,
        chunk=recording.chunk,
        sink=sink,
        window=window,
    )
    model = WanModel(transformer, geometry, _sampling(recording), "absolute", _no_text, _NoDecoder)
    return recording.prepare(model)


def _sink_and_window(recording: Recording) -> tuple[int, int]:
    if (context := recording.scenario.get("kv_cache_num_frames")) is not None:
        return 0, context + recording.chunk
    config = recording.config
    held = config["local_attn_size"] if config["local_attn_size"] > 0 else config["cache_frames"]
    return config["sink_size"], held - config["sink_size"]


def _sampling(recording: Recording) -> Sampling:
    scenario = recording.scenario
    if (sampler := scenario.get("sampler")) is not None:
        sigmas = tuple(sampler["sigmas"][:-1])
        return Sampling(tuple(sampler["timesteps"]), sigmas=sigmas, solver="unipc")
    if "num_denoising_steps" in scenario:
        steps = tuple(scenario["denoising_timesteps"])
        return Sampling(steps, sigmas=tuple(step / 1000 or SMALLEST_SIGMA for step in steps))
    return Sampling(
        steps=tuple(scenario["denoising_step_list"]),
        shift=recording.config["timestep_shift"],
        warp=scenario["warp_denoising_step"],
        context_noise=scenario["context_noise"],
        first_chunk_steps=tuple(scenario.get("denoising_step_list_first_chunk") or ()),
    )


def _walk(recording: Recording, model: WanModel, memory: MemoryPolicy, **options: Any) -> Walk:
    picture = recording.tensors["initial_latent"] if recording.has_picture else None
    given = len(recording.given)
    options |= {"noise": _noise(recording), "first_frame": picture, "num_given": given, "int8": recording.int8}
    return Walk(model, _size(recording), 16, memory, **options)


def _size(recording: Recording) -> tuple[int, int]:
    return recording.config["latent_width"] * STRIDE, recording.config["latent_height"] * STRIDE


def _noise(recording: Recording) -> NoiseSource:
    """The recording's noise, generated chunk by generated chunk, in place of the seeded one."""
    num_generated = recording.scenario["num_frames"] - len(recording.given) * recording.chunk
    starts = iter(recording.tensors["noise"][:, -num_generated:].split(recording.chunk, dim=1))
    latents = recording.tensors["latents"]
    renoise = recording.tensors.get("renoise", latents[:0])
    fresh = iter(renoise.reshape(-1, 1, recording.chunk, *latents.shape[2:]))

    def noise(shot: Shot, index: int, shape: Sequence[int]) -> Iterator[Tensor]:
        yield next(starts)
        while True:
            yield next(fresh)

    return noise


# Prompts in time


@dataclass(frozen=True)
class _Turn:
    """From this chunk on, the prompt of this row. `steps`: over how many chunks one prompt becomes the next (Krea)."""

    chunk: int
    row: int
    transition: str = "smooth"
    steps: int = 1


def _switches(recording: Recording) -> list[_Turn]:
    """A prompt starts with the first chunk that begins at or after its switch frame."""
    frames = [0, *recording.scenario["switch_frame_indices"]]
    return [_Turn(-(-frame // recording.chunk), row) for row, frame in enumerate(frames)]


def _walk_through(walk: Walk, turns: Sequence[_Turn], recording: Recording, look: Any = lambda frames: None) -> Tensor:
    """The latents of the whole film. `look` is called with each chunk's latent frames once it is made."""
    coming = {turn.chunk: turn for turn in turns}
    given = iter(recording.given)
    latents: list[Tensor] = []
    beside: Overlap[None, Tensor] = Overlap(walk.backbone.device, recording.ahead)
    for chunk in range(recording.num_chunks):
        if (turn := coming.get(chunk)) is not None:
            if isinstance(walk, RebuiltWalk):
                walk.prompt_steps = turn.steps
            embeds = recording.tensors["prompt_embeds"][turn.row]
            walk.enter(Shot(f"prompt {turn.row}", embeds, 0, turn.transition))
        beside.submit(None, Tensor.cpu, walk.chunk(next(given, None)).latents)
        while (done := beside.take(everything=chunk + 1 == recording.num_chunks)) is not None:
            latents.append(done[1])
        look(range(chunk * recording.chunk, (chunk + 1) * recording.chunk))
    beside.close()
    return torch.cat(latents, dim=1)


def _no_text(prompts: Any) -> Tensor:
    raise NotImplementedError("a recording brings its prompt embeddings")


class _NoDecoder:
    """A recording ends with latents."""

    past = 0

    def reset(self) -> None:
        pass

    def decode(self, latents: Tensor) -> Tensor:
        return torch.empty(0, 0, 0, 3)

    def flush(self) -> Tensor:
        return torch.empty(0, 0, 0, 3)
