"""What stays on the card, what gives way, and that giving way changes no result."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from memflow_cli.attention_context import FrameState
from memflow_cli.errors import OutOfMemoryError
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.options import KV_KINDS
from memflow_cli.models.catalog import find_model
from memflow_cli.models.footprint import GIB, Placement, card_use, count_weights, place
from memflow_cli.models.load import load_model
from memflow_cli.models.wan.streaming import HostLinear
from tiny_files import save_model

ENTRY = find_model("memflow-1.3b")


def test_everything_stays_on_a_large_card():
    placement = place(ENTRY, 832, 480, 3, 24 * GIB)
    assert (placement.resident_blocks, placement.tile_decoder, placement.text_encoder_on_card) == (None, False, True)
    assert placement.use == card_use(ENTRY, 832, 480)


@pytest.mark.parametrize(("bank", "activate"), [(3, 0), (3, 3), (3, 2), (0, 0), (5, 0)])
@pytest.mark.parametrize("kv", KV_KINDS)
def test_the_cache_is_counted_as_it_is_allocated(bank, activate, kv):
    """Against the real cache at full size, on the meta device."""
    geometry = ENTRY.geometry
    tokens = geometry.tokens_per_frame(832, 480)
    cache = KVCache(
        CacheShape(30, 12, 128, tokens, geometry.sink, geometry.window, bank, geometry.sink + bank),
        rotate=lambda key, positions: key,
        activation=TopFrames(activate) if activate else None,
        keep_prompt_queries=bank > 0,
        dtype=torch.bfloat16,
        device="meta",
        int8=kv == "int8",
    )
    token = torch.empty(1, 3, tokens, 12, 128, dtype=torch.bfloat16, device="meta")
    state = FrameState(1, *torch.empty(2, 30, 1, tokens, 12, 128, dtype=torch.bfloat16, device="meta").unbind())
    for chunk in range(5):
        cache.begin(range(3 * chunk, 3 * chunk + 3))
        cache.commit()
    cache.load_bank([replace(state, frame=frame) for frame in range(3, 3 + bank)])
    cache.begin(range(15, 18))
    for layer in range(30):
        cache.gather(layer, token, token, token)
    assert card_use(ENTRY, 832, 480, bank, activate=activate, kv=kv).cache == cache.num_bytes


def test_less_memory_gives_way_in_order_and_always_fits():
    seen = []
    for budget in range(9 * GIB, 32 * GIB, GIB // 2):
        placement = place(ENTRY, 832, 480, 3, budget)
        assert placement.num_bytes <= budget
        blocks = 31 if placement.resident_blocks is None else placement.resident_blocks
        seen.append((placement.text_encoder_on_card, not placement.tile_decoder, blocks))
    assert seen == sorted(seen), "more memory never takes anything off the card"
    assert {state[:2] for state in seen} == {(False, False), (True, True)}, "at this size the decoder decides"
    assert min(state[2] for state in seen) < 30


def test_a_card_that_is_too_small_is_a_sentence_with_two_ways_out():
    with pytest.raises(OutOfMemoryError) as caught:
        place(ENTRY, 832, 480, 3, 6 * GIB)
    assert caught.value.exit_code == 4 and "key-value cache" in caught.value.message
    assert "--size" in str(caught.value.hint) and "--bank" in str(caught.value.hint)
    assert place(ENTRY, 480, 272, 1, 6 * GIB)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("vram") / "tiny")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_weights_are_counted_as_numbers_however_many_bits_they_are_stored_in(tmp_path, dtype):
    weights = {"a.weight": torch.zeros(3, 5, dtype=dtype), "b": torch.zeros(7), "a.weight_scale": torch.ones(3, 1)}
    save_file(weights, tmp_path / "file.safetensors")
    assert count_weights(tmp_path / "file.safetensors") == 22
    (tmp_path / "broken.safetensors").write_bytes(b"no header at all")
    assert count_weights(tmp_path / "broken.safetensors") == 0


def test_a_small_card_s_placement_streams_the_loaded_model(folder):
    """tests/test_streaming.py compares the results; here the placement is obeyed."""
    entry = find_model(folder)
    streamed = load_model(entry, placement=replace(place(entry, 64, 32, 3, 24 * GIB), resident_blocks=1))
    linears = [module for module in streamed.transformer.blocks.modules() if isinstance(module, HostLinear)]
    assert len(linears) == 10, "one of two blocks is streamed"
    assert streamed.project_prompt(streamed.encode_prompts(["a red fox"])).keys[1].isfinite().all()


def test_tiles_with_their_state_on_the_host_give_the_same_frames(folder):
    from diffusers import AutoencoderKLWan

    from memflow_cli.models.wan.vae import Tiling, WanDecoder

    tiled = load_model(find_model(folder), placement=Placement(card_use(ENTRY, 64, 32), tile_decoder=True)).decoder()
    assert tiled.tiling == Tiling(256, 192, state_on_host=True)
    vae = AutoencoderKLWan.from_pretrained(folder / "vae")
    latents = torch.randn(3, 16, 8, 8)
    frames = [WanDecoder(vae, Tiling(32, 24, on_host)).decode(latents) for on_host in (False, True)]
    assert torch.equal(*frames)
