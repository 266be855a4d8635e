"""Infinity-RoPE's line: `a fox walks[5s] | a cat sleeps[10s#] ; first subtitle | second subtitle`.

[Ns] is a prompt's length, # in it a cut at its beginning; behind a semicolon stand the subtitles.
"""

import re
from typing import Any

from memflow_cli.story.draft import Draft, segment

_LENGTH = re.compile(r"\[\s*(\d{1,6}(?:\.\d{1,6})?)\s*s?\s*(#?)\s*s?\s*\]\s*$")
_ANY_LENGTH = re.compile(r"\[\s*\d{1,6}(?:\.\d{1,6})?\s*(?:s\s*#?|#\s*s?)\s*\]")
ALMOST_LENGTH = re.compile(
    rf"(?!{_ANY_LENGTH.pattern})(\[\s*(?:[-+]?[.,]?\d|[-+]?inf|nan)[^\[\]|;]{{0,400}}\])\s*(?=$|\||;)", re.IGNORECASE
)
"""What stands where a length does, begins as a number does, and is none."""


def read_line(line: str, segment_seconds: float) -> Draft | None:
    """None for a line of another kind: one without a length such as [5s] behind a prompt."""
    lengths = list(_ANY_LENGTH.finditer(line))
    if not lengths:
        return None
    end = line.find(";", lengths[-1].end())
    actions = line[: end if end >= 0 else len(line)].split("|")
    if not all(_LENGTH.search(action) for action in (actions[0], actions[-1])):
        return None
    subtitles = [text.strip() for text in line[end + 1 :].split("|")] if end >= 0 else []
    draft = Draft({"segments": []})
    for number, action in enumerate(actions):
        match = _LENGTH.search(action)
        prompt = action[: match.start()].strip() if match else action.strip()
        if match is None:
            draft.say(f"prompt {number + 1} says no length such as [5s]; it gets {segment_seconds:g} s")
        seconds = float(match[1]) if match else segment_seconds
        caption: dict[str, Any] = (
            {"caption": subtitles[number]} if number < len(subtitles) and subtitles[number] else {}
        )
        cut = bool(match and match[2]) and number > 0  # the first prompt begins the film
        draft.content["segments"].append(segment(prompt, seconds, cut, **caption))
    if len(subtitles) > len(actions):
        draft.say(f"{len(subtitles)} subtitles for {len(actions)} prompts; those that are too many are left out")
    return draft
