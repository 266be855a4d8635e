"""GGUF files: quantised checkpoints of transformers and text encoders. Reading them needs the gguf package.

Loading makes numbers of them again, tensor by tensor: nothing computes in fewer bits here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.files import refusing
from memflow_cli.models.weights.gguf_header import check_header
from memflow_cli.models.weights.packed import Packed

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


def read_gguf(path: Path) -> dict[str, Packed]:
    """The tensors of a GGUF file, mapped, by the names of transformers where they have llama.cpp's.

    Raises ModelError without the gguf package, for a file that is damaged, and for a format that is not known.
    """
    try:
        import gguf
    except ImportError as error:
        raise ModelError(
            f"{path} is a GGUF file, and the package that reads them is missing", "pip install gguf"
        ) from error
    with refusing(path, "is cut off or damaged"):
        check_header(path)
        reader = gguf.GGUFReader(path)
        tensors = {}
        for tensor in reader.tensors:
            kind = tensor.tensor_type.name
            if kind not in FORMATS:
                raise ModelError(f"{path} holds {tensor.name[:80]} as {kind}", f"known formats: {', '.join(FORMATS)}")
            shape = [int(size) for size in reversed(tensor.shape.tolist())]
            original = reader.get_field(f"comfy.gguf.orig_shape.{tensor.name}")  # of tensors of five dimensions
            if original is not None:
                shape = [int(original.parts[index][0]) for index in original.data]
            tensors[tensor.name] = _packed(path, torch.Size(shape), tensor)
        return t5_names(tensors)


def _packed(path: Path, shape: torch.Size, tensor: Any) -> Packed:
    """`tensor`: gguf's. Raises ModelError where it does not hold as many numbers as its shape says."""
    import gguf

    if int(tensor.n_elements) != shape.numel():
        raise ModelError(f"{path} holds {int(tensor.n_elements)} numbers of {tensor.name[:80]}, not {shape.numel()}")

    def rows(first: int, end: int) -> Tensor:
        with refusing(path, "is cut off or damaged"):
            numbers = gguf.dequantize(tensor.data[first:end], tensor.tensor_type)
            return torch.from_numpy(numbers if numbers.flags.writeable else numbers.copy())

    return Packed(shape, len(tensor.data) if shape else 1, rows)


def t5_names(tensors: Mapping[str, Packed]) -> dict[str, Packed]:
    """llama.cpp's names of a T5 encoder -> those of transformers; other names stay."""
    renamed = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[:2] == ["enc", "blk"] and len(parts) == 5 and parts[3] in _T5_BLOCK:
            name = f"encoder.block.{parts[2]}.{_T5_BLOCK[parts[3]]}.{parts[4]}"
        renamed[_T5.get(name, name)] = tensor
    return renamed
