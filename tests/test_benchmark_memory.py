"""The memory benchmark asks what it says it asks; the judge reads true frames."""

import torch

from benchmarks.judge import ACCESSORY_CLASSES, Judge, Seen, Verdict, true_frames
from benchmarks.memory import POLICIES, Return, majority, markdown, share, summarise, to_storyboard
from memflow_cli.theatre.vocabulary import words_of
from training.world import FIRST_HELD_OUT_SEED, sample_story

FOX = Seen("fox", "red", ("hat", "blue"))


def a_return(before: Seen | None, after: Seen | None, policy: str = "nam", recalled: bool = True) -> Return:
    return Return(policy, "one puppet", 1, 0, before, after, ("red", "hat", "blue"), recalled, 30.0)


def test_the_returning_puppet_is_called_by_its_species_only():
    story = sample_story(FIRST_HELD_OUT_SEED, "right one of two")
    storyboard = to_storyboard(story, POLICIES["nam"], seed=0)
    words = words_of(storyboard.segments[-2].prompt)
    puppet = story.puppets[next(iter(story.beats[-1].acts))]
    assert puppet.species in words and puppet.colour not in words
    assert sum(segment.seconds for segment in storyboard.segments) == story.num_chunks * 0.75


def test_a_return_is_the_same_only_with_colour_and_accessory():
    assert a_return(FOX, FOX).same
    assert not a_return(FOX, Seen("fox", "red", None)).same
    assert not a_return(None, None).same


def test_majority_of_frames_decides():
    there, away = Verdict("meadow", (FOX,)), Verdict("meadow", ())
    assert majority([there, there, away], "fox") == FOX
    assert majority([there, away, away], "fox") is None


def test_share_gives_the_wilson_interval():
    assert share([True] * 50 + [False] * 50) == {"n": 100, "percent": 50.0, "low": 40.4, "high": 59.6}


def test_the_table_has_a_row_for_each_policy():
    table = summarise([a_return(FOX, FOX), a_return(FOX, None, "sink", recalled=False)])
    assert table["nam"]["one puppet"]["identity"]["percent"] == 100
    assert table["sink"]["one puppet"]["recall"]["percent"] == 0
    assert "| sink | 0" in markdown(table, {})


def test_the_judge_answers_for_every_species():
    frames, labels = true_frames(range(3), each=3)
    assert frames.shape[1:] == (128, 224, 3)
    assert labels.shape == (len(frames), 1 + 3 * 6)
    torch.manual_seed(0)
    setting, present, colour, accessory = Judge(width=4)(torch.zeros(2, 3, 64, 112))
    assert (setting.shape, present.shape) == ((2, 6), (2, 6))
    assert (colour.shape, accessory.shape) == ((2, 6, 8), (2, 6, len(ACCESSORY_CLASSES)))
