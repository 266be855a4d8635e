"""What a story has established and what a prompt adds to it, with readings given; captions read and written without a reader."""

from itertools import product

import numpy as np
import pytest

from memflow_cli.models.theatre.language.meaning import Act, Meaning, Role
from memflow_cli.models.theatre.language.reader import Reading
from memflow_cli.models.theatre.language.stage import Stage, picture_caption, read_story
from memflow_cli.models.theatre.language.told_story import texts_of
from memflow_cli.models.theatre.language.trained_captions import MOST_WORDS, read_caption
from memflow_cli.models.theatre.language.vocabulary import SETTINGS, SPECIES
from memflow_cli.models.theatre.language.words import Vocabulary, sentences
from training.captions import captions
from training.world import KINDS, sample_story

WORDS = (*SPECIES, "something", "went", "away", "here")


class Told:
    """A reader that is told what each sentence says, in order."""

    def __init__(self, *readings):
        self.vocabulary = Vocabulary(WORDS, WORDS)
        self._readings = iter(readings)

    def read(self, words, known, setting):
        return next(self._readings)

    def species_named(self, words):
        return set(SPECIES)


def reading(acts=None, colours=None, worn=None, setting=None, empty=False, names=None):
    acts = {who: (act if isinstance(act[0], tuple) else (act,)) for who, act in (acts or {}).items()}
    return Reading(acts, colours or {}, worn or {}, setting, empty, names or {})


def story(*readings, cuts=()):
    """The meanings of prompts with these readings, a sentence each."""
    prompts = ["Something went away here."] * len(readings)
    return read_story(Told(*readings), prompts, [index in cuts for index in range(len(readings))])


def on_stage(meaning):
    return [role.species for role in meaning.roles if role.acts[-1].verb != "leave"]


RED_FOX = reading({"fox": ("idle", "")}, {"fox": "red"}, {"fox": ("scarf", "blue")}, "snow")
CAT_COMES = reading({"cat": ("enter", "left")}, {"cat": "white"})


def test_every_caption_of_training_is_understood_without_the_network():
    rng = np.random.default_rng(0)
    for seed in range(60):
        for kind in (None, *KINDS):
            for line in captions(sample_story(seed, kind), rng):
                assert read_caption(line) is not None, line


def test_prompts_in_theatre_s_own_words_stay_byte_for_byte():
    """But those that name first who was introduced second, as the shipped weights' captions never did, or that say nothing of
    somebody who stands there.
    """
    rng = np.random.default_rng(1)
    num_kept = 0
    for seed in range(60):
        scenes = sample_story(seed)
        lines = captions(scenes, rng)
        meanings = read_story(Told(), lines, [beat.cut for beat in scenes.beats])
        introduced = {}
        for line, meaning, beat in zip(lines, meanings, scenes.beats, strict=True):
            clauses = {clause[0]: clause[3:] for clause in read_caption(line).clauses}
            introduced |= dict.fromkeys(clauses)
            in_order = [species for species in introduced if species in clauses]
            tells_all = len(clauses) == len(beat.acts)
            if list(clauses) == in_order and tells_all and len(line.split()) < MOST_WORDS:
                num_kept += 1
                assert meaning.beats == (line,)
                assert texts_of([meaning], [False], [1]) == [((0, line),)]
            elif list(clauses) != in_order and tells_all:
                [text] = meaning.beats
                told = {clause[0]: clause[3:] for clause in read_caption(text).clauses}
                assert told == clauses and list(told) == in_order
    assert num_kept > 300


def test_who_stands_there_is_named_in_every_caption():
    """ "The rabbit jumps": the cat, of which nothing was said, was gone a moment later, and did not come back when called."""
    both = "A white cat stands still and a red fox stands still in a meadow."
    _, jumping, waving = read_story(Told(), [both, "The fox jumps up and down.", "The cat is waving."], [False] * 3)
    assert jumping.beats == ("The cat stands still and the fox jumps up and down.",)
    assert waving.beats == ("The cat waves a hand and the fox stands still.",)


