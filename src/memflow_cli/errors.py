"""Every error a user can see, with its exit code.

    MemflowError            1    the film could not be made
      UsageError            2    the command line asks for something that cannot be
        StoryboardError     2    the storyboard is wrong; every problem found is told, not only the first
      ModelError            3    unknown model, missing or bad weights
      DeviceError           3    the device asked for is not there
      OutOfMemoryError      4    the device's or the machine's memory did not suffice
      TimeLimitReached      5    --max-time is over; the run is kept
      NotTold               6    all was done, but the result could not be printed: the disk of stdout is full, its terminal gone
      Interrupted         130    Ctrl-C; the run is kept
        HungUp            129    SIGHUP: the terminal was closed; the run is kept
        Terminated        143    SIGTERM; the run is kept

A message says what is wrong and where; the hint says what to do about it. The table is what help and documentation show.
"""

from collections.abc import Sequence

KEPT = "What was finished is kept; the same command goes on from there."
"""The hint of whatever interrupts a film."""


class MemflowError(Exception):
    """Something a user can fix. `message`: what is wrong and where; `hint`: what to do, or None."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(MemflowError):
    exit_code = 2


MAX_SHOWN_PROBLEMS = 100


class StoryboardError(UsageError):
    """A storyboard with problems; `problems` holds a sentence each, in the order of the file's lines.

    The message shows the first `MAX_SHOWN_PROBLEMS`.
    """

    def __init__(self, source: str, problems: Sequence[str], hint: str | None = None) -> None:
        assert problems, "a StoryboardError needs at least one problem"
        self.source = source
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            message = self.problems[0]
        else:
            lines = [f"{source}: {len(self.problems):,} problems", *self.problems[:MAX_SHOWN_PROBLEMS]]
            if len(self.problems) > MAX_SHOWN_PROBLEMS:
                lines.append(f"and {len(self.problems) - MAX_SHOWN_PROBLEMS:,} more")
            message = "\n  ".join(lines)
        super().__init__(message, hint)


class ModelError(MemflowError):
    exit_code = 3


class DeviceError(MemflowError):
    exit_code = 3


class OutOfMemoryError(MemflowError):
    exit_code = 4


class TimeLimitReached(MemflowError):  # noqa: N818 - a stop that was asked for, no error
    exit_code = 5


class NotTold(MemflowError):  # noqa: N818 - what was asked for is done
    exit_code = 6


class Interrupted(MemflowError):  # noqa: N818 - a stop that was asked for, no error
    exit_code = 130


class HungUp(Interrupted):
    exit_code = 129


class Terminated(Interrupted):
    exit_code = 143
