"""Two at once, as the memory benchmark asks for them: stories that say it, a judge that can tell, counts that add up."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks.both import Together, judge_both, story_of, watch_both
from benchmarks.films import POLICIES, Studio, Watched, to_storyboard
from benchmarks.judge import Answers, Judge, agreement, load_judge
from benchmarks.memory import plan_jobs
from benchmarks.summary import summarise_both
from benchmarks.true_clips import IGNORED, LOOKED_AT, half_size, label_chunks
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.language.trained_captions import read_caption
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SPECIES, words_of
from training.data import visibility
from training.drawing import draw_frame
from training.world import FRAMES_PER_CHUNK, stage


def true_answers(story) -> Answers:
    labels = label_chunks(story, range(story.num_chunks))
    setting = np.repeat(labels.setting[:, None], labels.present.shape[1], 1)
    present = labels.present == 1
    worn = np.where(labels.accessory == IGNORED, 0, labels.accessory)
    return Answers(setting, present, np.zeros_like(present), labels.colour, worn, labels.move)


def filmed(story, answers: Answers) -> Watched:
    """A film that shows this, with a frame of its chunk 4 in the bank throughout."""
    records = [ChunkRecord(chunk, 0, "", 0, 0, bank=(Recalled(12, 0.5),)) for chunk in range(story.num_chunks)]
    return Watched(answers, label_chunks(story, range(story.num_chunks)), records, 30.0)


@pytest.mark.parametrize("number", range(8))
def test_both_are_called_back_by_their_species_in_one_prompt(number):
    story = story_of(number)
    *_, acting, leaving, away, back, again = story.beats
    shown = visibility(story)
    assert (shown[0] == shown[1]).all() and not shown[:, story.beat_starts[-3]].any()
    assert {act.side for act in leaving.acts.values()} == {act.side for act in back.acts.values()} == {"left", "right"}
    assert not away.acts and away.num_chunks + 1 > 3
    lines = [segment.prompt for segment in to_storyboard(story, POLICIES["nam"], 0).segments]
    called = words_of(lines[-2])
    assert all(puppet.species in called for puppet in story.puppets) and not {*COLOURS, *ACCESSORIES} & set(called)
    assert all(read_caption(line) is not None for line in lines)
    for beat in (acting, again):
        assert sorted(act.verb == "stand" for act in beat.acts.values()) == [False, True]


def test_half_open_together_and_half_come_back_on_the_other_sides():
    stories = [story_of(number) for number in range(8)]
    assert sum(bool(story.beats[0].acts) for story in stories) == 4
    other = [story.beats[-2].acts[0].side != story.beats[-4].acts[0].side for story in stories]
    assert sum(other) == 4


def test_the_judge_can_tell_two_at_once():
    """On the stories' true frames; it was trained on frames with two puppets as well."""
    judge, right = load_judge(), {}
    for number in range(4):
        story = story_of(number)
        motions = stage(story)
        clips = [
            half_size(np.stack([draw_frame(story, motions, chunk * FRAMES_PER_CHUNK + at)[0] for at in LOOKED_AT]))
            for chunk in range(story.num_chunks)
        ]
        found = agreement(judge.answers(np.stack(clips)), label_chunks(story, range(story.num_chunks)))
        for question, values in found.items():
            right.setdefault(question, []).append(values)
    assert all(np.concatenate(values).mean() > 0.97 for values in right.values())


def test_what_is_told_and_shown_is_right():
    for number in range(4):
        story = story_of(number)
        told = judge_both(filmed(story, true_answers(story)), story, "nam", 0, 3)
        assert told.lost == [None, None] and told.right_one == [True, True] and told.bank == [[True], [True]]


def test_who_comes_back_as_somebody_else_is_lost_and_who_acts_for_the_other_is_wrong():
    story = story_of(0)
    back, again = story.beat_starts[-2:]
    cat, other = (SPECIES.index(puppet.species) for puppet in story.puppets)
    answers = true_answers(story)
    colour, move, twice = answers.colour.copy(), answers.move.copy(), answers.twice.copy()
    colour[back:, :, cat] = (colour[back:, :, cat] + 1) % len(COLOURS)
    move[again:, [cat, other]] = move[again:, [other, cat]]
    twice[story.beat_starts[-5] : story.beat_starts[-4], :, other] = True
    told = judge_both(filmed(story, replace(answers, colour=colour, move=move, twice=twice)), story, "nam", 0, 3)
    assert told.lost == ["colour", None]
    assert told.acted == [True, False] and told.waited == [True, False] and told.once == [False, True]
    assert told.right_one == [False, False]


def test_two_at_once_is_watched_and_told_in_a_table():
    entry = find_model("theatre")
    studio = Studio(load_model(entry), Judge(width=4).eval(), (224, 128))
    story = story_of(1)
    short = replace(story, beats=tuple(replace(beat, num_chunks=min(beat.num_chunks, 2)) for beat in story.beats))
    film = watch_both(studio, short, "sink", 0)
    assert len(film.lost) == len(film.acted) == 2
    row = summarise_both([film, replace(film, policy="nam", lost=[None, "colour"])])["nam"]
    assert row["looks kept"]["percent"] == 50 and row["both kept"]["percent"] == 0 and row["failures"]["colour"] == 1
    assert json.loads(json.dumps(asdict(film))) == asdict(film) and Together(**asdict(film)) == film


def test_two_at_once_are_asked_of_all_policies_but_not_of_banks_that_ignore_the_prompt():
    jobs = list(plan_jobs(0, 0, 0, 0, 0, 1, ["nam", "sink", "chance"], ["nam"], both=2))
    assert [(job.part, job.number, job.name) for job in jobs] == [
        ("both", 0, "nam"), ("both", 0, "sink"), ("both", 1, "nam"), ("both", 1, "sink"),
    ]  # fmt: skip
