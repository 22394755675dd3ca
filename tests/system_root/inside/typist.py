"""Types for a person: runs a program on a terminal of its own, and sends it keys when it shows what is waited for.

    typist.py '[["text on the screen", "keys"], ...]' PROGRAM ARGUMENT...

Ends with the program's exit code, or with 99 and the screen when the program ends before that, or after half a minute.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

LIMIT = 30  # seconds


def main():
    steps = json.loads(sys.argv[1])
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(sys.argv[2], sys.argv[2:])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen = b""
    ended = False
    limit = time.monotonic() + LIMIT
    while not ended or steps:
        if steps and steps[0][0].encode() in screen:
            os.write(terminal, steps.pop(0)[1].encode())
            screen = b""
            continue
        try:
            left = max(0, limit - time.monotonic())
            data = os.read(terminal, 65536) if select.select([terminal], [], [], left)[0] else b""
        except OSError:  # what Linux says when the other end is closed
            data = b""
        if not data:
            if steps or time.monotonic() > limit:
                print(f"waited for {steps[:1]} in {screen.decode(errors='replace')}")
                sys.exit(99)
            ended = True
        screen += re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]", b"", data)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


main()
