"""A run folder is ours, one command's at a time, and of one film: whatever else lies under its name is left alone."""

import fcntl
import hashlib
import json
import os
import shutil
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.events import ChunkDone, FilmStarted
from memflow_cli.film.latents_file import LatentsFormat
from memflow_cli.film.locked_folder import LockedFolder
from memflow_cli.film.ours import NotOursError
from memflow_cli.film.run_on_disk import is_known, is_run
from memflow_cli.film.shooting import make_film
from memflow_cli.film.video_reader import probe
from tiny_model import make, story, tiny_backbone, tiny_entry

STORY = story("a fox", "an empty wood", seconds=1.5)  # 4 chunks
OTHER = replace(STORY, segments=story("an owl", "a bear", seconds=1.5).segments)


class Stopped(BaseException):
    """Ends a render in the middle, as nothing that the code catches."""


def interrupted(folder: Path, chunks: int = 3, storyboard=STORY) -> Path:
    """The run folder of a film that was stopped after so many chunks."""

    def events(event: object) -> None:
        if isinstance(event, ChunkDone) and event.chunk == chunks - 1:
            raise Stopped

    folder.mkdir(exist_ok=True)
    with pytest.raises(Stopped):
        make(folder, storyboard, events=events)
    return folder / "film.mp4.run"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return make(tmp_path_factory.mktemp("whole"), STORY).path.read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Whose the files are


@pytest.mark.parametrize("name", ["latents.bin", "trace.jsonl", "parts.jsonl", "run.json"])
def test_a_file_of_another_films_run_is_not_taken_for_this_films(whole, tmp_path, name):
    """Six films of 238 came out wrong when files of another film of the same size were put into a run folder."""
    run, other = interrupted(tmp_path / "one"), interrupted(tmp_path / "other", storyboard=OTHER)
    shutil.copy(other / name, run / name)
    if name == "parts.jsonl":
        shutil.copy(other / "segment-00001.mp4", run / "segment-00001.mp4")
    assert make(tmp_path / "one", STORY).path.read_bytes() == whole


def test_all_files_of_another_film_but_the_recipe_are_made_again(whole, tmp_path):
    run, other = interrupted(tmp_path / "one"), interrupted(tmp_path / "other", storyboard=OTHER)
    for path in other.iterdir():
        if path.name not in ("run.json", "lock"):
            shutil.copy(path, run)
    events: list[object] = []
    assert make(tmp_path / "one", STORY, events=events.append).path.read_bytes() == whole
    assert next(event for event in events if isinstance(event, FilmStarted)).resumed_chunks == 0


def test_a_renumbered_record_ends_what_is_kept(tmp_path):
    form = LatentsFormat((b"a" * 16, b"a" * 16, b"b" * 16), 64)
    records = [form.pack(chunk, bytes([chunk]) * 64, 7) for chunk in range(3)]
    renumbered = struct.pack("<I", 1) + records[2][4:]
    for lines, wanted in [
        (records, 3),
        ([records[0], records[2]], 1),
        ([records[0], renumbered], 1),
        ([*records[:2], records[2][:-1]], 2),
    ]:
        (tmp_path / "latents").write_bytes(b"".join(lines))
        with (tmp_path / "latents").open("rb") as file:
            assert len(list(form.valid_records(file))) == wanted


def test_a_line_of_the_trace_that_changed_is_made_again(whole, tmp_path):
    run = interrupted(tmp_path)
    trace = (run / "trace.jsonl").read_bytes()
    digit = trace.rindex(b'"end_seconds":') + len(b'"end_seconds":')
    (run / "trace.jsonl").write_bytes(trace[:digit] + b"9" + trace[digit + 1 :])
    result = make(tmp_path, STORY)
    assert result.path.read_bytes() == whole
    assert b'"end_seconds":9' not in result.trace_path.read_bytes()


def test_another_processor_does_not_go_on_with_a_film(tmp_path, monkeypatch):
    """Films differ by what the processor can do (avx2, avx512), and a resumed film was a mixture of both."""
    interrupted(tmp_path)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "SLOW")
    with pytest.raises(UsageError, match="cpu was .*, is now .*SLOW"):
        make(tmp_path, STORY)


