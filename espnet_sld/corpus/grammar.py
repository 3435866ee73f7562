"""The written grammar of the embedded corpus: short spoken commands and numbers.

A template is a line of words and `{slots}`; a sentence is a template with its slots filled at random.
Homophones are left out (no "for", "to", "right" beside "write"), so that a transcript follows from the
sound alone. Sentences have 3 to 8 words, about 5 on average, and many have 3: a curriculum starts there.
"""

import hashlib
import random
import re

# fmt: off
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
         "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SLOTS = {
    "digit": DIGITS,
    "room": ("kitchen", "bedroom", "bathroom", "hallway", "garage", "office", "garden", "balcony"),
    "device": ("lamp", "fan", "heater", "radio", "television", "camera", "speaker"),
    "opening": ("door", "window", "curtain", "gate"),
    "colour": ("red", "green", "blue", "yellow", "white", "orange", "purple"),
    "direction": ("left", "up", "down", "north", "south", "east", "west", "forward"),
    "person": ("anna", "peter", "maria", "oliver", "julia", "thomas"),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "half": ("morning", "evening"),
    "switch": ("on", "off"),
    "state": ("on", "off", "up", "down", "now"),
    "handle": ("open", "close", "lock"),
    "step": ("move", "turn", "walk"),
    "reach": ("call", "remind", "invite"),
}
# fmt: on
# (weight, template). {number}: 0–999 read out; {small}: 1–99; {hour}: 1–12; {minute}: ten … fifty.
# Weights follow how many sentences a template has, so that small templates are not used up.
TEMPLATES = (
    (6, "{colour} {device} {state}"),
    (6, "{room} {device} {state}"),
    (6, "{step} {direction} {digit}"),
    (5, "{digit} {digit} {digit}"),
    (5, "{reach} {person} {day}"),
    (4, "{day} {half} {hour}"),
    (4, "{room} {opening} {handle}"),
    (5, "{handle} the {room} {opening}"),
    (5, "turn {direction} {small} degrees"),
    (4, "{room} {device} at {digit}"),
    (5, "{digit} {digit} {digit} {digit}"),
    (5, "{number}"),
    (5, "turn {switch} the {room} {device}"),
    (4, "{handle} the {colour} {opening} now"),
    (4, "set the {device} at {number}"),
    (4, "play song number {number}"),
    (3, "wake me at {hour} {minute}"),
    (5, "make the {room} {device} {colour}"),
    (4, "please {handle} the {room} {opening} now"),
    (4, "{reach} {person} on {day} {half}"),
    (3, "start the timer with {small} minutes"),
    (4, "send {person} a message at {hour} {minute}"),
    (3, "set the {colour} {device} at {small} percent"),
    (3, "please stop the {colour} {device} after {small} seconds"),
    (3, "{reach} {person} on {day} {half} at {hour} {minute}"),
)
MIN_WORDS, MAX_WORDS = 3, 8
# Which hundredth of the hash range belongs to which set: a sentence is in one set whatever the seed.
SHARES = {"train": (0, 48), "dev": (48, 56), "test": (56, 92), "test_voices": (92, 100)}


def spell(number: int) -> str:
    """0–999 in words, as `three hundred forty two`."""
    if number >= 100:
        rest = number % 100
        return f"{DIGITS[number // 100]} hundred" + (f" {spell(rest)}" if rest else "")
    if number >= 20:
        return TENS[number // 10 - 2] + (f" {DIGITS[number % 10]}" if number % 10 else "")
    return (DIGITS + TEENS)[number]


def _below_hundred(rng: random.Random) -> int:
    """1–99; ten to nineteen more often than by chance, or each teen would be heard a few times only."""
    return rng.randrange(10, 20) if rng.random() < 0.35 else rng.randrange(1, 100)


def _fill(name: str, rng: random.Random) -> str:
    if name == "number":
        return spell(100 * rng.randrange(10) + rng.choice((0, *[_below_hundred(rng)] * 9)))
    if name == "small":
        return spell(_below_hundred(rng))
    if name == "hour":
        return spell(rng.randrange(1, 13))
    if name == "minute":
        return spell(rng.choice((10, 15, 20, 30, 40, 45, 50)))
    return rng.choice(SLOTS[name])


def draw(rng: random.Random) -> str:
    """One sentence of 3 to 8 words."""
    weights, templates = zip(*TEMPLATES, strict=True)
    while True:
        template = rng.choices(templates, weights)[0]
        sentence = re.sub(r"\{(\w+)\}", lambda slot: _fill(slot[1], rng), template)
        if MIN_WORDS <= len(sentence.split()) <= MAX_WORDS:
            return sentence


def set_of(sentence: str) -> str:
    """The only set that may hold this sentence: a function of its words."""
    place = int.from_bytes(hashlib.blake2b(sentence.encode(), digest_size=8).digest(), "big") % 100
    return next(name for name, (low, high) in SHARES.items() if low <= place < high)


def vocabulary() -> set[str]:
    """Every word that a sentence can hold."""
    words = {*DIGITS, *TEENS, *TENS, "hundred", *(word for slot in SLOTS.values() for word in slot)}
    for _, template in TEMPLATES:
        words |= {word for word in template.split() if "{" not in word}
    return words
