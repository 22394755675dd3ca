"""An ident server for a box: `python3 -c IDENT` says "ready", and answers whoever asks."""

IDENT = """
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", 113))
listener.listen(20)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        theirs, ours = connection.recv(100).decode().split(",")
        connection.sendall(b"%d , %d : USERID : UNIX : jo e\\tx:y \\r\\n" % (int(theirs), int(ours)))
"""
