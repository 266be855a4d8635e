"""What README's figures come from. Threads wait as they do in the command itself, set before any benchmark imports torch."""

import os

from memflow_cli.machine.threads import wait_without_spinning

wait_without_spinning(os.environ)
