"""memory.json as text and picture: markdown tables, and a plot of identity by policy as SVG."""

from benchmarks.drift import STATISTICS, TIMES
from benchmarks.judge import QUESTIONS
from benchmarks.recall import recall_markdown
from benchmarks.returns import FAILURES, KINDS, WHOLE_FILM
from benchmarks.summary import BASES, REFERENCE, SIDES
from benchmarks.true_clips import MOVES

COLOURS = {"one puppet": "#3b6ea5", "right one of two": "#d9822b"}


def percent(value: dict) -> str:
    """'75 (60-86)'."""
    if value["percent"] is None:
        return "-"
    return f"{value['percent']:.0f} ({value['low']:.0f}-{value['high']:.0f})"


def points(value: dict, digits: int = 0) -> str:
    """'+62 (+50 to +73)'; '+0' where there is no interval."""
    if value["mean"] is None:
        return "-"
    if value["low"] is None:
        return f"{value['mean']:+.{digits}f}"
    return f"{value['mean']:+.{digits}f} ({value['low']:+.{digits}f} to {value['high']:+.{digits}f})"


def _number(value: dict, digits: int) -> str:
    """'0.97 (0.96-0.98)'."""
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f}-{value['high']:.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def markdown(content: dict) -> str:
    """All tables, percent with 95% intervals; parts that were not measured are left out."""
    parts = [_identity, _differences, _sides, _failures, _both, _openings, _cuts, _films, _drift, _recall, _judge]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := part(content))) + "\n"


def _identity(content: dict) -> list[str]:
    rows = content["returns"]
    if not rows:
        return []
    ratios = [content["differences"][f"speed / {other}"] for other in BASES]
    head = ["policy", *(f"{kind}: {name}" for kind in KINDS for name in ("identity", "colour", "recall", "n"))]
    lines = []
    for policy, row in rows.items():
        cells = []
        for kind in KINDS:
            cells += [percent(row[kind][name]) for name in ("identity", "colour", "recall")]
            cells.append(str(row[kind]["identity"]["n"]))
        speeds = [(row["frames_per_second"], 1), *((ratio.get(policy, {"mean": None}), 2) for ratio in ratios)]
        lines.append([policy, *cells, *(_number(*speed) for speed in speeds)])
    return ["**Memory**", "", *table([*head, "frames/s", *(f"speed / {other}" for other in BASES)], lines)]


def _differences(content: dict) -> list[str]:
    rows = content["differences"]["identity"] if content["returns"] else {}
    lines = [[name, *(points(row[kind]) for kind in KINDS)] for name, row in rows.items()]
    return ["**Identity, difference on the same stories, points**", "", *table(["", *KINDS], lines)] if lines else []


def _sides(content: dict) -> list[str]:
    head = ["identity", *(f"{kind}, {side} (n)" for kind in KINDS for side in SIDES.values())]
    lines = []
    for policy, row in content["returns"].items():
        values = [row[kind][side]["identity"] for kind in KINDS for side in SIDES.values()]
        lines.append([policy, *(f"{percent(value)} ({value['n']})" for value in values)])
    return ["**By the side on which the puppet comes back**", "", *table(head, lines)] if lines else []


def _failures(content: dict) -> list[str]:
    head = ["returns lost by", *(f"{kind}: {name}" for kind in KINDS for name in FAILURES)]
    lines = [
        [policy, *(str(row[kind]["failures"][name]) for kind in KINDS for name in FAILURES)]
        for policy, row in content["returns"].items()
    ]
    return (
        ["**What went wrong (number of returns, the first thing of each)**", "", *table(head, lines)] if lines else []
    )


def _both(content: dict) -> list[str]:
    rows = content.get("both") or {}
    names = [name for name in next(iter(rows.values()), {}) if name != "failures"]
    lines = [
        [policy, *(percent(row[name]) for name in names), *(str(row["failures"][name]) for name in FAILURES)]
        for policy, row in rows.items()
    ]
    films = next(iter(rows.values()))["both kept"]["n"] if rows else 0
    head = f"**Two at once** ({films} films a policy; the last columns: puppets lost by)"
    return [head, "", *table(["policy", *names, *FAILURES], lines)] if lines else []


