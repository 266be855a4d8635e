"""What a shell offers for an option's value: names of models, and choices that the option takes as plain text."""

from collections.abc import Callable


def model_names(incomplete: str) -> list[str]:
    """Known models that begin so; a path is completed by the shell itself."""
    from memflow_cli.models.catalog import known_models

    return [entry.name for entry in known_models()[0] if entry.name.startswith(incomplete)]


def one_of(*choices: str) -> Callable[[str], list[str]]:
    """For an option that takes one of these."""

    def offered(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return offered
