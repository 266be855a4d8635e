"""The command `memflow`: finds the command's module, runs it, turns every ending into a sentence and an exit code."""

import contextvars
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from memflow_cli import __version__
from memflow_cli.cli.talk import in_words, report_error
from memflow_cli.errors import Interrupted, UsageError

# A command is one line: its name, and the module whose `register(app)` adds it. Order is that of the help screen.
COMMANDS = {
    "generate": "memflow_cli.cli.generate",
    "plan": "memflow_cli.cli.plan",
    "init": "memflow_cli.cli.init",
    "inspect-memory": "memflow_cli.cli.inspect_memory",
    "models": "memflow_cli.cli.models",
    "doctor": "memflow_cli.cli.doctor",
    "bench": "memflow_cli.cli.bench",
}

HELP = """Turn storyboards into long, coherent films.

A storyboard is a YAML file: a list of prompts with durations. Begin with `memflow init`, look at what will be made with
`memflow plan`, make it with `memflow generate`.

Exit codes: 0 done, 1 failed, 2 usage or storyboard, 3 model or device missing, 4 out of memory, 5 time limit reached,
130 interrupted, 143 terminated.
"""


def main() -> None:
    """The entry point that pip installs as `memflow`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path is printed in the very bytes that it is made of
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line. Returns the exit code; never raises."""
    return contextvars.copy_context().run(_run, arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = make_app(arguments)(args=list(arguments), prog_name="memflow", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        report_error(Interrupted("interrupted"))
        return Interrupted.exit_code
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        # Whoever read stdout (head, less) has left; a second error while Python closes it is not worth a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own usage errors: an unknown option, a missing argument
            path = getattr(getattr(error, "ctx", None), "command_path", "memflow")
            report_error(UsageError(error.format_message().rstrip("."), hint=f"{path} --help"))
            return UsageError.exit_code
        told = in_words(error)
        report_error(told)
        return told.exit_code


def make_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The app with every command, or with the one that is asked for, so that the others are not imported."""
    app = typer.Typer(
        name="memflow",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_options)
    asked = arguments[0] if arguments else ""
    for name in [asked] if asked in COMMANDS else COMMANDS:
        importlib.import_module(COMMANDS[name]).register(app)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        print(f"memflow {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> Any:
    pass


_options.__doc__ = HELP

if __name__ == "__main__":
    main()
