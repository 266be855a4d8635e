"""Ways of telling that the network alone misread: each with its siblings, read by the shipped reader in the light of a story."""

import pytest

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.language.asides import ASIDES, without_asides
from memflow_cli.models.theatre.language.plain_words import PlainWords
from memflow_cli.models.theatre.language.stage import read_story
from memflow_cli.models.theatre.language.told_story import load_reader

TWO = "A pink robot and a green bear stand on a beach."
ROBOT_GOES, BEAR_GOES = "The robot leaves to the left", "the bear leaves to the right"


WITHOUT_ASIDE = {
    "its nose is pink with cold": "",
    "can you see how pink its ears are": "can you see",
    "a bear with a pink nose": "a bear with a nose",
    "it is green with envy": "it is",
    "it feels a bit blue": "it feels a bit",
    "once in a blue moon , it jumps": "it jumps",
    "it wears red because red is its favourite colour": "it wears red",
    "it spins , but it can not see the cat anywhere": "it spins",
    "it can not wave to us": "",
    "it stands , or its hat would fly away": "it stands",
    "the fox not jump , it only stands": "the fox , it only stands",
    "it stands and did not do the same": "it stands",
    "the cat stays , but the fox does not": "the cat stays",
    "it wears a scarf , and never takes it off": "it wears a scarf",
    "they wave at one another": "they wave",
    "the bear waves after it": "the bear waves",
    "while it is away , a robot comes in": "a robot comes in",
    "good night , little rabbit": "",
    "it is lonely without them": "it is lonely",
    "it asks the way to the beach": "it asks",
    "also on its way is a bird": "also is a bird",
    "it gets off and comes in": "it comes in",
    "they are out playing": "they are playing",
    "nobody leaves": "",
    "but no bear comes": "",
    "it comes in at the right moment": "it comes in",
    "a cat as white as snow": "a cat as white",
    "a snow white cat": "a white cat",
    "seven years went by": "seven",
    "it spins and all the drops fly off": "it spins",
    "it leaves , and the forest belongs to the fox again": "it leaves",
    "a man in a red hat looks on": "a man looks on",
    "with ice cream all over its face": "all over its face",
    "they leave , the cat first": "they leave",
    "they leave , it first and she behind it": "they leave",
}


def told(*prompts, cut=False):
    """The captions of a story's last prompt, which begins a new scene if `cut`."""
    cuts = [False] * (len(prompts) - 1) + [cut]
    return read_story(load_reader(THEATRE_FOLDER / "reader"), prompts, cuts)[-1].beats


@pytest.mark.parametrize(
    "prompt",
    [
        "A red fox stands on the left and a blue cat on the right in a meadow.",
        "On the left of the meadow stands a red fox, on the right a blue cat.",
        "To the left we see a red fox, to the right a blue cat, in a meadow.",
        "A blue cat waits on the right side of a meadow, and a red fox waits at the left edge.",
        "Stage left, a red fox; stage right, a blue cat. A meadow.",
    ],
)
def test_who_stands_on_a_side_has_not_come_from_there(prompt):
    """ "Stands on the left" was read as coming in from the left."""
    assert told(prompt) == ("A red fox stands still and a blue cat stands still in a meadow.",)


@pytest.mark.parametrize(
    "prompt", ["The robot on the left jumps.", "The robot, on the left, jumps.", "Over on the left the robot jumps."]
)
def test_a_side_on_which_somebody_acts_is_no_exit(prompt):
    assert told(TWO, prompt) == ("The robot jumps up and down and the bear stands still.",)


@pytest.mark.parametrize(
    "prompt",
    ["A cat comes in on the left.", "A cat appears on the left of the picture.", "A cat stands on the left now."],
)
def test_who_comes_in_on_a_side_comes_from_there(prompt):
    assert "cat enters from the left" in told("An empty beach.", prompt)[0]


