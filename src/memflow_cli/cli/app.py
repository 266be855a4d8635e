"""The command `memflow`: finds the command's module, runs it, turns every ending into a sentence and an exit code.

At its top it imports next to nothing: a Ctrl-C while Python imports would otherwise end in a traceback.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from memflow_cli.errors import MemflowError

# A command is one line: its name, and the module whose `register(app)` adds it. Order is that of the help screen.
COMMANDS = {
    "generate": "memflow_cli.cli.generate",
    "plan": "memflow_cli.cli.plan",
    "extend": "memflow_cli.cli.extend",
    "retake": "memflow_cli.cli.retake",
    "cut": "memflow_cli.cli.cut",
    "live": "memflow_cli.cli.live",
    "init": "memflow_cli.cli.init",
    "convert": "memflow_cli.cli.convert",
    "inspect-memory": "memflow_cli.cli.inspect_memory",
    "tidy": "memflow_cli.cli.tidy",
    "models": "memflow_cli.cli.models",
    "doctor": "memflow_cli.cli.doctor",
    "bench": "memflow_cli.cli.bench",
}

HELP = """Turn storyboards into long, coherent films.

A storyboard is a YAML file: a list of prompts with durations. Begin with `memflow init`, look at what will be made with
`memflow plan`, make it with `memflow generate`.

\b
On many machines, generate --on ray: pip install 'memflow-cli[ray]'

\b
Exit codes:
{exit_codes}
"""


def main() -> None:
    """The entry point that pip installs as `memflow`."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)

    from memflow_cli.cli.streams import open_standard_streams
    from memflow_cli.machine.threads import wait_without_spinning

    open_standard_streams()
    wait_without_spinning(os.environ)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line. Returns the exit code; never raises."""
    import contextvars

    return contextvars.copy_context().run(_run, arguments)


def _run(arguments: Sequence[str]) -> int:
    import itertools

    from memflow_cli.cli.streams import sure_streams
    from memflow_cli.cli.talk import report_error, talk_as
    from memflow_cli.errors import NotTold

    with sure_streams() as out:
        if "--progress=jsonl" in arguments or ("--progress", "jsonl") in itertools.pairwise(arguments):
            talk_as("jsonl")  # a wrong option is told before the command itself can say how
        code = _run_command(arguments)
        sys.stdout.flush()
        if out.lost is None or code:
            return code
        what = getattr(out.lost, "strerror", None) or out.lost
        report_error(NotTold(f"all was done, but the result could not be printed: {what}"))
        return NotTold.exit_code


def _run_command(arguments: Sequence[str]) -> int:
    import typer

    from memflow_cli.cli.home import home_filled_in
    from memflow_cli.cli.talk import report_error
    from memflow_cli.machine.stop_requests import Stopped, error_of, stopped_by_signals

    received: list[int] = []
    try:
        _check_current_folder()
        app = make_app(arguments)  # its imports are over before a signal raises anything
        with stopped_by_signals(received):
            code = app(args=list(map(home_filled_in, arguments)), prog_name="memflow", standalone_mode=False)
            return code if isinstance(code, int) else 0
    except typer.Exit as end:
        return end.exit_code
    except (Exception, KeyboardInterrupt, Stopped) as error:
        # What a signal raised within a library's own `except` may have come out as something else.
        told = error_of(received[0]) if received else _in_words(error, arguments)
        report_error(told)
        return told.exit_code


def _check_current_folder() -> None:
    """Raises UsageError if it was removed, as by another terminal: libraries break without one, some with the process."""
    from memflow_cli.errors import UsageError

    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone: somebody has removed it", "cd to one that is there") from None


def _asked_for(arguments: Sequence[str]) -> str:
    """The command that a command line begins with, whatever is wrong with what follows: `memflow models show`."""
    import typer

    names: list[str] = ["memflow"]
    command: Any = typer.main.get_command(make_app(arguments))
    for argument in arguments:
        command = getattr(command, "commands", {}).get(argument)
        if command is None:
            break
        names.append(argument)
    return " ".join(names)


def _in_words(error: BaseException, arguments: Sequence[str]) -> "MemflowError":
    import typer

    from memflow_cli.cli.talk import in_words
    from memflow_cli.errors import Interrupted, UsageError

    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Interrupted("interrupted")
    if hasattr(error, "format_message"):  # typer's own usage errors: an unknown option, a missing argument
        path = getattr(getattr(error, "ctx", None), "command_path", None) or _asked_for(arguments)
        return UsageError(_in_plain_words(error.format_message().rstrip(".")), hint=f"{path} --help")
    assert isinstance(error, Exception), "what else there is was caught before"
    return in_words(error)


def _in_plain_words(message: str) -> str:
    """What typer says of a value: its bounds are told in words for programmers."""
    import re

    for theirs, ours in (
        (r"valid integer\b.*", "a whole number is expected"),
        (r"valid number\b.*", "a number is expected"),
        (r"greater than or equal to (.*)", r"at least \1 is expected"),
        (r"less than or equal to (.*)", r"at most \1 is expected"),
    ):
        message = re.sub(rf"Input should be (?:a )?{theirs}", ours, message)
    return re.sub(r"^Invalid value for '\[?(.*?)\]?'(?: / '.*?')?: (?:Value error, )?", r"\1: ", message)


def make_app(arguments: Sequence[str] = ()) -> "typer.Typer":
    """The app with every command, or with the one that is asked for, so that the others are not imported."""
    import importlib

    import typer

    from memflow_cli.cli.options import HELP_SETTINGS, program_options

    app = typer.Typer(name="memflow", help=HELP.format(exit_codes=_exit_codes()), **HELP_SETTINGS)
    app.callback(invoke_without_command=True)(program_options)
    asked = arguments[0] if arguments else ""
    for name in [asked] if asked in COMMANDS else COMMANDS:
        importlib.import_module(COMMANDS[name]).register(app)
    return app


def _exit_codes() -> str:
    import textwrap

    from memflow_cli.cli.words import exit_codes

    lines = (f"{code:5}  {when}" for code, when in exit_codes().items())
    return "\n".join(textwrap.fill(line, 76, subsequent_indent=" " * 7) for line in lines)


def _leave(number: int, frame: object) -> None:
    """A signal while nothing is done but importing: there is nothing to be tidied up."""
    os.write(2, b"error: interrupted\n" if number == signal.SIGINT else b"error: stopped by a signal\n")
    os._exit(128 + number)
