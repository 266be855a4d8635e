"""memflow-cli: storyboards to long, coherent films.

    import memflow_cli

    studio = memflow_cli.Studio("theatre")
    studio.make(memflow_cli.load_storyboard("fox.yaml"), "fox.mp4")

    with studio.take("steered.mp4", seed=1) as take:
        for frames in take.play("a red fox walks in", seconds=4):
            ...  # [F, height, width, 3] uint8, as they are decoded

What is named here is the package's interface (docs/python.md); everything else may change. Importing it costs no torch:
each name is fetched when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memflow_cli.version import __version__ as __version__

if TYPE_CHECKING:
    from memflow_cli.attention_context import AttentionContext as AttentionContext
    from memflow_cli.attention_context import PromptProjection as PromptProjection
    from memflow_cli.backbone import Backbone as Backbone
    from memflow_cli.backbone import Sampling as Sampling
    from memflow_cli.backbone import StreamingDecoder as StreamingDecoder
    from memflow_cli.errors import DeviceError as DeviceError
    from memflow_cli.errors import Interrupted as Interrupted
    from memflow_cli.errors import MemflowError as MemflowError
    from memflow_cli.errors import ModelError as ModelError
    from memflow_cli.errors import OutOfMemoryError as OutOfMemoryError
    from memflow_cli.errors import StoryboardError as StoryboardError
    from memflow_cli.errors import UsageError as UsageError
    from memflow_cli.film.events import ChunkDone as ChunkDone
    from memflow_cli.film.events import Event as Event
    from memflow_cli.film.events import FilmDone as FilmDone
    from memflow_cli.film.events import FilmResult as FilmResult
    from memflow_cli.film.events import FilmStarted as FilmStarted
    from memflow_cli.film.events import FramesShown as FramesShown
    from memflow_cli.film.events import SegmentDone as SegmentDone
    from memflow_cli.geometry import Geometry as Geometry
    from memflow_cli.memory.cast import Casting as Casting
    from memflow_cli.memory.options import MemoryOptions as MemoryOptions
    from memflow_cli.models.entry import ModelEntry as ModelEntry
    from memflow_cli.models.family import Family as Family
    from memflow_cli.pipeline import Shot as Shot
    from memflow_cli.pipeline import Walk as Walk
    from memflow_cli.pipeline import generate_chunks as generate_chunks
    from memflow_cli.story.load import load_storyboard as load_storyboard
    from memflow_cli.story.storyboard import Segment as Segment
    from memflow_cli.story.storyboard import Storyboard as Storyboard
    from memflow_cli.story.storyboard import Subject as Subject
    from memflow_cli.studio.job import Job as Job
    from memflow_cli.studio.studio import Studio as Studio
    from memflow_cli.studio.studio import make as make
    from memflow_cli.studio.studio import take as take
    from memflow_cli.studio.take import Take as Take

__all__ = [
    "AttentionContext",
    "Backbone",
    "Casting",
    "ChunkDone",
    "DeviceError",
    "Event",
    "Family",
    "FilmDone",
    "FilmResult",
    "FilmStarted",
    "FramesShown",
    "Geometry",
    "Interrupted",
    "Job",
    "MemflowError",
    "MemoryOptions",
    "ModelEntry",
    "ModelError",
    "OutOfMemoryError",
    "PromptProjection",
    "Sampling",
    "Segment",
    "SegmentDone",
    "Shot",
    "Storyboard",
    "StoryboardError",
    "StreamingDecoder",
    "Studio",
    "Subject",
    "Take",
    "UsageError",
    "Walk",
    "__version__",
    "generate_chunks",
    "load_storyboard",
    "make",
    "take",
]

_ROOMS = {
    "attention_context": ("AttentionContext", "PromptProjection"),
    "backbone": ("Backbone", "Sampling", "StreamingDecoder"),
    "errors": (
        "DeviceError",
        "Interrupted",
        "MemflowError",
        "ModelError",
        "OutOfMemoryError",
        "StoryboardError",
        "UsageError",
    ),
    "film.events": (
        "ChunkDone",
        "Event",
        "FilmDone",
        "FilmResult",
        "FilmStarted",
        "FramesShown",
        "SegmentDone",
    ),
    "geometry": ("Geometry",),
    "memory.cast": ("Casting",),
    "memory.options": ("MemoryOptions",),
    "models.entry": ("ModelEntry",),
    "models.family": ("Family",),
    "pipeline": ("Shot", "Walk", "generate_chunks"),
    "story.load": ("load_storyboard",),
    "story.storyboard": ("Segment", "Storyboard", "Subject"),
    "studio.job": ("Job",),
    "studio.studio": ("Studio", "make", "take"),
    "studio.take": ("Take",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
