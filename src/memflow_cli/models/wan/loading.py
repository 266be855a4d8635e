"""A Wan model put together from its files: transformer, text encoder, autoencoder."""

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch

from memflow_cli.attention_context import PositionMode
from memflow_cli.backbone import Backbone
from memflow_cli.errors import ModelError
from memflow_cli.models.decoders import load_autoencoder
from memflow_cli.models.entry import Lora, ModelEntry
from memflow_cli.models.family import LoadOptions
from memflow_cli.models.hub import ModelFiles, locate
from memflow_cli.models.text.encoder import fit_encoder, make_text_encoder
from memflow_cli.models.text.prompt_tokens import PromptTokenizer
from memflow_cli.models.wan.checkpoint import fit_transformer, load_transformer, transformer_config
from memflow_cli.models.wan.model import ReadStory, StandsApart, WanModel
from memflow_cli.models.wan.streaming import move_streamed
from memflow_cli.models.wan.tiny_decoder import use_tiny_decoder


def load(
    entry: ModelEntry,
    device: torch.device,
    dtype: torch.dtype,
    options: LoadOptions,
    read_story: ReadStory | None = None,
    caption_picture: Callable[[str], str] = lambda description: description,
    stands_apart: StandsApart | None = None,
) -> Backbone:
    """A model ready to make films. `read_story`, `caption_picture`, `stands_apart`: see `Backbone`. Raises ModelError: files
    missing, broken, or not fitting.
    """
    files, placement = locate(entry), options.placement
    config = transformer_config(entry, files.transformer)
    resident = None if placement is None else placement.resident_blocks
    place = device if resident is None else torch.device("cpu")
    loras = [*_published(files), *entry.loras]
    transformer = load_transformer(files.transformer, config, loras, place, dtype, options.tell)
    if resident is not None:
        move_streamed(transformer, resident, device)
    text_device = device if placement is None or placement.text_encoder_on_card else torch.device("cpu")
    text_encoder = make_text_encoder(
        files.text_encoder, files.tokenizer, config.text_len, text_device, options.embeddings, options.prompts
    )
    autoencoder = load_autoencoder(files.vae, device, dtype, placement is not None and placement.tile_decoder)
    if entry.geometry.sizes and autoencoder.make_decoder_at is None:
        raise ModelError(f"{files.vae} has no painter, without which there is one size of film", "copy the model again")
    model = WanModel(
        transformer,
        entry.geometry,
        entry.sampling,
        cast("PositionMode", entry.positions),
        encode_prompts=text_encoder.encode,
        make_decoder=autoencoder.make_decoder,
        release_text=text_encoder.release,
        encode_frames=autoencoder.encode_frames,
        read_story=read_story,
        stands_apart=stands_apart,
        make_decoder_at=autoencoder.make_decoder_at,
        caption_picture=caption_picture,
    )
    if options.preview_decoder is not None:
        use_tiny_decoder(model, options.preview_decoder)
    return model


def read_cuts(prefix: str) -> ReadStory | None:
    """For a model that was taught cuts by words: `prefix` stands before a cut's prompt for its first chunk, and not later."""
    if not prefix:
        return None

    def read(
        prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = (), lengths: Sequence[int] = ()
    ) -> list[tuple[tuple[int, str], ...]]:
        return [
            ((0, prefix + prompt), (1, prompt)) if is_cut and index else ((0, prompt),)
            for index, (prompt, is_cut) in enumerate(zip(prompts, cuts, strict=True))
        ]

    return read


def check(entry: ModelEntry) -> Iterator[str]:
    """A line for each component whose tensors are the model's. Raises ModelError at the first that is not."""
    files = locate(entry)
    config = transformer_config(entry, files.transformer)
    _, weights, updates = fit_transformer(files.transformer, config, _published(files))
    yield f"transformer: {len(weights)} tensors"
    for update in updates:
        yield f"low-rank update: {len(update.products)} matrices"
    _, encoder_weights = fit_encoder(files.text_encoder)
    yield f"text encoder: {len(encoder_weights)} tensors"
    PromptTokenizer(files.tokenizer)
    yield "tokenizer"
    load_autoencoder(files.vae, torch.device("cpu"), torch.float32)
    yield "autoencoder"


def _published(files: ModelFiles) -> list[Lora]:
    return [Lora(files.lora)] if files.lora else []
