"""The memory policies: what is archived, recalled and activated. No backbone takes part."""

import tempfile

import pytest
import torch

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.archive import Archive
from memflow_cli.memory.cast import Casting, NewScene
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.memory.official import published_score
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory.scores import SCORES, CombinedScore
from tiny_model import tiny_entry

LAYERS, TOKENS, HEADS, SIZE, WORDS = 2, 3, 2, 4, 5
NO_WORDS = torch.zeros(0, 6)


def random_state(frame, seed=None):
    generator = torch.Generator().manual_seed(frame if seed is None else seed)
    shape = (LAYERS, 1, TOKENS, HEADS, SIZE)
    return FrameState(frame, *(torch.randn(shape, generator=generator) for _ in range(3)))


def random_prompt(seed, real=WORDS):
    generator = torch.Generator().manual_seed(1000 + seed)
    embeds = torch.randn(1, WORDS, 6, generator=generator)
    embeds[:, real:] = 0
    keys = tuple(torch.randn(1, WORDS, HEADS, SIZE, generator=generator) for _ in range(LAYERS))
    return PromptProjection(keys, keys, embeds.abs().amax(-1) > 0, embeds)


def empty_cache(sink=3, window=9, bank=3, **options):
    shape = CacheShape(LAYERS, HEADS, SIZE, TOKENS, sink, window, bank, memory_places=sink + bank)
    return KVCache(shape, rotate=lambda key, positions: key, **options)


@pytest.mark.parametrize("hidden", [[-1], [7], [-1, 7]])
def test_a_hidden_frame_of_the_bank_is_not_read(hidden):
    """The others stay in their places, and the next pass reads all again."""

    def read(frames, hidden=()):
        cache = empty_cache()
        cache.load_bank([random_state(frame, 100 + frame) for frame in (-1, 7, 9)])
        key = random_state(0).keys[0].unsqueeze(1)
        for without in (hidden, ()):
            cache.begin(range(3), keep=False, hidden=without)
            yield cache.gather(
                0, key.expand(-1, 3, -1, -1, -1), key.expand(-1, 3, -1, -1, -1), key.expand(-1, 3, -1, -1, -1)
            )

    (some, _), (every, _) = read(range(3), hidden)
    bank = {frame: random_state(frame, 100 + frame).keys[0] for frame in (-1, 7, 9)}
    read_by_some = {
        frame for frame, keys in bank.items() if any(torch.equal(part, keys) for part in some.split(TOKENS, dim=1))
    }
    assert read_by_some == {-1, 7, 9} - {*hidden} and every.shape[1] == some.shape[1] + len(hidden) * TOKENS


def show(cache, memory, chunk, seed=None):
    """Walk one chunk through cache and memory, as the loop does, with random keys in place of a backbone's."""
    frames = range(3 * chunk, 3 * chunk + 3)
    remembered = memory.leave(cache, cache.leaving(frames))
    cache.begin(frames)
    generator = torch.Generator().manual_seed(chunk if seed is None else seed)
    for layer in range(LAYERS):
        key = torch.randn(1, 3, TOKENS, HEADS, SIZE, generator=generator)
        cache.gather(layer, key, key, 2 * key)
        cache.observe(layer, key)
    cache.commit()
    memory.committed(cache, chunk, frames.start)
    return remembered


@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_frames_kept_in_the_bank_are_rotated_to_where_they_are_now(positions):
    def turn(key, places):
        return key + torch.tensor(places, dtype=key.dtype).view(-1, 1, 1, 1)

    shape = CacheShape(LAYERS, HEADS, SIZE, TOKENS, 3, 9, 3, memory_places=6)
    kept, filled = (KVCache(shape, turn, positions) for _ in range(2))
    states = [random_state(frame) for frame in (4, 7, 10)]
    for index, state in enumerate(states):
        kept.write_bank(1, index, state)
    kept.keep_in_bank(1, [2, 0])
    for index, state in enumerate((states[2], states[0])):
        filled.write_bank(1, index, state)
    assert kept.bank_frames[1] == [10, 4]
    assert torch.equal(kept.bank_keys(1), filled.bank_keys(1))
    kept.keep_in_bank(1, [])
    assert kept.bank_frames[1] == []


# Scores


