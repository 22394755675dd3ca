"""usage: tcprulescheck rules.cdb

Says what the rules do with the peer whose address, name and ident information are in $TCPREMOTEIP (0.0.0.0 if unset),
$TCPREMOTEHOST and $TCPREMOTEINFO. Exit 0 whatever that is, 111 if rules.cdb can't be read.
"""

import os

from quail.cdb.reader import Reader
from quail.errors import PeerError, TemporaryError
from quail.net.tcprules import addresses, instructions
from quail.programs.run import output, program, read_file


@program("tcprulescheck", takes=(1, None))
def main(args: list[bytes]) -> None:
    path = os.fsdecode(args[0])
    env = os.environb
    ip = env.get(b"TCPREMOTEIP", b"0.0.0.0")
    try:
        reader = Reader(read_file(path))
        for address in addresses(ip, env.get(b"TCPREMOTEHOST"), env.get(b"TCPREMOTEINFO")):
            data = reader.get(address)
            if data is not None:
                output(b"rule %s:\n%s" % (address, _described(data)))
                return
    except PeerError as error:
        raise TemporaryError(f"unable to read {path}: protocol error") from error
    output(b"default:\nallow connection\n")


def _described(data: bytes) -> bytes:
    lines = b""
    for order in instructions(data):
        if order is None:
            return lines + b"deny connection\n"
        lines += b"set environment variable %s\n" % order
    return lines + b"allow connection\n"


if __name__ == "__main__":
    main()
