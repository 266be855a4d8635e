"""What theatre cannot draw, named before the film by what it is: creatures, people, things, places, deeds, other scripts."""

import re
import unicodedata
from collections.abc import Sequence

from memflow_cli.models.theatre.language.words import WORN, plain_letters

# Of each concept the name that is told, then the words that mean it; a name alone means itself, its plural too.
_CREATURES = """dogs:dog,doggy,puppy,hound,terrier,poodle|dragons|horses:horse,pony,stallion,mare,foal|cows:cow,bull,calf,ox|
people:man,woman,person,people,men,women,lady,gentleman,human,guy|
children:child,children,boy,girl,kid,kids,baby,toddler|kings and queens:king,queen,prince,princess|
knights:knight|wizards and witches:wizard,witch,sorcerer,magician|lions:lion,lioness|tigers|elephants|
monkeys:monkey,ape,gorilla,chimpanzee,orangutan|snakes:snake,serpent,python,cobra|
fish:fish,fishes,goldfish,salmon fish,trout|sharks|whales|dolphins|dinosaurs:dinosaur,tyrannosaurus|
mice and rats:mouse,mice,rat|pigs:pig,piglet,hog|sheep:sheep,lamb|goats|wolves:wolf,wolves|
deer:deer,stag,reindeer,moose,elk|turtles:turtle,tortoise|frogs:frog,toad|spiders|
insects:insect,bee,ant,beetle,ladybug,ladybird,housefly,mosquito,wasp|butterflies:butterfly|ghosts:ghost,phantom|
monsters:monster,beast,ogre,troll|aliens:alien,extraterrestrial|unicorns|zebras|giraffes|camels|
crocodiles:crocodile,alligator|penguins|squirrels|hedgehogs|pandas|koalas|kangaroos|snowmen:snowman|pirates|
soldiers:soldier,army|policemen:policeman,policewoman,police officer|doctors:surgeon,nurse|mermaids|vampires|
zombies:zombie|superheroes:superhero|astronauts|clowns|donkeys:donkey,mule|hamsters:hamster,guinea pig|
crabs:crab,lobster|octopuses:octopus,squid|fairies:fairy,elf,elves,gnome|chickens:chicken,hen,rooster|
geese:goose,swan"""
_THINGS = """cars:car,taxi,cab,limousine|buses:bus driver|trains:locomotive|trucks:truck,lorry|bicycles:bicycle,bike|
motorcycles:motorcycle,motorbike|planes:plane,airplane,aeroplane,helicopter|ships:ship,sailboat,submarine,ferry|
spaceships:spaceship,rocket,ufo|swords:sword,shield,spear|guns:gun,rifle,pistol,cannon|umbrellas|
glasses:spectacles,sunglasses,goggles|crowns:crown,tiara|
coats and dresses:dress,skirt,trousers,jacket,sweater,shirt,gown,cloak,cape|shoes:shoe,boots,sandals,slippers|
gloves:glove,mittens|ties:necktie,bow tie|necklaces:necklace,bracelet,earring|bags:backpack,handbag,suitcase|
fireworks|explosions:explosion|guitars:guitar,piano,violin,trumpet,drum|bonfires:bonfire,campfire|
beards:beard,moustache,mustache"""
_PLACES = """castles:castle,palace,fortress|
rooms:room,kitchen,bedroom,bathroom,living room,office,classroom,indoors,attic,cellar|the moon:on the moon|
outer space:outer space,in space,galaxy,another planet,mars|
under water:underwater,under water,under the sea,bottom of the sea|caves:cave,cavern|volcanoes:volcano,lava|
farms:farm,barn,stable|schools:school|churches:church,cathedral,temple|hospitals:hospital|
shops:shop,supermarket,restaurant,cafe,bakery|stadiums:stadium,arena|islands:island|airports:airport|
railway stations:railway station,train station|swamps:swamp,marsh|waterfalls:waterfall|prisons:prison,dungeon|
libraries:library,museum"""
_DEEDS = """flying:fly,flies,flying,flew,soars,soaring,hovers|swimming:swims,swimming,swam,dives,diving,surfs,surfing|
fighting:fights,fighting,fought,attacks,attacking,punches,kicks|eating:eats,eating,devours|
kissing and hugging:kisses,kissing,hugs,hugging,embraces,cuddles|climbing:climbs,climbing,climbed|
driving and riding:drives,driving,rides,riding|sleeping:sleeps,sleeping,snores|digging:digs,digging|
falling:falls over,tumbles,trips over|playing music:plays the guitar,plays the piano,plays music|
crying:cries,crying,weeps,weeping|reading and writing:reads a,writes,writing,draws a,paints a|
cooking:cooks,cooking,bakes|building:builds,building a|throwing and catching:throws,throwing,juggles,juggling|
growing and shrinking:grows bigger,shrinks,grows taller|changing shape:turns into,transforms into,becomes a"""
_COLOURS = """black:black,jet-black|brown:brown,chestnut|grey:grey,gray|silver:silver,silvery|
more than one colour:rainbow,striped,spotted,multicoloured,multicolored,checkered,colourful,colorful"""
_SCRIPTS = (
    ("CYRILLIC", "Cyrillic"), ("GREEK", "Greek"), ("ARABIC", "Arabic"), ("HEBREW", "Hebrew"), ("CJK", "Chinese"),
    ("HIRAGANA", "Japanese"), ("KATAKANA", "Japanese"), ("HANGUL", "Korean"), ("DEVANAGARI", "Devanagari"),
    ("THAI", "Thai"), ("BENGALI", "Bengali"), ("TAMIL", "Tamil"),
)  # fmt: skip
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff]")


