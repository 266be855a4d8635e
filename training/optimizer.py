"""Muon for the matrices inside the blocks, AdamW for everything else, and a running average of the weights.

Muon (Jordan et al., 2024): momentum, orthogonalised by five Newton-Schulz steps; matrices of one shape go together.
"""

import math

import torch
from torch import Tensor, nn

from training.precision import product_dtype


@torch.no_grad()
def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """[K, rows, columns] -> nearly the nearest orthogonal matrices, in `product_dtype`."""
    x = matrices.to(product_dtype(matrices.device))
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.flatten(-2).float().norm(dim=-1)[..., None, None].to(x.dtype) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ x
    return x.mT if tall else x


class MuonAdamW:
    """`matrices` by Muon, `others` by AdamW; `step(factor)` scales both learning rates by the schedule's factor.

    A convolution is a matrix too: a row for each channel that it makes.
    """

    def __init__(self, matrices, others, muon_rate, adam_rate, momentum=0.95, decay=0.01) -> None:
        self._shapes: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter in matrices:
            self._shapes.setdefault(tuple(parameter.shape), []).append(parameter)
        self._momenta = {
            shape: group[0].new_zeros(len(group), shape[0], math.prod(shape[1:]))
            for shape, group in self._shapes.items()
        }
        self._others = list(others)
        self._adam = torch.optim.AdamW(self._others, lr=adam_rate, betas=(0.9, 0.97), weight_decay=0)
        self._muon_rate, self._adam_rate, self._momentum, self._decay = muon_rate, adam_rate, momentum, decay

    def zero_grad(self) -> None:
        for group in self._shapes.values():
            for parameter in group:
                parameter.grad = None
        self._adam.zero_grad()

    @torch.no_grad()
    def step(self, factor: float) -> None:
        torch.nn.utils.clip_grad_norm_(self._others, 1.0)
        for group in self._adam.param_groups:
            group["lr"] = self._adam_rate * factor
        self._adam.step()
        rate = self._muon_rate * factor
        for shape, group in self._shapes.items():
            if group[0].grad is None:  # a part that this step does not train
                continue
            gradient = torch.stack([parameter.grad.flatten(1) for parameter in group])
            momentum = self._momenta[shape].lerp_(gradient, 1 - self._momentum)
            updates = orthogonalise(gradient.lerp(momentum, self._momentum)).float()
            size = (
                rate * 0.2 * max(gradient.shape[1:]) ** 0.5
            )  # an update's root mean square is that of Adam at the same rate
            for parameter, update in zip(group, updates, strict=True):
                parameter.mul_(1 - rate * self._decay).add_(update.view(shape), alpha=-size)

    def state_dict(self) -> dict:
        return {"momenta": self._momenta, "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self._momenta = state["momenta"]
        self._adam.load_state_dict(state["adam"])


class WeightAverage:
    """An exponential running average of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float = 0.998) -> None:
        self._module, self._decay, self._updates = module, decay, 0
        self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        current = self._module.state_dict()
        torch._foreach_lerp_(list(self.weights.values()), [current[name] for name in self.weights], 1 - decay)

    def state_dict(self) -> dict:
        return {"weights": self.weights, "updates": self._updates}

    def load_state_dict(self, state: dict) -> None:
        self.weights, self._updates = state["weights"], state["updates"]
