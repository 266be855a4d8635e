"""What people call the things of theatre's world, and how they tell what happens there: the tables of the grammar.

Patterns as in `patterns.py`. Written from general knowledge of English; no story that the reader is measured on went into them.
"""

SPECIES = {
    "fox": "fox|fox|fox|fox|vixen|fox cub|foxy|young fox|red-tailed fox|little fox",
    "cat": "cat|cat|cat|cat|kitty|kitten|tomcat|feline|pussycat|house cat|kitty cat|tabby|pussy cat|moggy",
    "rabbit": "rabbit|rabbit|rabbit|bunny|bunny|hare|bunny rabbit|cottontail|leveret|jackrabbit",
    "bear": "bear|bear|bear|bear|bear cub|grizzly|teddy bear|teddy|bruin|grizzly bear|polar bear|cub",
    "bird": "bird|bird|bird|bird|birdie|songbird|sparrow|robin|finch|chick|canary|parrot|pigeon|blackbird|wren|nightingale|(duck|owl|crow|raven|swallow|starling|magpie)",
    "robot": "robot|robot|robot|robot|android|droid|bot|automaton|cyborg|machine man|tin man|metal man|mechanical man|machine",
}

COLOURS = {
    "red": "red|red|red|red|crimson|scarlet|ruby|ruby red|bright red|dark red|cherry red|cherry-red|vermilion|ruby-red|fiery red|blood-red|tomato-red|maroon|reddish|cherry",
    "orange": "orange|orange|orange|orange|tangerine|ginger|bright orange|apricot|pumpkin-coloured|copper|rust-coloured|orange-coloured|dark orange|coppery|marmalade|rusty|carrot-coloured|gingery",
    "yellow": "yellow|yellow|yellow|yellow|golden|gold|lemon|lemon yellow|blond|bright yellow|canary yellow|mustard|sunny yellow|straw-coloured|amber|yellowish|lemon-coloured|buttercup yellow",
    "green": "green|green|green|green|emerald|lime green|lime|olive|jade|moss-green|bright green|dark green|emerald green|mint green|grass-green|greenish|mint|olive-green",
    "blue": "blue|blue|blue|blue|azure|navy|navy blue|cobalt|sapphire|turquoise|sky-blue|sky blue|light blue|dark blue|deep blue|ultramarine|cyan|bluish|teal|indigo",
    "purple": "purple|purple|purple|purple|violet|lilac|lavender|mauve|plum|plum-coloured|deep purple|dark purple|violet-coloured|aubergine|purplish|amethyst",
    "pink": "pink|pink|pink|pink|rosy|rose-coloured|rose|fuchsia|magenta|salmon pink|hot pink|pale pink|bright pink|pinkish|coral|bubblegum pink|candy pink",
    "white": "white|white|white|white|snow-white|snow white|ivory|cream|cream-coloured|pure white|milk-white|milky|whitish|chalk-white|pearly|snowy-white",
}
NOT_PAINTED = {"orange": "brown|chestnut", "purple": "black|jet-black", "white": "grey|gray|silver|silvery"}

ACCESSORIES = {
    "hat": "hat|hat|hat|hat|cap|beanie|top hat|bonnet|beret|woolly hat|cowboy hat|bowler hat|party hat|pointed hat|bobble hat|sun hat|fedora|bowler|sombrero|little hat",
    "scarf": "scarf|scarf|scarf|scarf|shawl|muffler|neckerchief|woollen scarf|knitted scarf|woolly scarf|silk scarf|kerchief|wool scarf|bandana|warm scarf|long scarf",
}

