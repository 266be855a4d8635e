"""Every loader of models, fed damaged files: a sentence each time, never "this is a bug in memflow", never waiting.

A stranger's attack found tensors with whole numbers as names, headers that lie, tokenizers that panic, configs of a
billion layers, pipes in a file's place: all of them ended as bugs of memflow, or never.
"""

import copy
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memflow_cli.errors import MemflowError, ModelError
from memflow_cli.models.catalog import find_model, folder_model
from memflow_cli.models.decoders import load_autoencoder
from memflow_cli.models.entry import Lora
from memflow_cli.models.from_toml import read_entry
from memflow_cli.models.identity import identity_of
from memflow_cli.models.load import load_model
from memflow_cli.models.text.encoder import fit_encoder
from memflow_cli.models.text.prompt_tokens import PromptTokenizer
from memflow_cli.models.wan.checkpoint import read_config
from memflow_cli.models.wan.names import original_names
from memflow_cli.models.weights.lora import read_lora
from memflow_cli.models.weights.quantised import dequantise
from memflow_cli.models.weights.tensor_files import check_fit, read_tensors
from test_families import LARGE
from tiny_files import save_tiny_model

ODD = [
    None,
    True,
    -1,
    0,
    1.5,
    1e400,
    10**9,
    10**300,
    "",
    "x",
    "\x1b[31m",
    [],
    {},
    [1],
    {"a": 1},
    [[[[]]]],
    float("nan"),
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("damaged") / "tiny")


