"""Everyday words for ImageNet's thousand classes: whose probabilities add up to which word.

Classes of clothes, of tools and of parts of people are left out on purpose: on a face, a classifier that has never
learned faces answers with a wig, a neck brace or a lipstick.
"""

from __future__ import annotations

from functools import cache

# word -> numbers of its classes (ILSVRC 2012, as sorted by WordNet id): single ones, or the first and last of a range
OBJECTS: dict[str, tuple[int | tuple[int, int], ...]] = {
    "fish": ((0, 6), (389, 397)),
    "bird": ((7, 24), (80, 100), (127, 146)),
    "frog": ((30, 32),),
    "salamander": ((25, 29),),
    "turtle": ((33, 37),),
    "lizard": ((38, 48),),
    "crocodile": ((49, 50),),
    "snake": ((52, 68),),
    "spider": ((72, 77),),
    "spider web": (815,),
    "scorpion": (71,),
    "jellyfish": (107,),
    "coral": ((108, 109), 973),
    "snail": (113,),
    "shell": (112, 117),
    "crab": ((118, 121), 125),
    "lobster": ((122, 124),),
    "whale": ((147, 148),),
    "seal": (150,),
    "dog": ((151, 268),),
    "wolf": ((269, 275),),
    "fox": ((277, 280),),
    "cat": ((281, 285),),
    "big cat": ((286, 293),),
    "bear": ((294, 297),),
    "panda": (388,),
    "beetle": ((300, 307),),
    "fly": (308,),
    "bee": (309,),
    "ant": (310,),
    "grasshopper": ((311, 312),),
    "mantis": ((313, 315),),
    "cicada": ((316, 317),),
    "dragonfly": ((318, 320),),
    "butterfly": ((321, 326),),
    "starfish": (327,),
    "sea urchin": (328,),
    "rabbit": ((330, 332),),
    "squirrel": (335,),
    "horse": (339,),
    "zebra": (340,),
    "pig": ((341, 343),),
    "hippopotamus": (344,),
    "cattle": ((345, 347),),
    "sheep": ((348, 350),),
    "antelope": ((351, 353),),
    "camel": ((354, 355),),
    "monkey": ((365, 384),),
    "elephant": (101, (385, 386)),
    "kangaroo": (104,),
    "koala": (105,),
    "airplane": (404, 895),
    "boat": (472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 871, 914),
    "car": (407, 436, 468, 511, 609, 627, 656, 661, 751, 817),
    "truck": (555, 569, 654, 675, 717, 734, 757, 779, 864, 867, 874),
    "bicycle": (444, 671),
    "train": (466, 547, 565, 705, 820, 829),
    "building": (425, 449, 483, 497, 498, 538, 580, 634, 660, 663, 668, 698, 727, 743, 832),
    "bridge": (718, 821, 839, 888),
    "lighthouse": (437,),
    "clock": (409, 530, 892),
    "books": (454, 624, 917, 921),
    "screen": (620, 664, 681, 782),
    "keyboard": (508,),
    "cup": (504, 967, 968),
    "bottle": (440, 720, 737, 898, 907),
    "bread": ((930, 932),),
    "pizza": (963,),
    "vegetables": ((936, 945),),
    "fruit": ((948, 957),),
    "flower": ((984, 986),),
    "mushroom": (947, (991, 997)),
    "corn": (987, 998),
    "mountain": (970, 972, 979, 980),
    "shore": ((975, 978),),
}


@cache
def class_numbers(word: str) -> tuple[int, ...]:
    """List the classes of a word, each once, in order."""
    numbers: set[int] = set()
    for entry in OBJECTS[word]:
        first, last = entry if isinstance(entry, tuple) else (entry, entry)
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))
