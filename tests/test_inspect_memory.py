"""inspect-memory shows the frames that were really recalled, and as much as can be shown when something is missing."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from memflow_cli.cli.app import run
from memflow_cli.errors import MemflowError
from memflow_cli.film.shooting import make_film
from memflow_cli.film.stitching import stitch
from memflow_cli.film.trace import TraceWriter, read_trace
from memflow_cli.film.video import PartWriter
from memflow_cli.film.video_reader import probe, read_frames
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.record import Recalled
from memflow_cli.report import inspect, write_report
from memflow_cli.report.telling import score_text, told, use_text
from memflow_cli.story.storyboard import Segment
from mp4 import write_film
from tiny_model import make, story, tiny_backbone, tiny_entry, watch_frames

CODEC_ERROR = 25  # mean difference that H.264 may make on these pictures, random as they are


def watched_film(folder: Path, kind: str, fps: int = 16, transition: str = "smooth"):
    """A tiny film, and the very frames the pipeline made for it: [F, height, width, 3] float in 0..255."""
    entry = tiny_entry(kind)
    backbone = tiny_backbone(entry)
    shown = watch_frames(backbone)
    segments = (
        Segment("a red fox", 3),
        Segment("an empty wood", 3, transition=transition),
        Segment("the fox again", 3),
    )
    storyboard = story(fps=fps, segments=segments, memory=MemoryOptions(activate=None))
    result = make_film(storyboard, entry, backbone, folder / "film.mp4")
    return result, torch.cat(shown).numpy() * 255


def recalls(folder: Path) -> list[Path]:
    return sorted(folder.glob("segment-*/recall-*.png"))


@pytest.mark.parametrize(
    "kind, fps, transition", [("theatre", 16, "smooth"), ("wan", 24, "cut"), ("theatre", 24, "cut")]
)
def test_dumped_frames_are_those_the_pipeline_made(tmp_path, kind, fps, transition):
    """The file's name says a time; its picture is the frame the decoder gave at that time, none of its neighbours."""
    result, frames = watched_film(tmp_path, kind, fps, transition)
    assert run(["inspect-memory", str(result.path), "--format", "png"]) == 0
    files = recalls(tmp_path / "film.inspect")
    assert len(files) >= 4
    times = [path.name.split("_t=")[1].split("_")[0].split("-") for path in files]
    numbers = [round((int(minutes) * 60 + float(seconds)) * fps) for minutes, seconds in times]
    in_film = dict(read_frames(result.path, numbers))
    for path, index in zip(files, numbers, strict=True):
        picture = np.asarray(Image.open(path))
        assert np.array_equal(picture, in_film[index])
        error = np.abs(frames - picture.astype(np.float32)).mean(axis=(1, 2, 3))
        assert error[index] < CODEC_ERROR
        same = np.abs(frames - frames[index]).mean(axis=(1, 2, 3)) < CODEC_ERROR
        assert error.argmin() == index or same[error.argmin()]


def test_the_first_latent_frame_is_found_too(tmp_path):
    """With the Wan VAE it is a single frame, and all others start after it: frame 0, then 1, 5, 9, ..."""
    result, frames = watched_film(tmp_path, "wan")
    trace = read_trace(result.trace_path)
    records = list(trace.records())
    records[-1] = replace(records[-1], bank=(Recalled(0, 0.9, 1.0), Recalled(1, 0.8, 0.5), Recalled(3, 0.7, 0.4)))
    with TraceWriter(result.trace_path, trace.header) as writer:
        for record in records:
            writer.write(record)
    assert run(["inspect-memory", str(result.path), "-f", "png", "--segment", "3", "--top", "100"]) == 0
    for frame, name in ((0, "t=00-00.00_score=0.90"), (1, "t=00-00.06_score=0.80"), (9, "t=00-00.56_score=0.70")):
        (path,) = (tmp_path / "film.inspect" / "segment-03").glob(f"recall-*_{name}.png")
        error = np.abs(frames - np.asarray(Image.open(path)).astype(np.float32)).mean(axis=(1, 2, 3))
        assert error[frame] < CODEC_ERROR and error.argmin() == frame


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make(tmp_path_factory.mktemp("film"), story(seconds=3, title="A <b>fox</b> & \u201cfriends\u201d"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_table_can_be_read_on_any_terminal(film, columns, monkeypatch):
    """On 40 columns the last heading took ten lines, and times stood apart from their scores."""
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["inspect-memory", str(film.path), "-f", "table"]) == 0
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in shown.getvalue().splitlines()]
    assert re.fullmatch("# +time,? +prompt,? +recalled *", lines[0]) and max(map(len, lines)) <= columns
    assert any(re.search(r"\d:\d\d\.\d\d \((\d+%, )?[\d.e-]+\)", line) for line in lines)
    assert any("the empty meadow" in line for line in lines) and "recalled, most used first" in "".join(lines)


