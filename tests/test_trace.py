"""A trace comes back as written; a torn, foreign, newer or hostile one is a sentence, and never unbounded work."""

import json
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow_cli.errors import UsageError
from memflow_cli.film.trace import TraceHeader, TraceWriter, copy_in_order, read_trace
from memflow_cli.geometry import Geometry
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.report.summary import summarise
from memflow_cli.story.plan import FilmPlan, SegmentPlan

GEOMETRY = Geometry(16, 8, 4, 1, (1, 2, 2), num_layers=2, num_heads=2, head_dim=8)
PROMPTS = ("a fox — “red” \u2028 in a meadow", "the empty meadow", "the fox again")


def make_header(prompts=PROMPTS, chunks=3) -> TraceHeader:
    segments = tuple(
        SegmentPlan(
            index, prompt, index * chunks, chunks, GEOMETRY.num_frames(index * chunks),
            GEOMETRY.num_frames((index + 1) * chunks) - GEOMETRY.num_frames(index * chunks), 7 + index, "smooth", 2.25,
        )
        for index, prompt in enumerate(prompts)
    )  # fmt: skip
    return TraceHeader("0.1.0", "theatre", "nam", FilmPlan("Fox", 224, 128, 16, 7, GEOMETRY, segments))


def make_record(chunk: int, header: TraceHeader) -> ChunkRecord:
    segment = header.plan.segment_of_chunk(chunk)
    remembered = range(0, max(0, chunk - 3) * 3, 3)
    return ChunkRecord(
        chunk=chunk,
        segment=segment.index,
        prompt=segment.prompt,
        start_seconds=chunk * 0.75,
        end_seconds=chunk * 0.75 + 0.75,
        sink=(0, 1, 2),
        window=tuple(range(max(0, chunk * 3 - 6), chunk * 3)),
        bank=tuple(Recalled(frame, 0.25 + frame, 0.5) for frame in remembered[:3]),
        sink_use=(1.0, 0.5, 0.0),
        candidates={frame: frame / 3 for frame in remembered},
        archived=(chunk * 3,) if chunk else (),
        evicted=(0,) if chunk == 5 else (),
        layer_banks=((3, 6), (6,)) if chunk > 4 else (),
    )


@pytest.fixture
def written(tmp_path):
    header = make_header()
    records = [make_record(chunk, header) for chunk in range(header.plan.num_chunks)]
    with TraceWriter(tmp_path / "film.memory.jsonl", header) as writer:
        for record in records:
            writer.write(record)
    return tmp_path / "film.memory.jsonl", header, records


def rewrite(path, number: int, change) -> None:
    lines = path.read_text("utf-8").split("\n")
    content = json.loads(lines[number - 1])
    change(content)
    lines[number - 1] = json.dumps(content)
    path.write_text("\n".join(lines), "utf-8")


def test_what_is_written_is_read(written):
    path, header, records = written
    trace = read_trace(path)
    assert trace.header == header
    rounded = [
        replace(record, candidates={k: float(f"{v:.6g}") for k, v in record.candidates.items()}) for record in records
    ]
    assert list(trace.records()) == rounded
    assert list(trace.records()) == rounded  # as often as asked


def test_every_line_is_there_as_soon_as_its_chunk_is_done(tmp_path):
    header = make_header()
    with TraceWriter(tmp_path / "t", header) as writer:
        for chunk in range(4):
            assert len(list(read_trace(tmp_path / "t").records())) == chunk
            writer.write(make_record(chunk, header))


def test_an_appended_trace_goes_on(written):
    path, header, records = written
    whole = path.read_bytes()
    with TraceWriter(path, header) as writer:
        writer.write(records[0])
    with TraceWriter(path, header, append=True) as writer:
        for record in records[1:]:
            writer.write(record)
    assert path.read_bytes() == whole


def test_a_trace_torn_at_any_byte_keeps_its_whole_lines(written):
    path, _, records = written
    content = path.read_bytes()
    header_bytes = content.index(b'{"chunk"')
    for length in range(header_bytes, len(content), 37):
        path.write_bytes(content[:length])
        assert len(list(read_trace(path).records())) == content[header_bytes:length].count(b"\n")
    path.write_bytes(content[: content.index(b"\n")])
    with pytest.raises(UsageError, match="no complete header"):
        read_trace(path)
    path.write_bytes(content[: content.index(b"\n") + 1])
    with pytest.raises(UsageError, match="has no segments"):
        read_trace(path)


def test_a_trace_of_version_1_is_read(written):
    """0.1.0 wrote all segments into the header."""
    path, header, records = written
    lines = path.read_bytes().splitlines(keepends=True)
    segments = [json.loads(line)["plan_segment"] for line in lines[1:4]]
    first = json.loads(lines[0])
    first["version"] = 1
    first["plan"]["segments"] = segments
    path.write_bytes(json.dumps(first).encode() + b"\n" + b"".join(lines[4:]))
    trace = read_trace(path)
    assert trace.header == replace(header, version=1)
    assert [record.chunk for record in trace.records()] == [record.chunk for record in records]


