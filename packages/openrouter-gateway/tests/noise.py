"""Replies of providers that got spoiled on the way, or in the provider."""

import random


def spoil(data: bytearray, dice: random.Random) -> None:
    """Change the data somewhere: another byte, a piece less, a piece twice, a value of another kind."""
    at = dice.randrange(len(data) + 1)
    match dice.randrange(5):
        case 0:
            data[at : at + 1] = bytes([dice.randrange(256)])
        case 1:
            del data[at : at + dice.randint(1, 200)]
        case 2:
            data[at:at] = data[at : at + dice.randint(1, 400)]
        case 3:
            start = data.find(b":", at)
            end = min((place for sign in b",}" if (place := data.find(sign, start)) > 0), default=start)
            data[start + 1 : end] = dice.choice([b"null", b"1", b'"x"', b"[]", b"{}", b"true", b"1e400", b"-1"])
        case _:
            data[at:at] = dice.choice([b"\n\n", b"\r", b"event: error\n", b"data: {}\n\n", b"\xff", b"data\n\n", b'"'])
    if not data:
        data += b"\n"
