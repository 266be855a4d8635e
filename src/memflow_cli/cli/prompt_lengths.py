"""Prompts that are longer than the model reads: told before a film is made, for what is lost is lost silently."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memflow_cli.cli.talk import warn
from memflow_cli.errors import ModelError

if TYPE_CHECKING:
    from memflow_cli.cli.stories import Story
    from memflow_cli.models.text.prompt_tokens import PromptTokenizer

_MOST_NAMED = 6  # segments


@dataclass(frozen=True)
class LostTokens:
    """Tokens that each segment's prompt loses at its end. Not `is_exact`: the tokenizer is not here, so at least these."""

    of_segment: tuple[int, ...]
    is_exact: bool = True


def lost_tokens(story: "Story") -> LostTokens:
    """What the model does not read of a story's prompts. The tokenizer is read only if a prompt may be too long."""
    from memflow_cli.models.family import family_of
    from memflow_cli.models.text.prompt_tokens import most_tokens

    prompts = [segment.prompt for segment in story.plan.segments]
    text_len = family_of(story.entry).token_limit(story.entry)
    if text_len is None:
        return LostTokens((0,) * len(prompts), is_exact=False)
    long = {prompt for prompt in prompts if most_tokens(prompt) > text_len}
    if not long:
        return LostTokens((0,) * len(prompts))
    tokenizer = _tokenizer(story)
    lost = {prompt: max(0, _count(prompt, tokenizer) - text_len) for prompt in long}
    return LostTokens(tuple(lost.get(prompt, 0) for prompt in prompts), is_exact=tokenizer is not None)


def warn_of_lost_tokens(story: "Story", lost: LostTokens) -> None:
    """One warning for all of a film's prompts that are cut."""
    cut = [(index, count) for index, count in enumerate(lost.of_segment, start=1) if count]
    if not cut:
        return
    least = "" if lost.is_exact else "at least "
    named = ", ".join(f"{least}{count} of segment {index}" for index, count in cut[:_MOST_NAMED])
    more = f" and some of {len(cut) - _MOST_NAMED} more" if len(cut) > _MOST_NAMED else ""
    warn(
        f"{story.path}: {story.entry.name} reads {story.entry.text_len} tokens of a prompt; "
        f"lost at the end: {named}{more}"
    )


def _count(prompt: str, tokenizer: "PromptTokenizer | None") -> int:
    """A prompt's tokens; without a tokenizer, the fewest that it can have."""
    from memflow_cli.models.text.prompt_tokens import clean_prompt, least_tokens

    return least_tokens(prompt) if tokenizer is None else len(tokenizer.ids(clean_prompt(prompt)))


def _tokenizer(story: "Story") -> "PromptTokenizer | None":
    from memflow_cli.models.family import family_of
    from memflow_cli.models.text.prompt_tokens import PromptTokenizer

    folder = family_of(story.entry).tokenizer_folder(story.entry)
    try:
        return None if folder is None else PromptTokenizer(folder)
    except ModelError:
        return None  # making the film will say so
