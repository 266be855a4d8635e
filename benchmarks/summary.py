"""From rows to the tables of memory.json.

Intervals: Wilson for shares, all films of one story counted as one; over films or stories, paired, by bootstrap.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.both import Together
from benchmarks.drift import STATISTICS, TIMES, Minute
from benchmarks.films import POLICIES
from benchmarks.intervals import clustered_change, clustered_share, mean, share
from benchmarks.judge import QUESTIONS
from benchmarks.openings import COMBINATIONS
from benchmarks.returns import FAILURES, KINDS, LATER, WHOLE_FILM, Return
from benchmarks.true_clips import MOVES

REFERENCE = "nam"
BASES = ("window", "sink")  # whose speed the others' is held against
SIDES = {True: "same side", False: "other side"}


def summarise_returns(returns: Sequence[Return]) -> dict[str, dict]:
    """By policy: for each kind of story identity and recall, by side, and what went wrong; fidelity and speed over all."""
    table: dict[str, dict] = {}
    for policy in dict.fromkeys(item.policy for item in returns):
        own = [item for item in returns if item.policy == policy]
        timed = own if policy in POLICIES else []  # the baselines' films may be of another run
        row: dict = {"frames_per_second": mean([item.frames_per_second for item in timed])}
        for kind in KINDS:
            of_kind = [item for item in own if item.kind == kind]
            row[kind] = _identity(of_kind) | {
                name: _identity([item for item in of_kind if item.same_side == same]) for same, name in SIDES.items()
            }
        row["fidelity"] = {
            name: clustered_share([item.fidelity[name] for item in own]) for name in (*WHOLE_FILM, *MOVES)
        }
        table[policy] = row
    return table


def _identity(items: Sequence[Return]) -> dict:
    """identity: colour and accessory as before; colour: that alone. as told: as its first prompt said."""
    stories = len({item.story for item in items})

    def percent(right: Callable[[Return], bool]) -> dict:
        return share([right(item) for item in items], stories)

    return {
        "identity": percent(lambda item: item.failure is None),
        "colour": percent(lambda item: item.failure in (None, "accessory")),
        "as told": percent(lambda item: item.after == item.told),
        "recall": percent(lambda item: any(item.bank[0])),
        f"recall +{LATER[1]}": percent(lambda item: any(item.bank[1])),
        "failures": {name: sum(item.failure == name for item in items) for name in FAILURES},
    }


def paired_differences(returns: Sequence[Return]) -> dict[str, dict]:
    """nam minus every other policy (nam + something minus nam) in points of identity, on the same stories; and speed as ratios
    to window and to sink.
    """
    results: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    speeds: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item in returns:
        results[item.policy, item.kind][item.story].append(100.0 * (item.failure is None))
        if item.policy in POLICIES:
            speeds[item.policy][item.story].append(item.frames_per_second)
    table: dict[str, dict] = {}
    for policy in dict.fromkeys(item.policy for item in returns):
        if policy == REFERENCE:
            continue
        ahead, behind = (policy, REFERENCE) if policy.startswith("nam + ") else (REFERENCE, policy)
        table[f"{ahead} - {behind}"] = {
            kind: mean(_paired(results[ahead, kind], results[behind, kind], np.subtract)) for kind in KINDS
        }
    ratios = {
        f"speed / {other}": {
            policy: mean(_paired(speed, speeds[other], np.divide), digits=3)
            for policy, speed in speeds.items()
            if policy != other and other in speeds
        }
        for other in BASES
    }
    return {"identity": table} | ratios


def _paired(one: dict[int, list[float]], other: dict[int, list[float]], operation) -> list[float]:
    return [float(operation(np.mean(one[story]), np.mean(other[story]))) for story in one if story in other]


def summarise_both(films: Sequence[Together]) -> dict[str, dict]:
    """By policy. looks kept: of each puppet; both kept: of each film; right one acts: of each beat, with what it is made of."""
    table: dict[str, dict] = {}
    for policy in dict.fromkeys(film.policy for film in films):
        own = [film for film in films if film.policy == policy]
        stories = len({film.story for film in own})
        kept = [[failure is None for failure in film.lost] for film in own]
        row: dict = {
            "looks kept": share([answer for film in kept for answer in film], stories),
            "both kept": share([all(film) for film in kept], stories),
        }
        for name, of in (
            ("right one acts", "right_one"),
            ("acted", "acted"),
            ("other waited", "waited"),
            ("once", "once"),
        ):
            row[name] = share([answer for film in own for answer in getattr(film, of)], stories)
        row["bank shows both"] = share([all(any(row) for row in film.bank) for film in own], stories)
        row["failures"] = {name: sum(failure == name for film in own for failure in film.lost) for name in FAILURES}
        table[policy] = row
    return table


def summarise_openings(rows: Sequence[dict]) -> dict[str, dict]:
    """Rows {"combinations", "right": question -> answers}."""
    answers: dict[str, dict[str, list[bool]]] = {name: {q: [] for q in QUESTIONS} for name in COMBINATIONS}
    films = Counter(row["combinations"] for row in rows)
    for row in rows:
        for question, right in row["right"].items():
            answers[row["combinations"]][question] += right
    return {
        name: {question: share(right, min(len(right), films[name])) for question, right in row.items()}
        for name, row in answers.items()
    }


def summarise_cuts(rows: Sequence[dict]) -> dict[str, dict]:
    """Rows {question -> (right, asked)}, of the chunks after a cut."""
    return {question: clustered_share([row[question] for row in rows]) for question in QUESTIONS} if rows else {}


def summarise_drift(minutes: Sequence[Minute]) -> dict[str, dict]:
    """By policy: fidelity early and late, and the change from early to late in points and in grey levels."""
    table: dict[str, dict] = {}
    early, late = TIMES
    for policy in dict.fromkeys(item.policy for item in minutes):
        own = [item for item in minutes if item.policy == policy]
        row: dict = {"films": len(own), "fidelity": {}, "change": {}}
        for question in QUESTIONS:
            row["fidelity"][question] = {
                time: clustered_share([item.fidelity[time][question] for item in own]) for time in TIMES
            }
            row["change"][question] = clustered_change(
                [item.fidelity[early][question] for item in own], [item.fidelity[late][question] for item in own]
            )
        for name in STATISTICS:
            row["change"][name] = mean(
                [item.statistics[late][name] - item.statistics[early][name] for item in own], digits=2
            )
        table[policy] = row
    return table
