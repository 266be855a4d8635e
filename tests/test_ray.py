"""Films on a real Ray cluster of two nodes on this machine. Nothing here waits for a while: only for what happens.

One cluster serves all tests of this file. Some join it from this process and hand out jobs; others run the command.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from memflow_cli.errors import Interrupted, MemflowError
from memflow_cli.film.events import ChunkDone, FilmDone, FilmStarted
from memflow_cli.film.names import lease_path, run_path
from memflow_cli.film.script import plan_story
from memflow_cli.story.load import load_storyboard
from memflow_cli.studio.farm.nodes import Share
from memflow_cli.studio.farm.order import Failed, Lost, News, Order, absolute, begun_on
from memflow_cli.studio.needs import prepare
from memflow_cli.studio.studio import Studio
from tiny_model import story

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
MB = 1 << 20
LONG = 10.0  # seconds of each of a film's three segments, of which nothing is done in no time
SHORT = 3.0
KILLS = 5  # more than a film may lose workers in a row
make_studio = partial(Studio, dtype="fp32")


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes, `left` and `right`, with a core each. Each was started in a folder of its own name."""
    from ray.cluster_utils import Cluster

    folder = Path(tempfile.mkdtemp(prefix="ray"))  # sockets' paths have to be short
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests"))))
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        patch.setenv("RAY_enable_worker_prestart", "0")
        patch.setenv("RAY_worker_niceness", "0")  # Ray's own is 15, which starves them where others compute
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster = Cluster()
        small = {"object_store_memory": 100 * MB, "plasma_directory": str(folder)}
        try:
            for name in ("left", "right"):
                (folder / name).mkdir()
                patch.chdir(folder / name)
                head = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
                about = head if name == "left" else {}
                add_node(cluster, node_name=name, num_cpus=1, **small, **about)
            patch.chdir(ROOT)
            cluster.folder, cluster.small = folder, small
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def add_node(cluster, **about):
    """One more node. Ray gives it 30 s to start, and has no option for a machine that is busier than that: CI fails there."""
    try:
        return cluster.add_node(**about)
    except Exception as error:
        if "timed out during startup" in str(error) and not os.environ.get("CI"):
            pytest.skip("this machine is too busy for Ray to start a node in its 30 s")
        raise


@pytest.fixture(scope="module")
def joined(nodes):
    """This process as a driver."""
    from memflow_cli.studio.farm.cluster import Cluster

    with Cluster(nodes.address) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def studio(tiny_model_folder):
    return make_studio(tiny_model_folder)


@pytest.fixture(scope="module")
def alone(studio, tmp_path_factory):
    """The film that is made without a cluster: its bytes."""
    folder, made = tmp_path_factory.mktemp("alone"), {}

    def alone(board) -> bytes:
        key = repr(board)
        if key not in made:
            made[key] = studio.make(board, folder / f"{len(made)}.mp4", keep=False).path.read_bytes()
        return made[key]

    return alone


def make_all(joined, studio, boards, folder, at_once=2, num_gpus=0, stop=lambda: None, **ways) -> Iterator[News]:
    """The films of storyboards on the cluster: 1.mp4, 2.mp4 and so on."""
    from memflow_cli.studio.farm.farm import Farm, Ways

    numbered = enumerate(boards, start=1)
    jobs = (
        (number, prepare(plan_story(board, studio.entry), studio.entry, folder / f"{number}.mp4"))
        for number, board in numbered
    )
    orders = (Order(number, absolute(job), begun_on(job)) for number, job in jobs)
    farm = Farm(joined, Ways(Share(1, num_gpus, at_once), **ways), make_studio)
    return farm.make(orders, stop)


def process_of(film: Path) -> int:
    """The process of the worker that makes a film: it has signed the film's lease."""
    return int(lease_path(film).read_text().split()[3])


