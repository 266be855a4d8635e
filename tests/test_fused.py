"""Passes in fewer and larger steps give what the plain blocks give; where they would not pay, the plain blocks run."""

from dataclasses import replace

import pytest
import torch

from memflow_cli.film.overlap import walk_threads
from memflow_cli.machine.threads import using_threads
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.models import packed
from memflow_cli.models.packed import Convolution, Product, packs
from memflow_cli.models.wan import fused
from memflow_cli.models.wan.attention import RMSNorm, rotary_table, rotate_as_complex
from memflow_cli.models.wan.checkpoint import FULL_PRECISION
from memflow_cli.models.wan.fused import FusedPass, Norm, fuse
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.streaming import move_streamed
from tiny_model import film_chunks, tiny_backbone, tiny_entry, tiny_plan, tiny_prompts

CPU = torch.device("cpu")


def tiny(dtype=torch.float32):
    entry = tiny_entry("wan")
    model = tiny_backbone(replace(entry, sampling=replace(entry.sampling, steps=(1000, 750, 500))))
    for name, parameter in model.transformer.named_parameters():
        drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.1
        parameter.data = drawn if FULL_PRECISION.search(name) else drawn.to(dtype)
    return WanModel(
        model.transformer, model.geometry, model.sampling, model.positions, model.encode_prompts, model.decoder
    )


def film(model, chunks=(5, 3)):
    plan = tiny_plan(model.geometry, chunks)
    options = MemoryOptions(policy="nam")
    return list(film_chunks(model, plan, make_policy(options, model.geometry), tiny_prompts(len(chunks))))


def test_a_small_model_on_a_cpu_is_fused_and_makes_the_film_of_its_plain_blocks():
    model = tiny()
    assert isinstance(model.transformer.parts, FusedPass)
    made = film(model)
    model.transformer.parts = None
    for a, b in zip(made, film(model), strict=True):
        torch.testing.assert_close(a.latents, b.latents, atol=1e-4, rtol=1e-4)
        assert [item.frame for item in a.record.bank] == [item.frame for item in b.record.bank]


def test_in_bf16_it_is_as_near_to_fp32_as_the_plain_blocks_are():
    exact = film(tiny(), chunks=(2,))
    model = tiny(torch.bfloat16)
    made = film(model, chunks=(2,))
    model.transformer.parts = None
    plain = film(model, chunks=(2,))
    error, of_plain = (
        sum((a.latents - b.latents).square().mean().item() for a, b in zip(one, exact)) for one in (made, plain)
    )
    assert 0 < error < 1.5 * of_plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frames_of_several_timesteps_are_modulated_each_by_its_own(dtype):
    """A film's first picture is held clean while the frames after it are denoised."""
    model = tiny(dtype)
    transformer = model.transformer
    latents = torch.randn(1, 3, model.geometry.latent_channels, 4, 8)
    x = transformer.patchify(latents)
    for steps in ([0.0, 700.0, 700.0], [700.0] * 3, [0.0, 700.0, 700.0]):
        timestep = torch.tensor([steps])
        blocks, modulations, head = transformer.parts.at(timestep, transformer.embed_timestep)
        embedded, time = transformer.embed_timestep(timestep)
        for ours, theirs, ours_at in zip(blocks, transformer.blocks, modulations, strict=True):
            theirs_at = theirs.modulation_at(time, dtype)
            many = zip(ours.project(x, ours_at), theirs.project(x, theirs_at), strict=True)
            for a, b in [*many, (ours.feed_forward(x, ours_at), theirs.feed_forward(x, theirs_at))]:
                torch.testing.assert_close(
                    a.float(), b.float(), atol=0.05 if dtype == torch.bfloat16 else 1e-5, rtol=0.05
                )
        torch.testing.assert_close(head(x).float(), transformer.head(x, embedded).float(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_no_bit(dtype):
    """A small walk keeps to one thread, however many there are. With more, a CPU without bf16 summed in another order."""
    model = tiny(dtype)
    before, made = torch.get_num_threads(), []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        with using_threads(walk_threads(model, tiny_plan(model.geometry, (2,)).size)):
            made.append(film(model, chunks=(2,)))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    for other in made[1:]:
        assert all(torch.equal(a.latents, b.latents) for a, b in zip(made[0], other, strict=True))


def test_a_large_model_and_a_streamed_one_keep_their_plain_blocks(monkeypatch):
    model = tiny()
    monkeypatch.setattr(fused, "LARGEST_BYTES", 100)
    fuse(model.transformer)
    assert model.transformer.parts is None
    monkeypatch.undo()
    move_streamed(model.transformer, 1, CPU)
    fuse(model.transformer)
    assert model.transformer.parts is None


def test_norms_at_once_are_the_norms_one_by_one():
    one, two = RMSNorm(24, 1e-6), RMSNorm(24, 1e-6)
    for norm in (one, two):
        torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, 2, 24)
    expected = torch.stack([one(x[:, 0]), two(x[:, 1])], dim=1)
    torch.testing.assert_close(Norm(one.weight, two.weight, eps=1e-6)(x.clone()), expected)


@pytest.mark.parametrize("gelu", [False, True])
def test_packed_products_are_the_plain_ones(gelu, monkeypatch):
    weight, bias, x = (torch.randn(shape).bfloat16() for shape in ((40, 24), (40,), (1, 3, 7, 24)))
    made = Product(weight, bias, gelu)(x)
    monkeypatch.setattr(packed, "packs", lambda dtype: False)
    torch.testing.assert_close(made, Product(weight, bias, gelu)(x), atol=0.01, rtol=0.02)


@pytest.mark.parametrize("size, padding, stride", [(3, 1, 1), (1, 0, 1), (2, 0, 2)])
def test_packed_convolutions_are_the_plain_ones(size, padding, stride, monkeypatch):
    weight, bias = torch.randn(16, 8, size, size).bfloat16(), torch.randn(16).bfloat16()
    x = torch.randn(1, 8, 6, 10).bfloat16().contiguous(memory_format=torch.channels_last)
    convolution = Convolution(weight, bias, padding, stride)
    made = convolution(x)
    added = convolution.add_to(made.clone(), x)
    monkeypatch.setattr(packed, "packs", lambda dtype: False)
    plain = Convolution(weight, bias, padding, stride)
    torch.testing.assert_close(made, plain(x))
    torch.testing.assert_close(added, plain.add_to(made.clone(), x), atol=0.1, rtol=0.02)


def test_without_the_operators_nothing_is_packed(monkeypatch):
    """They are those of torch's compiler, and may be gone in the next torch."""
    packs.cache_clear()
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)

    def gone(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", gone, raising=False)
    assert not packs(torch.bfloat16) and not packs(torch.float32)
    monkeypatch.undo()
    packs.cache_clear()


def test_a_table_of_angles_is_made_complex_once():
    table = rotary_table((7, 8, 20), (2, 3), 24, CPU)
    x = torch.randn(1, 3, 6, 2, 24)
    assert torch.equal(rotate_as_complex(x, table), rotate_as_complex(x, tuple(table)))
    assert table.as_complex is rotary_table((7, 8, 20), (2, 3), 24, CPU).as_complex
