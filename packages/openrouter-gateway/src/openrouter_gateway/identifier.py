"""Identifiers that the gateway hands out."""

import random
import string

_ALPHABET = string.ascii_letters + string.digits


def new_generation_id(unix_s: int, dice: random.Random) -> str:
    """Return `gen-<unix seconds>-<20 letters and digits>`, as OpenRouter's look."""
    return f"gen-{unix_s}-{''.join(dice.choices(_ALPHABET, k=20))}"