# Where: with a preposition, and as a name after "the" or "a".
SETTINGS = {
    "meadow": "in (a|the) [(green|grassy|flowery|sunny|lush|wide|quiet|spring|peaceful)] (meadow|field|pasture)|on (a|the) (lawn|meadow|pasture|prairie|grassy hill|green|village green)"
    "|in the [(tall|green|soft|long)] grass|in (green|lush) fields|out in the (fields|meadows)|on the grass|in (a|the) grassland|in the (open fields|countryside|grasslands)"
    "|among the (wildflowers|daisies|flowers|grasses)|on a green hill|in the middle of (a|the) (meadow|field)|at the edge of a meadow|in (a|the) grassy (clearing|place|valley)|in a field of (grass|flowers|clover)",
    "beach": "on (a|the) [(sandy|golden|sunny|lonely|quiet|tropical|long|warm|white)] beach|by the [(calm|blue|wide)] sea|at the seaside|by the seaside|on the (shore|coast|seashore)|by the ocean|beside the (sea|waves|ocean)"
    "|at the water's edge|near the (sea|waves|surf|ocean)|on the sand by the (sea|water|ocean)|at the (beach|shore|coast|sea)|along the (shore|beach|seashore)|down (by|at) the (sea|beach|shore)|in front of the (waves|sea|ocean)"
    "|where the (waves|sea) (roll|rolls) in|on the (sandy|rocky) (shore|coast)|on the beach by the (ocean|waves|sea)|in a (bay|cove)",
    "desert": "in (a|the) [(hot|dry|wide|endless|empty|vast|sandy|burning|lonely)] desert|among the [sand] dunes|in the (dunes|sahara|wilderness of sand)|on a [sand] dune|in the middle of (the|a) desert"
    "|under the [hot] desert (sun|sky)|in (a|the) (wasteland|dry land|arid land|land of sand|barren land)|on the dry desert ground|in the [hot] desert sand|in the (gobi|badlands|outback)|between the (dunes|cacti|cactuses)|out in the desert|in (a|the) desert landscape|on the dunes",
    "snow": "in the [(deep|white|fresh|cold|soft)] snow|in (a|the) (snowy|frozen|snow-covered|wintry|white) (field|landscape|land|plain|place|world|valley|meadow)|on (the|a) (ice|glacier|snowfield|snowy field|snowy plain)|in the (arctic|tundra|antarctic|winter snow)"
    "|in a (winter wonderland|winter landscape|blizzard|snow field|snowstorm)|at the north pole|in the far north|on the (snow|frozen ground|snowy ground)|in the (snowfield|icy plain|frozen north|snows)|under falling snow|in a land of (ice|snow)|among the (snowdrifts|snowflakes)|up in the snowy mountains",
    "city": "in (a|the) [(big|busy|great|large|noisy|sleeping|dark|bright)] city [at night]|in town|in the (streets|town|city streets|metropolis)|on (a|the) [(city|dark|busy|lonely|main|quiet)] street|downtown|under the (street lamps|streetlights|city lights|neon lights|lamp post|lights of the city)"
    "|among the (skyscrapers|tall buildings|tower blocks|high-rises)|in the middle of (town|the city|a city)|between the (skyscrapers|houses|tall houses)|on the (sidewalk|pavement|boulevard|avenue)|in the night city|in (a|the) (town|metropolis|big town|nighttime city)|on a street corner|in the city centre|at a bus stop in the city|uptown|in an alley",
    "forest": "in (a|the) [(dark|deep|green|quiet|old|silent|dense|thick|misty|enchanted|shady)] (forest|wood|woods)|among the [(tall|old|green)] trees|between the (trees|pines|firs|oaks)|under the (trees|pines|oaks|fir trees)|in the (woods|woodland|jungle|thicket|undergrowth|greenwood|rainforest)"
    "|deep in the (forest|woods|woodland)|in a (grove|woodland|pine forest|woodland clearing|forest glade|wood)|in a clearing in the (forest|woods)|on a forest path|at the edge of the (forest|woods)|beneath the (trees|branches)|in the heart of the forest|in the shade of the trees|behind the trees of the forest",
}
PLACES = {
    "meadow": "[(green|grassy|flowery|sunny|lush|wide|quiet|peaceful)] (meadow|field|pasture|grassland|prairie|lawn|grassy field|green field)",
    "beach": "[(sandy|golden|sunny|lonely|quiet|tropical|long|wide)] (beach|shore|coast|seashore|seaside|bay|beach by the sea|sandy shore)",
    "desert": "[(hot|dry|wide|endless|vast|sandy|burning|lonely)] (desert|desert|desert|wasteland|sahara|sea of sand|sand desert|desert landscape|dunes)",
    "snow": "(snow|snowy field|snowy landscape|winter landscape|snowfield|tundra|arctic|snowy plain|frozen land|snow-covered field|winter wonderland|snowy land|icy plain|white winter world|glacier)",
    "city": "[(big|busy|great|large|sleeping|dark|quiet)] (city|town|street|metropolis|city street|city at night|downtown|city by night|town square|alley|skyline)",
    "forest": "[(dark|deep|green|quiet|old|silent|dense|misty|enchanted)] (forest|woods|wood|woodland|jungle|grove|pine forest|forest clearing|rainforest)",
}
# What stands for a setting although it does not name it.
SIGNS = {
    "meadow": "(the grass (sways|is green|waves in the wind)|flowers bloom (everywhere|all around)|nothing but (grass|green grass|grass and flowers) as far as the eye can see|grass (everywhere|all around)|butterflies over the grass)",
    "beach": "(the waves (roll in|break on the shore|lap at the sand)|the sea (is calm|glitters|roars)|gulls cry over the waves|nothing but (waves and sand|the sea|waves|water and sand)|a lighthouse (stands|shines) over the (sea|waves)|the tide (is out|comes in))",
    "desert": "(nothing but dunes|nothing but sand [(everywhere|and sky|as far as the eye can see)]|sand, (sand and|and) nothing but sand|sand as far as the eye can see|sand (everywhere|all around)|the dunes (glow|stretch to the horizon|shimmer)|sand dunes (everywhere|as far as the eye can see)|cacti (stand around|everywhere)|the desert (wind blows|sun burns))",
    "snow": "(everything is (white|covered in snow|frozen|snowed in)|snow (lies everywhere|covers everything|covers the ground|as far as the eye can see)|only snow and ice|nothing but snow [(and ice|everywhere|as far as the eye can see)]|snow, nothing but snow|it is snowing|(thick|soft) flakes fall from the sky|(the ground|everything) is white with snow)",
    "city": "(neon signs (glow|flicker)|the (streets|street lamps|skyscrapers|street lights) (glow|gleam|shine in the dark|are wet with rain)|traffic lights (blink|change)|nothing but houses|cars (honk|pass by|hoot)|night falls over the (town|rooftops)|the windows of the (skyscrapers|tall buildings|houses) are lit)",
    "forest": "(trees (all around|everywhere|as far as the eye can see)|the trees (rustle|whisper|stand tall)|leaves rustle in the trees|sunlight falls through the (trees|branches|leaves)|pine trees everywhere|nothing but trees [as far as the eye can see]|tree after tree|trees, nothing but trees)",
}

