"""Blocks that do not fit on the card come over one ahead of the pass, and change no result."""

import pytest
import torch

from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.streaming import BlockStream, HostLinear, StreamedLinear, move_streamed
from memflow_cli.models.wan.transformer import CausalWanTransformer

LAYERS = 5
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")),
]


class NoPast:
    """Frames see each other only. `fails_at`: a layer at which the pass breaks off."""

    positions = (0, 1, 2)

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at

    def gather(self, layer, query, key, value):
        if layer == self.fails_at:
            raise KeyboardInterrupt
        return key.flatten(1, 2), value.flatten(1, 2)

    def observe(self, layer, prompt_query): ...


def transformer() -> CausalWanTransformer:
    torch.manual_seed(0)
    config = WanConfig(24, 32, 16, text_dim=16, text_len=12, num_heads=2, num_layers=LAYERS, in_dim=8, out_dim=8)
    model = CausalWanTransformer(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.2)
    return model


def streamed(resident: int, device: str = "cpu") -> CausalWanTransformer:
    model = transformer()
    move_streamed(model, resident, torch.device(device))
    return model


def stream_of(model: CausalWanTransformer) -> BlockStream:
    return next(module.stream for module in model.modules() if isinstance(module, StreamedLinear))


def passes(model: CausalWanTransformer, count: int, device: str = "cpu", fails_at: int | None = None) -> torch.Tensor:
    """The predictions of `count` passes under each of two prompts."""
    generator = torch.Generator().manual_seed(1)
    results = []
    for _ in range(2):
        prompt = model.project_prompt(torch.randn(1, 12, 16, generator=generator).to(device))
        for step in range(count):
            latents = torch.randn(1, 3, 8, 4, 8, generator=generator).to(device)
            timestep = torch.full((1, 3), 1000.0 / (step + 1), device=device)
            results.append(model(latents, timestep, prompt, NoPast(fails_at)).cpu())
    return torch.cat(results)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("resident", range(LAYERS + 1))
def test_streamed_equals_resident(resident, device):
    whole = passes(transformer().to(device), 3, device)
    model = streamed(resident, device)
    assert torch.equal(passes(model, 3, device), whole)
    hosted = [module for module in model.modules() if isinstance(module, HostLinear)]
    assert len(hosted) == 10 * (LAYERS - resident), "six matrices of attention, two of prompts, two of feed-forward"
    assert all(module.weight.device.type == "cpu" for module in hosted)


@pytest.mark.parametrize(("resident", "copies"), [(0, 1 + 6 * 5), (2, 1 + 6 * 3), (3, 2), (4, 1)])
def test_every_block_comes_once_a_pass_and_one_ahead(resident, copies):
    """Six passes; two streamed blocks have a buffer each, and one needs no other."""
    model = streamed(resident)
    passes(model, 3)
    assert stream_of(model).num_copies == copies


def test_a_pass_that_was_broken_off_leaves_the_next_one_right():
    model = streamed(0)
    for layer in range(LAYERS):
        with pytest.raises(KeyboardInterrupt):
            passes(model, 1, fails_at=layer)
        assert torch.equal(passes(model, 1), passes(transformer(), 1))


def test_two_blocks_lie_on_the_device_whatever_is_streamed():
    model = streamed(0)
    stream = stream_of(model)
    matrices = [module.weight for module in model.blocks[0].modules() if isinstance(module, StreamedLinear)]
    arrived = [matrix for block in range(LAYERS) for matrix in stream.matrices(block)]
    on_device = {matrix.untyped_storage().data_ptr(): matrix.nbytes for matrix in arrived}
    assert sum(on_device.values()) == 2 * sum(matrix.nbytes for matrix in matrices)
