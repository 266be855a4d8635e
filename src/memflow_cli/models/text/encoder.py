"""Prompts to embeddings: a UMT5 encoder and its tokenizer.

The encoder of the 1.3B family is four times the size of the transformer it serves. So it is loaded when a prompt is
not in the cache on disk, and leaves when prompts are done (`release`); theatre's is small and stays.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.text.prompt_tokens import PromptTokenizer, clean_prompt
from memflow_cli.models.text.umt5 import UMT5Encoder, UMT5Sizes, read_sizes
from memflow_cli.models.weights.folders import weight_files
from memflow_cli.models.weights.packed import Weight
from memflow_cli.models.weights.quantised import with_scales
from memflow_cli.models.weights.tensor_files import check_finite, check_fit, read_tensors

SMALL_ENCODER = 1 << 30
"""A text encoder of fewer bytes stays loaded and needs no cache, and no transformers."""


class Encoder(Protocol):
    """One prompt's tokens [L] -> its embeddings [L, C]; the names of its tensors are those of the published weights."""

    sizes: UMT5Sizes

    def __call__(self, tokens: Tensor) -> Tensor: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True, assign: bool = False) -> Any: ...

    def eval(self) -> "Encoder": ...

    def requires_grad_(self, requires_grad: bool = True) -> "Encoder": ...


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings on disk, a file for each model and text. A file that cannot be read counts as missing."""

    folder: Path
    model: str  # tells one encoder's embeddings from another's

    def load(self, text: str) -> Tensor | None:
        """The real rows [T, C] for a cleaned prompt."""
        try:
            return load_file(self._path(text))["embeds"]
        except (OSError, SafetensorError, KeyError):
            return None

    def save(self, text: str, embeds: Tensor) -> None:
        """Failing to write is not an error: the next film encodes again."""
        with contextlib.suppress(OSError, SafetensorError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            os.close(handle)
            try:
                save_file({"embeds": embeds.contiguous().cpu()}, name)
                os.replace(name, self._path(text))
            finally:
                Path(name).unlink(missing_ok=True)

    def _path(self, text: str) -> Path:
        digest = hashlib.sha256(f"{self.model}\n{text}".encode()).hexdigest()
        return self.folder / f"{digest}.safetensors"


class TextEncoder:
    """Prompts -> embeddings. The model is loaded at the first prompt that needs it.

    `text_len`: rows of an embedding; longer prompts are cut. `stays`: do not leave at `release`. `ahead`: prompts of the
    films to come; with a cache they are encoded when the model is loaded, which then need not come back for them.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer_folder: Path,
        text_len: int,
        device: torch.device,
        dtype: torch.dtype,
        stays: bool = False,
        cache: EmbeddingCache | None = None,
        ahead: Sequence[str] = (),
    ) -> None:
        self.text_len = text_len
        self._folder = folder
        self._tokenizer_folder = tokenizer_folder
        self._device = device
        self._dtype = dtype
        self._stays = stays
        self._cache = cache
        self._ahead = ahead
        self._model: Encoder | None = None
        self._tokenizer: PromptTokenizer | None = None

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [P, text_len, C] on the CPU in the encoder's dtype; the rows after a prompt's end are zero.

        A prompt is encoded alone and without padding, so its embedding does not depend on the others.
        Raises ModelError if the encoder or its tokenizer is missing or broken.
        """
        texts = [clean_prompt(prompt) for prompt in prompts]
        rows = {text: self._rows(text).to(self._dtype) for text in dict.fromkeys(texts)}
        if self._cache and self._model is not None:
            ahead, self._ahead = self._ahead, ()
            for text in dict.fromkeys(map(clean_prompt, ahead)):
                self._rows(text)
        size = (len(texts), self.text_len, next(iter(rows.values())).shape[-1])
        embeds = torch.zeros(size, dtype=self._dtype)
        for index, text in enumerate(texts):
            embeds[index, : len(rows[text])] = rows[text]
        return embeds

    def release(self) -> None:
        """All prompts are encoded: the model leaves the device and the memory, unless it stays."""
        if self._model is None or self._stays:
            return
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def _rows(self, text: str) -> Tensor:
        """A cleaned prompt -> its real rows [T, C], on the CPU: from the cache, or into it."""
        known = self._cache.load(text) if self._cache else None
        if known is None:
            known = self._encode_one(text)
            if self._cache:
                self._cache.save(text, known)
        return known

    def _encode_one(self, text: str) -> Tensor:
        """A cleaned prompt -> its real rows [T, C], on the CPU."""
        if self._tokenizer is None:
            self._tokenizer = PromptTokenizer(self._tokenizer_folder)
        tokens = self._tokenizer.ids_read(text, self.text_len)
        if self._model is None:
            self._model = _load_encoder(self._folder, self._device, self._dtype)
        if max(tokens) >= self._model.sizes.vocab_size:
            raise ModelError(f"{self._tokenizer_folder} makes tokens that {self._folder} does not know")
        with torch.inference_mode():
            return self._model(torch.tensor(tokens, device=self._device)).to("cpu", copy=True)


def make_text_encoder(
    folder: Path,
    tokenizer_folder: Path,
    text_len: int,
    device: torch.device,
    embeddings: Path | None,
    ahead: Sequence[str] = (),
) -> TextEncoder:
    """The text encoder: a small one computes in fp32 and stays, a large one in bf16, and leaves when it is done."""
    weights = weight_files(folder)
    small = is_small(folder)
    dtype = torch.float32 if small else torch.bfloat16
    cache = None
    if embeddings is not None and not small:
        identity = [_file_identity(path) for path in (*weights, tokenizer_folder / "tokenizer.json")]
        cache = EmbeddingCache(embeddings, "\n".join([*identity, str(dtype), str(text_len)]))
    return TextEncoder(folder, tokenizer_folder, text_len, device, dtype, small, cache, ahead)


def _file_identity(path: Path) -> str:
    """What tells a large file from another without reading it: its place, size and time; in the hub's cache that place
    is named by the content's checksum.
    """
    about = path.stat()
    return f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"


def fit_encoder(folder: Path) -> tuple[Encoder, dict[str, Weight]]:
    """The encoder on the meta device, and its weights on disk: every key and shape checked, none loaded.

    A small one is ours, a large one that of transformers.
    """
    sizes = read_sizes(folder)
    if is_small(folder):
        with torch.device("meta"):
            model: Encoder = UMT5Encoder(sizes)
    else:
        from memflow_cli.models.text.large import LargeEncoder  # here: seconds to import, and theatre does without

        with torch.device("meta"):
            model = LargeEncoder(sizes)
    weights = with_scales(folder, read_tensors(folder))
    if "shared.weight" in weights:
        weights["encoder.embed_tokens.weight"] = weights.pop("shared.weight")
    check_fit(folder, weights, {name: tensor.shape for name, tensor in model.state_dict().items()})
    return model, weights


def is_small(folder: Path) -> bool:
    return sum(path.stat().st_size for path in weight_files(folder)) < SMALL_ENCODER


def _load_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> Encoder:
    model, weights = fit_encoder(folder)
    model.load_state_dict(
        {name: check_finite(folder, name, tensor.to(device, dtype)) for name, tensor in weights.items()}, assign=True
    )
    return model.eval().requires_grad_(False)
