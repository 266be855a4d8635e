"""The paper theatre keeps its promises: deterministic, held-out really held out, stories as the benchmark needs them."""

import numpy as np
import pytest

from memflow_cli.models.theatre.language.vocabulary import COLOURS, SETTINGS, SPECIES, WORDS, words_of
from training.captions import captions
from training.data import sample_picture, visibility
from training.drawing import cell_masks, render
from training.world import HEIGHT, WIDTH, is_held_out, sample_story, shows_held_out, stage


def settings_of(story) -> set[str]:
    return {beat.setting for beat in story.beats}


def test_a_story_follows_from_its_seed():
    assert sample_story(3) == sample_story(3)
    assert sample_story(3) != sample_story(4)
    first, second = (render(sample_story(3), 5, 2) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


def test_frames_have_the_stage_size():
    frames, coverage = render(sample_story(1), 0, 3)
    assert frames.shape == (12, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    assert cell_masks(coverage).shape == (3, HEIGHT // 16, WIDTH // 16)


def test_training_never_shows_a_held_out_combination():
    for seed in range(300):
        story, picture = sample_story(seed), sample_picture(seed).story
        assert not shows_held_out(story.puppets, settings_of(story))
        assert not shows_held_out(picture.puppets, settings_of(picture))


def test_held_out_stories_show_one():
    story = sample_story(10_000_001, "one puppet", held_out=True)
    assert shows_held_out(story.puppets, settings_of(story))


def test_about_a_twelfth_is_held_out_and_no_puppet_or_setting_is_gone():
    combinations = [(s, c, p) for s in SPECIES for c in COLOURS for p in SETTINGS]
    held_out = [combination for combination in combinations if is_held_out(*combination)]
    assert 0.04 < len(held_out) / len(combinations) < 0.12
    for species in SPECIES:
        for colour in COLOURS:
            assert not all(is_held_out(species, colour, setting) for setting in SETTINGS)


@pytest.mark.parametrize("seed", range(5))
def test_one_puppet_begins_empty_and_stays_away_longer_than_the_window(seed):
    story = sample_story(seed, "one puppet")
    shown = visibility(story)[0]
    away = np.flatnonzero(np.diff(np.flatnonzero(shown)) > 1)
    assert not shown[0]
    assert len(away) == 1
    chunks = np.flatnonzero(shown)
    assert chunks[away[0] + 1] - chunks[away[0]] > 4


@pytest.mark.parametrize("seed", range(5))
def test_two_puppets_take_turns_and_one_is_called_back_by_its_species(seed):
    story = sample_story(seed, "right one of two")
    shown = visibility(story)
    assert not (shown[0] & shown[1]).any()
    returned = [puppet for puppet in (0, 1) if shown[puppet][-1]]
    assert len(returned) == 1
    lines = captions(story, np.random.default_rng(0), said_again=0.0)
    puppet = story.puppets[returned[0]]
    assert puppet.species in lines[-2] and puppet.colour not in words_of(lines[-2])


def test_captions_use_known_words_only():
    rng = np.random.default_rng(0)
    for seed in range(200):
        for line in captions(sample_story(seed), rng):
            assert set(words_of(line)) <= WORDS


def test_a_puppet_walks_one_cell_a_latent_frame():
    story = sample_story(0, "one puppet")
    x = stage(story)[0].x
    entering = x[2 * 12 : 4 * 12]
    assert np.allclose(np.abs(np.diff(entering)), 4)
