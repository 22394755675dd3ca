"""A qmail-start of the tests' own: send_launcher.py HOW PROGRAM ARGUMENT ... -- PROGRAM ARGUMENT ... -- PROGRAM ...

Starts a local spawner, a remote spawner and a cleaner, connects them, and becomes qmail-send, with the log on descriptor 0, as
facts-qmail 4.1 draws it. What it has as standard output is the log.
"""

import os
import sys


def start(words, commands, reports, inherited):
    """With these as its descriptors 0 and 1."""
    if os.fork() == 0:
        os.dup2(commands, 0)
        os.dup2(reports, 1)
        os.closerange(3, max(inherited) + 1)
        os.execvp(words[0], words)


def split(words):
    found = [[]]
    for word in words:
        if word == "--":
            found.append([])
        else:
            found[-1].append(word)
    return found


def main():
    *daemons, sender = split(sys.argv[1:])
    pipes = [(os.pipe(), os.pipe()) for _ in daemons]
    everything = [fd for pair in pipes for pipe in pair for fd in pipe]
    for words, ((read, _), (_, write)) in zip(daemons, pipes, strict=True):
        start(words, read, write, everything)
    ours = [fd for (_, write), (read, _) in pipes for fd in (write, read)]
    high = [os.dup(1)] + [os.dup(fd) for fd in ours]  # all of them above 6
    assert min(high) > 6
    for place, fd in enumerate(high):
        os.dup2(fd, place)
    os.closerange(7, max(high) + 1)
    os.execvp(sender[0], sender)


if __name__ == "__main__":
    main()
