"""What to do about text that is not YAML: the mistakes that every storyboard writer makes once, each told by its cause."""

import re
from typing import Any

_QUOTED_THEN_MORE = re.compile(r"""(?:: |- |^)\s*(["'])(?:\\.|(?!\1).)*\1\s*[^\s#,:\]}]""")
_SPECIAL = re.compile(r"(?:: |- |^|[{,\[])\s*([{\[\]}@`%*&!|>?,])")


def advice(text: str, error: Any) -> str:
    """An error of the parser -> ' (what to do)', or nothing where the cause is not certain."""
    lines = text.split("\n")
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark and mark.line < len(lines)]
    told = _advise(str(error.problem), str(error.context), marks, lines)
    return f" ({told})" if told else ""


def _advise(problem: str, context: str, marks: list[Any], lines: list[str]) -> str:
    line = lines[marks[0].line] if marks else ""
    indentation = line[: len(line) - len(line.lstrip())]
    if "escape" in problem:
        if "Unicode" in problem:
            return "write the character itself; YAML knows no pairs of \\u escapes"
        return "a backslash in double quotes begins an escape; use single quotes, or write it twice"
    if "\t" in indentation or "tab character" in problem:
        return "indent with spaces, not with tabs"
    if "unexpected end of stream" in problem and "quoted" in context:
        opened = marks[-1].line + 1
        return f"the quote that line {opened} opens is never closed"
    if "block sequence entries are not allowed" in problem:
        return "a text that starts with - needs quotes"
    if "mapping values are not allowed" in problem and marks:
        return _about_a_colon(marks[0], lines)
    if "mapping keys are not allowed" in problem or "block scalar" in context:
        return "a text that starts with ?, > or | needs quotes"
    places = [lines[mark.line] for mark in marks]
    if any(_QUOTED_THEN_MORE.search(place) for place in places):
        return _about_quotes(next(place for place in places if _QUOTED_THEN_MORE.search(place)))
    if "alias" in context or "anchor" in context or "cannot start any token" in problem:
        return "a text that starts with a special character needs quotes"
    if "flow" in context:
        return _in_brackets(problem, places)
    if marks and _SPECIAL.search(line):
        return "a text that starts with { or another special character needs quotes"
    if "block" in context:
        return "its indentation does not fit: keys of one entry begin in the same column"
    return ""


def _about_a_colon(mark: Any, lines: list[str]) -> str:
    """A second `: ` in a line is a text's own; otherwise the line is further in than it may be."""
    line = lines[mark.line]
    before = line[: mark.column]
    if ": " in before or re.match(r"\s*(- )?\s*[\w ]+:\s*:", line):
        return "a text with a colon in it needs quotes"
    above = next((other for other in reversed(lines[: mark.line]) if other.strip()), "")
    if match := re.match(r"\s*(?:- )?([A-Za-z_]+):\S", above):
        return f"a colon needs a blank behind it: {match[1]}: ..."
    if re.match(r"\s*-[A-Za-z]", above):
        return "a dash needs a blank behind it"
    return "its indentation does not fit: keys of one entry begin in the same column"


def _about_quotes(line: str) -> str:
    if re.search(r"(?:: |- )\s*'[^']*'\w", line):
        return "an apostrophe in single quotes is written twice; or use double quotes"
    return "a text that goes on behind its closing quote needs other quotes around the whole"


def _in_brackets(problem: str, places: list[str]) -> str:
    if any(re.search(r": [^\"'{\[,]*: ", place) for place in places):
        return "a text with a colon in it needs quotes"
    if any(re.search(r"[^\s{\[:,(][^{\[]*[{\[]", place.split(": ", 1)[-1]) for place in places):
        return "a text with { or [ in it needs quotes"
    return "a bracket is not closed" if "expected" in problem else ""
