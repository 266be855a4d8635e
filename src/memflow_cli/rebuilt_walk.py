"""A walk that keeps no cache: before each chunk its context is computed anew (Krea Realtime).

The context is one first frame and the last latent frames, as many as the window holds besides the chunk. They run clean,
chunk by chunk, under the prompt of the chunk before, at the first positions, and the chunk at hand follows them. There is
no clean pass of its own: the next rebuilding takes its place. Once the film's first latent frame lies too far back, the
context begins with a picture: the oldest that its latent frames show, encoded alone.
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor

from memflow_cli.backbone import Backbone
from memflow_cli.memory.policy import NoMemory, Recall
from memflow_cli.pipeline import Chunk, Shot, Walk

PROMPT_STEPS = 4  # chunks over which one prompt becomes the next; the first of them still has the old one


class RebuiltWalk(Walk):
    """As `Walk`, of a model that was trained so. `keep_first_frame`: the context begins with the film's first latent frame
    for ever. `prompt_steps`: as `PROMPT_STEPS`; 1 takes the new prompt at once.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int],
        fps: int,
        keep_first_frame: bool = False,
        prompt_steps: int = PROMPT_STEPS,
        **options: Any,
    ) -> None:
        super().__init__(backbone, size, fps, NoMemory(sink=0), "absolute", **options)
        geometry = self.backbone.geometry
        self._context = geometry.window - geometry.chunk
        assert self._context > 0 and self._context % geometry.chunk == 0, "the context is whole chunks"
        self._keeps_first = keep_first_frame
        self.prompt_steps = prompt_steps
        self._first: Tensor | None = None  # the film's first latent frame [1, 1, C, h, w]
        self._recent: deque[Tensor] = deque(maxlen=self._context)  # latent frames [1, 1, C, h, w]
        self._pictures = deque[Tensor](maxlen=1 + geometry.temporal_stride * (self._context - 1))
        self._decoder = None if keep_first_frame else self.backbone.decoder_at(*size)
        self._embeds: Tensor | None = None
        self._coming: list[Tensor] = []  # the embeddings of the next chunks, while one prompt becomes another

    @torch.no_grad()
    def enter(self, shot: Shot) -> None:
        """A new segment: its prompt takes over from the one before, step by step; with a cut, at once."""
        self._shot, self._segment, self._index_in_shot = shot, self._segment + 1, 0
        self._index_under_prompt = 0
        steps = 1 if shot.transition == "cut" or self._embeds is None else self.prompt_steps
        before = shot.prompt_embeds if self._embeds is None else self._embeds
        weights = torch.linspace(0, 1, steps).tolist() if steps > 1 else [1.0]
        self._coming = [before.lerp(shot.prompt_embeds, weight) for weight in weights]

    @torch.no_grad()
    def chunk(self, latents: Tensor | None = None) -> Chunk:
        """Rebuild the context, take the next step towards the prompt, denoise. `latents`: as in `Walk.chunk`."""
        assert self._segment >= 0, "a walk begins with a shot"
        self._timer.start()
        length = len(self._recent)
        if latents is None and length:
            self._rebuild()
        self._step_prompt()
        frames = range(length, length + self.backbone.geometry.chunk)
        record = self._record(frames, Recall())
        self._timer.stop("retrieve")
        latents = (self._denoise(frames, self._prompt) if latents is None else latents).to(self.backbone.device)
        self._timer.stop("denoise")
        self._keep(latents)
        self._timer.stop("commit")
        chunk = Chunk(self.index, self._segment, latents, record, self._timer.take())
        self.index += 1
        self._index_in_shot += 1
        self._index_under_prompt += 1
        return chunk

    def _rebuild(self) -> None:
        """One clean pass over each chunk of the context; nothing is kept from before."""
        self.cache.clear_window()
        context = torch.cat([self._first_of_context(), *list(self._recent)[1:]], dim=1)
        length = self.backbone.geometry.chunk
        for start in range(0, context.shape[1], length):
            self._commit(range(start, start + length), context[:, start : start + length], self._prompt)

    def _first_of_context(self) -> Tensor:
        """The film's first latent frame while it is not far back, then the encoding of a picture."""
        assert self._first is not None, "a film has a first frame"
        past = (self.index - self._num_given - 1) * self.backbone.geometry.chunk
        if self._keeps_first or past < self._context:
            return self._first
        return self.encode_oldest()

    def encode_oldest(self) -> Tensor:
        """The oldest picture that is still known, encoded alone: [1, 1, C, h, w]."""
        return self.backbone.encode_frames(self._pictures[0].unsqueeze(0))[:1].unsqueeze(0).to(self.backbone.device)

    def _step_prompt(self) -> None:
        if self._coming:
            self._embeds = self._coming.pop(0)
            self._prompt = self.backbone.project_prompt(self._embeds.unsqueeze(0))

    def _keep(self, latents: Tensor) -> None:
        """The chunk's latent frames, and the pictures that the next contexts may begin with."""
        self._first = latents[:, :1] if self._first is None else self._first
        self._recent.extend(latents.split(1, dim=1))
        if self._decoder is not None:
            frames = self._decoder.decode(latents[0])
            self._pictures.extend(frames.float() / 255 if frames.dtype == torch.uint8 else frames)