def test_of_two_who_come_at_once_the_one_from_the_left_is_introduced_first():
    """As two are who open a scene: else the one who was named first acted in the other's place."""
    come = "A white cat walks in from the right and a red fox enters from the left."
    coming, acting = read_story(Told(), [come, "The cat waits while the fox hops."], [False, False])
    assert [read_caption(text).clauses[0][0] for text in coming.beats] == ["fox", "fox"]
    assert acting.beats == ("The fox jumps up and down and the cat stands still.",)


def test_a_prompt_in_its_own_words_that_is_too_long_is_told_shorter():
    long = (
        "A red fox wearing a blue hat comes back in from the left and a white rabbit wearing a yellow scarf is jumping "
    )
    long += "in a city at night."
    [meaning] = read_story(Told(), [long], [False])
    assert meaning.written is None and all(len(text.split()) <= MOST_WORDS for text in meaning.beats)
    assert [(role.species, role.colour, role.worn) for role in meaning.roles] == [
        ("fox", "red", ("hat", "blue")),
        ("rabbit", "white", ("scarf", "yellow")),
    ]


@pytest.mark.parametrize(
    "first, second", list(product(("stand", "walk", "jump", "wave", "spin", "enter", "return", "leave"), repeat=2))
)
def test_whatever_is_meant_becomes_captions_of_the_trained_kind(first, second):
    sides = {"walk": "left", "enter": "left", "return": "right", "leave": "right"}
    for setting, looks in product(SETTINGS, (True, False)):
        roles = (
            Role("rabbit", "orange", ("scarf", "yellow"), (Act(first, sides.get(first)),), looks),
            Role("robot", "purple", ("hat", "white"), (Act(second, sides.get(second)),), looks),
        )
        meaning = Meaning(setting, roles, names_setting=True)
        for text in (meaning.caption, *meaning.beats):
            told = read_caption(text)
            assert told is not None and len(text.split()) <= MOST_WORDS, text
        told = read_caption(meaning.caption)
        assert told.setting == setting
        assert [clause[0] for clause in told.clauses] == ["rabbit", "robot"]
        assert all((clause[1] is not None) == looks for clause in told.clauses)


def test_looks_and_setting_are_told_once():
    first, second = story(RED_FOX, reading({"fox": ("wave", "")}))
    assert first.caption == "A red fox with a blue scarf stands still in the snow."
    assert second.caption == "The fox waves a hand."


def test_nobody_leaves_who_is_not_told_to():
    _, joined, silent, waved = story(RED_FOX, CAT_COMES, reading(), reading({"cat": ("wave", "")}))
    assert on_stage(joined) == on_stage(silent) == on_stage(waved) == ["fox", "cat"]
    assert silent.caption == "The fox stands still and the cat stands still."
    assert waved.caption == "The fox stands still and the cat waves a hand."


def test_the_way_it_came_is_remembered():
    *_, left, back, other = story(
        RED_FOX,
        CAT_COMES,
        reading({"cat": ("leave", "same")}),
        reading({"cat": ("enter", "")}),
        reading({"cat": ("leave", "opposite")}),
    )
    assert left.roles[1].acts == (Act("leave", "left"),)
    assert back.roles[1].acts == (Act("return", "left"),)
    assert other.roles[1].acts == (Act("leave", "right"),)


@pytest.mark.parametrize("came, went", list(product(("left", "right"), repeat=2)))
def test_it_comes_back_from_where_it_went(came, went):
    """It came back from where it had once come from."""
    enter, leave = reading({"cat": ("enter", came)}), reading({"cat": ("leave", went)})
    *_, same = story(enter, leave, reading({"cat": ("enter", "same")}))
    *_, opposite = story(enter, leave, reading({"cat": ("enter", "opposite")}))
    assert same.roles[0].acts == (Act("return", went),) and opposite.roles[0].acts[0].side != went


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_same_side_of_somebody_new_is_that_of_the_one_before(side):
    """ "A red rabbit follows it from the same side": from the left, whatever side it had been."""
    comes, follows = reading({"cat": ("enter", side)}), reading({"rabbit": ("enter", "same")})
    _, there = story(comes, follows)
    *_, gone = story(comes, reading({"cat": ("leave", "opposite")}), follows)
    assert there.roles[1].acts[-1] == Act("enter", side)
    assert gone.roles[0].acts[0].verb == "enter" and gone.roles[0].acts[0].side != side


