"""The header of a GGUF file, walked once before the gguf package reads it.

That package makes an object of every element that a header claims, whether the file is long enough for it or not: forty
bytes keep it busy for days.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from memflow_cli.errors import ModelError

MAX_TENSORS = 20_000  # of a file; the largest known models have a few thousand
MAX_KEYS = 100_000
MAX_ELEMENTS = 2_000_000  # of all lists together; a vocabulary of 256,000 tokens has three of its length
_MAX_DIMENSIONS = 8
_VERSIONS = (2, 3)
_TEXT, _LIST = 8, 9
_NUM_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Of a value, by the number that the format has for its kind."""


def check_header(path: Path) -> None:
    """Raises ModelError for a header that is longer than its file, of another version, or claims more than any model has."""
    with path.open("rb") as file:
        _Header(path, file).check()


class _Header:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._num_bytes = path.stat().st_size
        self._elements = 0

    def check(self) -> None:
        self._skip(4)  # "GGUF"
        version = self._number(4)
        if version not in _VERSIONS:
            raise ModelError(f"{self._path} is a GGUF file of version {version}", "versions 2 and 3 are read")
        tensors, keys = self._number(8), self._number(8)
        self._bound(tensors, MAX_TENSORS, "tensors")
        self._bound(keys, MAX_KEYS, "keys")
        for _ in range(keys):
            self._text()
            self._value(self._number(4))
        for _ in range(tensors):
            self._text()
            dimensions = self._number(4)
            self._bound(dimensions, _MAX_DIMENSIONS, "dimensions of a tensor")
            self._skip(8 * dimensions + 4 + 8)  # sizes, format, place

    def _value(self, kind: int) -> None:
        if kind == _TEXT:
            self._text()
        elif kind == _LIST:
            kind, count = self._number(4), self._number(8)
            self._elements += count
            self._bound(self._elements, MAX_ELEMENTS, "elements of lists")
            if kind == _TEXT:
                for _ in range(count):
                    self._text()
            else:
                self._skip(count * self._size(kind))
        else:
            self._skip(self._size(kind))

    def _size(self, kind: int) -> int:
        if kind not in _NUM_BYTES:
            what = "a list of lists" if kind == _LIST else f"a value of the unknown kind {kind}"
            raise ModelError(f"{self._path} is damaged: its header holds {what}", "download or copy it again")
        return _NUM_BYTES[kind]

    def _text(self) -> None:
        self._skip(self._number(8))

    def _number(self, num_bytes: int) -> int:
        """The next whole number, least byte first."""
        content = self._file.read(num_bytes)
        if len(content) < num_bytes:
            self._is_cut_off()
        return int(struct.unpack({4: "<I", 8: "<Q"}[num_bytes], content)[0])

    def _skip(self, num_bytes: int) -> None:
        if num_bytes > self._num_bytes - self._file.tell():
            self._is_cut_off()
        self._file.seek(num_bytes, 1)

    def _is_cut_off(self) -> None:
        raise ModelError(f"{self._path} is cut off or damaged: its header ends early", "download or copy it again")

    def _bound(self, count: int, most: int, what: str) -> None:
        if count > most:
            raise ModelError(f"{self._path} claims {count:,} {what}; at most {most:,} are read")