@pytest.mark.parametrize(
    "prompt",
    [
        "The bear leaves, followed by the robot.",
        "The bear goes out to the right, and then the robot leaves to the left.",
        "The robot goes away after the bear has left.",
        "After the bear has left, the robot goes away.",
        "The robot follows the bear out.",
        "First the bear leaves, then the robot does.",
        "The bear goes home. The robot goes home too.",
    ],
)
def test_of_two_who_leave_the_one_who_is_told_to_goes_first(prompt):
    """Whoever was introduced first went first, whatever the prompt said."""
    assert told(TWO, prompt) == (f"The robot stands still and {BEAR_GOES}.", f"{ROBOT_GOES}.")


@pytest.mark.parametrize("between", [". Then", ", followed by", ", and then"])
def test_of_two_newcomers_the_one_who_is_told_first_comes_first(between):
    first, second = told("An empty beach.", f"A red cat comes in from the right{between} a white rabbit from the left.")
    assert first == "A red cat enters from the right."
    assert second == "The cat stands still and a white rabbit enters from the left."


@pytest.mark.parametrize(
    "prompt",
    [
        "The robot leaves with the bear.",
        "The robot takes the bear by the hand and they leave.",
        "The two of them go home.",
    ],
)
def test_they_who_leave_are_two(prompt):
    assert told(TWO, prompt)[-2:] == (f"{ROBOT_GOES} and the bear stands still.", "The bear leaves to the right.")


@pytest.mark.parametrize(
    "prompt",
    ["The two of them wave and leave.", "They wave goodbye and then both leave.", "They both wave. Then they go away."],
)
def test_two_who_wave_and_leave_wave_first_and_go_in_turn(prompt):
    waves, robot, bear = told(TWO, prompt)
    assert waves == "The robot waves a hand and the bear waves a hand."
    assert (robot, bear) == (f"{ROBOT_GOES} and the bear stands still.", "The bear leaves to the right.")


@pytest.mark.parametrize(
    "prompt", ["They would like to go home, but they stay.", "The bear waves after it.", "They do not go home yet."]
)
def test_nobody_leaves_who_is_not_told_to(prompt):
    assert not any("leaves" in caption for caption in told(TWO, prompt))


@pytest.mark.parametrize(
    "prompt",
    [
        "The robot has to go now. It leaves to the left, and the bear waves after it.",
        "Why is the robot leaving? Because it's late, and there it goes, out to the left.",
        "Now it's the robot's turn to hide, so off it goes to the left.",
    ],
)
def test_one_who_goes_is_one(prompt):
    captions = told(TWO, prompt)
    assert any(ROBOT_GOES.lower() in caption.lower() for caption in captions)
    assert not any("bear leaves" in caption for caption in captions)


@pytest.mark.parametrize(
    ("prompt", "captions"),
    [
        ("He turns round once to show off his hat.", ("The bear spins around.",)),
        ("It wears a red hat, because red is its favourite colour.", ("A white bear with a red hat stands still.",)),
        (
            "It got a blue scarf from its grandma, and never takes it off.",
            ("A white bear with a blue scarf stands still.",),
        ),
        ("It jumps, but it can't see the cat anywhere.", ("The bear jumps up and down.",)),
        ("Good night, little bear!", ("The bear stands still.",)),
        ("It comes from the ice cream van, with orange juice.", ("The bear stands still.",)),
        ("It stops jumping and looks around.", ("The bear stands still.",)),
        ("It can't stop jumping.", ("The bear jumps up and down.",)),
        ("And jump!", ("The bear jumps up and down.",)),
        ("Remove the bear.", ("The bear leaves to the left.",)),
        ("Exeunt.", ("The bear leaves to the left.",)),
    ],
)
def test_what_is_said_in_passing_is_no_news_of_the_stage(prompt, captions):
    assert told("A white bear stands in the snow.", prompt) == captions


