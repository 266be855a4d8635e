"""Low-rank updates (LoRA) of published models and of users, to be merged into the weights once, in fp32."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.entry import Lora
from memflow_cli.models.wan.names import lora_pairs
from memflow_cli.models.weights.tensor_files import read_tensors, tally


@dataclass(frozen=True)
class LoraUpdate:
    """W += scale * up @ down, for the weight of each module named."""

    strength: float
    pairs: dict[str, dict[str, Tensor]]

    def delta(self, weight_name: str, device: torch.device | str) -> Tensor | None:
        """What is added to a weight, fp32, or None."""
        pair = self.pairs.get(weight_name.removesuffix(".weight"))
        if pair is None or not weight_name.endswith(".weight"):
            return None
        down, up = pair["down"].to(device, torch.float32), pair["up"].to(device, torch.float32)
        scale = float(pair["alpha"]) / len(down) if "alpha" in pair else 1.0
        return up.flatten(1) @ down.flatten(1) * (scale * self.strength)


def read_lora(lora: Lora, expected: Mapping[str, torch.Size]) -> LoraUpdate:
    """Read an update and check that each of its matrices fits a weight of the model."""
    loaded = read_tensors(lora.path)
    modules = [name.removesuffix(".weight") for name in expected if name.endswith(".weight")]
    pairs, strange = lora_pairs(loaded, modules)
    if not pairs:
        raise ModelError(f"{lora.path} is no LoRA: none of its {len(loaded)} keys is a low-rank matrix")
    unexpected = [*strange, *(target for target in pairs if f"{target}.weight" not in expected)]
    incomplete = [target for target, pair in pairs.items() if "down" not in pair or "up" not in pair]
    misfits = [
        target
        for target, pair in pairs.items()
        if target not in unexpected
        and target not in incomplete
        and (pair["up"].shape[0], pair["down"].flatten(1).shape[1])
        != tuple(torch.empty(expected[f"{target}.weight"], device="meta").flatten(1).shape)
    ]
    if unexpected or incomplete or misfits:
        raise ModelError(
            f"{lora.path} does not fit this model: "
            + tally(
                ("without a counterpart", unexpected), ("with a half missing", incomplete), ("of another size", misfits)
            ),
            "it was probably made for another model",
        )
    return LoraUpdate(lora.strength, pairs)
