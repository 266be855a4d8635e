"""The chunk loop: cached generation against a slow recomputation, replay, transitions, determinism."""

from dataclasses import replace
from time import sleep

import pytest
import torch

import toy_backbone
from memflow_cli.backbone import Sampling, with_defaults
from memflow_cli.errors import UsageError
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory.scores import SCORES
from memflow_cli.models.wan.attention import attend, rotary_table, rotate
from memflow_cli.pipeline import Shot, Walk
from memflow_cli.sampler import Level, chunk_noise, denoise, schedule
from tiny_model import HEIGHT, WIDTH, film_chunks, tiny_backbone, tiny_entry, tiny_plan, tiny_prompts

TRANSITIONS = ("smooth", "smooth", "cut")
CHUNKS = (4, 5, 5)


def tiny_model(positions="absolute", prediction="flow"):
    entry = tiny_entry("wan")
    return tiny_backbone(replace(entry, sampling=replace(entry.sampling, prediction=prediction)), positions=positions)


def run(model, options, plan=None, embeds=None, **kwargs):
    plan = plan or tiny_plan(model.geometry, CHUNKS, TRANSITIONS)
    embeds = tiny_prompts(len(plan.segments)) if embeds is None else embeds
    return list(film_chunks(model, plan, make_policy(options, model.geometry), embeds, **kwargs))


class Uncached:
    """The slow twin: every pass recomputes the whole past from latents; nothing is kept between passes.

    A *pass* is (frames, latents, timestep, prompt, view), view being the earlier passes it may read with the positions
    of their frames and of its own. All passes run side by side, layer by layer.
    """

    def __init__(self, model):
        self.model = model

    def run(self, passes):
        transformer = self.model.transformer
        states = []
        for one in passes:
            grid = transformer.token_grid(one["latents"])
            steps = torch.full(one["latents"].shape[:2], float(one["timestep"]))
            states.append((transformer.patchify(one["latents"]), *transformer.embed_timestep(steps), grid))
        for layer, block in enumerate(transformer.blocks):
            projected = []
            for (x, _, at, _), _one in zip(states, passes, strict=True):
                modulation = block.modulation_at(at, x.dtype)
                projected.append((modulation, *block.project(x, modulation)))
            after = []
            for (x, embedded, time, grid), one, (modulation, query, key, value) in zip(
                states, passes, projected, strict=True
            ):
                size = transformer.config.head_dim
                table = rotary_table(tuple(one["positions"]), grid, size, x.device)
                keys, values = [rotate(key, table)], [value]
                for source, index, position in one["view"]:
                    _, _, other_key, other_value = projected[source]
                    place = rotary_table((position,), grid, size, x.device)
                    keys.append(rotate(other_key[:, index : index + 1], place))
                    values.append(other_value[:, index : index + 1])
                query = rotate(query, table)
                attended = attend(
                    query.flatten(1, 2), torch.cat(keys, 1).flatten(1, 2), torch.cat(values, 1).flatten(1, 2)
                ).reshape(query.shape)
                prompt = one["prompt"]
                x, _ = block.attend_prompt(x, attended, modulation, prompt.keys[layer], prompt.values[layer])
                after.append((block.feed_forward(x, modulation), embedded, time, grid))
            states = after
        x, embedded, _, grid = states[-1]
        return transformer.unpatchify(transformer.head(x, embedded), grid)


