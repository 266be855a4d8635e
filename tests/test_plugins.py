"""Other packages' backbones: the example plug-in runs every memory policy; a broken one is a warning, never a crash."""

import json
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import toy_backbone
from memflow_cli.cli.app import run
from memflow_cli.errors import ModelError
from memflow_cli.film.shooting import make_film
from memflow_cli.film.trace import read_trace
from memflow_cli.memory.options import RECALLING, MemoryOptions
from memflow_cli.models import catalog
from memflow_cli.models.load import load_model
from tiny_model import story


def takes_a_name() -> catalog.ModelEntry:
    return replace(toy_backbone.model(), name="memflow-1.3b")


def raises() -> catalog.ModelEntry:
    raise RuntimeError("no luck today")


def leaves() -> catalog.ModelEntry:
    sys.exit("this plug-in has had enough")


def cannot_load() -> catalog.ModelEntry:
    def load(entry, device, dtype):
        raise KeyError("weights.bin")

    return replace(toy_backbone.model(), name="hollow", backbone=load)


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
        memory=MemoryOptions(policy, activate=2 if policy in RECALLING else None),
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
        leaving="test_plugins:leaves",
        wrong="toy_backbone:HEADS",
        taken="test_plugins:takes_a_name",
    )
    entries, problems = catalog.known_models()
    assert "toy" in [entry.name for entry in entries]
    told = [problem.text for problem in problems if "plug-in" in problem.text]
    assert len(told) == 5 and any("no luck today" in text for text in told)
    assert catalog.find_model("memflow-1.3b").repositories, "a plug-in cannot take a known name"
    with pytest.raises(ModelError) as caught:
        catalog.find_model("missing")
    assert "no_such_module" in str(caught.value.hint)
    assert run(["models", "list"]) == 0
    captured = capsys.readouterr()
    assert "toy" in captured.out and captured.err.count("warning: plug-in") == 5


def test_plugins_are_not_imported_for_known_models(plugins):
    plugins(raising="test_plugins:raises")
    assert catalog.find_model("longlive-1.3b").name == "longlive-1.3b"


def test_a_plugin_that_cannot_load_is_a_sentence_about_itself(plugins):
    plugins(hollow="test_plugins:cannot_load")
    with pytest.raises(ModelError, match="plug-in that brings the model hollow cannot load it: KeyError") as caught:
        load_model(catalog.find_model("hollow"))
    assert caught.value.exit_code == 3


@pytest.fixture
def memflow(tmp_path, monkeypatch, capfd):
    """Runs the command beside two packages that lie as pip would install them: the example, and one that breaks.

    Returns exit code, stdout, stderr.
    """
    site = tmp_path / "site"
    points = {"toy-backbone": "toy = toy_backbone:model", "broken-backbone": "broken = broken_backbone:model"}
    for package, point in points.items():
        about = site / f"{package.replace('-', '_')}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[memflow_cli.backbones]\n{point}\n")
    (site / "toy_backbone.py").write_bytes(Path(toy_backbone.__file__).read_bytes())
    (site / "broken_backbone.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "toy_backbone")  # comes from the package now
    monkeypatch.chdir(tmp_path)

    def memflow(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err, captured.err
        return code, captured.out, captured.err

    return memflow


def test_an_installed_plugin_makes_a_film_beside_a_broken_one(memflow, tmp_path):
    (tmp_path / "story.yaml").write_text(
        "model: toy\nseed: 1\nsegments:\n- {prompt: a red fox, duration: 3s}\n- {prompt: the snow, duration: 3s}\n"
    )
    code, out, err = memflow("generate", "story.yaml", "--json", "--progress", "none")
    assert code == 0, err
    film = json.loads(out)
    assert (film["model"], film["width"], film["height"], film["status"]) == ("toy", 64, 48, "made")
    assert any(record.bank for record in read_trace(tmp_path / "story.memory.jsonl").records())
    (tmp_path / "mine.safetensors").write_bytes(b"")
    for option in (["--lora", "mine.safetensors"], ["--vram", "8GiB"]):
        code, out, err = memflow("generate", "story.yaml", "-y", *option)
        assert (code, out) == (2, "") and f"{option[0]}: toy comes from a plug-in" in err
    code, out, err = memflow("models", "list")
    assert code == 0 and "toy" in out
    assert "warning: plug-in 'broken' (broken_backbone:model of broken-backbone)" in err
    assert "a_library_that_is_not_there" in err
    code, out, _ = memflow("models", "verify", "toy")
    assert code == 0 and "not checked  tensors: only the plug-in itself knows them" in out
    code, _, err = memflow("generate", "story.yaml", "--model", "broken")
    assert code == 3 and "a_library_that_is_not_there" in err
    _, out, _ = memflow("doctor", "--json", "--offline")
    [finding] = [item for item in json.loads(out) if "broken" in item["text"]]
    assert finding["status"] == "note" and "broken-backbone" in finding["repair"]
