"""Other packages' backbones: the example plug-in runs every memory policy; a broken one is a warning, never a crash."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

import toy_backbone
from memflow_cli import catalog
from memflow_cli.cli.app import run
from memflow_cli.errors import ModelError
from memflow_cli.film import make_film
from memflow_cli.storyboard import MemoryOptions
from memflow_cli.trace import read_trace
from memflow_cli.wan.checkpoints import load_model
from tiny_model import story


def takes_a_name() -> catalog.ModelEntry:
    return replace(toy_backbone.model(), name="memflow-1.3b")


def raises() -> catalog.ModelEntry:
    raise RuntimeError("no luck today")


@pytest.fixture
def plugins(monkeypatch):
    """Install entry points by name -> "module:attribute"."""

    def install(**points: str) -> None:
        found = [EntryPoint(name, value, catalog.PLUGIN_GROUP) for name, value in points.items()]
        monkeypatch.setattr(
            catalog.metadata, "entry_points", lambda group: found if group == catalog.PLUGIN_GROUP else []
        )

    return install


@pytest.mark.parametrize("policy", ["nam", "official", "sink", "window"])
def test_the_toy_backbone_makes_a_film_with_every_policy(policy, plugins, tmp_path):
    plugins(toy="toy_backbone:model")
    entry = catalog.find_model("toy")
    board = story(
        "a red fox",
        "the snow",
        "a red fox again",
        seconds=3,
        width=64,
        height=48,
        memory=MemoryOptions(policy, activate=2),
    )
    result = make_film(board, entry, load_model(entry), tmp_path / "film.mp4")
    assert result.plan.num_frames == 144
    records = list(read_trace(result.trace_path).records())
    recalled = {item.frame for record in records for item in record.bank}
    assert bool(recalled) == (policy in ("nam", "official"))
    if policy == "nam":
        last = records[-1]
        assert {item.frame for item in last.bank}.isdisjoint({*last.sink, *last.window}) and len(last.bank) == 3
        assert records[-1].sink_use, "heads chose among sink and bank"


def test_broken_plugins_are_warnings(plugins, capsys):
    plugins(
        toy="toy_backbone:model",
        missing="no_such_module:model",
        raising="test_plugins:raises",
        wrong="toy_backbone:HEADS",
        taken="test_plugins:takes_a_name",
    )
    entries, problems = catalog.known_models()
    assert "toy" in [entry.name for entry in entries]
    told = [problem for problem in problems if "plug-in" in problem]
    assert len(told) == 4 and any("no luck today" in problem for problem in told)
    assert catalog.find_model("memflow-1.3b").repositories, "a plug-in cannot take a known name"
    with pytest.raises(ModelError) as caught:
        catalog.find_model("missing")
    assert "no_such_module" in str(caught.value.hint)
    assert run(["models", "list"]) == 0
    captured = capsys.readouterr()
    assert "toy" in captured.out and captured.err.count("warning: plug-in") == 4


def test_plugins_are_not_imported_for_known_models(plugins):
    plugins(raising="test_plugins:raises")
    assert catalog.find_model("longlive-1.3b").name == "longlive-1.3b"
