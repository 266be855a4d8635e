"""Films on many machines, without any: who may write a film, which film goes where, what a cluster's nodes must have."""

import io
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from memflow_cli.cli.app import run
from memflow_cli.cli.farm_progress import FarmTable
from memflow_cli.errors import Interrupted, MemflowError, ModelError, StoryboardError, UsageError
from memflow_cli.film.events import ChunkDone
from memflow_cli.film.names import lease_path, run_path
from memflow_cli.film.ours import NotOursError
from memflow_cli.film.run_on_disk import take_run
from memflow_cli.film.script import plan_story
from memflow_cli.film.shooting import finished
from memflow_cli.studio.farm.lease import Lease, Watch
from memflow_cli.studio.farm.mirror import Mirror, Receiver, Scratch
from memflow_cli.studio.farm.nodes import Node, check_nodes, make_look, share_out, tokens_in, unique_names
from memflow_cli.studio.farm.order import Attempt, Failed, Lost, News, Order, Piece, absolute, begun_on, own_class
from memflow_cli.studio.farm.policy import Give, Hire, Seat, Standing, next_move
from memflow_cli.studio.needs import prepare
from memflow_cli.studio.studio import Studio
from tiny_model import story

ROOT = Path(__file__).parent.parent
SPAN = 0.6  # seconds, of a lease in these tests


@pytest.fixture(scope="module")
def studio(tiny_model_folder):
    return Studio(tiny_model_folder, dtype="fp32")


@pytest.fixture
def job(studio, tmp_path):
    return prepare(plan_story(story(seconds=1.5), studio.entry), studio.entry, tmp_path / "a.mp4")


# leases


def test_a_lease_is_given_back(tmp_path):
    film = tmp_path / "a.mp4"
    with Lease.take(film, "one", span=SPAN) as lease:
        lease.check()
        assert lease_path(film).read_text().startswith("one ")
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_is_renewed_is_nobody_elses(tmp_path):
    film, seen = tmp_path / "a.mp4", []
    with Lease.take(film, "one", span=SPAN, lost=lambda: seen.append("lost")):
        with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
            Lease.take(film, "two", span=SPAN, patience=2 * SPAN)
        assert lease_path(film).read_text().startswith("one ")
    assert seen == []


def test_a_lease_that_nobody_renews_is_taken_over_after_a_span(tmp_path):
    """As its worker was killed: the file stays."""
    film = tmp_path / "a.mp4"
    lease_path(film).write_bytes(b"gone 000000000007 elsewhere 12\n")
    with Lease.take(film, "two", span=SPAN):
        assert lease_path(film).read_text().startswith("two ")


def test_a_lease_of_one_who_is_known_to_be_dead_is_taken_at_once(tmp_path):
    film = tmp_path / "a.mp4"
    lease_path(film).write_bytes(b"gone 000000000007 elsewhere 12\n")
    with Lease.take(film, "two", dead=["gone"], span=3600):
        assert lease_path(film).read_text().startswith("two ")


@pytest.mark.parametrize("damage", [b"", b"\0\xff", b"x" * 5000])
def test_a_damaged_lease_ends_like_any_other(damage, tmp_path):
    film = tmp_path / "a.mp4"
    lease_path(film).write_bytes(damage)
    with Lease.take(film, "two", span=SPAN):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_has_lost_a_lease_is_told_and_leaves_the_others_alone(tmp_path):
    """A worker that was suspended wakes up after another has taken the film over."""
    film, told = tmp_path / "a.mp4", threading.Event()
    lease = Lease.take(film, "one", span=SPAN, lost=told.set)
    lease_path(film).write_bytes(b"two 000000000001 elsewhere 12\n")
    assert told.wait(60)
    lease.give_back()
    assert lease_path(film).read_bytes().startswith(b"two ")


def test_a_lease_that_cannot_be_renewed_is_lost(tmp_path):
    film, told = tmp_path / "films" / "a.mp4", threading.Event()
    film.parent.mkdir()
    lease = Lease.take(film, "one", span=SPAN, lost=told.set)
    film.parent.rename(tmp_path / "gone")
    assert told.wait(60)
    lease.give_back()


def test_waiting_for_a_lease_can_be_stopped(tmp_path):
    film = tmp_path / "a.mp4"
    lease_path(film).write_bytes(b"gone 000000000007 elsewhere 12\n")
    with pytest.raises(Interrupted):
        Lease.take(film, "two", span=3600, stop=lambda: Interrupted("interrupted"))
    assert not Watch(film, 3600).is_over()


# policy


def standing(number, model="a", machine=None, **happened):
    order = object.__new__(Order)
    object.__setattr__(order, "number", number)
    object.__setattr__(order, "machine", machine)
    object.__setattr__(order, "job", type("Job", (), {"model": model, "loras": ()}))
    return Standing(order, **happened)


