"""What a story has established so far, and what each of its prompts adds: `read_story`.

What a prompt does not say stays as it is: who is on stage, how they look, where it is. Nobody leaves who is not told to.
A prompt that is a caption as theatre was trained on stays as it is written, too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from memflow_cli.models.theatre.language.blocking import Blocking
from memflow_cli.models.theatre.language.cast import Member, Scenes, Told, clear_for_scene, tells_of_others_elsewhere
from memflow_cli.models.theatre.language.clauses import and_they, clauses_of
from memflow_cli.models.theatre.language.corrections import (
    alike,
    arrived,
    both_there,
    is_there,
    leaves_if_told,
    of_those_named,
    on_the_sand,
    one_back,
    one_leaves,
    one_of_them,
    reading_of,
    unanswered,
    with_somebody_there,
    with_those_met,
    with_who_is_named,
    without_who_is_gone,
    without_who_is_not_back,
)
from memflow_cli.models.theatre.language.looks import is_as_trained, leaves_to_pictures, looks_of, says_looks
from memflow_cli.models.theatre.language.meaning import Act, Meaning, Role
from memflow_cli.models.theatre.language.places import stay_in_place, without_places
from memflow_cli.models.theatre.language.plain_words import PlainWords
from memflow_cli.models.theatre.language.reader import NOTHING_READ, Reader, Reading, Seen
from memflow_cli.models.theatre.language.speech import is_name_in, quoted
from memflow_cli.models.theatre.language.trained_captions import (
    MOST_WORDS,
    read_caption,
    write_empty_caption,
)
from memflow_cli.models.theatre.language.turns import turns_told, with_those_who_went_too
from memflow_cli.models.theatre.language.vocabulary import SETTINGS
from memflow_cli.models.theatre.language.whereabouts import is_about_a_place
from memflow_cli.models.theatre.language.wording import lacks_subject, who_is_gone, who_is_met
from memflow_cli.models.theatre.language.words import UNKNOWN, Word

FIRST_SETTING = next(iter(SETTINGS))  # of a story that never says where it is
_DRESSES = re.compile(
    r"(put|wear|get|gett|got|take|tak|took|gave|give|giv|receive)(s|ing)?|wore|own|another|both|too|also"
)
_SHORT = 8  # words of a sentence that may do no more than give a name
_FOREIGN = 0.25  # share of words that no English vocabulary has, from which on a text is none


class Stage:
    """A story being read, prompt by prompt."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cast: dict[str, Member] = {}  # in the order of their introduction
        self._introduced: list[str] = []  # in the order in which they were told of
        self._recent: list[str] = []  # species, most recently mentioned first
        self._words = PlainWords(reader)
        self._setting: str | None = None
        self._scenes = Scenes()
        self._species_of = self._words.species_of
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
            self._take_sentences(prompt, told, opens, cut)
            if told.setting is None and (cut or self._setting is None):
                told.setting = self._words.place_of(prompt)
        is_elsewhere = caption is None and tells_of_others_elsewhere(told, before, self._setting)
        if is_elsewhere or (opens and cut):
            opens = True
            clear_for_scene(self._cast.values(), told, before, self._setting)
            before = []
        moved = told.setting is not None and told.setting != self._setting
        self._setting = told.setting or self._setting or FIRST_SETTING
        acts = Blocking(self._cast, self._recent, told).acts(before, opens)
        self._introduce(told, acts)
        roles = self.roles(told, acts)
        is_apart = self._scenes.show(self._setting, {role.species for role in roles}, self._cast, cut)
        is_short = len(prompt.split()) < MOST_WORDS
        stays = caption is not None and is_short and is_as_trained(caption, roles)
        written = prompt if caption and stays and leaves_to_pictures(caption, prompt, self._cast) else None
        names_setting = opens or moved or told.setting is not None
        return Meaning(
            self._setting, roles, names_setting, written, tuple(told.notes), told.setting is not None, is_apart
        )

    def _introduce(self, told: Told, acts: Mapping[str, Sequence[Act]]) -> None:
        """Two who come in at once are introduced from left to right, as two are who open a scene."""

        def order(species: str) -> tuple[int, bool]:
            is_right = Act("enter", "right") in acts.get(species, ()) or told.sides.get(species) == "right"
            return told.turn(species)[0], is_right

        for species in sorted(told.newcomers, key=order):
            self._cast[species] = self._cast.pop(species)

    def roles(self, told: Told, acts: Mapping[str, Sequence[Act]]) -> tuple[Role, ...]:
        """Those who act, in the order of their introduction."""
        return tuple(
            Role(who, *looks_of(member, told), tuple(acts[who]), says_looks(member, told), told.turn(who))
            for who, member in self._cast.items()
            if who in acts
        )

    # reading

    def _take_sentences(self, prompt: str, told: Told, opens: bool = True, cut: bool = False) -> None:
        """Each sentence in the light of those before it. A name that comes before whoever bears it is kept until then."""
        nameless, unknown, num_words, understood = [], 0, 0, False
        for words in self._words.sentences(prompt, lambda: self._recent[0] if self._recent else None):
            words = self._words.plain(words, self._cast, self._introduced, cut)
            words, gone = who_is_gone(words, self._present(), self._species_of)
            words, reading = self._read_with_places(words, told, opens)
            reading = unanswered(reading, words, self._cast, self._present()) if self._words.asks else reading
            reading = on_the_sand(reading, words, told.setting or self._setting)
            if not opens and not is_about_a_place(words):
                reading = replace(reading, setting=None)
            there = self._reader.species_named(words)
            gone = [(species, colour) for species, colour in gone if species not in there]
            reading = without_who_is_gone(self._corrected(reading, words, told, cut), gone, self._cast)
            told.turns = dict.fromkeys((species for species, _ in gone), (told.next_turn, 0)) | told.turns
            introduced = list(self._introduced)
            self._take(reading, told, words)
            self._words.learn(words, introduced, self._introduced, reading.names)
            num_words += len(words)
            unknown += sum(word.row == UNKNOWN for word in words)
            understood = understood or bool(reading.acts or reading.setting or reading.is_empty)
            if not reading.acts and len(words) <= _SHORT:
                nameless += [word.written for word in words if is_name_in(prompt, word, self._reader.vocabulary)]
        if nameless and len(told.newcomers) == 1:
            self._words.name(told.newcomers[0], nameless)
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

    def _read_clauses(self, words: Sequence[Word]) -> Reading:
        """A sentence in which one does this and the other that, clause by clause."""
        if clauses := and_they(words):
            first = self._read(clauses[0])
            here = [*self._present(), *(who for who, acts in first.acts.items() if is_there(acts))]
            return first.followed_by(alike(self._read(clauses[1]), clauses[1], (), list(dict.fromkeys(here))))
        first, *others = map(self._read, clauses_of(words, self._species_of))
        return first.followed_by(others[0]) if others else first

    def _read_with_places(self, words: list[Word], told: Told, opens: bool) -> tuple[list[Word], Reading]:
        """A sentence, without places that are none to go to ("stands on the left"), if the prompt so tells; and what it says."""
        bare, sides = without_places(words, self._species_of, self._reader.vocabulary, self._present())
        reading = self._read_clauses(bare)
        if not sides:
            return words, reading
        if not stay_in_place(reading, sides, self._present(), opens):
            return words, self._read_clauses(words)
        told.sides |= sides
        return bare, reading

    def _corrected(self, reading: Reading, words: Sequence[Word], told: Told, cut: bool) -> Reading:
        named = self._reader.species_named(words)
        reading = of_those_named(reading, self._cast, named)
        reading = with_those_met(reading, who_is_met(words, self._species_of), self._cast, named)
        reading = with_somebody_there(without_who_is_not_back(reading, words), words, self._present())
        reading = leaves_if_told(alike(reading, words, named, self._present()), words)
        reading = one_leaves(reading, words, self._words.first_mentions(words), told.leaving)
        reading = one_of_them(reading, words, self._recent) if not named else reading
        if not self._words.asks:
            reading = with_those_who_went_too(reading, words, self._species_of, self._cast)
        if not self._cast:
            reading = with_who_is_named(reading, words, named)
        if cut:
            reading = arrived(reading, words)
        two = sorted(self._recent, key=lambda species: not self._cast[species].is_on_stage)[:2]
        if not named:
            reading = one_back(reading, words, self._cast)
        if named or (not cut and all(self._cast[species].is_on_stage for species in two)):
            return reading
        return both_there(reading, words, two, cut)

    def _present(self) -> list[str]:
        """Who is on stage, in the order in which the story told of them."""
        return [species for species in self._introduced if self._cast[species].is_on_stage]

    def _known(self) -> list[Seen]:
        members = [self._cast[species] for species in self._recent]
        return [Seen(member.species, member.colour, member.worn, member.is_on_stage) for member in members]

    def _take(self, reading: Reading, told: Told, words: Sequence[Word] = ()) -> None:
        """A sentence, in the light of which the next one is read. `words`: those in whose order somebody new is introduced."""
        told.setting = reading.setting or told.setting
        meant = {species: acts for species, acts in reading.acts.items() if not self._is_another(species, reading)}
        newcomers = [species for species in meant if species not in self._cast]
        mentions = self._words.first_mentions(words)
        for species in sorted(newcomers, key=lambda species: mentions.get(species, len(words))):
            self._cast[species] = Member(species)
            told.newcomers.append(species)
            self._introduced.append(species)
        told.turns = turns_told(reading, words, mentions, self._species_of, told.next_turn) | told.turns
        for species, acts in meant.items():
            member = self._cast[species]
            told.acts.setdefault(species, []).extend(acts)
            self._words.last_deed = acts[-1][0] if acts[-1][0] not in ("idle", "stand") else self._words.last_deed
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
