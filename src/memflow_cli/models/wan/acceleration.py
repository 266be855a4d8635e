"""Ways to make a loaded Wan model faster. None is on unless asked for; the plain path is the slow twin of each.

`compile`: torch.compile fuses what a block does between its matrix products. Works on CPU and CUDA; the first film of a
shape pays for compiling, later ones find it in TORCHINDUCTOR_CACHE_DIR. Where no compiler works, one warning, and the plain
path. `graphs`: a pass over memory that stays in place is recorded once and replayed as a CUDA graph. `cudnn`: SDPA asks
cuDNN's attention before FlashAttention. `sage`: self-attention by SageAttention (8 bit, an approximation; its package must
be installed). `fp8`: the blocks' matrix products in 8 bit floats (an approximation, by torchao, which must be installed; Ada
or newer).

What is true of CUDA here was reasoned from shapes and documentation and has not been measured: nothing but `compile` has
been run where it is meant to run. What a graph replays is tested without recording, on the CPU (`record_nothing`).
"""

import warnings
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from weakref import WeakKeyDictionary, ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.attention_context import AttentionContext, PromptProjection
from memflow_cli.backbone import Backbone, Timesteps
from memflow_cli.errors import DeviceError, UsageError
from memflow_cli.models.family import ACCELERATIONS
from memflow_cli.models.wan.attention import rotate
from memflow_cli.models.wan.model import WanModel, timestep_of_each
from memflow_cli.models.wan.streaming import HostLinear
from memflow_cli.models.wan.transformer import Block, CausalWanTransformer

RECORD_AFTER = 16  # plain passes over a layout before it is recorded: while memory fills up, most layouts come once
MAX_GRAPHS = 8  # of a film, at a time; a full window has as many layouts as it has chunks


def accelerate(model: Backbone, wanted: Iterable[str]) -> None:
    """Switch on each of `wanted`, in place.

    Raises UsageError for a name that is none of `ACCELERATIONS`, for two kinds of attention, and for a model
    that is not Wan's; DeviceError where the device or a package is missing.
    """
    kinds = set(wanted)
    if unknown := kinds.difference(ACCELERATIONS):
        raise UsageError(f"no such acceleration: {', '.join(sorted(unknown))}", f"allowed: {', '.join(ACCELERATIONS)}")
    if {"cudnn", "sage"} <= kinds:
        raise UsageError("cudnn and sage are two kernels for the same attention", "ask for one of them")
    if not kinds:
        return
    if not isinstance(model, WanModel):
        raise UsageError("only Wan models can be accelerated", f"leave out {', '.join(sorted(kinds))}")
    transformer = model.transformer
    if any(isinstance(module, HostLinear) for module in transformer.modules()) and kinds & {"compile", "graphs", "fp8"}:
        raise DeviceError(
            "a model whose layers are streamed to the card cannot be compiled, recorded or turned into 8 bits",
            "give it more memory with --vram, or a smaller picture",
        )
    for kind in sorted(kinds - {"compile"}):
        if model.device.type != "cuda":
            raise DeviceError(f"{kind} needs an NVIDIA GPU; the model is on {model.device.type}")
    if (low := sorted(kinds & {"sage", "fp8"})) and model.dtype == torch.float32:
        raise UsageError(f"{', '.join(low)}: works on 16 bits, and the model is in fp32", "--dtype bf16")
    if "fp8" in kinds and model.dtype != torch.bfloat16:
        raise UsageError("fp8: torchao makes it of bf16, and the model is in fp16", "--dtype bf16")
    if "fp8" in kinds:
        use_float8(transformer)
    if "cudnn" in kinds:
        transformer.attend = attend_by_cudnn
    if "sage" in kinds:
        transformer.attend = sage_attention()
    if "compile" in kinds:
        compile_blocks(transformer)
    if "graphs" in kinds:
        model.whole_pass = GraphedPass(model, record_graph)


# compile


