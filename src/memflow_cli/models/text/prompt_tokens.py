"""Prompts to tokens, without torch: what a text encoder reads of a prompt, and what it cannot."""

import html
import re
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

from memflow_cli.errors import ModelError

END_TOKEN = "</s>"

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
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"the tokenizer is missing: there is no {path}")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise ModelError(f"cannot read the tokenizer {path}: {reason}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._end = self._tokenizer.token_to_id(END_TOKEN)

    def ids(self, text: str) -> list[int]:
        """All tokens of a cleaned prompt; the last is the end token, where the vocabulary has one."""
        tokens: list[int] = self._tokenizer.encode(text).ids
        if self._end is not None and tokens[-1:] != [self._end]:  # some leave that to the library around them
            tokens = [*tokens, self._end]
        return tokens

    def ids_read(self, text: str, text_len: int) -> list[int]:
        """The tokens that a model reads: at most `text_len`, and the end token also of a prompt that is cut."""
        tokens = self.ids(text)
        return tokens if len(tokens) <= text_len else tokens[: text_len - 1] + tokens[-1:]
