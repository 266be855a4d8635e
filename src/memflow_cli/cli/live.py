"""`memflow live`: a film is played in a browser while it is made, and goes where its viewers ask it to."""

import sys
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli import options
from memflow_cli.cli.stories import check_output
from memflow_cli.cli.talk import note, result_json, result_path, warn
from memflow_cli.cli.watch import INSTALL
from memflow_cli.errors import Interrupted, UsageError
from memflow_cli.story.texts import command_line

if TYPE_CHECKING:
    from memflow_cli.film.events import FilmResult
    from memflow_cli.machine.stop_requests import StopRequests
    from memflow_cli.models.entry import ModelEntry
    from memflow_cli.story.load import LoadedStory
    from memflow_cli.story.storyboard import Segment, Storyboard
    from memflow_cli.studio.take import Take

LOOPBACK = "127.0.0.1"


# Of a storyboard, for the prompts that come after it as well.
TOLD_OF_ALL = ("fps", "memory", "characters", "places", "style")


def register(app: typer.Typer) -> None:
    app.command("live")(live)


@dataclass(frozen=True)
class LiveOptions:
    """As they stand on the command line."""

    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILM", help="The film.")] = Path("film.mp4")
    model: options.Model = None
    size: options.Size = None
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The film's seed.")] = None
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")] = "auto"
    dtype: Annotated[str, typer.Option(metavar="auto|fp32|bf16|fp16", help="Precision.")] = "auto"
    from_stdin: Annotated[
        bool, typer.Option("--stdin", help="Take a line for each prompt: `text`, `cut: text`, `wait 4s`, `undo`.")
    ] = False
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Listen elsewhere than on this machine alone.")] = (
        LOOPBACK
    )
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")] = 0
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the page's address instead of opening it.")
    ] = False


@options.with_options
def live(
    storyboard: Annotated[
        Path | None, typer.Argument(metavar="[STORYBOARD]", help="What is played first.", show_default=False)
    ] = None,
    *,
    given: LiveOptions,
) -> None:
    """Play a film while it is made: type a prompt, Enter, and from the next moment on it holds.

    The page plays the film, takes prompts (Shift+Enter: a cut), goes back to where the last one began (undo), pauses and
    finishes. At the end there is film.mp4, and film.yaml: the storyboard of what was played, of which `memflow generate`
    makes the same film, frame by frame. After an interruption the same command goes on.

    With --stdin there is no page: a line is a prompt that holds from there on, `wait 4s` lets so much film go by, and each
    line is answered on stdout by JSON with the film time from which it holds.
    """
    from memflow_cli.film.preflight import check_file

    check_output(given.out)
    read = None if storyboard is None else _read(storyboard)
    told = None if read is None else read.storyboard
    script = given.out.with_suffix(".yaml")
    check_file(script, "choose another -o")
    if script.exists() and not _is_ours(script):
        raise UsageError(
            f"{script} exists, and would be overwritten by the storyboard of what is played", "choose another -o"
        )
    if read is not None:
        _check_files(read)
    made = _play(told, script, given)
    if made is None:
        raise UsageError("nothing was played")
    note(f"{command_line('generate', script)} makes the same film")
    result_path(made.path)


def _play(told: "Storyboard | None", script: Path, given: LiveOptions) -> "FilmResult | None":
    """Plays a film until its viewers, or the lines, are done, and writes its storyboard. None: nothing was played."""
    from memflow_cli.film.names import run_path
    from memflow_cli.live.lines import rest_of
    from memflow_cli.machine.stop_requests import StopRequests
    from memflow_cli.studio.studio import Studio

    size = _size(given.size, told)
    name = given.model or (told.model if told else "theatre")
    seed = given.seed if given.seed is not None or told is None else told.seed
    title = told.title if told else None
    with Studio(name, device=given.device, dtype=given.dtype) as studio, StopRequests(None, note) as stop:
        with stop.at_once():
            size = size or _size_to_play(studio.entry, given.device)
            as_told = {field: getattr(told, field) for field in TOLD_OF_ALL} if told else {}
            take = studio.take(given.out, seed=seed, title=title, size=size, **as_told)
        opening = rest_of(told.segments if told is not None else (), take.storyboard.segments)
        try:
            if given.from_stdin:
                _from_stdin(take, opening, stop)
            else:
                return _on_page(take, opening, given, script, stop)
            return _finish(take, script)
        except Interrupted as error:
            _write_script(take.storyboard, script)
            kept = f"; {take.num_chunks} chunks are kept in {run_path(given.out)}" if take.num_chunks else ""
            hint = "The same command goes on from there." if kept else None
            raise type(error)(error.message + kept, hint) from error
        finally:
            take.close()