ADJECTIVES = (
    "little|big|old|young|small|tiny|happy|sad|friendly|shy|brave|funny|cheerful|lonely|tired|clever|sleepy|fluffy|tall|round|"
    "curious|proud|nice|lovely|cute|charming|large|great|huge|gentle|silent|grumpy|merry|polite|elegant|fat|thin|lazy|quick|kind|"
    "good|dear|famous|mysterious|strange|lucky|playful|hungry|cheeky|plump|skinny|jolly|weary|elderly|beautiful|pretty|handsome|excited|nervous|rather large|very small|quite old"
)
NAMES = [
    "Rosie",
    "Max",
    "Bella",
    "Luna",
    "Oscar",
    "Milo",
    "Coco",
    "Ruby",
    "Pip",
    "Felix",
    "Bruno",
    "Daisy",
    "Toby",
    "Poppy",
    "Hugo",
    "Nora",
    "Otto",
    "Greta",
    "Finn",
    "Olga",
    "Hazel",
    "Ivy",
    "Leo",
    "Mia",
    "Zoe",
    "Sam",
    "Tom",
    "Anna",
    "Ben",
    "Lily",
    "Jack",
    "Emma",
    "Rusty",
    "Ginger",
    "Snowball",
    "Whiskers",
    "Fluffy",
    "Sparky",
    "Buddy",
    "Charlie",
    "Bolt",
    "Zip",
    "Gizmo",
    "Beep",
    "Bleep",
    "Tiki",
    "Momo",
    "Kiki",
    "Bobo",
    "Lulu",
    "Nina",
    "Mimi",
    "Fritz",
    "Paula",
    "Peter",
    "Paul",
    "Mary",
    "Alice",
    "Bob",
    "Clara",
    "Dora",
    "Edgar",
    "Fiona",
    "George",
    "Henry",
    "Ida",
    "Jasper",
    "Karl",
    "Lotte",
    "Mabel",
    "Nelly",
    "Oliver",
    "Pedro",
    "Quentin",
    "Ralph",
    "Stella",
    "Theo",
    "Ursula",
    "Victor",
    "Wanda",
    "Xaver",
    "Yara",
    "Zelda",
    "Barnaby",
    "Cleo",
    "Dexter",
    "Ella",
    "Freddie",
    "Gus",
    "Hattie",
    "Igor",
    "Juno",
    "Kasper",
    "Lola",
    "Monty",
    "Nemo",
    "Orla",
    "Percy",
    "Queenie",
    "Rufus",
    "Sally",
    "Tilly",
    "Uma",
    "Vera",
    "Willow",
    "Yuki",
    "Ziggy",
    "Arthur",
    "Bertie",
    "Cosmo",
    "Dolly",
    "Ernie",
    "Flora",
    "Gilda",
    "Harold",
    "Inky",
    "Jolly",
    "Kip",
    "Lenny",
    "Maisie",
    "Norbert",
    "Odin",
    "Pablo",
    "Robbie",
    "Sunny",
    "Trixie",
    "Ulf",
    "Viola",
    "Wally",
    "Pebble",
    "Biscuit",
    "Button",
    "Pumpkin",
    "Maple",
    "Clover",
    "Honey",
    "Cookie",
    "Muffin",
    "Peanut",
    "Pickles",
    "Waffles",
    "Patch",
    "Socks",
    "Tiger",
    "Shadow",
    "Storm",
    "Misty",
    "Star",
    "Comet",
    "Rocket",
    "Nova",
    "Pixel",
    "Unit",
    "Copper",
    "Nugget",
    "Mango",
    "Kiwi",
    "Olive",
    "Basil",
    "Sage",
    "Amber",
    "Scarlet",
    "Violet",
    "Robin",
    "Rose",
    "Jade",
]
TITLES = "Mister|Miss|Mrs|Captain|Professor|Old|Little|Aunt|Uncle|Doctor|Lady|Sir|King|Queen|Mr|Granny"

TIMES = (
    "one day|now|then|suddenly|after a while|a moment later|later|once again|at last|finally|meanwhile|soon|in the morning|at dawn|at noon|at midnight|in the evening|at dusk|early in the day|late at night|on a sunny morning|"
    "on a (warm|cold|rainy|quiet|lovely|cloudy|bright) (day|morning|afternoon|evening|night)|it is (morning|noon|evening|night|monday|late|early) and|the next (day|morning|evening)|all of a sudden|for a while|for a long time|this time|a little later|"
    "once upon a time|that (day|night|evening|morning)|in the moonlight|in the rain|in bright sunshine|under a (blue|cloudy|starry) sky|in the meantime|some time later|at that very moment|just then|next|after that|in the end|as the sun (rises|sets|goes down)|"
    "and now|but then|look|oh look|hey|oh no|well|here and now|today|tonight|yesterday|in spring|in winter|in summer|in autumn|at sunset|at sunrise|an hour later|two days later|ten minutes later|hours later|at 7 o'clock|minutes later|in 1985|out of nowhere|of course|as always|without warning|without a word|to our surprise|and so|and|but|so|again"
)
MANNERS = (
    "slowly|quickly|happily|quietly|sadly|cheerfully|for a while|with joy|with great pleasure|all alone|in silence|proudly|carefully|once more|again|a little|for a moment|like mad|with a smile|calmly|gently|eagerly|in peace|"
    "without a sound|as if nothing had happened|full of joy|as fast as it can|very slowly|for no reason|to everybody's delight|under the sky|in the sun|in the rain|in the wind|for us|for a long time|like a champion|with all its might|in good spirits|patiently|nervously|gracefully|lazily|here|there|today|now|at last|once|twice|three times|all day long|as usual"
)
OPENERS = "Our story (starts|begins) (in|with|on)|This is|Here is|Here we have|Meet|We (meet|see)|There (is|was)|Look,|It all (starts|begins) with|Imagine|Picture this:|Once there was|The film opens on|Behold|Say hello to|The camera shows|The hero of our story is|In the beginning there is|Let me introduce"

