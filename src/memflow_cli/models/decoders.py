"""vae/config.json's class name -> a streaming decoder and an encoder of frames.

Adding an autoencoder: a function that loads it from its folder, and a line in `_LOADERS`.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from memflow_cli.backbone import StreamingDecoder
from memflow_cli.errors import ModelError
from memflow_cli.models.files import read_json, refusing
from memflow_cli.models.footprint import TILE
from memflow_cli.models.weights.tensor_files import check_finite, check_fit, read_tensors

if TYPE_CHECKING:
    from memflow_cli.models.theatre.life import Life
    from memflow_cli.models.theatre.painter import Painter

Part = TypeVar("Part", "Life", "Painter")

PAINTER = "painter"  # the folder of a second decoder, for larger films of the same latents
LIFE = "life"  # the folder of what moves in those
MAX_BLOCKS, MAX_CHANNELS = 64, 4096  # above any autoencoder's


class Autoencoder(NamedTuple):
    """Both ways of a loaded autoencoder; each film gets its own decoder. `make_decoder_at`: where size decides which."""

    make_decoder: Callable[[], StreamingDecoder]
    encode_frames: Callable[[Tensor], Tensor]
    make_decoder_at: Callable[[int, int], StreamingDecoder] | None = None


def load_autoencoder(folder: Path, device: torch.device, dtype: torch.dtype, tiled: bool = False) -> Autoencoder:
    """The autoencoder that vae/config.json names.

    `tiled`: where the decoder knows tiles, it works in them and leaves their state on the host. Raises ModelError.
    """
    config = read_json(folder / "config.json")
    name = config.get("_class_name")
    _check_config(folder / "config.json", config)
    loader = _LOADERS.get(name) if isinstance(name, str) else None
    if loader is None:
        raise ModelError(
            f"{folder / 'config.json'} names the unknown autoencoder {str(name)[:40]!r}",
            f"known: {', '.join(_LOADERS)}",
        )
    return loader(folder, config, device, dtype, tiled)


def _check_config(path: Path, config: dict[str, Any]) -> None:
    """Raises ModelError for sizes that no autoencoder has: a description from strangers must not keep the machine busy."""
    for name, value in config.items():
        most = MAX_BLOCKS if "blocks" in name else MAX_CHANNELS
        numbers = value if isinstance(value, list) else [value]
        if (len(numbers) > MAX_BLOCKS and name not in ("latents_mean", "latents_std")) or len(numbers) > MAX_CHANNELS:
            raise ModelError(f"{path}: {name[:40]} has {len(numbers)} values")
        for number in numbers:
            is_size = type(number) in (int, float) and not (isinstance(number, int) and not 0 <= number <= most)
            if type(number) in (int, float) and (not is_size or number != number or abs(number) > MAX_CHANNELS):
                raise ModelError(f"{path}: {name[:40]} is {str(number)[:40]}; at most {most} is expected")


def _load_patches(
    folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype, tiled: bool
) -> Autoencoder:
    """theatre's own."""
    from memflow_cli.models.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder, PatchStreamingDecoder

    with refusing(folder / "config.json", "does not describe an autoencoder", None), torch.device("meta"):
        known = {field.name for field in fields(AutoencoderConfig)}
        sizes = AutoencoderConfig(**{name: value for name, value in config.items() if name in known})
        empty = PatchAutoencoder(sizes)
    check_fit(folder, read_tensors(folder), {name: tensor.shape for name, tensor in empty.state_dict().items()})
    with refusing(folder, "cannot be read as an autoencoder"):
        patches = PatchAutoencoder.from_pretrained(folder, dtype).to(device)
    for name, tensor in patches.state_dict().items():
        check_finite(folder, name, tensor)
    patch_decoder = partial(PatchStreamingDecoder, patches)
    if not (folder / PAINTER).is_dir():
        return Autoencoder(patch_decoder, lambda frames: patches.encode(frames.to(device, dtype)).float())
    from memflow_cli.models.theatre.life import Life
    from memflow_cli.models.theatre.painter import Painter
    from memflow_cli.models.theatre.painting import PaintedSizes

    painter = _load_part(folder / PAINTER, Painter, "a painter", device, dtype)
    life = None
    if (folder / LIFE).is_dir():
        life = _load_part(folder / LIFE, Life, "what lives in a painter's films", device, dtype)
        if not life.config.fits(painter.config):
            raise ModelError(
                f"{folder / LIFE} belongs to another painter than {folder / PAINTER}", "copy the model again"
            )
    painted = PaintedSizes(patches, painter, life)
    return Autoencoder(patch_decoder, lambda frames: painted.encode(frames.to(device, dtype)).float(), painted.decoder)


def _load_part(folder: Path, kind: type[Part], what: str, device: torch.device, dtype: torch.dtype) -> Part:
    """A network that stands beside the autoencoder, as bounded as that."""
    _check_config(folder / "config.json", read_json(folder / "config.json"))
    with refusing(folder, f"cannot be read as {what}"):
        part = kind.from_pretrained(folder, dtype).to(device)
    for name, tensor in part.state_dict().items():
        check_finite(folder, name, tensor)
    return part


def _load_wan(
    folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype, tiled: bool
) -> Autoencoder:
    """Wan's, by diffusers."""
    from diffusers import AutoencoderKLWan  # here: seconds to import, and theatre does without

    from memflow_cli.models.wan.vae import Tiling, WanDecoder, encode

    with refusing(folder / "config.json", "does not describe an autoencoder", None), torch.device("meta"):
        vae = AutoencoderKLWan.from_config(config)
    weights = read_tensors(folder)
    check_fit(folder, weights, {key: tensor.shape for key, tensor in vae.state_dict().items()})
    loaded = {key: check_finite(folder, key, tensor.to(device, dtype)) for key, tensor in weights.items()}
    vae.load_state_dict(loaded, assign=True)
    vae.eval().requires_grad_(False)
    tiling = Tiling(size=TILE, stride=TILE * 3 // 4, state_on_host=True) if tiled else None
    return Autoencoder(lambda: WanDecoder(vae, tiling), lambda frames: encode(vae, frames))


_LOADERS = {"PatchAutoencoder": _load_patches, "AutoencoderKLWan": _load_wan}