def ranks_of(score, features, prompt, made_under=None):
    """What a prompt makes of frames that were made under these prompts, one each; unless told, under this very one."""
    matches = score.match(features, prompt)
    agreed = torch.stack([score.agree(each.words, prompt) for each in made_under or [prompt] * len(matches)])
    return score.rank(matches * agreed, score.weigh(matches))


@pytest.mark.parametrize("name", SCORES)
def test_padding_never_votes(name):
    """Whatever stands in a prompt's padding rows, the scores are the same."""
    score = SCORES[name]()
    prompt = random_prompt(1, real=3)
    dirty = PromptProjection(
        tuple(torch.cat([key[:, :3], 100 * torch.ones_like(key[:, 3:])], dim=1) for key in prompt.keys),
        prompt.values,
        prompt.mask,
        prompt.embeds + 100 * ~prompt.mask.unsqueeze(-1),
    )
    others = [random_prompt(frame) for frame in range(4)]
    features = torch.stack([score.features(random_state(frame), other) for frame, other in enumerate(others)])
    assert torch.equal(ranks_of(score, features, prompt, others), ranks_of(score, features, dirty, others))


@pytest.mark.parametrize("name", SCORES)
def test_scores_do_not_depend_on_the_archive_s_order(name):
    score = SCORES[name]()
    others = [random_prompt(frame) for frame in range(5)]
    features = torch.stack([score.features(random_state(frame), other) for frame, other in enumerate(others)])
    order = [3, 0, 4, 1, 2]
    prompt = random_prompt(9)
    ranks = ranks_of(score, features, prompt, others)
    assert ranks.unique().numel() == 5, "random prototypes are told apart"
    shuffled = ranks_of(score, features[order], prompt, [others[index] for index in order])
    torch.testing.assert_close(ranks[order], shuffled)


def test_prompt_score_finds_the_frame_made_under_the_same_prompt():
    score = SCORES["prompt"]()
    features = torch.stack([score.features(random_state(frame), random_prompt(frame)) for frame in range(6)])
    ranks = ranks_of(score, features, random_prompt(4))
    assert ranks.argmax().item() == 4
    assert ranks.max().item() == pytest.approx(1, abs=1e-5)


def test_attention_mass_is_a_distribution():
    score = SCORES["attention"]()
    features = torch.stack([score.features(random_state(frame), random_prompt(frame)) for frame in range(6)])
    assert ranks_of(score, features, random_prompt(1)).sum().item() == pytest.approx(1, abs=1e-5)


def test_cross_attention_score_finds_the_frame_that_asks_for_the_prompt():
    prompt = random_prompt(1)
    score = SCORES["cross-attention"]()
    states = [random_state(frame) for frame in range(5)]
    asking = torch.stack([key[0, :TOKENS] for key in prompt.keys]).unsqueeze(1)
    states[2] = FrameState(2, states[2].keys, states[2].values, 5 * asking)
    features = torch.stack([score.features(state, prompt) for state in states])
    assert ranks_of(score, features, prompt).argmax().item() == 2


def test_combined_score_finds_the_frame_that_shows_who_is_named():
    """Words 0 and 1 are names; 2: comes, 3: leaves. What is on stage might be either; each has prompts of its own."""
    score = SCORES["combined"]()
    segments = [words_prompt(words) for words in ([0, 2], [1, 2], [0, 3], [1, 3])]
    onstage, offstage = showing(3, [0, 1]), showing(6, [])
    features = torch.stack([score.features(state, segments[0]) for state in (onstage, offstage) for _ in segments])
    for name in (0, 1):
        ranks = ranks_of(score, features, words_prompt([name, 2]), 2 * segments)
        assert ranks.argmax().item() == name, "in view, and named"
        assert ranks[name] > ranks[1 - name] and ranks[name + 2] > ranks[3 - name], "in view, and the other one"
        assert ranks[name] > ranks[4 + name], "named, and not in view"


def test_words_that_tell_frames_apart_decide():
    """Two words: all frames answer the first alike, with more or less noise; only one answers the second."""
    score = SCORES["cross-attention"]()
    matches = torch.tensor([[0.80, 0.10], [0.78, 0.10], [0.75, 0.20], [0.81, 0.10]])
    assert matches.mean(dim=1).argmax().item() == 2
    louder = torch.tensor([[0.80, 0.10], [0.78, 0.10], [0.50, 0.35], [0.80, 0.10], [0.80, 0.12], [0.79, 0.1]])
    weights = score.weigh(matches)
    assert weights[1] > weights[0]
    assert score.rank(louder, weights).argmax().item() == 2
    assert louder.mean(dim=1).argmax().item() != 2


