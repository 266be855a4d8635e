"""Low-rank updates (LoRA and its kin) of published models and of users, to be merged into the weights once, in fp32.

What a file holds is applied as it says, or the file is refused with what is not understood: never half of it in silence,
never at another strength.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.entry import Lora
from memflow_cli.models.wan.names import LORA_CONTAINERS, unwrap
from memflow_cli.models.weights.lora_alpha import Alphas, read_alphas
from memflow_cli.models.weights.lora_names import Modules, left_out, split_key
from memflow_cli.models.weights.packed import Weight
from memflow_cli.models.weights.tensor_files import check_finite, read_checkpoint, tally

Parts = dict[str, Tensor]

_PRODUCTS = (
    ({"down", "up"}, {"alpha", "magnitude", "up_bias"}),
    ({"lokr_w1", "lokr_w2"}, {"alpha", "magnitude"}),
    ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, {"alpha", "magnitude"}),
)
_HALVES = {f"lokr_w{number}": (f"lokr_w{number}_a", f"lokr_w{number}_b") for number in (1, 2)}
_DIFFERENCES = {"diff": ".weight", "diff_b": ".bias", "diff_m": ".modulation"}


@dataclass
class LoraUpdate:
    """What a file adds to a model. `scales`: what its product is multiplied by, by module; `strength`: the user's."""

    path: Path
    strength: float
    products: dict[str, Parts] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    differences: dict[str, list[Tensor]] = field(default_factory=dict)

    def apply(self, name: str, weight: Weight, device: torch.device | str) -> Weight:
        """A parameter with its update, fp32 on `device`; the parameter itself if there is none."""
        parts = self.products.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        bias = self.products.get(name.removesuffix(".bias"), {}).get("up_bias") if name.endswith(".bias") else None
        differences = self.differences.get(name, [])
        if parts is None and bias is None and not differences:
            return weight
        result = weight.to(device, torch.float32)
        if parts is not None:
            module = name.removesuffix(".weight")
            result = _change(parts, result, self.scales[module], device).mul_(self.strength).add_(result)
        if bias is not None:
            module = name.removesuffix(".bias")
            result = result + self.strength * self.scales[module] * bias.to(device, torch.float32).view(weight.shape)
        for difference in differences:
            result = result + self.strength * difference.to(device, torch.float32).view(weight.shape)
        return check_finite(self.path, f"{name}, with strength {self.strength:g}", result)