# Version 1, of memflow 0.1.0


def to_version_1(run: Path) -> None:
    """Rewrites a run folder as 0.1.0 would have left it."""
    content = json.loads((run / "run.json").read_text())
    content["version"] = 1
    del content["recipe"]["common"]["cpu"]
    (run / "run.json").write_text(json.dumps(content, indent=1))
    parts = [json.loads(line) for line in (run / "parts.jsonl").read_text().splitlines()]
    for part in parts:
        del part["recipe"]
    (run / "parts.jsonl").write_text("".join(json.dumps(part) + "\n" for part in parts))
    latents, records, place, chunk = (run / "latents.bin").read_bytes(), b"", 0, 0
    while place < len(latents):
        num_bytes = struct.unpack_from("<I", latents, place + 4)[0]
        payload = latents[place + 32 : place + 32 + num_bytes]
        records += struct.pack("<III", chunk, num_bytes, zlib.crc32(payload)) + payload
        place, chunk = place + 32 + num_bytes, chunk + 1
    (run / "latents.bin").write_bytes(records)
    (run / "lock").write_text("process 4711 on elsewhere")


@pytest.mark.parametrize("damage", ["none", "torn latents", "torn trace", "bad part", "bad parts.jsonl"])
def test_a_run_folder_of_0_1_0_is_gone_on_with(whole, tmp_path, damage):
    run = interrupted(tmp_path)
    to_version_1(run)
    kept = {"none": 3, "torn latents": 2, "torn trace": 2}.get(damage, 3)
    if damage == "torn latents":
        os.truncate(run / "latents.bin", (run / "latents.bin").stat().st_size - 5)
    elif damage == "torn trace":
        os.truncate(run / "trace.jsonl", (run / "trace.jsonl").stat().st_size - 5)
    elif damage == "bad part":
        (run / "segment-00001.mp4").write_bytes(b"garbage")
        checksum = hashlib.sha256(b"garbage").hexdigest()
        (run / "parts.jsonl").write_text(json.dumps({"segment": 0, "sha256": checksum}) + "\n")
    elif damage == "bad parts.jsonl":
        (run / "parts.jsonl").write_text("[1]\n")
    events: list[object] = []
    assert make(tmp_path, STORY, events=events.append).path.read_bytes() == whole
    assert next(event for event in events if isinstance(event, FilmStarted)).resumed_chunks == kept


def test_a_run_folder_of_0_1_0_keeps_what_comes_before_an_edit(tmp_path):
    to_version_1(interrupted(tmp_path))
    edited = replace(STORY, segments=(STORY.segments[0], OTHER.segments[1]))
    events: list[object] = []
    film = make(tmp_path, edited, events=events.append).path.read_bytes()
    started = next(event for event in events if isinstance(event, FilmStarted))
    assert (started.resumed_chunks, started.changed_segment) == (2, 1)
    (tmp_path / "fresh").mkdir()
    assert make(tmp_path / "fresh", edited).path.read_bytes() == film


# A film that grows


def test_a_render_grows_by_a_segment(tmp_path):
    """What was made belongs to the longer film, and after a kill the folder is one that was begun with all of it."""
    from memflow_cli.film.recipe import Recipe
    from memflow_cli.film.run_folder import RunFolder
    from memflow_cli.film.trace import TraceHeader, read_trace
    from memflow_cli.memory.record import ChunkRecord
    from tiny_model import tiny_plan

    plans = [tiny_plan(tiny_entry().geometry, [1] * count) for count in (1, 3)]
    recipes = [Recipe({"seed": 0}, tuple({"prompt": i} for i in range(len(plan.segments)))) for plan in plans]
    headers = [TraceHeader("1", "tiny", "nam", plan) for plan in plans]

    def make_chunk(run: RunFolder, chunk: int) -> None:
        run.trace.write(ChunkRecord(chunk, chunk, f"prompt {chunk}", chunk * 0.75, chunk * 0.75 + 0.75))
        run.append(chunk, bytes([chunk]) * 64)

    run = RunFolder(tmp_path / "film.mp4.run", recipes[0], headers[0], 64)
    make_chunk(run, 0)
    run.grow(recipes[1], headers[1])
    assert run.plan == plans[1]
    make_chunk(run, 1)
    run.close()
    again = RunFolder(tmp_path / "film.mp4.run", recipes[1], headers[1], 64)
    assert (again.num_chunks, again.changed_segment) == (2, None)
    assert list(again.latents(0, 2)) == [bytes([0]) * 64, bytes([1]) * 64]
    trace = read_trace(again.trace_path)
    assert trace.header == headers[1] and [record.chunk for record in trace.records()] == [0, 1]
    again.close()


