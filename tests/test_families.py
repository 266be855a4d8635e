"""Model families: a known model is a TOML file, and nothing outside a family asks what kind a model is."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memflow_cli.cli.app import run
from memflow_cli.errors import ModelError
from memflow_cli.models import catalog
from memflow_cli.models.family import Family, family_named, family_names, family_of
from memflow_cli.models.footprint import GIB, card_use, place
from memflow_cli.models.from_toml import read_entry
from memflow_cli.models.wan.checkpoint import transformer_config
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.transformer import CausalWanTransformer
from tiny_files import save_tiny_model

SOURCE = Path(catalog.__file__).parents[1]
LARGE = """
name = "wan-14b"
summary = "a second size of Wan"
licence = "Apache-2.0"
size = [832, 480]
policy = "sink"
transformer = "model.safetensors"
stored_itemsize = 2
ffn_dim = 13824

[geometry]
latent_channels = 16
spatial_stride = 8
temporal_stride = 4
first_frames = 1
patch_size = [1, 2, 2]
num_layers = 40
num_heads = 40
head_dim = 128

[sampling]
steps = [1000, 500]

[[repositories]]
repo_id = "somebody/wan-14b"
revision = "main"
components = ["transformer"]
files = [{ path = "model.safetensors", num_bytes = 28577000000 }]

[[repositories]]
shared = "wan2.1-text-vae"
"""


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Adds a TOML file to the models that are known."""
    folder = tmp_path / "known"
    folder.mkdir()
    monkeypatch.setattr(catalog, "SEARCH_PATH", (*catalog.SEARCH_PATH, folder))

    def add(text: str, name: str = "wan-14b.toml") -> Path:
        (folder / name).write_text(text)
        return folder / name

    return add


