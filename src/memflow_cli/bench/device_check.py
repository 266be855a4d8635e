"""What holds on a device: every recording through every engine option that it has, then the speed of each known model.

Nothing is downloaded: recordings are in the package, and models of full size are made of random numbers. The reference is
what the published code made in fp32 on a CPU. An option that computes in fewer bits is compared over a film's first chunks,
before small differences grow.
"""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from memflow_cli.bench import recordings
from memflow_cli.bench.ceilings import peak_bytes
from memflow_cli.bench.recordings import Recording
from memflow_cli.errors import MemflowError
from memflow_cli.film.overlap import AHEAD
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import ModelEntry, published_models
from memflow_cli.models.family import family_of
from memflow_cli.models.footprint import RESERVE, card_use
from memflow_cli.models.wan.acceleration import accelerate
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.random_weights import random_prompts
from memflow_cli.models.wan.streaming import move_streamed
from memflow_cli.pipeline import Shot
from memflow_cli.walks import make_walk

FIRST_CHUNKS = 2
EXACT = {"cpu": 1e-4, "cuda": 2e-3}  # largest error of latents in fp32; other devices: as cuda
COARSE = 0.35  # of 16 bits and fewer, in latents of deviation 1, over the first chunks
MEASURED_CHUNKS = 3  # after one that warms up
MOST_SECONDS = 180.0  # of all that is measured: then no other model is begun

ON_A_GPU_ONLY = "measured on a GPU only"

Prepare = Callable[[WanModel, torch.device], WanModel]


@dataclass(frozen=True)
class Option:
    """A way to compute. `is_exact`: in fp32, by the same sums in another order at most; `needs`: a kind of device.

    `int8`, `ahead`: as in `Recording`.
    """

    name: str
    prepare: Prepare
    is_exact: bool = True
    needs: str | None = None
    int8: bool = False
    ahead: int = 0


@dataclass(frozen=True)
class Outcome:
    """One option over one recording. `problem`: why there is no error to tell."""

    option: str
    recording: str
    system: str
    max_error: float | None
    tolerance: float
    seconds: float
    problem: str | None = None

    @property
    def verdict(self) -> str:
        if self.max_error is None:
            return "not run"
        return "holds" if self.max_error <= self.tolerance else "FAILS"


@dataclass(frozen=True)
class Speed:
    """A known model at its own size, of random weights. Bytes are the peak measured and what `plan` estimates."""

    model: str
    frames_per_second: float | None
    peak_bytes: int | None
    estimated_bytes: int
    problem: str | None = None


def _moved(model: WanModel, device: torch.device, dtype: torch.dtype = torch.float32) -> WanModel:
    """The same model on a device, its matrices in a precision; what is kept in fp32 stays so."""
    from memflow_cli.models.wan.checkpoint import FULL_PRECISION

    for name, parameter in model.transformer.named_parameters():
        kept = torch.float32 if FULL_PRECISION.search(name) else dtype
        parameter.data = parameter.data.to(device, kept)
    return WanModel(
        model.transformer, model.geometry, model.sampling, model.positions, model.encode_prompts, model.decoder
    )


def _accelerated(kind: str, dtype: torch.dtype = torch.float32) -> Prepare:
    def prepare(model: WanModel, device: torch.device) -> WanModel:
        moved = _moved(model, device, dtype)
        accelerate(moved, [kind])
        return moved

    return prepare


def _streamed(model: WanModel, device: torch.device) -> WanModel:
    move_streamed(model.transformer, 1, device)
    return WanModel(
        model.transformer, model.geometry, model.sampling, model.positions, model.encode_prompts, model.decoder
    )


OPTIONS = (
    Option("plain, fp32", _moved),
    Option("streamed blocks", _streamed),
    Option("overlap", _moved, ahead=AHEAD),
    Option("compile", _accelerated("compile")),
    Option("graphs", _accelerated("graphs"), needs="cuda"),
    Option("int8 keys and values", _moved, is_exact=False, int8=True),
    Option("plain, bf16", lambda model, device: _moved(model, device, torch.bfloat16), is_exact=False),
    Option("plain, fp16", lambda model, device: _moved(model, device, torch.float16), is_exact=False, needs="cuda"),
    Option("cudnn, bf16", _accelerated("cudnn", torch.bfloat16), is_exact=False, needs="cuda"),
    Option("sage, bf16", _accelerated("sage", torch.bfloat16), is_exact=False, needs="cuda"),
    Option("fp8, bf16", _accelerated("fp8", torch.bfloat16), is_exact=False, needs="cuda"),
)


