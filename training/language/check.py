"""Stories in plain English, and what the reader takes them to mean: `python -m training.language.check [stories.yaml] [-v]`."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.language.meaning import Meaning
from memflow_cli.models.theatre.language.reader import Reader
from memflow_cli.models.theatre.language.stage import read_story

DEV_STORIES = Path(__file__).parent / "dev_stories.yaml"


class Line(NamedTuple):
    """A prompt, whether it is cut to, who is in view at its end, and where."""

    prompt: str
    cut: bool
    who: str
    setting: str


def read_lines(path: Path) -> Iterator[tuple[str, list[Line]]]:
    """Stories: title and lines."""
    for story in yaml.safe_load(path.read_text(encoding="utf-8")):
        lines = [[part.strip() for part in line.split("|")] for line in story["lines"]]
        yield (
            story["title"],
            [Line(text.removeprefix("CUT "), text.startswith("CUT "), who, where) for text, who, where in lines],
        )


def expected_roles(who: str) -> dict[str, tuple[str, tuple[str, str] | None, str | None]]:
    """'cat white blue-hat wave + fox red' -> by species the colour, what is worn (kind, colour), the action asked for."""
    roles = {}
    for part in who.split(" + ") if who != "nobody" else ():
        species, colour, *rest = part.split()
        worn = next((tuple(reversed(word.split("-"))) for word in rest if "-" in word), None)
        roles[species] = colour, worn, next((word for word in rest if "-" not in word), None)
    return roles


def tell(meaning: Meaning, line: Line) -> dict[str, tuple[int, int]]:
    """By question: (right, asked), for whoever is there at the prompt's end."""
    expected = expected_roles(line.who)
    here = {role.species: role for role in meaning.roles if role.acts[-1].verb != "leave"}
    right, asked = (
        Counter(setting=meaning.setting == line.setting, who=set(here) == set(expected)),
        Counter(setting=1, who=1),
    )
    for species, (colour, worn, act) in expected.items():
        role = here.get(species)
        asked.update(colour=1, accessory=1)
        right["colour"] += role is not None and role.colour == colour
        right["accessory"] += role is not None and role.worn == worn
        if act:
            asked["action"] += 1
            right["action"] += role is not None and any(done.verb == act for done in role.acts)
    return {question: (int(right[question]), number) for question, number in asked.items()}


def check(reader: Reader, path: Path, tell_all: bool = False) -> dict[str, tuple[int, int]]:
    """Tallies over all stories; what was misunderstood is printed."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for title, lines in read_lines(path):
        meanings = read_story(reader, [line.prompt for line in lines], [line.cut for line in lines])
        for line, meaning in zip(lines, meanings, strict=True):
            counts = tell(meaning, line)
            for question, (good, number) in counts.items():
                right[question] += good
                asked[question] += number
            wrong = [question for question, (good, number) in counts.items() if good < number]
            if wrong or tell_all:
                print(f"  {title}: {line.prompt!r}\n      wanted {line.who}; {line.setting}")
                print(f"      {meaning.in_words()}   {' | '.join(meaning.beats)}   {' '.join(wrong).upper()}")
    return {question: (right[question], asked[question]) for question in asked}


def main() -> None:
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    folder = Path(names[1]) if len(names) > 1 else THEATRE_FOLDER / "reader"
    counts = check(Reader(folder), Path(names[0]) if names else DEV_STORIES, "-v" in sys.argv)
    print(
        " ".join(
            f"{question} {100 * good / number:.0f} ({good}/{number})" for question, (good, number) in counts.items()
        )
    )


if __name__ == "__main__":
    main()
