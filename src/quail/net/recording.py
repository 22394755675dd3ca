"""The log of recordio: what a peer and a program say to each other, in lines with the program's pid.

    PID < from the peer      PID > from the program

Lines end with a blank; pieces that do not end a line, of at most 256 bytes, with a plus sign; the end of a stream is [EOF].
"""

_PIECE = 256


def lines(pid: int, mark: bytes, data: bytes) -> bytes:
    """What the log says of a piece of a stream, b"" at its end. `mark` is < or >."""
    prefix = b"%d %b " % (pid, mark)
    if not data:
        return prefix + b"[EOF]\n"
    said = []
    for at in range(0, len(data), _PIECE):
        *whole, rest = data[at : at + _PIECE].split(b"\n")
        said += [b"%b%b \n" % (prefix, line) for line in whole]
        if rest:
            said.append(b"%b%b+\n" % (prefix, rest))
    return b"".join(said)