class Command:
    """`memflow generate ... --on ray` as a shell starts it; `events`: what it tells as JSON lines, as it comes."""

    def __init__(self, address: str, cwd: Path, *arguments: str, on: str = "ray") -> None:
        command = [sys.executable, "-m", "memflow_cli", "generate", *arguments, "--on", on]
        environment = {**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT / "src")}
        self.process = subprocess.Popen(
            [*command, "--dtype", "fp32", "--progress", "jsonl"],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict] = []
        self.others: list[str] = []  # lines that are no events
        self._heard = threading.Condition()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self.process.stderr:
            with self._heard:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.others.append(line)
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def wait_for(self, condition: Callable[[list[dict]], object]) -> None:
        """Until what was told so far is so."""
        with self._heard:
            self._heard.wait_for(lambda: condition(self.events) or not self._listener.is_alive(), timeout=300)
            assert condition(self.events), (self.process.poll(), self.events[-5:], self.others)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was printed."""
        out = self.process.stdout.read()
        self.process.wait(timeout=300)
        self._listener.join()
        return self.process.returncode, out


def write_story(path: Path, model: Path, seconds: float = SHORT, prompt: str = "a red fox") -> Path:
    segments = "".join(f"- {{prompt: {prompt}{end}, duration: {seconds}s}}\n" for end in ("", " walks", " sleeps"))
    path.write_text(f"title: {path.stem}\nmodel: {model}\nseed: 7\nsegments:\n{segments}")
    return path


def chunks_by_film(events: list[dict]) -> Counter:
    return Counter(event["film"] for event in events if event["event"] == "chunk")


def test_two_films_at_once_are_the_films_made_alone(nodes, tiny_model_folder, tmp_path, capfd):
    """The same bytes, the same words on stdout, the same events but for the film's and the node's name."""
    from memflow_cli.cli.app import run

    stories = [
        write_story(tmp_path / f"{name}.yaml", tiny_model_folder, prompt=f"the {name}") for name in ("fox", "snow")
    ]
    arguments = [str(path) for path in stories]
    assert (
        run(["generate", *arguments, "-o", f"{tmp_path}/alone/", "--dtype", "fp32", "--json", "--progress", "jsonl"])
        == 0
    )
    told = capfd.readouterr()
    command = Command(nodes.address, tmp_path, *arguments, "-o", "films/", "--json")
    code, out = command.end()
    assert code == 0 and command.others == [], (command.events, command.others)
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["film"] for line in lines} == {"films/fox.mp4", "films/snow.mp4"}
    assert [line.keys() for line in lines] == [json.loads(line).keys() for line in told.out.splitlines()]
    assert {line["record"] for line in lines} == {"films/fox.json", "films/snow.json"}
    for name in ("fox", "snow"):
        for suffix in (".mp4", ".memory.jsonl"):
            assert (tmp_path / "films" / (name + suffix)).read_bytes() == (
                tmp_path / "alone" / (name + suffix)
            ).read_bytes()
    events = [event for event in command.events if "node" in event]
    assert {event["node"] for event in events} <= {"left", "right"}
    kinds = [{event["event"] for event in each} for each in (events, map(json.loads, told.err.splitlines()))]
    assert kinds[0] <= kinds[1] and kinds[0] >= {"film", "chunk", "segment", "done"}
    assert not list((tmp_path / "films").glob("*.lease"))


def test_a_worker_killed_again_and_again_costs_nothing_but_time(joined, studio, alone, tmp_path):
    """At random moments, oftener than in a row it may; each time another goes on. No chunk that was told of is made again."""
    board, rng, killed, told, next_kill, done = story(seconds=LONG), random.Random(1), [], 0, 3, []
    boards = (board for _ in iter(lambda: len(killed) < KILLS, False))  # a film may be done before its last kill
    for news in make_all(joined, studio, boards, tmp_path, at_once=1):
        film = tmp_path / f"{news.number}.mp4"
        if isinstance(news.event, FilmStarted):
            assert news.event.resumed_chunks >= told
        elif isinstance(news.event, ChunkDone):
            assert news.event.chunk >= told, "no chunk twice"
            told = news.event.chunk + 1
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
                if len(killed) < KILLS and told >= next_kill and (process := process_of(film)) not in killed:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                    next_kill = told + rng.randrange(1, 6)
        elif isinstance(news.event, FilmDone):
            done.append(news.number)
            told, next_kill = 0, 3
        assert not isinstance(news.event, Failed), news
    assert len(killed) == KILLS and done
    assert all((tmp_path / f"{number}.mp4").read_bytes() == alone(board) for number in done)


def test_a_node_killed_in_mid_film_loses_nothing(nodes, joined, studio, alone, tmp_path, capfd):
    """Its worker outlives it for a moment, and still writes: the film's lease keeps the next one waiting."""
    small = {"num_cpus": 1, "num_gpus": 1, **nodes.small}  # as if they had cards, which the others have not
    victim, heir, events = add_node(nodes, node_name="victim", **small), None, []
    for news in make_all(joined, studio, [story(seconds=LONG)], tmp_path, 1, num_gpus=1, span=6.0, retries=9):
        events.append(news)
        if isinstance(news.event, ChunkDone) and heir is None:
            heir = add_node(nodes, node_name="heir", **small)
            nodes.remove_node(victim, allow_graceful=False)
    assert heir is not None and isinstance(events[-1].event, FilmDone)
    assert capfd.readouterr().out == "", "Ray tells of dead nodes where films' paths are printed"
    if events[-1].node == "heir":  # otherwise it was done in the moment that its node had left
        assert any(isinstance(news.event, Lost) and news.node == "victim" for news in events)
    assert (tmp_path / "1.mp4").read_bytes() == alone(story(seconds=LONG))
    nodes.remove_node(heir)
    end = time.monotonic() + 120
    while {"victim", "heir"} & {node.name for node in joined.nodes()}:  # a cluster takes its time to notice
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_driver_killed_and_ctrl_c_leave_what_the_same_command_goes_on_with(
    nodes, studio, tiny_model_folder, tmp_path
):
    board = write_story(tmp_path / "fox.yaml", tiny_model_folder, 2 * LONG)
    film, commands = tmp_path / "films" / "fox.mp4", []
    for ending in (signal.SIGKILL, signal.SIGINT, None):
        command = Command(nodes.address, tmp_path, "fox.yaml", "-o", "films/")
        commands.append(command)
        if ending is not None:
            command.wait_for(chunks_by_film)
            command.process.send_signal(ending)
        code, out = command.end()
        told = command.events[-3:]
        if ending == signal.SIGKILL:
            assert code == -signal.SIGKILL, told
        elif ending == signal.SIGINT:
            assert (code, out) == (130, "") and run_path(film).is_dir() and not lease_path(film).exists(), told
            [error] = [event for event in command.events if event["event"] == "error"]
            assert error["exit_code"] == 130 and "are kept" in error["text"]
        else:
            assert (code, out) == (0, "films/fox.mp4\n"), told
    result = studio.make(load_storyboard(board), tmp_path / "alone.mp4")
    assert film.read_bytes() == result.path.read_bytes()
    made = [event["chunk"] for command in commands for event in command.events if event["event"] == "chunk"]
    assert len(made) == len(set(made)), "no chunk was made twice that anybody heard of"


