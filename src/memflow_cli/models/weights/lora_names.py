"""The names that trainers give to the tensors of a LoRA, and what they mean here.

A key is a prefix, a module and an ending. Prefixes: `diffusion_model.`, `transformer.`, `base_model.model.`; kohya's
`lora_unet_` (one underscore or two), where underscores also stand for the dots between a module's names; LyCORIS's
`lycoris_`. Modules: Wan's own names or those that diffusers gives them. Endings: see `_ENDINGS`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from memflow_cli.models.wan.names import LORA_CONTAINERS, plain, to_diffusers, unwrap

MAX_KEY = 1000  # characters; a longer name is not a module's

_ADAPTER = r"(?:\.\w+)?"
_ENDINGS = tuple(
    (re.compile(ending + "$"), part)
    for ending, part in (
        (rf"\.(?:lora_A|lora_down|lora\.down|lora_linear_layer\.down){_ADAPTER}\.weight", "down"),
        (rf"\.(?:lora_B|lora_up|lora\.up|lora_linear_layer\.up){_ADAPTER}\.weight", "up"),
        (r"_lora\.down\.weight", "down"),
        (r"_lora\.up\.weight", "up"),
        (r"\.(?:lora_A|lora_down)(?:\.default)?", "down"),
        (r"\.(?:lora_B|lora_up)(?:\.default)?", "up"),
        (rf"\.lora_B{_ADAPTER}\.bias", "up_bias"),
        (r"\.alpha", "alpha"),
        (rf"\.(?:dora_scale|lora_magnitude_vector){_ADAPTER}(?:\.weight)?", "magnitude"),
        (rf"\.(lokr_w[12](?:_[ab])?){_ADAPTER}", ""),
        (rf"\.(hada_w[12]_[ab]){_ADAPTER}", ""),
        (r"\.diff", "diff"),
        (r"\.diff_b", "diff_b"),
        (r"\.diff_m", "diff_m"),
    )
)
_UNDERSCORED = re.compile(
    r"^(?:lora_unet|lora_transformer|lycoris|lora)_+(?:(?:diffusion_model|transformer|unet|model)_+)*"
)
_TEXT = re.compile(
    r"^(?:(?:lora|lycoris)_te\d?_|te\d?_|(?:lora|lycoris)_text_encoder|"
    r"(?:base_model\.model\.)?text_encoders?(?:_\d)?\.|text_model\.|conditioner\.|cond_stage_model\.)"
)
_IMAGE = re.compile(
    r"(?:^|[._])(?:k_img|v_img|norm_k_img|img_emb|add_k_proj|add_v_proj|norm_added_k|image_embedder|"
    r"vace_blocks|vace_patch_embedding|control_adapter|face_adapter|motion_encoder)(?:[._]|$)"
)
_SECOND = re.compile(r"^(?:base_model\.model\.)?transformer_2\.")


def split_key(key: str) -> tuple[str, str] | None:
    """A key -> its module as the file names it, and the part. None for a key that is not of a LoRA."""
    if len(key) > MAX_KEY:
        return None
    for pattern, part in _ENDINGS:
        if match := pattern.search(key):
            return key[: match.start()], part or match[1]
    return None


def left_out(key: str) -> str | None:
    """What a key updates that this model has not, in words; None for a key of the transformer itself."""
    if len(key) > MAX_KEY:
        return None
    if _TEXT.search(key):
        return "a text encoder"
    if _SECOND.search(key):
        return "a second transformer"
    return "image or control inputs" if _IMAGE.search(key) else None


def is_lora(loaded: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds updates and no weights of its own."""
    state = unwrap(loaded, LORA_CONTAINERS)
    return bool(state) and all(isinstance(value, Tensor) and split_key(key) for key, value in state.items())


class Modules:
    """Finds a model's modules by the names that trainers give them."""

    def __init__(self, parameters: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        for parameter in parameters:
            module = parameter.removesuffix(".weight").removesuffix(".bias")
            holder = module.removesuffix(".modulation")  # `blocks.0.diff_m` changes blocks.0.modulation
            self._known |= {holder: holder, module: module, to_diffusers(module): module}
            if to_diffusers(module).endswith(".to_out.0"):
                self._known[to_diffusers(module).removesuffix(".0")] = module
        self._underscored = {name.replace(".", "_"): module for name, module in self._known.items()}

    def find(self, module: str) -> str:
        """A module's name here; of one that is unknown, what its name says."""
        if _UNDERSCORED.match(module) and "." not in module:
            bare = _UNDERSCORED.sub("", module)
            return self._underscored.get(bare, bare)
        bare = plain(module.removeprefix("unet.")).replace(".processor.", ".")
        return self._known.get(bare, bare)