def test_who_comes_and_waves_does_one_after_the_other_if_there_is_time():
    _, meaning = story(RED_FOX, reading({"cat": (("enter", "right"), ("wave", ""))}, {"cat": "white"}))
    assert meaning.beats == (
        "The fox stands still and a white cat enters from the right.",
        "The fox stands still and the cat waves a hand.",
    )
    assert texts_of([meaning], [False]) == [((0, meaning.beats[0]), (2, meaning.beats[1]))]


def test_two_who_leave_do_so_in_turn():
    *_, meaning = story(RED_FOX, CAT_COMES, reading({"fox": ("leave", "left"), "cat": ("leave", "right")}))
    assert meaning.beats == ("The fox leaves to the left and the cat stands still.", "The cat leaves to the right.")


BOTH_COME = "A red fox enters from the left while a white cat comes in from the right in the snow."
FIRST_COMES = "A red fox enters from the left in the snow."
FOX_HOPS = "The fox jumps up and down and the cat stands still."
SECOND_COMES = "The fox stands still and a white cat enters from the right."


def test_two_who_come_or_go_at_once_do_so_in_turn_in_theatre_s_own_words_too():
    """Two who walk at once were never trained: one of them did not come, or did not come back."""
    both_leave = "The fox goes away to the left and the cat leaves to the right."
    coming, leaving = read_story(Told(), [BOTH_COME, both_leave], [False, False])
    assert coming.beats == (FIRST_COMES, SECOND_COMES)
    assert leaving.beats == ("The fox leaves to the left and the cat stands still.", "The cat leaves to the right.")


@pytest.mark.parametrize(
    "length, cut, told",
    [
        (4, False, [(0, FOX_HOPS)]),
        (3, False, [(0, SECOND_COMES), (1, FOX_HOPS)]),
        (2, False, [(0, SECOND_COMES), (2, FOX_HOPS)]),
        (1, False, [(0, FIRST_COMES), (1, SECOND_COMES), (2, FOX_HOPS)]),
        (3, True, [(0, "The fox hops.")]),
    ],
)
def test_who_has_not_come_yet_when_a_segment_ends_is_waited_for(length, cut, told):
    """In a segment of three chunks the second of two stopped halfway in, in one of two it never came."""
    meanings = read_story(Told(), [BOTH_COME, "The fox hops."], [False, cut])
    first, second = texts_of(meanings, [False, cut], [length, 5])
    assert first == ((0, FIRST_COMES), (2, SECOND_COMES)) and second == tuple(told)


def test_what_comes_late_is_told_in_full_and_never_makes_more_than_two_chunks_late():
    prompts = [
        BOTH_COME,
        "The fox leaves to the left and the cat leaves to the right.",
        "Nobody is there.",
        "The fox hops.",
    ]
    meanings = read_story(Told(), prompts, [False] * 4)
    told = texts_of(meanings, [False] * 4, [3] * 4)
    fox_goes, cat_goes = meanings[1].beats
    assert told[1] == ((0, SECOND_COMES), (1, fox_goes), (3, cat_goes))
    assert told[2] == ((0, cat_goes), (2, "Nobody is there.")) and told[3] == ((0, meanings[3].caption),)
    assert all(
        texts[-1][0] <= 4 for texts in texts_of(read_story(Told(), [BOTH_COME] * 9, [False] * 9), [False] * 9, [2] * 9)
    )