def _by_word(table: str) -> dict[str, str]:
    """Of every word or phrase the concept's name."""
    found = {}
    for entry in table.replace("\n", "").split("|"):
        name, _, words = entry.partition(":")
        found[name] = name
        for word in words.split(",") if words else [name.removesuffix("s")]:
            found[word] = found[_plural(word)] = name
    return found


def _plural(word: str) -> str:
    for ending, plural in (("man", "men"), ("fe", "ves"), ("lf", "lves")):
        if word.endswith(ending):
            return word.removesuffix(ending) + plural
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word.removesuffix("y") + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh", "o")) else "s")


# In the order in which they are told; the words before each list make a sentence of it.
_KINDS = (
    ("theatre draws no ", _by_word(_CREATURES)),
    ("theatre has no ", _by_word(_THINGS)),
    ("theatre's stage has no ", _by_word(_PLACES)),
    ("theatre's puppets know no ", _by_word(_DEEDS)),
    ("theatre paints no puppet ", _by_word(_COLOURS)),
)
_LONGEST = 3  # words of a phrase


_PLURALS = {
    "foxes": "foxes|vixens|fox cubs", "cats": "cats|kittens|kitties", "rabbits": "rabbits|bunnies|hares", "bears": "bears|cubs",
    "birds": "birds|sparrows|robins|parrots|ducks|owls|crows", "robots": "robots|androids|droids",
}  # fmt: skip
_SEVERAL = {
    name: re.compile(
        rf"\b(?:two|three|four|five|six|ten|several|many|some|few|both|twin|pair of)(?: [a-z]+)? (?:{words})\b"
    )
    for name, words in _PLURALS.items()
}


_UNDRESSES = re.compile(
    rf"\b(?:takes?|took|taking) (?:off (?:its|his|her|the) (?:\w+ )?(?:{WORN})|(?:its|his|her|the) (?:\w+ )?(?:{WORN}) off)\b"
)


def cannot_draw(prompts: Sequence[str]) -> list[str]:
    """Sentences about what no film of these prompts will show, each with the segments that ask for it."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, prompt in enumerate(prompts, start=1):
        for concept in _concepts(prompt):
            found.setdefault(concept, []).append(number)
    told = [f"{before}{name} ({_segments(numbers)})" for (before, name), numbers in found.items() if before]
    told += [f"{name} ({_segments(numbers)})" for (before, name), numbers in found.items() if not before]
    return told


def _concepts(prompt: str) -> list[tuple[str, str]]:
    """What a prompt asks for in vain: (how the sentence begins, the concept's name)."""
    text = plain_letters(prompt).lower()
    words = re.findall(r"[a-z-]+", text)
    phrases = {" ".join(words[at : at + length]) for length in range(1, _LONGEST + 1) for at in range(len(words))}
    told = [
        (before, name)
        for before, names in _KINDS
        for name in dict.fromkeys(names[phrase] for phrase in sorted(phrases & names.keys()))
    ]
    told += [("theatre shows one of a kind, no two ", kind) for kind, words in _SEVERAL.items() if words.search(text)]
    if _UNDRESSES.search(text):
        told.append(("theatre's puppets know no ", "taking off of hats and scarves"))
    told += [("", f"theatre reads English, no {script}") for script in _other_scripts(prompt)]
    if _EMOJI.search(prompt):
        told.append(("", "theatre reads no emoji"))
    return told


def _other_scripts(prompt: str) -> list[str]:
    """Names of the scripts, other than Latin, in which a prompt has letters."""
    names = {unicodedata.name(letter, "") for letter in prompt if letter.isalpha() and not letter.isascii()}
    found = dict.fromkeys(script for start, script in _SCRIPTS if any(name.startswith(start) for name in names))
    unnamed = any(
        not name.startswith(("LATIN", "FULLWIDTH LATIN", *(start for start, _ in _SCRIPTS))) for name in names
    )
    return [*found, *(["other script"] if unnamed and not found else [])]


def _segments(numbers: Sequence[int]) -> str:
    """'segment 2' or 'segments 2, 5 and 9 more'."""
    if len(numbers) == 1:
        return f"segment {numbers[0]}"
    listed = ", ".join(map(str, numbers[:6]))
    return f"segments {listed}" + (f" and {len(numbers) - 6} more" if len(numbers) > 6 else "")
