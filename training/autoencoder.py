"""Trains theatre's autoencoder: the patch basis in seconds, the refiner on its own afterwards.

The latents are fixed once the basis is, so the transformer may train while the refiner still does.
"""

import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memflow_cli.models.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder
from training.data import sample_fitting_clip
from training.precision import fast_products

PUPPET_WEIGHT = 4.0  # of a patch that shows a puppet, against one that does not
SCALE_EASING = 1.4


def fit_basis(num_clips: int = 600) -> PatchAutoencoder:
    """Principal components of patches of `num_clips` training clips; puppets count more than backdrops."""
    model = PatchAutoencoder(AutoencoderConfig())
    size = model.config.patch_numbers
    total, sums, products = 0.0, torch.zeros(size), torch.zeros(size, size)
    for seed in range(num_clips):
        frames, coverage = sample_fitting_clip(seed)
        patches = model._to_patches(torch.from_numpy(frames).float() / 127.5 - 1).flatten(0, 2)
        covered = model._to_patches(torch.from_numpy(np.repeat(coverage[..., None], 3, -1))).flatten(0, 2).mean(-1)
        weights = (1 + (PUPPET_WEIGHT - 1) * (covered > 0.02).float())[:, None]
        total += float(weights.sum())
        sums += (weights * patches).sum(0)
        products += (weights * patches).T @ patches
    mean = sums / total
    values, vectors = torch.linalg.eigh(products / total - torch.outer(mean, mean))
    kept = model.config.latent_channels
    deviation = values.flip(0)[:kept].clamp_min(1e-8).sqrt()
    model.mean.copy_(mean)
    model.basis.copy_(vectors.flip(1)[:, :kept].T)
    model.scale.copy_(deviation.sqrt() * SCALE_EASING)  # a channel's deviation becomes about the root of its own
    return model


def _batch(seeds) -> tuple[Tensor, Tensor]:
    """Frames [4 * F, height, width, 3] in 0..1 and puppet coverage [4 * F, height, width]."""
    clips = [sample_fitting_clip(int(seed)) for seed in seeds]
    frames = torch.from_numpy(np.concatenate([frames for frames, _ in clips])).float() / 255
    return frames, torch.from_numpy(np.concatenate([coverage for _, coverage in clips]))


@torch.no_grad()
def psnr(model: PatchAutoencoder, seeds, refined: bool = True) -> tuple[float, float]:
    """Peak signal-to-noise ratio in dB on clips never fitted: (whole frame, inside the puppets)."""
    frames, coverage = _batch(seeds)
    latents = model.encode(frames)
    pixels = model.decode_linear(latents)
    pixels = model.refiner(pixels, latents) if refined else pixels
    decoded = (pixels.unflatten(1, (-1, 3)).flatten(0, 1).permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
    error = (decoded - frames).square().mean(-1)
    inside = (error * coverage).sum() / coverage.sum()
    return tuple(round(-10 * math.log10(float(value)), 2) for value in (error.mean(), inside))


def train_refiner(model: PatchAutoencoder, seconds: float, log: Path, latent_noise: float = 0.0) -> None:
    """Train the refiner alone, on fresh clips all the time. `latent_noise`: so that it also mends what is generated."""
    refiner = model.refiner.train().requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(refiner.parameters(), lr=2e-3, betas=(0.9, 0.97), weight_decay=0)
    rng, started, step = np.random.default_rng(11), time.monotonic(), 0
    pool = [sample_fitting_clip(seed) for seed in range(200)]
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("seconds", "step", "psnr", "psnr_inside_puppets"))
        next_report = 0.0
        while (elapsed := time.monotonic() - started) < seconds:
            pool[step % len(pool)] = sample_fitting_clip(200 + step)
            frames = np.concatenate([pool[int(i)][0] for i in rng.integers(len(pool), size=2)])
            target = torch.from_numpy(frames).float() / 255
            latents = model.encode(target)
            latents = latents + latent_noise * rng.random() * torch.randn_like(latents)
            wanted = (target * 2 - 1).permute(0, 3, 1, 2).unflatten(0, (-1, 4)).flatten(1, 2)
            rate = 2e-3 * min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * elapsed / seconds)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            with fast_products(torch.device("cpu")):
                pixels = model.decode_linear(latents).float()
                refined = refiner(pixels.contiguous(memory_format=torch.channels_last), latents)
            error = refined.float() - wanted
            weight = 1 + 4 * (error.detach().abs().amax(1, keepdim=True) > 0.15).float()
            loss = ((error.abs() + error.square()) * weight).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(refiner.parameters(), 1.0)
            optimizer.step()
            step += 1
            if elapsed >= next_report:
                writer.writerow((round(elapsed), step, *psnr(model, range(900_000, 900_012))))
                file.flush()
                next_report += 60
    refiner.eval()
