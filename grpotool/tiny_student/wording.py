"""How people speak in the tiny student's lessons: the phrases of phrases.yaml, and many that are
drawn.

In: a random generator. Out: the wording of one person.
"""
from __future__ import annotations

import random
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

from looptool.simulation.world.catalogue import read_yaml
from looptool.simulation.world.language import Phrases
from looptool.simulation.world.values import made_up_word, plain_words

SIGNS = (" ", ": ", " - ", " = ", " -> ", ", ")
JOINS = (", ", "; ", " / ", " & ", " and ", ". ", " - ")


def random_word(rng: random.Random, plain: bool = False) -> str:
    """A plain English word, or one that does not exist."""
    return rng.choice(plain_words()) if plain or rng.random() < 0.85 else made_up_word(rng)


@lru_cache(maxsize=1)
def lesson_phrases() -> tuple[Phrases, list[str]]:
    """The wording of the lessons, and the small words that may stand anywhere between what
    matters."""
    section = read_yaml(Path(__file__).parent / "phrases.yaml")
    small_words = section.pop("small words").split()
    section["yes_no"] = [tuple(pair) for pair in section["yes_no"]]
    return Phrases(**{name: tuple(entries) for name, entries in section.items()}), small_words


def random_phrases(rng: random.Random, oddity: float, plain: bool = False) -> Phrases:
    """One person's wording: what the file has, and a share of `oddity` that nobody has said before.

    What holds names and values together is small words and signs in any order. A student that has
    heard a few patterns only knows these; so it has to learn to look for the names and values
    themselves.
    """
    known, small_words = lesson_phrases()

    def small(least: int, most: int) -> str:
        drawn = [rng.choice(small_words) if rng.random() < 0.85 else random_word(rng)
                 for _ in range(rng.randint(least, most))]
        return " ".join(drawn)

    def between() -> str:
        return rng.choice((f" {small(1, 2)} ", f" {small(1, 2)} ", *SIGNS))

    slots = tuple(f"{rng.choice(('', 'a ', small(1, 2) + ' '))}{{cue}}{between()}{{value}}"
                  for _ in range(3))
    new = replace(
        known, slots=slots, connectors=(between(),),
        joiners=(rng.choice((f" {small(1, 2)} ", f", {small(1, 1)} ", *JOINS)),),
        lists=(between(),), references=(small(2, 4),),
        pairs=(f"{{first}}{rng.choice((', ', '; '))}{small(1, 2)} {{second}}",
               f"{{first}}. {small(1, 3).capitalize()}{rng.choice((' ', ', '))}{{second}}"),
        frames=tuple(f"{small(1, 4).capitalize()} {{request}}{end}"
                     for end in (".", "?", "!", f", {small(1, 3)}.")),
        answers=(f"{small(1, 2).capitalize()} {{slots}}.",),
        agains=(f"{small(2, 5).capitalize()} {{slots}}.",))
    return Phrases(**{field.name: getattr(new if rng.random() < oddity else known, field.name)
                      for field in fields(Phrases)})
