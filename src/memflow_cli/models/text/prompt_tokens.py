"""Prompts to tokens, without torch: what a text encoder reads of a prompt, and what it cannot.

A model's tokenizer.json is read as it is. `AutoTokenizer` of transformers 5 is not asked: of a folder that names a
`T5Tokenizer`, as Wan's does, it takes the vocabulary and makes rules of its own around it, so that tokens would depend on the
version that is installed; and `plan` counts tokens without importing transformers.
"""

import html
import re
import unicodedata
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from memflow_cli.errors import ModelError
from memflow_cli.models.files import read_json, refusing

END_TOKEN = "</s>"
MAX_GROWTH = 64  # of a text by a tokenizer's own rules

_QUOTES = str.maketrans({"‘": "'", "’": "'", "‛": "'", "“": '"', "”": '"', "‟": '"'})
_COMPATIBLE = re.compile("[ﬀ-ﬆ！-～　]")  # ligatures, full-width forms and space
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff]")


def clean_prompt(prompt: str) -> str:
    """A prompt as the published models were trained to see it.

    HTML entities resolved (twice, as published), ligatures, full-width letters and curly quotes made plain, control
    characters dropped, white space collapsed. Text in the wrong encoding is not repaired.
    """
    text = html.unescape(html.unescape(prompt))
    text = _COMPATIBLE.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    text = _CONTROL.sub("", text.translate(_QUOTES))
    return " ".join(unicodedata.normalize("NFC", text).split())


def most_tokens(prompt: str) -> int:
    """No tokenizer makes more of a prompt: a token a byte, a mark of the beginning, and the end."""
    return len(unicodedata.normalize("NFKC", prompt).encode()) + 2


def least_tokens(prompt: str) -> int:
    """No tokenizer makes fewer: a token a word, and the end."""
    return len(clean_prompt(prompt).split()) + 1


class PromptTokenizer:
    """A model's tokenizer, read from its tokenizer.json. Raises ModelError if that is missing or broken."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tokenizer.json"
        if not self._path.exists():
            raise ModelError(f"the tokenizer is missing: there is no {self._path}")
        check_rules(self._path, read_json(self._path))
        with refusing(self._path, "is not a tokenizer"):
            self._tokenizer = Tokenizer.from_file(str(self._path))
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            self._end = self._tokenizer.token_to_id(END_TOKEN)

    def ids(self, text: str) -> list[int]:
        """All tokens of a cleaned prompt; the last is the end token, where the vocabulary has one."""
        with refusing(self._path, "cannot read a prompt"):
            tokens: list[int] = self._tokenizer.encode(text).ids
        if self._end is not None and tokens[-1:] != [self._end]:  # some leave that to the library around them
            tokens = [*tokens, self._end]
        if not tokens:
            raise ModelError(f"{self._path} makes no tokens of a prompt")
        return tokens

    def ids_read(self, text: str, text_len: int) -> list[int]:
        """The tokens that a model reads: at most `text_len`, and the end token also of a prompt that is cut."""
        tokens = self.ids(text)
        return tokens if len(tokens) <= text_len else tokens[: text_len - 1] + tokens[-1:]


def check_rules(path: Path, content: Any, depth: int = 0, growth: int = 1) -> int:
    """Raises ModelError for rules that would keep a machine busy: patterns that try again and again, texts that grow and
    grow. Returns by how much a text may grow.
    """
    if depth > 30:
        raise ModelError(f"{path} is not a tokenizer: its rules lie in each other too deeply")
    if isinstance(content, dict):
        pattern = content.get("pattern")
        if isinstance(pattern, dict):
            regex, plain = pattern.get("Regex"), pattern.get("String")
            if plain == "" or (regex is not None and not _is_simple(regex)):
                raise ModelError(f"{path} holds a pattern that is refused: {str(regex)[:80]!r}")
            growth *= max(1, len(str(content.get("content", ""))))
        parts = [value for key, value in content.items() if key not in ("vocab", "merges", "added_tokens")]
    else:
        parts = content if isinstance(content, list) and depth else []
    for part in parts:
        if isinstance(part, dict | list):
            growth = check_rules(path, part, depth + 1, growth)
    if growth > MAX_GROWTH:
        raise ModelError(f"{path} makes texts grow by more than {MAX_GROWTH} times")
    return growth


def _is_simple(regex: Any) -> bool:
    """A pattern that takes a time in proportion to the text: one repetition at most, and nothing to choose from."""
    return isinstance(regex, str) and len(re.findall(r"[*+{?|]", regex)) <= 1 and "(" not in regex
