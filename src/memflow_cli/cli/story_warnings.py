"""What is to be said of a story's texts before its film is made: what its file says in vain, and words that mean nothing."""

from typing import TYPE_CHECKING

from memflow_cli.cli.talk import warn, warn_of_each

if TYPE_CHECKING:
    from memflow_cli.cli.stories import Story

_MOST_SEGMENTS = 6  # that are named
_MOST_WORDS = 12  # of one segment
_MOST_READ = 1000  # segments; a longer story's beginning tells enough


def warn_of_texts(story: "Story") -> None:
    """Everything that `plan`, `--dry-run` and `generate` say about a story's texts."""
    for warning in story.warnings:
        warn(warning)
    _warn_of_what_memory_ignores(story)
    _warn_of_a_small_bank(story)
    _warn_of_pictures(story)
    _warn_of_unknown_words(story)
    _warn_of_what_is_not_shown(story)


def _warn_of_what_memory_ignores(story: "Story") -> None:
    """`remember`, `forget` and `recall`, where the film's memory does not know who is who."""
    memory = story.storyboard.memory
    said = [
        f"{key} (segment {number})"
        for number, segment in enumerate(story.storyboard.segments, start=1)
        for key in ("remember", "forget", "recall")
        if getattr(segment, key) not in ((), None) or (key == "recall" and segment.recall == ())
    ]
    if said and not memory.knows_names:
        rest = f" and {len(said) - _MOST_SEGMENTS} more" if len(said) > _MOST_SEGMENTS else ""
        listed = ", ".join(said[:_MOST_SEGMENTS])
        knows_nobody = f"the memory policy {memory.policy} does not know who is who"
        reason = "a bank of 0 recalls nothing" if memory.policy == "nam" else knows_nobody
        warn(f"{story.path}: {reason}, and ignores {listed}{rest}")


def _warn_of_a_small_bank(story: "Story") -> None:
    """A frame may show several; where only pictures can, each of them wants a place of its own."""
    from memflow_cli.cli.words import count
    from memflow_cli.story.calls import calls_of

    memory = story.storyboard.memory
    for number, calls in enumerate(calls_of(story.storyboard) if memory.knows_names else (), start=1):
        pictured = [called.name for called in calls if called.source == "picture"]
        if len(pictured) > memory.bank:
            warn(
                f"{story.path}: segment {number} calls {len(pictured)} who are known by their pictures, and the bank holds "
                f"{count(memory.bank, 'frame')}: memory.bank: {len(pictured)} would hold all of them"
            )
            return


def _warn_of_pictures(story: "Story") -> None:
    """A picture that no segment calls is never recalled; and whatever is given stays in memory, however many they are."""
    from memflow_cli.cli.archive_needs import picture_bytes
    from memflow_cli.machine.amounts import size_text

    storyboard = story.storyboard
    called = {name for segment in storyboard.segments for name in (*segment.names, *(segment.recall or ()))}
    uncalled = [name for name, subject in storyboard.subjects.items() if subject.pictures and name not in called]
    for name in uncalled[:_MOST_SEGMENTS]:
        warn(
            f"{story.path}: {name} has a picture, and no segment calls it: write {{{name}}} in a prompt, or names: [{name}]"
        )
    if (taken := picture_bytes(story)) > storyboard.memory.archive_bytes:
        warn(
            f"{story.path}: the given pictures take {size_text(taken)} of memory, more than the archive may "
            f"({size_text(storyboard.memory.archive_bytes)}): of the film itself it keeps next to nothing"
        )


def _warn_of_unknown_words(story: "Story") -> None:
    """A small model knows few words; whoever uses others should hear of it before wondering at the film."""
    from memflow_cli.models.family import family_of

    family = family_of(story.entry)
    told: dict[str, list[str]] = {}  # prompts repeat; each is looked through once
    named: list[str] = []
    more = 0
    for number, segment in enumerate(story.storyboard.segments, start=1):
        if segment.prompt not in told:
            told[segment.prompt] = family.unknown_words(segment.prompt)
        if not (words := told[segment.prompt]):
            continue
        if len(named) == _MOST_SEGMENTS:
            more += 1
            continue
        rest = f" and {len(words) - _MOST_WORDS} more" if len(words) > _MOST_WORDS else ""
        named.append(f"segment {number}: {', '.join(words[:_MOST_WORDS])}{rest}")
    if named:
        others = f"; and in {more} more segments" if more else ""
        warn(
            f"{story.path}: {story.entry.name} has never seen these words and may ignore them: {'; '.join(named)}{others}"
        )


def _warn_of_what_is_not_shown(story: "Story") -> None:
    """What the model cannot show, by concept, and what it takes otherwise than it is written."""
    from memflow_cli.models.family import family_of

    segments = story.plan.segments[:_MOST_READ]
    cuts = [segment.transition == "cut" for segment in segments]
    prompts, pictured = [segment.prompt for segment in segments], story.storyboard.pictured_descriptions
    places = [(index, told) for index, told in story.storyboard.pictured_places if index < len(prompts)]
    told = family_of(story.entry).not_shown(story.entry, prompts, cuts, pictured, places)
    warn_of_each(told, about=f"{story.path}: ")
