"""How strong a LoRA is meant to be: alpha over rank, wherever the file's trainer wrote it down.

In this order: a tensor beside the matrices; the safetensors header (`lora_adapter_metadata` of diffusers,
`ss_network_alpha` of kohya); adapter_config.json beside the file (PEFT). Where nothing says, 1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.files import read_json
from memflow_cli.models.wan.names import from_diffusers, plain
from memflow_cli.models.weights.tensor_files import header_json

_RANK_OF = {"down": 0, "hada_w1_b": 0}


@dataclass(frozen=True)
class Alphas:
    """What a file says besides its tensors. `patterns`: alphas of modules whose names end so; `root`: rank-stabilised, alpha
    over the root of the rank.
    """

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    root: bool = False

    def scale(self, module: str, parts: Mapping[str, Tensor]) -> float:
        """What a module's product is multiplied by."""
        rank = _rank(parts)
        if "alpha" in parts:
            return float(parts["alpha"]) / (rank or 1)
        alpha = next((value for name, value in self.patterns.items() if _matches(module, name)), self.alpha)
        if alpha is None or rank is None:
            return 1.0
        return alpha / (sqrt(rank) if self.root else rank)


def _rank(parts: Mapping[str, Tensor]) -> int | None:
    """The rank of a product; None of one that has none."""
    return next((parts[name].shape[axis] for name, axis in _RANK_OF.items() if name in parts), None)


def _matches(module: str, pattern: str) -> bool:
    name = from_diffusers(plain(pattern) + ".")[:-1]
    return module == name or module.endswith(f".{name}")


def read_alphas(path: Path, metadata: Mapping[str, str]) -> Alphas:
    """What header and folder say. Raises ModelError for an alpha that is not a number."""
    if adapter := header_json(metadata, "lora_adapter_metadata"):
        inner = {re.sub(r"^(transformer|unet)\.", "", key): value for key, value in adapter.items()}
        return _from_peft(path, inner)
    if (text := metadata.get("ss_network_alpha", "None")) != "None":
        return Alphas(_number(path, "ss_network_alpha", text))
    beside = path.parent / "adapter_config.json"
    if beside.is_file() and (path.stem == "adapter_model" or _is_alone(path)):
        return _from_peft(beside, read_json(beside))
    return Alphas()


def _is_alone(path: Path) -> bool:
    return sum(other.suffix == path.suffix for other in path.parent.iterdir()) == 1


def _from_peft(path: Path, config: Mapping[str, Any]) -> Alphas:
    alpha = config.get("lora_alpha")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ModelError(f"{path}: alpha_pattern is {str(patterns)[:40]!r}, not a table")
    return Alphas(
        None if alpha is None else _number(path, "lora_alpha", alpha),
        {str(name): _number(path, f"alpha_pattern of {str(name)[:80]}", value) for name, value in patterns.items()},
        config.get("use_rslora") is True,
    )


def _number(path: Path, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} says {name} {str(value)[:40]!r}, which is not a number") from error
    if not isfinite(number):
        raise ModelError(f"{path} says {name} {number}")
    return number
