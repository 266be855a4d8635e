"""Takes of one segment on a page of their own: they play side by side, in step. Nothing is loaded but the takes beside it."""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from urllib.parse import quote


@dataclass(frozen=True)
class ShownTake:
    """`path`: its film, from the page's folder on. `command`: what puts it in, None for what is in. `seconds`: the part of
    the film that is meant, all of it without."""

    name: str
    about: str
    path: str
    command: str | None = None
    seconds: tuple[float, float] | None = None


def make_takes_page(film: str, segment: int, takes: Sequence[ShownTake]) -> str:
    """HTML, to lie in the folder of the takes. `segment`: from 1."""
    style, script = _resource("takes.css"), _resource("takes.js")
    parts = {
        "TITLE": html.escape(f"{film} · segment {segment}"),
        "FILM": html.escape(film),
        "SEGMENT": str(segment),
        "STYLE": style,
        "SCRIPT": script,
        "STYLE_HASH": _policy_hash(style),
        "SCRIPT_HASH": _policy_hash(script),
        "TAKES": "\n".join(map(_figure, takes)),
    }
    # One pass: what is filled in is never searched again.
    return re.sub(r"@([A-Z_]+)@", lambda found: parts[found[1]], _resource("takes.html"))


def _figure(take: ShownTake) -> str:
    part = "" if take.seconds is None else f' data-start="{take.seconds[0]:.4f}" data-end="{take.seconds[1]:.4f}"'
    command = "" if take.command is None else f"<br><code>{html.escape(take.command)}</code>"
    return (
        f'<figure><video src="{quote(take.path)}"{part} muted playsinline preload="auto"></video>'
        f"<figcaption><b>{html.escape(take.name)}</b> {html.escape(take.about)}{command}</figcaption></figure>"
    )


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (resources.files("memflow_cli.report") / name).read_text("utf-8")
