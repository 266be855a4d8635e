"""Words that several commands share: counts, stages, exit codes."""

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

from memflow_cli import errors

STAGES = {
    "model": "loading the model",
    "prompts": "reading the prompts",
    "replay": "rebuilding what the earlier run knew",
    "stitch": "stitching the parts",
}
"""A film's StageStarted -> what is told of it."""

PROGRESS_KINDS = ("auto", "rich", "plain", "jsonl", "none")


def check_progress_kind(kind: str) -> None:
    """Raises UsageError for a kind of progress that there is not."""
    if kind not in PROGRESS_KINDS:
        raise errors.UsageError(f"--progress {kind[:40]}: no such kind", hint=f"allowed: {', '.join(PROGRESS_KINDS)}")


_LEAST_COLUMNS = 24  # that a text beside a label has


def count(number: int, thing: str, things: str = "") -> str:
    """1 chunk, 2 chunks, 1,000 chunks"""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def duration_text(seconds: float) -> str:
    """40 s, 5 min 03 s, 2 h 10 min: how long something takes, by the clock on the wall."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def shorten(text: str, width: int) -> str:
    """At most so many characters of a text, the last one an ellipsis if it is longer."""
    return text if len(text) <= width else text[: max(0, width - 1)].rstrip() + "…"


def beside(label: str, text: str, most: int | None = None) -> str:
    """`label` and then `text`, which on a terminal breaks between words and goes on below its own beginning.

    What has no room beside something goes below it: the text, and cells of the label. `most`: columns that it takes,
    wherever it goes. A path or a model's name stays whole, to be copied.
    """
    columns = most
    if sys.stdout.isatty():
        terminal = shutil.get_terminal_size().columns
        columns = min(most or terminal, terminal)
    if columns is None:
        return label + text
    first, rest = label, " " * len(label)
    if columns - len(label) < _LEAST_COLUMNS:
        first = rest = " " * 4
        if len(label.rstrip()) > columns:
            label = re.sub("(?<=[^ ])  +", f"\n{rest}", label.rstrip())
    told = textwrap.fill(
        text,
        max(columns, 10),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return told if first is label else f"{label.rstrip()}\n{told}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, the first row a heading; the first column stands left, numbers below each other.

    On a terminal that is too narrow for that, the cells of a row stand below each other, each beside its heading.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    if sys.stdout.isatty() and sum(widths) + 2 * (len(widths) - 1) > shutil.get_terminal_size().columns:
        return "\n".join(_upright(rows[0][1:], row) for row in rows[1:])
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _upright(headings: Sequence[str], row: Sequence[str]) -> str:
    width = max(map(len, headings))
    return "\n".join([row[0], *(f"  {heading:{width}}  {cell}" for heading, cell in zip(headings, row[1:]))])


def exit_codes() -> dict[int, str]:
    """Every exit code and when it happens, from the table in errors.py."""
    found: dict[int, list[str]] = {0: ["done"]}
    for line in (errors.__doc__ or "").splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[1].isdecimal() and hasattr(errors, words[0]):
            found.setdefault(int(words[1]), []).append(words[2])
    return {code: "; ".join(found[code]) for code in sorted(found)}
