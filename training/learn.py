"""The training loop: pictures first, then stories with memory. Stops by the clock, resumes from its checkpoint."""

import csv
import json
import time
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import UMT5EncoderModel

from memflow_cli.models.wan.checkpoint import load_transformer
from memflow_cli.models.wan.config import WanConfig
from training.batches import PictureBatch, Pictures, Stories, StoryBatch, add_noise, sample_sigma
from training.optimizer import MuonAdamW, WeightAverage
from training.precision import fast_products
from training.teacher_forcing import Context, Trainee
from training.text import TEXT_LENGTH, build_encoder

PUPPET_WEIGHT = 9.0  # of a cell with a puppet, against one without
MEAN_PUPPET_SHARE = 0.12
SMALLEST_SIGMA = 0.2  # below it, the loss of the clean prediction is not weighted up any more
CONTEXT_NOISE, CONTEXT_NOISED = 0.25, 0.65  # largest sigma on a clean chunk, and how often there is any
OWN_LEVELS = (1.0, 0.6)  # noise levels in which the model makes its own contexts: fewer than a film's, for speed
OWN_DEPTH = 3  # how often chunks are made again from contexts that hold made ones
MUON_RATE, ADAM_RATE = 3e-3, 1e-3
WARM_UP_STEPS = 50


def theatre_config(**changes) -> WanConfig:
    sizes = {"dim": 384, "ffn_dim": 1024, "num_heads": 6, "num_layers": 6, "patch_size": (1, 2, 2)} | changes
    return WanConfig(text_dim=128, text_len=TEXT_LENGTH, in_dim=192, out_dim=192, **sizes)


@dataclass(frozen=True)
class Options:
    """One stage of training. `hold`: the share of the time before the learning rate falls.

    `own_context`: the share of steps whose contexts hold chunks as the model itself makes them (self-forcing).
    """

    seconds: float
    pictures: int  # in a batch
    stories: int = 0  # in a batch
    own_context: float = 0.0
    rate: float = 1.0  # factor of both learning rates
    hold: float = 0.5
    final_factor: float = 0.05
    seed: int = 1


def clean_loss(predicted: Tensor, clean: Tensor, mask: Tensor, sigma: Tensor, channel_weight: Tensor) -> Tensor:
    """The flow loss of a clean prediction, [M]: squared error / sigma^2, cells of `mask` weighted up.

    predicted, clean: [M, F, C, h, w]; mask [M, F, h, w], 0 and more; sigma [M]; channel_weight [C] of mean 1.
    """
    error = ((predicted - clean).square() * channel_weight[:, None, None]).mean(2)
    weight = (1 + (PUPPET_WEIGHT - 1) * mask) / (1 + (PUPPET_WEIGHT - 1) * MEAN_PUPPET_SHARE)
    return (error * weight).mean((1, 2, 3)) / sigma.clamp_min(SMALLEST_SIGMA).square()


def where_puppets_may_be(batch: StoryBatch) -> Tensor:
    """Cells of the batch's targets [K, 3, h, w] in 0..1 that have a puppet, or had one anywhere in the target's context.

    Where a puppet was, and is not any more, counts as much as where it is; else drawing it in both places would cost least
    whenever its place is uncertain.
    """
    context = batch.context
    index, present = context.index[len(batch.clean) :], context.present[len(batch.clean) :]
    seen = batch.shown_mask.flatten(0, 1)[index] * present[..., None, None]
    return torch.maximum(batch.mask[batch.target], seen.amax(1, keepdim=True))


@dataclass(frozen=True)
class OwnFilm:
    """The stories of a batch as the model has made them so far: the truth where it has not made a chunk yet."""

    rows: list[int]
    shown: Tensor  # [M, 3, C, h, w]
    depth: int  # how many generations of made chunks it holds


def to_device(batch, device: torch.device):
    """A batch with all its tensors on a device."""

    def move(value):
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, dict):
            return {key: move(item) for key, item in value.items()}
        return to_device(value, device) if is_dataclass(value) else value

    return replace(batch, **{field.name: move(getattr(batch, field.name)) for field in fields(batch)})


