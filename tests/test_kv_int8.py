"""Keys and values in eight bits: half the room, the film of a cache that rounds, the same film when it is resumed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memflow_cli import kv_cache
from memflow_cli.attention_context import FrameState
from memflow_cli.cli.app import run
from memflow_cli.errors import UsageError
from memflow_cli.film.events import ChunkDone
from memflow_cli.film.recipe import resolve
from memflow_cli.head_views import HeadViews
from memflow_cli.kv_store import Stored, pack, unpack
from memflow_cli.memory.archive import Archive
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import find_model
from memflow_cli.models.footprint import card_use, least_bytes
from memflow_cli.pipeline import generate_chunks, planned_shots
from memflow_cli.walks import make_walk
from tiny_model import make, story, tiny_backbone, tiny_entry, tiny_plan, tiny_prompts

INT8 = MemoryOptions(policy="nam", kv="int8")
STORY = story("a fox", "an empty wood", "the fox again", seconds=2.25, memory=replace(INT8, activate=2))


# Numbers


@pytest.mark.parametrize("size", [12, 64, 128])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 300.0])
def test_a_number_is_off_by_half_a_step_of_its_group(size, spread):
    """A group's largest number becomes 64 to 127 steps, so that a step is at most a 63rd of it."""
    numbers = spread * torch.randn(50, size, generator=torch.Generator().manual_seed(size))
    small, powers = pack(numbers)
    assert small.dtype == powers.dtype == torch.int8 and powers.shape == (50, max(1, size // 64))
    groups = numbers.unflatten(-1, (powers.shape[-1], -1))
    step = torch.exp2(powers.float()).unsqueeze(-1)
    error = (unpack(small, powers, torch.float32).view(groups.shape) - groups).abs()
    assert (error <= step / 2).all()
    assert (step <= groups.abs().amax(-1, keepdim=True) / 63).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_was_kept_once_is_kept_again_without_loss(dtype):
    """So a frame may go from the cache to the archive and back as often as it is recalled."""
    numbers = (torch.randn(200, 128, generator=torch.Generator().manual_seed(1)) * 10).to(dtype)
    numbers[0], numbers[1], numbers[2, :64] = 0, 127, torch.finfo(dtype).tiny
    once = unpack(*pack(numbers), dtype)
    for _ in range(3):
        again = unpack(*pack(once), dtype)
        assert torch.equal(again, once)
    assert torch.equal(once[:2], numbers[:2])


def test_a_place_holds_for_numbers_and_scales_alike():
    stored = Stored.zeros((2, 1, 5, 3, 2, 128), int8=True, dtype=torch.float32, device="cpu")
    numbers = torch.randn(2, 1, 3, 2, 128, generator=torch.Generator().manual_seed(2))
    stored[:, :, 3] = numbers
    rounded = unpack(*pack(numbers), torch.float32)
    assert torch.equal(stored[:, :, 3], rounded) and not stored[:, :, :3].any()
    assert torch.equal(stored[1, :, 3:4, 2], rounded[1, :, None, 2])
    assert torch.equal(stored[0:1, :, [4, 3]][0, :, 1], rounded[0])


# The slow twin: a cache in full precision that rounds whatever it is given


class Rounding(Stored):
    @staticmethod
    def zeros(size, int8, dtype, device):
        return Rounding(Stored.zeros(size, int8, dtype, device).parts, dtype)

    def __setitem__(self, place, values):
        super().__setitem__(place, unpack(*pack(values), self.dtype))


def walk_of(model, plan, options, **more):
    return make_walk(model, plan.size, plan.fps, options, **more)


def rounding_twin(model, plan, options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kv_cache, "Stored", Rounding)
        walk = walk_of(model, plan, replace(options, kv="full"))
    shape, activation = walk.cache.shape, walk.cache.heads.activation
    walk.cache.heads = HeadViews(activation, shape.num_layers, shape.num_tokens, keeps_views=False)  # as of eight bits
    return walk


@pytest.mark.parametrize("positions", ["relative", "absolute"])
@pytest.mark.parametrize(
    ("policy", "activate"),
    [("nam", None), ("nam", 2), ("official", 2), ("sink", None), ("window", None), ("ema-sink", None)]
    + [("shot-sink", None), ("rebuilt", None)],
)
def test_a_film_is_that_of_a_cache_that_rounds(policy, activate, positions):
    """Bit for bit, with every policy: what is in eight bits is read as it was rounded, and nothing else is."""
    entry = tiny_entry("wan")
    model = tiny_backbone(entry, positions=positions)
    model.encode_frames = lambda frames: frames.new_zeros(1, 16, 4, 8)
    plan = tiny_plan(model.geometry, [5, 5, 2], transitions=["smooth", "smooth", "cut"])
    options = MemoryOptions(policy=policy, activate=activate, kv="int8")
    walks = walk_of(model, plan, options), rounding_twin(model, plan, options)
    for one, twin in zip(*(generate_chunks(walk, planned_shots(plan, tiny_prompts(3))) for walk in walks), strict=True):
        assert torch.equal(one.latents, twin.latents), one.index
        assert one.record == twin.record


def test_the_film_stays_near_that_of_a_full_cache():
    """Over the first chunks; random weights let small differences grow without end."""
    model = tiny_backbone(tiny_entry("wan"))
    plan = tiny_plan(model.geometry, [3])
    full, small = (
        torch.cat([chunk.latents for chunk in generate_chunks(walk, planned_shots(plan, tiny_prompts(1)))])
        for walk in (walk_of(model, plan, MemoryOptions(policy="nam")), walk_of(model, plan, INT8))
    )
    assert not torch.equal(full, small)
    assert (full - small).std() < 0.02 * full.std()


# Room


def bytes_in_files(folder):
    """Of the open files there, which have no name."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.stat().st_size for link in links if os.readlink(link).startswith(f"{folder}/"))


def test_the_archive_takes_half(tmp_path):
    """Against 16 bits, in memory and in a file; features that are the state's keys take no room of their own."""
    generator = torch.Generator().manual_seed(3)

    def state(frame):
        keys, values = (torch.randn(4, 1, 8, 2, 128, generator=generator).bfloat16() for _ in range(2))
        return FrameState(frame, keys, values)

    for folders in ((None, None), (tmp_path / "full", tmp_path / "small")):
        for folder in filter(None, folders):
            folder.mkdir()
        full, small = (Archive(1 << 30, folder, int8) for folder, int8 in zip(folders, (False, True), strict=True))
        for frame in range(4):
            one = state(frame)
            for archive in (full, small):
                archive.add(one, one.keys[:, 0], torch.zeros(0, 6))
            kept = small.prototypes[-1]
            assert torch.equal(kept.state.load().values, unpack(*pack(one.values), torch.bfloat16))
            assert torch.equal(kept.features, kept.state.load().keys[:, 0])
        assert small.num_bytes / full.num_bytes == pytest.approx(0.5 * 65 / 64)
    for folder, archive in zip(folders, (full, small), strict=True):
        assert bytes_in_files(folder) == archive.num_bytes


@pytest.mark.parametrize("name", ["memflow-1.3b", "longlive-2.0-5b", "krea-realtime-14b"])
@pytest.mark.parametrize("activate", [0, 3])
def test_the_device_needs_half_for_the_cache(name, activate):
    """Less still where heads choose: what they chose is not kept beside it."""
    entry = find_model(name)
    size = entry.width, entry.height
    full, small = (card_use(entry, *size, 0, activate=activate, kv=kv).cache for kv in ("full", "int8"))
    assert small <= 0.51 * full
    saved = least_bytes(entry, *size, 0) - least_bytes(entry, *size, 0, kv="int8")
    assert saved == card_use(entry, *size, 0).cache - card_use(entry, *size, 0, kv="int8").cache


def test_plan_says_what_it_saves(tmp_path, capfd):
    path = tmp_path / "story.yaml"
    path.write_text("model: memflow-1.3b\nsegments: [{prompt: a fox, duration: 12s}]\n")
    needs = {}
    for kv in ("full", "int8"):
        assert run(["plan", str(path), "--kv", kv, "--json"]) == 0
        plan = json.loads(capfd.readouterr().out)
        needs[kv] = plan["needs"]
        assert plan["memory"]["kv"] == kv
    for what in ("cache_bytes", "archive_bytes"):
        assert 0.5 < needs["int8"][what] / needs["full"][what] < 0.54, "prompt queries stay as they are"
    assert needs["int8"]["least_card_bytes"] < needs["full"]["least_card_bytes"]
    assert run(["plan", str(path), "--kv", "int8"]) == 0
    assert "eight bits" in capfd.readouterr().out


# Films


def stop_at(chunk):
    def events(event):
        if isinstance(event, ChunkDone) and event.chunk == chunk:
            raise KeyboardInterrupt

    return events


def test_a_resumed_film_is_the_same_film(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = make(tmp_path / "whole", STORY)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, STORY, events=stop_at(6))
    with pytest.raises(UsageError, match="memory kv was int8"):
        make(tmp_path, replace(STORY, memory=replace(STORY.memory, kv="full")))
    resumed = make(tmp_path, STORY)
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert resumed.trace_path.read_bytes() == whole.trace_path.read_bytes()
    record = json.loads((tmp_path / "film.json").read_text())
    assert record["recipe"]["common"]["memory"]["kv"] == record["storyboard"]["memory"]["kv"] == "int8"


def test_a_film_of_a_full_cache_is_recorded_as_before(tmp_path):
    """A new field in the recipe would have refused to go on with every film begun without it."""
    make(tmp_path, replace(STORY, memory=replace(STORY.memory, kv="full")))
    assert "kv" not in json.loads((tmp_path / "film.json").read_text())["recipe"]["common"]["memory"]


def test_heads_that_are_not_whole_groups_are_refused():
    entry = tiny_entry()
    odd = replace(entry, geometry=replace(entry.geometry, head_dim=80))
    with pytest.raises(UsageError, match="memory.kv int8: tiny-theatre has heads of 80 numbers"):
        resolve(story(memory=INT8), odd)
    assert resolve(story(memory=INT8), entry).memory.kv == "int8", "a small head is a group of its own"