def test_published_score_is_the_mean_over_everything():
    """Against the formula written out, padding included."""
    prompt, bank = torch.randn(1, WORDS, HEADS, SIZE), torch.randn(1, 4, TOKENS, HEADS, SIZE)
    products = torch.einsum("bthd,bsnhd->bsthn", prompt, bank) / SIZE**0.5
    torch.testing.assert_close(published_score(prompt, bank), products.mean(dim=(2, 3, 4))[0])


# Archive


def test_archive_keeps_what_is_rare():
    """Of two alike neighbours the later goes first; the one unlike all others stays."""
    each = random_state(0).num_bytes + torch.zeros(1).element_size()
    archive = Archive(3 * each)
    gone = []
    for frame, look in ((0, 1), (3, 1), (6, 2), (9, 1), (12, 1)):
        gone += archive.add(random_state(frame, seed=look), torch.zeros(1), NO_WORDS)
    assert gone == [3, 12]
    assert [item.state.frame for item in archive.prototypes] == [0, 6, 9]


def test_archive_within_its_budget_forgets_nothing():
    archive = Archive(2**30)
    for frame in range(50):
        assert archive.add(random_state(frame), torch.zeros(1), NO_WORDS) == ()
    assert len(archive.prototypes) == 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("parts", [2, 3])
def test_archive_in_a_file_gives_back_what_it_took(tmp_path, dtype, parts):
    """Bit for bit, also where a forgotten state's place was used again; and the file is gone with its process."""

    def state(frame):
        whole = random_state(frame)
        return FrameState(frame, *(part.to(dtype) for part in (whole.keys, whole.values, whole.prompt_queries)[:parts]))

    room = 5 * (state(0).num_bytes + 4)
    in_file, in_memory = Archive(room, tmp_path), Archive(room)
    for frame in range(20):
        mine, theirs = state(frame), state(frame)
        shared = frame % 2  # features that are a view of the state, and others
        features = [each.values[:, 0] if shared else torch.zeros(1) for each in (mine, theirs)]
        assert in_file.add(mine, features[0], NO_WORDS) == in_memory.add(theirs, features[1], NO_WORDS)
    for stored, kept in zip(in_file.prototypes, in_memory.prototypes, strict=True):
        assert torch.equal(stored.features, kept.features)
        read, expected = stored.state.load(), kept.state.load()
        assert read.frame == expected.frame
        assert torch.equal(read.keys, expected.keys) and torch.equal(read.values, expected.values)
        assert (read.prompt_queries is None) == (parts == 2)
        assert parts == 2 or torch.equal(read.prompt_queries, expected.prompt_queries)
    assert not list(tmp_path.iterdir())


# Narrative memory


def test_early_frame_is_recalled_by_its_prompt_at_any_distance():
    """A prompt seen once, long ago, brings its frames back; what lies between does not."""
    memory = NarrativeMemory(3, 3, SCORES["prompt"]())
    cache = empty_cache()
    fox, meadow = random_prompt(1), random_prompt(2)
    for chunk in range(60):
        if chunk in (0, 4, 8):
            memory.switch_prompt(fox if chunk == 4 else meadow)
        show(cache, memory, chunk)
    memory.switch_prompt(fox)
    recall = memory.recall(cache, fox)
    assert len(recall.scores) == 56, "chunks 1 to 56 have left the window; the sink's own chunk is not archived"
    assert len(cache.bank_frames[0]) == 3
    assert set(cache.bank_frames[0]) <= {12, 15, 18, 21}, "chunks 4 to 7 were made under the fox's prompt"
    assert all(bank == cache.bank_frames[0] for bank in cache.bank_frames)