class Learner:
    """Model, optimizer and average, with the steps that move them."""

    def __init__(
        self,
        config: WanConfig,
        vocabulary_size: int,
        channel_scale: Tensor,
        options: Options,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(options.seed)
        self.options, self.device = options, torch.device(device)
        self.model = Trainee(config, build_encoder(vocabulary_size)).to(self.device)
        matrices = [p for n, p in self.model.transformer.blocks.named_parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.model.parameters() if id(p) not in chosen and p.requires_grad]
        self.optimizer = MuonAdamW(matrices, others, options.rate * MUON_RATE, options.rate * ADAM_RATE)
        self.average = WeightAverage(self.model)
        self.channel_weight = (channel_scale.square() / channel_scale.square().mean()).to(self.device)
        self.rng = np.random.default_rng(options.seed)
        self.step_count, self.elapsed = 0, 0.0
        self._own_film: OwnFilm | None = None

    def sample_sigma(self, size: int) -> Tensor:
        return sample_sigma(self.rng, size).to(self.device)

    def picture_loss(self, batch: PictureBatch, sigma: Tensor) -> Tensor:
        with fast_products(self.device):
            predicted = self.model.pictures(add_noise(batch.clean, sigma), sigma, batch.ids, batch.place)
        mask = batch.mask + batch.details
        loss = clean_loss(predicted.float(), batch.clean, mask, sigma, self.channel_weight)
        return (loss * batch.emphasis).mean()

    @torch.no_grad()
    def own_chunks(self, batch: StoryBatch, shown: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's streaming targets as the model makes them, in a few steps, from contexts of `shown`.

        Returns their rows of `shown` [S] and the chunks [S, 3, C, h, w].
        """
        chosen = batch.streaming.nonzero().flatten()
        rows = batch.target[chosen]
        kept = torch.cat([torch.arange(len(shown), device=chosen.device), len(shown) + chosen])
        context = Context(batch.context.index[kept], batch.context.present[kept])
        made = torch.zeros_like(batch.clean[rows])
        for level in OWN_LEVELS:
            sigma = made.new_full((len(made),), level)
            with fast_products(self.device):
                made = self.model.stories(
                    shown, add_noise(made, sigma), sigma, batch.ids, batch.caption[kept], context
                ).float()
        return rows, made

    def draw_stories(self, stories: Stories) -> tuple[StoryBatch, Tensor]:
        """A batch, and what contexts show of its chunks [M, 3, C, h, w]: mostly the truth with a little noise.

        Steps on own chunks return to the stories of the last such step, with other targets, until their chunks were made
        from chunks made from chunks, `OWN_DEPTH` times: mistakes that grow are seen, for the price of one generation a step.
        """
        own, film = self.rng.random() < self.options.own_context, self._own_film
        again = film if own and film and film.depth < OWN_DEPTH else None
        batch = to_device(stories.batch(self.rng, self.options.stories, again.rows if again else None), self.device)
        shown = again.shown.clone() if again else batch.clean.clone()
        shown[batch.given] = batch.clean[batch.given]
        if own:
            rows, made = self.own_chunks(batch, shown)
            shown[rows] = made
            self._own_film = OwnFilm(batch.rows, shown.clone(), 1 + (again.depth if again else 0))
        for row, frames in batch.spoilt.items():
            shown[row] = frames
        sigma = self.rng.uniform(0, CONTEXT_NOISE, len(shown)) * (self.rng.random(len(shown)) < CONTEXT_NOISED)
        sigma[batch.given.cpu()] = 0
        return batch, add_noise(shown, torch.from_numpy(sigma).float().to(self.device))

    def story_loss(self, batch: StoryBatch, shown: Tensor, sigma: Tensor) -> Tensor:
        clean, mask = batch.clean[batch.target], where_puppets_may_be(batch) + batch.details
        noisy = add_noise(clean, sigma)
        with fast_products(self.device):
            predicted = self.model.stories(shown, noisy, sigma, batch.ids, batch.caption, batch.context)
        loss = clean_loss(predicted.float(), clean, mask, sigma, self.channel_weight)
        return (loss * batch.emphasis).mean()

    def step(self, pictures: Pictures, stories: Stories | None) -> tuple[float, float]:
        """One update; returns (picture loss, story loss)."""
        losses = []
        if self.options.pictures:
            batch = to_device(pictures.batch(self.rng, self.options.pictures), self.device)
            losses.append(self.picture_loss(batch, self.sample_sigma(len(batch.clean))))
            losses[-1].backward()
        if self.options.stories and stories is not None:
            story_batch, shown = self.draw_stories(stories)
            losses.append(self.story_loss(story_batch, shown, self.sample_sigma(len(story_batch.target))))
            losses[-1].backward()
        self.optimizer.step(self._rate_factor())
        self.optimizer.zero_grad()
        self.average.update()
        self.step_count += 1
        return losses[0].item(), losses[-1].item()

    def _rate_factor(self) -> float:
        done = self.elapsed / self.options.seconds
        falling = 1 - (done - self.options.hold) / (1 - self.options.hold)
        return min(1, (self.step_count + 1) / WARM_UP_STEPS, max(self.options.final_factor, falling))

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "step": self.step_count,
            "elapsed": self.elapsed,
            "noise": torch.get_rng_state(),
            "draws": json.dumps(self.rng.bit_generator.state),
            "config": asdict(self.model.transformer.config),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load_exported(self, folder: Path) -> None:
        """Begin with weights as `training.export` wrote them, for example those of the package."""
        weights = load_transformer(folder / "transformer", self.model.transformer.config).state_dict()
        self.model.transformer.load_state_dict(weights)
        self.model.encoder.load_state_dict(UMT5EncoderModel.from_pretrained(folder / "text_encoder").state_dict())
        self.average = WeightAverage(self.model)

    def load(self, path: Path, weights_only: bool = False) -> None:
        """Go on from a checkpoint. `weights_only`: a new stage, with a clock and an average of its own."""
        state = torch.load(path, self.device, weights_only=True)
        self.model.load_state_dict(state["average"]["weights"] if weights_only else state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if weights_only:
            self.average = WeightAverage(self.model)
        else:
            self.average.load_state_dict(state["average"])
            self.step_count, self.elapsed = state["step"], state["elapsed"]
            if "noise" in state:
                torch.set_rng_state(state["noise"].cpu())
                self.rng.bit_generator.state = json.loads(state["draws"])


@torch.no_grad()
def picture_errors(learner: Learner, pictures: Pictures, levels=(0.9, 0.75, 0.5), size: int = 128) -> list[float]:
    """Squared error of the clean prediction inside the puppets of held-out pictures, at each noise level."""
    batch = to_device(pictures.batch(np.random.default_rng(5), size, held_out=True), learner.device)
    errors = []
    devices = [learner.device] if learner.device.type == "cuda" else []
    for level in levels:
        sigma = batch.clean.new_full((size,), level)
        with torch.random.fork_rng(devices=devices):  # the same noise every time, and training's own goes on as it was
            torch.manual_seed(5)
            noisy = add_noise(batch.clean, sigma)
        with fast_products(learner.device):
            predicted = learner.model.pictures(noisy, sigma, batch.ids, batch.place)
        error = ((predicted.float() - batch.clean).square() * learner.channel_weight[:, None, None]).mean(2)
        errors.append(float((error * batch.mask).sum() / batch.mask.sum()))
    return errors


def train(learner: Learner, pictures: Pictures, stories: Stories | None, checkpoint: Path, log: Path) -> None:
    """Train until the stage's time is up; a line of the log every 50 steps, a checkpoint every few minutes."""
    new = not log.exists()
    with log.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            names = [f"puppet_error_at_{level}" for level in (0.9, 0.75, 0.5)]
            writer.writerow(("seconds", "step", "picture_loss", "story_loss", *names))
        last, recent, saved = time.monotonic(), [], learner.elapsed
        while learner.elapsed < learner.options.seconds:
            recent.append(learner.step(pictures, stories))
            now = time.monotonic()
            learner.elapsed, last = learner.elapsed + now - last, now
            if learner.step_count % 50 == 0:
                errors = picture_errors(learner, pictures) if learner.step_count % 200 == 0 else []
                values = [*np.mean(recent, axis=0), *errors]
                writer.writerow((round(learner.elapsed), learner.step_count, *(f"{value:.4f}" for value in values)))
                file.flush()
                recent = []
            if learner.elapsed - saved > 180:
                learner.save(checkpoint)
                saved = learner.elapsed
    learner.save(checkpoint)
