"""Identifiers that the gateway hands out."""

import random


def new_generation_id(unix_s: int, dice: random.Random) -> str:
    """Return `gen-<unix seconds>-<20 letters and digits>`, as OpenRouter's look: 80 bits in hexadecimal."""
    return f"gen-{unix_s}-{dice.getrandbits(80):020x}"
