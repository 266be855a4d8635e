"""Who, not only when: given pictures, named memory, and whom a prompt calls. No backbone takes part."""

import pytest
import torch

from memflow_cli.errors import UsageError
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.archive import Archive
from memflow_cli.memory.cast import NOBODY, Cast, Casting
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import MAKERS, make_policy
from memflow_cli.memory.scores import SCORES
from test_memory import HEADS, LAYERS, NO_WORDS, SIZE, TOKENS, empty_cache, random_prompt, random_state, show
from tiny_model import tiny_entry

SCORES_OF_FIVE = torch.tensor([0.5, 0.9, 0.1, 0.8, 0.7])


def cast_of(*shown, given=()):
    """Frames 0, 1, 2, ... that show these; `given`: those of them that are pictures."""
    cast = Cast()
    for frame, names in enumerate(shown):
        if frame in given:
            cast.give(frame, names)
        else:
            cast.show(frame, names.split())
    return cast


def bank(cast, casting, count=3, scores=SCORES_OF_FIVE):
    return cast.choose(range(len(scores)), scores, casting, count)


def test_without_names_the_best_scores_fill_the_bank():
    cast = cast_of("fox", "cat", "", "fox", "cat")
    assert bank(cast, NOBODY) == [1, 3, 4]


def test_who_is_called_has_a_place_before_the_rest_is_filled_by_score():
    cast = cast_of("", "", "fox", "", "")
    assert bank(cast, Casting(names=("fox",))) == [1, 2, 3]
    assert bank(cast, Casting(names=("fox",)), count=1) == [2]


def test_a_frame_that_shows_both_serves_both():
    """Each of the two who were called got a frame of its own, and pushed out the frames that showed them together."""
    cast = cast_of("fox cat", "fox", "fox cat", "cat", "")
    assert bank(cast, Casting(names=("fox", "cat")), count=1) == [0], "of those that show both, the best"
    assert bank(cast, Casting(names=("fox", "cat")), count=3) == [0, 1, 3], "then by score"


def test_a_frame_that_is_out_of_date_for_one_is_the_only_memory_of_another():
    """It was withheld from a segment that called both: places of the bank stayed empty, and one was not remembered at all."""
    cast = cast_of("fox robot", "fox robot", "fox", "", "")
    cast.forget("fox")
    cast.show(3, ["fox"])
    both = Casting(names=("fox", "robot"))
    assert bank(cast, both) == [1, 3, 4], "of those that show the robot the best, and the new fox"
    assert bank(cast, Casting(names=("fox",))) == [3, 4]
    cast.show(4, ["robot"])
    assert bank(cast, both) == [3, 4], "another frame shows the robot, and without the old fox"


def test_a_segment_s_own_frames_are_not_trusted_to_show_all_whom_it_names():
    """One of two had come back already: that frame stood for both, and nothing in the bank showed the one yet to come."""
    cast = cast_of("fox", "fox cat", "cat", "fox cat", "")
    cast.begin_segment(3)
    assert bank(cast, Casting(names=("fox", "cat")), count=1) == [1]
    cast = cast_of("fox", "fox", "cat", "fox cat", "fox cat")
    cast.begin_segment(3)
    assert bank(cast, Casting(names=("fox", "cat")), count=2) == [1, 2]


def test_two_who_never_met_are_both_in_the_bank():
    cast = cast_of("cat", "fox", "cat", "fox", "fox")
    assert bank(cast, Casting(names=("fox", "cat")), count=2) == [0, 1]


def test_more_are_called_than_the_bank_holds():
    cast = cast_of("a", "b", "c d", "e", "f")
    assert bank(cast, Casting(names=tuple("abcdef")), count=3) == [1, 2, 3], "most of them, then the best"


def test_recall_decides_whatever_the_prompt_names():
    cast = cast_of("fox", "cat", "fox", "cat", "cat")
    assert bank(cast, Casting(names=("cat",), recall=("fox",)), count=1) == [0]
    assert Casting(names=("cat",), recall=()).wants_nothing


def test_a_given_picture_is_recalled_for_whoever_calls_its_name_and_for_nobody_else():
    cast = cast_of("fox", "fox", "", "cat", "cat", given=(0,))
    assert bank(cast, NOBODY, count=5) == [1, 2, 3, 4]
    assert bank(cast, Casting(names=("cat",)), count=5) == [1, 2, 3, 4]
    assert bank(cast, Casting(names=("fox",)), count=2) == [0, 1], "beside what the film has shown of it"


