"""A Wan model as the pipeline sees it: text encoder, causal transformer and autoencoder behind the `Backbone` protocol."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from memflow_cli.attention_context import AttentionContext, PositionMode, PromptProjection
from memflow_cli.backbone import Sampling, StreamingDecoder, Timesteps, as_written, no_encoder
from memflow_cli.geometry import Geometry
from memflow_cli.models.wan.fused import fuse
from memflow_cli.models.wan.transformer import CausalWanTransformer

StandsApart = Callable[[Sequence[str], Sequence[bool], Sequence[str]], Sequence[bool]]
ReadStory = Callable[[Sequence[str], Sequence[bool], Sequence[str], Sequence[int]], Sequence[Sequence[tuple[int, str]]]]
EncodePrompts = Callable[[Sequence[str]], Tensor]
WholePass = Callable[[Tensor, Timesteps, PromptProjection, AttentionContext], Tensor]


class WanModel:
    """Implements `Backbone`.

    `encode_prompts`: prompts -> [P, T, C], padding rows zero. `make_decoder`: a fresh streaming decoder a film.
    `make_decoder_at`: one for films of a width and height, where there are several kinds.
    `encode_frames`: frames [F', height, width, 3] in 0..1 -> normalised latents [F, C, h, w].
    `read_story`, `caption_picture`: of a model that understands more than its text encoder was trained on.
    `release_text`: called when a prompt is projected, that is when encoding is over: a large text encoder leaves then.
    """

    def __init__(
        self,
        transformer: CausalWanTransformer,
        geometry: Geometry,
        sampling: Sampling,
        positions: PositionMode,
        encode_prompts: EncodePrompts,
        make_decoder: Callable[[], StreamingDecoder],
        release_text: Callable[[], None] = lambda: None,
        encode_frames: Callable[[Tensor], Tensor] | None = None,
        read_story: ReadStory | None = None,
        stands_apart: StandsApart | None = None,
        make_decoder_at: Callable[[int, int], StreamingDecoder] | None = None,
        caption_picture: Callable[[str], str] = lambda description: description,
    ) -> None:
        weight = transformer.patch_embedding.weight
        self.transformer = transformer.eval().requires_grad_(False)
        fuse(transformer)
        self.geometry = geometry
        self.sampling = sampling
        self.positions = positions
        self.device = weight.device
        self.dtype = weight.dtype
        self.encode_prompts = encode_prompts
        self.decoder = make_decoder
        self._make_decoder_at = make_decoder_at
        self.whole_pass: WholePass = partial(_whole_pass, self.transformer)  # no cycle: a model goes when it is let go
        """What `predict` runs; wan/acceleration.py may put a recorded pass in its place."""
        self._release_text = release_text
        self.encode_frames = encode_frames or no_encoder
        self._read_story = read_story
        self._stands_apart = stands_apart
        self.caption_picture = caption_picture

    def read_story(
        self, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = (), lengths: Sequence[int] = ()
    ) -> Sequence[Sequence[tuple[int, str]]]:
        return as_written(prompts) if self._read_story is None else self._read_story(prompts, cuts, pictured, lengths)

    def stands_apart(
        self, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
    ) -> Sequence[bool]:
        return [False] * len(prompts) if self._stands_apart is None else self._stands_apart(prompts, cuts, pictured)

    def decoder_at(self, width: int, height: int) -> StreamingDecoder:
        return self._make_decoder_at(width, height) if self._make_decoder_at else self.decoder()

    def project_prompt(self, prompt_embeds: Tensor) -> PromptProjection:
        self._release_text()
        return self.transformer.project_prompt(prompt_embeds.to(self.device))

    def predict(
        self, latents: Tensor, timestep: Timesteps, prompt: PromptProjection, context: AttentionContext
    ) -> Tensor:
        return self.whole_pass(latents, timestep, prompt, context)

    def stage(self, latents: Tensor, timestep: float, prompt: PromptProjection, context: AttentionContext) -> None:
        timesteps = torch.full(latents.shape[:2], timestep, dtype=torch.float32, device=self.device)
        self.transformer.stage(latents, timesteps, prompt, context)

    def rotate(self, key: Tensor, positions: Sequence[int], grid: tuple[int, int]) -> Tensor:
        return self.transformer.rotate(key, self.transformer.rotary(tuple(positions), grid, key.shape[-1], key.device))

    def work_of_pass(self, grid: tuple[int, int], frames_in_view: int) -> tuple[float, float]:
        """Floating-point operations and bytes moved at least (weights, keys and values) by a pass over one chunk.

        `grid`: rows and columns of tokens in a latent frame. `frames_in_view`: latent frames that attention reads.
        """
        config = self.transformer.config
        tokens_a_frame = grid[0] * grid[1]
        tokens, keys = self.geometry.chunk * tokens_a_frame, frames_in_view * tokens_a_frame
        a_token = config.num_layers * 2 * config.dim * (6 * config.dim + 2 * config.ffn_dim)
        a_token += config.num_layers * 4 * config.dim * (keys + config.text_len)
        a_token += 4 * config.dim * config.in_dim * config.patch_size[1] * config.patch_size[2]
        tensors = (*self.transformer.parameters(), *self.transformer.buffers())
        weights = sum(getattr(tensor, "qdata", tensor).nbytes for tensor in tensors)  # of torchao's: their eight bits
        read = 2 * config.num_layers * keys * config.dim * torch.finfo(self.dtype).bits // 8
        return float(tokens * a_token), float(weights + read)


def _whole_pass(
    transformer: CausalWanTransformer,
    latents: Tensor,
    timestep: Timesteps,
    prompt: PromptProjection,
    context: AttentionContext,
) -> Tensor:
    prediction: Tensor = transformer(latents, timestep_of_each(timestep, latents), prompt, context)
    return prediction


def timestep_of_each(timestep: Timesteps, latents: Tensor) -> Tensor:
    """The timestep of every latent frame of latents [B, F, C, h, w], in fp32: [B, F]."""
    return torch.tensor(timestep, dtype=torch.float32, device=latents.device).expand(latents.shape[:2])
