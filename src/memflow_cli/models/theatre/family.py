"""What theatre answers, and every model with its autoencoder: Wan's transformer, a small world, and a reader of plain English."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.family import LoadOptions
from memflow_cli.models.theatre.language import vocabulary
from memflow_cli.models.wan.family import WanFamily

if TYPE_CHECKING:
    import torch

    from memflow_cli.backbone import Backbone


class TheatreFamily(WanFamily):
    autoencoders = ("PatchAutoencoder",)
    takes_preview_decoder = False
    keeps_films = True

    def load(
        self, entry: ModelEntry, device: torch.device, dtype: torch.dtype, options: LoadOptions = LoadOptions()
    ) -> Backbone:
        from memflow_cli.models.theatre.language.told_story import picture_captioner, scene_reader, story_reader
        from memflow_cli.models.wan.loading import load

        return load(entry, device, dtype, options, story_reader(entry), picture_captioner(entry), scene_reader(entry))

    def check(self, entry: ModelEntry) -> Iterator[str]:
        from memflow_cli.models.theatre.language.told_story import load_reader, reader_folder

        yield from super().check(entry)
        if (folder := reader_folder(entry)) is not None:
            yield f"reader: {len(load_reader(folder).vocabulary.words):,} words"

    def token_limit(self, entry: ModelEntry) -> int | None:
        return None if self._reads(entry) else entry.text_len

    def unknown_words(self, prompt: str) -> list[str]:
        return []

    def meanings(
        self, entry: ModelEntry, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
    ) -> list[str] | None:
        from memflow_cli.models.theatre.language.told_story import meanings_of

        found = meanings_of(entry, prompts, cuts, pictured)
        return None if found is None else [meaning.in_words() for meaning in found]

    def not_shown(
        self,
        entry: ModelEntry,
        prompts: Sequence[str],
        cuts: Sequence[bool],
        pictured: Sequence[str] = (),
        places: Sequence[tuple[int, str]] = (),
    ) -> list[str]:
        from memflow_cli.models.theatre.language.limits import cannot_draw
        from memflow_cli.models.theatre.language.told_story import meanings_of, setting_of

        meanings = meanings_of(entry, prompts, cuts, pictured) or []
        noted = [f"{note} (segment {index})" for index, item in enumerate(meanings, start=1) for note in item.notes]
        for index, description in places if meanings else ():
            meaning = meanings[index]
            if not meaning.says_where and meaning.setting != setting_of(entry, description):
                noted.append(
                    f"theatre knows no place by its picture alone: it is {meaning.where}, for the prompt names none of "
                    f"theatre's settings (segment {index + 1})"
                )
        return [*cannot_draw(prompts), *noted]

    def _reads(self, entry: ModelEntry) -> bool:
        from memflow_cli.models.theatre.language.told_story import reader_folder

        return reader_folder(entry) is not None

    def vocabulary(self) -> dict[str, list[str]]:
        sides = " or ".join(vocabulary.SIDES)
        dresses = [f"a {colour} {thing}" for thing in vocabulary.ACCESSORIES for colour in vocabulary.ACCESSORY_COLOURS]
        return {
            "puppets": list(vocabulary.SPECIES),
            "colours": list(vocabulary.COLOURS),
            "wearing": dresses,
            "settings": [phrase for phrases in vocabulary.SETTINGS.values() for phrase in phrases],
            "actions": [phrase.format(side=sides) for phrases in vocabulary.ACTIONS.values() for phrase in phrases],
            "nobody": [
                *(scene.format(setting="meadow") for scene in vocabulary.EMPTY_SCENES),
                *vocabulary.EMPTY_PLACES,
            ],
        }

    def make_tiny(self, entry: ModelEntry, folder: Path) -> None:
        import torch

        from memflow_cli.models.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder
        from memflow_cli.models.wan.tiny import write_shared

        entry = replace(entry, geometry=replace(entry.geometry, latent_channels=8))
        write_shared(entry, folder)
        sizes = AutoencoderConfig(latent_channels=8, refiner_channels=4, refiner_body_channels=4, refiner_blocks=1)
        autoencoder = PatchAutoencoder(sizes)
        autoencoder.basis.copy_(torch.randn_like(autoencoder.basis) * 0.1)
        autoencoder.save_pretrained(folder / "vae")

    def decoder_bytes(self, entry: ModelEntry, width: int, height: int, itemsize: int) -> int:
        return 0  # megabytes


FAMILY = TheatreFamily()
