"""What people write besides what they say: tags, quoted speech, labels of shots; put in plain words before a prompt's
sentences are told apart.
"""

import re

from memflow_cli.models.theatre.language.words import WORN, Vocabulary, Word, plain_letters

_SIDES = {"r": "right", "l": "left"}
_SIDE = re.compile(r"\b((?:frame|screen|stage|camera|[Ee]xits?|[Ee]nters?|[Ff]rom|[Tt]o)(?: the)?) ([RL])\b")
_NO = r"(?:no|er|oh|sorry|wait|I mean|rather)\b"
_LEFT_NO_RIGHT = rf"\b(?:left|right),?\s*{_NO}(?:,?\s*{_NO})*,?\s*(?:(?:from|to|on) )?(?:the )?(?=(?:left|right)\b)"
_PLAIN = (
    (re.compile(r"\s/\s"), ". "),
    (re.compile(_LEFT_NO_RIGHT, re.IGNORECASE), ""),
    (re.compile(r"\b(show(?:s|ed|ing)?) off\b"), r"\1"),
    (re.compile(r"\b[Ee]xeunt\b(?: (?:both|all|omnes))?"), "They leave"),
    (re.compile(r"(?<!not )(?<!n't )(?<!never )(?<!without )\b(?:stop|stops|stopped) \w+ing\b"), "stands still"),
    (re.compile(r"\b(?:goes|go|went),?\s+(?=\")"), "says "),
    (re.compile(r",\s*right\s*(?=[,?])"), ""),
    (re.compile(r"^\s*(?:\w+[- ])?(?:shot|close-?up)s?\s*,\s*", re.IGNORECASE), ""),
    (re.compile(r"(?:,?\s*and\s+)?\b\w+\s+lived happily ever after", re.IGNORECASE), ""),
    (re.compile(rf"(?<=[.?!])\s+[Ww]ith (?=(?:an?|the) [\w ]{{0,20}}\b(?:{WORN})\b)"), " It has "),
)


def plainly_said(prompt: str) -> str:
    """The prompt without what is not of the story: "And the fox goes, "Hello!"" says so, and does not go."""
    text = re.sub(r"[ \t]+", " ", re.sub(r"\s*\n\s*", "\n", plain_letters(prompt)))
    text = _SIDE.sub(lambda match: f"{match[1]} {_SIDES[match[2].lower()]}", text)
    for pattern, meant in _PLAIN:
        text = pattern.sub(meant, text)
    return text


def is_name_in(prompt: str, word: Word, vocabulary: Vocabulary) -> bool:
    """Whether the author wrote it with a capital, and it means nothing else."""
    return word.written.isalpha() and word.known_as not in vocabulary.telling and word.written.capitalize() in prompt


def quoted(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 60 else prompt[:57] + "...")
