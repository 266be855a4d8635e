"""The seam above the models: what the chunk loop needs of a backbone, of its decoder and of its sampling.

Any streaming model that speaks to its past through an `AttentionContext` makes films with these members. No torch at
import: a model's sampling is known long before the model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from memflow_cli.attention_context import AttentionContext, PositionMode, PromptProjection
    from memflow_cli.geometry import Geometry


Timesteps = float | Sequence[float]
"""The timestep of a pass in 0..1000: one for all latent frames at hand, or one for each."""


GUIDED_CHUNKS = 2  # under a prompt: whoever comes in is there after so many, and an action goes on as it began


@dataclass(frozen=True)
class Sampling:
    """How a model was distilled: the steps it denoises in, and what its output means.

    steps: training timesteps of 1000, first is pure noise; warp: pass them through the shifted schedule.
    prediction: "flow": x0 = x_t - sigma * output; "sample": the output is x0. context_noise: timestep of the commit.
    solver: how one step leads to the next: "renoise": x0 with fresh noise; "unipc": UniPC of second order, which draws none.
    first_chunk_steps: the steps of a film's first generated chunk, where they are others. sigmas: the noise levels, where
    they do not follow from the steps by `warp` and `shift`; `steps` are then what the transformer is told.
    guidance_scale: how far the first chunks under a prompt are led by it, in the first half of their steps, each of which then
    takes a second pass, under an empty prompt (classifier-free guidance, see guidance.py); 1: no guidance, which is how most
    few-step models were distilled.
    """

    steps: tuple[float, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    warp: bool = True
    prediction: Literal["flow", "sample"] = "flow"
    context_noise: int = 0
    solver: Literal["renoise", "unipc"] = "renoise"
    first_chunk_steps: tuple[float, ...] = ()
    sigmas: tuple[float, ...] = ()
    guidance_scale: float = 1.0

    def num_passes(self, index_under_prompt: int) -> int:
        """Passes that a chunk takes, the commit among them; given pictures may ask for more."""
        is_guided = self.guidance_scale != 1 and index_under_prompt < GUIDED_CHUNKS
        return len(self.steps) + (len(self.steps) // 2 if is_guided else 0) + 1

    def to_json(self) -> dict[str, Any]:
        """Its values for a film's recipe. What the first version did not know is left out where it says nothing, so that
        films begun with it go on.
        """
        known_from_the_start = ("steps", "shift", "warp", "prediction", "context_noise")
        values = ((field.name, getattr(self, field.name), field.default) for field in fields(self))
        return {name: value for name, value, default in values if name in known_from_the_start or value != default}


class StreamingDecoder(Protocol):
    """Latents to frames, chunk by chunk, with the state between chunks kept in the object.

    `past`: how many latent frames back a decoded frame depends on, so that decoding can begin in the middle of a film;
    None: on all of them, or it holds frames back. A decoder whose frames depend on their number as well has a method
    `go_on_at(latent_frame)`: it is called after `reset` where decoding begins in the middle, with the number of the next one.
    """

    @property
    def past(self) -> int | None: ...

    def reset(self) -> None: ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] -> frames [F', height, width, 3], fp32 in 0..1, or uint8 as they are shown.

        Where NaN comes out, all frames are fp32, for uint8 could not say so.
        """
        ...

    def flush(self) -> Tensor:
        """The frames that were still held back (none, for decoders without look-ahead)."""
        ...


class Backbone(Protocol):
    """A streaming video model: what the loop needs of it, and nothing more.

    A class that derives from this one inherits the members that have a body here; `with_defaults` gives them to any other.
    """

    geometry: Geometry
    sampling: Sampling
    positions: PositionMode
    device: torch.device
    dtype: torch.dtype

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> embeddings [P, T, C], padding rows exactly zero."""
        ...

    def project_prompt(self, prompt_embeds: Tensor) -> PromptProjection:
        """Embeddings [1, T, C] -> finished cross-attention keys and values."""
        ...

    def predict(
        self, latents: Tensor, timestep: Timesteps, prompt: PromptProjection, context: AttentionContext
    ) -> Tensor:
        """One pass over latents [1, F, C, h, w] at a timestep in 0..1000 -> the prediction, same shape, fp32."""
        ...

    def stage(self, latents: Tensor, timestep: float, prompt: PromptProjection, context: AttentionContext) -> None:
        """A pass that only lets the context see keys, values and (where it observes) prompt queries, all as `predict`
        would. Unless a backbone knows a shorter way, `predict` is called and its prediction dropped.
        """
        self.predict(latents, timestep, prompt, context)

    def rotate(self, key: Tensor, positions: Sequence[int], grid: tuple[int, int]) -> Tensor:
        """Rotary embedding of keys [B, F, N, H, D] at one temporal position a frame; `grid`: rows, columns of tokens."""
        ...

    def decoder(self) -> StreamingDecoder: ...

    def decoder_at(self, width: int, height: int) -> StreamingDecoder:
        """A decoder for films of this size. Unless a backbone has several, the one that it has."""
        return self.decoder()

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Frames [F', height, width, 3] in 0..1 -> latents [F, C, h, w]. Raises UsageError where the model has no encoder."""
        return no_encoder(frames)

    def read_story(
        self, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = (), lengths: Sequence[int] = ()
    ) -> Sequence[Sequence[tuple[int, str]]]:
        """What to encode for each segment, in the light of those before it: (chunk of the segment, text), from chunk 0 on.
        Unless a model knows better, each prompt as it is.

        `pictured`: the descriptions of characters whose pictures say how they look. `lengths`: chunks of each segment, as
        far as they are known.
        """
        return as_written(prompts)

    def stands_apart(
        self, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
    ) -> Sequence[bool]:
        """Which segments show nobody, and no place, that was shown before the cut that their scene began with; `pictured`: as
        above. Unless a model knows better, none.
        """
        return [False] * len(prompts)

    def caption_picture(self, description: str) -> str:
        """The text to commit a character's or place's picture under. Unless a model knows better, its description."""
        return description

    def work_of_pass(self, grid: tuple[int, int], frames_in_view: int) -> tuple[float, float] | None:
        """Floating-point operations and bytes moved at least by a pass over one chunk; None where nobody has counted them.

        `grid`: rows and columns of tokens in a latent frame. `frames_in_view`: latent frames that attention reads.
        """
        return None


def as_written(prompts: Sequence[str]) -> Sequence[Sequence[tuple[int, str]]]:
    """What `read_story` is of a model that is given the prompts as they are written."""
    return [((0, prompt),) for prompt in prompts]


def no_encoder(frames: Tensor) -> Tensor:
    """What `encode_frames` is of a model without an encoder."""
    raise UsageError("this model cannot start from a picture, nor be given one", "leave out `image:` and `picture:`")


def with_defaults(backbone: Any) -> Backbone:
    """A backbone of a class that does not derive from `Backbone`, with what it lacks of the members that have a body there.

    Raises TypeError for one that lacks others.
    """
    for name in (
        "stage",
        "decoder_at",
        "encode_frames",
        "read_story",
        "stands_apart",
        "caption_picture",
        "work_of_pass",
    ):
        if not hasattr(backbone, name):
            setattr(backbone, name, MethodType(getattr(Backbone, name), backbone))
    if missing := [name for name in _ALL_MEMBERS if not hasattr(backbone, name)]:
        raise TypeError(f"a {type(backbone).__name__} lacks {', '.join(missing)}")
    return cast("Backbone", backbone)


_ALL_MEMBERS = (*Backbone.__annotations__, *(name for name in vars(Backbone) if not name.startswith("_")))
