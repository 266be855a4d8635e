"""Cases of films under way: run folders that were damaged, commands beside each other, machines that lack something."""

import hashlib
import itertools
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

from benchmarks.case_checks import forked
from benchmarks.case_checks.common import made, tiny_model, told

STORY = """\
title: Attack
seed: {seed}
segments:
- {{prompt: a red fox with a blue scarf in a meadow, duration: 1.5s}}
- {{prompt: an empty meadow, duration: 1.5s}}
- {{prompt: the fox comes back from the left, duration: 0.75s}}
"""
_QUIETLY = ("--progress", "none", "--keep", "no")
COMPANIONS = {"film.json", "film.memory.jsonl", "film.mp4", "story.yaml"}


def _work(case, name, seed=7):
    folder = case.folder / "work" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "story.yaml").write_text(STORY.format(seed=seed))
    return folder


def _make(case, folder, *options, **how):
    line = ["generate", "story.yaml", "-m", tiny_model(case), "-o", "film.mp4", *_QUIETLY, *options]
    return forked.run(line, folder, **how)


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stop_after(folder, chunks, number=signal.SIGKILL):
    """Sends a process a signal as soon as so many chunks are kept."""

    def kill(process):
        latents = folder / "film.mp4.run" / "latents.bin"
        end = time.monotonic() + 60
        first = 0
        while time.monotonic() < end:
            size = latents.stat().st_size if latents.exists() else 0
            first = first or size
            if first and size >= chunks * first:
                return os.kill(process, number)
            time.sleep(0.001)
        raise AssertionError("no chunk was made in a minute")

    return kill


def damage(case):
    """Every file of a run folder, damaged in every way, swapped with every other, or another film's: found, and made again."""
    chance = random.Random(11)
    right = _work(case, "right")
    told(_make(case, right), 0)
    wanted = _sha256(right / "film.mp4"), _sha256(right / "film.memory.jsonl")
    masters = {}
    for name, seed in (("master", 7), ("other", 8)):
        folder = _work(case, name, seed)
        _make(case, folder, at_work=_stop_after(folder, 3))
        masters[name] = folder / "film.mp4.run"
    master, other = masters["master"], masters["other"]
    files = sorted(path.name for path in master.iterdir())

    def trial(what, change):
        folder = _work(case, "trial")
        run = folder / "film.mp4.run"
        shutil.copytree(master, run)
        change(run)
        done = _make(case, folder, limit=300)
        assert done.is_told and done.code is not None, f"{what}: {done}"
        if done.code == 0:
            assert (_sha256(folder / "film.mp4"), _sha256(folder / "film.memory.jsonl")) == wanted, (
                f"{what}: another film"
            )
            assert set(os.listdir(folder)) == COMPANIONS, f"{what}: left over {os.listdir(folder)}"
        return done.code

    codes = [
        trial(f"{name} {kind}", lambda run, name=name, spoil=spoil: spoil(run / name, chance))
        for name in files
        for kind, spoil in _DAMAGE.items()
    ]
    for one, two in itertools.combinations(files, 2):
        codes.append(trial(f"{one} and {two} swapped", lambda run, one=one, two=two: _swap(run / one, run / two)))
    for names in (*([name] for name in files if (other / name).exists()), ["latents.bin", "trace.jsonl"]):
        codes.append(trial(f"{names} of another film", lambda run, names=names: _take_over(other, run, names)))
    return f"{len(codes)} damages: {codes.count(0)} the same film, {len(codes) - codes.count(0)} refused"


def _flip(path, chance):
    content = bytearray(path.read_bytes() or b"\0")
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _as_pipe(path, chance):
    path.unlink()
    os.mkfifo(path)


def _as_link(path, chance):
    path.unlink()
    path.symlink_to("/dev/zero")


