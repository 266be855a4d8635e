"""GGUF files: quantised checkpoints of transformers and text encoders. Reading them needs the gguf package.

Loading makes numbers of them again, in 16 bits: nothing computes in fewer here. A format has 8 bits or less, so that
16 bits lose nothing of what it had.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.files import refusing

FORMATS = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q5_0", "Q5_1", "Q4_0", "Q4_1", "Q3_K", "Q2_K")
MAX_DIMENSION = 1 << 24

_T5_BLOCK = {
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}
_T5 = {"token_embd.weight": "shared.weight", "enc.output_norm.weight": "encoder.final_layer_norm.weight"}


def read_gguf(path: Path) -> dict[str, Tensor]:
    """The tensors of a GGUF file, by the names of transformers where they have llama.cpp's.

    Raises ModelError without the gguf package, for a file that is damaged, and for a format that is not known.
    """
    try:
        import gguf
    except ImportError as error:
        raise ModelError(
            f"{path} is a GGUF file, and the package that reads them is missing", "pip install gguf"
        ) from error
    with refusing(path, "is cut off or damaged"):
        reader = gguf.GGUFReader(path)
        tensors = {}
        for tensor in reader.tensors:
            kind = tensor.tensor_type.name
            if kind not in FORMATS:
                raise ModelError(f"{path} holds {tensor.name[:80]} as {kind}", f"known formats: {', '.join(FORMATS)}")
            numbers = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
            shape = [int(size) for size in reversed(tensor.shape.tolist())]
            original = reader.get_field(f"comfy.gguf.orig_shape.{tensor.name}")  # of tensors of five dimensions
            if original is not None:
                shape = [int(original.parts[index][0]) for index in original.data]
            numbers = numbers.reshape(shape)
            keeps = kind in ("F32", "BF16") or not numbers.numel() or float(numbers.abs().amax()) > 60_000
            tensors[tensor.name] = numbers if keeps else numbers.half()
        return t5_names(tensors)


def t5_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """llama.cpp's names of a T5 encoder -> those of transformers; other names stay."""
    renamed = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[:2] == ["enc", "blk"] and len(parts) == 5 and parts[3] in _T5_BLOCK:
            name = f"encoder.block.{parts[2]}.{_T5_BLOCK[parts[3]]}.{parts[4]}"
        renamed[_T5.get(name, name)] = tensor
    return renamed
