"""All that a film is made from, worked out once: the resolved storyboard, its plan, and its recipe. No torch.

storyboard -> PlannedStory (no file of the model is looked at) -> ShootingScript (the model's files told from others)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memflow_cli.film.recipe import FilmModel, Recipe, make_recipe, recipe_segments, resolve
from memflow_cli.film.trace import TraceHeader
from memflow_cli.story.places import Places
from memflow_cli.story.plan import FilmPlan, derive_seed, plan_film
from memflow_cli.story.storyboard import Segment, Storyboard
from memflow_cli.version import __version__


@dataclass(frozen=True)
class PlannedStory:
    """A storyboard with all that the model decides filled in, and its plan.

    The storyboard's seed is None as long as none was drawn; the plan then is that of seed 0. `places`: where the
    storyboard's fields stand, if it was read from a file.
    """

    storyboard: Storyboard
    plan: FilmPlan
    places: Places | None = None

    def with_seed(self, seed: int) -> "PlannedStory":
        """With this seed, unless the storyboard names one. Only seeds change: nothing is planned again."""
        if self.storyboard.seed is not None:
            return self
        segments = tuple(
            planned if asked.seed is not None else replace(planned, seed=derive_seed(seed, planned.index))
            for planned, asked in zip(self.plan.segments, self.storyboard.segments, strict=True)
        )
        return replace(
            self, storyboard=replace(self.storyboard, seed=seed), plan=replace(self.plan, seed=seed, segments=segments)
        )


@dataclass(frozen=True)
class ShootingScript:
    """A film before it is made. It says nothing of machines: `recipe_on` does.

    `storyboard`: resolved, with its seed. `model`: what the film's record says of its model.
    """

    storyboard: Storyboard
    plan: FilmPlan
    recipe: Recipe
    model: Mapping[str, Any]

    def recipe_on(self, machine: Mapping[str, str]) -> Recipe:
        """The recipe with what the film's bytes depend on besides: device, precision, versions."""
        return replace(self.recipe, common={**self.recipe.common, **machine})

    def with_segments(self, segments: Sequence[Segment]) -> "ShootingScript":
        """The same film with other segments; nothing else is worked out again."""
        storyboard = replace(self.storyboard, segments=tuple(segments))
        plan = plan_film(storyboard, self.plan.geometry)
        recipe = Recipe(self.recipe.common, recipe_segments(plan, storyboard))
        return replace(self, storyboard=storyboard, plan=plan, recipe=recipe)

    @property
    def trace_header(self) -> TraceHeader:
        return TraceHeader(__version__, self.storyboard.model, str(self.storyboard.memory.policy), self.plan)


def plan_story(storyboard: Storyboard, model: FilmModel) -> PlannedStory:
    """Raises UsageError for a size or a memory that the model cannot have."""
    resolved = resolve(storyboard, model)
    return PlannedStory(resolved, plan_film(resolved, model.geometry))


def write_script(
    planned: PlannedStory, model: FilmModel, seed: int = 0, preview_decoder: Path | None = None
) -> ShootingScript:
    """`seed`: of a storyboard that names none. `preview_decoder`: the file that decodes in place of the model's own.

    The model's files are read, as far as they are local, to be told from others.
    """
    planned = planned.with_seed(seed)
    recipe = make_recipe(planned.storyboard, planned.plan, model, preview_decoder)
    source = recipe.common["model"] | model.source(preview_decoder)
    return ShootingScript(planned.storyboard, planned.plan, recipe, source)