def test_what_is_out_of_date_serves_only_others():
    cast = cast_of("fox", "fox cat", "cat", "", "")
    cast.forget("fox")
    assert bank(cast, NOBODY, count=5) == [2, 3, 4]
    assert bank(cast, Casting(names=("fox",)), count=5) == [2, 3, 4]
    assert bank(cast, Casting(names=("cat",)), count=5) == [1, 2, 3, 4]
    assert bank(cast, Casting(names=("cat", "fox")), count=5) == [2, 3, 4], "an old coat must not come back with it"


def test_a_new_coat_is_the_new_truth():
    cast = cast_of("fox", "fox", "fox", "", "", given=(0,))
    cast.renew("fox", 2)
    assert bank(cast, Casting(names=("fox",)), count=5) == [2, 3, 4]
    cast.show(4, ("fox",))
    assert bank(cast, Casting(names=("fox",)), count=1) == [4], "what follows is its memory as well"


def test_the_shortlist_keeps_the_best_of_each_who_is_called():
    scores = torch.arange(20.0)
    cast = cast_of("fox", "fox", "fox", "fox", *[""] * 16)
    assert cast.shortlist(range(20), scores, NOBODY, 4, 3).tolist() == [16, 17, 18, 19]
    assert cast.shortlist(range(20), scores, Casting(names=("fox", "cat")), 4, 3).tolist() == [1, 2, 3, 16, 17, 18, 19]


# Archive


def test_no_budget_evicts_what_is_pinned():
    each = random_state(0).num_bytes + torch.zeros(1).element_size()
    archive = Archive(3 * each)
    archive.pin(-1)
    archive.pin(6)
    gone = []
    for frame in (-1, 0, 3, 6, 9, 12, 15):
        gone += archive.add(random_state(frame, seed=1), torch.zeros(1), NO_WORDS)
    kept = [item.state.frame for item in archive.prototypes]
    assert kept == [-1, 0, 6] and len(gone) == 4


def test_pictures_alone_may_exceed_the_budget():
    archive = Archive(1)
    for frame in (-1, -2, -3):
        archive.pin(frame)
        assert archive.add(random_state(frame), torch.zeros(1), NO_WORDS) == ()
    assert archive.add(random_state(3), torch.zeros(1), NO_WORDS) == () and len(archive.prototypes) == 4


# Positions


@pytest.mark.parametrize(
    ("mode", "places"), [("absolute", [-2, -1, 12]), ("relative", [3, 4, 5]), ("packed", [-2, -1, 5])]
)
def test_where_a_given_picture_is_for_attention(mode, places):
    asked = []
    shape = CacheShape(LAYERS, HEADS, SIZE, TOKENS, 3, 9, 3, memory_places=6)
    cache = KVCache(shape, lambda key, positions: asked.extend(positions) or key, mode)
    cache.load_bank([random_state(-2), random_state(-1), random_state(12)])
    assert asked == places


# Narrative memory


def memory_of(score="prompt", bank=3, **options):
    return NarrativeMemory(3, bank, SCORES[score](), **options)


def begin(memory, casting, prompt=None):
    entered = memory.enter(casting)
    memory.switch_prompt(prompt or random_prompt(1))
    return entered


def test_a_picture_is_recalled_before_the_film_has_shown_anything():
    memory, cache, prompt = memory_of(), empty_cache(), random_prompt(1)
    memory.give("fox", random_state(-1), random_prompt(2))
    memory.give("cat", random_state(-2), random_prompt(3))
    begin(memory, NOBODY)
    memory.recall(cache, prompt)
    assert cache.bank_frames[0] == [], "nobody calls"
    begin(memory, Casting(names=("fox",)))
    recall = memory.recall(cache, prompt)
    assert cache.bank_frames[0] == [-1] and memory.whose(-1) == ("fox",)
    assert recall.scores.keys() == {-1, -2}
    assert torch.equal(cache.bank_keys(1)[:, 0], random_state(-1).keys[1])


def walk_through(memory, cache, castings, chunks=5):
    """Segments of `chunks` chunks each, under prompts of their own."""
    chunk = 0
    for index, casting in enumerate(castings):
        begin(memory, casting, random_prompt(index))
        for _ in range(chunks):
            memory.recall(cache, random_prompt(index))
            show(cache, memory, chunk)
            chunk += 1


def recalled(memory, cache, casting, prompt=9):
    begin(memory, casting, random_prompt(prompt))
    memory.recall(cache, random_prompt(prompt))
    return set(cache.bank_frames[0])


