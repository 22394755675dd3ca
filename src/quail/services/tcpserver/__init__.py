"""tcpserver: accepts TCP connections and runs a program for each, in a process of its own.

settings.py reads the command line, listening.py makes the socket and gives up privileges, parent.py accepts, forks and counts,
child.py finds out who the peer is, looks the rules up and becomes the program.

The parent has no thread and no event loop, and does for a connection nothing but accept and fork. What a child needs is in
memory, and frozen (gc.freeze), before the first one is forked.
"""