def test_a_film_that_fails_for_its_own_reason_stops_no_other(nodes, tiny_model_folder, tmp_path):
    """Weights that hold NaN, a storyboard that is wrong: told once each, and not tried again."""
    bad = tmp_path / "bad"
    shutil.copytree(tiny_model_folder, bad)
    weights = bad / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000] + b"\xff" * 1000)
    write_story(tmp_path / "nan.yaml", bad)
    (tmp_path / "wrong.yaml").write_text("segments: []\n")
    write_story(tmp_path / "good.yaml", tiny_model_folder)
    command = Command(nodes.address, tmp_path, "nan.yaml", "wrong.yaml", "good.yaml", "-o", "films/")
    code, out = command.end()
    assert (code, out) == (1, "films/good.mp4\n")
    errors = [event for event in command.events if event["event"] == "error"]
    assert len(errors) == 2 and not any(event["event"] == "lost" for event in command.events), command.events


def test_a_folder_that_one_node_does_not_see_is_told_before_any_work(nodes, tiny_model_folder, tmp_path):
    """Every node was started in a folder of its own, so that one path leads to another place on each."""
    write_story(tmp_path / "fox.yaml", tiny_model_folder)
    (nodes.folder / "left" / "films").mkdir(exist_ok=True)
    arguments = str(tmp_path / "fox.yaml"), "-o", "/proc/self/cwd/films/"
    command = Command(nodes.address, nodes.folder / "left", *arguments)
    assert command.end() == (2, "")
    [error] = [event for event in command.events if event["event"] == "error"]
    assert "node right does not see /proc/self/cwd/films" in error["text"] and "--fetch" in error["hint"]
    assert not list((nodes.folder / "left" / "films").iterdir())