def test_everything_is_written_and_a_table_is_printed(film, tmp_path, capsys):
    assert run(["inspect-memory", str(film.path), "-o", str(tmp_path / "out")]) == 0
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert {"index.html", "memory-map.png", "segment-01/sheet.jpg", "segment-03/sheet.jpg"} <= set(written)
    output = capsys.readouterr()
    assert "the empty meadow" in output.out and "0:06.00-0:09.00" in output.out and "index.html" in output.err
    with Image.open(tmp_path / "out" / "memory-map.png") as picture:
        assert picture.size == (1600, 1000)


def test_frames_are_ordered_by_use(film):
    found = inspect(film.path)
    for segment in found.memory.segments:
        uses = [item.use for item in segment.recalled]
        assert uses == sorted(uses, reverse=True) and all(0 <= use <= 1 for use in uses)


def test_json_says_what_the_trace_says(film, capsys):
    assert run(["inspect-memory", str(film.trace_path), "--format", "json", "--top", "100"]) == 0
    content = json.loads(capsys.readouterr().out)
    records = list(read_trace(film.trace_path).records())
    assert content["problem"] is None and content["files"] == [] and len(content["segments"]) == 3
    for number, segment in enumerate(content["segments"]):
        own = [record for record in records if record.segment == number]
        assert {item["frame"] for item in segment["recalled"]} == {item.frame for record in own for item in record.bank}
        for item in segment["recalled"]:
            uses = [seen.use for record in own for seen in record.bank if seen.frame == item["frame"]]
            assert item["use"] == pytest.approx(sum(uses) / len(own), abs=1e-3) and item["chunks"] == len(uses)
            assert item["seconds"] == film.plan.latent_frame_seconds(item["frame"])


def test_only_the_segments_asked_for(film, tmp_path, capsys):
    assert run(["inspect-memory", str(film.path), "-o", str(tmp_path), "--segment", "2", "-s", "3", "--top", "1"]) == 0
    assert sorted(path.name for path in tmp_path.glob("segment-*")) == ["segment-02", "segment-03"]
    assert all(len(list(folder.glob("recall-*"))) <= 1 for folder in tmp_path.glob("segment-*"))
    assert run(["inspect-memory", str(film.path), "--segment", "4"]) == 2
    assert "the film has 3 segments" in capsys.readouterr().err


def test_an_earlier_reports_frames_do_not_stay(film, tmp_path):
    for top in ("5", "1"):
        assert run(["inspect-memory", str(film.path), "-o", str(tmp_path), "-f", "png", "--top", top]) == 0
    assert all(path.name.startswith("recall-1_") for path in recalls(tmp_path))


def test_a_film_without_its_trace(film, tmp_path, capsys):
    """Moved alone: the film itself tells of its segments; what they recalled is said to be unknown, with what to do."""
    lonely = tmp_path / "lonely.mp4"
    lonely.write_bytes(film.path.read_bytes())
    assert run(["inspect-memory", str(lonely)]) == 2
    output = capsys.readouterr()
    assert "has no memory trace" in output.err and "lonely.memory.jsonl moved along" in output.err
    assert "the empty meadow" in output.out and "0:06.00-0:09.00" in output.out and "not known" in output.out
    folder = tmp_path / "lonely.inspect"
    assert (folder / "index.html").exists() and (folder / "segment-03" / "sheet.jpg").exists()
    assert not (folder / "memory-map.png").exists() and not recalls(folder)
    assert run(["inspect-memory", str(lonely), "-f", "json"]) == 2
    content = json.loads(capsys.readouterr().out)
    assert (content["title"], content["seed"], content["policy"]) == (film.plan.title, 7, None)
    assert [segment["start"] for segment in content["segments"]] == [0, 3, 6]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"comment": "[1]", "description": "0.00 s: a\n0.00 s: b"},
        {"comment": "{", "description": "5.00 s: late"},
        {"comment": '{"seed": "x", "model": 7}', "description": "0.00 s: a\n999999.00 s: b"},
    ],
)
def test_a_strangers_film_is_one_segment(tmp_path, metadata):
    film = write_film(tmp_path, **metadata)
    memory = inspect(film).memory
    assert memory and len(memory.segments) == 1 and memory.plan.num_frames == 45
    write_report(inspect(film), tmp_path / "out")


