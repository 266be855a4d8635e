"""From prompts to what a film's chunks are told, and what a user hears of it."""

import json
from itertools import count

import pytest
import torch

from memflow_cli.cli.app import run as memflow
from memflow_cli.film.given import encode_told, shot_of
from memflow_cli.film.prompt_embeds import StoryEmbeds, encode_story
from memflow_cli.memory.cast import NewScene
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.models.theatre.language.limits import cannot_draw
from memflow_cli.pipeline import Walk, generate_chunks, planned_shots
from memflow_cli.sampler import chunk_noise
from memflow_cli.story.plan import plan_film
from memflow_cli.story.storyboard import Segment, Storyboard
from tiny_model import tiny_backbone, tiny_entry, tiny_plan, tiny_prompts


def latents(model, plan, shots):
    """A film's latents, with noise that goes by the film's chunk, not by the shot's."""
    numbers = count()
    noise = lambda shot, index, shape: chunk_noise(5, next(numbers), shape)  # noqa: E731
    walk = Walk(model, plan.size, plan.fps, make_policy(MemoryOptions(policy="nam"), model.geometry), noise=noise)
    return torch.cat([chunk.latents for chunk in generate_chunks(walk, shots)])


def test_a_turn_within_a_segment_is_a_segment_of_its_own():
    model, prompts = tiny_backbone(tiny_entry("wan")), tiny_prompts(2)
    parts, whole = tiny_plan(model.geometry, (3, 4)), tiny_plan(model.geometry, (7,))
    apart = latents(model, parts, planned_shots(parts, prompts))
    assert torch.equal(apart, latents(model, whole, planned_shots(whole, prompts, [{3: prompts[1]}])))


def test_a_backbone_that_reads_stories_is_given_what_it_read():
    class Backbone:
        def read_story(self, prompts, cuts, pictured, lengths):
            assert cuts == [False, True]
            return [((0, "a"), (2, "bb")), ((0, "ccc"),)]

        def stands_apart(self, prompts, cuts, pictured):
            return [False, cuts[1]]

        def encode_prompts(self, prompts):
            return torch.full((1, 4, 1), float(len(prompts[0])))

    told = encode_story(Backbone(), ["first", "second"], [False, True])
    assert [float(rows[0, 0]) for rows in told.prompts] == [1, 3]
    assert [{chunk: float(rows[0, 0]) for chunk, rows in turns.items()} for turns in told.turns] == [{2: 2}, {}]
    assert told.apart == [False, True]


@pytest.mark.parametrize(
    "policy, recall, stands_apart",
    [("nam", None, True), ("nam", ("fox",), False), ("nam", (), False), ("sink", None, False)],
)
def test_a_scene_apart_is_told_to_a_memory_that_knows_who_is_who(policy, recall, stands_apart):
    rows = torch.ones(4, 1)
    told = StoryEmbeds([rows, rows], [{}, {}], (), [False, True])
    segments = (Segment("a fox", 1.0), Segment("a bear", 1.0, transition="cut", recall=recall, names=("bear",)))
    board = Storyboard("", segments=segments, memory=MemoryOptions(policy=policy))
    plan = plan_film(board, tiny_backbone(tiny_entry("wan")).geometry, (32, 32))
    shots = [shot_of(board, segment, told) for segment in plan.segments]
    assert [isinstance(shot.casting, NewScene) for shot in shots] == [False, stands_apart]


def test_a_story_is_read_in_the_light_of_how_long_its_segments_are():
    class Backbone:
        def read_story(self, prompts, cuts, pictured, lengths):
            return [((0, "a" * length),) for length in lengths]

        def stands_apart(self, prompts, cuts, pictured):
            return [False] * len(prompts)

        def encode_prompts(self, prompts):
            return torch.full((1, 4, 1), float(len(prompts[0])))

    plan = tiny_plan(tiny_backbone(tiny_entry("wan")).geometry, (3, 4))
    told = encode_told(Backbone(), Storyboard("", segments=(Segment("a", 1.0),)), plan.segments, ())
    assert [float(rows[0, 0]) for rows in told.prompts] == [3, 4]


@pytest.fixture
def story(tmp_path):
    def write(*prompts):
        path = tmp_path / "story.yaml"
        path.write_text(
            "model: theatre\nsegments:\n" + "".join(f"- {{prompt: {json.dumps(p)}, duration: 3s}}\n" for p in prompts)
        )
        return str(path)

    return write


def test_the_plan_tells_the_meaning_of_each_prompt(story, capfd):
    path = story("A crimson kitty with a golden cap is standing in the woods.", "It greets us.")
    assert memflow(["plan", path, "--meaning"]) == 0
    out = capfd.readouterr().out
    assert (
        "red cat with a yellow hat stands; in a forest" in out and "red cat with a yellow hat waves; in a forest" in out
    )
    assert memflow(["plan", path, "--meaning", "--json"]) == 0
    segments = json.loads(capfd.readouterr().out)["segments"]
    assert segments[1]["meaning"] == "red cat with a yellow hat waves; in a forest"


def test_a_model_without_a_reader_has_no_meaning_to_tell(tmp_path, capfd):
    path = tmp_path / "story.yaml"
    path.write_text("model: memflow-1.3b\nsegments:\n- {prompt: a fox, duration: 1s}\n")
    assert memflow(["plan", str(path), "--meaning"]) != 0
    assert "is given the prompts as they are written" in capfd.readouterr().err


def test_a_long_prompt_loses_nothing(story, capfd):
    path = story("a red fox with a blue hat stands in the snow and " * 30)
    assert memflow(["plan", path]) == 0
    assert "warning" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "prompt, told",
    [
        (
            "A red dragon and a big dog fly over the castle.",
            ["draws no dragons", "draws no dogs", "stage has no castles"],
        ),
        ("A black cat swims.", ["paints no puppet black"]),
        ("Лиса машет лапой.", ["reads English, no Cyrillic"]),
        ("狐が跳ぶ 🦊", ["no Chinese", "no Japanese", "no emoji"]),
        ("مرحبا", ["no Arabic"]),
        ("Two wolves and some children", ["draws no wolves", "draws no children"]),
        ("A happy little fox waves its paw near the bus stop, with élan.", []),
        ("The cat takes off its red hat.", ["know no taking off of hats"]),
        (
            "The cat takes her scarf off and waves.",
            ["know no taking off of hats"],
        ),
        ("The cat puts its hat on.", []),
    ],
)
def test_what_cannot_be_drawn_is_named_by_what_it_is(prompt, told):
    sentences = cannot_draw(["A red fox waves.", prompt])
    assert all(any(part in sentence and "segment 2" in sentence for sentence in sentences) for part in told)
    assert bool(sentences) == bool(told)


def test_many_of_what_theatre_cannot_draw_are_told_as_one_is():
    several = "zombies, puppies, butterflies, fairies, ponies, babies, geese, policemen, wolves, elves, buses, churches, squids"
    told = cannot_draw([f"A meadow with {several}."])
    assert len(told) == 12
    assert cannot_draw(["A bird wants to fly."]) == ["theatre's puppets know no flying (segment 1)"]
