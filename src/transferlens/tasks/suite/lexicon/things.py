"""Things: countable nouns by kind, their irregular plurals, and adjectives that fit them."""

from __future__ import annotations

from types import MappingProxyType

from transferlens.tasks.suite.lexicon import words

__all__ = ["ADJECTIVES", "COLOURS", "IRREGULAR_PLURALS", "KINDS"]

KINDS = MappingProxyType(
    {
        "fruit": words("apple banana fig lemon mango melon orange peach pear plum"),
        "vegetable": words("""
            cabbage carrot cucumber leek onion potato pumpkin radish tomato turnip
        """),
        "instrument": words("""
            accordion banjo cello clarinet drum flute guitar harp trumpet violin
        """),
        "tool": words("axe broom chisel drill hammer ladder rake saw shovel wrench"),
        "vehicle": words("""
            bicycle boat canoe car cart motorbike scooter tractor truck van
        """),
        "garment": words("coat dress glove hat jacket scarf shirt skirt sock sweater"),
        "document": words("""
            book diary letter magazine manual map newspaper novel poem report
        """),
        "animal": words("calf cat dog donkey duck goat goose horse parrot rabbit"),
        "piece of furniture": words("""
            armchair bed bench chair cupboard desk shelf sofa stool table
        """),
        "container": words("""
            bag barrel basket bottle box bucket crate jar pot suitcase
        """),
        "toy": words("ball balloon doll kite marble puppet puzzle robot swing yo-yo"),
        "dish": words("""
            biscuit cake loaf omelette pancake pie pizza pudding salad sandwich
        """),
        "jewel": words("""
            bracelet brooch crown diamond earring necklace pearl ring ruby
        """),
        "device": words("""
            camera clock computer fan kettle lamp phone printer radio watch
        """),
        "plant": words("""
            cactus daisy fern lily orchid rose sunflower tulip violet vine
        """),
    }
)

IRREGULAR_PLURALS = MappingProxyType(
    {
        "calf": "calves",
        "goose": "geese",
        "loaf": "loaves",
        "scarf": "scarves",
        "shelf": "shelves",
        "potato": "potatoes",
        "tomato": "tomatoes",
        "mango": "mangoes",
        "cactus": "cactuses",
        "piece of furniture": "pieces of furniture",
        "child": "children",
        "man": "men",
        "woman": "women",
        "person": "people",
        "fisherman": "fishermen",
        "postman": "postmen",
    }
)

COLOURS = words("""
    black blue brown golden green grey orange pink purple red silver white yellow
""")

ADJECTIVES = words("""
    beautiful big cheap dirty dusty expensive heavy large little lovely new old pretty round
    shiny small strange tiny ugly useful wet wonderful
""")
