"""A storyboard as plain values that nobody has checked yet, with the lines they stand in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memflow_cli.story.prompts import escape_braces
from memflow_cli.story.yaml_lines import KeyPath

_CUT = "the scene transitions."  # what LongLive's prompts begin with where its picture starts anew


@dataclass
class Draft:
    """`content`: as from our YAML. `warnings`: what the file says and has no meaning here, as (line or None, sentence)."""

    content: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int | None, str]] = field(default_factory=list)
    warnings: list[tuple[int | None, str]] = field(default_factory=list)
    commented: frozenset[KeyPath] = frozenset()  # what a comment follows: perhaps a text that begins with #

    def say(self, sentence: str, line: int | None = None) -> None:
        self.warnings.append((line, sentence))

    def in_line(self, number: int) -> "Draft":
        """All of it stands in this line of its file."""
        segments = self.content.get("segments", [])
        self.lines = {(): number, **{("segments", index): number for index in range(len(segments))}}
        self.warnings = [(number, sentence) for _, sentence in self.warnings]
        return self


def draft_of_prompts(prompts: Sequence[str], seconds: float | Sequence[float], **fields: Any) -> Draft:
    """Prompts that say all they mean, one segment each; LongLive's words for a cut are read as one."""
    durations = [seconds] * len(prompts) if isinstance(seconds, int | float) else list(seconds)
    segments = [segment(prompt, duration) for prompt, duration in zip(prompts, durations, strict=True)]
    return Draft({**fields, "segments": segments})


def segment(prompt: str, seconds: float, cut: bool = False, **fields: Any) -> dict[str, Any]:
    """An entry of `segments` for a prompt whose braces are braces."""
    if prompt.lower().startswith(_CUT):
        cut, prompt = True, prompt[len(_CUT) :].lstrip()
    entry = {"prompt": escape_braces(prompt), "duration": seconds, **fields}
    return {**entry, "transition": "cut"} if cut else entry
