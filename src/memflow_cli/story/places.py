"""Where the fields of a storyboard stand, as its sentences begin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from memflow_cli.story.yaml_lines import KeyPath


@dataclass(frozen=True)
class Places:
    """Where the fields of one storyboard stand: the file, its lines, and what was set from outside of it."""

    path: Path
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    origins: Mapping[KeyPath, str] = field(default_factory=dict)

    def line(self, number: int | None) -> str:
        return f"{self.path}: " if number is None else f"{self.path}, line {number}: "

    def of(self, *key_path: str | int) -> str:
        """What a sentence about a field begins with: the file, and the option or line."""
        if key_path in self.origins:
            return f"{self.path}: {self.origins[key_path]}: "
        return self.line(self.lines.get(key_path))

    def sorted_place(self, key_path: KeyPath) -> tuple[int, str]:
        """(line for sorting, what a sentence about a field begins with, its name included)."""
        if key_path in self.origins:
            return 0, f"{self.origins[key_path]}: "
        name = dotted(key_path)
        named = f"{name}: " if name else ""
        for length in range(len(key_path), -1, -1):
            line = self.lines.get(key_path[:length])
            if line is not None:
                return line, self.line(line) + named
        return 0, self.line(None) + named


def dotted(key_path: KeyPath) -> str:
    """A field as `--set` and sentences name it: segments.2.prompt."""
    return ".".join(str(part + 1) if isinstance(part, int) else part[:60] for part in key_path)