_DAMAGE = {
    "a bit": _flip,
    "empty": lambda path, chance: path.write_bytes(b""),
    "cut": lambda path, chance: path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size or 1)]),
    "gone": lambda path, chance: path.unlink(),
    "longer": lambda path, chance: path.write_bytes(path.read_bytes() + chance.randbytes(3000)),
    "zeros": lambda path, chance: path.write_bytes(bytes(path.stat().st_size)),
    "random": lambda path, chance: path.write_bytes(chance.randbytes(path.stat().st_size)),
    "a pipe": _as_pipe,
    "/dev/zero": _as_link,
}


def _swap(one, two):
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _take_over(source, target, names):
    for name in names:
        shutil.copyfile(source / name, target / name)


def determinism(case):
    """One film, whatever it is made beside, by how many threads, in how many lives."""
    folder = case.folder / "films"
    folder.mkdir()
    (folder / "story.yaml").write_text(STORY.format(seed=7))
    (folder / "other.yaml").write_text(STORY.format(seed=9))
    size = ("--size", "224x128", "--progress", "none")
    seen = {}

    def make(name, *options, stories=("story.yaml",), **environment):
        (folder / name).mkdir(exist_ok=True)
        done = case.memflow("generate", *stories, "-o", f"{name}/", *size, *options, env=environment, cwd=folder)
        made(done, folder / name / "story.mp4")
        seen[name] = _sha256(folder / name / "story.mp4"), _sha256(folder / name / "story.memory.jsonl")

    for threads in ("1", "2", "3"):
        make(f"threads-{threads}", OMP_NUM_THREADS=threads)
    make("json-inspect", "--json", "--inspect")
    make("batch", stories=("other.yaml", "story.yaml"))
    make("hash-seed", PYTHONHASHSEED="1")
    (folder / "resumed").mkdir()
    case.memflow("generate", "story.yaml", "-o", "resumed/", *size, "--max-time", "1s", cwd=folder)
    make("resumed", OMP_NUM_THREADS="1")
    assert len(set(seen.values())) == 1, f"different films: {seen}"
    return f"{len(seen)} ways, one film"


def processes(case):
    """Several commands at one film, at two names of one record, and a terminal that goes away."""
    right = _work(case, "right")
    told(_make(case, right), 0)
    wanted = _sha256(right / "film.mp4")
    codes = []
    for attempt in range(4):
        folder = _work(case, f"three-{attempt}")
        line = ["generate", "story.yaml", "-m", str(tiny_model(case)), "-o", "film.mp4", *_QUIETLY]
        together = [_start(line, folder, number) for number in range(3)]
        codes += [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in together]
        assert set(codes) <= {0, 2} and 0 in codes, f"codes {codes}"
        assert _sha256(folder / "film.mp4") == wanted and set(os.listdir(folder)) == COMPANIONS, os.listdir(folder)
    folder = _work(case, "names")
    told(_make(case, folder), 0)
    done = forked.run(["generate", "story.yaml", "-m", str(tiny_model(case)), "-o", "film.MP4", *_QUIETLY], folder)
    told(done, 2, says="share")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        folder = _work(case, f"signal-{number}")
        done = _make(case, folder, at_work=_stop_after(folder, 2, number))
        assert done.is_told and done.code in (0, 128 + number, -number), f"{number!r}: {done}"
        told(_make(case, folder), 0)
        assert _sha256(folder / "film.mp4") == wanted and set(os.listdir(folder)) == COMPANIONS, f"after {number!r}"
    return f"three at once, four times: {codes}; four signals"


