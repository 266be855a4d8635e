"""Where a chunk's seconds go."""

import time

import torch


class StageTimer:
    """Seconds of each stage of the chunk at hand. Without a device to wait for, a GPU's work is timed when it is issued."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._last = 0.0

    def start(self) -> None:
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """The seconds since they were taken last."""
        seconds, self._seconds = self._seconds, {}
        return seconds