# What a puppet does. *verbs agree; {poss} is its, his, her or their; {side} left or right.
STAND = (
    "*stand [(still|there|side by side|next to the {other}|close together|quietly|around|motionless|by|upright|tall|on {poss} feet|perfectly still|in place)]|*wait [(there|here|patiently|a while|for (something|the bus|a friend|us|better weather|someone|a train|what comes next))]|*stay [(still|there|where {pron} *be|put|here|behind|in place|on the spot|calm)]|*remain [(still|there|alone|standing|behind|motionless|on the stage|where {pron} *be)]"
    "|*rest [(a while|for a bit|on {poss} feet|a moment)]|*pause|*stop [(moving|at last|there)]|*stop and *rest|*come to a (halt|stop|rest|standstill)|*stand by|*stand by and *watch|*stay close|*stay by {poss} side|*stay at {poss} side|*have a rest|*stay put|*take a short rest|*wait and *watch|*not move|*wait for (it|him|her|the {other})|*hold still|*keep (still|quiet)|*freeze|*halt|*do not move [(at all|a muscle|an inch)]|*do nothing|*take a (break|rest|breather)|*stand and look|*pose|*calm down|*settle down|*catch {poss} breath|*linger|*be still|*be waiting|*stand in the middle|*be (all|left) alone|*go nowhere|*be standing there|*sit down|*sit there|*sit quietly|*lie down"
)
IDLE = (
    "*bow|*take a bow|*stretch|*scratch {poss} (ear|head)|*get up|*wake up|*stand up|*open {poss} eyes|*look (around|about|left and right|here and there)|*sniff|*shiver|*chat with the {other}|*be [(there|here|in view|on stage|happy|alone|all alone|tired|very proud|pleased|bored|hungry|cold|ready|in a good mood|still here|curious)]|*look (around|at the {thing}|at us|up|down|into the distance|over the {thing}|happy|about)|*watch [the {thing}]|*think (of|about) (the {thing}|home|dinner|nothing)|*smile|*listen [to the {thing}]|*enjoy the (view|sun|{thing}|silence|evening|quiet)|*dream|*sing [a song]|*sleep|*yawn|*nod|*blink|*look on|*look on|*look at {it}|*watch {it}|*watch [the {other}] [(closely|quietly|with interest)]|*watch what happens|*keep watching|*be watching|*admire {it}"
    "|*breathe deeply|*admire the {thing}|*wonder (what to do|about the {thing}|why)|*laugh|*hum [a tune]|*eat [a {thing}]|*talk (to|about) the {thing}|*say nothing|*feel (good|fine|cold|happy|lonely)|*stare at (the {thing}|us)|*gaze (at the {thing}|into the distance)|*count the {thing}s|*have (a good time|a cold|no worries|time)|*wish for a {thing}|*search for the {thing}|*find a {thing}|*love the {thing}|*whistle|*sigh|*sniff the {thing}|*hold a {thing}|*know what to do|*live here|*be looking (around|at the {thing})|*be thinking|*look for (a|the) {thing}"
)
WALK = {
    "side": "(*walk|*go|*move|*stroll|*wander|*step|*march|*trot|*pad|*head|*stride|*shuffle|*hurry|*run|*tiptoe|*cross|*creep|*amble|*waddle|*roll|*crawl|*dash|*make {poss} way|*take a few steps|*take some steps|*walk (over|across|slowly|along)|*move over|*go over|*step over|*drift|*saunter|*sneak|*jog|*ramble|*scamper) (to the {side}|to the {side} side|towards the {side}|toward the {side}|to {poss} {side}|over to the {side}|{side}wards|{side}|further {side}|a bit to the {side}|in the direction of the {side}|to the {side} side of the (stage|picture))"
    "|*walk from {opposite} to {side}|*cross the stage to the {side}|*change to the {side} side",
    "none": "*walk [(around|about|a bit|along|up and down|on)]|*take a (walk|stroll|few steps)|*stroll [(around|about|along|through the {thing})]|*wander [(around|about)]|*go for a (walk|stroll)|*walk a few steps|*pace [(around|up and down)]|*move around|*march on|*walk through the {thing}|*change sides|*walk to the other side|*explore the {thing}",
}
JUMP = (
    "*jump [(up and down|for joy|around|high|up|about|on the spot|into the air|with joy|up and down on the spot|as high as {pron} *can)]|*hop [(around|up and down|on the spot|about|for joy|with joy|up|happily|along)]|*leap [(into the air|up|for joy|about|high)]|*bounce [(up and down|around|about|like a ball|on the spot)]|*bound [(about|up and down)]|*spring [(up|into the air|up and down)]|*skip [(about|around|up and down|on the spot)]"
    "|*make a [(little|big|great|small)] (jump|leap|hop)|*do (a jump|jumps|little hops|a hop)|*give a [(little|happy|big)] (jump|hop|leap)|*go up and down|*start to jump|*go boing [boing] [boing]|*go hop, hop, hop|*go up in the air|*do the jumping|*do some jumping|*keep jumping|*be jumping|*be hopping [up and down]|*take a leap|*jump like a ball|*fly into the air|*be all jumps"
)
WAVE = (
    "*wave [(hello|goodbye|at us|to us|a hand|{poss} (hand|paw|arm|wing)|back|to everybody|at the camera|to the audience|with {poss} (hand|paw|arm)|to the {other}|at the {other}|happily|at somebody|bye-bye)]|*say (hello|hi|goodbye|hello to (us|everyone|the {other}|all of us)|good morning|good day|good evening|bye|farewell|hi to us|hello with {poss} (hand|paw))|*greet (us|the {other}|everyone|the audience|the day|somebody|us all|its friend|them|the viewers|the viewer|whoever is watching|us with {poss} (hand|paw)|us warmly)"
    "|*give (us a wave|a wave|a friendly wave|a greeting|a sign with {poss} hand|a salute)|*raise (a|{poss}) (hand|paw|arm|wing) [(in greeting|to say hello|in salute|to greet us)]|*lift (a|{poss}) (hand|paw|arm) [(in greeting|to wave)]|*salute [us]|*bid us (farewell|goodbye|good morning|good night|welcome)|*welcome us|*beckon [to us]|*move {poss} hand in greeting|*wave after {it}|*wave after the {other}|*be waving [(at us|hello|goodbye)]|*swing {poss} arm in greeting|*wish us (good night|a good day)|*signal to us with {poss} hand|*hold up a hand|*put up a (hand|paw)|*exchange greetings|*greet each other|*wave to each other|*say (hello|goodbye) to each other|*shake hands|*make a greeting"
)
SPIN = (
    "*spin [(around|round|round and round|in circles|on the spot|like a top|about|in place|a pirouette)]|*turn (around|round|round and round|in circles|in a circle|on the spot|about|once around|around {poss}self|on {poss} heels)|*twirl [(around|about|on the spot)]|*whirl [(around|about|round and round|like a top)]|*rotate [on the spot]|*pirouette|*do a (pirouette|spin|twirl)|*revolve|*go round [(and round|in circles)]|*go around in circles|*swivel [around]"
    "|*make a (turn|full turn|twirl)|*be spinning [around]|*be turning [in circles]|*chase {poss} [own] tail|*do a (somersault|cartwheel)|*roll around {poss} own axis|*dance in (circles|a circle)|*dance [around]|*circle on the spot|*gyrate|*perform a (pirouette|spin)|*turn and turn|*keep turning|*keep spinning|*swirl around|*turn around {poss} [own] axis|*do the spinning|*rotate (about|around) {poss} [own] axis|*go round and round like (a|the) (merry-go-round|top|wheel)|*look behind {poss}self, turning around and around"
)
_GO = "(*walk|*stroll|*hop|*run|*step|*march|*trot|*hurry|*wander|*tiptoe|*skip|*stride|*shuffle|*dance|*roll|*slip|*creep|*bounce|*dash|*sneak|*waddle|*fly|*saunter|*amble|*rush|*jump|*leap|*move|*pad|*strut|*scamper|*drift)"
ENTER = {
    "verb": "*come|*come in|*come in|*come along|*come onto the stage|*enter|*enter|*enter the (stage|scene|picture|frame)|*arrive|*arrive|*appear|*appear|*show up|*turn up|*pop up|*emerge|*come into (view|sight|the picture)|*make {poss} (entrance|appearance)|*step onto the stage|*pass by|*come (walking|hopping|running|strolling|dancing|marching|tiptoeing|skipping|trotting|jumping|bouncing|waddling|rolling|striding) [in]|*come by|*drop by"
    f"|{_GO} in|{_GO} in|{_GO} into (view|the picture|the scene|the frame|sight)|{_GO} (onto the stage|on stage|into the meadow|over|here)|*step in|*peek in|*make an entrance|*find {{poss}} way here|*stop by|*roll up|*draw near|*approach|*come closer|*get here|*come out [of hiding]|*join (us|in|the party|the company|the scene|the others|the {{other}}|{{it}})|*set foot on the stage|*be coming|*be on {{poss}} way here|*come over|*pay a visit|*visit (us|the {{other}}|{{it}})|*come to (meet|visit|see|join) (the {{other}}|us|{{it}})|*come to the stage",
    "side": "from the {side}|from the {side}|from the {side}|from the {side} side|on the {side}|from {side}|at the {side}|on the {side} side|from the {side}-hand side|at the {side} edge of the picture|out of the {side} wing|from off {side}|from stage {side}|through the {side} side|from somewhere on the {side}|over from the {side}|stage {side}|from the far {side}",
    "opposite": "on the other side|from the other side|from the opposite side|on the opposite side|from the other direction|from the opposite direction",
    "same": "from where {pron} left|on the same side|from the same side|the way {pron} went",
}
RETURN = "*come back|*come back|*come back|*return|*return|*return|*be back|*be back again|*reappear|*show up again|*appear again|*come again|*come home|*be here again|*make a comeback|*come back in|*come back (walking|running|hopping|on stage|to us|to the stage)|*walk back [in]|*run back in|*hop back [in]|*step back (in|into the picture|onto the stage)|*enter again|*enter once more|*turn up again|*find {poss} way back|*get back|*arrive again|*join us again|*come in again|*stroll back [in]|*be with us again|*be there again|*be there again|*be back with us|*stand there again|*pop up again|*be to be seen again|*be on the stage again"
LEAVE = {
    "verb": "*go for a walk and *be (gone|out of sight|not seen again)|*take {poss} leave|*have had enough and *go|*leave|*leave|*leave|*leave (us|the stage|the scene|the picture|the frame|again|the {thing})|*go away|*go away|*go off|*go out|*exit|*depart|*disappear|*disappear|*vanish|*walk off|*walk away|*walk out|*be off|*go home|*head (home|off|out)|*take {poss} leave|*withdraw|*retreat|*retire|*move (on|off|away|out)|*drift (off|away|out of view)|*say goodbye and *go|*run (off|away)|*make {poss} exit|*set off|*get going|*have to go|*go {poss} way"
    f"|{_GO} (off|away|out)|{_GO} (out of (the picture|view|sight|the frame|the scene|here)|off stage|off the stage|away from here)|*step out|*step out of the (picture|frame|scene|stage)|*slip away|*sneak away|*go out of (view|sight)|*quit the stage|*part|*take off|*fade away|*go back home|*turn and *leave|*turn and *go|*continue on {{poss}} way|*abandon the stage|*clear off|*walk off and *be gone|*get out of here|*go for good|*go and *not look back|*flee|*flee the scene|*bolt|*make off|*be on {{poss}} way|*call it a day and *go",
    "side": "to the {side}|to the {side}|to the {side}|on the {side}|on the {side}|towards the {side}|to the {side} side|{side}|at the {side}|over the {side} side|through the {side} side|on the {side} side|stage {side}|off to the {side}|to {poss} {side}|in the direction of the {side}|into the {side} wing|past the {side} edge|out to the {side}|by the {side}-hand side",
    "same": "the way {pron} came|where {pron} came from|to where {pron} came from|back the way {pron} came|on the same side|the same way {pron} came in|back to where {pron} came from|in the direction {pron} came from|on the side where {pron} came in|from where {pron} came",
    "opposite": "on the other side|to the other side|on the opposite side|in the opposite direction|in the other direction|on the far side|the other way",
}
ABSENT = "{S} {is} gone|{S} {has} (left|gone|disappeared|vanished|gone away|gone home|left us|walked away)|{S} {is} no longer (there|here|to be seen|in view)|{S} {is} (nowhere to be seen|not there any more|out of sight|away|not here|missing)|there is no (sign|trace) of {S} [any more]|no (sign|trace) of {S}|we (have lost sight of|cannot see|no longer see) {S} [any more]|where {is} {S}|where did {S} go|{S} {is} gone for good"
ONLY = "only {S} {is} left|only {S} remains|only {S} stays [behind]|{S} remains alone|{S} is [now] (all|) alone [again]|{S} is left (behind|alone|all alone|on its own)|{S} is the only one left|now there is only {S}|just {S} is left|{S} has the stage to itself|all that is left is {S}|everybody but {S} (leaves|has gone|is gone)"

