"""Numbers on command lines, as the original tools read them: decimal digits, modulo 2^64. Pure."""

_AT_ONCE = 1000  # digits; the interpreter makes no number of more than 4300


def wrapped(digits: bytes) -> int:
    """What the digits say, however many; without any, 0."""
    number = 0
    for at in range(0, len(digits), _AT_ONCE):
        part = digits[at : at + _AT_ONCE]
        number = (number * pow(10, len(part), 1 << 64) + int(part)) % (1 << 64)
    return number