def test_without_a_shared_disk_films_are_brought_back_and_gone_on_with(nodes, joined, studio, alone, tmp_path):
    """The worker's folder is gone with it: what it had told of is here."""
    board, told, resumed, killed = story(seconds=LONG), 0, [], False
    for news in make_all(joined, studio, [board], tmp_path, at_once=1, fetch=True):
        if isinstance(news.event, FilmStarted):
            resumed.append((told, news.event.resumed_chunks))
        elif isinstance(news.event, ChunkDone):
            told = news.event.chunk + 1
            if told == 5 and not killed:
                killed = True
                for process in workers(nodes):
                    os.kill(process, signal.SIGKILL)
    assert len(resumed) == 2 and resumed[1][1] >= resumed[1][0] >= 5, resumed
    assert (tmp_path / "1.mp4").read_bytes() == alone(board)
    assert not lease_path(tmp_path / "1.mp4").exists()


def workers(nodes) -> list[int]:
    """The processes of this cluster's workers: what its nodes' raylets have started, and is called so."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes.list_all_nodes()}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (path / "cmdline").read_bytes().startswith(b"ray::RemoteWorker"):
                found.append(int(path.name))
    return found


def test_a_film_that_loses_more_workers_than_it_may_is_given_up(nodes, joined, studio, tmp_path):
    killed, events = False, []
    for news in make_all(joined, studio, [story(seconds=LONG)], tmp_path, at_once=1, retries=0):
        events.append(news.event)
        if not killed:
            killed = True
            for process in workers(nodes):
                os.kill(process, signal.SIGKILL)
    assert isinstance(events[-1], Failed) and isinstance(events[-1].error, MemflowError)
    assert "workers were lost" in events[-1].error.message


@pytest.fixture
def client_server(nodes):
    """What a cluster's head has for drivers from elsewhere: its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "ray.util.client.server", "--address", nodes.address, "--mode", "specific-server"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
                break
            time.sleep(0.05)
        yield f"ray://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def test_a_driver_that_comes_in_by_ray_client_makes_the_same_film(client_server, studio, tiny_model_folder, tmp_path):
    path = write_story(tmp_path / "fox.yaml", tiny_model_folder)
    command = Command("nowhere:1", tmp_path, str(path), "-o", "films/", "--films-at-once", "1", on=client_server)
    assert command.end() == (0, "films/fox.mp4\n"), (command.events, command.others)
    result = studio.make(load_storyboard(path), tmp_path / "alone.mp4")
    assert (tmp_path / "films" / "fox.mp4").read_bytes() == result.path.read_bytes()


def test_a_film_is_never_gone_on_with_on_another_kind_of_machine(nodes, joined, studio, tmp_path):
    """It is moved to a node of the kind that it was begun on; where there is none any more, it is refused."""
    kind = {"num_gpus": 1, "env_vars": {"ATEN_CPU_CAPABILITY": "default"}}  # as if it had a card, which no other has
    old = add_node(nodes, node_name="old", num_cpus=1, **kind, **nodes.small)
    (tmp_path / "moved").mkdir()
    told: list[News] = []
    stop = partial(lambda told: Interrupted("interrupted") if told else None, told)
    for news in make_all(joined, studio, [story(seconds=LONG)], tmp_path / "moved", 1, num_gpus=1, stop=stop):
        told += [news] if isinstance(news.event, ChunkDone) else []
    assert {news.node for news in told} == {"old"}
    shutil.copytree(tmp_path / "moved", tmp_path / "refused")
    events = list(make_all(joined, studio, [story(seconds=LONG)], tmp_path / "moved", 1))
    assert events[-1].node == "old" and isinstance(events[-1].event, FilmDone)
    assert all(news.event.resumed_chunks for news in events if isinstance(news.event, FilmStarted))
    nodes.remove_node(old, allow_graceful=False)
    *_, last = make_all(joined, studio, [story(seconds=LONG)], tmp_path / "refused", 1)
    assert isinstance(last.event, Failed) and "cpu was" in last.event.error.message
