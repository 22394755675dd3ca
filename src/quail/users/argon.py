"""Argon2id (RFC 9106) for the passwords of the user file: slow, and in need of memory, for whoever guesses.

19 MiB and two passes take about as long as the machine's own yescrypt: 30 ms on one core. The RFC's second recommendation
(64 MiB, three passes, four lanes) takes five to eight times that, of all cores: POP3 clients log in every few minutes,
each time anew, and a guesser in the network is held up elsewhere (policy/logins.py). One lane: log-ins are processes of
their own and share the cores anyway; no thread is made. Hashes with other parameters, made elsewhere, are checked as they
say.
"""

import binascii
import os

from quail.errors import TemporaryError

PASSES, MEMORY, LANES = 2, 19 * 1024, 1  # MEMORY in KiB
_SALT_BYTES, _HASH_BYTES = 16, 32
_LENGTHS = range(8, 65), range(16, 65)  # of salt and hash, in bytes
_MOST = {"m": 1 << 20, "t": 100, "p": 16}  # what a log-in may cost, whoever wrote the file
_START = "$argon2id$v=19$"
# Nobody's: of a random password that was not kept. Checking it takes as long as checking a real one.
NOBODY = _START + "m=19456,t=2,p=1$AjxAS5TfDpaAMQ62RwOQyg$k+sUXwBglBjo36X+QaIatTDs66OY0yXuIKt+6uiEBQU"


def load() -> None:
    """Import the library; else the first call does."""
    import argon2.low_level  # noqa: F401, PLC0415  programs that meet no such hash start faster


def make(password: bytes) -> str:
    """The hash of a password, with its salt and parameters, as text."""
    from argon2.low_level import Type, hash_secret  # noqa: PLC0415

    return hash_secret(password, os.urandom(_SALT_BYTES), PASSES, MEMORY, LANES, _HASH_BYTES, Type.ID).decode()


def matches(hashed: str, password: bytes) -> bool:
    """Whether it is the hash of this password. `hashed` has been judged. TemporaryError if it can't be told, mostly for want
    of memory.
    """
    from argon2.exceptions import VerificationError, VerifyMismatchError  # noqa: PLC0415
    from argon2.low_level import Type, verify_secret  # noqa: PLC0415

    try:
        return verify_secret(hashed.encode(), password, Type.ID)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        raise TemporaryError(f"unable to check a password: {error}") from error


def judge(hashed: str) -> None:
    """ValueError, with what is wrong, unless it is an argon2id hash that costs no more than a log-in may."""
    if not hashed.startswith(_START) or hashed.count("$") != 5:
        raise ValueError("is not $argon2id$v=19$m=...,t=...,p=...$SALT$HASH")
    parameters = dict(each.partition("=")[::2] for each in hashed.split("$")[3].split(","))
    if list(parameters) != ["m", "t", "p"] or not all(
        number.isascii() and number.isdigit() and len(number) < 9 for number in parameters.values()
    ):
        raise ValueError("has parameters that are not m=...,t=...,p=...")
    for name, most in _MOST.items():
        if not 1 <= int(parameters[name]) <= most:
            raise ValueError(f"has {name}={parameters[name]}, and 1 to {most} is allowed")
    for part, lengths in zip(hashed.split("$")[4:], _LENGTHS, strict=True):
        try:
            binary = binascii.a2b_base64(part + "=" * (-len(part) % 4), strict_mode=True)
        except binascii.Error:
            raise ValueError("has a salt or hash that is not base64") from None
        if len(binary) not in lengths or "=" in part:
            raise ValueError("has a salt or hash of a wrong length")
