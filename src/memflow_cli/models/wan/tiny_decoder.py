"""A tiny decoder for previews, streaming: weights in the format of TAEHV (github.com/madebyollin/taehv; taew2_1 for Wan).

Flat convolutions, three stages. A memory block sees its frame and the one before it; `Grow` unfolds a frame's channels
into frames. The stack's places are the names in the file:

    decoder.1                  3x3, latent channels -> width
    decoder.3-5, 9-11, 15-17   memory blocks, after each three: double the size, .7/.13/.19 grow, .8/.14/.20 next width
    decoder.22                 3x3, width -> red, green, blue
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, prod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.backbone import Backbone
from memflow_cli.errors import ModelError
from memflow_cli.geometry import Geometry
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.weights.tensor_files import check_fit, read_tensors

BLOCKS = 3  # memory blocks a stage
STAGE_ENDS = (8, 14, 20)  # places of the convolutions that lead to the next stage
LAST = 22


class Clamp(nn.Module):
    """Softly bounds latents to -3..3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemoryBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Frames `x` [F, C, h, w] after the frame `before` [1, C, h, w]."""
        past = torch.cat([before, x[:-1]])
        return F.relu(self.conv(torch.cat([x, past], dim=1)) + x)


class Grow(nn.Module):
    """[F, C, h, w] -> [F * stride, C, h, w]: each frame becomes `stride` frames."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).reshape(-1, *x.shape[1:])


class TinyAutoencoder(nn.Module):
    """The decoder's half. `widths`: of the three stages and of what follows; `strides`: how time grows after each."""

    def __init__(self, channels: int, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides = strides
        layers: list[nn.Module] = [Clamp(), _conv(channels, widths[0]), nn.ReLU()]
        for width, following, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [MemoryBlock(width) for _ in range(BLOCKS)]
            layers += [nn.Upsample(scale_factor=2), Grow(width, stride), _conv(width, following, bias=False)]
        self.decoder = nn.Sequential(*layers, nn.ReLU(), _conv(widths[-1], 3))

    @property
    def past(self) -> int:
        """Latent frames back that a frame depends on: a block looks one of its own frames back, at its stage's rate."""
        rates = [prod(self.strides[:stage]) for stage in range(len(self.strides))]
        return ceil(sum(Fraction(BLOCKS, rate) for rate in rates))


class TinyDecoder:
    """Implements `pipeline.StreamingDecoder`: normalised latents to frames, each block's last frame kept between calls."""

    def __init__(self, model: TinyAutoencoder) -> None:
        self._model = model
        self._memory: dict[int, Tensor] = {}  # place of a memory block -> its last input [1, C, h, w]
        self.past = model.past

    def reset(self) -> None:
        """Begin a new film."""
        self._memory = {}

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w], normalised -> frames [F', height, width, 3], fp32 in 0..1: of the film's first only one."""
        # One at a time: that bounds memory, and a film's bytes do not depend on how its latents come.
        return torch.cat([self._decode_one(latent) for latent in latents.split(1)])

    def _decode_one(self, latent: Tensor) -> Tensor:
        is_first = not self._memory
        x = latent.to(self._model.decoder[1].weight)
        for place, layer in enumerate(self._model.decoder):
            if isinstance(layer, MemoryBlock):
                before = self._memory.get(place, torch.zeros_like(x[:1]))
                self._memory[place] = x[-1:].clone()
                x = layer(x, before)
            else:
                x = layer(x)
        if is_first:
            x = x[prod(self._model.strides) - 1 :]
        return x.float().clamp(0, 1).permute(0, 2, 3, 1)

    def flush(self) -> Tensor:
        """Frames held back: none. [0, 0, 0, 3]."""
        return torch.zeros(0, 0, 0, 3)


def load_tiny_decoder(
    path: Path, geometry: Geometry, device: torch.device | str, dtype: torch.dtype
) -> Callable[[], TinyDecoder]:
    """Decoders, one a film, with the weights of a file, .safetensors or .pth; an encoder in it is left alone.

    Raises ModelError if the file is missing, broken, of another format, or for other latents than `geometry`'s.
    """
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if not name.startswith("encoder.")}
    channels, widths, strides, colours = _sizes(path, tensors)
    ours = (geometry.latent_channels, geometry.spatial_stride, geometry.temporal_stride)
    theirs = (channels, 2 ** len(strides), prod(strides))
    if colours != 3 or theirs != ours:
        raise ModelError(
            f"{path} decodes other latents: {_in_words(*theirs)}, where the model's have {_in_words(*ours)}"
            if colours == 3
            else f"{path} decodes other latents: its last layer gives {colours} numbers a pixel, not 3",
            "for Wan 2.1's latents it is taew2_1",
        )
    with torch.device("meta"):
        model = TinyAutoencoder(channels, widths, strides)
    check_fit(path, tensors, {name: tensor.shape for name, tensor in model.state_dict().items()})
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in tensors.items()}, assign=True)
    model.eval().requires_grad_(False)
    return lambda: TinyDecoder(model)


def use_tiny_decoder(backbone: Backbone, path: Path) -> None:
    """Makes a Wan model's films come out of a tiny decoder. Raises ModelError, see `load_tiny_decoder`."""
    assert isinstance(backbone, WanModel), "only Wan's latents are known here"
    backbone.decoder = load_tiny_decoder(path, backbone.geometry, backbone.device, backbone.dtype)


def _sizes(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, tuple[int, ...], tuple[int, ...], int]:
    """Latent channels, the stages' widths, their strides in time, and the last layer's outputs, from the tensors."""
    try:
        width, channels = tensors["decoder.1.weight"].shape[:2]
        widths = (width, *(tensors[f"decoder.{place}.weight"].shape[0] for place in STAGE_ENDS))
        grows = [tensors[f"decoder.{place - 1}.conv.weight"].shape for place in STAGE_ENDS]
        return (
            channels,
            widths,
            tuple(out // into for out, into, *_ in grows),
            tensors[f"decoder.{LAST}.weight"].shape[0],
        )
    except (KeyError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise ModelError(
            f"{path} is not a tiny decoder in TAEHV's format: it lacks {str(error)[:80] or 'its layers'}",
            "for Wan 2.1's latents it is taew2_1.safetensors or taew2_1.pth of github.com/madebyollin/taehv",
        ) from error


def _in_words(channels: int, spatial: int, temporal: int) -> str:
    return f"{channels} channels for {spatial}x{spatial} pixels of {temporal} frames"


def _conv(channels_in: int, channels_out: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias)