@pytest.mark.parametrize(
    "prompts",
    [
        ("A robot. It's got a new hat! It is blue.",),
        ("A robot stands in the forest.", "Does it have anything on its head? Yes, a blue hat."),
        ("A robot stands in the forest.", "Here is its hat. Blue, of course: a blue hat."),
    ],
)
def test_a_hat_whose_colour_is_told_afterwards_has_it(prompts):
    assert "robot with a blue hat" in " ".join(told(*prompts))


@pytest.mark.parametrize(
    "prompt",
    ["A red cat comes in. It hasn't got a hat.", "A red cat comes in, and it does not wear a scarf.", "Cat in. Red."],
)
def test_what_it_has_not_got_it_does_not_wear(prompt):
    assert "a red cat enters" in told("An empty meadow.", prompt)[0].lower()


@pytest.mark.parametrize(
    "prompt",
    [
        "A white bear comes in from the left, no, sorry, from the right.",
        "A white bear comes in from the left, I mean the right.",
    ],
)
def test_who_corrects_himself_means_the_second(prompt):
    assert told("An empty forest.", prompt) == ("A white bear enters from the right.",)


@pytest.mark.parametrize("prompt", ["Both are in the forest now.", "The two of them stand in a dark wood."])
def test_both_are_there_after_a_cut(prompt):
    (caption,) = told(TWO, prompt, cut=True)
    assert "robot" in caption and "bear" in caption


def test_the_same_is_what_was_done_in_the_same_sentence():
    assert told(TWO, "The robot jumps.", "The robot waves to a boat, and the bear does the same.") == (
        "The robot waves a hand and the bear waves a hand.",
    )


def test_he_and_she_are_told_apart_within_a_sentence():
    story = ("A red fox stands in a forest. She is happy.", "A bear comes in. He is big.")
    assert told(*story, "So the fox does a little spin for him, and now he spins as well.") == (
        "The fox spins around and the bear spins around.",
    )


def test_somebody_on_the_stage_may_tell_the_story():
    """ "I" was nobody."""
    story = ["I am a pink fox in a white hat, and I live in the desert.", "I wave.", "A green bear comes in. He jumps."]
    assert told(*story[:1]) == ("A pink fox with a white hat stands still in a desert.",)
    assert told(*story[:2]) == ("The fox waves a hand.",)
    assert told(*story, "He stops, and I spin round.") == ("The fox spins around and the bear stands still.",)
    assert told(*story, "I'm leaving now, to the left.")[0].startswith("The fox leaves to the left")


@pytest.mark.parametrize(
    "prompt",
    [
        "A cat has lost its way and stands there.",
        "Seven years went by.",
        "The cat stays where it is, and all the drops fly off.",
        "The cat is out playing.",
        "CAT says nothing, does not move a bolt.",
        "It is lonely here without them.",
        "The cat stays, but the fox does not.",
    ],
)
def test_nobody_leaves_or_comes_without_a_word_for_it(prompt):
    """ "Lost its way" was an exit, and "without them" a return."""
    assert told("A green cat stands in a meadow.", prompt) == ("The cat stands still.",)


@pytest.mark.parametrize(
    ("prompt", "setting"),
    [
        ("A pink bear lives where there is always snow.", "in the snow"),
        ("A pink bear, and the sea is so blue today!", "on a beach"),
        ("Too many trees here, says a pink bear.", "in a forest"),
    ],
)
def test_a_first_place_may_be_told_in_passing(prompt, setting):
    assert told(prompt)[0].endswith(f"{setting}.")


@pytest.mark.parametrize("prompt", ["The bear waves to the houses.", "The bear waves to the snowman and to the trees."])
def test_what_somebody_waves_to_is_not_where_it_is(prompt):
    assert told("A pink bear stands in a desert.", prompt) == ("The bear waves a hand.",)


