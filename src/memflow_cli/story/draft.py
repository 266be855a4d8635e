"""A storyboard as plain values that nobody has checked yet, with the lines they stand in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memflow_cli.story.prompts import escape_braces, plain_name
from memflow_cli.story.scalars import text_of
from memflow_cli.story.yaml_lines import KeyPath

SUBJECTS = ("characters", "places")
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

    def name_plainly(self) -> None:
        """Gives characters and places the names by which they are looked up, and takes down those given twice."""
        for kind in SUBJECTS if isinstance(self.content, dict) else ():
            subjects = self.content.get(kind)
            if not isinstance(subjects, dict) or all(name == plain_name(name) for name in subjects):
                continue
            named: dict[str, Any] = {}
            for name, subject in subjects.items():
                if (plain := plain_name(name)) in named:
                    self.problems.append((self.lines.get((kind, name)), f"{plain[:60]!r} is given twice"))
                named[plain] = subject
            self.content[kind] = named
            self.lines = {
                (kind, plain_name(str(place[1])), *place[2:]) if place[:1] == (kind,) and place[1:] else place: line
                for place, line in self.lines.items()
            }

    def in_line(self, number: int) -> "Draft":
        """All of it stands in this line of its file."""
        segments = self.content.get("segments", [])
        self.lines = {(): number, **{("segments", index): number for index in range(len(segments))}}
        self.warnings = [(number, sentence) for _, sentence in self.warnings]
        return self


def draft_of_prompts(prompts: Sequence[str], seconds: float | Sequence[float], **fields: Any) -> Draft:
    """Prompts, one segment each; LongLive's words for a cut are read as one. `fields`: of the whole storyboard. Where
    they define neither characters nor places, prompts and style say all they mean, and their braces are braces.
    """
    durations = [seconds] * len(prompts) if isinstance(seconds, int | float) else list(seconds)
    refers = any(fields.get(kind) is not None for kind in SUBJECTS)
    segments = [segment(*each, refers=refers) for each in zip(prompts, durations, strict=True)]
    if not refers and isinstance(style := text_of(fields.get("style")), str):
        fields["style"] = escape_braces(style)
    return Draft({**fields, "segments": segments})


def segment(prompt: str, seconds: float, cut: bool = False, refers: bool = False, **fields: Any) -> dict[str, Any]:
    """An entry of `segments`. `refers`: the prompt refers to people as {name}; otherwise its braces are braces."""
    if prompt.lower().startswith(_CUT):
        cut, prompt = True, prompt[len(_CUT) :].lstrip()
    entry = {"prompt": prompt if refers else escape_braces(prompt), "duration": seconds, **fields}
    return {**entry, "transition": "cut"} if cut else entry
