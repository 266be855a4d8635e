"""`--watch`: a page that plays a film while it is made."""

import contextlib
import webbrowser
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from memflow_cli.cli.talk import note
from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    from memflow_cli.cli.progress import Progress
    from memflow_cli.film.events import Event

INSTALL = "pip install 'memflow-cli[live]'"


@contextlib.contextmanager
def watched(tell: "Progress", opens_browser: bool) -> "Iterator[Progress]":
    """A progress that also shows the film on a page of this machine. Raises UsageError where the packages are missing.

    Whoever closes the page changes nothing; when the film is done, the page has all of it and needs nobody.
    """
    try:
        from memflow_cli.live.channel import Channel
        from memflow_cli.live.server import LiveServer
        from memflow_cli.live.showing import Showing
    except ImportError as error:
        raise UsageError(f"--watch: {error.name} is missing", INSTALL) from error
    channel = Channel()
    with LiveServer(channel) as server:
        note(f"watch it at {server.address}")
        if opens_browser:
            webbrowser.open(server.address)
        yield _Both(tell, Showing(channel, "watch"))


class _Both:
    """Tells both; what the page cannot take does not stop the film."""

    def __init__(self, tell: "Progress", show: "Callable[[Event], None]") -> None:
        self._tell = tell
        self._show = show
        self._is_shown = True

    def __call__(self, event: Any) -> None:
        self._tell(event)
        if not self._is_shown:
            return
        try:
            self._show(event)
        except Exception as error:
            self._is_shown = False
            note(f"the page shows no more: {type(error).__name__}: {error}")

    def stage(self, text: str) -> None:
        self._tell.stage(text)

    def film(self, number: int, total: int) -> None:
        self._tell.film(number, total)

    def __enter__(self) -> "_Both":
        return self

    def __exit__(self, *_: object) -> None:
        pass
