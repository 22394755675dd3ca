"""Run by mallory until it is killed: what a path of his leads to changes again and again between his own and bob's.

swap.py home|maildir|dotqmail
"""

import os
import sys
import time

PAUSE = 0.0003  # seconds; a delivery takes ten times as long


def swap(place, own, other):
    """`place` is a link; one rename at a time, it never is missing."""
    turn = 0
    while True:
        turn += 1
        new = f"{place}.next"
        os.symlink(other if turn % 2 else own, new)
        os.rename(new, place)
        time.sleep(PAUSE)


def rewrite(place):
    """One file, rewritten in place: half of it may be old, half new."""
    texts = [
        b"./Maildir/\n",
        b"|exit 99\n",
        b"&alice@example.test\n" * 3,
        b"/home/bob/Maildir/\n",
        b"\n",
        b"|" * 500 + b"\n",
    ]
    turn = 0
    while True:
        turn += 1
        with open(place, "r+b", buffering=0) as file:
            text = texts[turn % len(texts)]
            file.write(text)
            file.truncate(len(text))
        time.sleep(PAUSE)


print("going", flush=True)
{"link": swap, "rewrite": rewrite}[sys.argv[1]](*sys.argv[2:])
