"""The scripts that measure films while they are made."""

import pytest

from benchmarks.long_film import SEGMENT_CHUNKS, SteppedFilm, story_of
from benchmarks.profile import named_parts
from benchmarks.steps import ALL_SLOW, ENGINES, PLAIN, ratio, time_blocks
from memflow_cli.errors import UsageError
from tiny_model import HEIGHT, WIDTH, tiny_backbone, tiny_entry


def test_a_stepped_film_is_made_a_chunk_at_a_time(tmp_path):
    entry = tiny_entry()
    story = story_of(entry, 2, 1, "nam", (WIDTH, HEIGHT))
    film = SteppedFilm(story, entry, tiny_backbone(entry), tmp_path / "film.mp4")
    chunks = [film.chunk() for _ in range(SEGMENT_CHUNKS + 2)]
    assert [event.chunk for _, event in chunks] == list(range(SEGMENT_CHUNKS + 2))
    assert [event.segment.index for _, event in chunks[-3:]] == [0, 1, 1], "a segment is as long as it says"
    assert all(seconds >= event.seconds["denoise"] for seconds, event in chunks)
    film.stop()
    assert (tmp_path / "film.mp4.run").is_dir(), "what was made is kept"


def test_what_stops_a_stepped_film_reaches_whoever_asks_for_a_chunk(tmp_path):
    entry = tiny_entry()
    (tmp_path / "film.json").write_text("{}")
    film = SteppedFilm(
        story_of(entry, 2, 1, "nam", (WIDTH, HEIGHT)), entry, tiny_backbone(entry), tmp_path / "film.mp4"
    )
    with pytest.raises(UsageError, match="not a film's record"):
        film.chunk()


def test_parts_of_all_blocks_share_their_names():
    names = [name for name, _ in named_parts(tiny_backbone(tiny_entry()).transformer)]
    assert names.count("blocks.self_attn.q") == 2 and names.count("patch_embedding") == 1


def test_the_engines_slow_twins_make_the_same_film(tmp_path):
    fast, slow = (tiny_backbone(tiny_entry()) for _ in range(2))
    passes = []
    for slow_down in ALL_SLOW:
        if slow_down not in PLAIN:  # which round otherwise
            slow_down(slow)
    whole_pass = slow.whole_pass
    slow.whole_pass = lambda *inputs: passes.append(inputs) or whole_pass(*inputs)
    seconds = time_blocks([slow, fast], (WIDTH, HEIGHT), "nam", blocks=2, length=2, folder=tmp_path)
    assert [len(times) for times in seconds] == [2, 2] and min(map(min, seconds)) > 0
    assert (tmp_path / "0.mp4").read_bytes() == (tmp_path / "1.mp4").read_bytes()
    assert passes, "the slow engine made its film by the slow pass"


def test_every_step_is_measured_against_the_engine_that_lacks_it():
    for number, engine in enumerate(ENGINES[1:], start=1):
        before = ENGINES[number + engine.added_to]
        fewer = set(before.slow) - set(engine.slow)
        more = [engine.dtype != before.dtype, engine.all_threads != before.all_threads]
        more += [engine.ahead != before.ahead, engine.compiled != before.compiled]
        assert len(fewer) + sum(more) == 1, engine.step


def test_a_ratio_is_of_block_and_block():
    assert ratio([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]) == "0.500 (0.500-0.500)"
