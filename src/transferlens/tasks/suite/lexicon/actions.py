"""Actions: verbs with all their forms, the things that they apply to, and circumstances."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from transferlens.tasks.suite.lexicon import phrases, words

__all__ = [
    "ADVERBS",
    "GIVING",
    "INTRANSITIVE",
    "PLACES",
    "REASONS",
    "SYNONYMS",
    "TIMES",
    "TRANSITIVE",
    "Verb",
]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: plain form, simple past, past participle, gerund, and kinds of its object."""

    plain: str
    past: str
    participle: str
    gerund: str
    kinds: tuple[str, ...] = ()

    @property
    def third(self) -> str:
        """Third person singular of the present tense."""
        if self.plain.endswith(("s", "sh", "ch", "x")):
            return f"{self.plain}es"
        if self.plain.endswith("y") and self.plain[-2] not in "aeiou":
            return f"{self.plain[:-1]}ies"
        return f"{self.plain}s"


def _verbs(table: str) -> tuple[Verb, ...]:
    """Read one verb per line: four forms, then a colon and the kinds of object."""
    verbs = []
    for line in table.strip().splitlines():
        forms, _, kinds = line.partition(":")
        plain, past, participle, gerund = forms.split()
        objects = tuple(kind.strip().replace("_", " ") for kind in kinds.split(",") if kind.strip())
        verbs.append(Verb(plain, past, participle, gerund, objects))
    return tuple(verbs)


TRANSITIVE = _verbs("""
admire admired admired admiring: instrument, vehicle, garment, animal, jewel, plant, toy
bake baked baked baking: dish
borrow borrowed borrowed borrowing: tool, vehicle, document, instrument, container, garment
break broke broken breaking: device, toy, container, instrument, tool
build built built building: piece_of_furniture, toy, vehicle
buy bought bought buying: fruit, vegetable, instrument, tool, vehicle, garment, document, jewel, toy
carry carried carried carrying: container, instrument, tool, document, plant, fruit, toy
choose chose chosen choosing: garment, jewel, document, plant, toy, device
clean cleaned cleaned cleaning: vehicle, piece_of_furniture, container, device, tool
collect collected collected collecting: document, toy, jewel, container
copy copied copied copying: document
deliver delivered delivered delivering: document, container, piece_of_furniture, dish, device
describe described described describing: animal, vehicle, jewel, plant, garment
draw drew drawn drawing: animal, plant, vehicle, container, fruit
drive drove driven driving: vehicle
drop dropped dropped dropping: container, device, jewel, document, dish
eat ate eaten eating: fruit, vegetable, dish
feed fed fed feeding: animal
fill filled filled filling: container
find found found finding: jewel, document, animal, tool, toy, device, garment
hide hid hidden hiding: jewel, document, toy, container, dish
lose lost lost losing: jewel, document, garment, toy, animal, tool
mend mended mended mending: garment, toy, piece_of_furniture, container
move moved moved moving: piece_of_furniture, container, vehicle, plant
open opened opened opening: container, document
paint painted painted painting: piece_of_furniture, vehicle, toy, container
peel peeled peeled peeling: fruit, vegetable
photograph photographed photographed photographing: animal, plant, vehicle, jewel
plant planted planted planting: plant
play played played playing: instrument
polish polished polished polishing: jewel, instrument, piece_of_furniture, vehicle
read read read reading: document
rent rented rented renting: vehicle, instrument, tool
repair repaired repaired repairing: device, vehicle, instrument, tool, piece_of_furniture
sell sold sold selling: fruit, vegetable, vehicle, jewel, animal, garment, device, dish
steal stole stolen stealing: jewel, vehicle, document, device, animal, dish
taste tasted tasted tasting: fruit, dish, vegetable
test tested tested testing: device, vehicle, instrument, tool
tune tuned tuned tuning: instrument
wash washed washed washing: garment, vehicle, animal, fruit, vegetable, container
water watered watered watering: plant
wear wore worn wearing: garment, jewel
weigh weighed weighed weighing: fruit, vegetable, container, animal, jewel
write wrote written writing: document
""")

