"""The memory benchmark asks what it says it asks; the judge learns from what was truly drawn."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from benchmarks import train_judge
from benchmarks.cuts import story_of as story_with_cut
from benchmarks.drift import STATISTICS, TIMES, Minute, picture_statistics
from benchmarks.films import BASELINES, POLICIES, Studio, film_seed, make_memory, to_storyboard
from benchmarks.intervals import clustered_change, clustered_share, mean, share
from benchmarks.judge import QUESTIONS, WEIGHTS, Answers, Judge, Seen, agreement, load_judge, save_judge, to_input
from benchmarks.memory import Settings, plan_jobs, read_rows, summarise, to_return
from benchmarks.openings import watch_opening
from benchmarks.recall import ALL_SCORES, recalled, summarise_recall
from benchmarks.returns import WHOLE_FILM, Return, majority, watch_return
from benchmarks.summary import paired_differences, summarise_returns
from benchmarks.tables import identity_plot, markdown, points
from benchmarks.true_clips import (
    IGNORED,
    MOVES,
    Labels,
    doubled_clips,
    label_chunks,
    shares_in_view,
    training_clips,
)
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.models.catalog import THEATRE_FOLDER, find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SPECIES, words_of
from training.beats import Act, Beat
from training.drawing import render
from training.world import FIRST_HELD_OUT_SEED, Puppet, Story, sample_story, stage

FOX = Seen("fox", "red", ("hat", "blue"))
TWO = (Puppet("fox", "red", "hat", "blue"), Puppet("bear", "green"))


def a_return(before: Seen | None, after: Seen | None, policy: str = "nam", story: int = 0, fps: float = 30.0) -> Return:
    counts = dict.fromkeys((*WHOLE_FILM, *MOVES), (8, 10))
    return Return(policy, "one puppet", story, 0, before, after, FOX, False, [[True], [False]], counts, fps)


def a_story(*beats: dict[int, Act], puppets: tuple[Puppet, ...] = TWO) -> Story:
    return Story(0, "test", puppets, tuple(Beat(3, "meadow", 0, acts) for acts in beats))


def perfect(labels: Labels) -> Answers:
    setting = np.repeat(labels.setting[:, None], labels.present.shape[1], 1)
    present = labels.present == 1
    return Answers(setting, present, np.zeros_like(present), labels.colour, labels.accessory, labels.move)


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.manual_seed(0)
    entry = find_model("theatre")
    return Studio(load_model(entry), Judge(width=4).eval(), (entry.width, entry.height))


# -- what is asked


def test_the_returning_puppet_is_called_by_its_species_only():
    story = sample_story(FIRST_HELD_OUT_SEED, "right one of two")
    storyboard = to_storyboard(story, POLICIES["nam"], seed=0)
    words = words_of(storyboard.segments[-2].prompt)
    puppet = story.puppets[next(iter(story.beats[-1].acts))]
    assert puppet.species in words and not {*COLOURS, *ACCESSORIES} & set(words)
    assert sum(segment.seconds for segment in storyboard.segments) == story.num_chunks * 0.75


def test_a_return_is_lost_by_the_first_thing_that_differs():
    assert a_return(FOX, FOX).failure is None
    assert a_return(FOX, replace(FOX, accessory=None)).failure == "accessory"
    assert a_return(FOX, Seen("fox", "blue", None)).failure == "colour"
    assert a_return(FOX, None).failure == "did not return"
    assert a_return(None, None).failure == "never came"


def test_majority_of_frames_decides():
    assert majority([FOX, FOX, None]) == FOX
    assert majority([FOX, None, None]) is None


def test_baselines_recall_without_reading_the_prompt():
    matches = torch.zeros(5, 1)
    assert BASELINES["most recent"](0).rank(matches, torch.ones(1)).argmax() == 4
    draws = [BASELINES["chance"](seed).rank(matches, torch.ones(1)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert isinstance(make_memory("most recent", load_geometry(), 0), NarrativeMemory)


def test_no_two_stories_share_their_noise():
    stories = [sample_story(FIRST_HELD_OUT_SEED + number, "one puppet") for number in range(20)]
    assert len({film_seed(story, seed) for story in stories for seed in range(3)}) == 60


def load_geometry():
    return load_model(find_model("theatre")).geometry


def test_all_policies_of_a_story_come_together():
    jobs = list(plan_jobs(1, 1, 1, 1, 2, 1, ["window", "nam", "chance"], ["nam"]))
    assert [job.part for job in jobs[:5]] == ["opening", "opening", "cut", "recall", "drift"]
    assert [(job.number, job.name) for job in jobs[5:]] == [
        (0, "window"), (0, "nam"), (1, "window"), (1, "nam"), (1, "chance"),
    ]  # fmt: skip
    assert len({job.key for job in jobs}) == len(jobs)
    others = list(plan_jobs(1, 1, 1, 1, 2, 1, ["window", "nam", "chance"], ["nam"], first=50))
    assert [replace(job, number=job.number - 50) for job in others] == jobs


def test_what_rows_depend_on_tells_them_apart(tiny_model_folder):
    asked = [
        {},
        {"guidance_scale": 1.0},
        {"guidance_scale": 3.0},
        {"size": (224, 128)},
        {"model": str(tiny_model_folder)},
    ]
    settings = [Settings(WEIGHTS, "float32", **more) for more in asked]
    assert len({each.fingerprint() for each in settings}) == len(asked)


# -- what is truly shown


def test_labels_say_who_is_there_and_how_it_moves():
    story = a_story({}, {0: Act("enter", "left")}, {0: Act("jump"), 1: Act("enter", "right")})
    labels = label_chunks(story, range(9))
    fox, bear = SPECIES.index("fox"), SPECIES.index("bear")
    assert (labels.present[:3] == 0).all()
    assert labels.move[4, fox] == MOVES.index("right")
    assert labels.move[5, fox] == MOVES.index("stand")
    assert labels.move[7, fox] == MOVES.index("jump") and labels.move[7, bear] == MOVES.index("left")
    assert labels.colour[5, 0, fox] == COLOURS.index("red")


def test_nobody_is_asked_about_a_puppet_that_is_cut_or_hidden():
    story = a_story({0: Act("leave", "left")}, puppets=TWO[:1])
    labels = label_chunks(story, range(3))
    fox = SPECIES.index("fox")
    x = stage(story)[0].x[[1 + 12 * c + 3 * t for c in range(3) for t in range(4)]]
    present = labels.present[..., fox].flatten()
    assert set(present[x > 24]) == {1}
    assert set(present[(x < -8) & (x > -24)]) == {IGNORED}
    hidden = a_story({0: Act("stand"), 1: Act("stand")})
    motions = stage(hidden)
    motions[1].x[:] = motions[0].x
    behind, before = shares_in_view(hidden, motions, 4)
    assert behind < 0.5 < before


def test_agreement_is_full_for_the_truth_and_counts_each_question_apart():
    labels = label_chunks(sample_story(1, "one puppet"), range(22))
    right = agreement(perfect(labels), labels)
    assert all(values.all() and len(values) for values in right.values())
    blind = replace(perfect(labels), present=np.zeros_like(labels.present, bool))
    right = agreement(blind, labels)
    assert right["setting"].all() and not right["colour"].any() and not right["action"].any()
    assert 0 < right["species"].mean() < 1


def test_training_clips_are_drawn_from_their_seeds():
    clips, labels = training_clips(range(2), None, each=3)
    again, _ = training_clips(range(2), None, each=3)
    assert clips.shape == (6, 4, 64, 112, 3) and len(labels) == 6
    assert np.array_equal(clips, again)


def test_doubled_clips_show_two_of_the_species():
    clips, doubled = doubled_clips(range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + 12))
    assert clips.shape[1:] == (4, 64, 112, 3) and len(clips) == len(doubled) > 2
    twice = load_judge().answers(clips).twice
    told = twice[np.arange(len(clips)), :, doubled]
    assert told.mean() > 0.9
    others = np.ones_like(twice)
    others[np.arange(len(clips)), :, doubled] = False
    assert not twice[others.astype(bool)].any()


def test_a_cut_brings_somebody_known_to_a_second_setting():
    for number in range(10):
        story = story_with_cut(number)
        assert story.beats[-1].cut and story.beats[-1].acts
        assert story.beats[-1].setting != story.beats[0].setting


# -- the judge


def test_the_judge_answers_for_every_species_and_is_read_back(tmp_path):
    torch.manual_seed(0)
    judge = Judge(width=4).eval()
    clips = np.random.default_rng(0).integers(256, size=(2, 4, 64, 112, 3), dtype=np.uint8)
    shapes = {name: tuple(logits.shape) for name, logits in judge(to_input(clips)).items()}
    assert shapes == {
        "setting": (2, 4, 6), "where": (2, 4, 6, 14), "colour": (2, 4, 6, 8), "accessory": (2, 4, 6, 9), "move": (2, 6, 6),
    }  # fmt: skip
    save_judge(judge, tmp_path / "judge.safetensors")
    answers, again = judge.answers(clips), load_judge(tmp_path / "judge.safetensors").answers(clips)
    assert np.array_equal(answers.setting, again.setting)
    assert len(answers.seen("fox")) == 8


def test_training_the_judge_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(train_judge, "STORIES_A_ROUND", 4)
    monkeypatch.setattr(train_judge, "STEPS_A_ROUND", 2)
    monkeypatch.setattr(train_judge, "BATCH", 4)
    torch.manual_seed(0)
    train_judge.train(Judge(width=4), tmp_path, steps=2, rounds=1)
    judge = Judge(width=4)
    train_judge.train(judge, tmp_path, steps=4, rounds=1)
    lines = [json.loads(line) for line in (tmp_path / "judge.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert len(list(tmp_path.glob("clips_*.npz"))) == 1


# -- figures


def test_share_gives_the_wilson_interval():
    assert share([True] * 50 + [False] * 50) == {"n": 100, "percent": 50.0, "low": 40.4, "high": 59.6}
    assert share([])["percent"] is None


def test_frames_of_one_film_do_not_count_as_many_films():
    alike = clustered_share([(10, 10), (0, 10)])
    assert (alike["percent"], alike["low"], alike["high"]) == (50.0, 0.0, 100.0)
    assert clustered_share([(10, 10), (10, 10)])["low"] == share([True, True])["low"]
    few = clustered_share([(100, 100)] * 9 + [(99, 100)])  # no surer than if nobody had erred
    assert few["low"] <= share([True] * 10)["low"] and few["high"] == 100
    assert mean([1.0, 1.0]) == {"n": 2, "mean": 1.0, "low": 1.0, "high": 1.0}


def test_change_is_that_of_the_shares_beside_it():
    early, late = [(9, 10), (1, 2), (0, 0)], [(5, 10), (2, 2), (3, 4)]
    change = clustered_change(early, late)
    shares = [clustered_share(counts)["percent"] for counts in (early, late)]
    assert change["mean"] == pytest.approx(shares[1] - shares[0], abs=0.1)
    assert change["low"] <= change["mean"] <= change["high"] and change["n"] == 2
    unchanged = clustered_change([(5, 5)] * 4, [(5, 5)] * 4)
    assert (unchanged["mean"], unchanged["low"]) == (0.0, None) and points(unchanged) == "+0"
    assert clustered_change([(0, 0)], [(1, 1)])["mean"] is None


def test_differences_are_taken_on_the_same_stories():
    returns = [a_return(FOX, FOX, story=story) for story in range(3)]
    returns += [a_return(FOX, None, "window", story, fps=60.0) for story in range(2)]
    difference = paired_differences(returns)["identity"]["nam - window"]["one puppet"]
    assert (difference["n"], difference["mean"]) == (2, 100.0)
    assert paired_differences(returns)["speed / window"]["nam"]["mean"] == 0.5


def test_rows_come_back_from_their_file(tmp_path):
    judge = tmp_path / "judge.safetensors"
    save_judge(Judge(width=4), judge, {"stories": dict.fromkeys(QUESTIONS, (99.5, 10))})
    item = a_return(FOX, replace(FOX, accessory=None))
    minute = Minute(
        "nam",
        1,
        {t: dict.fromkeys(QUESTIONS, (1, 2)) for t in TIMES},
        {t: dict.fromkeys(STATISTICS, 1.0) for t in TIMES},
    )
    opening = {"combinations": "seen combinations", "right": {question: [True] for question in QUESTIONS}}
    rows = {"return/0/0/nam": asdict(item), "drift/0/0/nam": asdict(minute), "opening/0/0/seen combinations": opening}
    path = tmp_path / "films.jsonl"
    path.write_text("\n".join(json.dumps({"key": key} | row) for key, row in rows.items()) + '\n{"key": "return/1')
    read = read_rows(path)
    assert list(read) == list(rows)
    assert replace(to_return(read["return/0/0/nam"]), bank=item.bank, fidelity=item.fidelity) == item
    text = markdown(summarise(read, judge))
    assert "| nam | 0 (0-79) | 100 (21-100) | 100 (21-100) | 1 |" in text
    assert "| nam (1 films) | brightness |" in text and "| stories | 99.5 (10) |" in text


def test_the_table_has_a_row_for_each_policy_and_the_plot_a_bar():
    table = summarise_returns([a_return(FOX, FOX), a_return(FOX, None, "sink")])
    assert table["nam"]["one puppet"]["identity"]["percent"] == 100
    assert table["nam"]["one puppet"]["other side"]["identity"]["n"] == 1
    assert table["sink"]["one puppet"]["failures"]["did not return"] == 1
    plot = ElementTree.fromstring(identity_plot(table))
    assert len(plot.findall(".//{*}rect")) == 1 + 2 + 2  # the ground, two bars, two colours explained


def test_picture_statistics_tell_a_grey_picture_from_a_lively_one():
    grey, noise = np.full((2, 16, 16, 3), 100, np.uint8), np.random.default_rng(0).integers(256, size=(2, 16, 16, 3))
    flat, lively = picture_statistics(list(grey)), picture_statistics(list(noise))
    assert flat["brightness"] == pytest.approx(100, abs=0.1) and flat["sharpness"] == pytest.approx(0, abs=1e-3)
    assert all(lively[name] > flat[name] + 10 for name in ("contrast", "saturation", "sharpness"))


# -- with the real model


@pytest.mark.slow
def test_an_opening_is_watched(studio):
    right = watch_opening(studio, 0, "held-out combinations")
    assert list(right) == list(QUESTIONS)
    assert len(right["setting"]) == len(right["species"]) == 1 and right["colour"]


@pytest.mark.slow
def test_a_return_is_watched(studio):
    beats = [{}, {0: Act("enter", "left")}, {0: Act("leave", "left")}, {}, {0: Act("enter", "left")}, {0: Act("stand")}]
    beats[3:3] = [{}]
    story = Story(1, "one puppet", TWO[:1], tuple(Beat(3 if acts else 1, "meadow", 0, acts) for acts in beats))
    item = watch_return(studio, story, "most recent", seed=0)
    assert item.same_side and item.told == FOX
    assert [len(bank) for bank in item.bank] == [3, 3]
    assert item.fidelity["action"][1] > 0


@pytest.mark.slow
def test_recall_is_measured_on_a_drawn_story(studio):
    story = sample_story(FIRST_HELD_OUT_SEED + 1000, "one puppet")
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    latents = autoencoder.encode(torch.from_numpy(render(story)[0]).float() / 255).unflatten(0, (-1, 3))
    banks = recalled(studio.backbone, latents, story, "most recent")
    assert len(banks[0]) == 3 and not any(banks[0])
    table = summarise_recall([{"kind": story.kind, "banks": dict.fromkeys((*ALL_SCORES,), banks)}])
    assert table["most recent"]["one puppet, +0"]["percent"] == 0
