"""Every way to be faster gives what the plain model gives; where it cannot work, a sentence or a warning says so."""

import gc
import os
import sys
import warnings
from dataclasses import replace
from functools import partial
from weakref import ref

import pytest
import torch

import toy_backbone
from memflow_cli.cli.acceleration import parse_accelerations, speed_up
from memflow_cli.errors import DeviceError, UsageError
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.models.family import ACCELERATIONS
from memflow_cli.models.wan import acceleration, attention
from memflow_cli.models.wan.acceleration import (
    GraphedPass,
    accelerate,
    attend_by_cudnn,
    compile_blocks,
    record_nothing,
    sage_attention,
)
from memflow_cli.models.wan.attention import (
    attend,
    attend_fused,
    attend_spelled_out,
    rotary_table,
    rotate,
    rotate_as_complex,
    rotate_by_parts,
)
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.streaming import move_streamed
from memflow_cli.models.wan.transformer import CausalWanTransformer
from tiny_model import film_chunks, tiny_backbone, tiny_entry, tiny_plan, tiny_prompts


def film(model, options=None, chunks=(7, 3)):
    plan = tiny_plan(model.geometry, chunks, transitions=["smooth", *["cut"] * (len(chunks) - 1)])
    options = options or MemoryOptions(policy="nam")
    return list(film_chunks(model, plan, make_policy(options, model.geometry), tiny_prompts(len(chunks))))


def tiny(positions="relative"):
    """With three steps a chunk: sparse heads choose in the first and the second. Its blocks are the plain ones."""
    entry = tiny_entry("wan")
    steps = replace(entry.sampling, steps=(1000, 750, 500))
    model = tiny_backbone(replace(entry, sampling=steps), positions=positions)
    model.transformer.parts = None
    return model


@pytest.mark.slow
def test_traced_equals_plain():
    """A whole film through the compiler's front half: every block by one trace, each with its own weights."""
    model = tiny()
    plain = film(model, chunks=(5,))
    assert compile_blocks(model.transformer, backend="aot_eager")
    for a, b in zip(plain, film(model, chunks=(5,)), strict=True):
        torch.testing.assert_close(a.latents, b.latents, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_compiled_equals_plain(monkeypatch):
    """Through the whole compiler, in this process: what other tests fork must have no compiling threads. The film above
    differs from what a user compiles by the kernels only; one of them is enough here.
    """
    from torch._inductor import config

    monkeypatch.setattr(config, "compile_threads", 1)
    model = tiny()
    block, x = model.transformer.blocks[1], torch.randn(1, 3, 8, 24)
    modulation = torch.randn(6, 1, 3, 1, 24).unbind(0)
    with torch.no_grad():
        plain = block.feed_forward(x, modulation)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                compile_blocks(model.transformer)
            except RuntimeWarning:
                pytest.skip("no C++ compiler here")
        torch.testing.assert_close(block.feed_forward(x, modulation), plain, atol=1e-5, rtol=1e-4)


def test_without_a_compiler_there_is_a_warning_and_the_plain_film(monkeypatch, capsys, tmp_path):
    def broken(x):
        raise RuntimeError("\nCppCompileError: no g++ here\nand a long log")

    model = tiny()
    plain = film(model, chunks=(2,))
    monkeypatch.setattr(acceleration.torch, "compile", lambda function, **options: broken)
    with pytest.warns(RuntimeWarning, match="the model runs uncompiled: CppCompileError: no g\\+\\+ here$"):
        accelerate(model, ["compile"])
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(plain, film(model, chunks=(2,)), strict=True))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    speed_up(tiny_entry(), model, ("compile",))
    assert capsys.readouterr().err.strip().endswith("the model runs uncompiled: CppCompileError: no g++ here")


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("policy", ["nam", "sink", "official"])
@pytest.mark.parametrize("activate", [None, 2])
def test_passes_over_memory_that_stays_in_place_equal_plain_ones(policy, activate, positions):
    """What a CUDA graph would replay, run without recording: the same latents, bit for bit, across prompts and a cut."""
    options = MemoryOptions(policy=policy, activate=activate)
    model = tiny(positions)
    plain = film(model, options, chunks=(9, 8))
    model.whole_pass = graphed = GraphedPass(model, record_nothing, record_after=0)
    again = film(model, options, chunks=(9, 8))
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a.latents, b.latents) and a.record == b.record
    if policy == "official" and activate:
        assert graphed.num_replays < 17, "heads that choose anew in every pass are never recorded"
    else:
        assert graphed.num_replays >= 17, "at least every chunk's last step"


