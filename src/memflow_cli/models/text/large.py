"""Large UMT5 encoders, by transformers. It takes seconds to import, which a film that needs one does not notice."""

import torch
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from memflow_cli.models.text.umt5 import UMT5Sizes


class LargeEncoder(nn.Module):
    """One prompt's tokens -> its embeddings; the twin of `umt5.UMT5Encoder`, with the same names."""

    def __init__(self, sizes: UMT5Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        config = UMT5Config(**sizes._asdict(), feed_forward_proj="gated-gelu", use_cache=False)
        self.encoder = UMT5EncoderModel(config).encoder

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [L], no padding -> embeddings [L, C]."""
        everything = torch.ones_like(tokens)[None]
        embeds: Tensor = self.encoder(input_ids=tokens[None], attention_mask=everything).last_hidden_state[0]
        return embeds
