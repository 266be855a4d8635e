"""Names that a sentence gives, and the sentence without them: the reader takes "a bear called Ruby" better as "a bear"."""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple


class _Pattern(NamedTuple):
    """`said`: what stays of it; `whose`: where the species is told, "known" in an earlier sentence; `any_word`: also a word with
    a meaning is meant as a name.
    """

    form: re.Pattern[str]
    said: str
    whose: Literal["before", "after", "known"]
    any_word: bool


_NEAR = 4  # words within which a species is told after the name
_NAME = r"(?P<name>[A-Z][a-z]+)\b"
_TITLES = "Inspector|Captain|Mister|Mr|Mrs|Miss|Doctor|Dr|Professor|King|Queen|Prince|Princess|Sir|Lady|Lord|Uncle|Aunt|Granny"
_PATTERNS = (
    _Pattern(re.compile(rf",? (?:(?:is|was) )?(?:called|named) {_NAME}"), "", "before", True),
    _Pattern(re.compile(rf",? whose name (?:is|was) {_NAME}"), "", "before", True),
    _Pattern(re.compile(rf"\b(?:[Hh]is|[Hh]er|[Ii]ts) name (?:is|was) {_NAME}(?:,? and\b|,)?"), "", "known", True),
    _Pattern(re.compile(rf"^{_NAME} (?:is|was) (?:his|her|its) name\b(?:,? and\b|,)?"), "", "known", True),
    _Pattern(re.compile(rf"(?:(?<=[Tt]his is )|(?<=friend is )){_NAME}, (?=(?:an?|the|my|our)\b)"), "", "after", True),
    _Pattern(re.compile(rf"\b(?:{_TITLES}) {_NAME}, (?=an? )"), "", "after", True),
    _Pattern(re.compile(rf"\b{_NAME} (?=the (?:[a-z]+ )?[a-z]+\b)"), "", "after", False),
    _Pattern(re.compile(rf"\b{_NAME} (?:is|was) (?=an? [a-z]+)"), "There is ", "after", False),
)


def take_names(
    sentence: str, species_in: Callable[[str], list[str]], known: str | None, is_word: Callable[[str], bool]
) -> tuple[str, dict[str, str]]:
    """The sentence without the names that it gives, and whose they are.

    `species_in`: those that a text names, in order; `known`: of whom the sentence before told.
    """
    names: dict[str, str] = {}
    for pattern in _PATTERNS:

        def take(match: re.Match[str], pattern: _Pattern = pattern) -> str:
            before, after = match.string[: match.start()], " ".join(match.string[match.end() :].split()[:_NEAR])
            named = {"before": species_in(before)[-1:], "after": species_in(after)[:1], "known": [known]}[pattern.whose]
            name = match["name"].lower()
            if not any(named) or (is_word(name) and not pattern.any_word):
                return match.group()
            names[name] = named[0]
            return pattern.said

        sentence = pattern.form.sub(take, sentence)
    return sentence, names
