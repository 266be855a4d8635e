"""The names that tensors have on disk, and what they are called here (the original Wan names).

A checkpoint's format is told by its keys, never by its file's name: the containers of the published training code
({"generator": ...}, {"generator_ema": ...}, {"generator_lora": ...}), bare state dicts with any wrapper's prefix, and the
names that diffusers gives to the same tensors.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from memflow_cli.models.weights.packed import Weight

CONTAINERS = ("generator", "generator_ema", "state_dict", "model")
LORA_CONTAINERS = ("generator_lora", "lora", *CONTAINERS)

_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.", "module.")
_PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.", "model.")

_DIFFUSERS = (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.norm2\.", ".norm3."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
)

_ORIGINAL = (
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"^head\.head\.", "proj_out."),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.([qkv])\.$", r".to_\1."),
    (r"\.o\.$", ".to_out.0."),
    (r"\.norm3\.", ".norm2."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
)


def unwrap(loaded: Mapping[str, Any], containers: Iterable[str]) -> Mapping[str, Any]:
    """The state dict inside a container; a bare state dict is returned as it is."""
    for name in containers:
        if isinstance(loaded.get(name), Mapping):
            return loaded[name]
    return loaded


def plain(key: str) -> str:
    """A key without the prefixes that training wrappers put before and between its parts."""
    for wrapper in _WRAPPERS:
        key = key.replace(wrapper, "")
    stripped = True
    while stripped:
        stripped = False
        for prefix in _PREFIXES:
            if key.startswith(prefix):
                key, stripped = key.removeprefix(prefix), True
    return key


def is_diffusers(keys: Iterable[str]) -> bool:
    return any(".attn1." in key or key.startswith("condition_embedder.") for key in keys)


def from_diffusers(key: str) -> str:
    """diffusers' name of a tensor -> the original Wan name."""
    for pattern, replacement in _DIFFUSERS:
        key = re.sub(pattern, replacement, key)
    return key


def to_diffusers(module: str) -> str:
    """A module's original Wan name -> diffusers' name of it."""
    name = module + "."
    for pattern, replacement in _ORIGINAL:
        name = re.sub(pattern, replacement, name)
    return name[:-1]


def original_names(loaded: Mapping[str, Any]) -> dict[str, Weight]:
    """A loaded checkpoint of any known format -> tensors by their original Wan names; other values are dropped."""
    tensors = {plain(key): value for key, value in unwrap(loaded, CONTAINERS).items() if isinstance(value, Weight)}
    if is_diffusers(tensors):
        tensors = {from_diffusers(key): value for key, value in tensors.items()}
    return tensors
