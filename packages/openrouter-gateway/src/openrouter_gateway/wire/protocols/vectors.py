"""Vectors as JSON: numbers, or base64 of 32-bit floats; checked, and brought from one form into the other."""

import base64
import math
import sys
from array import array
from typing import Final

import msgspec
from msgspec import Raw

from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.errors import Garbled

_NUMBER_CHARACTERS: Final = b"0123456789+-.eE, \t\r\n"
_MOST: Final = 3.4028234663852886e38  # of a 32-bit float

_encode = msgspec.json.Encoder().encode
_decode_numbers = msgspec.json.Decoder(list[float]).decode
_decode_text = msgspec.json.Decoder(str).decode


def to_wanted(vector: Raw, task: Embedding) -> Raw:
    """Return a provider's vector in the encoding that is asked for; untouched if it is that already.

    Raises:
        Garbled: it is no vector, or not as long as was asked for.
    """
    data = bytes(vector)
    if data.startswith(b'"'):
        floats = _from_base64(data)
        _check_length(len(floats), task)
        return vector if task.encoding == "base64" else Raw(_encode(floats.tolist()))
    if data.translate(None, _NUMBER_CHARACTERS) != b"[]":
        raise Garbled("the provider sent a vector that is neither numbers nor text")
    numbers = data.count(b",") + 1
    if numbers == 1 and not data[1:-1].strip():
        numbers = 0
    _check_length(numbers, task)
    return vector if task.encoding == "float" else Raw(_to_base64(_decode_numbers(data)))


def _check_length(length: int, task: Embedding) -> None:
    if not length:
        raise Garbled("the provider sent a vector without numbers")
    if task.dimensions is not None and length != task.dimensions:
        raise Garbled(f"the provider sent a vector of {length} numbers, and {task.dimensions} were asked for")


def _from_base64(data: bytes) -> "array[float]":
    floats = array("f")
    try:
        floats.frombytes(base64.b64decode(_decode_text(data), validate=True))
    except ValueError:
        raise Garbled("the provider sent a vector that is not base64 of 32-bit floats") from None
    if sys.byteorder == "big":
        floats.byteswap()
    if not all(map(math.isfinite, floats)):
        raise Garbled("the provider sent a vector with something that is not a number")
    return floats


def _to_base64(numbers: list[float]) -> bytes:
    if any(abs(number) > _MOST for number in numbers):
        raise Garbled("the provider sent a vector with numbers that are too large for 32-bit floats")
    floats = array("f", numbers)
    if sys.byteorder == "big":
        floats.byteswap()
    return _encode(base64.b64encode(floats.tobytes()).decode())
