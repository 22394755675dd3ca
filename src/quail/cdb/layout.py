"""The constant database of D. J. Bernstein (cdb), as its format page defines it; what reader and maker share.

    0..2047   256 pairs: position and number of slots of each hash table
    2048..    records: key length, data length, key, data; one after another in the order they were added
    then      the 256 hash tables; a slot is a pair: hash, position of a record; position 0 is an empty slot

Every number is an unsigned 32-bit little-endian integer, so a file stays under 4 GiB. A key with hash h belongs into table
h mod 256 and is looked for from slot (h / 256) mod slots on, around the table, until an empty slot.
"""

from bisect import bisect_right
from struct import unpack

HEADER_SIZE = 2048
TABLES = 256
PAIR = "<LL"  # every element of the format: position and slots, lengths, hash and position
PAIR_SIZE = 8
MAX_SIZE = 0xFFFFFFFF

_SEED = 5381
_MASK = 0xFFFFFFFF
# Multiplying and xoring move nothing from high bits to low ones, so h may outgrow 32 bits for a while; so many bytes keep it
# small enough to be faster than a mask at each.
_STRIDE = 32
# Hashing several keys at once: one long number has a lane for each, wide enough that 33h stays inside it.
_LANE = 5
_FEWEST_LANES = 4


def cdb_hash(key: bytes) -> int:
    """The hash of a key: for each byte h = 33h xor byte, from 5381, in 32 bits."""
    h = _SEED
    if len(key) <= _STRIDE:
        for byte in key:
            h = h * 33 ^ byte
        return h & _MASK
    for start in range(0, len(key), _STRIDE):
        for byte in key[start : start + _STRIDE]:
            h = h * 33 ^ byte
        h &= _MASK
    return h


def cdb_hashes(keys: list[bytes]) -> list[int]:
    """The hashes of many keys, in their order; for thousands of keys several times faster than one by one."""
    lengths = [*map(len, keys)]
    if lengths and lengths.count(lengths[0]) == len(keys) >= _FEWEST_LANES and lengths[0]:
        return _hash_lanes(b"".join(keys), lengths[0])
    order = sorted(range(len(keys)), key=lengths.__getitem__)
    lengths.sort()
    sorted_keys = [keys[number] for number in order]
    found: list[int] = []
    while len(found) < len(keys):
        start = len(found)
        length = lengths[start]
        end = bisect_right(lengths, length, start)
        if not length or end - start < _FEWEST_LANES:
            found += [cdb_hash(key) for key in sorted_keys[start:end]]
        else:
            found += _hash_lanes(b"".join(sorted_keys[start:end]), length)
    hashes = [0] * len(keys)
    for number, h in zip(order, found, strict=True):
        hashes[number] = h
    return hashes


def _hash_lanes(joined: bytes, length: int) -> list[int]:
    """The hashes of keys of one length, given end to end."""
    count = len(joined) // length
    ones = int.from_bytes(b"\1\0\0\0\0" * count, "little")
    mask = ones * _MASK
    h = ones * _SEED
    column = bytearray(_LANE * count)
    for place in range(length):
        column[::_LANE] = joined[place::length]
        h = (h * 33 ^ int.from_bytes(column, "little")) & mask
    lanes = h.to_bytes(_LANE * count, "little")
    words = bytearray(4 * count)
    for byte in range(4):
        words[byte::4] = lanes[byte::_LANE]
    return [*unpack(f"<{count}L", words)]


def prefix_hashes(key: bytes) -> list[int]:
    """cdb_hash of each start of the key: key[:0], key[:1], ... key[:len(key)]; in linear time, whoever chose the key."""
    h = _SEED
    hashes = [h]
    for byte in key:
        h = (h * 33 ^ byte) & 0xFFFFFFFF
        hashes.append(h)
    return hashes
