"""generate's options about the model: a LoRA of one's own, memory of the card, no network."""

import gc
import json
import weakref

import pytest
import torch

from memflow_cli.cli.app import run
from tiny_files import save_model
from tiny_model import tiny_backbone, tiny_entry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("options") / "tiny")


@pytest.fixture
def generate(folder, tmp_path, capfd):
    """Runs generate on a short story; returns (exit code, stderr, film.json)."""
    story = tmp_path / "story.yaml"
    story.write_text(f"title: t\nmodel: {folder}\nseed: 3\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")

    def generate(*options: str):
        code = run(["generate", str(story), "-o", str(tmp_path / "film.mp4"), *options])
        record = tmp_path / "film.json"
        return code, capfd.readouterr().err, json.loads(record.read_text()) if record.exists() else None

    return generate


@pytest.fixture
def lora(tmp_path):
    path = tmp_path / "mine.pt"
    pairs = {
        f"blocks.0.self_attn.q.{part}.weight": torch.randn(size)
        for part, size in (("lora_A", (4, 24)), ("lora_B", (24, 4)))
    }
    torch.save(pairs, path)
    return path


def test_a_lora_makes_another_film_and_is_recorded(generate, lora):
    _, _, plain = generate()
    code, err, full = generate("--lora", str(lora), "-y")
    assert code == 0, err
    code, err, half = generate("--lora", f"{lora}:0.5", "-y")
    assert code == 0, err
    assert len({film["sha256"] for film in (plain, full, half)}) == 3
    assert len({film["model"]["files"] for film in (plain, full, half)}) == 3
    code, err, again = generate("--lora", f"{lora}:0.5")
    assert code == 0 and "is there already" in err and again == half


def test_the_record_names_the_files_that_make_the_film_again(generate, lora, folder):
    """Digests alone tell that a file is another, not which one it was."""
    _, err, record = generate("--lora", f"{lora}:0.5")
    assert record["model"]["path"] == str(folder), err
    assert record["model"]["loras"] == [{"path": str(lora), "strength": 0.5}]
    assert record["model"]["preview_decoder"] is None
    options = [f"{used['path']}:{used['strength']}" for used in record["model"]["loras"]]
    _, err, again = generate("--model", record["model"]["path"], "--lora", *options, "-y")
    assert again["sha256"] == record["sha256"]


def test_the_old_model_goes_before_another_one_comes(folder, tmp_path, monkeypatch, capfd):
    """A model referred to itself, so that two of them lay in memory when films of two sizes were placed one by one."""
    from memflow_cli.models import load as checkpoints

    load, models, alive = checkpoints.load_model, [], []

    def watched(*arguments):
        alive.append([known() for known in models if known() is not None])
        model = load(*arguments)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(checkpoints, "load_model", watched)
    stories = [tmp_path / f"{size}.yaml" for size in ("64x32", "32x64")]
    for path in stories:
        path.write_text(f"model: {folder}\nsize: {path.stem}\nseed: 3\nsegments: [{{prompt: a fox, duration: 1s}}]\n")
    gc.disable()
    try:
        code = run(["generate", *map(str, stories), "-o", f"{tmp_path}/", "--vram", "1200MB"])
    finally:
        gc.enable()
    assert code == 0, capfd.readouterr().err
    assert alive == [[], []]


def test_a_large_text_encoder_is_loaded_once_for_all_stories(folder, tmp_path, monkeypatch, capfd):
    """It left after each film's prompts, and was loaded again for the next film's: 22 GB from disk for every story."""
    from memflow_cli.models.text import encoder as text_encoder

    fit, loaded = text_encoder.fit_encoder, []
    monkeypatch.setattr(text_encoder, "fit_encoder", lambda folder: loaded.append(1) or fit(folder))
    monkeypatch.setattr(text_encoder, "SMALL_ENCODER", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stories = [tmp_path / f"{name}.yaml" for name in ("fox", "snow")]
    for path in stories:
        prompts = "".join(f"- {{prompt: the {path.stem}{end}, duration: 0.7s}}\n" for end in ("", " again"))
        path.write_text(f"model: {folder}\nseed: 3\nsegments:\n{prompts}")
    assert run(["generate", *map(str, stories), "-o", f"{tmp_path}/"]) == 0, capfd.readouterr().err
    assert len(loaded) == 1
    assert len(list((tmp_path / "cache" / "memflow" / "embeddings").iterdir())) == 4
    assert run(["generate", *map(str, stories), "-o", f"{tmp_path}/", "-y"]) == 0
    assert len(loaded) == 1, "what is kept on disk needs no encoder"


def test_nothing_in_a_model_holds_the_model():
    gc.disable()
    try:
        model = weakref.ref(tiny_backbone(tiny_entry()))
        assert model() is None
    finally:
        gc.enable()


def test_a_lora_that_does_not_fit_or_is_missing_is_exit_3(generate, lora):
    torch.save({"blocks.9.self_attn.q.lora_A.weight": torch.zeros(4, 24)}, lora)
    code, err, record = generate("--lora", str(lora))
    assert code == 3 and "does not fit this model" in err and record is None
    code, err, _ = generate("--lora", f"{lora}.nowhere")
    assert code == 3 and "there is no file" in err
    code, err, _ = generate("--lora", f"{lora}:much")
    assert code == 2 and "'much' is not a number" in err


def test_vram_bounds_the_card_or_says_what_would_do(generate):
    code, err, whole = generate()
    assert code == 0, err
    code, err, record = generate("--vram", "1200MB", "-y")
    assert code == 0 and record["sha256"] == whole["sha256"], "where things lie changes no film"
    code, err, _ = generate("--vram", "100MB", "-y")
    assert code == 4 and "--size" in err and "--bank" in err
    code, err, _ = generate("--vram", "plenty", "-y")
    assert code == 2 and "--vram" in err


def test_a_time_limit_may_be_longer_than_a_segment(generate):
    """--max-time 30h was refused with a sentence about segments."""
    assert generate("--max-time", "30h")[0] == 0


def test_offline_needs_nothing_from_the_network(generate):
    assert generate("--offline")[0] == 0


@pytest.mark.parametrize("policy", ["sink", "window"])
def test_heads_cannot_choose_among_what_is_not_recalled(generate, policy):
    code, err, record = generate("--set", f"memory.policy={policy}", "--set", "memory.activate=2")
    assert code == 2 and f"the policy {policy} recalls no frames" in err and "leave activate out" in err
    assert record is None