@pytest.mark.parametrize(
    "prompt", ["Now it goes to the forest.", "Later, in the woods, it waits.", "It walks on to the forest."]
)
def test_a_story_may_go_on_somewhere_else_without_a_cut(prompt):
    assert "in a forest" in told("A pink bear stands in a desert.", prompt)[0]


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("The robot waves first, then the bear.", "The robot waves a hand and the bear waves a hand."),
        ("The left one jumps and the right one waves.", "The robot jumps up and down and the bear waves a hand."),
        ("They wave at one another.", "The robot waves a hand and the bear waves a hand."),
        ("The robot jumps. The bear tries it too.", "The robot jumps up and down and the bear jumps up and down."),
        ("He turns around, but there is no ball behind him.", "The robot stands still and the bear spins around."),
    ],
)
def test_of_two_the_right_one_acts(prompt, caption):
    assert told(TWO, prompt) == (caption,)


def test_the_one_without_a_hat_is_the_other():
    story = "A pink robot with a blue hat and a green bear stand on a beach."
    assert told(story, "The one without a hat jumps.") == ("The robot stands still and the bear jumps up and down.",)


def test_never_without_its_hat_is_with_it():
    assert told("A pink bear never goes out without its white hat, and it likes the beach.") == (
        "A pink bear with a white hat stands still on a beach.",
    )


@pytest.mark.parametrize("sentence", ASIDES)
def test_an_aside_is_left_out_and_nothing_else(sentence):
    reader = load_reader(THEATRE_FOLDER / "reader")
    words = without_asides(reader.vocabulary.read(sentence.replace(" ,", ",")), PlainWords(reader).species_of)
    assert " ".join(word.known_as for word in words) == WITHOUT_ASIDE[sentence]


@pytest.mark.parametrize(
    "prompt",
    [
        "Where is your hat, little bear?",
        "Does the bear leave? No.",
        "Who has stolen its blue hat?",
        "Should the bear go now?",
    ],
)
def test_a_question_tells_nothing(prompt):
    assert told("A white bear stands in the snow.", prompt) == ("The bear stands still.",)


def test_a_question_may_be_a_wish():
    assert told("A white bear stands in the snow.", "Could the bear jump?") == ("The bear jumps up and down.",)


@pytest.mark.parametrize(
    "prompt",
    [
        "The bear comes back, and they both jump.",
        "The bear comes back and now both are jumping.",
        "The bear returns from the right, and then the two of them hop.",
    ],
)
def test_what_they_do_after_one_has_come_both_do(prompt):
    captions = told(TWO, "The bear leaves to the right.", prompt)
    assert captions[-1] == "The robot jumps up and down and the bear jumps up and down."


def test_a_title_makes_a_name_of_any_word():
    """ "Inspector Plum, a red rabbit" was a purple one."""
    story = "Inspector Plum, a red rabbit, stands in a forest.", "Plum jumps."
    assert "A red rabbit" in told(*story[:1])[0]
    assert told(*story) == ("The rabbit jumps up and down.",)


def test_a_table_is_read_line_by_line():
    (caption,) = told(TWO, "Shot 5 / Robot: wave / Bear: no change")
    assert caption == "The robot waves a hand and the bear stands still."


@pytest.mark.parametrize(
    "prompt", ["A little later it is back.", "Where is the bear? Ah, there it comes.", "And look, there he comes!"]
)
def test_who_is_back_is_the_one_who_was_away(prompt):
    assert "the bear comes back" in told(TWO, "The bear leaves to the right.", prompt)[-1]


@pytest.mark.parametrize(
    "prompt", ["The robot and the bear whirl around together.", "Robot and bear turn around, side by side."]
)
def test_what_two_do_together_both_do(prompt):
    assert told(TWO, prompt) == ("The robot spins around and the bear spins around.",)


@pytest.mark.parametrize("prompt", ["The bear listens to the leaves.", "Leaves on the ground."])
def test_leaves_may_be_things(prompt):
    assert told("A white bear stands in a forest.", prompt) == ("The bear stands still.",)


FOX_AND_CAT = "A red fox and a blue cat stand in a meadow."
BOTH_STAND = ("The fox stands still and the cat stands still.",)


