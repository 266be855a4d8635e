"""What every viewer of a film under way is sent: texts and fragments, in order, from the film's start on.

Whoever joins late gets all of it. Messages lie in a file that has no name, so that a long film takes no memory and a
slow viewer never makes the render wait. One thread appends, the server's event loop reads.
"""

import asyncio
import json
import struct
import tempfile
import threading
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

_START = struct.Struct("<d")


class _Place(NamedTuple):
    """Where a message lies in the file, and whether it is a text."""

    offset: int
    num_bytes: int
    is_text: bool


class Channel:
    """Messages in order. `tell` and `show` may be called from any thread; `follow` from the loop that is attached."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the channel
        self._places: list[_Place] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._is_closed = False

    def tell(self, **content: Any) -> None:
        """A JSON object, as a text."""
        self._append(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"), is_text=True)

    def show(self, seconds: float, fragment: bytes) -> None:
        """A piece of video. `seconds`: where in the film its own time 0 lies; sent as a double in front of it."""
        if fragment:
            self._append(_START.pack(seconds) + fragment, is_text=False)

    def close(self) -> None:
        """Nothing more will come: followers end once they have everything."""
        self._is_closed = True
        self._wake()

    def attach(self) -> None:
        """To be called by the server inside its event loop, before anybody follows."""
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()

    async def follow(self) -> AsyncIterator[str | bytes]:
        """All messages from the first on, as they come."""
        assert self._news is not None, "the server attaches its loop first"
        number = 0
        while True:
            news = self._news
            while number < len(self._places):
                yield self._read(self._places[number])
                number += 1
            if self._is_closed:
                return
            if number == len(self._places):
                await news.wait()

    def _read(self, place: _Place) -> str | bytes:
        with self._lock:
            self._file.seek(place.offset)
            content = self._file.read(place.num_bytes)
        return content.decode("utf-8") if place.is_text else content

    def _append(self, content: bytes, is_text: bool) -> None:
        with self._lock:
            offset = self._file.seek(0, 2)
            self._file.write(content)
            self._places.append(_Place(offset, len(content), is_text))
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        """Wakes whoever waits; the next news have a bell of their own."""
        bell, self._news = self._news, asyncio.Event()
        if bell is not None:
            bell.set()
