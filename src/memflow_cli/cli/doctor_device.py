"""`memflow doctor --device`: what holds on this device, and how fast it is, in one table and a text for a bug report."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from memflow_cli.cli.device import choose_device
from memflow_cli.cli.talk import note, result, result_json
from memflow_cli.cli.words import size_text
from memflow_cli.errors import DeviceError
from memflow_cli.version import __version__

if TYPE_CHECKING:
    from memflow_cli.bench.device_check import Outcome, Speed


def check_device(name: str, as_json: bool) -> None:
    """Prints the table, or one JSON document. Raises DeviceError if an option does not hold."""
    device = choose_device(name)
    from memflow_cli.bench.device_check import check_options, describe_device, measure_models

    about = {"memflow": __version__, **describe_device(device)}
    if not as_json:
        result("  ".join(f"{key} {value}" for key, value in about.items()))
        result("")
        result(f"{'option':<30}{'recording':<40}{'largest error':>14}{'allowed':>10}  verdict")
    outcomes: list[Outcome] = []
    for outcome in check_options(device):
        outcomes.append(outcome)
        if not as_json:
            result(_outcome_line(outcome))
    speeds = []
    if not as_json:
        result("")
        result(f"{'model, random weights':<30}{'frames/s':>10}{'peak':>12}{'estimated':>12}")
    for speed in measure_models(device):
        speeds.append(speed)
        if not as_json:
            result(_speed_line(speed))
    if as_json:
        result_json(
            {"about": about, "options": [_outcome_json(item) for item in outcomes], "models": list(map(asdict, speeds))}
        )
    elif device.type == "cpu":
        note("paste the above into a bug report; a GPU has more options to check")
    failed = [item for item in outcomes if item.verdict == "FAILS"]
    if failed:
        raise DeviceError(
            f"{len(failed)} of {len(outcomes)} checks do not hold: {failed[0].option} over {failed[0].recording}",
            "leave out that option, and report the table above",
        )


def _outcome_line(outcome: "Outcome") -> str:
    error = "" if outcome.max_error is None else f"{outcome.max_error:.1e}"
    told = outcome.verdict if outcome.problem is None else f"{outcome.verdict}: {outcome.problem}"
    return f"{outcome.option:<30}{outcome.recording:<40}{error:>14}{outcome.tolerance:>10.0e}  {told}"


def _speed_line(speed: "Speed") -> str:
    rate = "" if speed.frames_per_second is None else f"{speed.frames_per_second:.1f}"
    peak = "" if speed.peak_bytes is None else size_text(speed.peak_bytes)
    return (
        f"{speed.model:<30}{rate:>10}{peak:>12}{size_text(speed.estimated_bytes):>12}  {speed.problem or ''}".rstrip()
    )


def _outcome_json(outcome: "Outcome") -> dict[str, Any]:
    error = outcome.max_error
    told = None if error is not None and not math.isfinite(error) else error
    return {**asdict(outcome), "max_error": told, "verdict": outcome.verdict}
