"""The systems known besides MemFlow's: each with its authors' memory, and with ours where its cache allows it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memflow_cli.errors import UsageError
from memflow_cli.film.recipe import resolve
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import find_model, published_models
from memflow_cli.models.family import family_of
from memflow_cli.models.footprint import card_use
from memflow_cli.models.wan.loading import read_cuts
from memflow_cli.models.wan.random_weights import WAN_22_SIZES, transformer_sizes
from memflow_cli.models.wan.tiny import WAN_22
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.wan.vae import WanDecoder
from memflow_cli.models.weights.lora_names import Modules, split_key
from memflow_cli.pipeline import generate_chunks, planned_shots
from memflow_cli.walks import make_walk
from tiny_model import story, tiny_backbone, tiny_entry, tiny_plan, tiny_prompts

PARITY = Path(__file__).parent / "parity"
SYSTEMS = {
    "reward-forcing-1.3b": "ema-sink",
    "causal-forcing-1.3b": "window",
    "causal-forcing-2-steps-1.3b": "window",
    "causal-forcing-1-step-1.3b": "window",
    "causal-forcing-frames-1.3b": "window",
    "longlive-2.0-5b": "shot-sink",
    "krea-realtime-14b": "rebuilt",
}


def tiny_system(name: str):
    """A backbone with the system's own walk (chunk, sink, window, schedule, positions) and few, small layers."""
    known = find_model(name)
    tiny = tiny_entry("wan")
    sizes = {key: getattr(known.geometry, key) for key in ("chunk", "sink", "window")}
    entry = replace(tiny, geometry=replace(tiny.geometry, **sizes), sampling=known.sampling)
    model = tiny_backbone(entry, positions=known.positions)
    model.encode_frames = lambda frames: torch.zeros(
        1, tiny.geometry.latent_channels, *tiny.geometry.latent_size(*frames.shape[2:0:-1])
    )
    return model