_NOBODY = (
    "(nobody|no one|no-one|not a soul|nothing and nobody|not anybody|no living soul|nobody at all|no creature|none)"
)
EMPTY = (
    f"{_NOBODY} (is|is|can be seen|is to be seen|was|has come|stands|remains|is left|lives) (here|there|around|in sight|in view|on the stage|{{where}}|anywhere|{{where}}) [(yet|now|any more|anymore|at all|any longer|at the moment|just now)]|{_NOBODY} (is|can be seen) {{where}}|there is {_NOBODY} (here|there|around|in sight|{{where}}|left|to be seen) [(yet|now|any more|anymore|at all)]|the ({{place}}|stage|place|scene|world|picture) (is|lies|stays|remains|was) (empty|deserted|quiet and empty|abandoned|empty again|bare|still and empty|lonely and empty|all empty|vacant|without a soul|desolate|silent and bare)"
    "|an (empty|abandoned) {place}|(a|the) (quiet|deserted|empty|lonely|silent|bare) {place}|(nothing|nothing at all) (is there|can be seen|to see) [({where}|here|there)]|(only|just|nothing but) [the] {nature} [and [the] {nature}] (remain|remains|is left|are left|here|there|everywhere|{where}|can be seen|as far as the eye can see)|only [the] {nature} [and [the] {nature}]|there is (only|nothing but|just) [the] {nature} [and [the] {nature}] [({where}|here|now)]|for a (long|little) (time|while), there is (only|just) {nature}|all (is|are) gone"
    "|everybody (has left|is gone|has gone [home]|left|is at home|has gone to bed)|everyone (has left|is gone|has gone [home]|is asleep elsewhere)|all (have left|are gone|have gone home)|the stage is (clear|free|left empty)|we (see|look at|are looking at) (an empty|a deserted|the empty) ({place}|stage)|we are (all alone|alone here)|no one (left|in sight|around|to be seen|there|here)|nobody (left|in sight|around|to be seen|there|here)|not a soul (in sight|anywhere|around|to be seen|far and wide)|emptiness|complete emptiness|nothing but (silence|emptiness)|there is not a soul [{where}]|the {place}, (empty|deserted|abandoned|without a soul|all empty)"
    "|no (animal|puppet|actor|living thing|one) (is|can be seen) [here] [{where}]|(the) {place} (waits|sleeps|dreams) [(alone|in silence)]|the curtain rises on an empty {place}|before anyone (comes|arrives|is there), (the {place}|all) is (quiet|empty)|it is empty here|empty {place}|long emptiness {where}|everybody (leaves|goes home|disappears|goes away)|they are all gone|both (are|of them are) gone|both have left"
)
# Towards somebody who does nothing by it, by what the one who does it is seen to do.
TOWARDS = {
    "wave": "*wave (to|at) {O}|*wave (goodbye|hello|bye-bye) to {O}|*say (hello|goodbye|good morning|hi|farewell) to {O}|*greet {O}|*wave {poss} (hand|paw) (at|to) {O}|*bid {O} farewell|*salute {O}|*beckon to {O}",
    "idle": "*look at {O}|*turn to {O}|*watch {O}|*smile at {O}|*see {O}|*look for {O}|*nod (at|to) {O}|*listen to {O}|*be (happy|glad|surprised|sad) to see {O}|*bow to {O}|*think of {O}|*talk to {O}|*chat with {O}|*thank {O}|*be (fond|afraid|tired) of {O}|*sing for {O}",
    "stand": "*stand (next to|beside|by|in front of|behind|close to) {O}|*wait for {O}|*stay (with|near|by) {O}|*stop (beside|in front of) {O}",
    "jump": "*jump (around|next to|beside|in front of|behind|for|past|higher than) {O}|*hop (around|beside|about|next to) {O}|*leap (past|beside) {O}",
    "spin": "*spin (in front of|beside|next to|around|for) {O}|*twirl (for|beside|around) {O}|*turn round (beside|in front of|behind) {O}",
}
# Of a stage on which somebody is, these say nothing.
UNEVENTFUL = (
    "(nobody|no one) (comes|moves|speaks|is coming|answers|calls|looks|says anything) [(for a while|yet|now|at all)]|nothing (happens|moves|stirs|else happens|changes) [(for a while|yet|now|at all)]|for a (long|little) (time|while) nothing (moves|happens)"
    "|there is (nobody|no one) else [(here|around|in sight|to be seen)]|(nobody|no one) else (is (here|there|around|in sight)|comes|can be seen|moves)|(it|he|she) (sees|meets|hears|knows) (nobody|no one)|(it|he|she) has never (met|seen) (anybody|anyone) [before]|(it|he|she) had never seen (anyone|anything) like that|everything is (quiet|still|silent|calm|as it was)|all is quiet|it is very (quiet|still) [here]|silence|only silence|complete silence|what happens next nobody knows|nobody knows why|no one has ever seen that"
)
BOTH_RETURN = (
    "they are (back|back again|here again|there again|both back|both here again|back together)|both (are|of them are) (back|back again|here again|there again)|both (return|come back|reappear|walk back in)|here they (are again|come again|are, both of them)|both back [again]|(everybody|everyone|the pair|the couple) is (back|here again|there again)"
    "|the two (are|friends are|of them are) (back|here again|there again|with us again)|the two (friends|of them|animals) (return|come back|reappear)|they (return|come back|reappear|are together again|meet again) [together]|all are (back|here again)|back they (come|are)|look, they are back|they both (return|come back)|(our|the) (friends|heroes) (return|are back|come back)"
)
NATURE_OF = {
    "sand": "desert",
    "dunes": "desert",
    "snow": "snow",
    "ice": "snow",
    "grass": "meadow",
    "flowers": "meadow",
    "trees": "forest",
    "leaves": "forest",
    "waves": "beach",
    "sea": "beach",
    "houses": "city",
    "street": "city",
    "lamps": "city",
}
"""Where a story is that has not said so, when it sees nothing but this."""
NATURE = "sand|grass|snow|silence|wind|trees|waves|emptiness|stones|flowers|light|darkness|moonlight|sea|ice|footprints|shadows|leaves|quiet|dunes|air|street|houses|lamps|sky|sunshine|night"
THINGS = "sky|sea|moon|sun|wind|flower|stone|cloud|world|weather|star|mountain|tree|horizon|view|song|story|apple|book|letter|song|clock|door|window|night|morning|light|shadow|road|bird's nest|song|rain|waves|sand|snow|grass|city|forest|water|river|house|music|picture|friend|dream|cake|soup|tea|map|ball|balloon|ground|feet|audience|camera|puddle|lamp|bench|bus|train|butterfly|bee|treasure|ship|boat|mirror|dinner|breakfast|future|past"
EPITHETS = {
    "fox": "our red-tailed friend|the clever one|the sly one|the bushy-tailed friend|the sly fellow|our bushy tail",
    "cat": "our whiskered friend|the purring one|our purring friend|the mouser",
    "rabbit": "our long-eared friend|the long-eared one|long-ears|the hopper|our hopping friend",
    "bear": "our big furry friend|the big one|the shaggy one|our shaggy friend|the honey lover",
    "bird": "our feathered friend|the feathered one|the winged one|our winged friend|the singer|our little singer",
    "robot": "our mechanical friend|our metal friend|the mechanical one|the metal one|our friend made of metal|the tin can|our electric friend|the machine being",
}
ANYBODY = "the winner|the hero|the dancer|the jumper|the traveller|the wanderer|the guest|the star|the champion|the actor|the performer|the athlete|the artist|the gentleman|the lady|the rascal|the sweetheart|the darling|our dear friend|the acrobat|the runner|the stranger|the loner|our protagonist|the main character|the character|the puppet|the figure|the suspect|the hunter|the patient|the pupil|the beast|the fugitive|the newcomer|the poor devil|the creature|the lucky one"
NEITHER = (
    "neither (of them|of the two|one)|none of (them|the two|the friends)|nobody of the two|not one of them|neither"
)
STRANGERS = (
    "dog|dragon|horse|cow|man|woman|girl|boy|child|king|princess|knight|wizard|witch|lion|tiger|elephant|monkey|snake|fish|shark|whale|dinosaur|mouse|pig|sheep|goat|wolf|deer|turtle|frog|spider|bee|butterfly|car|truck|train|plane|ship|boat|spaceship|rocket|"
    "monster|ghost|alien|unicorn|zebra|giraffe|camel|crocodile|penguin|squirrel|hedgehog|snowman|pirate|policeman|doctor|teacher|farmer|people|crowd|family|baby|mermaid|vampire|zombie|superhero|astronaut|clown|donkey|puppy|hamster|kangaroo|koala|panda|crab|octopus|dolphin|ant|worm|gorilla|troll|giant|dwarf|fairy|elf"
)
NOISE = (
    "[what] a (lovely|beautiful|strange|quiet|nice|cold|warm|wonderful|perfect) (day|night|morning|evening|place|moment|silence|world|view)|the (sun|moon) (shines|is shining|rises|sets|is bright|goes down|is out|hides behind a cloud)|(the wind blows|a breeze blows|the wind howls|clouds pass|clouds drift by|it rains|it is raining|rain falls|thunder rolls|the stars are out|it is getting dark|it is (late|early|noon|night|hot|cold|warm|quiet|windy|sunny))"
    "|time (passes|goes by|flies)|(minutes|hours|days) (pass|go by)|(a moment|an hour|a while|a minute) (passes|later)|nobody knows why|nothing else happens|nothing (has changed|changes|special happens)|all is (well|calm|quiet)|who would have thought [so]|what will happen next|and that is (all|how it was|the end)|the end|to be continued|how (nice|sad|strange|lovely|funny)|that was (close|fun|nice)|let us (wait and see|see)|we (wait|hold our breath|wonder why|listen)|music plays [(softly|in the background)]"
    "|the light is (soft|golden|warm|low|dim)|shot on (film|an old camera)|wide shot|close-up|the camera (does not move|stands still|is still)|soft colours|a paper theatre|chapter (one|two|three|four)|act (one|two|three)|part (1|2|3)|(later|meanwhile|elsewhere|intermission)|the {thing} is (old|new|far away|quiet|beautiful|big|lovely)|a {thing} (falls|stands nearby|can be heard|lies on the ground)|somewhere a {thing} (falls|rings|can be heard)|everything (stays|is) (the same|as it was|fine)|(hello|wow|oh|ah|hm|hurrah)|the air is (clear|cold|still|warm)|it smells of (rain|flowers|summer|fish|tea)|the (audience|crowd) (claps|laughs|is quiet)|far away a bell rings|no one speaks|nobody says a word"
)
# What a narrator says of itself, of those who listen, of the story: {thing} anything, {who} somebody, who does nothing by it.
NARRATOR = (
    "I (turn|turned) up my collar|I (think|thought|was thinking) of (my|the) {thing}|my {thing} (hurts|hurt|is tired|was empty)|I (wish|wished) you were here[, {thing}]|you should have seen (it|that|this|{who})|I (miss|missed|still miss) (you|them|it|{who})"
    "|I (remember|remembered|can still see) (it|that|every {thing}|{who})|I (have|had) been (waiting|watching|following {who}|looking for {who}) (for (hours|weeks|years|three days)|all {thing})|I (could not|cannot) believe (it|my eyes|my {thing})|I (write|wrote) to you (soon|about it|from here)|I (will|shall) tell you [(more|all|about it)] [later]"
    "|I never (forgot|knew|learned) (it|why|{who})|(believe it or not|no kidding|no doubt|no wonder|no offence|no matter|not for the first time|as I said|as you know|if you ask me|I must say|to be honest|mind you|you know|you see|I swear|I think|I guess|I bet)"
    "|(do not|don't) (forget to smile|worry|laugh|ask me why|blink|be afraid|tell anybody|miss it)|(how|who) (could|can) (I|we|anyone) (forget|know|say)|(what a|such a) {thing}|(lol|haha|omg|yay|um|er|ha|phew|ugh|gosh)|(dear|my dear) {thing}|(well|so), where (was I|were we)"
    "|(we|you and I) (laughed|cried|waited|watched|held our breath)|it (was|is) the (best|worst|saddest|finest) {thing} of (my life|the year|all)|(my|our) (mother|father|brother|neighbour|wife|husband|boss|{thing}) (said|says|would say|told me|liked) (so|it|that)|(have you ever|did you ever) seen (that|such a thing|the like)"
    "|(and that|this) (was|is) only the (start|beginning)|(some|they) say (that|so)|it (seems|seemed|felt) like (a {thing}|yesterday|an eternity)|(love|yours|best wishes), (mum|{thing})|(p s|ps) {thing}|(seriously|honestly|frankly|actually|anyway)"
)
# A place that somebody speaks, dreams or hears of.
ELSEWHERE = (
    "I hate {place}|I love {place}|I (would rather|rather) be {where}|we could be {where}|how nice it would be {where}|there might be {place} tomorrow|there may be {place} in the hills by friday|this is no {place}|this is not {place}"
    "|it is far from {place} here|{where} it would be (warmer|colder|nicer|quieter)|(tomorrow|next year|one day) we will go to {place}|nobody thinks of {place}|it could be {place}|it is almost like {place}|last year we were {where}|my uncle lives {where}"
)
ELSEWHERE_OF = (
    "{S} *hate {place}|{S} (would rather|rather) be {where}|{S} *dream of {place}|{S} *dream of being {where}|{S} *think of {place}|{S} *miss {place}|{S} *wish to be {where}|{S} had been {where} once|{S} had never been {where}"
    "|{S} *know nothing of {place}|{S} *sing of {place}|{S} *tell us about {place}|{S} *prefer this to {place}|{S} once lived {where}|{S} was born {where}|{S} *want to go to {place} one day|{S} *remember {place}"
)
# What is told of somebody between commas.
PASSING = (
    "whom (nobody|no one|everybody) (knew|had expected|had missed [so much]|liked|had heard of)|whom we (know|had forgotten|met before|all missed)|who (had been waiting|had not slept|had slept badly|has a {thing}|likes {thing}|never had a {thing}|had seen it all before|knows no fear|was late)"
    "|whose {thing} is (famous|old|broken|new)|of whom (we|I) have told you|about whom (many|all) stories are told|which (surprises nobody|nobody had expected|makes us laugh)|as (usual|always|you would expect|we know)|(it|so it) seems|to (my|our) surprise|believe it or not|if you please|of all (people|things)|poor (thing|soul)"
)
# Why somebody does something; and what somebody feels about another, {O}.
WHY = "*give up|*have had enough|*have seen enough|*be tired of (it|waiting|the weather)|*lose heart|*shrug|*lose patience|can not wait any longer|*be bored|*be [very] (pleased|proud|glad)|*see that it is late|*look at the clock|*hear a bell|*think it over|*make up its mind|*take heart|*feel (better|lonely|cold)|*know what to do"
FEELS = "*do not like {O}|*do not trust {O}|*be (afraid|tired|sick|proud|jealous|fond) of {O}|*be (angry|happy|bored) with {O}|can not stand {O}|*have nothing to say to {O}|*have no time for {O}|*like {O} (very much|a lot)|*love {O}|*admire {O}|*quarrel with {O}|*forgive {O}|*feel sorry for {O}|*mistrust {O}"
