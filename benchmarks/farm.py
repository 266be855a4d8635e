"""What a Ray cluster costs: one film through it against the same film alone, and a thousand small films.

    python -m benchmarks.farm overhead --model theatre --seconds 8 --pairs 5
    python -m benchmarks.farm jobs --count 1000 --at-once 2

`overhead`: a worker and a process without Ray hold the same loaded model and make the same film in turns, so that what
else the machine does meets both; told are the median of the pairs' ratios and what the processes have in memory.
`jobs`: films of the toy backbone of the tests; told are films a second, and the driver's memory as their number grows.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.film.script import plan_story
from memflow_cli.models.catalog import PLUGIN_GROUP, find_model
from memflow_cli.story.storyboard import Segment, Storyboard
from memflow_cli.studio.farm.order import Order, absolute
from memflow_cli.studio.job import make_job

if TYPE_CHECKING:
    from memflow_cli.studio.farm.cluster import Cluster

ROOT = Path(__file__).parent.parent
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="what", required=True)
    overhead = ways.add_parser("overhead")
    overhead.add_argument("--model", default="theatre")
    overhead.add_argument("--seconds", type=float, default=8)
    overhead.add_argument("--pairs", type=int, default=5)
    jobs = ways.add_parser("jobs")
    jobs.add_argument("--count", type=int, default=1000)
    jobs.add_argument("--at-once", type=int, default=2)
    alone = ways.add_parser("alone")  # the other process of `overhead`
    alone.add_argument("model")
    alone.add_argument("seconds", type=float)
    given = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_worker_prestart": "0", "RAY_worker_niceness": "0"}
    folder = Path(tempfile.mkdtemp(prefix="farm"))
    try:
        if given.what == "overhead":
            measure_overhead(given.model, given.seconds, given.pairs, folder)
        elif given.what == "jobs":
            measure_jobs(given.count, given.at_once, folder)
        else:
            make_alone(given.model, given.seconds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def story_of(model: str, seconds: float, prompt: str = "a red fox walks through a meadow") -> Storyboard:
    return Storyboard("Farm", (Segment(prompt, seconds),), model, seed=7)


def orders_of(model: str, seconds: float, folder: Path, count: int) -> Iterator[Order]:
    """So many films, which differ in nothing but their names. They are made when they are asked for."""
    entry = find_model(model)
    for number in range(1, count + 1):
        job = make_job(plan_story(story_of(model, seconds), entry), entry, folder / f"{number}.mp4", 7, keep=False)
        yield Order(number, absolute(job))


def make_alone(model: str, seconds: float, folder: Path) -> None:
    """For every line on stdin makes the film, and prints how long it took."""
    from memflow_cli.film.shooting import finished
    from memflow_cli.studio.studio import Studio

    studio = Studio(model)
    for number, _ in enumerate(sys.stdin):
        begun = time.perf_counter()
        job = make_job(
            plan_story(story_of(model, seconds), studio.entry), studio.entry, folder / f"{number}.mp4", 7, keep=False
        )
        finished(studio.shoot(job))
        print(time.perf_counter() - begun, flush=True)


def measure_overhead(model: str, seconds: float, pairs: int, folder: Path) -> None:
    from memflow_cli.film.events import FilmDone
    from memflow_cli.studio.farm.farm import Farm, Ways
    from memflow_cli.studio.farm.nodes import Share
    from memflow_cli.studio.studio import Studio

    command = [sys.executable, "-m", "benchmarks.farm", "alone", model, str(seconds)]
    with a_cluster() as cluster:
        alone = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert alone.stdin is not None and alone.stdout is not None

        def seconds_alone() -> float:
            alone.stdin.write("\n")
            alone.stdin.flush()
            return float(alone.stdout.readline())

        def spent() -> tuple[float, float]:
            """Seconds of processors, of the worker with the driver and of the other process."""
            return sum(map(cpu_seconds, [os.getpid(), *workers()])), cpu_seconds(alone.pid)

        through, without, ray_cpu, other_cpu = [], [seconds_alone()], [], []
        farm = Farm(cluster, Ways(Share(os.cpu_count() or 1, 0, 1)), partial(Studio))
        before, begun = spent(), time.perf_counter()
        for news in farm.make(orders_of(model, seconds, folder, pairs + 1)):
            if isinstance(news.event, FilmDone):
                through.append(time.perf_counter() - begun)
                without.append(seconds_alone())
                memory = sum(map(memory_of, workers())), memory_of(os.getpid()), memory_of(alone.pid)
                now = spent()
                ray_cpu.append(now[0] - before[0])
                other_cpu.append(now[1] - before[1])
                before, begun = spent(), time.perf_counter()
        alone.stdin.close()
        alone.wait()
    print("pair  through Ray  alone      ratio  of processor time")  # the first film of each loads the model
    ratios, cpu_ratios = [], []
    for number in range(1, pairs + 1):
        ray, other = through[number], without[number + 1]
        ratios.append(ray / other)
        cpu_ratios.append(ray_cpu[number] / other_cpu[number])
        cpu = f"{ray_cpu[number]:.2f} s, {other_cpu[number]:.2f} s, {cpu_ratios[-1]:.3f}"
        print(f"{number:4}  {ray:9.3f} s  {other:7.3f} s  {ratios[-1]:.3f}  {cpu}")
    print(f"median ratio {statistics.median(ratios):.3f}, of processor time {statistics.median(cpu_ratios):.3f}")
    worker, driver, other = memory
    print(
        f"worker {worker:.0f} MiB, driver {driver:.0f} MiB, alone {other:.0f} MiB: {worker + driver - other:+.0f} MiB"
    )


def measure_jobs(count: int, at_once: int, folder: Path) -> None:
    from memflow_cli.film.events import FilmDone
    from memflow_cli.studio.farm.farm import Farm, Ways
    from memflow_cli.studio.farm.nodes import Share
    from memflow_cli.studio.studio import Studio

    install_toy(folder)
    done, begun, first = 0, 0.0, 0.0
    with a_cluster() as cluster:
        farm = Farm(cluster, Ways(Share((os.cpu_count() or 1) / at_once, 0, at_once)), partial(Studio))
        print("films  films a second  driver's memory")
        for news in farm.make(orders_of("toy", 0.5, folder, count)):
            assert not hasattr(news.event, "error"), news.event
            if isinstance(news.event, FilmDone):
                done += 1
                begun = begun or time.perf_counter()
                for path in folder.glob(f"{news.number}.*"):
                    path.unlink()
                if done == 1 or done % max(1, count // 10) == 0 or done == count:
                    rate = (done - 1) / (time.perf_counter() - begun) if done > 1 else 0
                    first = first or memory_of(os.getpid())
                    print(f"{done:5}  {rate:14.1f}  {memory_of(os.getpid()):10.1f} MiB", flush=True)
    print(f"the driver grew by {memory_of(os.getpid()) - first:.1f} MiB over {count} films")


@contextlib.contextmanager
def a_cluster() -> Iterator["Cluster"]:
    """One node on this machine, without what Ray starts for clusters that grow."""
    from ray.cluster_utils import Cluster as Node

    from memflow_cli.studio.farm.cluster import Cluster

    about = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
    folder = tempfile.mkdtemp(prefix="ray")
    os.environ["RAY_TMPDIR"] = folder
    node = Node()
    try:
        node.add_node(num_cpus=os.cpu_count() or 1, object_store_memory=100 * MIB, plasma_directory=folder, **about)
        with Cluster(node.address) as cluster:
            yield cluster
    finally:
        node.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def install_toy(folder: Path) -> None:
    """Makes the tests' plug-in known to this process and, by PYTHONPATH, to those that it starts."""
    about = folder / "toy-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0\n")
    (about / "entry_points.txt").write_text(f"[{PLUGIN_GROUP}]\ntoy = toy_backbone:model\n")
    paths = [str(folder), str(ROOT / "tests"), str(ROOT / "src")]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])


def memory_of(process: int) -> float:
    """What a process holds that it does not share, in MiB."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) * 1024 / MIB


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers() -> list[int]:
    """Processes of workers that were started from here, by way of Ray's own."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            above = Path("/proc", parent, "stat").read_text().rpartition(")")[2].split()[1]
            is_worker = (path / "cmdline").read_bytes().startswith(b"ray::RemoteWorker")
            found += [int(path.name)] if is_worker and int(above) == os.getpid() else []
    return found


if __name__ == "__main__":
    main()
