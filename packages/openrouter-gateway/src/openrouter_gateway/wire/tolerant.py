"""Reading of what providers get slightly wrong: odd JSON, counts as floats, numbers as text, null for nothing."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from openrouter_gateway.errors import Garbled

_MAX_COUNT: Final = 10**15
"""No answer has as many tokens. Sums of such counts stay far within what JSON parsers take."""
_MAX_AMOUNT: Final = 10**9
_MAX_DIGITS: Final = 40
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_decode = msgspec.json.Decoder().decode


def parse_json(payload: bytes) -> object:
    """Decode one JSON value of a reply.

    Raises:
        Garbled: the bytes are not JSON.
    """
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _decode_leniently(payload, error)
    except RecursionError as error:
        raise _not_json(error) from None


def _decode_leniently(payload: bytes, error: Exception) -> object:
    """Decode what Python's own `json` takes and msgspec does not.

    That is NaN and Infinity, which become null, and halves of surrogate pairs, which become U+FFFD: a server that cuts
    its text by UTF-16 units sends the two halves of an emoji in two chunks.
    """
    try:
        value = json.loads(payload.decode(), parse_constant=lambda _: None)
        text = json.dumps(value, ensure_ascii=False)
        return _decode(_LONE_SURROGATE.sub("\ufffd", text).encode())
    except (ValueError, RecursionError):
        raise _not_json(error) from None


def _not_json(error: Exception) -> Garbled:
    return Garbled(f"the provider sent something that is not JSON: {error}")


def as_count(value: object) -> int:
    """Return a token count: a whole number >= 0. Fractions are rounded up, anything else counts 0."""
    if type(value) is int:
        return value if 0 < value < _MAX_COUNT else 0
    if isinstance(value, float) and 0 < value < _MAX_COUNT:
        return -int(-value // 1)
    return 0


def as_amount(value: object) -> Decimal | None:
    """Return USD as a decimal, or None when the provider gave no number, or one that is no cost of a call.

    No cost is one that is negative, over a billion, or finer than any price: such numbers need not survive arithmetic,
    and written without exponent they have as many digits as their sender wants.
    """
    match value:
        case bool():
            return None
        case int() | float():
            if not 0 <= value < _MAX_AMOUNT:  # nor is NaN
                return None
        case str():
            if len(value) > _MAX_DIGITS:
                return None
        case _:
            return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < _MAX_AMOUNT:
        return None
    return amount if -_MAX_DIGITS < amount.adjusted() < _MAX_DIGITS else None
