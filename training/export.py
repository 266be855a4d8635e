"""Writes the trained weights as the package loads them: `python -m training.export --work DIR`."""

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.decoders import LIFE, PAINTER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.theatre.painter import UPSCALE
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.weights.quantised import SCALE, dequantise, quantise_rows
from training.batches import LEVELS, SHIFT, Pictures
from training.data import Latents
from training.learn import Learner, Options, picture_errors
from training.teacher_forcing import CHUNK, SINK, WINDOW, Trainee
from training.text import TokenIds, build_encoder
from training.world import HEIGHT, WIDTH

BLOCK_BITS = 6  # 1 to 2% more error in held-out pictures than with eight (`--errors`), a quarter less once compressed
STEPS = tuple(range(1000, 0, -1000 // len(LEVELS)))
GUIDANCE_SCALE = 3.0  # training leaves out one caption in 25, so that passes can be led by theirs


def describe_transformer(config: WanConfig) -> dict:
    return {
        "_class_name": "WanTransformer3DModel",
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "num_layers": config.num_layers,
        "in_channels": config.in_dim,
        "out_channels": config.out_dim,
        "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim,
        "text_dim": config.text_dim,
        "text_len": config.text_len,
        "patch_size": list(config.patch_size),
        "eps": config.eps,
        "qk_norm": "rms_norm_across_heads",
        "cross_attn_norm": True,
    }


def describe_model() -> dict:
    return {
        "_class_name": "WanPipeline",
        "memflow": {
            "summary": "the embedded paper theatre",
            "licence": "Apache-2.0",
            "width": UPSCALE * WIDTH,
            "height": UPSCALE * HEIGHT,
            "sizes": [f"{scale * WIDTH}x{scale * HEIGHT}" for scale in (UPSCALE, 1)],
            "policy": "nam",
            "positions": "relative",
            "mirrors_pictures": True,
            "picture_guidance": 2.0,
            "chunk": CHUNK,
            "sink": SINK,
            "window": WINDOW,
        },
    }


def describe_sampling(steps: tuple[int, ...]) -> dict:
    return {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "steps": list(steps),
        "shift": SHIFT,
        "warp": True,
        "prediction": "sample",
        "context_noise": 0,
        "guidance_scale": GUIDANCE_SCALE,
    }


def _write_json(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")


def load_average(checkpoint: Path, vocabulary_size: int) -> Trainee:
    """The averaged weights of a checkpoint, in a model of the checkpoint's own sizes."""
    state = torch.load(checkpoint, "cpu", weights_only=True, mmap=True)
    model = Trainee(WanConfig.from_dict(state["config"]), build_encoder(vocabulary_size))
    model.load_state_dict(state["average"]["weights"])
    return model.eval().requires_grad_(False)


def pack(weights: Mapping[str, Tensor], block_bits: int = BLOCK_BITS) -> dict[str, Tensor]:
    """A transformer's weights as they are shipped: matrices in eight bits, of which the blocks' use six; the rest in fp32."""
    packed = {}
    for name, tensor in weights.items():
        if tensor.ndim >= 2 and "modulation" not in name:
            packed[name], packed[name + SCALE] = quantise_rows(tensor, block_bits if name.startswith("blocks.") else 8)
        else:
            packed[name] = tensor.float().contiguous()
    return packed


def export(work: Path, checkpoint: Path, target: Path, steps: tuple[int, ...] = STEPS) -> None:
    """A diffusers Wan folder: the transformer as `pack` says, text encoder and autoencoder in fp16."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    model = load_average(checkpoint, len(tokenizer))
    (target / "transformer").mkdir(parents=True, exist_ok=True)
    save_file(pack(model.transformer.state_dict()), target / "transformer" / "diffusion_pytorch_model.safetensors")
    _write_json(target / "transformer" / "config.json", describe_transformer(model.transformer.config))
    model.encoder.half().save_pretrained(target / "text_encoder")
    tokenizer.save_pretrained(target / "tokenizer")
    PatchAutoencoder.from_pretrained(work / "autoencoder").save_pretrained(target / "vae")
    for decoding in (PAINTER, LIFE):
        if (work / "autoencoder" / decoding).is_dir():
            shutil.copytree(work / "autoencoder" / decoding, target / "vae" / decoding, dirs_exist_ok=True)
    _write_json(target / "scheduler" / "scheduler_config.json", describe_sampling(steps))
    _write_json(target / "model_index.json", describe_model())
    for path in target.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes for the owner only


def print_errors(work: Path, checkpoint: Path) -> None:
    """What packing costs: squared errors in the puppets of held-out pictures, at noise 0.9, 0.75 and 0.5."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    scale = PatchAutoencoder.from_pretrained(work / "autoencoder").scale
    pictures = Pictures(Latents.open(work / "data", "pictures"), TokenIds(tokenizer))
    model = load_average(checkpoint, len(tokenizer))
    learner = Learner(model.transformer.config, len(tokenizer), scale, Options(seconds=0, pictures=0))
    learner.model = model
    trained = {name: tensor.clone() for name, tensor in model.transformer.state_dict().items()}
    for bits in (None, 8, BLOCK_BITS):
        weights = dequantise(checkpoint, pack(trained, bits)) if bits else trained
        model.transformer.load_state_dict(weights)
        errors = " ".join(f"{error:.4f}" for error in picture_errors(learner, pictures, size=256))
        print(f"{bits} bits: {errors}" if bits else f"as trained: {errors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder that training.run works in")
    parser.add_argument("--checkpoint", type=Path, help="default: stories.pt of that folder")
    parser.add_argument("--target", type=Path, default=THEATRE_FOLDER)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="denoising timesteps of 1000")
    parser.add_argument("--errors", action="store_true", help="write nothing; print what packing costs")
    options = parser.parse_args()
    checkpoint = options.checkpoint or options.work / "stories.pt"
    if options.errors:
        print_errors(options.work, checkpoint)
    else:
        export(options.work, checkpoint, options.target, tuple(options.steps))


if __name__ == "__main__":
    main()