def seat(state, model="a", machine=None):
    return Seat((model, ()), state, machine)


CPU, GPU = {"device": "cpu"}, {"device": "cuda"}


@pytest.mark.parametrize(
    ("waiting", "seats", "move"),
    [
        ([], [seat("idle")], None),
        ([standing(1)], [seat("busy"), seat("idle")], Give(0, 1)),
        ([standing(1)], [], Hire(0)),
        ([standing(1)], [seat("starting")], None),
        ([standing(1), standing(2)], [seat("starting")], Hire(1)),
        ([standing(1), standing(2)], [seat("starting"), seat("busy")], None),
        ([standing(1, "b")], [seat("busy"), seat("idle")], Hire(0, 1)),
        ([standing(1, "b"), standing(2)], [seat("busy", "b"), seat("idle")], Give(1, 1)),
        ([standing(1, machine=GPU)], [seat("idle", machine=CPU), seat("idle", machine=GPU)], Give(0, 1)),
        ([standing(1, machine=GPU)], [seat("idle", machine=CPU), seat("idle")], Give(0, 1)),
        ([standing(1, machine=GPU)], [seat("idle", machine=CPU), seat("busy", machine=GPU)], Hire(0, 0)),
    ],
)
def test_which_film_goes_where(waiting, seats, move):
    assert next_move(waiting, seats, most=2) == move


# nodes


def test_a_film_gets_a_card_and_a_core_or_its_share_of_the_cores():
    big, small, card = Node("1", "big", 16, 0), Node("2", "small", 4, 0), Node("3", "card", 8, 4)
    assert share_out([big], 1, True).num_cpus == 16
    assert share_out([big], 4, True).num_cpus == 4
    assert share_out([big, small], 100, True).num_films == 20
    found = share_out([big, card], 3, True)
    assert (found.num_gpus, found.num_cpus, found.num_films) == (1, 1, 3)
    assert share_out([big, card], 100, True).num_films == 4
    assert share_out([big, card], 100, True, num_gpus=0.5).num_films == 8
    assert share_out([big, card], 100, False).num_gpus == 0
    assert share_out([big], 100, True, at_once=3).num_films == 3
    with pytest.raises(UsageError, match="no node"):
        share_out([big], 1, True, num_gpus=1)
    with pytest.raises(UsageError, match="no node"):
        share_out([big], 1, True, num_cpus=17)


def test_every_node_must_have_the_same_and_is_named(tmp_path):
    with tokens_in([tmp_path]) as tokens:
        here = make_look(tokens)()
        assert here["problem"] is None and here["unseen"] == []
        check_nodes(here, {"left": dict(here)})
        for change, words in (
            ({"memflow": "0.0.1"}, "node right has memflow 0.0.1"),
            ({"source": "0"}, "node right has memflow"),
            ({"torch": "2.0"}, "node right has torch 2.0"),
            ({"problem": "ModuleNotFoundError: x"}, "node right cannot import memflow"),
            ({"unseen": ["/films"]}, "node right does not see /films"),
        ):
            with pytest.raises(UsageError, match=words):
                check_nodes(here, {"left": here, "right": here | change})
    assert list(tmp_path.iterdir()) == []
    assert make_look(tokens)()["unseen"] == [str(tmp_path)]


def test_two_nodes_of_one_name_can_be_told_apart():
    assert unique_names(["a", "b", "a"], ["123456789", "2", "987654321"]) == ["a-123456", "b", "a-987654"]


# orders


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelError("what", "do"), ModelError),
        (NotOursError(Path("/films"), "is a folder"), UsageError),
        (StoryboardError("a.yaml", ["one", "two"]), UsageError),
        (type("Another", (MemflowError,), {})("what"), MemflowError),
    ],
)
def test_every_error_crosses_to_the_driver(error, kind):
    """An error with arguments of its own pickles, and cannot be made again on the other side."""
    told = pickle.loads(pickle.dumps(own_class(error)))
    assert type(told) is kind and told.message == error.message and told.hint == error.hint


def test_an_order_says_where_a_film_was_begun(job, studio, tmp_path, monkeypatch):
    assert begun_on(job) is None
    with pytest.raises(Interrupted):
        finished(studio.shoot(job, lambda: Interrupted("interrupted")))
    assert begun_on(job) == studio.machine
    monkeypatch.chdir(tmp_path)
    relative = prepare(plan_story(story(), studio.entry), studio.entry, Path("b.mp4"))
    assert absolute(relative).out == tmp_path / "b.mp4"
    assert pickle.loads(pickle.dumps(Attempt(Order(1, job), "token", "left"))).order.job == job


# without a shared disk