def test_in_a_scene_apart_nothing_from_before_its_cut_is_seen():
    """Who was new after a cut wore what somebody else had worn: the film's first frames and the bank showed it."""
    memory, cache, prompt = NarrativeMemory(3, 3, SCORES["published"]()), empty_cache(), random_prompt(1)
    memory.switch_prompt(prompt)
    for chunk in range(8):
        show(cache, memory, chunk)
    memory.recall(cache, prompt)
    assert cache.bank_frames[0] and cache.sink_frames == (0, 1, 2)
    memory.enter(NewScene())
    memory.cut(cache, 24)
    memory.switch_prompt(random_prompt(2))
    memory.recall(cache, prompt)
    assert not cache.bank_frames[0] and not cache.sink_frames and not cache.window_frames
    for chunk in range(8, 14):
        show(cache, memory, chunk)
    memory.recall(cache, prompt)
    assert cache.bank_frames[0] and min(cache.bank_frames[0]) >= 24, "the scene's own frames are recalled"
    memory.enter(Casting())
    memory.switch_prompt(random_prompt(1))
    memory.recall(cache, random_prompt(1))
    assert min(cache.bank_frames[0]) < 24, "somebody from before is back"


def test_in_a_scene_apart_a_picture_of_who_is_called_is_seen():
    memory, cache, prompt = NarrativeMemory(3, 3, SCORES["published"]()), empty_cache(), random_prompt(1)
    memory.switch_prompt(prompt)
    memory.give("castle", random_state(-1), prompt)
    for chunk in range(8):
        show(cache, memory, chunk)
    memory.enter(NewScene(names=("castle", "fox")))
    memory.cut(cache, 24)
    memory.switch_prompt(random_prompt(2))
    memory.recall(cache, prompt)
    assert cache.bank_frames[0] == [-1], "and nothing else from before"


def test_bank_holds_distinct_frames_outside_sink_and_window():
    memory = NarrativeMemory(3, 3, SCORES["published"]())
    cache = empty_cache()
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    for chunk in range(20):
        memory.leave(cache, cache.leaving(range(3 * chunk, 3 * chunk + 3)))
        memory.recall(cache, prompt)
        bank = cache.bank_frames[0]
        assert len(set(bank)) == len(bank) == min(3, max(0, chunk - 3)) and bank == sorted(bank)
        assert not {*bank} & {*cache.sink_frames, *cache.window_before(range(3 * chunk, 3 * chunk + 3))}
        show(cache, memory, chunk)


def test_recalled_frame_is_what_was_committed():
    """Keys and values come back bit by bit, though their slot in the window was overwritten long ago."""
    memory = NarrativeMemory(3, 3, SCORES["prompt"]())
    cache = empty_cache()
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    committed = {}
    for chunk in range(12):
        show(cache, memory, chunk)
        committed[3 * chunk] = cache.read(3 * chunk)
    memory.recall(cache, prompt)
    assert len(cache.bank_frames[0]) == 3
    for layer in range(LAYERS):
        for frame, keys in zip(cache.bank_frames[layer], cache.bank_keys(layer).unbind(1), strict=True):
            assert torch.equal(keys, committed[frame].keys[layer])


def test_nothing_is_retrieved_anew_while_nothing_changed():
    memory = NarrativeMemory(3, 3, SCORES["prompt"]())
    cache = empty_cache()
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    for chunk in range(8):
        show(cache, memory, chunk)
    assert memory.recall(cache, prompt).scores
    cache.load_bank([])
    assert memory.recall(cache, prompt).scores == {} and not cache.bank_frames[0]
    show(cache, memory, 8)
    assert memory.recall(cache, prompt).scores and cache.bank_frames[0]


def test_a_full_disk_says_that_remembered_frames_do_not_fit(monkeypatch, tmp_path):
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
        archive = Archive(1 << 20, tmp_path)
        with pytest.raises(
            MemflowError, match=f"cannot keep remembered frames in {tmp_path}: No space left"
        ) as stopped:
            archive.add(random_state(3), torch.zeros(1), NO_WORDS)
    assert "same command goes on" in str(stopped.value.hint)


def test_without_a_bank_nothing_is_archived():
    memory, cache = NarrativeMemory(3, 0, SCORES["prompt"]()), empty_cache(bank=0)
    memory.switch_prompt(random_prompt(1))
    for chunk in range(8):
        show(cache, memory, chunk)
    assert not memory.archive.prototypes


