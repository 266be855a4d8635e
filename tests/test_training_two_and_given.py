"""What theatre is trained on besides: two puppets at once, given pictures, arms that wave."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.language.reader import Reader
from memflow_cli.models.theatre.language.stage import read_story
from memflow_cli.models.theatre.language.told_story import COMING_CHUNKS, load_reader
from memflow_cli.models.theatre.language.trained_captions import read_caption
from memflow_cli.models.theatre.language.vocabulary import COLOURS, words_of
from training.beats import Act, Beat
from training.captions import captions
from training.contexts import StoryContexts
from training.data import visibility
from training.details import ARM_WEIGHT, DIM, WORN_WEIGHT, arm_cells, detail_weights, is_dim_wave, worn_cells
from training.drafts import GIVEN_TARGETS, RECALL_TARGETS, STREAMING_TARGETS, Draft
from training.plots import ACTIONS_ON_THE_SPOT
from training.stills import STILLS, sample_stills, shown_in_stills
from training.teacher_forcing import BANK, CHUNK, SINK
from training.world import Puppet, Story, sample_story


@pytest.fixture(scope="module")
def autoencoder() -> PatchAutoencoder:
    return PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")


def test_both_at_once_shows_two_who_act_and_leave_and_come_back_one_after_the_other():
    """In company one came or went while the other stood there: that both leave, and both come back, was never seen."""
    told = {"one acts": 0, "both act": 0, "leave": 0, "enter": 0, "second leaves first": 0}
    for seed in range(40):
        story = sample_story(seed, "both at once")
        assert story.num_chunks == 22 and len(story.puppets) == 2
        assert (visibility(story).sum(0) == 2).mean() > 0.2
        for beat, then in pairwise(story.beats):
            verbs = [act.verb for act in beat.acts.values()]
            told["one acts"] += sorted(verb == "stand" for verb in verbs) == [False, True] and not {*verbs} & {
                "leave",
                "enter",
            }
            told["both act"] += len(verbs) == 2 and set(verbs) <= set(ACTIONS_ON_THE_SPOT)
            if "leave" in verbs and len(verbs) == 2:
                (first,) = (who for who, act in beat.acts.items() if act.verb == "leave")
                assert [act.verb for act in then.acts.values()] == ["leave"] and first not in then.acts
                told["leave"] += 1
                told["second leaves first"] += first == 1
            if verbs == ["enter"] and beat.num_chunks == COMING_CHUNKS:
                assert sorted(act.verb for act in then.acts.values()) == ["enter", "stand"]
                told["enter"] += 1
    assert min(told.values()) > 15 and told["one acts"] > 2 * told["both act"], told


@pytest.mark.parametrize("kind", ["both at once", "company", "free", "acting"])
def test_captions_name_two_as_the_reader_does(kind):
    """Whoever was introduced first is named first: captions in either order taught that any of two may be meant."""
    rng, told = np.random.default_rng(0), 0
    for seed in range(40):
        story = sample_story(seed, kind)
        names = [puppet.species for puppet in story.puppets]
        lines = captions(story, rng, said_again=0.0)
        assert all(read_caption(line) is not None for line in lines)
        cuts = [beat.cut for beat in story.beats]
        seen: list[str] = []
        for beat, line, meaning in zip(story.beats, lines, read_story(reader(), lines, cuts), strict=True):
            named = [word for word in words_of(line) if word in names]
            seen += [name for name in named if name not in seen]
            if len(named) == 2 and not (beat.cut or beat is story.beats[0]):
                told += 1
                assert named == sorted(named, key=seen.index)
                roles = [role.species for role in meaning.roles]
                assert named == [name for name in roles if name in named], (line, roles)
    assert told > 20


def reader() -> Reader:
    return load_reader(THEATRE_FOLDER / "reader")


def test_captions_may_leave_the_looks_to_a_picture():
    rng = np.random.default_rng(0)
    for seed in range(20):
        for line in captions(sample_story(seed), rng, tells_looks=False):
            told = read_caption(line)
            assert told is not None and all(colour is None and worn is None for _, colour, worn, *_ in told.clauses)


def test_given_pictures_show_their_puppets_and_stand_still(autoencoder):
    for seed in (0, 3):
        story = sample_story(seed, "both at once" if seed else "one puppet")
        stills = sample_stills(story, autoencoder, np.random.default_rng(seed))
        assert len(stills.latents) == len(stills.masks) == len(stills.captions) == STILLS
        assert torch.equal(stills.latents[:, 0], stills.latents[:, 2])
        frames = autoencoder.decode(stills.latents[:, 0])
        assert torch.equal(frames[0], frames[3]) or (frames[0] - frames[3]).abs().mean() < 0.02
        assert (stills.masks.flatten(1).sum(1) > 0).all()
        for shown, line in zip(shown_in_stills(len(story.puppets)), stills.captions, strict=True):
            named = {story.puppets[index].species for index in shown}
            assert not line or named == {word for word in words_of(line) if word in {p.species for p in story.puppets}}
            said = {word for word in words_of(line) if word in COLOURS}
            assert not said or {story.puppets[index].colour for index in shown} <= said


def test_a_given_context_shows_who_is_in_view_by_pictures():
    rng = np.random.default_rng(0)
    for seed in range(20):
        contexts = StoryContexts(story := sample_story(seed, "right one of two"))
        streaming = contexts.streaming(rng)
        for chunk in contexts.draw_given_chunks(rng, 6):
            slots = contexts.given(chunk, streaming[chunk], rng)
            bank = [slot // CHUNK for slot in slots[SINK : SINK + BANK] if slot >= 0]
            stills = [slot - story.num_chunks for slot in bank if slot >= story.num_chunks]
            in_view = set(np.flatnonzero(contexts.glimpsed[:, chunk]).tolist())
            shown = {puppet for still in stills for puppet in shown_in_stills(2)[still]}
            assert in_view and in_view <= shown
            for earlier in bank[len(stills) :]:
                assert earlier < chunk and not contexts.glimpsed[sorted(in_view), earlier].any()


def test_a_draft_counts_its_rows_after_those_before_it(autoencoder):
    rng = np.random.default_rng(0)
    contexts = StoryContexts(story := sample_story(1, "acting"))
    clean, mask = torch.zeros(story.num_chunks, CHUNK, 192, 8, 14), torch.zeros(story.num_chunks, CHUNK, 8, 14)
    draft = Draft(contexts, clean, mask, sample_stills(story, autoencoder, rng), (100, 40), rng)
    rows = 100 + story.num_chunks + STILLS
    assert len(draft.clean) == len(draft.clean_caption) == len(draft.clean_slots) == story.num_chunks + STILLS
    assert len(draft.targets) == STREAMING_TARGETS + RECALL_TARGETS + GIVEN_TARGETS
    assert all(100 <= target < rows - STILLS for target in draft.targets)
    assert list(draft.given) == list(range(rows - STILLS, rows))
    slots = np.concatenate([draft.clean_slots, draft.target_slots])
    assert ((slots == -1) | ((slots >= 300) & (slots < 3 * rows))).all()
    assert all(40 <= line < 40 + len(draft.lines) for line in (*draft.clean_caption, *draft.target_caption))
    chunks = [target - 100 for target in draft.targets]
    assert torch.equal(draft.details, torch.from_numpy(detail_weights(story)[chunks]))


def test_arms_are_where_waving_is_seen():
    right, left = (arm_cells("fox", 112, facing) for facing in (1.0, -1.0))
    assert 3 < right.sum() < 12 and not (right[:, :7] & True).any() and not left[:, 7:].any()
    assert (right == left[:, ::-1]).mean() > 0.95


def test_hats_and_scarves_are_where_they_would_be_seen_and_rise_with_who_jumps():
    standing, jumping = (worn_cells("fox", 112, lift, 1.0) for lift in (0, 28))
    assert 4 < standing.sum() < 16 and standing[:, 4:10].sum() == standing.sum()
    assert jumping.any(1).argmax() < standing.any(1).argmax()


def test_arms_and_hats_weigh_wherever_somebody_is_in_view_raised_and_worn_or_not():
    """Where only arms that wave weighed more, whoever might be waving was drawn so."""
    act = {verb: {0: Act(verb)} for verb in ("stand", "wave")}
    for setting, factor in (("meadow", 1.0), ("city", DIM["city"])):
        beats = tuple(Beat(2, setting, 0, act[verb]) for verb in ("stand", "wave")) + (Beat(2, setting, 0),)
        assert [is_dim_wave(beat) for beat in beats] == [False, setting in DIM, False]
        weights = detail_weights(Story(1, "free", (Puppet("fox", "red"),), beats))
        assert (weights[:2] == weights[2:4]).all() and not weights[4:].any()
        arm = arm_cells("fox", 112, 1.0)
        assert (weights[0, 0][arm] >= factor * ARM_WEIGHT).all() and weights[0, 0][~arm].max() == WORN_WEIGHT