# A bad part


def test_an_encoder_that_leaves_a_bad_file_is_told_at_once_and_gone_on_after(whole, tmp_path, monkeypatch):
    """Such a part was sealed with its own checksum, and every later run failed at the stitch, for ever."""
    from memflow_cli.film import parts

    def close(self) -> None:
        good(self)
        self.path.write_bytes(b"garbage")

    good = parts.PartWriter.close
    monkeypatch.setattr(parts.PartWriter, "close", close)
    with pytest.raises(MemflowError, match="bad file of segment 1") as failed:
        make(tmp_path, STORY)
    assert "same command goes on" in str(failed.value.hint)
    monkeypatch.undo()
    assert make(tmp_path, STORY).path.read_bytes() == whole


def test_a_part_that_will_not_be_joined_loses_its_seal(whole, tmp_path, monkeypatch):
    from memflow_cli.film import parts, run_folder

    def close(self) -> None:
        good(self)
        looked[self.path] = probe(self.path)
        self.path.write_bytes(b"garbage")

    good, looked = parts.PartWriter.close, {}
    with monkeypatch.context() as patch:
        patch.setattr(parts.PartWriter, "close", close)
        patch.setattr(run_folder, "probe", looked.__getitem__)
        with pytest.raises(MemflowError):
            make(tmp_path, STORY)
    # The seals are there, as a version that did not look left them: one failure, and then the film.
    with pytest.raises(MemflowError):
        make(tmp_path, STORY)
    assert make(tmp_path, STORY).path.read_bytes() == whole


# What is not ours


def test_a_link_in_the_run_folders_place_is_not_followed(tmp_path):
    """`story.mp4.run` in a stranger's folder, a link to ~/.ssh: all files in there were deleted."""
    home, films = tmp_path / "home", tmp_path / "films"
    home.mkdir()
    films.mkdir()
    (home / "id").write_text("key")
    (films / "film.mp4.run").symlink_to(home)
    for resume in (True, False):
        with pytest.raises(NotOursError, match="is a symbolic link"):
            make(films, STORY, resume=resume)
    assert contents(home) == {"id": b"key"} and os.listdir(films) == ["film.mp4.run"]


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_somebody_elses_files_is_left_as_it_is(tmp_path, resume):
    folder = tmp_path / "film.mp4.run"
    (folder / "sub").mkdir(parents=True)
    for name in ("notes.txt", "latents.bin", "sub/more.txt"):
        (folder / name).write_text("mine")
    before = contents(folder)
    with pytest.raises(NotOursError, match="folder with other files"):
        make(tmp_path, STORY, resume=resume)
    assert contents(folder) == before and not (tmp_path / "film.mp4").exists()


def test_a_file_in_the_run_folders_place(tmp_path):
    (tmp_path / "film.mp4.run").write_text("mine")
    with pytest.raises(NotOursError, match="is not a folder"):
        make(tmp_path, STORY)
    assert (tmp_path / "film.mp4.run").read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "run.json", "latents.bin", "trace.jsonl", "parts.jsonl", "segment-00001.mp4"])
