"""Weights that do not fit on the card: they wait in host memory and come over for the moment they are needed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.wan.transformer import CausalWanTransformer


class HostLinear(nn.Module):
    """A linear layer whose weight lives on the host, pinned where there is a GPU. It computes where its input is."""

    def __init__(self, linear: nn.Linear, pin: bool) -> None:
        super().__init__()
        weight = linear.weight.detach().cpu()
        self.weight = nn.Parameter(weight.pin_memory() if pin else weight, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.device, non_blocking=True), self.bias)


def move_streamed(transformer: CausalWanTransformer, resident_blocks: int | None, device: torch.device) -> None:
    """Bring a transformer from the host to the device, but for the matrices of all blocks after `resident_blocks`.

    Only a block's matrices are streamed; its norms, modulation and biases are small and go to the device.
    """
    if resident_blocks is not None:
        for block in transformer.blocks[resident_blocks:]:
            for parent in list(block.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, nn.Linear):
                        setattr(parent, name, HostLinear(child, pin=device.type == "cuda"))
    streamed = {id(module.weight) for module in transformer.modules() if isinstance(module, HostLinear)}
    for parameter in transformer.parameters():
        if id(parameter) not in streamed:
            parameter.data = parameter.data.to(device)
