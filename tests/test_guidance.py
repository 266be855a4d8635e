"""Chunks are led by their prompt (classifier-free guidance): what a guided step is, how many there are, what stays as it was."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from memflow_cli.backbone import Sampling
from memflow_cli.guidance import Lacking, led
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.models.entry import check_entry
from memflow_cli.pipeline import Shot, Walk
from memflow_cli.sampler import chunk_noise
from memflow_cli.walks import make_walk
from tiny_model import HEIGHT, WIDTH, tiny_backbone, tiny_entry, tiny_prompts


def walked(sampling: Sampling, *lengths: int, transitions: Sequence[str] = (), **memory):
    """Chunks of shots of so many, and of each the passes that made it: (what its prompt was, frames of the bank that it
    saw, prediction).
    """
    model = tiny_backbone(tiny_entry())
    model.sampling = sampling
    embeds = tiny_prompts(len(lengths))
    told = [model.project_prompt(each.unsqueeze(0)).keys[0] for each in embeds]
    predict, passes = model.predict, []

    def keep(latents, timestep, prompt, context):
        prediction = predict(latents, timestep, prompt, context)
        shape = context.shape
        seen = sum(slot >= shape.sink + shape.window for slot in context.heads.candidates)
        known = [index for index, keys in enumerate(told) if torch.equal(keys, prompt.keys[0])]
        passes[-1].append((known[0] if known else None, seen, prediction))
        return prediction

    model.predict = keep
    walk = Walk(model, (WIDTH, HEIGHT), 16, make_policy(MemoryOptions(policy="nam", **memory), model.geometry))
    chunks = []
    for index, length in enumerate(lengths):
        walk.enter(Shot("a fox", embeds[index], 1, transitions[index] if transitions else "smooth"))
        for _ in range(length):
            passes.append([])
            chunks.append(walk.chunk().latents)
    return chunks, passes


def test_what_differs_from_a_pass_that_lacks_something_is_added():
    answer, poorer, other = (torch.randn(2, 3) for _ in range(3))
    lead = led(lambda *_: answer, [Lacking(lambda *_: poorer, 2.0), Lacking(lambda *_: other, 0.5)], until=500)
    assert torch.allclose(lead(answer, 750), answer + 2 * (answer - poorer) + 0.5 * (answer - other))
    assert torch.equal(lead(answer, 500), answer) and torch.equal(led(lambda *_: answer, [], 0)(answer, 750), answer)


@pytest.mark.parametrize("activate", [None, 2])
def test_the_first_chunks_under_a_prompt_are_led_by_it_and_by_memory(activate):
    """Of four steps two are led; their second pass is under no prompt and sees nothing of the bank, as all others do."""
    sampling = Sampling(steps=(1000, 750, 500, 250), guidance_scale=3.0)
    chunks, passes = walked(sampling, 5, 4, activate=activate)
    plain, unled = walked(replace(sampling, guidance_scale=1.0), 5, 4, activate=activate)
    for index, (ours, theirs) in enumerate(zip(passes, unled, strict=True)):
        shot, seen = (0, 1)[index >= 5], theirs[0][1]
        alone = [(shot, seen)] * 4
        expected = [(shot, seen), (None, 0)] * 2 + alone[2:] if index in (0, 1, 5, 6) else alone
        assert [(prompt, frames) for prompt, frames, _ in ours] == expected, index
        assert len(ours) + len(["the commit"]) == sampling.num_passes(index - 5 * shot)
        assert not torch.equal(chunks[index], plain[index])
    assert unled[6][0][1] > 0, "a bank of nothing would hide nothing"


def test_after_a_cut_the_prompt_leads_alone():
    """Led by the bank as well, one film in eight had somebody twice who stood anew."""
    sampling = Sampling(steps=(1000, 750, 500, 250), guidance_scale=3.0)
    _, passes = walked(sampling, 5, 4, transitions=("smooth", "cut"))
    for index in (5, 6):
        frames = passes[index][0][1]
        assert frames > 0 and [(prompt, seen) for prompt, seen, _ in passes[index]][:2] == [(1, frames), (None, frames)]


@pytest.mark.parametrize("policy", ["window", "sink", "official", "ema-sink", "shot-sink", "rebuilt"])
def test_films_of_every_memory_are_led_for_two_chunks(policy):
    model = tiny_backbone(tiny_entry("wan"))
    model.encode_frames = lambda frames: frames.new_zeros(1, 16, 4, 8)
    model.sampling = Sampling(steps=(1000, 750, 500, 250), guidance_scale=3.0)
    predict, passes = model.predict, []
    model.predict = lambda *arguments, **more: passes.append(0) or predict(*arguments, **more)
    walk = make_walk(model, (WIDTH, HEIGHT), 16, MemoryOptions(policy=policy))
    made = []
    for embeds in tiny_prompts(2):
        walk.enter(Shot("a fox", embeds, seed=1))
        for _ in range(4):
            passes.clear()
            walk.chunk()
            made.append(len(passes))
    assert made == [6, 6, 4, 4] * 2


def test_a_chunk_of_one_led_step_is_what_the_formula_says():
    """The second of two steps comes after what the first one says it should."""
    sampling = Sampling(steps=(1000, 500), prediction="sample", warp=False, guidance_scale=2.5)
    _, [[(_, _, told), (_, _, bare), (_, _, last)]] = walked(sampling, 1)
    assert not torch.equal(told, bare)
    model = tiny_backbone(tiny_entry())
    noise = chunk_noise(1, 0, model.geometry.chunk_shape(WIDTH, HEIGHT))
    next(noise)
    latents = 0.5 * (told + 1.5 * (told - bare)) + 0.5 * next(noise)
    walk = Walk(model, (WIDTH, HEIGHT), 16, make_policy(MemoryOptions(policy="nam"), model.geometry))
    walk.cache.begin(range(model.geometry.chunk), keep=False)
    prompt = model.project_prompt(tiny_prompts(1))
    again = model.predict(latents, 500.0, prompt=prompt, context=walk.cache)
    assert torch.allclose(again, last, atol=1e-5)


def test_a_scale_of_one_leads_nowhere_and_costs_nothing():
    chunks, passes = walked(Sampling(steps=(1000, 500)), 3)
    again, as_many = walked(Sampling(steps=(1000, 500), guidance_scale=1.0), 3)
    assert [len(of_chunk) for of_chunk in passes] == [len(of_chunk) for of_chunk in as_many] == [2, 2, 2]
    assert all(torch.equal(one, other) for one, other in zip(chunks, again, strict=True))
    assert "guidance_scale" not in Sampling().to_json(), "films begun before it go on"


@pytest.mark.parametrize("wrong", [0.5, 1000, float("nan"), "2", True])
def test_guidance_that_no_model_has_is_refused(wrong):
    entry = tiny_entry()
    check_entry(replace(entry, sampling=replace(entry.sampling, guidance_scale=2)))
    with pytest.raises(ValueError, match="guidance_scale"):
        check_entry(replace(entry, sampling=replace(entry.sampling, guidance_scale=wrong)))