def test_incremental_scores_equal_scores_from_scratch():
    """Prototypes are compared with a prompt once; the slow twin compares all of them again."""
    score = SCORES["attention"]()
    memory = NarrativeMemory(3, 3, score)
    cache = empty_cache()
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    for chunk in range(10):
        show(cache, memory, chunk)
        latest = memory.recall(cache, prompt).scores or {}
    features = torch.stack([item.features for item in memory.archive.prototypes])
    scratch = ranks_of(score, features, prompt).tolist()
    assert list(latest.values()) == pytest.approx(scratch, rel=1e-5)


@pytest.mark.parametrize("name", SCORES)
def test_scores_stay_with_their_frames_when_some_are_evicted(name):
    """Rows of evicted prototypes leave the table: what is told over time equals scoring the archive from scratch."""
    score = SCORES[name]()
    room = 6 * (random_state(0).num_bytes + 800)
    memory = NarrativeMemory(3, 3, score, archive_bytes=room)
    cache = empty_cache(keep_prompt_queries=True)
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    told = {}
    for chunk in range(20):
        show(cache, memory, chunk)
        told |= memory.recall(cache, prompt).scores
        met = [item.features for item in memory.archive.prototypes]
        if len(met) == 4:  # one more than the bank holds: now words are weighed
            weights = score.weigh(score.match(torch.stack(met), prompt))
    kept = [item.state.frame for item in memory.archive.prototypes]
    assert len(kept) < 15, "the archive was too small for all"
    features = torch.stack([item.features for item in memory.archive.prototypes])
    agreed = torch.stack([score.agree(item.words, prompt) for item in memory.archive.prototypes])
    scratch = score.rank(score.match(features, prompt) * agreed, weights).tolist()
    assert [told[frame] for frame in kept] == pytest.approx(scratch, rel=1e-4)
    best = sorted((told[frame] for frame in kept), reverse=True)[:3]
    assert sorted((told[frame] for frame in cache.bank_frames[0]), reverse=True) == best


# A shortlist in place of comparing everything


WORD_KEYS = torch.randn(30, 4, 4, 16, generator=torch.Generator().manual_seed(3))  # words of a language, [L, H, D] each


def words_prompt(words):
    """A prompt of these words, as cross-attention would see it."""
    keys = tuple(WORD_KEYS[words, layer].unsqueeze(0) for layer in range(4))
    return PromptProjection(keys, keys, torch.ones(1, len(words)) > 0, WORD_KEYS[words].flatten(1).unsqueeze(0))


def showing(frame, words, num_tokens=6):
    """A frame in which a token asks for each of these words; the other tokens ask for nothing."""
    asked = 0.5 * torch.randn(4, 1, num_tokens, 4, 16, generator=torch.Generator().manual_seed(frame))
    asked[:, 0, : len(words)] += WORD_KEYS[words].transpose(0, 1)
    return FrameState(frame, asked, asked, asked)


@pytest.mark.parametrize("name, least", [("cross-attention", 60), ("combined", 60), ("attention", 57)])
def test_the_shortlist_finds_what_comparing_everything_finds(name, least):
    """The slow twin compares a prompt with all of 600 frames in full, the shortlist with 30 of them.

    For each of 20 prompts of four words three frames show all four; the others show three words of any. `least` of the 60
    recalled frames are the same; attention's scores are shares of what is compared, so they are others when that is less.
    """
    generator = torch.Generator().manual_seed(5)
    shape = CacheShape(4, 4, 16, 6, 3, 9, 3, memory_places=6)
    caches = [KVCache(shape, rotate=lambda key, positions: key) for _ in range(2)]
    memories = [NarrativeMemory(3, 3, SCORES[name](), shortlist=size) for size in (600, 30)]
    prompts = [torch.randperm(30, generator=generator)[:4] for _ in range(20)]
    shown = {3 * index: prompts[index % 200] for index in range(1, 601) if index % 200 < 20}
    for frame in range(3, 1803, 3):
        words = shown.get(frame, torch.randperm(30, generator=generator)[:3])
        for memory in memories:
            memory.remember(showing(frame, words), words_prompt(words))
    same = 0
    for words in prompts:
        prompt = words_prompt(words)
        for memory, cache in zip(memories, caches, strict=True):
            memory.switch_prompt(prompt)
            memory.recall(cache, prompt)
        banks = [cache.bank_frames[0] for cache in caches]
        same += len({*banks[0]} & {*banks[1]})
        assert sum(torch.equal(shown.get(frame, words[:3]), words) for frame in banks[1]) >= 2
    assert same >= least