@pytest.mark.parametrize(
    "prompt",
    [
        "The fox finds a bird's nest.",
        "The fox finds a metal box.",
        "The cat meets a rat.",
        "Should they leave?",
        "They fall asleep.",
        "Nobody leaves.",
        "Nobody waves.",
        "The cat does not see him.",
        "The cat is no longer sad.",
        "The cat looks away.",
        "The fox leaves footprints.",
        "Its hat flies away.",
        "No rabbit comes in.",
        "Where is the cat?!",
    ],
)
def test_everybody_stays_who_does_nothing(prompt):
    assert told(FOX_AND_CAT, prompt) == BOTH_STAND


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("The animal on the right jumps.", "The fox stands still and the cat jumps up and down."),
        ("The puppet on the left spins.", "The fox spins around and the cat stands still."),
        ("The cat waves to the left.", "The fox stands still and the cat waves a hand."),
        ("They raise both left paws.", "The fox waves a hand and the cat waves a hand."),
        ("The cat leaves with the fox's hat.", "The fox stands still and the cat leaves to the right."),
        ("One of them leaves.", "The fox leaves to the left and the cat stands still."),
        ("The cat jumps. The fox does too.", "The fox jumps up and down and the cat jumps up and down."),
        ("The cat jumps. The fox, too.", "The fox jumps up and down and the cat jumps up and down."),
        ("The fox becomes green.", "A green fox stands still and the cat stands still."),
    ],
)
def test_each_of_two_does_what_is_said_of_it(prompt, caption):
    assert told(FOX_AND_CAT, prompt) == (caption,)


def test_who_leaves_and_comes_back_in_one_prompt_does_both():
    leaves, returns = told(FOX_AND_CAT, "The cat leaves. After a while it comes back.")
    assert "the cat leaves" in leaves and "the cat comes back" in returns


def test_who_comes_where_another_stands_still_does_what_else_it_is_told():
    """The wave was lost when the other had to step aside first."""
    story = "A fox is in a meadow.", "It walks to the left.", "A cat comes in from the left and waves."
    aside, comes, waves = told(*story)
    assert "fox walks to the right" in aside and "cat enters from the left" in comes and "cat waves a hand" in waves


def test_of_three_who_open_a_scene_the_third_is_left_out():
    """It was shown leaving, and one of the others not at all."""
    assert told("A bear, a rabbit and a robot stand in a meadow.") == (
        "A purple bear stands still and a white rabbit stands still in a meadow.",
    )


@pytest.mark.parametrize(
    ("prompt", "looks"),
    [
        ("A fox and a cat with red scarves stand in the snow.", ("fox with a red scarf", "cat with a red scarf")),
        ("A fox in a hat that is blue stands there.", ("fox with a blue hat",)),
        ("A green fox whose scarf is red stands there.", ("green fox with a red scarf",)),
        ("A cat as white as snow stands in a meadow.", ("white cat stands still in a meadow",)),
        ("Three birds sing.", ("bird stands still",)),
    ],
)
def test_looks_of_whoever_opens_a_story(prompt, looks):
    assert all(each in told(prompt)[0] for each in looks)


def test_she_who_meets_him_is_known_to_be_she():
    story = "A cat in a yellow hat walks along.", "She meets a robot.", "She waves, he waves.", "He leaves."
    assert told(*story[:3]) == ("The cat waves a hand and the robot waves a hand.",)
    assert told(*story) == ("The cat stands still and the robot leaves to the left.",)


def test_who_says_i_am_in_quotes_is_not_who_tells_the_story():
    assert told("A fox is in a meadow.", '"I am a bear," says the fox.') == ("The fox stands still.",)


def test_a_word_near_to_two_species_names_neither():
    """The reading depended on the order of a set."""
    words = PlainWords(load_reader(THEATRE_FOLDER / "reader"))
    assert words.first_mentions(load_reader(THEATRE_FOLDER / "reader").vocabulary.read("the animal")) == {}
