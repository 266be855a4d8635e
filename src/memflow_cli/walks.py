"""From memory options to a walk: which way a film's chunks are made."""

from pathlib import Path
from typing import Any

from memflow_cli.backbone import Backbone
from memflow_cli.memory.options import REBUILT, MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.pipeline import Walk
from memflow_cli.rebuilt_walk import RebuiltWalk


def make_walk(
    backbone: Backbone,
    size: tuple[int, int],
    fps: int,
    options: MemoryOptions,
    archive_folder: Path | None = None,
    **more: Any,
) -> Walk:
    """The walk of one film. `size`: width and height in pixels. `archive_folder`: see `make_policy`; `more`: see `Walk`."""
    more |= {"int8": options.kv == "int8", "picture_guidance": options.picture_guidance or 0.0}
    if options.policy == REBUILT:
        return RebuiltWalk(backbone, size, fps, **more)
    positions: Any = options.positions
    return Walk(backbone, size, fps, make_policy(options, backbone.geometry, archive_folder), positions, **more)