@pytest.mark.parametrize("name", ["cross-attention", "combined", "attention"])
def test_a_shortlist_as_long_as_the_archive_changes_nothing(name):
    """Up to `SHORTLIST` prototypes, a minute and a half of film, everything is compared in full."""
    told = []
    for size in (20, 10_000):
        memory, cache = NarrativeMemory(3, 3, SCORES[name](), shortlist=size), empty_cache(keep_prompt_queries=True)
        for chunk in range(20):
            if chunk % 7 == 0:
                prompt = random_prompt(chunk)
                memory.switch_prompt(prompt)
            show(cache, memory, chunk)
            told.append((memory.recall(cache, prompt).scores, list(cache.bank_frames[0])))
    assert told[:20] == told[20:]


def test_a_long_segment_is_compared_with_few_frames_and_recalls_the_same():
    """While a prompt lasts, every new frame is compared; of those, the best stay. None of the best is ever lost."""

    class Counting(CombinedScore):
        num_ranked = 0

        def rank(self, matches, weights):
            self.num_ranked = len(matches)
            return super().rank(matches, weights)

    prompt = random_prompt(1)
    banks = []
    for size in (4, 10_000):
        score = Counting()
        memory, cache = NarrativeMemory(3, 3, score, shortlist=size), empty_cache(keep_prompt_queries=True)
        memory.switch_prompt(prompt)
        for chunk in range(40):
            show(cache, memory, chunk)
            memory.recall(cache, prompt)
            banks.append(list(cache.bank_frames[0]))
            assert score.num_ranked <= 2 * size + 1, "one more than twice the shortlist, and it is drawn anew"
    assert banks[:40] == banks[40:] and len(banks[-1]) == 3


def test_a_shortlist_whose_frames_leave_the_archive_is_drawn_again():
    room = 6 * random_state(0).num_bytes
    memory = NarrativeMemory(3, 3, SCORES["combined"](), archive_bytes=room, shortlist=3)
    cache = empty_cache(keep_prompt_queries=True)
    for chunk in range(60):
        if chunk % 20 == 0:
            prompt = random_prompt(chunk)
            memory.switch_prompt(prompt)
        show(cache, memory, chunk)
        memory.recall(cache, prompt)
        archived = {item.state.frame for item in memory.archive.prototypes}
        assert {*cache.bank_frames[0]} <= archived
        assert len({*cache.bank_frames[0]}) == min(3, len(archived))
    assert len(memory.archive.sketches.blocks) == 1, "rows of frames that went are used again"


def test_large_frames_keep_the_prompt_queries_of_places():
    """A frame of 1560 tokens keeps 60 means of 26 neighbours each; a small one keeps every token's."""
    shape = CacheShape(1, 1, 2, 1560, 3, 9, 3, memory_places=6)
    assert (shape.num_query_places, empty_cache().shape.num_query_places) == (60, TOKENS)
    cache = KVCache(shape, rotate=lambda key, positions: key, keep_prompt_queries=True)
    cache.begin(range(3, 6))
    key, query = torch.randn(2, 1, 3, 1560, 1, 2).unbind(0)
    cache.gather(0, key, key, key)
    cache.observe(0, query)
    cache.commit()
    kept = cache.read(4).prompt_queries
    assert kept.shape == (1, 1, 60, 1, 2)
    torch.testing.assert_close(kept[0, 0, 7], query[0, 1, 7 * 26 : 8 * 26].mean(dim=0))


def test_only_news_is_told():
    memory = NarrativeMemory(3, 3, SCORES["published"]())
    cache = empty_cache()
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    told = []
    for chunk in range(9):
        memory.leave(cache, cache.leaving(range(3 * chunk, 3 * chunk + 3)))
        told.append(sorted(memory.recall(cache, prompt).scores))
        show(cache, memory, chunk)
    assert told == [[], [], [], [], [3], [6], [9], [12], [15]]


