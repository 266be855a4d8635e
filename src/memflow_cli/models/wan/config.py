"""The shape of a causal Wan transformer, as its `config.json` says it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Above any model's: a config.json from strangers must not keep the machine busy.
MAX_LAYERS = 1000
MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class WanConfig:
    """Sizes of a transformer; the field names are those of the original Wan repository.

    The defaults are Wan2.1-T2V-1.3B. `dim` must be a multiple of `num_heads`, and a head's size even.
    """

    dim: int = 1536
    ffn_dim: int = 8960
    freq_dim: int = 256
    text_dim: int = 4096
    text_len: int = 512
    num_heads: int = 12
    num_layers: int = 30
    in_dim: int = 16
    out_dim: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch_size", tuple(self.patch_size))
        if len(self.patch_size) != 3:
            raise ValueError(f"patch_size {str(self.patch_size)[:40]}: frames, height and width are expected")
        for field in dataclasses.fields(self):
            size = getattr(self, field.name)
            most = MAX_LAYERS if field.name == "num_layers" else MAX_SIZE
            if field.type is int and (type(size) is not int or not 1 <= size <= most):
                raise ValueError(f"{field.name} is {str(size)[:40]}; a whole number from 1 to {most:,} is expected")
        if type(self.eps) not in (int, float) or not 0 < self.eps < 1:
            raise ValueError(f"eps is {str(self.eps)[:40]}; a small number is expected")
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise ValueError(f"dim {self.dim} does not split into {self.num_heads} heads of even size")
        if self.patch_size[0] != 1:
            raise ValueError(f"patch_size {self.patch_size}: a patch must be one latent frame deep")

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WanConfig":
        """Read the fields it knows; other keys of a `config.json` are left alone."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})