def test_two_who_come_in_and_nobody_says_where_from_do_so_from_both_sides():
    """Both came from the left, and stood in the same place."""
    come, leave = {"fox": ("enter", ""), "cat": ("enter", "")}, {"fox": ("leave", ""), "cat": ("leave", "")}
    meanings = story(reading(come, {"fox": "red", "cat": "white"}), reading(leave), reading(come))
    assert [[act.side for role in meaning.roles for act in role.acts] for meaning in meanings] == [
        ["left", "right"]
    ] * 3


def test_two_who_stood_there_come_back_from_the_other_sides():
    stand, leave = {"fox": ("stand", ""), "cat": ("stand", "")}, {"fox": ("leave", ""), "cat": ("leave", "")}
    back = {"fox": ("enter", "opposite"), "cat": ("enter", "opposite")}
    *_, meaning = story(reading(stand), reading(leave), reading(back))
    assert [role.acts for role in meaning.roles] == [(Act("return", "right"),), (Act("return", "left"),)]


def test_two_who_come_in_and_wave_come_one_after_the_other_and_then_wave():
    """Both came at once, of whom the model shows one."""
    [meaning] = story(reading({"fox": (("enter", "left"), ("wave", "")), "cat": (("enter", "right"), ("wave", ""))}))
    assert meaning.beats == (
        "An orange fox enters from the left in a meadow.",
        "The fox stands still and a white cat enters from the right.",
        "The fox waves a hand and the cat waves a hand.",
    )
    assert texts_of([meaning], [False]) == [tuple(zip((0, 2, 4), meaning.beats, strict=True))]


def test_who_stands_where_another_comes_in_steps_aside():
    *_, meaning = story(
        reading({"fox": ("enter", "left")}, {"fox": "red"}, setting="snow"),
        reading({"cat": ("enter", "left")}, {"cat": "white"}),
    )
    assert meaning.beats == (
        "The fox walks to the right.",
        "The fox stands still and a white cat enters from the left.",
    )
    assert meaning.in_words() == "red fox walks to the right; white cat comes in from the left; in the snow"


def test_who_has_left_does_nothing_more_in_the_same_prompt():
    _, meaning = story(RED_FOX, reading({"fox": (("leave", "left"), ("jump", ""))}))
    assert meaning.roles[0].acts == (Act("leave", "left"),)
    _, meaning = story(RED_FOX, reading({"fox": (("leave", "left"), ("enter", "right"))}))
    assert [act.verb for act in meaning.roles[0].acts] == ["leave", "return"]


def test_a_walk_without_a_side_goes_where_there_is_room():
    *_, first, second = story(CAT_COMES, reading({"cat": ("walk", "")}), reading({"cat": ("walk", "")}))
    assert [role.acts for role in (*first.roles, *second.roles)] == [(Act("walk", "right"),), (Act("walk", "right"),)]


def test_a_colour_tells_who_is_meant():
    both = {"fox": ("jump", ""), "cat": ("jump", "")}
    *_, meaning = story(RED_FOX, CAT_COMES, reading(both, {"fox": "white", "cat": "white"}))
    assert [(role.colour, role.acts[0].verb) for role in meaning.roles] == [("red", "stand"), ("white", "jump")]


def test_a_side_may_be_told_in_a_second_sentence():
    _, meaning = story(RED_FOX, reading({"cat": (("enter", ""), ("enter", "right"))}, {"cat": "white"}))
    assert meaning.roles[1].acts == (Act("enter", "right"),)


def test_two_do_not_open_a_scene_walking():
    [meaning] = story(reading({"fox": ("walk", ""), "cat": ("walk", "")}, {"fox": "red", "cat": "white"}))
    assert [role.acts for role in meaning.roles] == [(Act("stand"),)] * 2


def test_an_empty_stage_is_left_by_all():
    _, meaning, after = story(RED_FOX, reading(empty=True), reading(empty=True))
    assert meaning.roles[0].acts == (Act("leave", "left"),) and on_stage(after) == []
    assert after.caption == "The snowy field is empty."


