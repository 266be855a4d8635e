"""What theatre answers, and every model with its autoencoder: Wan's transformer, few words, one size of picture."""

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.theatre import vocabulary
from memflow_cli.models.wan.family import WanFamily


class TheatreFamily(WanFamily):
    autoencoders = ("PatchAutoencoder",)
    takes_preview_decoder = False
    keeps_films = True

    def unknown_words(self, prompt: str) -> list[str]:
        return vocabulary.unknown_words(prompt)

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

    def decoder_bytes(self, entry: ModelEntry, width: int, height: int, itemsize: int) -> int:
        return 0  # megabytes


FAMILY = TheatreFamily()