def _openings(content: dict) -> list[str]:
    rows = content["openings"]
    lines = [[name, *(percent(row[q]) for q in QUESTIONS)] for name, row in rows.items() if row["setting"]["n"]]
    return (
        ["**A film's first three chunks against their prompt**", "", *table(["", *QUESTIONS], lines)] if lines else []
    )


def _cuts(content: dict) -> list[str]:
    row = content["cuts"]
    if not row:
        return []
    head = f"**The first chunks after a cut, whose prompt names species only** ({row['setting']['films']} films)"
    return [head, "", *table(list(QUESTIONS), [[percent(row[question]) for question in QUESTIONS]])]


def _films(content: dict) -> list[str]:
    names = (*WHOLE_FILM, *MOVES)
    lines = [
        [policy, *(percent(row["fidelity"][name]) for name in names)] for policy, row in content["returns"].items()
    ]
    return ["**The same films, all beats, against the story**", "", *table(["policy", *names], lines)] if lines else []


def _drift(content: dict) -> list[str]:
    lines = []
    for policy, row in content["drift"].items():
        label = f"{policy} ({row['films']} films)"
        for name in (*QUESTIONS, *STATISTICS):
            fidelity = row["fidelity"].get(name)
            cells = [percent(fidelity[time]) if fidelity else "" for time in TIMES]
            digits = 1 if fidelity else 2
            lines.append([label, name, *cells, points(row["change"][name], digits)])
    head = ["policy", "", *TIMES, "change"]
    return (
        ["**Drift** (percent and points; picture statistics in grey levels)", "", *table(head, lines)] if lines else []
    )


def _recall(content: dict) -> list[str]:
    text = recall_markdown(content["recall"]) if content["recall"] else ""
    head = "**Recall by score, on drawn stories** (a bank frame shows the puppet; in brackets the share of bank frames)"
    return [head, "", text] if text else []


def _judge(content: dict) -> list[str]:
    rows = content["judge"]
    lines = [
        [name, *(f"{row[q][0]} ({row[q][1]})" if q in row else "-" for q in QUESTIONS)] for name, row in rows.items()
    ]
    return ["**The judge on held-out true frames, percent (n)**", "", *table(["", *QUESTIONS], lines)] if lines else []


def identity_plot(returns: dict[str, dict]) -> str:
    """SVG: identity by policy with its 95% interval, a colour for each kind of story."""
    left, top, height, group, bar = 46, 34, 220, 86, 26
    width = left + group * len(returns) + 16

    def y(value: float) -> float:
        return round(top + height * (1 - value / 100), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + height + 44}" '
        f'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{top + height + 44}" fill="white"/>',
        f'<text x="{left}" y="18">identity after a return, percent (95% interval)</text>',
    ]
    for value in range(0, 101, 25):
        parts.append(f'<path d="M{left} {y(value)}H{width - 12}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4}" text-anchor="end">{value}</text>')
    for place, (policy, row) in enumerate(returns.items()):
        x = left + group * place + group / 2
        weight = ' font-weight="bold"' if policy == REFERENCE else ""
        parts.append(f'<text x="{x}" y="{top + height + 18}" text-anchor="middle"{weight}>{policy}</text>')
        for side, kind in enumerate(KINDS):
            value = row[kind]["identity"]
            if value["percent"] is None:
                continue
            start, middle = x + (side - 1) * (bar + 2) + 1, x + (side - 0.5) * (bar + 2)
            parts.append(
                f'<rect x="{start}" y="{y(value["percent"])}" width="{bar}" height="{y(0) - y(value["percent"]):.1f}" '
                f'fill="{COLOURS[kind]}"/>'
            )
            low, high = y(value["low"]), y(value["high"])
            parts.append(f'<path d="M{middle} {low}V{high}M{middle - 4} {low}h8M{middle - 4} {high}h8" stroke="#222"/>')
    for place, kind in enumerate(KINDS):
        x = left + 150 * place
        parts.append(f'<rect x="{x}" y="{top + height + 27}" width="11" height="11" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 16}" y="{top + height + 37}">{kind}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
