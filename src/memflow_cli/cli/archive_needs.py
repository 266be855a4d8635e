"""What remembered frames, and given pictures among them, take of a computer's memory. No torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memflow_cli.cli.stories import Story

CACHE_ITEMSIZE = 2  # keys and values are kept in 16 bits on a GPU; on a CPU they may take twice that


def picture_bytes(story: "Story") -> int:
    """What the given pictures take of the archive, whose budget they do not heed."""
    storyboard = story.storyboard
    if not storyboard.memory.knows_names:
        return 0
    characters, places = (
        sum(len(subject.pictures) for subject in subjects.values())
        for subjects in (storyboard.characters, storyboard.places)
    )
    return prototype_bytes(story) * (characters * (2 if storyboard.memory.mirror_pictures else 1) + places)


def prototype_bytes(story: "Story") -> int:
    """What a remembered latent frame takes of the archive."""
    plan, geometry = story.plan, story.plan.geometry
    kept = geometry.kv_bytes_per_frame(plan.width, plan.height, CACHE_ITEMSIZE, story.storyboard.memory.kv)
    return kept + geometry.query_bytes_per_frame(plan.width, plan.height, CACHE_ITEMSIZE)
