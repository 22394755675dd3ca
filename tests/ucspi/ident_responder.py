"""An ident server (RFC 1413) that answers what a test says, whatever it is asked; in a thread of its own.

    with IdentResponder([b"1,2:USERID:UNIX:joe\\r\\n"]) as responder:
        ... responder.port, responder.asked ...

Answers are given in turn, the last one for ever. None: no answer as long as the asker is there.
"""

import socket
import threading


class IdentResponder:
    """`asked` has (query, address of the asker) of each question."""

    def __init__(self, answers, address="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family)
        self.port = self._listener.getsockname()[1]
        self.answers = list(answers)
        self.asked = []
        self._held = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for sock in (self._listener, *self._held):
            sock.close()

    def _serve(self):
        while True:
            try:
                asker, address = self._listener.accept()
            except OSError:
                return
            self.asked.append((asker.recv(200), address[0]))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                self._held.append(asker)
                continue
            with asker:
                asker.sendall(answer)
