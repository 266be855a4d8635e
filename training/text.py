"""theatre's text side: a small byte-pair tokenizer and a UMT5 encoder, in the formats that the product loads."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from training.captions import captions
from training.world import sample_story

TEXT_LENGTH = 32  # tokens; the longest caption has 29
VOCABULARY_SIZE = 600


def train_tokenizer(folder: Path, num_stories: int = 3000) -> PreTrainedTokenizerFast:
    """Case and punctuation are dropped; every word of the world becomes a token of its own."""
    rng = np.random.default_rng(77)
    lines = [line for seed in range(num_stories) for line in captions(sample_story(seed), rng)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w']+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=TEXT_LENGTH,
    )
    fast.save_pretrained(folder)
    return fast


def build_encoder(vocabulary_size: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary_size,
            d_model=128,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=16,
            relative_attention_max_distance=32,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


class TokenIds:
    """Captions -> token ids [P, TEXT_LENGTH], remembered by caption."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def __call__(self, lines: list[str]) -> Tensor:
        ids = torch.zeros(len(lines), TEXT_LENGTH, dtype=torch.long)
        for row, line in enumerate(lines):
            if line not in self._known:
                self._known[line] = self._tokenizer(line, truncation=True, max_length=TEXT_LENGTH).input_ids
            ids[row, : len(self._known[line])] = torch.tensor(self._known[line])
        return ids


def encode_ids(encoder: UMT5EncoderModel, ids: Tensor) -> Tensor:
    """Token ids [P, T] -> embeddings [P, T, C], padding rows exactly zero."""
    mask = (ids != 0).long()
    return encoder(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