GIVING = _verbs("""
bring brought brought bringing: fruit, document, dish, tool, plant, garment
give gave given giving: fruit, toy, jewel, document, plant, garment, dish
lend lent lent lending: tool, instrument, vehicle, document, device
offer offered offered offering: fruit, dish, piece_of_furniture, plant
send sent sent sending: document, container, jewel, toy, garment
show showed shown showing: document, jewel, device, animal, toy, instrument
""")

INTRANSITIVE = _verbs("""
arrive arrived arrived arriving
bow bowed bowed bowing
cough coughed coughed coughing
cry cried cried crying
dance danced danced dancing
dream dreamed dreamed dreaming
fall fell fallen falling
hesitate hesitated hesitated hesitating
jump jumped jumped jumping
kneel knelt knelt kneeling
laugh laughed laughed laughing
listen listened listened listening
rest rested rested resting
run ran run running
shout shouted shouted shouting
sing sang sung singing
sit sat sat sitting
sleep slept slept sleeping
smile smiled smiled smiling
sneeze sneezed sneezed sneezing
stumble stumbled stumbled stumbling
swim swam swum swimming
wait waited waited waiting
walk walked walked walking
wave waved waved waving
whisper whispered whispered whispering
whistle whistled whistled whistling
work worked worked working
yawn yawned yawned yawning
""")

PLACES = phrases("""
    at the airport; at the bakery; at the bus stop; at the castle; at the fair; at the harbour;
    at the hospital; at the hotel; at the library; at the market; at the museum; at the office;
    at the park; at the school; at the station; at the theatre; at the zoo; behind the church;
    behind the factory; by the fountain; by the lake; by the river; in Berlin; in Cairo; in
    Lima; in Lisbon; in Oslo; in Rome; in Tokyo; in the attic; in the barn; in the basement; in
    the bathroom; in the cave; in the desert; in the forest; in the garage; in the garden; in
    the hall; in the kitchen; in the valley; in the village; near the bridge; near the gate;
    near the mill; on the beach; on the farm; on the island; on the roof; on the ship; on the
    terrace; on the train; under the old oak
""")

TIMES = phrases("""
    after breakfast; after dinner; after lunch; after the concert; after the lesson; after the
    storm; at dawn; at midnight; at noon; at sunset; before breakfast; before lunch; before the
    meeting; before the wedding; during the holidays; during the strike; in April; in August; in
    December; in July; in March; in October; in autumn; in spring; in summer; in winter; on
    Friday; on Monday; on Saturday; on Sunday; on Thursday; on Tuesday; on Wednesday
""")

ADVERBS = words("""
    angrily badly bravely calmly carefully cheerfully clumsily eagerly gently happily nervously
    patiently proudly quickly quietly sadly secretly slowly suddenly
""")

REASONS = phrases("""
    because it was raining; because the shop was closed; because a friend had asked for it;
    because there was nothing else to do; because the weather was fine; because time was short;
    because guests were coming; because it was a holiday; because nobody else wanted to; because
    the evening was long; because a storm was near; because the price was low; because the
    doctor had advised it; because everybody was watching
""")

SYNONYMS = MappingProxyType(
    {
        "admire": Verb("praise", "praised", "praised", "praising"),
        "build": Verb("construct", "constructed", "constructed", "constructing"),
        "buy": Verb("purchase", "purchased", "purchased", "purchasing"),
        "carry": Verb("transport", "transported", "transported", "transporting"),
        "choose": Verb("select", "selected", "selected", "selecting"),
        "collect": Verb("gather", "gathered", "gathered", "gathering"),
        "find": Verb("discover", "discovered", "discovered", "discovering"),
        "hide": Verb("conceal", "concealed", "concealed", "concealing"),
        "mend": Verb("fix", "fixed", "fixed", "fixing"),
        "move": Verb("shift", "shifted", "shifted", "shifting"),
        "repair": Verb("fix", "fixed", "fixed", "fixing"),
        "steal": Verb("pinch", "pinched", "pinched", "pinching"),
        "taste": Verb("try", "tried", "tried", "trying"),
        "lose": Verb("mislay", "mislaid", "mislaid", "mislaying"),
    }
)
