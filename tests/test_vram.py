"""What stays on the card, what gives way, and that giving way changes no result."""

from dataclasses import replace

import pytest
import torch

from memflow_cli.catalog import find_model
from memflow_cli.errors import OutOfMemoryError
from memflow_cli.vram import GIB, Placement, card_use, place
from memflow_cli.wan.checkpoints import load_model
from memflow_cli.wan.streaming import HostLinear
from tiny_files import save_model

ENTRY = find_model("memflow-1.3b")


def test_everything_stays_on_a_large_card():
    placement = place(ENTRY, 832, 480, 3, 24 * GIB)
    assert (placement.resident_blocks, placement.tile_decoder, placement.text_encoder_on_card) == (None, False, True)
    assert placement.use == card_use(ENTRY, 832, 480)


def test_the_cache_is_counted_exactly():
    use = card_use(ENTRY, 832, 480, bank=3)
    assert (
        use.cache == 3 * 15 * 30 * (30 * 52) * 1536 * 2
    )  # keys twice, values; frames in view; layers; tokens; numbers
    assert card_use(ENTRY, 832, 480, bank=0).cache == use.cache * 12 // 15


def test_less_memory_gives_way_in_order_and_always_fits():
    seen = []
    for budget in range(8 * GIB, 32 * GIB, GIB // 2):
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


@pytest.mark.parametrize("resident", [0, 1, 2])
def test_streamed_layers_give_the_same_result(folder, resident):
    entry = find_model(folder)
    whole = load_model(entry)
    streamed = load_model(entry, placement=replace(place(entry, 64, 32, 3, 24 * GIB), resident_blocks=resident))
    linears = [module for module in streamed.transformer.modules() if isinstance(module, HostLinear)]
    assert len(linears) == 10 * (2 - resident)
    embeds = whole.encode_prompts(["a red fox"])
    latents = torch.randn(1, 3, 16, 4, 8)

    class NoPast:
        positions = (0, 1, 2)

        def gather(self, layer, query, key, value):
            return key.flatten(1, 2), value.flatten(1, 2)

        def observe(self, layer, prompt_query): ...

    with torch.no_grad():
        results = [model.predict(latents, 500.0, model.project_prompt(embeds), NoPast()) for model in (whole, streamed)]
    assert torch.equal(*results)


def test_tiles_with_their_state_on_the_host_give_the_same_frames(folder):
    from memflow_cli.wan.vae import Tiling, WanDecoder

    tiled = load_model(find_model(folder), placement=Placement(card_use(ENTRY, 64, 32), tile_decoder=True)).decoder()
    assert tiled._tiling == Tiling(256, 192, state_on_host=True)
    latents = torch.randn(3, 16, 8, 8)
    frames = [WanDecoder(tiled._vae, Tiling(32, 24, on_host)).decode(latents) for on_host in (False, True)]
    assert torch.equal(*frames)