@pytest.mark.parametrize("activate", [None, TopFrames(2)])
def test_passes_that_nobody_keeps_see_the_same_and_leave_no_trace(activate):
    caches = [empty_cache(activation=activate, bank=0) for _ in range(2)]
    memory = NarrativeMemory(3, 0, SCORES["published"]())
    memory.switch_prompt(random_prompt(1))
    for chunk in range(5):
        for cache in caches:
            show(cache, memory, chunk)
    frames = range(15, 18)
    for cache, keep in zip(caches, (True, False), strict=True):
        cache.begin(frames, keep)
    for _ in range(3):
        query, key, value = torch.randn(3, 1, 3, TOKENS, HEADS, SIZE).unbind(0)
        for layer in range(LAYERS):
            kept, passing = (cache.gather(layer, query, key, value) for cache in caches)
            assert all(torch.equal(a, b) for a, b in zip(kept, passing, strict=True))
    with pytest.raises(AssertionError):
        caches[1].commit()
    for cache in caches:
        show(cache, memory, 5)
    assert all(torch.equal(caches[0].read(frame).keys, caches[1].read(frame).keys) for frame in frames)


# Activation


def test_each_head_reads_its_own_best_frames():
    query = torch.zeros(1, HEADS, SIZE)
    query[..., 0] = 1
    keys = torch.zeros(1, 4, HEADS, SIZE)
    keys[0, :, 0, 0] = torch.tensor([1.0, 4, 3, 2])
    keys[0, :, 1, 0] = torch.tensor([9.0, 0, 1, 5])
    assert TopFrames(2).choose(query, keys).tolist() == [[[1, 2], [0, 3]]]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_sparse_attention_equals_dense_attention_over_the_chosen(again, keep):
    """The slow twin: per head, attend to the window and the chosen frames only."""
    cache = empty_cache(activation=TopFrames(2))
    memory = NarrativeMemory(3, 3, SCORES["published"](), activate=2)
    prompt = random_prompt(1)
    memory.switch_prompt(prompt)
    kept = {}
    for chunk in range(8):
        show(cache, memory, chunk)
        kept |= {frame: cache.read(frame) for frame in range(3 * chunk, 3 * chunk + 3)}
    memory.recall(cache, prompt)
    cache.begin(range(24, 27), keep)
    query, first_key, key, value = torch.randn(4, 1, 3, TOKENS, HEADS, SIZE).unbind(0)
    if again:
        cache.gather(0, -query, first_key, first_key)
        cache.choose_again()
    cache.gather(0, query, first_key, first_key)
    keys, values = cache.gather(0, -query, key, value)  # later passes keep the choice
    remembered = [kept[frame] for frame in (*cache.sink_frames, *cache.bank_frames[0])]
    pooled = torch.stack([state.keys[0].mean(dim=1) for state in remembered], dim=1)
    chosen = TopFrames(2).choose(query.flatten(1, 2).mean(1), pooled)
    recent = [kept[frame] for frame in cache.window_before(range(24, 27))]
    for head in range(HEADS):
        picked = recent + [remembered[index] for index in chosen[0, head].tolist()]
        for got, at_hand, seen in (
            (keys, key, [state.keys for state in picked]),
            (values, value, [state.values for state in picked]),
        ):
            wanted = torch.cat([*(item[0, :, :, head] for item in seen), at_hand[:, :, :, head].flatten(1, 2)], dim=1)
            assert sorted(wanted[0].tolist()) == sorted(got[0, :, head].tolist())
    assert values.shape == keys.shape == (1, (9 + 2) * TOKENS, HEADS, SIZE)


# Choosing a policy


def test_unknown_policy_or_score_is_a_sentence():
    geometry = tiny_entry().geometry
    with pytest.raises(UsageError, match="none of nam, official, sink, window"):
        make_policy(MemoryOptions(policy="elephant"), geometry)
    with pytest.raises(UsageError, match="none of published"):
        make_policy(MemoryOptions(policy="nam", score="taste"), geometry)


def test_the_list_of_policies_is_the_only_one():
    """A new policy is one name in `options.Policy`, its file, and its maker."""
    from typing import get_args

    from memflow_cli.memory.options import POLICIES, REBUILT, Score
    from memflow_cli.memory.policies import MAKERS

    assert {*MAKERS, REBUILT} == {*POLICIES}, "a rebuilt context needs no policy"
    assert set(get_args(Score)) == set(SCORES)