def made_away(studio, job, until=None, resume=True):
    """A film made in a folder of its own, as a worker does; what its mirror tells is received. Returns its last event."""
    receiver, scratch = Receiver(job), Scratch("token")
    try:
        for piece in receiver.pieces() if resume else ():
            scratch.write(piece)
        moved = scratch.moved(Attempt(Order(1, job), "token", "left")).order.job
        mirror, chunks = Mirror(moved.out), 0
        for event in studio.shoot(moved):
            for piece in mirror.changes(event):
                receiver.write(piece)
            chunks += type(event).__name__ == "ChunkDone"
            if chunks == until:
                return event
        return receiver.finish(event)
    finally:
        receiver.close()
        scratch.remove()


def test_a_film_made_elsewhere_is_brought_back(studio, job, tmp_path):
    alone = studio.make(story(seconds=1.5), tmp_path / "alone.mp4", keep=False)
    done = made_away(studio, job)
    assert done.result.path == job.out
    assert job.out.read_bytes() == alone.path.read_bytes()
    assert done.result.trace_path.read_bytes() == alone.trace_path.read_bytes()
    assert prepare(plan_story(story(seconds=1.5), studio.entry), studio.entry, job.out) is None, (
        "it is known as finished"
    )


@pytest.mark.parametrize("until", [1, 3, 4])
def test_what_was_brought_back_is_gone_on_from(until, studio, job, tmp_path):
    """The other machine is gone after some chunks, with all that lay on its disk."""
    alone = studio.make(story(seconds=1.5), tmp_path / "alone.mp4", keep=False)
    made_away(studio, job, until)
    assert begun_on(job) == studio.machine
    assert made_away(studio, job).result.new_frames == alone.new_frames - 12 * until
    assert job.out.read_bytes() == alone.path.read_bytes()


def test_a_folder_of_another_name_is_never_written(studio, job, tmp_path):
    receiver = Receiver(job)
    for name in ("../b.mp4", "/tmp/b.mp4", "notes.txt", "lock"):
        receiver.write(Piece(name, 0, b"x"))
    receiver.close()
    assert list(tmp_path.iterdir()) == []


def test_the_drivers_folder_is_locked_meanwhile(job):
    receiver = Receiver(job)
    with pytest.raises(UsageError, match="another process"):
        take_run(run_path(job.out))
    receiver.close()


# the command line


@pytest.mark.parametrize("width", [40, 100])
def test_one_table_tells_of_all_films(width, studio, tmp_path):
    table, board = FarmTable([72, 72, 72]), story(seconds=1.5)
    table.over(3)

    def shown() -> str:
        console = Console(file=io.StringIO(), width=width)
        console.print(table)
        lines = console.file.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        return "\n".join(lines)

    table.stage("joining the cluster")
    assert shown() == "joining the cluster"
    for number, node in ((1, "left"), (2, "right")):
        job = prepare(plan_story(board, studio.entry), studio.entry, tmp_path / f"{number}.mp4")
        for event in studio.shoot(job):
            table(Path(f"films/{number}.mp4"), News(number, node, event))
            if isinstance(event, ChunkDone) and event.chunk == 2:
                assert f"{number}.mp4" in shown() and node in shown() and "2 of 3" in shown()
                assert "all  " in shown()
                break
    if width == 100:
        assert "1 of 3 films" in shown() and "frames/s" in shown()
    table(Path("films/1.mp4"), News(1, "left", Lost("its process ended")))
    assert "left is lost" in shown() or width < 100
    for number in (1, 2):
        table(Path(f"films/{number}.mp4"), News(number, "left", Failed(MemflowError("what"))))
    assert "1.mp4" not in shown() and "━" * 24 in shown()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fetch"], "--on ray"),
        (["--retries", "1"], "--on ray"),
        (["--on", "slurm"], "no such place"),
        (["--on", "ray://host"], "no such place"),
        (["--on", "ray", "--watch"], "--watch"),
    ],
)
def test_what_cannot_be_is_told_before_anything(options, words, tmp_path, capfd):
    storyboard = tmp_path / "a.yaml"
    storyboard.write_text("segments: [{prompt: a fox, duration: 1s}]\n")
    assert run(["generate", str(storyboard), "-o", f"{tmp_path}/", *options]) == 2
    assert words in capfd.readouterr().err


def test_without_ray_a_sentence_says_what_to_install(tmp_path):
    """And nothing imports Ray, or takes the time to, where no cluster is asked for."""
    (tmp_path / "a.yaml").write_text("segments: [{prompt: a fox, duration: 1s}]\n")
    program = "import sys; sys.modules['ray'] = None; from memflow_cli.cli.app import run; sys.exit(run(sys.argv[1:]))"

    def memflow(*arguments):
        command = [sys.executable, "-c", program, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = memflow("generate", "a.yaml", "--on", "ray")
    assert (done.returncode, done.stdout) == (2, "") and "pip install 'memflow-cli[ray]'" in done.stderr
    assert "memflow-cli[ray]" in memflow("--help").stdout
    assert memflow("generate", "a.yaml", "--dry-run").returncode == 0
