"""The package's front door: quick to open, sorted, complete, and shown by examples that run."""

import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import memflow_cli
from benchmarks.same_films import compare
from memflow_cli.film.video_reader import read_frames
from memflow_cli.models import catalog

ROOT = Path(__file__).parent.parent
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
[STEERED] = [number for number, text in enumerate(EXAMPLES) if "steered.yaml" in text]
STORY = """title: Fox
seed: 1
segments:
  - {prompt: a red fox walks in, duration: 0.75s}
  - {prompt: the fox jumps, duration: 0.75s}
"""


def is_ours(value) -> bool:
    return getattr(value, "__module__", "").startswith("memflow_cli.")


def test_all_is_sorted_and_complete():
    assert memflow_cli.__all__ == sorted(memflow_cli.__all__)
    for name in memflow_cli.__all__:
        assert getattr(memflow_cli, name) is not None
    source = (ROOT / "src" / "memflow_cli" / "__init__.py").read_text()
    typed = re.findall(r"import \w+ as (\w+)\n", source)
    assert set(typed) == set(memflow_cli.__all__), "type checkers see what is there"
    rooms = {import_module(name) for name in re.findall(r"from (memflow_cli\.[\w.]+) import", source)}
    ours = {name for room in rooms for name, value in vars(room).items() if is_ours(value)}
    assert not [name for name in ours - set(memflow_cli.__all__) if hasattr(memflow_cli, name)]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        memflow_cli.nothing  # noqa: B018


def test_importing_it_is_quick_and_costs_no_torch():
    code = "import sys, time; start = time.perf_counter(); import memflow_cli; spent = time.perf_counter() - start; "
    code += "print(spent, *[name for name in ('torch', 'numpy', 'pydantic') if name in sys.modules])"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout.split()[0]) for run in runs) < 0.3
    assert all(len(run.stdout.split()) == 1 for run in runs)


@pytest.fixture
def small(monkeypatch):
    """Films that name no size are small: a quarter of the pixels."""
    own = replace(catalog.theatre(), width=224, height=128)
    monkeypatch.setattr(catalog, "theatre", lambda: own)


def run_example(number: int) -> None:
    exec(compile(EXAMPLES[number], f"docs/python.md, example {number + 1}", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("number", [number for number in range(len(EXAMPLES)) if number != STEERED])
def test_examples_run(number, tmp_path, monkeypatch, request):
    """Every example of docs/python.md, as it stands there, in a folder with a storyboard; the first at the model's own size."""
    if number:
        request.getfixturevalue("small")
    monkeypatch.chdir(tmp_path)
    Path("fox.yaml").write_text(STORY)
    Image.new("RGB", (64, 32), "blue").save("fox.png")
    run_example(number)
    films = [Image.fromarray(next(read_frames(film, [0]))[1]).size for film in Path().glob("*.mp4")]
    assert set(films) <= {(224, 128) if number else (448, 256)}


def test_the_steered_film_is_made_again_by_its_storyboard(tmp_path, monkeypatch, small):
    """The remaining example, and what the page says of its film."""
    monkeypatch.chdir(tmp_path)
    run_example(STEERED)
    memflow_cli.make("steered.yaml", "again.mp4")
    assert compare(Path("steered.mp4"), Path("again.mp4")).is_same