def test_a_second_size_of_wan_is_one_toml_file(known, tmp_path, capfd, monkeypatch):
    """Listed, shown, planned, sized and checked, without a line of code."""
    known(LARGE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    entry = catalog.find_model("wan-14b")
    assert entry.sampling.steps == (1000, 500) and entry.repositories[1].components == (
        "text_encoder",
        "tokenizer",
        "vae",
    )
    assert run(["models", "list", "--json"]) == 0
    assert "wan-14b" in [row["name"] for row in json.loads(capfd.readouterr().out)]
    assert run(["models", "show", "wan-14b", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["geometry"]["num_heads"] == 40
    (tmp_path / "story.yaml").write_text("model: wan-14b\nsegments: [{prompt: a fox, duration: 3s}]\n")
    assert run(["plan", str(tmp_path / "story.yaml"), "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    small = catalog.find_model("memflow-1.3b")
    assert plan["model"] == "wan-14b" and plan["needs"]["model_bytes"] == entry.num_bytes
    assert plan["needs"]["least_card_bytes"] > 2 * place(small, 832, 480, 3, 10 * GIB).use.cache
    assert card_use(entry, 832, 480).transformer == 28577000000
    assert run(["models", "verify", "wan-14b"]) == 3
    captured = capfd.readouterr()
    assert "model.safetensors is not downloaded" in captured.out and "models pull wan-14b" in captured.err


def test_the_sizes_of_a_toml_file_are_those_of_its_checkpoint(tmp_path):
    """A bare checkpoint is compared with what the TOML file says, tensor by tensor."""
    from safetensors.torch import save_file

    sizes = {"freq_dim": 16, "text_dim": 16, "in_dim": 16, "out_dim": 16}
    config = WanConfig(48, 64, num_heads=4, num_layers=3, **sizes)
    weights = CausalWanTransformer(config).state_dict()
    save_file(weights, tmp_path / "model.safetensors")
    text = LARGE.replace("num_layers = 40", "num_layers = 3").replace("head_dim = 128", "head_dim = 12")
    (tmp_path / "mine.toml").write_text(text.replace("num_heads = 40", "num_heads = 4").split("[[repositories]]")[0])
    entry = catalog.find_model(tmp_path / "mine.toml")
    assert entry.transformer_file == str(tmp_path / "model.safetensors"), "a path in a file counts from the file"
    found = transformer_config(entry, Path(entry.transformer_file))
    assert (found.dim, found.ffn_dim, found.num_layers, found.text_dim) == (48, 64, 3, 16)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("licence =", "license ="), "unknown key 'license'; did you mean 'licence'"),
        (("num_heads = 40\n", ""), "geometry.num_heads is missing"),
        (("num_heads = 40", "num_heads = -1"), "num_heads is -1"),
        (("steps = [1000, 500]", "steps = []"), "steps are"),
        (("steps = [1000, 500]", "stepz = [1]"), "sampling has the unknown key 'stepz'"),
        (('"transformer"]', '"transfomer"]'), "'transfomer' is none of"),
        (('shared = "wan2.1-text-vae"', 'shared = "../../x"'), "no shared repository"),
        (("num_bytes = 28577000000", 'num_bytes = "many"'), "num_bytes is many"),
        (("size = [832, 480]", "size = 832"), "not describe a model|describes no model|describe"),
        (('policy = "sink"', "policy = 3"), "policy is '3'"),
        (("[geometry]", "[geometry"), "is not TOML"),
        (("size = ", "a" + ".a" * 20_000 + " = 1\nsize = "), "is not TOML: a line has more than 2,000 characters"),
        (("size = ", "fps = " + "9" * 1900 + "." * 50 + "\nsize = "), "is not TOML"),
        (("size = ", "#\n" * 40_000 + "size = "), "larger than 64 KiB"),
        (('repo_id = "', 'repo_id = "../../'), "repo_id '../../.*' is not one that a hub knows"),
        (('repo_id = "', 'repo_id = "https://'), "is not one that a hub knows"),
        (('revision = "', 'revision = "../'), "revision '../.*' is not one that a hub knows"),
        (('path = "', 'path = "../'), "path '../.*' is outside its repository"),
        (('path = "', 'path = "/'), "path '/.*' is outside its repository"),
    ],
)
def test_a_toml_file_that_is_wrong_is_named_with_its_fault(tmp_path, change, problem):
    """A repository named ../../x was "a bug in memflow", and a key of 20,000 dots kept the reader busy for half a minute."""
    assert change[0] in LARGE
    (tmp_path / "wrong.toml").write_text(LARGE.replace(*change, 1))
    with pytest.raises(ModelError, match=problem) as caught:
        read_entry(tmp_path / "wrong.toml")
    assert "wrong.toml" in caught.value.message


def test_a_toml_file_may_begin_as_windows_editors_begin_it(tmp_path):
    (tmp_path / "bom.toml").write_text(LARGE, encoding="utf-8-sig")
    assert read_entry(tmp_path / "bom.toml").name == "wan-14b"


def test_a_toml_file_that_is_wrong_stops_no_other_model(known, capfd):
    known(LARGE)
    known("name = ", "broken.toml")
    assert run(["models", "list"]) == 0
    captured = capfd.readouterr()
    assert "wan-14b" in captured.out and "broken.toml is not TOML" in captured.err


def test_every_family_is_a_folder_with_one_object():
    assert family_names() == ("theatre", "wan")
    assert all(isinstance(family_named(name), Family) for name in family_names())
    with pytest.raises(ModelError, match="no model family 'gan'"):
        family_named("gan")


def test_a_folder_with_theatre_s_autoencoder_is_answered_for_by_theatre(tmp_path):
    family = family_of(catalog.find_model(save_tiny_model(tmp_path / "m")))
    entry = catalog.find_model("theatre")
    assert family.not_shown(entry, ["a red dragon"], [False])[0].startswith("theatre draws no dragons")
    assert not family.takes_preview_decoder
    assert family_of(catalog.find_model("memflow-1.3b")).unknown_words("a red dragon") == []


def test_a_plugin_may_bring_a_family_of_its_own():
    class Squares(Family):
        takes_loras = True

        def unknown_words(self, prompt):
            return ["circle"]

    entry = replace(catalog.find_model("theatre"), name="squares", family=Squares())
    assert family_of(entry).takes_loras and family_of(entry).unknown_words("") == ["circle"]


def test_families_answer_without_torch():
    import subprocess
    import sys

    code = (
        "import sys; from memflow_cli.models.catalog import known_models; from memflow_cli.models.family import family_of\n"
        "for entry in known_models()[0]: family_of(entry).unknown_words('x')\n"
        "print(*[name for name in ('torch', 'transformers', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_nothing_outside_a_family_asks_what_kind_a_model_is():
    """`entry.backbone is None` stood in nine places, theatre's name in two, Wan's geometry in two."""
    allowed = {"models/family.py", "models/entry.py"}
    for path in SOURCE.rglob("*.py"):
        place = str(path.relative_to(SOURCE))
        if place in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "backbone"
                and isinstance(node.value, ast.Name | ast.Attribute)
            ):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                assert owner != "entry", f"{place}, line {node.lineno}: entry.backbone"
            if isinstance(node, ast.Compare) and any(
                isinstance(part, ast.Constant) and part.value == "theatre" for part in (node.left, *node.comparators)
            ):
                raise AssertionError(f"{place}, line {node.lineno}: theatre by its name")


def test_tensors_of_a_random_model_have_the_toml_file_s_sizes(known):
    from memflow_cli.models.wan.random_weights import transformer_sizes

    known(LARGE)
    config = transformer_sizes(catalog.find_model("wan-14b"))
    with torch.device("meta"):
        transformer = CausalWanTransformer(config)
    numbers = sum(tensor.numel() for tensor in transformer.state_dict().values())
    assert config.ffn_dim == 13824 and numbers == pytest.approx(14.29e9, rel=0.01)


@pytest.mark.parametrize("name", ["longlive-2.0-5b", "memflow-1.3b"])
def test_a_random_autoencoder_has_the_model_s_cells(name):
    """LongLive 2.0's random twin got the autoencoder of Wan 2.1, which has a third of its channels."""
    from memflow_cli.models.wan.random_weights import random_model

    entry = catalog.find_model(name)
    latents = torch.zeros(2, entry.geometry.latent_channels, 4, 6, device="meta")
    frames = random_model(entry, "meta", torch.bfloat16).decoder().decode(latents)
    stride = entry.geometry.spatial_stride
    assert frames.shape == (1 + entry.geometry.temporal_stride, 4 * stride, 6 * stride, 3)