def test_a_stage_on_which_somebody_is_told_to_be_is_not_empty():
    """ "Nobody else is there, just the two of them": both left."""
    stands = {"fox": ("stand", "")}
    _, _, two = story(RED_FOX, CAT_COMES, reading(stands | {"cat": ("idle", "")}, empty=True))
    assert on_stage(two) == ["fox", "cat"]
    _, _, one = story(RED_FOX, CAT_COMES, reading(stands | {"cat": ("absent", "")}, empty=True))
    assert on_stage(one) == ["fox"]
    nobody_else = Told(RED_FOX, reading(empty=True))
    _, meaning = read_story(nobody_else, ["Something went away here.", "Nobody else is told."], [False, False])
    assert on_stage(meaning) == ["fox"]


def test_after_a_cut_those_are_there_who_are_told_of():
    _, _, meaning = story(RED_FOX, CAT_COMES, reading({"cat": ("jump", "")}, setting="beach"), cuts=[2])
    assert on_stage(meaning) == ["cat"] and meaning.setting == "beach"
    _, _, meaning = story(RED_FOX, CAT_COMES, reading(setting="beach"), cuts=[2])
    assert on_stage(meaning) == []
    _, _, meaning = story(RED_FOX, CAT_COMES, reading(), cuts=[2])
    assert on_stage(meaning) == ["fox", "cat"]


def test_who_is_not_there_comes_before_it_acts():
    _, gone, meaning = story(RED_FOX, reading({"fox": ("leave", "right")}), reading({"fox": ("jump", "")}))
    assert on_stage(gone) == []
    assert [act.verb for act in meaning.roles[0].acts] == ["return", "jump"]


def test_a_third_puppet_takes_the_place_of_the_one_least_spoken_of():
    *_, meaning = story(RED_FOX, CAT_COMES, reading({"bear": ("enter", "right")}, {"bear": "green"}))
    assert sorted(on_stage(meaning)) == ["bear", "cat"]
    assert any("two puppets at once" in note for note in meaning.notes)
    assert all(read_caption(text) is not None for text in (meaning.caption, *meaning.beats))


def test_hats_have_four_colours_and_what_becomes_of_others_is_noted():
    [meaning] = story(reading({"bear": ("idle", "")}, {"bear": "red"}, {"bear": ("hat", "green")}))
    assert meaning.roles[0].worn == ("hat", "blue") and meaning.notes == (
        "theatre has no green hat; it takes a blue one",
    )


def test_a_name_stands_for_who_was_introduced_by_it():
    seen = []

    class Listening(Told):
        def read(self, words, known, setting):
            seen.append([word.known_as for word in words])
            return super().read(words, known, setting)

    reader = Listening(reading({"fox": ("idle", "")}, names={"rosie": "fox"}), reading({"fox": ("wave", "")}))
    read_story(reader, ["Something is Rosie.", "Rosie is told."], [False, False])
    assert seen[1] == ["fox", "is", "told"]


def test_a_meaning_in_words():
    _, meaning = story(RED_FOX, reading({"cat": (("enter", "right"), ("wave", ""))}, {"cat": "white"}))
    assert (
        meaning.in_words()
        == "red fox with a blue scarf stands; white cat comes in from the right, then waves; in the snow"
    )


def test_sentences_are_told_apart():
    assert sentences("Mr. Fluff waits… Then it’s gone—really?No. “Hello!” he says") == [
        "Mr Fluff waits.", "Then it's gone,really?", 'No.', '"Hello!', "he says",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written, known",
    [
        ("rabit", "rabbit"),
        ("jumsp", "jumps"),
        ("fxo", "fox"),
        ("foxes", "fox"),
        ("strollin", "strolling"),
        ("snowfield", "snow field"),
        ("Xyzzy", "xyzzy"),
        ("jmps", "jumps"),
        ("foxx", "fox"),
        ("sno", "sno"),
        ("fild", "field"),
        ("for Fild", "for fild"),
    ],
)
def test_spelling_is_mended_towards_words_of_the_grammar(written, known):
    words = ("rabbit", "jumps", "fox", "strolling", "snow", "field", "for", "rest")
    assert " ".join(word.known_as for word in Vocabulary(words, words, words).read(written)) == known


