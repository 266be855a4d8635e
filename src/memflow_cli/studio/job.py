"""A film to be made: everything that has to be known of it, worked out once. No torch."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memflow_cli.film.script import PlannedStory, ShootingScript, write_script
from memflow_cli.models.catalog import find_model
from memflow_cli.models.entry import Lora, ModelEntry

_RANDOM_SEED_BITS = 32


@dataclass(frozen=True)
class Job:
    """One film, `out`, with all that it is made from. It pickles: another process, or another machine, may make it.

    `model`: what finds the model again, a name or a path. `preview_decoder`: the file that decodes in place of the model's
    own autoencoder. `resume`: go on with what an earlier run has left. `keep`: leave the run folder beside the film.
    """

    script: ShootingScript
    model: str
    out: Path
    loras: tuple[Lora, ...] = ()
    preview_decoder: Path | None = None
    resume: bool = True
    keep: bool = False

    def find_entry(self) -> ModelEntry:
        """The model's entry on the machine at hand. Raises ModelError."""
        return replace(find_model(self.model), loras=self.loras)

    @property
    def prompts(self) -> Sequence[str]:
        return [segment.prompt for segment in self.script.plan.segments]


def make_job(
    planned: PlannedStory,
    entry: ModelEntry,
    out: Path,
    seed: int,
    *,
    preview_decoder: Path | None = None,
    resume: bool = True,
    keep: bool = False,
) -> Job:
    """`seed`: of a storyboard that names none."""
    script = write_script(planned, entry, seed, preview_decoder)
    address = entry.given_as or entry.name
    return Job(script, address, out, entry.loras, preview_decoder, resume, keep)


def draw_seed() -> int:
    return secrets.randbits(_RANDOM_SEED_BITS)
