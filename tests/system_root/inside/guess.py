"""What somebody can do who has popd's account: connect to authd and say anything. Arguments: a JSON list of attempts.

Prints a JSON list: for each attempt what authd answered ("K", "N", "T", "closed"), and what came to the client's connection.
"""

import array
import json
import os
import socket
import struct
import sys
import time


def attempt(user, secret, *, method="P", service="pop3", descriptor=True, junk=None, age=0):
    ours, theirs = socket.socketpair()
    authd = socket.socket(socket.AF_UNIX)
    authd.connect("/var/qmail/run/authd.sock")
    fields = [service, user, secret, "<1@h>", "192.0.2.9"]
    payload = struct.pack(">I", 7) + method.encode() + struct.pack(">Q", int((time.monotonic() - age) * 1000))
    payload += b"".join(struct.pack(">H", len(field)) + field.encode() for field in fields)
    frame = struct.pack(">I", len(payload)) + payload if junk is None else bytes.fromhex(junk)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
    authd.sendmsg([frame], rights if descriptor else [])
    theirs.close()
    answer = authd.recv(4096)
    letter = answer[8:9].decode() if answer else "closed"
    if letter == "K":
        ours.sendall(b"QUIT\r\n")
    text = ours.makefile("rb").read() if letter == "K" else b""
    return [letter, text.decode()]


try:
    print(json.dumps([attempt(**words) for words in json.loads(sys.argv[1])]))
except OSError as error:
    print(json.dumps([type(error).__name__, os.getuid()]))