def slow_film(model, plan, embeds, records, positions):
    """The film again without a cache: what each chunk sees is read off its record, how it is computed is not."""
    geometry = model.geometry
    prompts = [model.project_prompt(embeds[index].unsqueeze(0)) for index in range(len(plan.segments))]
    uncached = Uncached(model)
    passes, latest = [], {}  # latent frame -> (pass, index) that committed it last
    film = []

    def position(frame, frames, slot=None):
        if positions == "absolute":
            return frame
        if slot is not None:
            return geometry.sink + slot
        if frame in sink and frame not in frames:
            return frame
        return geometry.sink + geometry.bank + geometry.window - (frames.stop - frame)

    def make_pass(frames, latents, timestep, prompt, record, window):
        view = [(*latest[frame], position(frame, frames)) for frame in (*record.sink, *window)]
        view += [(*banked[item.frame], position(item.frame, frames, slot)) for slot, item in enumerate(record.bank)]
        return {
            "frames": frames,
            "latents": latents,
            "timestep": timestep,
            "prompt": prompt,
            "view": view,
            "positions": [position(frame, frames) for frame in frames],
        }

    banked = {}
    previous = None
    sink = records[-1].sink
    for record in records:
        segment = plan.segment_of_chunk(record.chunk)
        frames = range(record.chunk * geometry.chunk, (record.chunk + 1) * geometry.chunk)
        prompt = prompts[segment.index]
        if record.chunk == segment.start_chunk and record.chunk and segment.transition == "smooth":
            for first in sorted({frame - frame % geometry.chunk for frame in record.window}):
                again = range(first, first + geometry.chunk)
                held = range(max(len(record.sink), frames.start - geometry.window), first)
                window = [frame for frame in held if frame >= again.stop - geometry.window]
                passes.append(make_pass(again, film[first // geometry.chunk], 0, prompt, previous, window))
                latest |= {frame: (len(passes) - 1, i) for i, frame in enumerate(again)}
        banked |= {frame: latest[frame] for frame in record.archived}

        def predict(latents, timestep, frames=frames, prompt=prompt, record=record):
            return uncached.run([*passes, make_pass(frames, latents, timestep, prompt, record, record.window)])

        size = (1, geometry.chunk, geometry.latent_channels, *geometry.latent_size(WIDTH, HEIGHT))
        noise = chunk_noise(segment.seed, record.chunk - segment.start_chunk, size)
        film.append(denoise(predict, noise, schedule(model.sampling), model.sampling))
        passes.append(make_pass(frames, film[-1], 0, prompt, record, record.window))
        latest |= {frame: (len(passes) - 1, i) for i, frame in enumerate(frames)}
        previous = record
    return film


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("policy", ["window", "sink", "nam"])
@torch.no_grad()
def test_cached_equals_recomputed(policy, positions):
    model = tiny_model(positions, prediction="sample")
    plan = tiny_plan(model.geometry, CHUNKS, TRANSITIONS)
    embeds = tiny_prompts(len(CHUNKS))
    chunks = run(model, MemoryOptions(policy=policy, bank=2), plan, embeds)
    slow = slow_film(model, plan, embeds, [chunk.record for chunk in chunks], positions)
    for chunk, latents in zip(chunks, slow, strict=True):
        torch.testing.assert_close(chunk.latents, latents, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("policy", ["window", "sink", "nam", "official"])
@pytest.mark.parametrize("activate", [None, 2])
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_replayed_film_is_the_same_film(policy, activate, guidance_scale):
    model = tiny_model("relative")
    model.sampling = replace(model.sampling, guidance_scale=guidance_scale)
    options = MemoryOptions(policy=policy, activate=activate)
    whole = run(model, options)
    for done in (1, 6, len(whole) - 1):
        resumed = run(model, options, replay=[chunk.latents for chunk in whole[:done]])
        assert all(torch.equal(a.latents, b.latents) for a, b in zip(whole, resumed, strict=True))
        assert [chunk.record for chunk in whole[done:]] == [chunk.record for chunk in resumed[done:]]


def test_replayed_film_is_the_same_film_when_its_archive_outgrows_the_shortlist():
    model = tiny_model("relative")
    plan = tiny_plan(model.geometry, (8, 6, 6))

    def film(replay):
        memory = NarrativeMemory(3, 3, SCORES["combined"](), shortlist=4)
        return list(film_chunks(model, plan, memory, tiny_prompts(3), replay=replay))

    whole = film([])
    resumed = film([chunk.latents for chunk in whole[:15]])
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(whole, resumed, strict=True))
    assert [chunk.record for chunk in whole[15:]] == [chunk.record for chunk in resumed[15:]]


@pytest.mark.parametrize("policy", ["official", "nam"])
def test_what_a_cut_dropped_does_not_come_back_with_the_next_prompt(policy):
    model = tiny_model()
    plan = tiny_plan(model.geometry, (5, 1, 3), ("smooth", "cut", "smooth"))
    records = [chunk.record for chunk in run(model, MemoryOptions(policy=policy), plan)]
    assert records[4].window and not records[5].window
    assert records[6].window == (15, 16, 17), "the one chunk since the cut"
    assert records[7].window == tuple(range(15, 21))


class Bare:
    """Has nothing of a backbone."""

    stage = encode_frames = work_of_pass = None


class WithoutStage:
    """A backbone that has no `stage` of its own."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        if name == "stage":
            raise AttributeError(name)
        return getattr(self._model, name)


@pytest.mark.parametrize("policy", ["nam", "official", "window"])
def test_a_pass_that_only_stages_leaves_what_a_whole_pass_leaves(policy):
    """The slow twin commits by `predict`, last block's tail and head included."""
    entry = toy_backbone.model()
    for model in (tiny_model("relative"), toy_backbone.ToyBackbone(entry, torch.device("cpu"))):
        plan = replace(tiny_plan(model.geometry, (5, 5)), width=64, height=48)
        words = model.encode_prompts(["a red fox", "the empty snow"])
        options = MemoryOptions(policy=policy, activate=2)
        films = [run(each, options, plan, words) for each in (model, with_defaults(WithoutStage(model)))]
        for fast, slow in zip(*films, strict=True):
            assert torch.equal(fast.latents, slow.latents) and fast.record == slow.record


def test_a_backbone_of_any_class_gets_what_it_may_leave_out():
    """Plug-ins of 0.1.0 derive from nothing, and know neither pictures nor how much a pass computes."""
    model = with_defaults(WithoutStage(tiny_model()))
    assert model.work_of_pass((2, 4), 3) == tiny_model().work_of_pass((2, 4), 3), "what it has stays"
    toy = toy_backbone.ToyBackbone(toy_backbone.model(), torch.device("cpu"))
    assert toy.work_of_pass((6, 8), 3) is None
    with pytest.raises(UsageError, match="cannot start from a picture"):
        toy.encode_frames(torch.zeros(1, 48, 64, 3))
    with pytest.raises(TypeError, match="a Bare lacks geometry, sampling"):
        with_defaults(Bare())


def test_a_film_can_be_steered():
    """Shots whose length nobody knew, entered between chunks, give the film of the plan that came of it."""
    model = tiny_model("relative")
    plan = tiny_plan(model.geometry, CHUNKS, TRANSITIONS)
    embeds = tiny_prompts(3)
    walk = Walk(model, (WIDTH, HEIGHT), 16, make_policy(MemoryOptions(policy="nam"), model.geometry))
    steered = []
    for segment, prompt_embeds in zip(plan.segments, embeds, strict=True):
        walk.enter(Shot(segment.prompt, prompt_embeds, segment.seed, segment.transition))
        steered += [walk.chunk() for _ in range(segment.num_chunks)]
    for one, other in zip(steered, run(model, MemoryOptions(policy="nam")), strict=True):
        assert torch.equal(one.latents, other.latents) and one.record == other.record
        assert (one.index, one.segment) == (other.index, other.segment) and one.seconds.keys() == other.seconds.keys()


def test_what_passes_between_a_shot_and_its_chunk_is_not_the_chunks_time():
    model = tiny_model()
    walk = Walk(model, (WIDTH, HEIGHT), 16, make_policy(MemoryOptions(policy="sink"), model.geometry))
    walk.enter(Shot("a fox", tiny_prompts(1)[0], seed=1))
    sleep(0.5)
    assert sum(walk.chunk().seconds.values()) < 0.5


def test_same_seed_same_film_and_another_seed_another():
    model = tiny_model()
    plans = [tiny_plan(model.geometry, (2, 2), seeds=seeds) for seeds in ((1, 2), (1, 2), (1, 3))]
    first, again, other = (run(model, MemoryOptions(policy="nam"), plan, tiny_prompts(2)) for plan in plans)
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(first[:2], other[:2], strict=True))
    assert not torch.equal(first[2].latents, other[2].latents)


def test_prompt_and_memory_reach_the_latents():
    model = tiny_model()
    base = run(model, MemoryOptions(policy="nam"), embeds=tiny_prompts(3))
    other_prompt = run(model, MemoryOptions(policy="nam"), embeds=tiny_prompts(3, seed=2))
    sink = run(model, MemoryOptions(policy="sink"), embeds=tiny_prompts(3))
    assert not torch.allclose(base[0].latents, other_prompt[0].latents)
    assert torch.equal(base[3].latents, sink[3].latents), "before anything is recalled, nam is sink"
    assert not torch.allclose(base[-1].latents, sink[-1].latents)


def test_records_tell_what_was_seen():
    model = tiny_model()
    records = [chunk.record for chunk in run(model, MemoryOptions(policy="nam", bank=3))]
    assert records[0].sink == () and records[0].window == ()
    assert records[1].sink == (0, 1, 2) and records[1].window == ()
    assert records[3].window == (3, 4, 5, 6, 7, 8)
    assert records[4].archived == (3,), "chunk 1 leaves the window when chunk 4 comes"
    assert [item.frame for item in records[4].bank] == [3]
    cut = records[9]
    assert cut.window == () and cut.sink == (0, 1, 2) and len(cut.bank) == 3
    assert cut.archived == (18, 21, 24), "a cut sends the window's prototypes to the archive"
    for record in records:
        seen = [*record.sink, *record.window, *(item.frame for item in record.bank)]
        assert len(seen) == len(set(seen)), "no frame is seen twice"
        assert all(frame < record.chunk * 3 for frame in seen)


def test_a_bank_that_no_pass_reads_is_not_told_of():
    """`official` in a model without a sink: as published, the bank is filled and not attended to."""
    entry = tiny_entry("wan")
    model = tiny_backbone(replace(entry, geometry=replace(entry.geometry, sink=0)))
    official, window = (run(model, MemoryOptions(policy=policy)) for policy in ("official", "window"))
    assert official[-1].record.candidates and not any(chunk.record.bank for chunk in official)
    recached = CHUNKS[0]  # `official` runs its window again in one pass
    for one, other in zip(official[:recached], window, strict=False):
        assert torch.equal(one.latents, other.latents)


def test_sparse_activation_shares_add_up():
    """Each head of each layer reads exactly `activate` frames of sink and bank."""
    model = tiny_model()
    for chunk in run(model, MemoryOptions(policy="nam", bank=3, activate=2)):
        record = chunk.record
        if len(record.sink) + len(record.bank) > 2:
            assert sum(record.sink_use) + sum(item.use for item in record.bank) == pytest.approx(2)


@pytest.mark.parametrize(("steps", "choosing"), [(1, [0, 1]), (2, [0, 1, 2]), (8, [0, 4, 8])])
def test_heads_choose_in_a_chunks_first_step_halfway_and_in_its_clean_pass(monkeypatch, steps, choosing):
    entry = tiny_entry("wan")
    sampling = replace(entry.sampling, steps=tuple(1000 * (steps - step) // steps for step in range(steps)))
    model = tiny_backbone(replace(entry, sampling=sampling))
    memory = make_policy(MemoryOptions(policy="nam", activate=2), model.geometry)
    chunks = film_chunks(model, tiny_plan(model.geometry, (2,)), memory, tiny_prompts(1))
    next(chunks)
    passes, choices = [], []
    for name in ("predict", "stage"):
        run_pass = getattr(model, name)
        monkeypatch.setattr(model, name, lambda *args, _run=run_pass, **kw: passes.append(1) or _run(*args, **kw))
    choose = TopFrames.choose
    monkeypatch.setattr(TopFrames, "choose", lambda *args: choices.append(len(passes) - 1) or choose(*args))
    next(chunks)
    assert len(passes) == steps + 1
    assert choices == [number for number in choosing for _ in model.transformer.blocks]


def test_film_longer_than_the_published_limit():
    """The published code ends at 1023 latent frames; nothing here does."""
    model = tiny_model("absolute")
    chunks = run(model, MemoryOptions(policy="nam"), tiny_plan(model.geometry, (350,)), tiny_prompts(1))
    assert len(chunks) == 350
    assert all(torch.isfinite(chunk.latents).all() for chunk in chunks[-3:])


@pytest.mark.parametrize("prediction", ("flow", "sample"))
def test_each_step_but_the_last_is_followed_by_fresh_noise(prediction):
    start, *fresh = torch.randn(4, 1, 3, 2, 2, 2, generator=torch.Generator().manual_seed(3))
    drawn, seen = iter((start, *fresh)), []

    def predict(latents, timestep):
        seen.append(latents)
        clean, sigma = torch.tanh(latents), timestep / 1000
        return clean if prediction == "sample" else (latents - clean) / sigma

    levels = [Level(1000 * sigma, sigma) for sigma in (1.0, 0.8, 0.3)]
    made = denoise(predict, drawn, levels, Sampling(prediction=prediction))
    torch.testing.assert_close(seen[1], 0.2 * torch.tanh(start) + 0.8 * fresh[0])
    torch.testing.assert_close(seen[2], 0.7 * torch.tanh(seen[1]) + 0.3 * fresh[1])
    torch.testing.assert_close(made, torch.tanh(seen[2]))
    assert len(list(drawn)) == 1
