"""Checkpoints to transformers: read safely, check strictly, merge low-rank updates, assign without a second copy.

Nothing is loaded halfway: every key and shape is compared with the model on the meta device before a weight is touched.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from memflow_cli.backbone import Backbone, StreamingDecoder, with_defaults
from memflow_cli.errors import MemflowError, ModelError
from memflow_cli.geometry import Geometry
from memflow_cli.machine.out_of_memory import is_memory_error
from memflow_cli.models.catalog import ModelEntry, read_json
from memflow_cli.models.footprint import TILE, Placement
from memflow_cli.models.hub import ModelFiles, locate
from memflow_cli.models.text.encoder import EmbeddingCache, TextEncoder, fit_encoder
from memflow_cli.models.text.prompt_tokens import PromptTokenizer
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.names import is_lora, original_names
from memflow_cli.models.wan.streaming import move_streamed
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.weights.lora import Lora, LoraUpdate, read_lora
from memflow_cli.models.weights.quantised import dequantise
from memflow_cli.models.weights.tensor_files import check_fit, first_three, likely_cause, read_tensors

FULL_PRECISION = re.compile(r"^time_embedding\.|^time_projection\.|modulation$|norm_[qk]\.weight$")
"""Tensors that stay in fp32: small, and the published code computes with them in fp32."""


SMALL_ENCODER = 1 << 30
"""A text encoder of fewer bytes stays loaded and needs no cache."""


def load_model(
    entry: ModelEntry,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    embeddings: Path | None = None,
    placement: Placement | None = None,
    prompts: Sequence[str] = (),
) -> Backbone:
    """A model ready to make films.

    `embeddings`: folder to keep the embeddings of a large text encoder in. `placement`: what stays on the device, all
    of it unless given. `prompts`: of all films to come, so that a large text encoder is loaded once for them.
    Raises ModelError: files missing (with the command that downloads them), broken, or not fitting.
    """
    device = torch.device(device)
    if entry.backbone is not None:
        return _load_plugin(entry, device, dtype)
    files = locate(entry)
    config = transformer_config(entry, files)
    published = [Lora(files.lora)] if files.lora else []
    streams = placement is not None and placement.resident_blocks is not None
    transformer = load_transformer(
        files.transformer, config, [*published, *entry.loras], "cpu" if streams else device, dtype
    )
    if placement is not None and placement.resident_blocks is not None:
        move_streamed(transformer, placement.resident_blocks, device)
    text_device = device if placement is None or placement.text_encoder_on_card else torch.device("cpu")
    text_encoder = make_text_encoder(files, config.text_len, text_device, embeddings, prompts)
    tiled = placement is not None and placement.tile_decoder
    autoencoder = load_autoencoder(files.vae, device, dtype, tiled)
    return WanModel(
        transformer,
        entry.geometry,
        entry.sampling,
        entry.positions,
        encode_prompts=text_encoder.encode,
        make_decoder=autoencoder.make_decoder,
        release_text=text_encoder.release,
        encode_frames=autoencoder.encode_frames,
    )


def check_model(entry: ModelEntry) -> Iterator[str]:
    """Compare every tensor's name and shape with the model; a line for each component that fits.

    Raises ModelError at the first that does not.
    """
    files = locate(entry)
    published = [Lora(files.lora)] if files.lora else []
    _, weights, updates = fit_transformer(files.transformer, transformer_config(entry, files), published)
    yield f"transformer: {len(weights)} tensors"
    for update in updates:
        yield f"low-rank update: {len(update.pairs)} matrices"
    _, encoder_weights = fit_encoder(files.text_encoder)
    yield f"text encoder: {len(encoder_weights)} tensors"
    PromptTokenizer(files.tokenizer)
    yield "tokenizer"
    load_autoencoder(files.vae, torch.device("cpu"), torch.float32)
    yield "autoencoder"


def _load_plugin(entry: ModelEntry, device: torch.device, dtype: torch.dtype) -> Backbone:
    """What another package makes of its entry. Whatever goes wrong in there is told as its own fault."""
    assert entry.backbone is not None, "only plug-ins bring a loader"
    try:
        backbone = with_defaults(entry.backbone(entry, device, dtype))
    except (Exception, SystemExit) as error:
        if isinstance(error, MemflowError) or is_memory_error(error):
            raise
        raise ModelError(
            f"the plug-in that brings the model {entry.name} cannot load it: {type(error).__name__}: {error}",
            "ask its authors, or choose another model with --model",
        ) from error
    return backbone


def transformer_config(entry: ModelEntry, files: ModelFiles) -> WanConfig:
    """The sizes that a model's checkpoint must have: its config.json's, or for a bare file those of its geometry."""
    if (files.transformer / "config.json").is_file():
        return read_config(files.transformer)
    geometry = entry.geometry
    return replace(
        infer_config(files.transformer, _read_weights(files.transformer), geometry),
        dim=geometry.num_heads * geometry.head_dim,
        num_heads=geometry.num_heads,
        num_layers=geometry.num_layers,
        in_dim=geometry.latent_channels,
        out_dim=geometry.latent_channels,
    )


def make_text_encoder(
    files: ModelFiles, text_len: int, device: torch.device, embeddings: Path | None, ahead: Sequence[str] = ()
) -> TextEncoder:
    """The text encoder: a small one computes in fp32 and stays, a large one in bf16, and leaves when it is done."""
    weights = sorted(files.text_encoder.glob("*.safetensors"))
    small = sum(path.stat().st_size for path in weights) < SMALL_ENCODER
    dtype = torch.float32 if small else torch.bfloat16
    cache = None
    if embeddings is not None and not small:
        identity = [_file_identity(path) for path in (*weights, files.tokenizer / "tokenizer.json")]
        cache = EmbeddingCache(embeddings, "\n".join([*identity, str(dtype), str(text_len)]))
    return TextEncoder(files.text_encoder, files.tokenizer, text_len, device, dtype, small, cache, ahead)


def _file_identity(path: Path) -> str:
    """What tells a large file from another without reading it: its place, size and time; in the hub's cache that place
    is named by the content's checksum.
    """
    about = path.stat()
    return f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"


class Autoencoder(NamedTuple):
    """Both ways of a loaded autoencoder; each film gets its own decoder."""

    make_decoder: Callable[[], StreamingDecoder]
    encode_frames: Callable[[Tensor], Tensor]


def load_autoencoder(folder: Path, device: torch.device, dtype: torch.dtype, tiled: bool = False) -> Autoencoder:
    """The autoencoder that vae/config.json names.

    `tiled`: where the decoder knows tiles, it works in them and leaves their state on the host.
    """
    config = read_json(folder / "config.json")
    name = config.get("_class_name")
    if name == "PatchAutoencoder":
        from memflow_cli.models.theatre.autoencoder import PatchAutoencoder, PatchStreamingDecoder

        patches = _loaded(folder, lambda: PatchAutoencoder.from_pretrained(folder, dtype).to(device))
        return Autoencoder(
            lambda: PatchStreamingDecoder(patches), lambda frames: patches.encode(frames.to(device, dtype)).float()
        )
    if name == "AutoencoderKLWan":
        from diffusers import AutoencoderKLWan  # here: seconds to import, and theatre does without

        from memflow_cli.models.wan.vae import Tiling, WanDecoder, encode

        with torch.device("meta"):
            vae = AutoencoderKLWan.from_config(config)
        weights = read_tensors(folder)
        check_fit(folder, weights, {key: tensor.shape for key, tensor in vae.state_dict().items()})
        vae.load_state_dict({key: tensor.to(device, dtype) for key, tensor in weights.items()}, assign=True)
        vae.eval().requires_grad_(False)
        tiling = Tiling(size=TILE, stride=TILE * 3 // 4, state_on_host=True) if tiled else None
        return Autoencoder(lambda: WanDecoder(vae, tiling), lambda frames: encode(vae, frames))
    raise ModelError(f"{folder / 'config.json'} names the unknown autoencoder {name!r}")


def _loaded(folder: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"cannot read the autoencoder in {folder}: {str(error).splitlines()[0]}", "download or copy it again"
        ) from error


def load_transformer(
    path: Path,
    config: WanConfig,
    loras: Sequence[Lora] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> CausalWanTransformer:
    """A transformer from a checkpoint file or a diffusers folder, low-rank updates merged once in fp32.

    Raises ModelError, before anything is loaded, if a file is missing, broken, unsafe or of another model.
    """
    transformer, weights, updates = fit_transformer(path, config, loras)
    for name in transformer.state_dict():
        kept = torch.float32 if FULL_PRECISION.search(name) else dtype
        weights[name] = _merged(weights[name], name, updates, device).to(device, kept)
    transformer.load_state_dict(weights, strict=True, assign=True)
    return transformer.eval().requires_grad_(False)


def fit_transformer(
    path: Path, config: WanConfig, loras: Sequence[Lora] = ()
) -> tuple[CausalWanTransformer, dict[str, Tensor], list[LoraUpdate]]:
    """The transformer on the meta device, the weights by its own names, and the updates: every key and shape checked."""
    weights = _read_weights(path)
    with torch.device("meta"):
        transformer = CausalWanTransformer(config)
    expected = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
    check_fit(path, weights, expected)
    return transformer, weights, [read_lora(lora, expected) for lora in loras]


def _read_weights(path: Path) -> dict[str, Tensor]:
    """A model's tensors by their original names."""
    loaded = read_tensors(path)
    if is_lora(loaded):
        raise ModelError(
            f"{path} is a LoRA, an update of a model, and cannot be the model itself",
            "give the model with --model and this file with --lora",
        )
    return dequantise(path, original_names(loaded))


