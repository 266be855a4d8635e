"""Prompts become embeddings, with a real UMT5 encoder at tiny size."""

import gc
import json
import resource
import weakref
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from memflow_cli.errors import ModelError
from memflow_cli.models.text.encoder import EmbeddingCache, TextEncoder, fit_encoder
from memflow_cli.models.text.prompt_tokens import PromptTokenizer, clean_prompt, least_tokens, most_tokens
from tiny_files import WORDS, save_encoder, save_tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    save_tokenizer(folder / "tokenizer")
    save_encoder(folder / "text_encoder")
    return folder


def encoder(files: Path, **options) -> TextEncoder:
    return TextEncoder(files / "text_encoder", files / "tokenizer", 8, CPU, torch.float32, **options)


def test_rows_after_the_prompt_are_zero_and_the_rest_is_the_models_output(files):
    prompts = ["a red fox", "the blue fox walks in the snow"]
    embeds = encoder(files).encode(prompts)
    assert embeds.shape == (2, 8, 16)
    model = UMT5EncoderModel.from_pretrained(files / "text_encoder")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(files / "tokenizer")
    padded = tokenizer(prompts, padding="max_length", max_length=8, return_tensors="pt")
    with torch.no_grad():  # as published: padded to the full length, masked, padding set to zero
        expected = model(padded.input_ids, padded.attention_mask).last_hidden_state
    expected = expected * padded.attention_mask.unsqueeze(-1)
    torch.testing.assert_close(embeds, expected, atol=1e-5, rtol=1e-5)
    assert (embeds[0, 4:] == 0).all() and (embeds[0, :4].abs().amax(-1) > 0).all()


def test_a_long_prompt_meets_every_distance_as_in_transformers(files):
    """Distances beyond 128 tokens share a bucket; those before get ever coarser ones."""
    text = " ".join(WORDS[3:] * 40)
    embeds = TextEncoder(files / "text_encoder", files / "tokenizer", 400, CPU, torch.float32).encode([text])
    tokens = PreTrainedTokenizerFast.from_pretrained(files / "tokenizer")(text, return_tensors="pt").input_ids
    assert tokens.shape[1] == 321
    with torch.no_grad():
        expected = UMT5EncoderModel.from_pretrained(files / "text_encoder")(tokens).last_hidden_state
    torch.testing.assert_close(embeds[:, :321], expected, atol=1e-5, rtol=1e-5)


def test_a_prompts_embedding_does_not_depend_on_the_others(files):
    one = encoder(files)
    assert torch.equal(one.encode(["a red fox"])[0], one.encode(["the snow", "a red fox", "the snow"])[1])


def test_long_prompt_is_cut_and_keeps_its_end_token(files):
    text = "fox " * 100
    tokenizer = PromptTokenizer(files / "tokenizer")
    assert len(tokenizer.ids(text)) == 101 and len(tokenizer.ids_read(text, 8)) == 8
    assert tokenizer.ids_read(text, 8)[-1] == WORDS.index("</s>")
    assert (encoder(files).encode([text])[0].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("text", ["", "a red fox", "狐狸 in the snow", "ﷺ fox", "&amp;amp; fox\u3000fox"])
def test_no_tokenizer_needs_to_be_read_to_bound_a_prompts_length(files, text):
    assert least_tokens(text) <= len(PromptTokenizer(files / "tokenizer").ids(clean_prompt(text))) <= most_tokens(text)


def test_a_tokenizer_without_an_end_token_of_its_own_gets_one(files, tmp_path):
    described = json.loads((files / "tokenizer" / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(described | {"post_processor": None}))
    one = TextEncoder(files / "text_encoder", tmp_path, 8, CPU, torch.float32)
    assert torch.equal(one.encode(["a red fox"]), encoder(files).encode(["a red fox"]))


def test_cached_prompts_need_no_encoder(files, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", "tiny")
    first = encoder(files, cache=cache).encode(["a red fox", "the snow"])
    nowhere = TextEncoder(tmp_path / "no", tmp_path / "no", 8, CPU, torch.float32, cache=cache)
    assert torch.equal(nowhere.encode(["the snow", "a red fox"]), first.flip(0))
    with pytest.raises(ModelError, match="tokenizer is missing"):
        nowhere.encode(["a blue fox"])


def test_cache_tells_models_apart_and_survives_a_broken_file(files, tmp_path):
    cache = EmbeddingCache(tmp_path, "tiny")
    encoder(files, cache=cache).encode(["a red fox"])
    assert EmbeddingCache(tmp_path, "other").load("a red fox") is None
    for path in tmp_path.iterdir():
        path.write_bytes(b"half a file")
    assert cache.load("a red fox") is None
    assert encoder(files, cache=cache).encode(["a red fox"]).abs().sum() > 0


def test_a_cache_that_cannot_be_written_is_no_error_and_leaves_nothing(tmp_path):
    """As on a full disk: what writes the file has an error class of its own."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        EmbeddingCache(tmp_path, "tiny").save("a red fox", torch.zeros(100, 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stays", [False, True])
def test_the_encoder_leaves_when_prompts_are_done_unless_it_stays(stays, files, monkeypatch):
    loaded = []

    def fit(folder):
        model, weights = fit_encoder(folder)
        loaded.append(weakref.ref(model))
        return model, weights

    monkeypatch.setattr("memflow_cli.models.text.encoder.fit_encoder", fit)
    one = encoder(files, stays=stays)
    for prompt in ("a red fox", "the snow"):
        one.encode([prompt])
    assert len(loaded) == 1, "one load serves all prompts"
    one.release()
    gc.collect()
    assert (loaded[0]() is not None) == stays
    one.encode(["a red fox"])
    assert len(loaded) == (1 if stays else 2)


def test_truncated_encoder_is_a_sentence(files, tmp_path):
    save_encoder(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cut off"):
        TextEncoder(tmp_path, files / "tokenizer", 8, CPU, torch.float32).encode(["a red fox"])


def test_encoder_of_another_size_is_a_sentence(files, tmp_path):
    save_encoder(tmp_path)
    UMT5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="missing"):
        TextEncoder(tmp_path, files / "tokenizer", 8, CPU, torch.float32).encode(["a red fox"])


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("  a\tred \n fox ", "a red fox"),
        ("Tom &amp; Jerry&#39;s", "Tom & Jerry's"),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("“it’s a ﬁsh”", '"it\'s a fish"'),
        ("ＦＯＸ　in", "FOX in"),
        ("cafe\u0301 \x07", "caf\u00e9"),
        ("ein Fuchs läuft, 狐狸", "ein Fuchs läuft, 狐狸"),
    ],
)
def test_prompts_are_cleaned_as_published(given, cleaned):
    assert clean_prompt(given) == cleaned