FOX, CAT = Casting(names=("fox",)), Casting(names=("cat",))


def test_whoever_is_named_is_in_the_bank_whatever_the_score_says():
    """Under a prompt that is like the others' each time, the character's own frames are recalled."""
    memory, cache = memory_of(), empty_cache()
    walk_through(memory, cache, (NOBODY, FOX, CAT, NOBODY, NOBODY))
    fox, cat = set(range(15, 30, 3)), set(range(30, 45, 3))
    assert recalled(memory, cache, FOX, prompt=3) & fox
    both = recalled(memory, cache, Casting(names=("fox", "cat")), prompt=3)
    assert both & fox and both & cat and len(both) == 3
    assert recalled(memory, cache, Casting(names=("cat",), recall=())) == set()


@pytest.mark.parametrize("interval", [1, 4])
def test_remember_makes_the_segment_s_end_the_memory(interval):
    """Whatever is recorded otherwise, the last chunk of a segment that says so is."""
    memory, cache = memory_of(record_interval=interval), empty_cache()
    memory.give("fox", random_state(-1), random_prompt(2))
    changed = Casting(names=("fox",), remember=("fox",))
    walk_through(memory, cache, (NOBODY, FOX, changed))
    entered = begin(memory, NOBODY)
    assert entered.renewed == ("fox",)
    for chunk in range(15, 20):
        show(cache, memory, chunk)
    assert memory.whose(42) == ("fox",) and memory.whose(-1) == () and memory.whose(30) == ()
    assert recalled(memory, cache, FOX) & {-1, *range(15, 42)} == set()
    assert 42 in recalled(memory, cache, FOX)


def test_what_somebody_is_remembered_by_outlives_the_budget():
    each = random_state(0).num_bytes + 4 * 6
    memory, cache = memory_of(archive_bytes=4 * each), empty_cache()
    walk_through(memory, cache, (NOBODY, Casting(names=("fox",), remember=("fox",)), *[NOBODY] * 6))
    assert 27 in {item.state.frame for item in memory.archive.prototypes}
    begin(memory, Casting(forget=("fox",)))
    for chunk in range(40, 60):
        show(cache, memory, chunk, seed=chunk % 3)
    assert 27 not in recalled(memory, cache, FOX)


def test_forget_ends_a_memory_and_a_new_one_begins():
    memory, cache = memory_of(), empty_cache()
    memory.give("fox", random_state(-1), random_prompt(2))
    walk_through(memory, cache, (NOBODY, FOX))
    entered = begin(memory, Casting(names=("fox",), forget=("fox",)))
    assert entered.forgotten == ("fox",)
    for chunk in range(10, 20):
        show(cache, memory, chunk)
    assert recalled(memory, cache, FOX) <= {3, 6, 9, 12, *range(30, 60)}


def test_a_long_film_finds_who_is_called_among_many():
    """Their frames are not among the most promising by their sketches, and are compared all the same."""
    memory, cache = memory_of("published", shortlist=4), empty_cache(keep_prompt_queries=True)
    memory = NarrativeMemory(3, 3, SCORES["cross-attention"](), shortlist=4)
    begin(memory, NOBODY)
    for chunk in range(40):
        if chunk == 7:
            begin(memory, FOX)
        if chunk == 9:
            begin(memory, NOBODY)
        show(cache, memory, chunk)
    assert recalled(memory, cache, FOX) & {21, 24}


def test_a_turn_within_a_segment_remembers_nothing():
    """A prompt that tells one thing after the other changes amid its segment: what is on screen there is not its end."""
    memory, cache = memory_of(), empty_cache()
    begin(memory, Casting(names=("fox",), remember=("fox",)))
    for chunk in range(4):
        show(cache, memory, chunk)
    memory.switch_prompt(random_prompt(2))
    for chunk in range(4, 10):
        show(cache, memory, chunk)
    assert memory.whose(3) == ("fox",)
    begin(memory, NOBODY)
    assert memory.whose(3) == () and memory.whose(27) == ("fox",)


@pytest.mark.parametrize("policy", sorted(set(MAKERS) - {"nam"}))
def test_other_policies_take_no_pictures_and_know_nobody(policy):
    memory = make_policy(MemoryOptions(policy=policy), tiny_entry().geometry)
    with pytest.raises(UsageError, match="fox: this memory policy takes no pictures"):
        memory.give("fox", random_state(-1), random_prompt(1))
    assert memory.enter(Casting(names=("fox",), remember=("fox",))).renewed == () and memory.whose(0) == ()
