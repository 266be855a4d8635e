"""Models on disk at tiny size: the real classes, saved by the libraries that save the published ones."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from memflow_cli.models.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.transformer import CausalWanTransformer

WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "fox", "walks", "in", "the", "snow"]


def save_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)


def save_encoder(folder: Path) -> UMT5EncoderModel:
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    model = UMT5EncoderModel(config).eval()
    model.save_pretrained(folder)
    return model


def save_vae(folder: Path) -> None:
    torch.manual_seed(0)
    config = {"base_dim": 8, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    AutoencoderKLWan(**config).save_pretrained(folder)


def save_transformer(folder: Path) -> None:
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 2, "ffn_dim": 32, "freq_dim": 16}
    WanTransformer3DModel(patch_size=(1, 2, 2), text_dim=16, in_channels=16, out_channels=16, **sizes).save_pretrained(
        folder
    )


def save_model(folder: Path) -> Path:
    """A whole model in diffusers' layout: 64x32, memory `sink`."""
    save_transformer(folder / "transformer")
    save_vae(folder / "vae")
    save_tokenizer(folder / "tokenizer")
    save_encoder(folder / "text_encoder")
    about = {"width": 64, "height": 32, "policy": "sink", "summary": "tiny"}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline", "memflow": about}))
    return folder


def save_tiny_model(folder: Path) -> Path:
    """A whole model as theatre is one, with a patch autoencoder: 64x32, 2 x 4 tokens a latent frame, 2 steps a chunk."""
    torch.manual_seed(3)
    config = WanConfig(24, 32, 16, text_dim=16, text_len=12, num_heads=2, num_layers=2, in_dim=8, out_dim=8)
    transformer = CausalWanTransformer(config)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.normal_(0, 0.2)
    autoencoder = PatchAutoencoder(
        AutoencoderConfig(latent_channels=8, refiner_channels=4, refiner_body_channels=4, refiner_blocks=1)
    )
    autoencoder.basis.copy_(torch.randn_like(autoencoder.basis) * 0.15)
    save_tokenizer(folder / "tokenizer")
    save_encoder(folder / "text_encoder")
    autoencoder.save_pretrained(folder / "vae")
    (folder / "transformer").mkdir()
    save_file(transformer.state_dict(), folder / "transformer" / "diffusion_pytorch_model.safetensors")
    sizes = {
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "num_layers": config.num_layers,
        "in_channels": config.in_dim,
        "out_channels": config.out_dim,
        "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim,
        "text_dim": config.text_dim,
        "text_len": config.text_len,
        "patch_size": config.patch_size,
    }
    save_json(folder / "transformer" / "config.json", sizes)
    save_json(folder / "scheduler" / "scheduler_config.json", {"steps": [1000, 500], "shift": 5.0})
    save_json(folder / "model_index.json", {"memflow": {"width": 64, "height": 32, "positions": "relative"}})
    return folder


def save_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def make_kept_film(folder: Path, story: str, model: Path, name: str = "story") -> Path:
    """A film and its run folder, by the command, of a storyboard that has `{model}` in it; the film's path."""
    from memflow_cli.cli.app import run

    (folder / f"{name}.yaml").write_text(story.format(model=model))
    film = folder / "film.mp4"
    assert run(["generate", str(folder / f"{name}.yaml"), "-o", str(film), "--keep-run"]) == 0
    return film