def film(model, policy: str) -> list:
    """Ten chunks in three shots, or what it takes to fill the window and a bank."""
    longer = -(-(model.geometry.window + 6) // model.geometry.chunk) - 10
    plan = tiny_plan(model.geometry, [4 + max(0, longer), 3, 3], transitions=["smooth", "smooth", "cut"])
    walk = make_walk(model, plan.size, plan.fps, MemoryOptions(policy=policy))
    return list(generate_chunks(walk, planned_shots(plan, tiny_prompts(3))))


@pytest.mark.parametrize(("name", "policy"), SYSTEMS.items())
def test_every_system_makes_films_with_its_authors_memory(name, policy):
    assert find_model(name).published_policy == policy
    chunks = film(tiny_system(name), policy)
    assert len(chunks) >= 10 and all(torch.isfinite(chunk.latents).all() for chunk in chunks)


@pytest.mark.parametrize("name", [name for name, policy in SYSTEMS.items() if policy != "rebuilt"])
def test_where_there_is_a_cache_our_memory_works_in_it(name):
    """What left the window is recalled, by the cut at the latest, which empties it: the bank is full at the film's end."""
    chunks = film(tiny_system(name), "nam")
    assert all(torch.isfinite(chunk.latents).all() for chunk in chunks)
    last = chunks[-1].record
    assert len(last.bank) == 3 and max(item.frame for item in last.bank) < min(last.window)
    assert {item.frame for chunk in chunks for item in chunk.record.bank}.isdisjoint(
        range(find_model(name).geometry.sink)
    )


FULL_SIZE = {
    "longlive-2.0-5b": "longlive2",
    "krea-realtime-14b": "krea",
    **dict.fromkeys(("reward-forcing-1.3b", "causal-forcing-1.3b", "causal-forcing-frames-1.3b"), "official_1_3b"),
    **dict.fromkeys(("causal-forcing-2-steps-1.3b", "causal-forcing-1-step-1.3b"), "official_1_3b"),
    **dict.fromkeys(("memflow-1.3b", "longlive-1.3b", "self-forcing-1.3b"), "official_1_3b"),
}


def test_every_known_model_is_compared_with_its_page():
    assert {*FULL_SIZE} == {entry.name for entry in published_models()}


@pytest.mark.parametrize(("name", "keys"), FULL_SIZE.items())
def test_full_size_shapes_are_those_of_the_published_files(name, keys):
    """Every name and shape of the checkpoint, on the meta device: nothing is downloaded or allocated."""
    published = json.loads((PARITY / f"{keys}_keys.json").read_text())
    published = published.get("generator", published)
    with torch.device("meta"):
        ours = CausalWanTransformer(transformer_sizes(find_model(name))).state_dict()
    assert {f"model.{key}": list(tensor.shape) for key, tensor in ours.items()} == published
    numbers = sum(tensor.numel() for tensor in ours.values())
    said = card_use(find_model(name), 832, 480).transformer
    assert said == pytest.approx(2 * numbers, rel=0.01), "what plan says, in 16 bits"


def test_longlive_2_s_own_lora_fits_its_transformer():
    """Its 600 published keys, rank 128, on the meta device: each is of a matrix of the full-size model."""
    published = json.loads((PARITY / "longlive2_keys.json").read_text())["generator_lora"]
    with torch.device("meta"):
        ours = CausalWanTransformer(transformer_sizes(find_model("longlive-2.0-5b"))).state_dict()
    modules, sides = Modules(ours), {}
    for key, shape in published.items():
        module, part = split_key(key)
        sides.setdefault(modules.find(module), {})[part] = shape
    assert len(sides) == 300
    for module, pair in sides.items():
        rows, columns = ours[f"{module}.weight"].shape
        assert pair == {"down": [128, columns], "up": [rows, 128]}


def test_longlive_2_s_autoencoder_has_the_published_shapes():
    """As its page says: 196 tensors, 704,688,668 numbers, 4x16x16 pixels a latent cell."""
    with torch.device("meta"):
        vae = AutoencoderKLWan(**WAN_22_SIZES, **WAN_22)
    assert len(vae.state_dict()) == 196
    assert sum(tensor.numel() for tensor in vae.state_dict().values()) == 704_688_668
    geometry = find_model("longlive-2.0-5b").geometry
    assert (vae.config.z_dim, vae.spatial_compression_ratio) == (geometry.latent_channels, geometry.spatial_stride)


def test_what_plan_says_of_wan_22_s_decoder_is_what_a_decode_holds():
    """Counted on the meta device, where nothing is computed: state, work and weights, with room for what kernels take."""
    with torch.device("meta"):
        vae = AutoencoderKLWan(**WAN_22_SIZES, **WAN_22).to(torch.bfloat16).eval()
    decoder, size = WanDecoder(vae), 256
    with torch.inference_mode(), LiveBytes() as live:
        for _ in range(2):
            decoder.decode(torch.empty(1, 48, size // 16, size // 16, device="meta"))
    entry = find_model("longlive-2.0-5b")
    said = family_of(entry).decoder_bytes(entry, size, size, 2) - 2 * 704_688_668
    assert live.peak <= said <= 1.7 * live.peak


class LiveBytes(TorchDispatchMode):
    """The most bytes that the tensors made meanwhile held at a time."""

    def __init__(self):
        super().__init__()
        self.held, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.held.setdefault(StorageWeakRef(storage), storage.nbytes())
        self.held = {storage: num_bytes for storage, num_bytes in self.held.items() if not storage.expired()}
        self.peak = max(self.peak, sum(self.held.values()))
        return result


def test_longlive_2_is_told_of_a_cut_by_words_for_one_chunk():
    read = read_cuts(find_model("longlive-2.0-5b").cut_prefix)
    assert read(["A dog.", "A cat.", "A bird."], [False, True, False]) == [
        ((0, "A dog."),),
        ((0, "The scene transitions. A cat."), (1, "A cat.")),
        ((0, "A bird."),),
    ]
    assert read_cuts(find_model("memflow-1.3b").cut_prefix) is None


def test_published_is_what_the_authors_publish():
    entry = find_model("reward-forcing-1.3b")
    assert resolve(story(memory=MemoryOptions("published")), entry).memory.policy == "ema-sink"
    assert resolve(story(memory=MemoryOptions("published")), find_model("longlive-1.3b")).memory.policy == "sink"


@pytest.mark.parametrize(("name", "policy"), [("krea-realtime-14b", "nam"), ("memflow-1.3b", "rebuilt")])
def test_a_memory_that_a_model_cannot_have_is_refused(name, policy):
    with pytest.raises(UsageError, match=f"memory.policy {policy}"):
        resolve(story(memory=MemoryOptions(policy)), find_model(name))


def test_frames_a_second_are_the_models_own_unless_named():
    entry = find_model("longlive-2.0-5b")
    assert resolve(story(fps=None, memory=MemoryOptions()), entry).fps == 24
    assert resolve(story(fps=12, memory=MemoryOptions()), entry).fps == 12
