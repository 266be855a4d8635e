"""Weights that do not fit on the card: they wait in the host's memory and come over one block ahead of the pass.

Two buffers on the card, each as large as one block's matrices: while a pass computes with one, the next block's matrices
arrive in the other, on a CUDA stream of their own and from pinned memory. Without a GPU the same code copies, and waits.
The copies' overlap with the pass has not been measured.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.models.wan.transformer import Block, CausalWanTransformer


class BlockStream:
    """The matrices of the blocks that are not resident, on the device when their turn comes.

    `matrices`: for each streamed block, in the order of a pass, its matrices on the host; the same shapes in each block.
    """

    def __init__(self, matrices: Sequence[Sequence[Tensor]], device: torch.device) -> None:
        self.num_copies = 0  # blocks brought over so far
        self._host = matrices
        self._buffers = [[torch.empty_like(matrix, device=device) for matrix in matrices[0]] for _ in range(2)]
        self._holds: list[int | None] = [None, None]  # which block each buffer holds, or is being filled with
        self._front = 0
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._arrived = [torch.cuda.Event() for _ in range(2)] if device.type == "cuda" else []

    def matrices(self, block: int) -> list[Tensor]:
        """One block's matrices, valid until another block is asked for. The one after it is sent for."""
        if self._holds[self._front] != block:
            back = 1 - self._front
            if self._holds[back] != block:  # nobody foresaw it: the first block of all, or a pass that was broken off
                self._send_for(block, back)
            self._front = back
            if self._copies is not None:
                torch.cuda.current_stream(self._copies.device).wait_event(self._arrived[back])
            following = (block + 1) % len(self._host)  # after the last one comes the next pass
            if following not in self._holds:
                self._send_for(following, 1 - back)
        return self._buffers[self._front]

    def _send_for(self, block: int, buffer: int) -> None:
        """Fill a buffer, once all work issued so far is done, for it may read what lies there."""
        self._holds[buffer] = None
        if self._copies is None:
            self._copy(block, buffer)
        else:
            self._copies.wait_stream(torch.cuda.current_stream(self._copies.device))
            with torch.cuda.stream(self._copies):
                self._copy(block, buffer)
                self._arrived[buffer].record(self._copies)
        self._holds[buffer] = block
        self.num_copies += 1

    def _copy(self, block: int, buffer: int) -> None:
        for target, source in zip(self._buffers[buffer], self._host[block], strict=True):
            target.copy_(source, non_blocking=True)


class HostLinear(nn.Module):
    """A linear layer whose weight lives on the host and is copied each time it is used. It computes where its input is."""

    def __init__(self, linear: nn.Linear, pin: bool) -> None:
        super().__init__()
        weight = linear.weight.detach().cpu()
        self.weight = nn.Parameter(weight.pin_memory() if pin else weight, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.device, non_blocking=True), self.bias)


class StreamedLinear(HostLinear):
    """A `HostLinear` of a streamed block: its weight arrives with the block's others, ahead of the pass."""

    stream: BlockStream
    place: tuple[int, int]  # streamed block, matrix

    def forward(self, x: Tensor) -> Tensor:
        block, matrix = self.place
        return F.linear(x, self.stream.matrices(block)[matrix], self.bias)


def move_streamed(transformer: CausalWanTransformer, resident_blocks: int, device: torch.device) -> None:
    """Bring a transformer from the host to the device, but for the matrices of all blocks after `resident_blocks`.

    Only a block's matrices are streamed; its norms, modulation and biases are small and go to the device. The keys and
    values of a prompt are needed once a segment, not once a pass: their matrices stay behind until asked for.
    """
    pin = device.type == "cuda"
    streamed: list[list[StreamedLinear]] = []
    for block in transformer.blocks[resident_blocks:]:
        assert isinstance(block, Block), "a transformer is made of blocks"
        for name in ("k", "v"):
            setattr(block.cross_attn, name, HostLinear(getattr(block.cross_attn, name), pin))
        streamed.append(_replace_linears(block, pin))
    if streamed:
        stream = BlockStream([[linear.weight for linear in linears] for linears in streamed], device)
        for index, linears in enumerate(streamed):
            for matrix, linear in enumerate(linears):
                linear.stream, linear.place = stream, (index, matrix)
    on_host = {id(module.weight) for module in transformer.modules() if isinstance(module, HostLinear)}
    for parameter in transformer.parameters():
        if id(parameter) not in on_host:
            parameter.data = parameter.data.to(device)


def _replace_linears(block: Block, pin: bool) -> list[StreamedLinear]:
    made = []
    for parent in list(block.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                made.append(StreamedLinear(child, pin))
                setattr(parent, name, made[-1])
    return made
