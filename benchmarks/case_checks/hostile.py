"""Cases in which strangers hand over models, traces and films: the case's own inputs, through today's command line."""

import copy
import json
import os
import resource
import shutil
import signal
import struct
import sys

from benchmarks.case_checks import forked
from benchmarks.case_checks.common import TINY, WEIGHTS, tiny_model, told

_RAW = {chr(code) for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160), 0x202E, 0x2066)}


def _refuse(constant):
    raise AssertionError(f"{constant} in what should be JSON")


def _limits():
    resource.setrlimit(resource.RLIMIT_AS, (10 << 30, 10 << 30))
    signal.alarm(100)


def _inputs(case, begin, **names):
    """The table `C` of a case's repro.py, which is built between `begin` and the first function that runs a command."""
    source = (case.folder / "repro.py").read_text()
    source = source[source.index(begin) :]
    scope = {"os": os, "json": json, "shutil": shutil, "struct": struct, "copy": copy, **names}
    exec(source[: source.index("\n}\n") + 3], scope)
    return scope["C"]


def model_hostile(case):
    import pickle

    import torch
    from safetensors.torch import load_file, save_file

    forked.warm_up()
    work = case.folder / "work"
    work.mkdir()
    (work / "story.yaml").write_text(TINY)
    pwned = case.folder / "pwned"
    names = {"T": WEIGHTS, "torch": torch, "pickle": pickle, "load_file": load_file, "save_file": save_file}
    table = _inputs(case, "def js(", **names)
    seen: dict[int | None, int] = {}
    seconds: dict[str, float] = {}
    for name, change in table.items():
        model = work / "m"
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(WEIGHTS, model)
        try:
            change(model)
        except (OSError, KeyError, StopIteration):
            continue  # the input needs a file that theatre no longer has
        line = ["generate", "story.yaml", "-m", "./m", "-y", "-o", "film.mp4", "--progress", "none"]
        done = forked.run(line, work, limit=110, prepare=_limits)
        assert done.is_told and done.code in (0, 2, 3, 4), f"{name}: {done}"
        seen[done.code] = seen.get(done.code, 0) + 1
        seconds[name] = done.seconds
    assert not pwned.exists() and not list(case.folder.rglob("pwned*")), "code of the model was run"
    slowest = ", ".join(f"{name} {seconds[name]:.0f} s" for name in sorted(seconds, key=seconds.get)[-3:])
    return f"{sum(seen.values())} folders, exit codes {seen}; slowest: {slowest}"


def traces(case):
    model, work = tiny_model(case), case.folder / "work"
    work.mkdir()
    case.write("work/story.yaml", _FOUR)
    told(forked.run(["generate", "story.yaml", "-m", model, "-o", "f.mp4"], work, limit=600), 0)
    header, *lines = (work / "f.memory.jsonl").read_text().splitlines()
    segments = [json.loads(line)["plan_segment"] for line in lines if line.startswith('{"plan_segment"')]
    first = json.loads(header)
    first["version"], first["plan"]["segments"] = 1, segments  # as the case's own inputs have them
    records = [json.loads(line) for line in lines if not line.startswith('{"plan_segment"')]
    count = 0
    for name, (head, changed) in _inputs(case, "ESC = ", H=first, RECS=records).items():
        whole = [head, *(records if changed is None else changed)]
        text = "".join(json.dumps(line) + "\n" for line in whole)
        (work / "f.memory.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
        for options in (["-f", "json"], ["-f", "table"], []):
            done = forked.run(["inspect-memory", "f.mp4", *options], work, prepare=_limits)
            assert done.is_told and done.code in (0, 1, 2), f"{name} {options}: {done}"
            assert not _RAW & set(done.out + done.err), f"{name} {options}: raw control characters"
            if options == ["-f", "json"] and done.out:
                json.loads(done.out, parse_constant=_refuse)
            count += 1
    page = work / "f.inspect" / "index.html"
    assert page.is_file() and page.read_text().count("<script") <= 2, "a script that is not the page's own"
    return f"{count} reports"


_FOUR = """\
seed: 7
segments:
- {prompt: a red fox in a meadow, duration: 1.5s}
- {prompt: an empty meadow, duration: 1.5s}
- {prompt: the fox comes back from the left, duration: 1.5s}
- {prompt: a bear in a forest, duration: 1.5s}
"""


def by_tests(*selection):
    """A check that runs tests: for what a command line cannot do to itself, and for what needs a browser."""

    def check(case):
        from benchmarks.case_checks.common import SOURCE

        root = SOURCE.parent
        done = case.run(
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selection, cwd=root, limit=3600
        )
        last = done.out.strip().splitlines()[-1] if done.out.strip() else str(done)
        assert done.code == 0 and " skipped" not in last, f"{' '.join(selection)}: {last}"
        return f"{last} ({' '.join(selection)})"

    return check