def test_a_frame_recalled_by_several_segments_takes_its_place_once(film, tmp_path):
    write_report(inspect(film.path), tmp_path)
    by_time: dict[str, set[int]] = {}
    for path in recalls(tmp_path):
        by_time.setdefault(path.name.split("_")[1], set()).add(path.stat().st_ino)
    assert len(recalls(tmp_path)) > len(by_time) and all(len(found) == 1 for found in by_time.values())


@pytest.mark.parametrize(
    "score, text",
    [(0.40963, "0.41"), (12.3456, "12.35"), (0.0034567, "0.0035"), (-0.5, "-0.50"), (1e-9, "0.00"), (0.4, "0.40")],
)
def test_a_score_is_written_in_one_way(score, text):
    """File name, sheet, table and page each rounded in a way of its own."""
    assert score_text(score) == text


def test_the_page_opens_where_memory_did_most(film):
    """A return: something from at least two segments before that fits the prompt best; else any recall; else the start."""
    memory = inspect(film.path).memory
    plan = memory.plan

    def with_recalls(*recalled):
        segments = tuple(
            replace(
                segment,
                recalled=tuple(
                    replace(memory.segments[2].recalled[0], segment=s, score=score, frame=segment.plan.index)
                    for s, score in own
                ),
            )
            for segment, own in zip(memory.segments, recalled)
        )
        return replace(memory, segments=segments)

    assert with_recalls((), ((0, 0.9),), ((1, 0.8), (0, 0.3))).best_segment() == 2
    assert with_recalls((), ((0, 0.9),), ((1, 0.8),)).best_segment() == 1
    assert with_recalls((), (), ()).best_segment() == 0
    assert plan.segments[0].prompt[:8] in told(memory, with_recalls((), (), ((0, 0.3),)).segments[2])
    assert "Nothing from further back" in told(memory, with_recalls((), (), ()).segments[1])


def test_use_is_told_only_where_attention_chose(tmp_path):
    """Without activation every head reads all that is recalled: "use 100%" said nothing, on every line."""
    chosen = make(tmp_path, story(seconds=3, memory=MemoryOptions(activate=1)), name="chosen.mp4")
    plain = make(tmp_path, story(seconds=3, memory=MemoryOptions(activate=None)), name="plain.mp4")
    for result, is_chosen in ((chosen, True), (plain, False)):
        memory = inspect(result.path).memory
        segment = memory.segments[2]
        assert segment.is_activated == is_chosen
        assert use_text(memory, segment, segment.recalled[0]).startswith("use " if is_chosen else "held")


def test_a_trace_without_its_film_is_shown_without_pictures(film, tmp_path, capsys):
    trace = tmp_path / "lonely.memory.jsonl"
    trace.write_bytes(film.trace_path.read_bytes())
    assert run(["inspect-memory", str(trace)]) == 2
    output = capsys.readouterr()
    assert "the film is missing" in output.err and "the empty meadow" in output.out
    folder = tmp_path / "lonely.inspect"
    assert (folder / "memory-map.png").exists() and (folder / "index.html").exists() and not recalls(folder)


def test_a_film_of_another_length_is_shown_by_time(film, tmp_path, capsys):
    """Encoded anew at twice the rate: twice the frames, the same times."""
    with PartWriter(tmp_path / "part.mp4", 64, 32, 32) as part:
        for _, frame in read_frames(film.path, range(film.plan.num_frames)):
            part.write(frame[None].repeat(2, axis=0))
    stitch([tmp_path / "part.mp4"], tmp_path / "film.mp4", 32, 2 * film.plan.num_frames, {})
    (tmp_path / "film.memory.jsonl").write_bytes(film.trace_path.read_bytes())
    assert run(["inspect-memory", str(tmp_path / "film.mp4"), "-f", "png"]) == 2
    assert "has 288 frames (9.00 s), its trace tells of 144 (9.00 s)" in capsys.readouterr().err
    path = recalls(tmp_path / "film.inspect")[0]
    assert run(["inspect-memory", str(film.path), "-f", "png", "-o", str(tmp_path / "right")]) == 0
    right = np.asarray(Image.open(tmp_path / "right" / path.relative_to(tmp_path / "film.inspect"))).astype(int)
    assert np.abs(np.asarray(Image.open(path)).astype(int) - right).mean() < CODEC_ERROR


