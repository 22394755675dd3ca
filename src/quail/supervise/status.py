"""The status of a supervised service: the 18 bytes that supervise writes and others read, and the sentence that svstat prints.

Bytes 0 to 7 seconds of a TAI64 label, 8 to 11 nanoseconds, both big-endian: when the pid last changed; 12 to 15 the pid,
little-endian, 0 if the service is down; 16 whether it is paused; 17 what is wanted: u, d, or 0 for once. Pure.
"""

from quail.supervise import tai64
from quail.supervise.keeper import DOWN, UP

SIZE = 18


def pack(when: int, pid: int, *, paused: bool, want: int) -> bytes:
    """`when` is the system clock's time in nanoseconds; labels of these tools are exact to a microsecond."""
    return _label(when // 1000) + pid.to_bytes(4, "little") + bytes((paused, want))


def _label(microseconds: int) -> bytes:
    return bytes.fromhex(tai64.label(microseconds)[1:].decode("ascii"))


def sentence(data: bytes, now: int, *, normally_down: bool) -> str:
    """What svstat says of these 18 bytes at `now`, in seconds of the system clock; ValueError if they are too few."""
    if len(data) < SIZE:
        raise ValueError("too short")
    seconds = max(0, int.from_bytes(_label(now * 1_000_000)[:8], "big") - int.from_bytes(data[:8], "big"))
    pid = int.from_bytes(data[12:16], "little")
    paused, want = data[16], data[17]
    text = f"up (pid {pid}) {seconds} seconds" if pid else f"down {seconds} seconds"
    if pid and normally_down:
        text += ", normally down"
    elif not pid and not normally_down:
        text += ", normally up"
    if pid and paused:
        text += ", paused"
    if not pid and want == UP:
        text += ", want up"
    if pid and want == DOWN:
        text += ", want down"
    return text