def compile_blocks(transformer: CausalWanTransformer, backend: str = "inductor") -> bool:
    """Fuse norms, modulation and activations of every block; shapes are static. Returns whether a compiler was found.

    All blocks share their compiled code, which takes their weights as inputs.
    """
    if not _compiler_works(transformer.patch_embedding.weight.device, backend):
        return False
    transformer.parts = None  # wan/fused.py's are not compiled
    for name in ("project", "attend_prompt", "feed_forward"):
        compiled = torch.compile(getattr(Block, name), dynamic=False, backend=backend)
        for block in transformer.blocks:
            setattr(block, name, partial(compiled, block))
    # The cache rotates as many frames as have moved: one code for any number of them.
    transformer.rotate = torch.compile(rotate, dynamic=True, backend=backend)
    return True


def _compiler_works(device: torch.device, backend: str) -> bool:
    """Compile something small. Warns, once a process for each cause, where that fails."""
    try:
        torch.compile(_probe, dynamic=False, backend=backend)(torch.zeros(8, device=device))
    except (RuntimeError, ImportError, OSError, AttributeError) as error:
        cause = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        warnings.warn(f"no compiler works here, the model runs uncompiled: {cause}", RuntimeWarning, stacklevel=3)
        return False
    return True


def _probe(x: Tensor) -> Tensor:
    return F.gelu(x) * 2 + 1


# graphs

Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""A pass over memory that stays in place -> its replay; both return the same tensor, filled anew each time."""


class StaticPass:
    """A pass with all that changes from one to the next in tensors that stay in place: what a CUDA graph needs.

    The context's own tensors must stay in place too; `KVCache.layout` says for how long they do.
    """

    def __init__(self, model: WanModel, latents: Tensor, prompt: PromptProjection, context: AttentionContext) -> None:
        self._model = model
        self._context = ref(context)  # a recording must not keep its film's cache alive
        self._latents = torch.empty_like(latents)
        self._timesteps = torch.empty(latents.shape[:2], dtype=torch.float32, device=latents.device)
        self._prompt = PromptProjection(
            tuple(key.clone() for key in prompt.keys),
            tuple(value.clone() for value in prompt.values),
            prompt.mask,
            prompt.embeds,
        )
        self._loaded_prompt = prompt
        self._positions = tuple(context.positions)
        cosine, sine = self._rotary_table(self._positions)
        self._table = cosine.clone(), sine.clone()

    def load(self, latents: Tensor, timestep: Timesteps, prompt: PromptProjection) -> None:
        """Bring the inputs of the next `run`. Shapes are those of the first ones."""
        self._latents.copy_(latents)
        self._timesteps.copy_(timestep_of_each(timestep, latents))
        if prompt is not self._loaded_prompt:
            for held, new in zip(self._prompt.keys + self._prompt.values, prompt.keys + prompt.values, strict=True):
                held.copy_(new)
            self._loaded_prompt = prompt
        positions = tuple(self._alive().positions)
        if positions != self._positions:
            for held, new in zip(self._table, self._rotary_table(positions), strict=True):
                held.copy_(new)
            self._positions = positions

    def run(self) -> Tensor:
        """The prediction [B, F, C, h, w] for what was loaded."""
        transformer = self._model.transformer
        plain, transformer.rotary = transformer.rotary, lambda *_: self._table
        try:
            prediction: Tensor = transformer(self._latents, self._timesteps, self._prompt, self._alive())
        finally:
            transformer.rotary = plain
        return prediction

    def _alive(self) -> AttentionContext:
        context = self._context()
        assert context is not None, "a recording is played for the film it was made in"
        return context

    def _rotary_table(self, positions: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        transformer = self._model.transformer
        grid = transformer.token_grid(self._latents)
        return transformer.rotary(positions, grid, transformer.config.head_dim, self._latents.device)


@dataclass
class _Recordings:
    """Of one film's cache: how often each layout was seen, and the passes recorded."""

    seen: dict[Hashable, int] = field(default_factory=dict)
    replays: dict[Hashable, tuple[StaticPass, Callable[[], Tensor]]] = field(default_factory=dict)


