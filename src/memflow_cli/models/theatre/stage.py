"""What a story has established so far, and what each of its prompts adds: `read_story`.

What a prompt does not say stays as it is: who is on stage, how they look, where it is. Nobody leaves who is not told to.
A prompt that is a caption as theatre was trained on stays as it is written, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from memflow_cli.models.theatre.blocking import Blocking
from memflow_cli.models.theatre.cast import Member, Scenes, Told, clear_for_scene, tells_of_others_elsewhere
from memflow_cli.models.theatre.corrections import (
    arrived,
    both_there,
    is_there,
    of_those_named,
    on_the_sand,
    one_back,
    reading_of,
    with_somebody_there,
    with_those_met,
    without_who_is_gone,
    without_who_is_not_back,
)
from memflow_cli.models.theatre.looks import is_as_trained, leaves_to_pictures, looks_of, says_looks
from memflow_cli.models.theatre.meaning import Act, Meaning, Role
from memflow_cli.models.theatre.naming import take_names
from memflow_cli.models.theatre.pronouns import Pronouns
from memflow_cli.models.theatre.reader import NOTHING_READ, Reader, Reading, Seen
from memflow_cli.models.theatre.speech import is_name_in, plainly_said, quoted
from memflow_cli.models.theatre.trained_captions import (
    MOST_WORDS,
    read_caption,
    write_empty_caption,
)
from memflow_cli.models.theatre.vocabulary import SETTINGS, SPECIES
from memflow_cli.models.theatre.wording import (
    in_active_words,
    lacks_subject,
    where_they_have_gone,
    who_is_gone,
    who_is_met,
    with_colour_first,
    with_species,
    with_the_same_looks,
    with_what_was_done,
    without_comparisons,
    without_dressing,
    without_strangers,
    without_the_missing,
    without_what_is_not_worn,
)
from memflow_cli.models.theatre.words import COMMA, MAX_WORDS, UNKNOWN, Word, sentences

FIRST_SETTING = next(iter(SETTINGS))  # of a story that never says where it is
_DRESSES = re.compile(
    r"(put|wear|get|gett|got|take|tak|took|gave|give|giv|receive)(s|ing)?|wore|own|another|both|too|also"
)
_INTO = re.compile(r"\b(?:in|on)?to (?:the|an?) (?=(\w+))(?=(\w+ \w+)?)")
_SHORT = 8  # words of a sentence that may do no more than give a name
_FOREIGN = 0.25  # share of words that no English vocabulary has, from which on a text is none


class Stage:
    """A story being read, prompt by prompt."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cast: dict[str, Member] = {}  # in the order of their introduction
        self._introduced: list[str] = []  # in the order in which they were told of
        self._recent: list[str] = []  # species, most recently mentioned first
        self._names: dict[str, str] = {}
        self._setting: str | None = None
        self._scenes = Scenes()
        self._last_deed: str | None = None
        self._pronouns = Pronouns()
        self._species_of = cache(self._named_by)
        self._is_open = False  # whether any prompt was read

    def meet(self, description: str) -> Told:
        """Who is described so has a picture: how they look is known before the story begins, as if they had been seen."""
        told = Told()
        standing = f"{description.rstrip(' .!')} stands still."
        caption = read_caption(standing)
        if caption is not None:
            self._take(reading_of(caption), told)
        else:
            self._take_sentences(standing, told)
        for member in map(self._cast.__getitem__, told.newcomers):
            member.is_pictured = member.was_seen = True
            member.is_on_stage = False
        return told

    def read(self, prompt: str, cut: bool = False) -> Meaning:
        """The next prompt's meaning."""
        opens = cut or not self._is_open
        self._is_open = True
        before = [member for member in self._cast.values() if member.is_on_stage]
        caption = read_caption(prompt)
        told = Told()
        if caption is not None:
            self._take(reading_of(caption), told)
        else:
            self._take_sentences(prompt, told, cut)
            if told.setting is None and self._setting is None:
                told.setting = self._place_entered(prompt)
        is_elsewhere = caption is None and tells_of_others_elsewhere(told, before, self._setting)
        if is_elsewhere or (opens and cut):
            opens = True
            clear_for_scene(self._cast.values(), told, before, self._setting)
            before = []
        moved = told.setting is not None and told.setting != self._setting
        self._setting = told.setting or self._setting or FIRST_SETTING
        acts = Blocking(self._cast, self._recent, told).acts(before, opens)
        self._introduce(told.newcomers, acts)
        roles = self.roles(told, acts)
        is_apart = self._scenes.show(self._setting, {role.species for role in roles}, self._cast, cut)
        is_short = len(prompt.split()) < MOST_WORDS
        stays = caption is not None and is_short and is_as_trained(caption, roles)
        written = prompt if caption and stays and leaves_to_pictures(caption, prompt, self._cast) else None
        names_setting = opens or moved or told.setting is not None
        return Meaning(
            self._setting, roles, names_setting, written, tuple(told.notes), told.setting is not None, is_apart
        )

    def _introduce(self, newcomers: Sequence[str], acts: Mapping[str, Sequence[Act]]) -> None:
        """Two who come in at once are introduced from left to right, as two are who open a scene."""
        from_right = {species: Act("enter", "right") in acts.get(species, ()) for species in newcomers}
        for species in sorted(newcomers, key=from_right.__getitem__):
            self._cast[species] = self._cast.pop(species)

    def roles(self, told: Told, acts: Mapping[str, Sequence[Act]]) -> tuple[Role, ...]:
        """Those who act, in the order of their introduction."""
        return tuple(
            Role(member.species, *looks_of(member, told), tuple(acts[member.species]), says_looks(member, told))
            for member in self._cast.values()
            if member.species in acts
        )

    # reading

    def _take_sentences(self, prompt: str, told: Told, cut: bool = False) -> None:
        """Each sentence in the light of those before it. A name that comes before whoever bears it is kept until then."""
        nameless, unknown, num_words, understood = [], 0, 0, False
        for words in self._sentences(plainly_said(prompt)):
            words, gone = who_is_gone(self._in_plain_words(words, cut), self._present(), self._species_of)
            reading = self._read(words)
            reading = on_the_sand(reading, words, told.setting or self._setting)
            there = self._reader.species_named(words)
            gone = [(species, colour) for species, colour in gone if species not in there]
            reading = without_who_is_gone(self._corrected(reading, words, cut), gone, self._cast)
            self._take(reading, told, words)
            self._pronouns.learn(words, self._introduced)
            num_words += len(words)
            unknown += sum(word.row == UNKNOWN for word in words)
            understood = understood or bool(reading.acts or reading.setting or reading.is_empty)
            if not reading.acts and len(words) <= _SHORT:
                nameless += [word.written for word in words if is_name_in(prompt, word, self._reader.vocabulary)]
        if nameless and len(told.newcomers) == 1 and told.newcomers[0] not in self._names.values():
            self._names |= dict.fromkeys(nameless, told.newcomers[0])
        if not understood and unknown > _FOREIGN * num_words:
            told.notes.append(f"theatre reads English and understood nothing of {quoted(prompt)}; all stays as it was")

    def _read(self, words: Sequence[Word]) -> Reading:
        """A sentence. One without a subject ("Then jumps.") tells of whom the one before did."""
        known = self._known()
        reading = self._reader.read(words, known, self._setting)
        num_here = sum(seen.is_on_stage for seen in known)
        if reading != NOTHING_READ or not num_here or not lacks_subject(words):
            return reading
        subject = "they" if num_here > 1 and not lacks_subject(words, ending="s") else "it"
        again = self._reader.read([self._reader.vocabulary.word(subject), *words], known, self._setting)
        goes_nowhere = any(acts[-1] == ("leave", "") for acts in again.acts.values())  # "Leaves on the ground."
        return reading if goes_nowhere and len(words) > 2 else again

    def _corrected(self, reading: Reading, words: Sequence[Word], cut: bool) -> Reading:
        named = self._reader.species_named(words)
        reading = of_those_named(reading, self._cast, named)
        reading = with_those_met(reading, who_is_met(words, self._species_of), self._cast, named)
        reading = with_somebody_there(without_who_is_not_back(reading, words), words)
        if cut:
            reading = arrived(reading, words)
        two = sorted(self._recent, key=lambda species: not self._cast[species].is_on_stage)[:2]
        if not named:
            reading = one_back(reading, words, self._cast)
        if named or all(self._cast[species].is_on_stage for species in two):
            return reading
        return both_there(reading, words, two)

    def _place_entered(self, prompt: str) -> str | None:
        """Of a story's first prompt that names a place only as the one that somebody enters: "a robot marches into the city"."""
        places = (
            f"in the {place}" for match in _INTO.finditer(plainly_said(prompt)) for place in match.groups() if place
        )
        settings = (self._reader.read(self._reader.vocabulary.read(place), (), None).setting for place in places)
        return next((setting for setting in settings if setting), None)

    def _first_mentions(self, words: Sequence[Word]) -> dict[str, int]:
        """Of each species that the words name, the place of the first that does."""
        mentions: dict[str, int] = {}
        for place, word in enumerate(words):
            species = self._species_of(word)
            if species is not None:
                mentions.setdefault(species, place)
        return mentions

    def _sentences(self, prompt: str) -> Iterator[list[Word]]:
        """Each sentence's words, in pieces that the reader takes; names that the story gave are put in plain words."""
        for sentence in sentences(prompt):
            known = self._recent[0] if self._recent else None
            plain, names = take_names(
                self._without_names(sentence), self._species_in, known, self._reader.vocabulary.is_word
            )
            self._names |= names
            words = self._reader.vocabulary.read(plain)
            while len(words) > MAX_WORDS:
                commas = [place for place, word in enumerate(words[:MAX_WORDS]) if word.row == COMMA]
                end = commas[-1] if commas and commas[-1] > MAX_WORDS // 3 else MAX_WORDS
                yield words[:end]
                words = words[end:]
            if words:
                yield words

    def _without_names(self, sentence: str) -> str:
        """A name that is a word, too ("Snowy"), is one only where it has a capital."""
        for name, species in self._names.items():
            written = name.capitalize() if self._reader.vocabulary.is_word(name) else f"(?i:{name})"
            sentence = re.sub(rf"\b{written}\b", species, sentence)
        return sentence

    def _species_in(self, text: str) -> list[str]:
        named = map(self._species_of, self._reader.vocabulary.read(text))
        return [species for species in named if species is not None]

    def _in_plain_words(self, words: list[Word], cut: bool) -> list[Word]:
        """A sentence as the reader takes it best, in the light of the story."""
        vocabulary = self._reader.vocabulary
        words = self._pronouns.resolved(words, self._introduced, self._species_of, vocabulary)
        if cut:
            words = where_they_have_gone(without_the_missing(words, self._species_of), self._species_of, vocabulary)
        words = without_dressing(words, self._species_of, vocabulary)
        words = with_what_was_done(words, self._last_deed, self._species_of, vocabulary)
        words = in_active_words(words, self._species_of, vocabulary)
        words = with_colour_first(words, self._species_of, vocabulary)
        words = without_strangers(without_what_is_not_worn(words, self._species_of), self._species_of)
        bare = without_comparisons(words, self._species_of)
        words = bare if self._cast or self._reader.species_named(bare) else words
        present = self._present()
        members = [self._cast[species] for species in (present if len(present) > 1 else self._introduced)]
        words = with_species(words, members, self._species_of, vocabulary)
        return with_the_same_looks(words, members, self._species_of, vocabulary)

    def _present(self) -> list[str]:
        """Who is on stage, in the order in which the story told of them."""
        return [species for species in self._introduced if self._cast[species].is_on_stage]

    def _named_by(self, word: Word) -> str | None:
        return next(iter(self._reader.species_named([word])), None)

    def _known(self) -> list[Seen]:
        members = [self._cast[species] for species in self._recent]
        return [Seen(member.species, member.colour, member.worn, member.is_on_stage) for member in members]

    def _take(self, reading: Reading, told: Told, words: Sequence[Word] = ()) -> None:
        """A sentence, in the light of which the next one is read. `words`: those in whose order somebody new is introduced."""
        told.setting = reading.setting or told.setting
        meant = {species: acts for species, acts in reading.acts.items() if not self._is_another(species, reading)}
        newcomers = [species for species in meant if species not in self._cast]
        mentions = self._first_mentions(words) if len(newcomers) > 1 else {}
        for species in sorted(newcomers, key=lambda species: mentions.get(species, len(words))):
            self._cast[species] = Member(species)
            told.newcomers.append(species)
            self._introduced.append(species)
        for species, acts in meant.items():
            member = self._cast[species]
            told.acts.setdefault(species, []).extend(acts)
            self._last_deed = acts[-1][0] if acts[-1][0] not in ("idle", "stand") else self._last_deed
            if species in reading.colours:
                if member.is_on_stage and member.colour not in (None, reading.colours[species]):
                    told.notes.append(
                        f"theatre shows one {species} at a time; the {member.colour} one is {reading.colours[species]} now"
                    )
                member.colour = reading.colours[species]
                told.described.add(species)
            its_own = species in newcomers or not self._is_another_s(species, reading.worn.get(species), words)
            if species in reading.worn and its_own:
                kind, colour = reading.worn[species]
                if colour is None and member.worn is not None and member.worn[0] == kind:
                    colour = member.worn[1]
                member.worn = kind, colour
                told.described.add(species)
            member.is_on_stage = is_there(acts)
        if reading.is_empty:
            told.is_empty = True
            for member in self._cast.values():
                member.is_on_stage = False
        elif any(self._cast[species].is_on_stage for species in meant):
            told.is_empty = False
        lively_first = sorted(meant, key=lambda species: meant[species][-1][0] in ("idle", "stand"))
        self._recent = lively_first + [species for species in self._recent if species not in meant]
        self._names |= {name: species for name, species in reading.names.items() if name not in SPECIES}

    def _is_another(self, species: str, reading: Reading) -> bool:
        """Whether a known puppet is told of in a colour that is not its own but another's who is told of, too: that one is
        meant ("the red one").
        """
        known, colour = self._cast.get(species), reading.colours.get(species)
        if known is None or known.colour in (None, colour) or colour is None:
            return False
        others = [self._cast.get(other) for other in reading.acts if other != species]
        return any(other is not None and other.colour == colour for other in others)

    def _is_another_s(self, species: str, worn: tuple[str, str | None] | None, words: Sequence[Word]) -> bool:
        """Whether what a known puppet is read to wear is what another does, and no word says that it has its own."""
        if (
            worn is None
            or not words
            or self._cast[species].wears(worn[0], None)
            or any(_DRESSES.fullmatch(word.known_as) for word in words)
        ):
            return False
        return any(other.wears(*worn) for other in self._cast.values() if other.species != species)


def read_story(
    reader: Reader, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
) -> list[Meaning]:
    """The meaning of each prompt after those before it. `cuts`: where a prompt begins a new scene; `pictured`: the
    descriptions of characters whose pictures say how they look.
    """
    stage = Stage(reader)
    for description in pictured:
        stage.meet(description)
    return [stage.read(prompt, cut) for prompt, cut in zip(prompts, cuts, strict=True)]


def setting_in(reader: Reader, description: str) -> str | None:
    """The setting that a place's description names, if it names one."""
    return Stage(reader).meet(description).setting


def picture_caption(reader: Reader, description: str) -> str:
    """The caption of a picture that shows whom, or the place that, this describes; the description where neither is found."""
    stage = Stage(reader)
    told = stage.meet(description)
    standing = {species: (Act("stand"),) for species in told.newcomers}
    if standing:
        return Meaning(told.setting or FIRST_SETTING, stage.roles(told, standing), told.setting is not None).caption
    return description if told.setting is None else write_empty_caption(told.setting)
