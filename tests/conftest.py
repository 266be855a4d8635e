"""Fixtures that several files share, and how long property-based tests look for trouble.

HYPOTHESIS_PROFILE=long looks at 100,000 examples a test, outside CI:
    HYPOTHESIS_PROFILE=long python -m pytest tests/test_storyboard.py -k whatever
"""

import gc
import os
import signal

import pytest
from hypothesis import settings

# One thread, set before torch starts: tests fork this process, and a forked process has none of its threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# nohup ignores SIGHUP, a shell's & SIGINT, and whatever is started inherits that. Of what is handled here, others hear.
for number, handler in ((signal.SIGHUP, lambda *_: None), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("long", max_examples=100_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# Files that take longest; a worker has a file to itself, and one that begins late is waited for by all.
LONGEST = (
    "test_ray.py",
    "test_downloads.py",
    "test_faults.py",
    "test_telling.py",
    "test_python_api.py",
    "test_watch.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish():
    """What the imports left stays as long as the process: a collection, as after every film, need not look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    from tiny_files import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