class GraphedPass:
    """A model's whole pass, recorded once a layout of its context and replayed from then on. In place of `WanModel.whole_pass`.

    A context without a `layout`, or whose heads still have to choose what they read, gets the plain pass.
    """

    def __init__(self, model: WanModel, record: Record, record_after: int = RECORD_AFTER) -> None:
        self.num_replays = 0
        model.transformer.parts = None  # those of wan/fused.py look up what a timestep says; a recording would not
        self._model = model
        self._plain = model.whole_pass
        self._record = record
        self._record_after = record_after
        self._films: WeakKeyDictionary[AttentionContext, _Recordings] = WeakKeyDictionary()

    def __call__(
        self, latents: Tensor, timestep: Timesteps, prompt: PromptProjection, context: AttentionContext
    ) -> Tensor:
        layout = getattr(context, "layout", None)
        if layout is None:
            return self._plain(latents, timestep, prompt, context)
        film = self._films.setdefault(context, _Recordings())
        case = (layout, latents.shape, prompt.keys[0].shape)
        film.seen[case] = film.seen.get(case, 0) + 1
        if case not in film.replays:
            if film.seen[case] <= self._record_after:
                return self._plain(latents, timestep, prompt, context)
            if len(film.replays) == MAX_GRAPHS:
                del film.replays[next(iter(film.replays))]  # the oldest: of a window or a bank that was smaller then
            static = StaticPass(self._model, latents, prompt, context)
            static.load(latents, timestep, prompt)
            film.replays[case] = static, self._record(static.run)
        static, replay = film.replays[case]
        static.load(latents, timestep, prompt)
        self.num_replays += 1
        return replay().clone()  # the next replay writes over it


def record_graph(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record a CUDA graph of `run`. Other threads may go on using the GPU meanwhile."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries set themselves up in a first pass, which must not be recorded
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = run()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def record_nothing(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The slow twin of `record_graph`: the same tensors in place, but every replay is a pass of its own."""
    return run


# attention kernels


def attend_by_cudnn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `attention.attend`, cuDNN's kernel first, then FlashAttention, then whatever works."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    with sdpa_kernel(kernels, set_priority=True):
        out = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return out.transpose(1, 2)


def sage_attention() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """SageAttention's kernel behind the signature of `attention.attend`. Raises DeviceError if it is not installed."""
    try:
        sageattn = import_module("sageattention").sageattn
    except ImportError as error:
        raise DeviceError("SageAttention is not installed", "pip install sageattention, or leave out sage") from error

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out: Tensor = sageattn(query, key, value, tensor_layout="NHD", is_causal=False)  # [B, L, H, D]
        return out

    return attend


# 8 bit matrix products, by torchao

FLOAT8_MATRICES = (
    "self_attn.q",
    "self_attn.k",
    "self_attn.v",
    "self_attn.o",
    "cross_attn.q",
    "cross_attn.o",
    "ffn.0",
    "ffn.2",
)
"""Of each block: what every pass multiplies with. Those that meet a prompt only once stay as they are."""
FLOAT8_CAPABILITY = (8, 9)  # Ada; before it a GPU multiplies no float8


def use_float8(transformer: CausalWanTransformer) -> None:
    """Products of every pass in float8. Raises DeviceError for a GPU that has none, or where torchao is not installed."""
    device = transformer.patch_embedding.weight.device
    if torch.cuda.get_device_capability(device) < FLOAT8_CAPABILITY:
        raise DeviceError(f"fp8 needs a GPU of the Ada generation or newer, not {torch.cuda.get_device_name(device)}")
    quantise_products(transformer)


def quantise_products(transformer: CausalWanTransformer) -> None:
    """Weights in float8 with a scale for each row, tokens as they come, each with its own. A matrix with a side that is not
    a multiple of 16 stays as it is. Raises DeviceError without torchao.
    """
    try:
        ao = import_module("torchao.quantization")
    except ImportError as error:
        raise DeviceError("products in fp8 are torchao's, which is not installed", "pip install torchao") from error
    transformer.parts = None  # wan/fused.py's have weights of their own
    # Its settings for the compiler would hold for all of the process.
    config = ao.Float8DynamicActivationFloat8WeightConfig(granularity=ao.PerRow(), set_inductor_config=False)
    ao.quantize_(transformer.blocks, config, filter_fn=_is_multiplied_by_every_pass)


def _is_multiplied_by_every_pass(module: nn.Module, name: str) -> bool:
    """`name`: within the blocks, "0.self_attn.q"."""
    return isinstance(module, nn.Linear) and name.partition(".")[2] in FLOAT8_MATRICES
