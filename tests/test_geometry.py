"""Seconds, frames, chunks: what the plan of a film promises."""

import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow_cli.errors import UsageError
from memflow_cli.geometry import Geometry
from memflow_cli.story.plan import Timeline, derive_seed, plan_film
from memflow_cli.story.schema import MAX_SEED
from memflow_cli.story.storyboard import Segment, Storyboard

WAN = Geometry(16, 8, 4, 1, (1, 2, 2), num_layers=30, num_heads=12, head_dim=128)
THEATRE = Geometry(192, 16, 4, 4, (1, 2, 2), num_layers=6, num_heads=4, head_dim=64)


def story(*seconds: float, fps: int = 16, **fields) -> Storyboard:
    segments = tuple(Segment(f"scene {index}", value) for index, value in enumerate(seconds))
    return Storyboard("a story", segments, fps=fps, width=832, height=480, **fields)


def test_the_design_pages_numbers():
    assert WAN.latent_size(832, 480) == (60, 104)
    assert WAN.tokens_per_frame(832, 480) == 1560
    assert round(WAN.kv_bytes_per_frame(832, 480, 2) / 1e6) == 288
    assert WAN.latent_bytes_per_frame(832, 480, 2) == 199_680
    assert WAN.num_frames(80) == 957
    assert WAN.size_multiple == (16, 16)
    assert len(WAN.chunk_frame_range(0)) == 9
    assert len(WAN.chunk_frame_range(5)) == 12


@pytest.mark.parametrize("geometry", [WAN, THEATRE])
def test_latent_frames_and_chunks_tile_the_film(geometry):
    frames = [frame for latent in range(30) for frame in geometry.latent_frame_range(latent)]
    assert frames == list(range(geometry.num_frames(10)))
    assert [frame for chunk in range(10) for frame in geometry.chunk_frame_range(chunk)] == frames


@pytest.mark.parametrize("geometry", [WAN, THEATRE])
@given(st.lists(st.floats(0.76, 30), min_size=1, max_size=40), st.sampled_from([12, 16, 24, 30]))
def test_rounding_never_adds_up(geometry, seconds, fps):
    """Every segment ends within half a chunk of its wished end, however many came before it."""
    plan = plan_film(story(*seconds, fps=fps), geometry)
    chunk_seconds = geometry.chunk * geometry.temporal_stride / fps
    wished = 0.0
    for segment, value in zip(plan.segments, seconds, strict=True):
        wished += value
        if value < chunk_seconds:
            return  # a segment longer than it wished pushes its followers
        end = (segment.start_frame + segment.num_frames) / fps
        assert abs(end - wished) <= chunk_seconds / 2 + 1e-9


@given(st.lists(st.floats(0.001, 30), min_size=1, max_size=60))
def test_segments_tile_the_film_and_have_at_least_one_chunk(seconds):
    plan = plan_film(story(*seconds), WAN)
    assert all(segment.num_chunks >= 1 for segment in plan.segments)
    assert [segment.start_chunk for segment in plan.segments[1:]] == [s.end_chunk for s in plan.segments[:-1]]
    assert sum(segment.num_frames for segment in plan.segments) == plan.num_frames
    for segment in plan.segments:
        assert plan.segment_of_chunk(segment.start_chunk) is segment
        assert plan.segment_of_chunk(segment.end_chunk - 1) is segment


def test_ten_thousand_short_segments_end_where_they_should():
    plan = plan_film(story(*[0.8] * 10_000), THEATRE)
    assert abs(plan.seconds - 8000) <= 0.375
    start = time.process_time()
    assert [plan.segment_of_chunk(chunk).index for chunk in range(0, plan.num_chunks, 7)]
    assert time.process_time() - start < 1


def test_sixty_seconds_are_eighty_chunks():
    plan = plan_film(story(60), WAN)
    assert (plan.num_chunks, plan.num_frames, plan.num_latent_frames) == (80, 957, 240)
    assert plan.latent_frame_seconds(1) == 1 / 16


def test_a_segments_seed_follows_from_the_films_seed_and_its_number():
    plan = plan_film(story(5, 5, seed=7), WAN)
    assert [segment.seed for segment in plan.segments] == [derive_seed(7, 0), derive_seed(7, 1)]
    assert derive_seed(7, 0) != derive_seed(7, 1) != derive_seed(8, 1)
    assert 0 <= derive_seed(MAX_SEED, 10**6) < 2**53, "exact in every JSON reader"


def test_a_segments_own_seed_is_kept():
    board = story(5, 5, seed=7)
    board = dataclasses.replace(board, segments=(board.segments[0], dataclasses.replace(board.segments[1], seed=11)))
    assert plan_film(board, WAN).segments[1].seed == 11


@pytest.mark.parametrize(
    ("width", "height", "says"), [(830, 480, "832"), (832, 8, "16"), (9000, 480, "8192"), (832, 472, "464 or 480")]
)
def test_a_size_that_does_not_fit_names_one_that_does(width, height, says):
    with pytest.raises(UsageError) as caught:
        WAN.check_size(width, height, "wan")
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_any_size_that_fits_is_planned():
    for width, height in [(480, 832), (512, 512), (16, 16), (1280, 720)]:
        WAN.check_size(width, height, "wan")
        assert WAN.tokens_per_frame(width, height) == width * height // 256


@given(
    st.lists(st.tuples(st.floats(0.01, 20), st.none() | st.integers(1, 40)), min_size=1, max_size=12),
    st.sampled_from([8, 16, 24, 30]),
    st.sampled_from([WAN, THEATRE]),
)
def test_a_timeline_that_grew_is_the_plan_of_what_it_says(asked, fps, geometry):
    """A film is steered: segments come one by one, and some get another length than they asked for. The storyboard with
    the seconds that the timeline then names is planned as just this film.
    """
    timeline = Timeline(geometry, fps, film_seed=7)
    for index, (seconds, num_chunks) in enumerate(asked):
        added = timeline.add(Segment(f"scene {index}", seconds))
        if num_chunks is not None:
            assert timeline.set_length(num_chunks).num_chunks == num_chunks
        assert timeline.segments[-1].start_chunk == added.start_chunk
    grown = timeline.plan("a story", 832, 480)
    again = story(*(segment.requested_seconds for segment in grown.segments), fps=fps, seed=7)
    assert plan_film(again, geometry) == grown
