"""What a film showed already, and the transformer draws a little otherwise: what rests, and the scene behind the puppets.

What rests goes over from latent frame to latent frame little by little. Where nobody is, the scene is as it was in the last
seconds: who walks drags specks along, for what was uncovered just now is drawn badly, but the film showed it before.
"""

from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor

CUT = 20.0  # of 255: two frames that differ more on average are of two scenes
MOVES = 8.0  # of 255: a place that changes so much within a latent frame moves, and so do those
REACH = 5  # of so many places, each way, around it
GATHERED = 24  # latent frames that the scene is gathered from: six seconds
CELL = 32  # painted pixels
PLACE = 4  # painted pixels; as fine as the film is looked at for changes
LOOKED_AT = (slice(PLACE // 2, None, PLACE),) * 2
COVERED = 0.15  # share of a pixel from which it is a puppet's
KNOWN = 2.0  # latent frames that must have shown a pixel for it to be taken half from them
KNOWN_ENOUGH = 0.6  # share that is taken from them, from which a change counts
UNSTEADY = 12.0  # of 255: the standard deviation from which what was gathered counts less
CHANGED = 20.0  # of 255: a cell whose mean colour differs more is another now, whatever the scene was
ANOTHER = 0.5  # share of cells that have changed at a cut
# A weight of 1, in whole numbers: sums are exact, so that they are the same wherever a film is begun.
FULL_BITS = 7
FULL = 2**FULL_BITS


class Settling:
    """What rests, of a film's latent frames [4, height, width, 3], uint8."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor] | None = None  # frame, and what moved up to it

    def settled(self, frames: Tensor) -> Tensor:
        """The next frames; where nothing moves, gone over to little by little from the last one. After a cut nothing is."""
        moves, before = motion_in(frames), self._last
        self._last = frames[-1].float(), moves
        if before is None or (frames[0].float() - before[0]).abs().mean() > CUT:
            return frames
        near = F.max_pool2d(torch.maximum(moves, before[1]), REACH, 1, REACH // 2)
        rests = F.interpolate((2 - near / MOVES).clamp(0, 1)[None], size=frames.shape[1:3], mode="bilinear")
        settled, share = frames.clone(), rests[0, 0, ..., None]
        for number in range(len(frames) - 1):
            part = share * (1 - (number + 1) / len(frames))
            settled[number] = torch.lerp(frames[number].float(), before[0], part).round_().to(torch.uint8)
        return settled


def motion_in(frames: Tensor) -> Tensor:
    """How much places change within a latent frame [4, height, width, 3], in 0..255: [1, h, w]. Every second pixel counts."""
    first, second, third, fourth = frames[:, ::2, ::2].float()
    change = torch.maximum((fourth - first).abs_(), (third - second).abs_()).amax(-1)
    return F.avg_pool2d(change[None], PLACE // 2)


class Scenery:
    """The scene behind a film's puppets. Frames [4, height, width, 3], uint8; covered [4, height, width] in 0..1, by puppets."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Tensor, Tensor]] = deque()
        self._sum = self._weight = self._greys = self._squares = torch.zeros(0)

    def without_specks(self, frames: Tensor, covered: Tensor) -> Tensor:
        """The frames of the next latent frame, with the scene as it was where no puppet is."""
        free = ((1 - covered / COVERED).clamp_min(0) * FULL).round().to(torch.int16)  # [4, height, width]
        frame, weight = frames[-1], beside_puppets(free[-1])
        if self._kept and changed_cells(frame, self._kept[-1][0], weight).mean() > ANOTHER:
            self._kept.clear()  # told from the last frame alone, so that it is told alike wherever a film is begun
        if self._kept:
            frames = self._mended(frames, free, weight)
        self._keep(frame, weight)
        return frames

    def _mended(self, frames: Tensor, free: Tensor, weight: Tensor) -> Tensor:
        scene = (self._sum / self._weight.clamp_min(1)[..., None]).round().to(torch.int16)
        known = self._weight / (self._weight + KNOWN * FULL) * self._steadiness()
        changed = changed_cells(frames[-1], scene, weight * (known > KNOWN_ENOUGH))
        as_it_was = 1 - F.interpolate(changed[None, None], size=known.shape, mode="bilinear")[0, 0]
        share = (free * (known * as_it_was)).to(torch.int16)[..., None]
        shown = frames.to(torch.int16)
        return (shown + (scene - shown).mul_(share).bitwise_right_shift_(FULL_BITS)).to(torch.uint8)

    def _steadiness(self) -> Tensor:
        """0 where the gathered frames differ much, for some show another scene, to 1."""
        weight = self._weight.clamp_min(1).float()
        variance = self._squares / weight - (self._greys / weight).square()
        return (2 - variance.clamp_min(0).sqrt() / UNSTEADY).clamp(0, 1)

    def _keep(self, frame: Tensor, weight: Tensor) -> None:
        if not self._kept:
            self._sum = torch.zeros_like(frame, dtype=torch.int32)
            self._weight, self._greys, self._squares = (torch.zeros_like(weight, dtype=torch.int32) for _ in range(3))
        self._kept.append((frame.clone(), weight.to(torch.uint8)))
        self._count(*self._kept[-1], 1)
        if len(self._kept) > GATHERED:
            self._count(*self._kept.popleft(), -1)

    def _count(self, frame: Tensor, weight: Tensor, sign: int) -> None:
        weight = weight.to(torch.int32) * sign
        grey = frame.sum(-1, dtype=torch.int32) // 3
        self._sum += frame * weight[..., None]
        self._weight += weight
        self._greys += grey * weight
        self._squares += grey.square() * weight


def changed_cells(frame: Tensor, scene: Tensor, weight: Tensor) -> Tensor:
    """Which cells of a frame are another than in the scene, where pixels [height, width] have weight: [h, w] of 0 and 1."""
    frame, scene, there = frame[LOOKED_AT].float(), scene[LOOKED_AT], weight[LOOKED_AT].float().unsqueeze(-1)
    sums = torch.cat([(frame - scene) * there, there], dim=-1).permute(2, 0, 1)
    means = F.avg_pool2d(sums, CELL // PLACE, ceil_mode=True)
    return ((means[:3] / means[3:].clamp_min(1)).abs().amax(0) > CHANGED).float()


def beside_puppets(free: Tensor) -> Tensor:
    """Free pixels [height, width], without those next to a puppet, which may be its outline."""
    taken = F.max_pool2d(FULL - free[None].float(), PLACE)
    near = F.max_pool2d(taken, 3, 1, 1)[0].to(free.dtype)
    return FULL - near.repeat_interleave(PLACE, 0).repeat_interleave(PLACE, 1)
