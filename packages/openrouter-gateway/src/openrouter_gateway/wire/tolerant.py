"""Reading of values that providers get slightly wrong: counts as floats, numbers as text, null for nothing."""

from decimal import Decimal, InvalidOperation


def as_count(value: object) -> int:
    """Return a token count: a whole number >= 0. Fractions are rounded up, anything else counts 0."""
    if type(value) is int:
        return max(value, 0)
    if isinstance(value, float) and 0 < value < 1e15:
        return -int(-value // 1)
    return 0


def as_amount(value: object) -> Decimal | None:
    """Return USD as a decimal, or None when the provider gave no finite number."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