def test_a_film_that_grows_has_the_trace_of_one_that_was_planned(written, tmp_path):
    path, header, records = written
    short = replace(header, plan=replace(header.plan, segments=header.plan.segments[:1]))
    with TraceWriter(tmp_path / "grown", short) as writer:
        for record in records[:3]:
            writer.write(record)
        writer.add_segments(header.plan.segments[1:])
        assert read_trace(tmp_path / "grown").header == header
        assert len(list(read_trace(tmp_path / "grown").records())) == 3
        for record in records[3:]:
            writer.write(record)
    assert list(read_trace(tmp_path / "grown").records()) == list(read_trace(path).records())
    with (tmp_path / "grown").open("rb") as source, (tmp_path / "copy").open("wb") as target:
        copy_in_order(source, target)
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_a_large_trace_needs_little_memory(tmp_path):
    """A trace of 61 MB took 1.9 GB."""
    header = make_header(("a fox",), chunks=400)
    bank = tuple(Recalled(frame, 0.5, 0.5) for frame in range(600))
    with TraceWriter(tmp_path / "t", header) as writer:
        for chunk in range(400):
            writer.write(replace(make_record(chunk, header), bank=bank))
    num_bytes = (tmp_path / "t").stat().st_size
    tracemalloc.start()
    try:
        assert len(summarise(read_trace(tmp_path / "t")).chunks) == 400
        assert tracemalloc.get_traced_memory()[1] < 2 * num_bytes
    finally:
        tracemalloc.stop()


def test_a_newer_trace_is_refused_with_a_sentence(written):
    path, _, _ = written
    rewrite(path, 1, lambda header: header.update(version=3, memflow="9.0"))
    with pytest.raises(UsageError, match=r"written by memflow 9.0 \(trace version 3\); this one reads up to version 2"):
        read_trace(path)


@pytest.mark.parametrize("version", [0, -1, "1", None, 1.0, True])
def test_a_version_that_never_was_is_refused(written, version):
    rewrite(written[0], 1, lambda header: header.update(version=version))
    with pytest.raises(UsageError, match="none that ever was"):
        read_trace(written[0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"format": "memflow-trace"}\n',
        b"{" * 9,
    ],
)
def test_what_is_no_trace_is_a_sentence(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UsageError):
        read_trace(tmp_path / "t")


def test_a_missing_trace_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="cannot read the memory trace"):
        read_trace(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot read the memory trace"):
        read_trace(tmp_path)


@pytest.mark.parametrize(
    "field, value",
    [
        ("width", 0), ("fps", 0), ("fps", 10**9), ("width", 10**30), ("segments", []), ("title", 3), ("geometry", {}),
    ],
)  # fmt: skip
def test_a_plan_that_no_film_has_is_refused(written, field, value):
    rewrite(written[0], 1, lambda header: header["plan"].update({field: value}))
    with pytest.raises(UsageError, match="line 1"):
        read_trace(written[0])


def test_segments_that_do_not_add_up_are_refused(written):
    rewrite(written[0], 3, lambda line: line["plan_segment"].update(num_frames=10**12))
    with pytest.raises(UsageError, match="segment"):
        read_trace(written[0])


@pytest.mark.parametrize(
    "field, value",
    [
        ("chunk", 5), ("segment", 99), ("segment", True), ("bank", [[0, 0.1]]), ("bank", [[-1, 0.1, 1]]), ("bank", 7),
        ("bank", [[0, "x", 1]]), ("sink", [27]), ("window", [0.5]), ("start_seconds", None), ("start_seconds", 10**400),
        ("candidates", {"x": 1}), ("candidates", {"-3": 1}), ("candidates", []), ("archived", [[0]]), ("layer_banks", [3]),
        ("window", list(range(27)) * 2), ("candidates", {"9" * 11: 1}),
    ],
)  # fmt: skip
def test_a_record_with_impossible_values_is_refused(written, field, value):
    path = written[0]
    rewrite(path, 7, lambda record: record.update({field: value}))
    with pytest.raises(UsageError, match="line 7"):
        list(read_trace(path).records())


def test_no_number_is_no_score(written):
    path = written[0]
    path.write_text(path.read_text("utf-8").replace("0.25", "NaN"), "utf-8")
    with pytest.raises(UsageError, match="not valid JSON"):
        list(read_trace(path).records())


def test_lines_without_end_are_refused_unread(written, monkeypatch):
    monkeypatch.setattr("memflow_cli.film.trace.MAX_RECORD_BYTES", 2000)
    path = written[0]
    with path.open("ab") as file:
        file.truncate(path.read_bytes().index(b'{"chunk"'))
        file.write(b" " * 5000)
    with pytest.raises(UsageError, match="longer than"):
        list(read_trace(path).records())


def test_infinite_scores_are_written_as_zero(tmp_path):
    """A policy may mark what it must not choose with -inf; JSON has no word for that."""
    header = make_header()
    with TraceWriter(tmp_path / "t", header) as writer:
        writer.write(replace(make_record(0, header), candidates={0: float("-inf"), 3: float("nan")}))
    assert next(read_trace(tmp_path / "t").records()).candidates == {0: 0.0, 3: 0.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.data())
def test_any_damage_is_a_sentence_or_no_damage(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("trace") / "t"
    header = make_header()
    with TraceWriter(path, header) as writer:
        for chunk in range(9):
            writer.write(make_record(chunk, header))
    number = data.draw(st.integers(1, 13))

    def damage(content: dict) -> None:
        place = content
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
                place = place[key]
            else:
                place[key] = data.draw(json_values)
                return

    rewrite(path, number, damage)
    try:
        list(read_trace(path).records())
    except UsageError as error:
        assert str(path) in str(error) and len(str(error)) < 500