def test_a_capital_within_a_sentence_is_a_name_s():
    vocabulary = Vocabulary(("snow", "field", "told"), ("snow", "field", "told"))
    known = [[word.known_as for word in vocabulary.read(text)] for text in ("told, Snowfield", "the Snowfield")]
    assert known[0][-1] == "snowfield" and known[1][-2:] == ["snow", "field"]


def test_stories_of_any_length_keep_their_state_small():
    stage = Stage(Told(*[reading({"fox": ("wave", "")})] * 300))
    texts = {stage.read("Something went away here.").caption for _ in range(300)}
    assert len(texts) == 2  # the first tells the looks


# Characters with pictures


def captions_of(prompts, pictured, *readings):
    return [meaning.caption for meaning in read_story(Told(*readings), prompts, [False] * len(prompts), pictured)]


def test_with_a_picture_nothing_is_chosen():
    """A fox whose picture showed a blue one came in orange: what a story never says was chosen, picture or not."""
    prompts = ["A fox enters from the left in a meadow.", "The fox jumps."]
    assert captions_of(prompts, ["a fox"]) == ["The fox comes back from the left in a meadow.", "The fox jumps."]
    unpictured = Told(reading({"fox": ("enter", "left")}, setting="meadow"))
    assert "orange" in read_story(unpictured, ["Something went away here."], [False])[0].caption


def test_with_a_picture_no_colour_of_a_hat_is_chosen():
    """A description with a hat of no colour made it a blue one, whatever the picture showed."""
    met = reading({"fox": ("idle", "")}, worn={"fox": ("hat", None)})
    assert captions_of(["The fox jumps."], ["somebody in a hat"], met) == ["The fox jumps."]
    again = reading({"fox": ("jump", "")}, worn={"fox": ("hat", "red")})
    assert "with a red hat" in captions_of(["Something went away here."], ["somebody in a hat"], met, again)[0]


def test_a_story_may_open_on_who_has_a_picture():
    assert captions_of(["In the snow, a fox waits."], ["a fox"]) == ["The fox stands still in the snow."]
    read = captions_of(["Something went away here."], ["a fox"], reading({"fox": ("idle", "")}, setting="snow"))
    assert read == ["The fox stands still in the snow."]


def test_what_is_said_of_who_has_a_picture_is_said():
    """In full as it is written; a colour alone would say that nothing is worn, which the picture knows better."""
    full = "A red fox with a blue scarf enters from the left in a meadow."
    assert captions_of([full], ["a red fox with a blue scarf"]) == [full]
    assert captions_of(["A red fox enters from the left."], ["a red fox"]) == [
        "The fox comes back from the left in a meadow."
    ]
    changed = reading({"fox": ("stand", "")}, worn={"fox": ("hat", "red")})
    lines = captions_of(["The fox waits in the snow.", "Something went away here."], ["a fox"], changed)
    assert lines[1] == "The fox with a red hat stands still."


def test_others_are_told_as_ever():
    lines = captions_of(["A fox enters from the left and a white cat enters from the right in the snow."], ["a fox"])
    assert "white cat" in lines[0] and "orange" not in lines[0]


@pytest.mark.parametrize(
    ("description", "caption"),
    [
        ("a fox", "The fox stands still."),
        ("a red fox with a blue scarf", "A red fox with a blue scarf stands still."),
        ("A red fox in the snow.", "The fox stands still in the snow."),
    ],
)
def test_a_picture_is_committed_under_a_caption_of_training(description, caption):
    told = reading({"fox": ("stand", "")}, {"fox": "red"}, setting="snow")
    assert picture_caption(Told(told), description) == caption
    assert read_caption(caption) is not None


def test_a_place_s_picture_shows_it_empty():
    assert picture_caption(Told(reading(setting="forest")), "a dark wood") == "The forest is empty."
    assert picture_caption(Told(reading()), "a hall of mirrors") == "a hall of mirrors"