class Frozen:
    """A recording as a CUDA graph makes one: the Python that led there is not run again, only the tensors' work."""

    def __init__(self):
        self.recorded = []

    def __call__(self, run):
        from torch.utils._python_dispatch import TorchDispatchMode

        calls = []

        class Tape(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                out = function(*args, **(kwargs or {}))
                calls.append((function, args, kwargs or {}, out))
                return out

        with Tape():
            output = run()
        self.recorded.append(len(calls))

        def replay():
            for function, args, kwargs, out in calls:
                new = function(*args, **kwargs)
                for held, value in zip(_tensors(out), _tensors(new), strict=True):
                    if held.data_ptr() != value.data_ptr():
                        held.copy_(value)
            return output

        return replay


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [item for part in value for item in _tensors(part)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("activate", [None, 2])
def test_a_recording_can_be_replayed_for_every_pass_of_its_layout(activate, positions):
    """A tape of tensor operations, played again in other chunks: nothing that changes between them is baked in."""
    options = MemoryOptions(policy="nam", activate=activate)
    model = tiny(positions)
    plain = film(model, options, chunks=(14, 9))
    tapes = Frozen()
    model.whole_pass = graphed = GraphedPass(model, tapes, record_after=0)
    for a, b in zip(plain, film(model, options, chunks=(14, 9)), strict=True):
        assert torch.equal(a.latents, b.latents) and a.record == b.record
    assert len(tapes.recorded) < graphed.num_replays, "some recordings were played more than once"


def test_films_of_one_model_share_no_recordings_and_leave_none_behind():
    recordings = []

    def record(run):
        replay = partial(record_nothing(run))
        recordings.append(ref(replay))
        return replay

    model = tiny()
    model.whole_pass = GraphedPass(model, record, record_after=0)
    first, second = film(model, chunks=(4,)), film(model, chunks=(4,))
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(first, second, strict=True))
    gc.collect()
    assert len(recordings) > 1
    assert not any(recording() for recording in recordings), "with a finished film's cache its recordings are gone"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_keys", [5, 420])
def test_attention_spelled_out_agrees_with_the_fused_kernels(dtype, num_keys):
    query = torch.randn(2, 84, 3, 16)
    key, value = torch.randn(2, 2, num_keys, 3, 16).unbind(0)
    true = attend_fused(query, key, value)
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    for way in (attend_fused, attend_spelled_out, attend):
        out = way(query.to(dtype), key.to(dtype), value.to(dtype))
        assert out.dtype == dtype and out.shape == query.shape
        torch.testing.assert_close(out.float(), true, atol=tolerance, rtol=0)


def test_attention_of_a_large_picture_never_holds_all_scores(monkeypatch):
    """Where they do not fit a CPU's cache, and where they gain nothing by it, the fused kernels do the work."""
    asked = []
    monkeypatch.setattr(attention, "attend_spelled_out", lambda *_: asked.append("spelled out"))
    monkeypatch.setattr(attention, "attend_fused", lambda *_: asked.append("fused"))
    query, key = torch.zeros(1, 4680, 12, 2, dtype=torch.bfloat16), torch.zeros(1, 18720, 12, 2, dtype=torch.bfloat16)
    few, some = query[:, :84], key[:, :420]
    for asking, held in ((query, key), (few, some), (few.float(), some.float())):
        attend(asking, held, held)
    assert asked == ["fused", "spelled out", "fused"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_to_rotate_agree(dtype):
    x = torch.randn(2, 3, 6, 2, 24, dtype=dtype)
    table = rotary_table((7, 8, 20), (2, 3), 24, torch.device("cpu"))
    torch.testing.assert_close(rotate_as_complex(x, table), rotate_by_parts(x, table))
    assert torch.equal(rotate(x, table), rotate_as_complex(x, table))


def test_cudnn_first_falls_back_to_what_the_machine_has():
    query, key, value = torch.randn(3, 1, 5, 2, 8).unbind(0)
    torch.testing.assert_close(attend_by_cudnn(query, key, value), attend(query, key, value))


def test_sage_gets_tokens_before_heads(monkeypatch):
    """The package's calling convention (its README): tensor_layout NHD is [B, L, H, D]."""
    seen = []

    class Package:
        @staticmethod
        def sageattn(query, key, value, tensor_layout, is_causal):
            seen.append((tensor_layout, is_causal))
            return attend(query, key, value)

    monkeypatch.setitem(sys.modules, "sageattention", Package)
    query = torch.randn(1, 5, 2, 8)
    assert torch.equal(sage_attention()(query, query, query), attend(query, query, query))
    assert seen == [("NHD", False)]


def test_what_is_not_there_is_a_sentence(monkeypatch):
    model = tiny()
    monkeypatch.setitem(sys.modules, "sageattention", None)
    with pytest.raises(DeviceError, match="SageAttention is not installed"):
        sage_attention()
    for kind in ("graphs", "cudnn", "sage", "fp8"):
        with pytest.raises(DeviceError, match=f"{kind} needs an NVIDIA GPU"):
            accelerate(model, [kind])
    with pytest.raises(UsageError, match="no such acceleration: magic"):
        accelerate(model, ["magic"])
    with pytest.raises(UsageError, match="two kernels"):
        accelerate(model, ["cudnn", "sage"])
    with pytest.raises(UsageError, match="only Wan models"):
        accelerate(toy_backbone.ToyBackbone(toy_backbone.model(), torch.device("cpu")), ["compile"])
    move_streamed(model.transformer, 0, torch.device("cpu"))
    with pytest.raises(DeviceError, match="streamed"):
        accelerate(model, ["compile"])
    accelerate(model, [])


def in_float8(rows):
    """The numbers that float8 keeps of each row, which has a scale of its own."""
    scale = rows.float().abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 448
    return (rows.float() / scale).to(torch.float8_e4m3fn).float() * scale


class SlowFloat8(torch.nn.Linear):
    """The slow twin of torchao's product: in fp32, of the numbers that float8 keeps."""

    def forward(self, x):
        return torch.nn.functional.linear(in_float8(x), in_float8(self.weight), self.bias.float()).to(x.dtype)


def test_products_in_float8_are_those_of_the_numbers_that_it_keeps(monkeypatch):
    """torchao refuses a CPU before it multiplies there; past that check, its products run where this torch has them."""
    ao = pytest.importorskip("torchao.quantization", reason="memflow-cli[fp8] is not installed")
    monkeypatch.setattr("torchao.quantization.quant_api._check_hardware_support", lambda granularity: None)
    check_float8_is_multiplied_here()
    config = WanConfig(32, 64, 16, text_dim=16, text_len=12, num_heads=2, num_layers=2)
    torch.manual_seed(0)
    weights = {name: torch.randn(t.shape) * 0.2 for name, t in CausalWanTransformer(config).state_dict().items()}
    models = []
    for _ in range(3):
        transformer = CausalWanTransformer(config)
        transformer.load_state_dict(weights)
        entry = tiny_entry("wan")
        models.append(WanModel(transformer.bfloat16(), entry.geometry, entry.sampling, "relative", None, None))
    fast, slow, _ = models
    acceleration.quantise_products(fast.transformer)
    slow.transformer.parts = None
    for block in slow.transformer.blocks:
        for name in acceleration.FLOAT8_MATRICES:
            block.get_submodule(name).__class__ = SlowFloat8
    named = fast.transformer.named_modules()
    small = {name for name, module in named if type(getattr(module, "weight", None)) is ao.Float8Tensor}
    assert small == {f"blocks.{block}.{name}" for block in range(2) for name in acceleration.FLOAT8_MATRICES}
    latents = torch.randn(1, 3, 16, 4, 8, generator=torch.Generator().manual_seed(2))
    made = [one_pass(model, latents) for model in models]
    assert (made[0] - made[2]).norm() < 0.05 * made[2].norm(), "a pass in 16 bits is not far"
    for name in acceleration.FLOAT8_MATRICES:
        x = torch.randn(1, 24, slow.transformer.blocks[0].get_submodule(name).in_features).bfloat16()
        one, twin = (model.transformer.blocks[0].get_submodule(name)(x).float() for model in (fast, slow))
        assert (one - twin).norm() < 0.025 * twin.norm(), name


def check_float8_is_multiplied_here():
    small, scale = torch.ones(16, 16).to(torch.float8_e4m3fn), torch.ones(16, 1)
    try:
        torch._scaled_mm(small, small.t(), scale_a=scale, scale_b=scale.t(), out_dtype=torch.bfloat16)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"this machine does not multiply float8: {str(error).splitlines()[0]}")


def one_pass(model, latents):
    shape = CacheShape(2, 2, 16, 8, 3, 9, 3, 6)
    cache = KVCache(shape, lambda key, positions: model.rotate(key, positions, (2, 4)), dtype=torch.bfloat16)
    cache.begin(range(3))
    prompt = model.project_prompt(torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(3)))
    return model.predict(latents, 500.0, prompt, cache)


def test_float8_without_torchao_or_on_an_old_gpu_is_a_sentence(monkeypatch):
    model = tiny().transformer
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old one")
    for capability, problem in (
        ((8, 6), "Ada generation or newer, not an old one"),
        ((8, 9), "torchao's, which is not"),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        with pytest.raises(DeviceError, match=problem):
            acceleration.use_float8(model)


def test_the_command_line_knows_the_same_names():
    assert parse_accelerations(",".join(ACCELERATIONS)) == ACCELERATIONS
    assert parse_accelerations("compile, graphs,") == ("compile", "graphs")
    with pytest.raises(UsageError, match="--accelerate magic: no such way"):
        parse_accelerations("compile,magic")
    speed_up(tiny_entry(), tiny(), ())


def test_compiled_code_is_kept_in_the_user_s_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with pytest.raises(DeviceError):
        speed_up(tiny_entry(), tiny(), ("graphs",))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "memflow" / "compiled")