@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe", "folder"])
def test_a_link_inside_a_run_folder_is_not_written_through(tmp_path, name, kind):
    run = interrupted(tmp_path / "films")
    precious = tmp_path / "precious"
    precious.write_bytes((run / name).read_bytes())
    (run / name).unlink()
    make_it = {
        "symbolic": os.symlink,
        "hard": os.link,
        "pipe": lambda _, to: os.mkfifo(to),
        "folder": lambda _, to: to.mkdir(),
    }
    make_it[kind](precious, run / name)
    before = precious.read_bytes()
    try:
        make(tmp_path / "films", STORY)
    except MemflowError as error:
        assert isinstance(error, NotOursError) or name == "segment-00001.mp4", repr(error)
    assert precious.read_bytes() == before


@pytest.mark.parametrize("name", ["parts.ffconcat", "metadata.txt", "film.mp4", "film.json", "film.memory.jsonl"])
@pytest.mark.parametrize("suffix", ["", ".unfinished"])
def test_what_passes_through_a_run_folder_is_made_anew(whole, tmp_path, name, suffix):
    run = interrupted(tmp_path / "films")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (run / (name + suffix)).symlink_to(precious)
    (tmp_path / "films" / "film.json.unfinished").symlink_to(precious)
    assert make(tmp_path / "films", STORY).path.read_bytes() == whole
    assert precious.read_text() == "mine"


def test_a_users_file_in_a_run_folder_stays(whole, tmp_path):
    run = interrupted(tmp_path)
    (run / "my notes.txt").write_text("mine")
    assert make(tmp_path, STORY).path.read_bytes() == whole
    assert contents(run) == {"my notes.txt": b"mine", "lock": (run / "lock").read_bytes()}
    assert make(tmp_path, OTHER).path.exists()


def test_an_empty_folder_is_taken(whole, tmp_path):
    (tmp_path / "film.mp4.run").mkdir()
    assert make(tmp_path, STORY).path.read_bytes() == whole
    assert not (tmp_path / "film.mp4.run").exists()


# Two and three at once


def in_child(work) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def test_whoever_holds_the_folder_holds_it_alone(tmp_path):
    """Processes that take, fill and remove one folder as fast as they can: what one has written is never gone before it is
    done, and no two are in it at once.

    A folder that was being removed took the next command's files with it, and a lock on a removed file let a third in.
    """
    path, inside = tmp_path / "film.mp4.run", tmp_path / "inside"
    deadline = time.monotonic() + 3

    def work() -> None:
        done = 0
        while time.monotonic() < deadline or not done:
            try:
                folder = LockedFolder.take(path, is_run)
            except UsageError:
                continue
            os.mkdir(inside)  # fails if another one is in the folder
            folder.write_through("run.json", str(os.getpid()).encode())
            os.close(os.open(path / "segment-00001.mp4", os.O_CREAT | os.O_WRONLY))
            assert (path / "run.json").read_text() == str(os.getpid()), "the folder under the name is another one"
            os.rmdir(inside)
            folder.remove_all(is_known, first="run.json")
            done += 1

    children = [in_child(work) for _ in range(3)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0]
    assert not path.exists() and not inside.exists()


def test_a_lock_on_a_removed_folder_is_seen(tmp_path, monkeypatch):
    """B opens the lock of A's folder and waits; A is done and removes it; C begins. B must not hold what is no longer there."""
    path = tmp_path / "film.mp4.run"
    first = LockedFolder.take(path, is_run)
    others: list[LockedFolder] = []
    lock = fcntl.flock

    def slow(file, how):
        if not others:
            others.append(first)
            first.remove_all(is_known)
            others.append(LockedFolder.take(path, is_run))
        return lock(file, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
        LockedFolder.take(path, is_run)
    assert others[1].is_at_its_path() and (path / "lock").exists()
    others[1].remove_all(is_known)


def test_three_commands_for_one_film(whole, tmp_path):
    entry = tiny_entry()
    backbone = tiny_backbone(entry)
    children = [
        in_child(lambda: make_film(STORY, entry, backbone, tmp_path / "film.mp4", overlap=False)) for _ in range(3)
    ]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert 0 in codes and (tmp_path / "film.mp4").read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.json", "film.memory.jsonl", "film.mp4"]
