"""JSON text -> the same document as from YAML: values, their source texts, and the line of each, within the same bounds."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from memflow_cli.story.prompts import composed
from memflow_cli.story.scalars import read_scalar
from memflow_cli.story.yaml_lines import MAX_DEPTH, MAX_VALUES, Document, KeyPath, YamlProblem

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")
      | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)
      | (?P<word>true|false|null)
      | (?P<mark>[{}\[\],:])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def read_json(text: str) -> Document:
    """Raises YamlProblem for what is not JSON, with its line."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = self._split(text)
        self._document = Document()

    @staticmethod
    def _split(text: str) -> Iterator[_Token]:
        position, line = 0, 1
        text = text.rstrip()
        while True:
            match = _TOKEN.match(text, position)
            if match is None:
                skipped = len(text[position:]) - len(text[position:].lstrip())
                line += text.count("\n", position, position + skipped)
                raise YamlProblem(
                    line, f"not valid JSON: {text[position + skipped :][:20].splitlines()[0]!r} is not expected"
                )
            kind = str(match.lastgroup)
            start = match.start(kind)
            line += text.count("\n", position, start)
            yield _Token(kind, match[kind], line)
            position = match.end()

    def read(self) -> Document:
        self._document.value = self._value(next(self._tokens), ())
        self._expect("end", next(self._tokens))
        return self._document

    def _value(self, token: _Token, path: KeyPath) -> Any:
        if len(self._document.lines) >= MAX_VALUES:
            raise YamlProblem(token.line, f"more than {MAX_VALUES:,} values; that is not a storyboard")
        self._document.lines.setdefault(path, token.line)
        if token.kind == "text":
            return self._string(token)
        if token.kind in ("number", "word"):
            return read_scalar(token.text)
        if token.text not in ("{", "["):
            raise self._unexpected(token)
        if len(path) >= MAX_DEPTH:
            raise YamlProblem(token.line, f"nested more than {MAX_DEPTH} levels deep")
        return self._mapping(path) if token.text == "{" else self._list(path)

    def _list(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        token = next(self._tokens)
        while token.text != "]" or token.kind == "text":
            items.append(self._value(token, (*path, len(items))))
            if not self._goes_on("]"):
                return items
            token = next(self._tokens)
        if items:
            raise self._unexpected(token)
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        token = next(self._tokens)
        while token.text != "}" or token.kind == "text":
            self._expect("text", token)
            key = composed(self._string(token))
            self._expect("mark", next(self._tokens), ":")
            if key in values:
                self._document.repeated(key, token.line)
            self._document.lines[(*path, key)] = token.line
            values[key] = self._value(next(self._tokens), (*path, key))
            if not self._goes_on("}"):
                return values
            token = next(self._tokens)
        if values:
            raise self._unexpected(token)
        return values

    def _goes_on(self, closing: str) -> bool:
        token = next(self._tokens)
        if token.kind == "mark" and token.text in (",", closing):
            return token.text == ","
        raise self._unexpected(token)

    def _expect(self, kind: str, token: _Token, text: str | None = None) -> None:
        if token.kind != kind or (text is not None and token.text != text):
            raise self._unexpected(token)

    @staticmethod
    def _string(token: _Token) -> str:
        try:
            return str(json.loads(token.text))
        except ValueError:
            raise YamlProblem(token.line, "not valid JSON: a backslash that begins no escape") from None

    @staticmethod
    def _unexpected(token: _Token) -> YamlProblem:
        what = "its end" if token.kind == "end" else repr(token.text[:20])
        return YamlProblem(token.line, f"not valid JSON: {what} is not expected here")
