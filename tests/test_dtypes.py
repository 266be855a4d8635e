"""The transformer computes with what every device has: no complex numbers, no fp64 (mps has neither), also in 16 bits."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memflow_cli.film.shooting import make_film
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.transformer import CausalWanTransformer
from tiny_files import save_model
from tiny_model import story, tiny_entry

GRID = (2, 4)
UNKNOWN_TO_SOME = {torch.float64, torch.complex32, torch.complex64, torch.complex128}


class Listener(TorchDispatchMode):
    """The dtype of every tensor that an operation on the device makes; the host may use what it likes."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.seen: dict[torch.dtype, str] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == self.device:
                self.seen.setdefault(tensor.dtype, str(func))
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("activation", [None, TopFrames(2)], ids=["all", "sparse"])
def test_no_operation_on_the_device_makes_what_some_devices_lack(dtype, activation):
    """The meta device stands for a GPU: the rotary angles are computed in fp64, but on the host."""
    geometry = tiny_entry("wan").geometry
    with torch.device("meta"):
        transformer = CausalWanTransformer(WanConfig(24, 32, 16, text_dim=16, text_len=12, num_heads=2, num_layers=2))
    model = WanModel(transformer.to(dtype), geometry, tiny_entry("wan").sampling, "relative", None, None)
    cache = KVCache(
        CacheShape(2, 2, 12, GRID[0] * GRID[1], sink=3, window=9, bank=0, memory_places=6),
        rotate=lambda key, positions: model.rotate(key, positions, GRID),
        positions="relative",
        activation=activation,
        keep_prompt_queries=True,
        dtype=dtype,
        device="meta",
    )
    with torch.no_grad(), Listener("meta") as listener:
        prompt = model.project_prompt(torch.zeros(1, 12, 16))
        for chunk in range(6):
            cache.begin(range(3 * chunk, 3 * chunk + 3))
            for timestep in (1000.0, 500.0, 0.0):
                latents = torch.zeros(1, 3, 16, 4, 8, device="meta")
                assert model.predict(latents, timestep, prompt, cache).dtype == torch.float32
            cache.commit()
    assert dtype in listener.seen and torch.float32 in listener.seen, "it did listen"
    assert not {name: listener.seen[name] for name in UNKNOWN_TO_SOME & listener.seen.keys()}


def test_a_film_in_fp16(tmp_path):
    """What a GPU without bfloat16 computes in, through all stages: encoder, transformer, memory, autoencoder."""
    entry = find_model(save_model(tmp_path / "tiny"))
    model = load_model(entry, dtype=torch.float16)
    full = {name for name, tensor in model.transformer.named_parameters() if tensor.dtype == torch.float32}
    assert {"blocks.0.modulation", "time_embedding.0.weight", "blocks.1.self_attn.norm_q.weight"} <= full
    result = make_film(story("a red fox", "the snow", width=64, height=32), entry, model, tmp_path / "film.mp4")
    assert result.plan.num_frames == 45
