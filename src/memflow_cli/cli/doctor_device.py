"""`memflow doctor --device`: what holds on this device, and how fast it is, in two tables and a text for a bug report."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from memflow_cli.cli.device import choose_device
from memflow_cli.cli.talk import note, result, result_json
from memflow_cli.errors import DeviceError
from memflow_cli.machine.amounts import size_text
from memflow_cli.version import __version__

if TYPE_CHECKING:
    from memflow_cli.bench.device_check import Outcome, Speed


def check_device(name: str, as_json: bool) -> None:
    """Prints the tables, or one JSON document. Raises DeviceError if an option does not hold."""
    device = choose_device(name)
    began = time.monotonic()
    from memflow_cli.bench.device_check import MOST_SECONDS, check_options, describe_device, measure_models
    from memflow_cli.bench.recordings import recorded

    about = {"memflow": __version__, **describe_device(device)}
    if not as_json:
        result(f"memflow doctor --device {name}")
        result("\n".join(f"  {key:<12}{value}" for key, value in about.items()) + "\n")
    outcomes: list[Outcome] = []
    for _, of_option in groupby(check_options(device), lambda outcome: outcome.option):
        outcomes += (row := list(of_option))
        if not as_json:
            result("\n".join(_option_lines(row, with_title=len(outcomes) == len(row))))
    speeds = []
    if not as_json:
        result(f"\n{'model, random weights':<30}{'frames/s':>10}{'peak memory':>14}{'as planned':>14}")
    for speed in measure_models(device, MOST_SECONDS - (time.monotonic() - began)):
        speeds.append(speed)
        if not as_json:
            result(_speed_line(speed))
    if as_json:
        result_json(
            {"about": about, "options": [_outcome_json(item) for item in outcomes], "models": list(map(asdict, speeds))}
        )
    else:
        result(
            "\n" + "\n".join(_not_measured(speeds)) + f"{time.monotonic() - began:.0f} s, {len(recorded())} recordings"
        )
        note("paste all of the above into a bug report")
    failed = [item for item in outcomes if item.verdict == "FAILS"]
    if failed:
        raise DeviceError(
            f"{len(failed)} of {len(outcomes)} checks do not hold: {failed[0].option} over {failed[0].recording}",
            "leave out that option, and report the tables above",
        )


def _option_lines(row: "list[Outcome]", with_title: bool) -> Iterator[str]:
    """The largest error of an option over each recording; before the first option, what the columns are."""
    if with_title:
        titles = "".join(f"{outcome.system:>9}" for outcome in row)
        yield f"{'largest error':<22}{titles}{'allowed':>9}"
    if all(outcome.max_error is None for outcome in row):
        yield f"{row[0].option:<22}  not run: {row[0].problem}"
        return
    errors = "".join(f"{_error(outcome):>9}" for outcome in row)
    verdicts = {outcome.verdict for outcome in row}
    verdict = next(word for word in ("FAILS", "not run", "holds") if word in verdicts)
    yield f"{row[0].option:<22}{errors}{row[0].tolerance:>9g}  {'' if verdict == 'not run' else verdict}".rstrip()
    for outcome in row:
        if outcome.problem:
            yield f"    {outcome.system}: {outcome.problem}"


def _error(outcome: "Outcome") -> str:
    if outcome.max_error is None:
        return "-"
    return f"{'!' if outcome.verdict == 'FAILS' else ''}{outcome.max_error:.1e}"


def _speed_line(speed: "Speed") -> str:
    rate = "-" if speed.frames_per_second is None else f"{speed.frames_per_second:.1f}"
    peak = "-" if speed.peak_bytes is None else size_text(speed.peak_bytes)
    return f"{speed.model:<30}{rate:>10}{peak:>14}{size_text(speed.estimated_bytes):>14}"


def _not_measured(speeds: "Iterable[Speed]") -> Iterator[str]:
    """Why there are models without figures, each reason once."""
    for problem, which in groupby(speeds, lambda speed: speed.problem):
        if problem is not None:
            names = [speed.model for speed in which]
            yield f"{names[0] if len(names) == 1 else f'{len(names)} models'}: {problem}\n"


def _outcome_json(outcome: "Outcome") -> dict[str, Any]:
    error = outcome.max_error
    told = None if error is not None and not math.isfinite(error) else error
    return {**asdict(outcome), "max_error": told, "verdict": outcome.verdict}
