"""vae/config.json's class name -> a streaming decoder and an encoder of frames.

Adding an autoencoder: a function that loads it from its folder, and a line in `_LOADERS`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from memflow_cli.backbone import StreamingDecoder
from memflow_cli.errors import ModelError
from memflow_cli.models.files import read_json
from memflow_cli.models.footprint import TILE
from memflow_cli.models.weights.tensor_files import check_fit, read_tensors


class Autoencoder(NamedTuple):
    """Both ways of a loaded autoencoder; each film gets its own decoder."""

    make_decoder: Callable[[], StreamingDecoder]
    encode_frames: Callable[[Tensor], Tensor]


def load_autoencoder(folder: Path, device: torch.device, dtype: torch.dtype, tiled: bool = False) -> Autoencoder:
    """The autoencoder that vae/config.json names.

    `tiled`: where the decoder knows tiles, it works in them and leaves their state on the host. Raises ModelError.
    """
    config = read_json(folder / "config.json")
    name = config.get("_class_name")
    loader = _LOADERS.get(name) if isinstance(name, str) else None
    if loader is None:
        raise ModelError(
            f"{folder / 'config.json'} names the unknown autoencoder {str(name)[:40]!r}",
            f"known: {', '.join(_LOADERS)}",
        )
    return loader(folder, config, device, dtype, tiled)


def _load_patches(
    folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype, tiled: bool
) -> Autoencoder:
    """theatre's own."""
    from memflow_cli.models.theatre.autoencoder import PatchAutoencoder, PatchStreamingDecoder

    try:
        patches = PatchAutoencoder.from_pretrained(folder, dtype).to(device)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"cannot read the autoencoder in {folder}: {str(error).splitlines()[0]}", "download or copy it again"
        ) from error
    return Autoencoder(
        lambda: PatchStreamingDecoder(patches), lambda frames: patches.encode(frames.to(device, dtype)).float()
    )


def _load_wan(
    folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype, tiled: bool
) -> Autoencoder:
    """Wan's, by diffusers."""
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


_LOADERS = {"PatchAutoencoder": _load_patches, "AutoencoderKLWan": _load_wan}
