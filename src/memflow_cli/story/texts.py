"""How the texts and times of a film are shown: what obeys no terminal, and clocks. Texts stay as they were written."""

import difflib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

# Characters that a terminal, an editor or a player obeys instead of showing them:
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # C0 but tab and line feed, DEL, C1
    "|[\u2028\u2029\u202a-\u202e\u2066-\u206f\ufff9-\ufffb]"  # other line ends, overrides of direction, annotations
    "|[\ud800-\udfff]"  # bytes of a path that are not UTF-8
    # Joiners shape what stands before them: Persian words, Hindi letters, families of emoji. After anything else, and
    # after each other, they only hide.
    "|(?<![^\x00-\x7f\u200b-\u200d\u2060\ufeff])[\u200b-\u200d\u2060]|\ufeff"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]"  # tags, but those of a flag
)


_FIRST_OF_WORD, _LAST_OF_WORD = 200, 100
_LONG_WORD = re.compile(r"\S{400,}")
_MAX_COMPARED = 500  # known words that a misspelt one is compared with
_FIRST_OF_LINE, _LAST_OF_LINE, _LONG_LINE = 1600, 300, 2000


def printable(text: str) -> str:
    """A text that may quote anything, made fit for a terminal: what it would obey is escaped, as `\\x1b` or `\\u202e`."""
    return _OBEYED.sub(lambda found: _escaped(found[0]), text)


def shortened(text: str) -> str:
    """What an error quotes may be of any length: of a word or line that nobody would read, its beginning and end."""
    text = _LONG_WORD.sub(lambda found: f"{found[0][:_FIRST_OF_WORD]}…{found[0][-_LAST_OF_WORD:]}", text)
    return "\n".join(map(_shortened_line, text.split("\n")))


def without_controls(text: str) -> str:
    """The text without the characters that `printable` escapes, for places in which an escape means nothing."""
    return _OBEYED.sub("", text)


def escape_in_json(json_text: str) -> str:
    """A JSON document in which what a terminal would obey stands as an escape: the same document."""
    return _OBEYED.sub(lambda found: _utf16_escapes(found[0]), json_text)


def one_line(text: str) -> str:
    """`printable`, with its line breaks and runs of spaces as one space each."""
    return printable(re.sub(r"[ \t\r\n\v\f]+", " ", text).strip())


def command_line(*words: str | int | Path) -> str:
    """A memflow command to be copied: a shell reads every name in it as what it is, and memflow no film as an option."""
    named = (f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words)
    return shlex.join(["memflow", *named])


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """ "; did you mean ...?" for a misspelt word, or one in another case; or nothing."""
    folded = {each.casefold(): each for each in reversed(known[:_MAX_COMPARED])}
    close = difflib.get_close_matches(word[:60].casefold(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]}?" if close else ""


def clock(seconds: float, digits: int = 2) -> str:
    """0:04.50, 1:02:03.00: a moment or a length of a film, with so many digits after the point."""
    parts = round(seconds * 10**digits)
    minutes, rest = divmod(parts, 60 * 10**digits)
    hours, minutes = divmod(minutes, 60)
    whole, fraction = divmod(rest, 10**digits)
    end = f"{whole:02}.{fraction:0{digits}}" if digits else f"{whole:02}"
    return f"{hours}:{minutes:02}:{end}" if hours else f"{minutes}:{end}"


def _shortened_line(line: str) -> str:
    return line if len(line) < _LONG_LINE else f"{line[:_FIRST_OF_LINE]}…{line[-_LAST_OF_LINE:]}"


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"  # the byte itself (PEP 383)
    return character.encode("unicode_escape").decode()


def _utf16_escapes(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
