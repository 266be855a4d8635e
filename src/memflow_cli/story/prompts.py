"""Texts of a storyboard: made one line, and prompts completed by descriptions and style."""

import re
import unicodedata
from collections.abc import Iterator, Mapping

from memflow_cli.errors import UsageError
from memflow_cli.story.texts import did_you_mean

MAX_NAMES = 64  # that one prompt may refer to, or one list hold: a bank has no room for more
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_BLANKS = re.compile(r"[ \t\r\n]+")
_SENTENCE_ENDS = (".", "!", "?")


def composed(text: str) -> str:
    """In normal form C: however a letter and its accent were typed, they are one and the same text."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def one_line(text: str) -> str:
    """Line breaks and runs of blanks become one blank. No-break and ideographic spaces are part of the text."""
    return _BLANKS.sub(" ", text).strip(" ")


def plain_name(text: str) -> str:
    """A character's or place's name as it is looked up: composed, and no blank counts but one between words."""
    return one_line(composed(text))


def is_blank(text: str) -> bool:
    """Nothing but blanks of whatever width, and characters that show nothing by themselves."""
    return all(unicodedata.category(each) in ("Zs", "Zl", "Zp", "Cc", "Cf") for each in text)


def names_in(prompt: str) -> Iterator[str]:
    """The names that a prompt refers to as {name}, in order."""
    return (plain_name(match[1]) for match in _BRACES.finditer(prompt) if match[1] is not None)


def escape_braces(text: str) -> str:
    """A text that means its braces, as a prompt writes them."""
    return text.replace("{", "{{").replace("}", "}}")


def plain_braces(text: str) -> str:
    """The inverse of `escape_braces`, for a text that refers to nobody."""
    return _BRACES.sub(lambda found: found[0][0] if found[1] is None else found[0], text)


def complete_prompt(prompt: str, descriptions: Mapping[str, str], style: str) -> str:
    """{name} becomes its description, {{ a brace; the style is appended; the whole is one line.

    A description that begins a sentence after another gets a capital letter. A prompt that ends with the style already
    is left as it is.
    """
    pieces: list[str] = []
    position = 0
    before = ""  # the last written character that is not a blank
    for match in _BRACES.finditer(prompt):
        between = prompt[position : match.start()]
        before = between.rstrip()[-1:] or before
        piece = match[0][0] if match[1] is None else descriptions[plain_name(match[1])]
        if match[1] is not None and before in _SENTENCE_ENDS:
            piece = piece[:1].upper() + piece[1:]
        pieces += [between, piece]
        before = match[0][-1]
        position = match.end()
    text = one_line("".join([*pieces, prompt[position:]]))
    return with_style(text, one_line(style))


def refer(text: str, descriptions: Mapping[str, str], style: str = "") -> tuple[str, tuple[str, ...]]:
    """A prompt that is written while its film is there already: complete, and the names that it refers to.

    Raises UsageError for a name that nobody has, and for more than `MAX_NAMES` of them.
    """
    names = tuple(dict.fromkeys(names_in(text)))
    if unknown := [name for name in names if name not in descriptions]:
        known = list(descriptions)
        hint = f"{did_you_mean(unknown[0], known)}; known are {', '.join(known[:10])}"
        if not known:
            hint = "; it has none: describe who is meant, or write {{ for a brace"
        raise UsageError(f"{{{unknown[0][:40]}}} is not a character or place of this film{hint}")
    if len(names) > MAX_NAMES:
        raise UsageError(f"{len(names)} names; at most {MAX_NAMES} are allowed")
    return complete_prompt(text, descriptions, style), names


def with_style(text: str, style: str) -> str:
    if not style or text.endswith(style):
        return text
    return f"{text} {style}" if text.endswith(_SENTENCE_ENDS) else f"{text}, {style}"


def completed_length(prompt: str, descriptions: Mapping[str, str], style: str) -> int:
    """About how long `complete_prompt` will be, never less, without making it: descriptions may be long and named often."""
    names = sum(len(descriptions[name]) - len(name) - 2 for name in names_in(prompt))
    return len(prompt) + names + (len(style) + 2 if style else 0)