def _start(line, folder, number):
    from memflow_cli.cli.app import run

    process = os.fork()
    if process:
        return process
    try:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open(folder.parent / f"talk-{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        code = run(line)
    finally:
        os._exit(code)


def load(case):
    """Many films in one process: memory, and nothing left over."""
    model, peaks = tiny_model(case), []
    for count in (3, 24):
        folder = case.folder / "work" / f"load-{count}"
        folder.mkdir(parents=True)
        stories = []
        for number in range(count):
            stories.append(f"s{number:02}.yaml")
            (folder / stories[-1]).write_text(STORY.format(seed=number))
        line = ["generate", *stories, "-m", model, "-o", "out/", *_QUIETLY]
        done = forked.run(line, folder, limit=600, at_work=lambda process: peaks.append(_peak(process)))
        told(done, 0)
        left = {path.suffix for path in (folder / "out").iterdir()}
        assert left == {".mp4", ".json", ".jsonl"}, left
        assert len(list((folder / "out").glob("*.mp4"))) == count
    few, many = peaks
    assert many < 1.1 * few, f"{few >> 20} MiB for 3 films, {many >> 20} MiB for 24"
    return f"{few >> 20} MiB for 3 films, {many >> 20} MiB for 24"


def _peak(process):
    """The most memory that a process held, as the system counts it, asked until it ends."""
    most = 0
    while True:
        try:
            text = Path(f"/proc/{process}/status").read_text()
        except OSError:
            return most
        if "VmHWM" not in text:  # it has ended, and waits to be asked for its code
            return most
        most = max(most, int(text.split("VmHWM:")[1].split()[0]) << 10)
        time.sleep(0.02)


NAMES = [
    *(
        "-film",
        "--help",
        "%d",
        "%03d",
        "a:b",
        "concat:a|b",
        "file:x",
        "http:..x",
        "pipe:1",
        "a|b",
        "a'b\"",
        "a#b?c=d&e",
    ),
    *("a\\b", "ü狐🦊", "[x]*", "a,b;c=d", "$HOME", "film.mp4", "film.memory", "~", ".hidden", " sp ace ", "a\nb"),
    *("a\x1b[31mb", "n" * 220, "ü" * 110, "a\udcff\udcfe"),
]


def faults(case):
    """Names, streams, limits and environments, as the machine gives them."""
    right = _work(case, "right")
    told(_make(case, right), 0)
    wanted, count = _sha256(right / "film.mp4"), 0
    model = tiny_model(case)

    def attempt(what, codes=(0,), name="film.mp4", **how):
        nonlocal count
        folder = _work(case, "fault")
        line = ["generate", "story.yaml", "-m", model, f"--out={name}", "--progress", "plain", "--keep", "no"]
        done = forked.run(line, folder, **how)
        assert done.is_told and done.code in codes, f"{what}: {done}"
        if done.code in (0, 6):
            assert _sha256(folder / name) == wanted, f"{what}: another film"
            assert not (folder / (name + ".run")).exists(), f"{what}: a run folder is left"
        else:
            again = forked.run(line, folder)
            assert again.code == 0 and _sha256(folder / name) == wanted, f"{what}, then again: {again}"
        count += 1

    for name in NAMES:
        attempt(repr(name), name=f"./{name}.mp4")
    for number, code in ((1, (6,)), (2, (0,))):
        attempt(
            f"{number} full", code, prepare=lambda number=number: os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        )
        attempt(f"{number} closed", prepare=lambda number=number: os.close(number))
        attempt(f"{number} a broken pipe", prepare=lambda number=number: _broken_pipe(number))
    for most in (64, 24, 12):
        attempt(f"{most} files", (0, 1, 2, 3), prepare=lambda most=most: _limit(resource.RLIMIT_NOFILE, most))
    for most in (1, 16, 64):
        attempt(f"files of {most} KiB", (0, 1), prepare=lambda most=most: _limit(resource.RLIMIT_FSIZE, most << 10))
    for mask in (0o077, 0o000):
        attempt(f"umask {mask:o}", prepare=lambda mask=mask: os.umask(mask))
    strange = {"HOME": "/nonexistent", "TMPDIR": "/proc", "XDG_CACHE_HOME": "/dev/null/x", "COLUMNS": "1", "PATH": ""}
    for key, value in strange.items():
        attempt(f"{key}={value}", prepare=lambda key=key, value=value: os.environ.update({key: value}))
    return f"{count} films"


def _broken_pipe(number):
    read, write = os.pipe()
    os.dup2(write, number)
    os.close(read)
    os.close(write)


def _limit(which, most):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(which, (most, most))