def check_options(device: torch.device) -> Iterator[Outcome]:
    """Every option over every recording of the package; none of them raises."""
    for option in OPTIONS:
        for path in recordings.recorded():
            yield _play(option, path.stem, recordings.read(path), device)


def _play(option: Option, name: str, recording: Recording, device: torch.device) -> Outcome:
    about = option.name, name, recording.system
    tolerance = EXACT.get(device.type, EXACT["cuda"]) if option.is_exact else COARSE
    if option.needs is not None and option.needs != device.type:
        return Outcome(*about, None, tolerance, 0.0, f"wants {option.needs}")
    began = time.perf_counter()
    chunks = None if option.is_exact else FIRST_CHUNKS
    prepared = replace(
        recording,
        prepare=lambda model: option.prepare(model, device),
        most_chunks=chunks,
        int8=option.int8,
        ahead=option.ahead,
    )
    try:
        made = recordings.play(prepared).latents
    except (MemflowError, RuntimeError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        return Outcome(*about, None, tolerance, time.perf_counter() - began, reason)
    wanted = recording.tensors["latents"][:, : made.shape[1]]
    largest = (made.float() - wanted).abs().max().item() if torch.isfinite(made).all() else float("inf")
    return Outcome(*about, largest, tolerance, time.perf_counter() - began)


def measure_models(device: torch.device, seconds: float = MOST_SECONDS) -> Iterator[Speed]:
    """Each published model at full size, with random weights: only where a GPU has the memory for it. After so many
    seconds none is begun.
    """
    end = time.monotonic() + seconds
    for entry in published_models():
        yield _measure(entry, device, end)


def _measure(entry: ModelEntry, device: torch.device, end: float) -> Speed:
    use = card_use(entry, entry.width, entry.height, 3, 2)
    needed = use.film + RESERVE
    if device.type != "cuda":
        return Speed(entry.name, None, None, needed, ON_A_GPU_ONLY)
    if time.monotonic() > end:
        return Speed(entry.name, None, None, needed, "left out: the time was over")
    free = torch.cuda.mem_get_info(device)[0]
    if needed > free:
        return Speed(entry.name, None, None, needed, f"wants {needed >> 30} GiB, {free >> 30} GiB are free")
    try:
        rate, peak = _make_chunks(entry, device)
    except (MemflowError, RuntimeError) as error:
        return Speed(entry.name, None, None, needed, str(error).splitlines()[0][:160])
    return Speed(entry.name, rate, peak, needed)


def _make_chunks(entry: ModelEntry, device: torch.device) -> tuple[float, int]:
    """Frames a second, denoised and decoded, and the most memory held."""
    torch.cuda.reset_peak_memory_stats(device)
    backbone: Any = family_of(entry).random(entry, device, torch.bfloat16)
    walk = make_walk(backbone, (entry.width, entry.height), entry.fps, MemoryOptions(policy=entry.published_policy))
    walk.enter(Shot("random", random_prompts(entry, 1)[0], seed=0))
    decoder = backbone.decoder()
    decoder.reset()
    frames, began = 0, 0.0
    for number in range(1 + MEASURED_CHUNKS):
        if number == 1:
            torch.cuda.synchronize(device)
            frames, began = 0, time.perf_counter()
        frames += len(decoder.decode(walk.chunk().latents[0]))
    torch.cuda.synchronize(device)
    return frames / (time.perf_counter() - began), peak_bytes(backbone)


def describe_device(device: torch.device) -> dict[str, str]:
    """What a bug report has to say of the machine."""
    about = {"device": str(device), "torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        about |= {"name": torch.cuda.get_device_name(device), "capability": f"{major}.{minor}"}
        about["cuda"] = str(torch.version.cuda)
    else:
        about["name"] = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return about