def _merged(weight: Tensor, name: str, updates: Sequence[LoraUpdate], device: torch.device | str) -> Tensor:
    for update in updates:
        delta = update.delta(name, device)
        if delta is not None:
            weight = weight.to(device, torch.float32) + delta.view(weight.shape)
    return weight


def infer_config(path: Path, weights: Mapping[str, Tensor], geometry: Geometry) -> WanConfig:
    """The sizes of a checkpoint without a config.json, from its tensors; the number of heads is the geometry's."""
    try:
        dim = weights["patch_embedding.weight"].shape[0]
        layers = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
        return WanConfig(
            dim=dim,
            ffn_dim=weights["blocks.0.ffn.0.weight"].shape[0],
            freq_dim=weights["time_embedding.0.weight"].shape[1],
            text_dim=weights["text_embedding.0.weight"].shape[1],
            num_heads=max(1, dim // geometry.head_dim),
            num_layers=len(layers),
            in_dim=weights["patch_embedding.weight"].shape[1],
            out_dim=weights["head.head.weight"].shape[0] // (geometry.patch_size[1] * geometry.patch_size[2]),
            patch_size=geometry.patch_size,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"{path} is no Wan transformer: its tensors have other names ({first_three(list(weights))})",
            likely_cause(weights, {}),
        ) from error


def read_config(folder: Path) -> WanConfig:
    """The sizes in a transformer's config.json, in the original names or those of diffusers."""
    values = read_json(folder / "config.json")
    renamed = {"in_channels": "in_dim", "out_channels": "out_dim", "num_attention_heads": "num_heads"}
    for theirs, ours in renamed.items():
        if theirs in values:
            values[ours] = values[theirs]
    try:
        if "attention_head_dim" in values:
            values["dim"] = values.get("num_heads", 0) * values["attention_head_dim"]
        return WanConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'}: {error}") from error
