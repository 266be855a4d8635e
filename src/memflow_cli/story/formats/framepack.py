"""FramePack-Studio's timed prompts: `[0s: a forest] [3s-5s: a deer appears]`, or a line `[3s] a deer appears` each.

A prompt without an end lasts until the next begins; the last one has no end of its own unless it says one.
"""

import re
from typing import NamedTuple

from memflow_cli.story.draft import Draft, segment

_SECONDS = r"(\d{1,6}(?:\.\d{1,6})?)\s*s"
_INSIDE = re.compile(rf"\[\s*{_SECONDS}\s*(?:-\s*{_SECONDS}\s*)?:\s*([^\]]*?)\s*\]")
_BEHIND = re.compile(rf"\[\s*{_SECONDS}\s*(?:-\s*{_SECONDS}\s*)?\]\s*([^\[]*)")


class _Timed(NamedTuple):
    start: float
    end: float | None
    prompt: str


def starts_later(line: str) -> bool:
    """Whether a line begins with a time that is not the film's start: it goes on with the line before it."""
    match = _INSIDE.match(line) or _BEHIND.match(line)
    return match is not None and float(match[1]) > 0


def read_text(text: str, segment_seconds: float) -> Draft | None:
    """None for a text of another kind. Lines count as one text."""
    text = " ".join(text.split())
    pattern = _INSIDE if _INSIDE.search(text) else _BEHIND
    matches = list(pattern.finditer(text))
    if not matches or (pattern is _BEHIND and matches[0].start() > 0):
        return None
    draft = Draft({"segments": []})
    timed = [_Timed(float(m[1]), float(m[2]) if m[2] else None, m[3].strip()) for m in matches]
    outside = pattern.sub("\n", text).split("\n")
    if opening := outside[0].strip():
        if timed[0].start > 0:
            timed.insert(0, _Timed(0.0, None, opening))
        else:
            draft.say(f"{opening[:60]!r} stands outside of the times, and is left out")
    for other in outside[1:]:
        if other.strip():
            draft.say(f"{other.strip()[:60]!r} stands outside of the times, and is left out")
    timed.sort(key=lambda each: each.start)
    if timed[0].start > 0:
        draft.say(f"nothing is said for the first {timed[0].start:g} s; the first prompt begins the film")
    _append_segments(draft, timed, segment_seconds)
    return draft


def _append_segments(draft: Draft, timed: list[_Timed], segment_seconds: float) -> None:
    start = 0.0
    for number, each in enumerate(timed):
        following = timed[number + 1].start if number + 1 < len(timed) else None
        end = each.end if following is None else following
        if following is not None and each.end is not None and each.end != following:
            what = "a gap" if each.end < following else "an overlap"
            draft.say(f"{what} between prompts {number + 1} and {number + 2}: the first lasts until {following:g} s")
        if end is None:
            end = start + segment_seconds
            draft.say(f"the last prompt has no end; it gets {segment_seconds:g} s")
        if end <= start:
            draft.say(f"prompt {number + 1} has no time of its own, and is left out")
            continue
        draft.content["segments"].append(segment(each.prompt, round(end - start, 6)))
        start = end