def _change(parts: Parts, weight: Tensor, scale: float, device: torch.device | str) -> Tensor:
    """What a product changes of a weight at strength 1, fp32, of its shape: the one matrix of that size that is made."""
    values = {name: tensor.to(device, torch.float32) for name, tensor in parts.items()}
    if "down" in values:
        product = values["up"].flatten(1) @ values["down"].flatten(1)
    elif "lokr_w1" in values:
        product = torch.kron(values["lokr_w1"], values["lokr_w2"].flatten(1))
    else:
        product = (values["hada_w1_a"] @ values["hada_w1_b"]) * (values["hada_w2_a"] @ values["hada_w2_b"])
    change = product.mul_(scale).view(weight.shape)
    if "magnitude" not in values:
        return change
    # DoRA (arXiv:2402.09353): the direction is learned by the product, the length of each row (or column) on its own.
    merged, magnitude = change.add_(weight), values["magnitude"]
    kept = _axis_of(magnitude, weight.shape)
    others = tuple(axis for axis in range(weight.ndim) if axis != kept)
    length = torch.linalg.vector_norm(merged, dim=others, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return merged.mul_(magnitude.reshape(length.shape) / length).sub_(weight)


def _axis_of(magnitude: Tensor, shape: torch.Size) -> int | None:
    """Which axis of a weight DoRA's lengths go along: outputs, or inputs, as the first files have it. None: neither.

    Lengths of outputs are [rows], [rows, 1, ...], and of PEFT's convolutions [1, rows, 1, ...].
    """
    if magnitude.numel() == shape[0] and (
        magnitude.ndim == 1 or magnitude.shape[0] == shape[0] or shape[1:2] != shape[:1]
    ):
        return 0
    return 1 if len(shape) > 1 and magnitude.numel() == shape[1] else None


def read_lora(
    lora: Lora, expected: Mapping[str, torch.Size], tell: Callable[[str], None] = lambda text: None
) -> LoraUpdate:
    """Read an update and check that each of its tensors fits a weight of the model.

    `tell`: told, in one sentence, what of the file was left out and how much of it is used. Raises ModelError.
    """
    checkpoint = read_checkpoint(lora.path)
    state = dict(unwrap(checkpoint.tensors, LORA_CONTAINERS))
    modules, notes = Modules(expected), Counter[str]()
    found: dict[str, Parts] = {}
    strange, twice = [], []
    for key, value in state.items():
        split = split_key(key) if isinstance(value, Tensor) else None
        what = left_out(key)
        if what and split is not None:
            notes[f"are for {what}"] += 1
            continue
        if split is None:
            strange.append(key)
            continue
        parts = found.setdefault(modules.find(split[0]), {})
        if split[1] in parts:
            twice.append(key)
        is_count = split[1] == "alpha" and value.dtype in (torch.int64, torch.int32)
        parts[split[1]] = value.float() if is_count else value
    if not found:
        raise _not_a_lora(lora.path, state, notes)
    update = _fit(lora, found, expected, read_alphas(lora.path, checkpoint.metadata), strange, twice, notes)
    if notes:
        left = "; ".join(f"{count} {what}" for what, count in notes.items())
        tell(f"{lora.path}: {len(state) - notes.total()} of its {len(state)} tensors are used; left out: {left}")
    return update


def _not_a_lora(path: Path, state: Mapping[str, Any], notes: Counter[str]) -> ModelError:
    if notes:
        return ModelError(f"{path} updates nothing of this model: its {len(state)} tensors {', '.join(notes)}")
    return ModelError(f"{path} is not a LoRA: none of its {len(state)} keys is a low-rank matrix")


def _fit(
    lora: Lora,
    found: Mapping[str, Parts],
    expected: Mapping[str, torch.Size],
    alphas: Alphas,
    strange: list[str],
    twice: list[str],
    notes: Counter[str],
) -> LoraUpdate:
    """Every part compared with the parameter that it changes. Raises ModelError with all that does not fit."""
    update = LoraUpdate(lora.path, lora.strength)
    unknown: list[str] = []
    halves: list[str] = []
    misfits: list[str] = []
    wrong: list[str] = []
    for module, parts in found.items():
        if bad := next((part for part, value in parts.items() if not _is_usable(value)), None):
            wrong.append(f"{module}: {bad} ({parts[bad].dtype}, {parts[bad].numel()})")
            continue
        parts = _joined(parts)
        for part in [part for part in parts if part in _DIFFERENCES]:
            name = _changed(module, part, expected)
            difference = parts.pop(part)
            if name in expected and expected[name].numel() == difference.numel():
                update.differences.setdefault(name, []).append(difference)
            elif not difference.any():
                notes["are zero, for what this model has not"] += 1
            else:
                (misfits if name in expected else unknown).append(name)
        if not parts:
            continue
        shape = expected.get(f"{module}.weight")
        if shape is None:
            unknown.append(module)
        elif not any(needed <= set(parts) <= needed | extra for needed, extra in _PRODUCTS):
            halves.append(f"{module}: {', '.join(sorted(parts))}")
        elif not _fits(parts, shape, expected.get(f"{module}.bias")):
            misfits.append(module)
        else:
            update.products[module] = parts
            update.scales[module] = alphas.scale(module, parts)
    problems = tally(
        ("not understood", strange),
        ("there twice", twice),
        ("without a counterpart", unknown),
        ("with a half missing", halves),
        ("of another size", misfits),
        ("not usable as numbers", wrong),
    )
    if problems:
        raise ModelError(f"{lora.path} does not fit this model: {problems}", _likely(found, unknown, misfits))
    return update


def _is_usable(value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() > 0 and bool(value.float().abs().amax().isfinite())


def _joined(parts: Parts) -> Parts:
    """Parts with LoKr's factors multiplied out; its alpha, which counts only where a factor was split, over that rank."""
    joined, rank = dict(parts), None
    for whole, (first, second) in _HALVES.items():
        if whole in joined or first not in joined or second not in joined:
            continue
        a, b = joined[first].float(), joined[second].float()
        if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]:
            del joined[first], joined[second]
            joined[whole], rank = a @ b, b.shape[0]
    if {"lokr_w1", "lokr_w2"} <= set(joined) and "alpha" in joined and joined["alpha"].numel() == 1:
        joined["alpha"] = joined["alpha"].float() / rank if rank else torch.ones(())
    return joined


def _changed(module: str, part: str, expected: Mapping[str, torch.Size]) -> str:
    """The parameter that a difference changes: a weight, or a parameter of that very name, as a modulation is."""
    if part == "diff" and module in expected:
        return module
    return module + _DIFFERENCES[part]


def _fits(parts: Parts, shape: torch.Size, bias: torch.Size | None) -> bool:
    rows, columns = shape[0], prod(shape[1:])
    if "down" in parts:
        down, up = parts["down"], parts["up"]
        product = (
            (up.shape[0], prod(down.shape[1:]))
            if down.ndim >= 2 and up.ndim >= 2 and prod(up.shape[1:]) == down.shape[0]
            else None
        )
    elif "lokr_w1" in parts:
        first, second = parts["lokr_w1"], parts["lokr_w2"]
        product = (
            (first.shape[0] * second.shape[0], first.shape[1] * prod(second.shape[1:]))
            if first.ndim == 2 and second.ndim >= 2
            else None
        )
    else:
        one, two, three, four = (parts[f"hada_w{number}_{half}"].shape for number in (1, 2) for half in "ab")
        is_flat = all(len(size) == 2 for size in (one, two, three, four))
        fits = is_flat and one[1] == two[0] and three[1] == four[0] and (one[0], two[1]) == (three[0], four[1])
        product = (one[0], two[1]) if fits else None
    magnitude, addend = parts.get("magnitude"), parts.get("up_bias")
    return (
        product == (rows, columns)
        and (magnitude is None or _axis_of(magnitude, shape) is not None)
        and (addend is None or (bias is not None and addend.numel() == bias.numel()))
        and ("alpha" not in parts or parts["alpha"].numel() == 1)
    )


def _likely(found: Mapping[str, Parts], unknown: list[str], misfits: list[str]) -> str:
    if len(unknown) + len(misfits) > len(found) / 2:
        return "it was probably made for another model"
    return "use a file that holds nothing but low-rank updates of this model, or convert it"
