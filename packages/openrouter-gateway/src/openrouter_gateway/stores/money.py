"""Amounts of USD as integers, so that SQL sums them exactly on every database.

SQLite has no decimals, and its sums of floats drift. An amount is kept in two columns of 64-bit integers:

    USD = nano * 10**-9 + atto * 10**-18        with 0 <= atto < 10**9

Both columns are summed by SQL and put together here. A sum fits while it is below 9.2 billion USD and has fewer than
9.2 billion rows; SQLite refuses one that does not, it never rounds. One amount is finer than 10**-18 USD only if a
price per token is: it is then rounded half to even.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

_DIGITS: Final = 18
_PER_NANO: Final = 10**9
_LIMIT: Final = 10**6 * 10**_DIGITS
"""In units. No call costs a million USD: what a provider reports beyond is cut, so that it cannot spoil sums."""
_MOST: Final = Decimal(_LIMIT)
_EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)


def usd_text(amount: Decimal) -> str:
    """Return an amount as people write it: no exponent, no zeros at its end."""
    text = f"{amount:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def split_usd(amount: Decimal) -> tuple[int, int]:
    """Return an amount as `(nano, atto)`."""
    if not amount:
        return 0, 0
    units = int(amount.scaleb(_DIGITS, _EXACT).to_integral_value(ROUND_HALF_EVEN))
    if not -_LIMIT <= units <= _LIMIT:
        units = _LIMIT if units > 0 else -_LIMIT
    return split_units(units)


def exact_units(amount: Decimal) -> int | None:
    """Return an amount in units of 10**-18 USD if it is stored as it is; None if it would be rounded or cut."""
    scaled = amount.scaleb(_DIGITS, _EXACT)
    if scaled.copy_abs() > _MOST:
        return None
    units = int(scaled)
    return units if units == scaled else None


def split_units(units: int) -> tuple[int, int]:
    """Return `(nano, atto)` of an amount in units."""
    return divmod(units, _PER_NANO)


def join_usd(nano: int | Decimal | None, atto: int | Decimal | None) -> Decimal:
    """Return the amount of two columns, or of their sums: decimals in PostgreSQL, and null where there is no row."""
    units = int(nano or 0) * _PER_NANO + int(atto or 0)
    return _plain(Decimal(units).scaleb(-_DIGITS, _EXACT))


def round_usd(amount: Decimal) -> Decimal:
    """Return an amount as it is after being stored."""
    return join_usd(*split_usd(amount))


def _plain(amount: Decimal) -> Decimal:
    """Without zeros at the end of the fraction, and without an exponent."""
    short = amount.normalize(_EXACT)
    return short if int(short.as_tuple().exponent) <= 0 else short.quantize(Decimal(1), context=_EXACT)
