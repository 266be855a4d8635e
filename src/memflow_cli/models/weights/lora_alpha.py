"""How strong a LoRA is meant to be: alpha over rank, wherever the file's trainer wrote it down.

In this order: a tensor beside the matrices; the safetensors header (`lora_adapter_metadata` of diffusers,
`ss_network_alpha` of kohya, and plainer words); adapter_config.json beside the file (PEFT). Where nothing says, 1.
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
_WORDS = ("ss_network_alpha", "lora_alpha", "network_alpha", "alpha")


@dataclass(frozen=True)
class Alphas:
    """What a file says besides its tensors. `patterns`: alphas of modules whose names end so; `root`: rank-stabilised, alpha
    over the root of the rank. `rank`, `rank_patterns`: of products whose matrices do not tell (LoKr).
    """

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    root: bool = False
    rank: float | None = None
    rank_patterns: Mapping[str, float] = field(default_factory=dict)

    def scale(self, module: str, parts: Mapping[str, Tensor]) -> float:
        """What a module's product is multiplied by."""
        rank: float | None = _rank(parts)
        if "alpha" in parts:
            return float(parts["alpha"]) / (rank or 1)
        alpha = _of_module(module, self.patterns, self.alpha)
        rank = rank or _of_module(module, self.rank_patterns, self.rank)
        if alpha is None or not rank:
            return 1.0
        return alpha / (sqrt(rank) if self.root else rank)


def _rank(parts: Mapping[str, Tensor]) -> int | None:
    """The rank of a product; None of one that has none."""
    return next((parts[name].shape[axis] for name, axis in _RANK_OF.items() if name in parts), None)


def _of_module(module: str, patterns: Mapping[str, float], otherwise: float | None) -> float | None:
    return next((value for name, value in patterns.items() if _matches(module, name)), otherwise)


def _matches(module: str, pattern: str) -> bool:
    name = from_diffusers(plain(pattern) + ".")[:-1]
    return module == name or module.endswith(f".{name}")


def read_alphas(path: Path, metadata: Mapping[str, str]) -> Alphas:
    """What header and folder say. Raises ModelError for an alpha that is not a number."""
    if adapter := header_json(metadata, "lora_adapter_metadata"):
        inner = {re.sub(r"^(transformer|unet)\.", "", key): value for key, value in adapter.items()}
        return _from_peft(path, inner)
    for word in _WORDS:
        if (text := metadata.get(word, "None")) != "None":
            return Alphas(_number(path, word, text))
    beside = path.parent / "adapter_config.json"
    if beside.is_file() and (path.stem == "adapter_model" or _is_alone(path)):
        return _from_peft(beside, read_json(beside))
    return Alphas()


def _is_alone(path: Path) -> bool:
    return sum(other.suffix == path.suffix for other in path.parent.iterdir()) == 1


def _from_peft(path: Path, config: Mapping[str, Any]) -> Alphas:
    """What PEFT's configuration says; its LoKr and LoHa say `alpha` where LoRA says `lora_alpha`."""
    alpha, rank = (_first(config, *names) for names in (("lora_alpha", "alpha"), ("r", "rank")))
    return Alphas(
        None if alpha is None else _number(path, "lora_alpha", alpha),
        _patterns(path, config, "alpha_pattern"),
        config.get("use_rslora") is True,
        None if rank is None else _number(path, "r", rank),
        _patterns(path, config, "rank_pattern"),
    )


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def _patterns(path: Path, config: Mapping[str, Any], name: str) -> dict[str, float]:
    """Numbers by the ends of modules' names. Raises ModelError for names that are regular expressions: to whom they
    belong would be a guess.
    """
    patterns = config.get(name) or {}
    if not isinstance(patterns, dict):
        raise ModelError(f"{path}: {name} is {str(patterns)[:40]!r}, not a table")
    if strange := next((str(key) for key in patterns if not re.fullmatch(r"[\w.]+", str(key))), None):
        raise ModelError(f"{path}: {name} of {strange[:80]!r} is not a module's name, and cannot be understood")
    return {str(key): _number(path, f"{name} of {str(key)[:80]}", value) for key, value in patterns.items()}


def _number(path: Path, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} says {name} {str(value)[:40]!r}, which is not a number") from error
    if not isfinite(number):
        raise ModelError(f"{path} says {name} {number}")
    return number