def damaged(content: bytes, dice: random.Random) -> bytes:
    """A file as bad copies, bad disks and bad people leave it."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8))):
        place = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(min(len(data), 400))
        kind = dice.randrange(5)
        if kind == 0:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[place : place + dice.randrange(1, 9)] = dice.randbytes(dice.randrange(9))
        elif kind == 2:
            del data[place : place + dice.choice((1, 8, len(data)))]
        elif kind == 3:
            data[place:place] = data[place : place + dice.randrange(1, 64)]
        else:
            data[place : place + 1] = dice.choice((b"\x00", b"\xff", b"9", b"-", b"{", b'"', b"]", b"e"))
        data = data or bytearray(b" ")
    return bytes(data)


def spoiled(content: object, dice: random.Random) -> object:
    """JSON with one value, somewhere, that nobody expects there."""
    content = copy.deepcopy(content)
    at = content
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = dice.choice(keys)
        inner = at[key]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.8:
            at = inner
            continue
        if isinstance(at, dict) and dice.random() < 0.2:
            del at[key]
        else:
            at[key] = dice.choice(ODD)
        return content


def only_sentences(load: Callable[[], object], what: str) -> bool:
    """Whether the file was refused. Fails for any error but a sentence, and for what takes long."""
    begun = time.monotonic()
    try:
        load()
        refused = False
    except MemflowError as error:
        assert error.message and len(error.message) < 5000, what
        refused = True
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert time.monotonic() - begun < 20, f"{what} took long"
    return refused


def weights(path: Path) -> None:
    """As a transformer is read, as far as its shapes."""
    check_fit(path, dequantise(path, original_names(read_tensors(path))), {})


def readers(folder: Path, model: Path) -> dict[str, tuple[Path, Callable[[Path], object], int]]:
    """Name -> a good file, what reads it (given the damaged copy), how many damaged ones are tried."""
    tensors = load_file(model / "transformer" / "diffusion_pytorch_model.safetensors")
    few = {name: tensor for name, tensor in tensors.items() if name.startswith(("blocks.0.self", "patch"))}
    small = few | {"blocks.0.self_attn.q.scale_weight": torch.tensor(0.1), "scaled_fp8": torch.zeros(0)}
    small["blocks.0.self_attn.q.weight"] = few["blocks.0.self_attn.q.weight"].to(torch.float8_e4m3fn)
    save_file(small, folder / "fp8.safetensors")
    torch.save({"generator": few}, folder / "zip.pt")
    torch.save(few, folder / "old.pt", _use_new_zipfile_serialization=False)
    update = {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.ones(2, 24),
        "diffusion_model.blocks.0.self_attn.q.lora_B.weight": torch.ones(24, 2),
        "diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(1.0),
        "diffusion_model.blocks.0.self_attn.k.diff_b": torch.ones(24),
    }
    save_file(update, folder / "lora.safetensors", metadata={"lora_adapter_metadata": '{"transformer.lora_alpha": 8}'})
    torch.save(update, folder / "lora.pt")
    (folder / "model.toml").write_text(LARGE)
    expected = {name: tensor.shape for name, tensor in tensors.items()}
    return {
        "safetensors": (folder / "fp8.safetensors", weights, 1500),
        "torch": (folder / "zip.pt", weights, 1000),
        "torch, the old format": (folder / "old.pt", weights, 1000),
        "lora": (folder / "lora.safetensors", lambda path: read_lora(Lora(path), expected), 1500),
        "lora, torch": (folder / "lora.pt", lambda path: read_lora(Lora(path), expected), 500),
        "toml": (folder / "model.toml", read_entry, 1000),
        "tokenizer": (model / "tokenizer" / "tokenizer.json", tokenise, 1000),
    }


def tokenise(path: Path) -> None:
    whole = path.with_name("tokenizer.json")
    whole.write_bytes(path.read_bytes())
    PromptTokenizer(path.parent).ids("a red fox walks in the snow")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_sentences(model, tmp_path):
    """Thousands of them, by every reader of single files."""
    dice, num_refused = random.Random(7), 0
    for kind, (good, read, count) in readers(tmp_path, model).items():
        path = tmp_path / f"damaged{good.suffix}"
        content = good.read_bytes()
        for number in range(count):
            path.unlink(missing_ok=True)  # the one before may be mapped into memory
            path.write_bytes(damaged(content, dice))
            num_refused += only_sentences(lambda: read(path), f"{kind}, {number}")  # noqa: B023
    assert num_refused > 3000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_text", [False, True])
def test_damaged_descriptions_are_sentences(is_text, model, tmp_path):
    """JSON with one odd value somewhere, or damaged as a text: by every reader of folders."""
    describe = {
        "transformer/config.json": lambda folder: (folder_model(folder), read_config(folder / "transformer")),
        "scheduler/scheduler_config.json": folder_model,
        "model_index.json": folder_model,
        "vae/config.json": lambda folder: (folder_model(folder), load_autoencoder(folder / "vae", CPU, torch.float32)),
        "text_encoder/config.json": lambda folder: fit_encoder(folder / "text_encoder"),
        "tokenizer/tokenizer.json": lambda folder: PromptTokenizer(folder / "tokenizer").ids("a red fox"),
    }
    dice = random.Random(8)
    for name, read in describe.items():
        path = model / name
        good = path.read_bytes()
        try:
            for number in range(250):
                bad = damaged(good, dice) if is_text else json.dumps(spoiled(json.loads(good), dice)).encode()
                path.write_bytes(bad)
                only_sentences(lambda: read(model), f"{name}, {number}: {bad[:300]!r}")  # noqa: B023
        finally:
            path.write_bytes(good)


FILES = ["transformer/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer/tokenizer.json", "x.json"]
FILES += [
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "model_index.json",
]


@pytest.fixture
def copy_of(model, tmp_path):
    return shutil.copytree(model, tmp_path / "model")


def whole_path(folder: Path) -> None:
    entry = find_model(folder)
    identity_of(entry)
    load_model(entry).encode_prompts(["a red fox"])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "nowhere"])
def test_only_regular_files_are_read(name, kind, copy_of):
    """A pipe or /dev/zero in a file's place was waited for, for ever; an extra one beside the model's own was, too."""
    path = copy_of / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else "/nowhere")
    does_not_matter = name == "x.json" or (name, kind) == ("model_index.json", "nowhere")
    assert only_sentences(lambda: whole_path(copy_of), f"{kind} as {name}") != does_not_matter


SIZES = [
    ("vae/config.json", {"refiner_blocks": 10**9}),
    ("vae/config.json", {"refiner_blocks": -1}),
    ("vae/config.json", {"refiner_channels": 10**6, "refiner_body_channels": 10**6}),
    ("vae/config.json", {"latent_channels": 10**300}),
    ("vae/config.json", {"scale_factor_spatial": 65536}),
    ("vae/config.json", {"_class_name": [1]}),
    ("vae/config.json", {"_class_name": "AutoencoderKLWan", "base_dim": 10**7}),
    ("vae/config.json", {"_class_name": "AutoencoderKLWan", "base_dim": 8, "num_res_blocks": 10**7}),
    ("vae/config.json", {"_class_name": "AutoencoderKLWan", "base_dim": 8, "dim_mult": "abc"}),
    ("text_encoder/config.json", {"num_layers": 10**5}),
    ("text_encoder/config.json", {"d_model": 10**12}),
    ("text_encoder/config.json", {"num_heads": 0}),
    ("text_encoder/config.json", {"relative_attention_num_buckets": 0}),
    ("text_encoder/config.json", {"relative_attention_max_distance": 1}),
    ("text_encoder/config.json", {"layer_norm_epsilon": "x"}),
    ("text_encoder/config.json", {"num_layers": 2.0}),
    ("transformer/config.json", {"num_layers": 999}),
    ("transformer/config.json", {"eps": "x"}),
    ("transformer/config.json", {"ffn_dim": 2**20}),
    ("transformer/config.json", {"num_attention_heads": 65536, "attention_head_dim": 65536}),
]


@pytest.mark.parametrize(("name", "change"), SIZES, ids=lambda value: str(value)[:60])
def test_sizes_that_no_model_has_are_refused_before_it_is_built(name, change, copy_of):
    path = copy_of / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert only_sentences(lambda: whole_path(copy_of), f"{name}: {change}")


def split(regex: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def replace_all(pattern: dict, content: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


TOKENIZERS = {
    "tries again": {"pre_tokenizer": split("(x+x+)+y")},
    "chooses again": {"pre_tokenizer": split("(a|a|aa|[a-z ])+$x")},
    "grows": {"normalizer": {"type": "Sequence", "normalizers": [replace_all({"Regex": "."}, "xx")] * 40}},
    "grows from nothing": {"normalizer": replace_all({"String": ""}, "x" * 1000)},
    "ids of billions": {
        "model": {"type": "WordLevel", "vocab": {"a": 4 * 10**9, "<unk>": 2**32 - 1}, "unk_token": "<unk>"}
    },
    "no vocabulary": {"model": {"type": "WordLevel", "vocab": {}, "unk_token": "zz"}},
    "no unknown": {"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": None}},
    "an unknown that is not there": {"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 99}},
    "merges of nothing": {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["b c"]}},
    "a bad map": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAAAAAAAAAAAAAAAA=="}},
}


@pytest.mark.parametrize("rule", TOKENIZERS)
def test_tokenizers_that_panic_or_never_end_are_sentences(rule, copy_of):
    path = copy_of / "tokenizer" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | TOKENIZERS[rule]))
    assert only_sentences(lambda: whole_path(copy_of), rule)


@pytest.mark.parametrize("component", ["transformer", "text_encoder", "vae"])
@pytest.mark.parametrize("kind", ["nan", "infinite", "whole", "truth", "eight bits"])
def test_weights_that_are_not_numbers_are_named(component, kind, copy_of):
    """One NaN in an autoencoder made a film that was black, and exit code 0."""
    path = next((copy_of / component).glob("*.safetensors"))
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    spoil = {
        "nan": lambda t: t.index_fill(0, torch.tensor([0]), float("nan")),
        "infinite": lambda t: t.index_fill(0, torch.tensor([0]), float("inf")),
        "whole": torch.Tensor.long,
        "truth": torch.Tensor.bool,
        "eight bits": lambda t: t.float().to(torch.float8_e4m3fn),
    }
    save_file(tensors | {name: spoil[kind](tensors[name])}, path)
    with pytest.raises(ModelError, match=name.split(".")[-1]):
        whole_path(copy_of)