def test_what_is_neither_film_nor_trace(tmp_path, capsys):
    assert run(["inspect-memory", str(tmp_path / "none.mp4")]) == 2
    assert "no such film" in capsys.readouterr().err
    assert run(["inspect-memory", "."]) == 2
    assert "a folder, not a film" in capsys.readouterr().err
    (tmp_path / "x.memory.jsonl").write_text("{}\n")
    assert run(["inspect-memory", str(tmp_path / "x.memory.jsonl")]) == 2
    assert "is not a memory trace" in capsys.readouterr().err


def test_a_run_in_the_making_can_be_looked_at(film, tmp_path, capsys):
    """The trace in a run folder, torn in the middle of its last line."""
    lines = film.trace_path.read_bytes().split(b"\n")
    (tmp_path / "film.mp4.run").mkdir()
    trace = tmp_path / "film.mp4.run" / "trace.jsonl"
    trace.write_bytes(b"\n".join(lines[:11]) + b"\n" + lines[11][:20])
    for path in (trace, tmp_path / "film.mp4"):
        assert run(["inspect-memory", str(path), "-f", "json"]) == 2
        output = capsys.readouterr()
        assert json.loads(output.out)["chunks"] == 7 and "still being made" in output.err


def test_prompts_cannot_leave_the_page(film, tmp_path):
    text = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\u2028"
    trace = read_trace(film.trace_path)
    plan = trace.header.plan
    segments = tuple(replace(segment, prompt=text) for segment in plan.segments)
    with TraceWriter(
        tmp_path / "x.memory.jsonl", replace(trace.header, plan=replace(plan, title=text, segments=segments))
    ) as new:
        for record in trace.records():
            new.write(record)
    found = inspect(tmp_path / "x.memory.jsonl")
    write_report(found, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert page.count("<script") == 2 and "<img src=x" not in page and "alert(1)" in page


def test_a_trace_that_claims_an_absurd_picture_is_shown_in_bounds(film, tmp_path):
    trace = read_trace(film.trace_path)
    with TraceWriter(
        tmp_path / "x.memory.jsonl", replace(trace.header, plan=replace(trace.header.plan, width=1, height=65536))
    ) as new:
        for record in trace.records():
            new.write(record)
    write_report(inspect(tmp_path / "x.memory.jsonl"), tmp_path / "out")
    with Image.open(tmp_path / "out" / "segment-01" / "sheet.jpg") as sheet:
        assert sheet.height < 8000


@pytest.mark.parametrize("number", [1e308, -1e308, 1e-300])
def test_numbers_that_no_film_has_are_shown_in_bounds(film, tmp_path, number):
    """A use of 1e308 overflowed the page, a score of 1e308 made a file name of 300 digits, both sums were infinite."""
    trace = read_trace(film.trace_path)
    with TraceWriter(tmp_path / "film.memory.jsonl", trace.header) as new:
        for record in trace.records():
            bank = tuple(replace(item, use=number, score=number) for item in record.bank)
            new.write(replace(record, bank=bank, sink_use=(number, number)))
    (tmp_path / "film.mp4").write_bytes(film.path.read_bytes())
    assert run(["inspect-memory", str(tmp_path / "film.mp4"), "-f", "png", "-f", "html", "-f", "json"]) == 0
    page = (tmp_path / "film.inspect" / "index.html").read_text()
    json.loads(page.partition('id="data">')[2].partition("</script>")[0], parse_constant=pytest.fail)


def test_a_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "film.mp4")
    assert run(["inspect-memory", str(tmp_path / "film.mp4")]) == 2
    with pytest.raises(MemflowError, match="is not a file"):
        probe(tmp_path / "film.mp4")


def test_it_needs_no_torch(film, tmp_path):
    code = (
        "import sys; from memflow_cli.cli.app import run; "
        f"assert run(['inspect-memory', {str(film.path)!r}, '-o', {str(tmp_path)!r}]) == 0; "
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
