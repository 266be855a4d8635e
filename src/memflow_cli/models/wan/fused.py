"""A transformer's passes in fewer and larger steps: for a CPU, and for models so small that starting an operator costs
about what it computes.

Matrices that meet the same tokens lie side by side, packed, and are multiplied at once. What a timestep says is computed
once for all blocks, and kept. A norm and its modulation are one operator, and so are a product and its activation.
The slow twins are `transformer.Block` and `transformer.Head`, whose weights and sums these are, rounded less often.
Shapes: B batch, F latent frames, N tokens a latent frame, H heads, D head size, T prompt tokens.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.models.packed import Product
from memflow_cli.models.wan.attention import attend
from memflow_cli.models.wan.transformer import Block, CausalWanTransformer, Modulation, Tail

LARGEST_BYTES = 2**27
"""Of a transformer's weights, of which there are two copies then. theatre has 14 MB of them."""
KEPT_TIMESTEPS = 32


def fuse(transformer: CausalWanTransformer) -> None:
    """Its passes go by `FusedPass` from now on, where that pays: a small model on a CPU, whose layers are plain ones."""
    transformer.parts = FusedPass(transformer) if _pays(transformer) else None


def _pays(transformer: CausalWanTransformer) -> bool:
    weights = list(transformer.parameters())
    blocks = cast("Sequence[Block]", transformer.blocks)
    plain = all(type(getattr(block.self_attn, name)) is nn.Linear for block in blocks for name in "qkvo")
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    return plain and size <= LARGEST_BYTES and all(weight.device.type == "cpu" for weight in weights)


class FusedPass:
    """What a pass needs of a transformer, its weights copied: changed later, they are as they were."""

    def __init__(self, transformer: CausalWanTransformer) -> None:
        blocks = cast("Sequence[Block]", transformer.blocks)
        self._blocks = [FusedBlock(block) for block in blocks]
        head = transformer.head
        self._eps = head.eps
        self._head = product(head.head)
        self._head_modulation = head.modulation.detach().float()[0]  # [2, dim]
        self._modulations = torch.stack([block.modulation.detach().float()[0] for block in blocks])
        self._times: OrderedDict[tuple[float, ...], tuple[list[Modulation], tuple[Tensor, Tensor]]] = OrderedDict()
        self._dtype = transformer.patch_embedding.weight.dtype

    def at(
        self, timestep: Tensor, embed: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Sequence["FusedBlock"], Sequence[Modulation], Tail]:
        """See `transformer.Parts`. A modulation is shift, 1 + scale and gate of self-attention, then of the feed-forward;
        each [dim] where all frames have one timestep, else [B, F, 1, dim].
        """
        key = (*timestep.flatten().tolist(), len(timestep))
        if key not in self._times:
            self._times[key] = self._compute(timestep, embed)
            if len(self._times) > KEPT_TIMESTEPS:
                self._times.popitem(last=False)
        self._times.move_to_end(key)
        modulations, (shift, scale) = self._times[key]
        return self._blocks, modulations, partial(self._through_head, shift=shift, scale=scale)

    def _through_head(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return self._head(modulate(x, shift, scale, self._eps))

    def _compute(
        self, timestep: Tensor, embed: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[list[Modulation], tuple[Tensor, Tensor]]:
        is_one = bool((timestep == timestep[0, 0]).all())
        embedded, time = embed(timestep[:1, :1] if is_one else timestep)  # [B, F, dim], [B, F, 6, dim]
        of_blocks = self._modulations[:, None, None] + time.float()  # [L, B, F, 6, dim]
        of_head = self._head_modulation + embedded.float().unsqueeze(-2)  # [B, F, 2, dim]

        def fit(part: Tensor) -> Tensor:
            return part[0, 0].contiguous() if is_one else part.unsqueeze(-2).to(self._dtype)

        modulations = []
        for block in of_blocks:
            shift, scale, gate, shift_2, scale_2, gate_2 = block.unbind(-2)
            parts = (shift, scale + 1, gate, shift_2, scale_2 + 1, gate_2)
            modulations.append(tuple(fit(part) for part in parts))
        shift, scale = of_head.unbind(-2)
        return modulations, (fit(shift), fit(scale + 1))


class FusedBlock:
    """The parts of a `Block` under the same names, at the modulation that `FusedPass` gives."""

    def __init__(self, block: Block) -> None:
        self._eps = block.eps
        own, cross = block.self_attn, block.cross_attn
        self._num_heads = own.num_heads
        self._qkv = product(own.q, own.k, own.v)
        self._norm_qk = Norm(own.norm_q.weight, own.norm_k.weight, eps=own.norm_q.eps)
        self._out = product(own.o)
        self._norm_prompt = block.norm3
        self._ask = product(cross.q)
        self._norm_ask = Norm(cross.norm_q.weight, eps=cross.norm_q.eps)
        self._answer = product(cross.o)
        self._widen = product(block.ffn[0], gelu=True)
        self._narrow = product(block.ffn[2])

    def project(self, x: Tensor, modulation: Modulation) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, F, N, dim] -> query, key (both before rotation, fp32) and value, each [B, F, N, H, D]."""
        qkv = self._qkv(modulate(x, modulation[0], modulation[1], self._eps)).unflatten(-1, (3, -1))
        query, key = self._split_heads(self._norm_qk(qkv[..., :2, :].float())).unbind(-3)
        return query, key, self._split_heads(qkv[..., 2, :])

    def ask_prompt(self, x: Tensor, attended: Tensor, modulation: Modulation) -> tuple[Tensor, Tensor]:
        """See `Block.ask_prompt`."""
        x = torch.addcmul(x, self._out(attended.flatten(-2)), modulation[2].to(x.dtype))
        norm = self._norm_prompt
        asked = self._ask(F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, self._eps))
        return x, self._split_heads(self._norm_ask(asked.float().unsqueeze(-2)).squeeze(-2).to(x.dtype))

    def attend_prompt(
        self, x: Tensor, attended: Tensor, modulation: Modulation, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Block.attend_prompt`."""
        x, query = self.ask_prompt(x, attended, modulation)
        answer = attend(query.flatten(1, 2), key.to(query.dtype), value.to(query.dtype)).reshape(query.shape)
        return x + self._answer(answer.flatten(-2)), query

    def feed_forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        wide = self._widen(modulate(x, modulation[3], modulation[4], self._eps))
        return torch.addcmul(x, self._narrow(wide), modulation[5].to(x.dtype))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._num_heads, -1))


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """As `transformer.modulate`; `scale` has its 1 already."""
    if scale.ndim == 1:
        return F.layer_norm(x, scale.shape, scale, shift, eps)
    return torch.addcmul(shift, F.layer_norm(x, scale.shape[-1:], eps=eps), scale)


class Norm:
    """`attention.RMSNorm` of several tensors at once, each with weights of its own."""

    def __init__(self, *weights: Tensor, eps: float) -> None:
        self._weight = torch.stack([weight.detach().float() for weight in weights])  # [parts, dim]
        self._eps = torch.tensor(eps)

    def __call__(self, x: Tensor) -> Tensor:
        """[..., parts, dim] in fp32, which is written over -> the same, normalised."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        shrink = torch.addcmul(self._eps, length, length, value=1 / x.shape[-1]).rsqrt_()
        return x.mul_(self._weight).mul_(shrink)


def product(*layers: nn.Linear, gelu: bool = False) -> Product:
    """Linear layers that meet the same input, as one: [..., in] -> [..., all their out]."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    return Product(weight, torch.cat([layer.bias.detach() for layer in layers]), gelu)
