"""~ in an argument: the home folder. A shell fills it in only where a word begins with it, so not in --out=~/films/a.mp4."""

import os
import re

from memflow_cli.errors import UsageError

_PATH = re.compile(r"(?P<option>--[\w-]+=|-\w)?(?P<path>~[\w.-]*(?:/.*)?)", re.DOTALL)


def home_filled_in(argument: str) -> str:
    """Whatever is a path that begins with ~, whether it is read or written. Raises UsageError where nobody knows the folder."""
    match = _PATH.fullmatch(argument)
    if match is None:
        return argument
    filled = os.path.expanduser(match["path"])
    if filled.startswith("~"):
        whose = match["path"].split("/")[0]
        raise UsageError(f"{argument}: whose home folder {whose} is, is not known", hint="./~ is a file's name")
    return (match["option"] or "") + filled