def _finish(take: "Take", script: Path) -> "FilmResult | None":
    """Storyboard, then film: a kill in between leaves what the same command goes on from."""
    _write_script(take.storyboard, script)
    return take.finish()


def _size(text: str | None, told: "Storyboard | None") -> tuple[int, int] | None:
    """The size asked for, or else the storyboard's; None: the model's."""
    from memflow_cli.story.quantities import parse_size

    if text is not None:
        try:
            return parse_size(text)
        except ValueError as error:
            raise UsageError(f"--size: {error}") from None
    return (told.width, told.height) if told is not None and told.width and told.height else None


def _size_to_play(entry: "ModelEntry", device: str) -> tuple[int, int] | None:
    """A CPU plays the smallest of the sizes that a model was made for: the others it makes more slowly than they play."""
    from memflow_cli.machine.device import choose_device

    sizes = entry.geometry.sizes
    if len(sizes) < 2 or choose_device(device).type != "cpu":
        return None
    width, height = min(sizes, key=lambda size: size[0] * size[1])
    note(
        f"playing at {width}x{height}, which a CPU keeps up with; --size {entry.width}x{entry.height} is {entry.name}'s own"
    )
    return width, height


def _on_page(
    take: "Take", opening: "Sequence[Segment]", given: LiveOptions, script: Path, stop: "StopRequests"
) -> "FilmResult | None":
    try:
        from memflow_cli.live.channel import Channel
        from memflow_cli.live.server import LiveServer
        from memflow_cli.live.session import Session
    except ImportError as error:
        raise UsageError(f"memflow live: {error.name} is missing", INSTALL) from error
    channel = Channel()
    session = Session(take, channel, opening, stop, lambda: _finish(take, script))
    session.greet()
    with LiveServer(channel, session.command, given.host, given.port) as server:
        note(f"play it at {server.address}")
        if not given.no_browser:
            webbrowser.open(server.address)
        return session.run()


def _from_stdin(take: "Take", opening: "Sequence[Segment]", stop: "StopRequests") -> None:
    from memflow_cli.live.lines import play_lines

    for answer in play_lines(take, opening, _lines(stop), stop):
        result_json(answer)


def _lines(stop: "StopRequests") -> Iterator[str]:
    """Lines of stdin, as they come. While one is waited for, nothing is made, and Ctrl-C ends the wait."""
    while sys.stdin is not None:  # as it is where it was closed before we began
        with stop.at_once():
            line = rest = sys.stdin.readline(_MAX_LINE)
            while len(rest) == _MAX_LINE and not rest.endswith("\n"):  # of which no prompt needs the rest
                rest = sys.stdin.readline(_MAX_LINE)
        if not line:
            return
        yield line


def _read(path: Path) -> "LoadedStory":
    from memflow_cli.story.load import load_story

    return load_story(path)


def _check_files(read: "LoadedStory") -> None:
    """Raises UsageError for those that could not be given to memory, before seconds of loading the model; warns of what is
    not played.
    """
    from memflow_cli.story.attached import check_attached

    first, *rest = read.storyboard.segments
    for name, path in (("image", first.image), ("sound", read.storyboard.sound)):
        if path is not None:
            warn(f"live plays no {name}: {Path(path).name} is left out")
    played = replace(read.storyboard, sound=None, segments=(replace(first, image=None), *rest))
    check_attached(played, _CHECKED_SIDE, _CHECKED_SIDE, read.places)


_MAX_LINE = 1 << 16  # characters
_CHECKED_SIDE = 64  # pixels at which pictures are tried: whether they can be read does not depend on it
_HEAD = "# What was played, as a storyboard: memflow generate makes the same film of it.\n"


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(len(_HEAD)) == _HEAD


def _write_script(storyboard: "Storyboard", path: Path) -> None:
    from memflow_cli.film.carrying import carried, carry
    from memflow_cli.film.durable import write_through
    from memflow_cli.story.writing import storyboard_to_yaml

    if not storyboard.segments:
        return
    with carried(carry(storyboard, path)) as told:
        write_through(path, (_HEAD + storyboard_to_yaml(told, path.parent)).encode("utf-8", "replace"))
