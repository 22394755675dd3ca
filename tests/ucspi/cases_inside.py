"""Runs programs in a box, and tells what became of them: python3 cases_inside.py < CASES > RESULTS, both JSON.

A case is {"argv", "env", "stdin", "host", "expects"}, a result [exit code, stdout, stderr, what the host heard]. Bytes are
written as latin-1, the program's pid in stderr as PID. PORT, a word of argv and in results, is the port of the case's own host:
it reads until `expects` bytes have come, sends `host`, and reads until the program hangs up.
"""

import concurrent.futures
import json
import re
import socket
import subprocess
import sys
import threading

PATIENCE = 90


class Host:
    """Two listeners on one port, and what was heard."""

    def __init__(self, says, expects):
        self.says, self.expects = says.encode("latin-1"), expects
        self.heard = b""
        self.listeners = []
        while not self.listeners:
            four = socket.socket()
            four.bind(("0.0.0.0", 0))
            six = socket.socket(socket.AF_INET6)
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                six.bind(("::1", four.getsockname()[1]))
            except OSError:
                continue
            self.listeners = [four, six]
        self.port = self.listeners[0].getsockname()[1]
        for each in self.listeners:
            each.listen(50)
        self.threads = [threading.Thread(target=self.serve, args=(each,), daemon=True) for each in self.listeners]
        for each in self.threads:
            each.start()

    def serve(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE)
                try:
                    while len(self.heard) < self.expects and (data := connection.recv(65536)):
                        self.heard += data
                    connection.sendall(self.says)
                    connection.shutdown(socket.SHUT_WR)
                    while data := connection.recv(65536):
                        self.heard += data
                except OSError:
                    pass

    def close(self):
        for each in self.listeners:
            each.shutdown(socket.SHUT_RDWR)
            each.close()
        for each in self.threads:
            each.join()


def run(case):
    host = Host(case.get("host", ""), case.get("expects", 0))
    argv = [(str(host.port) if word == "PORT" else word).encode("latin-1") for word in case["argv"]]
    env = {name.encode(): value.encode("latin-1") for name, value in case["env"].items()}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, env=env, **pipes) as process:
        try:
            out, err = process.communicate(case.get("stdin", "").encode("latin-1"), timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += b" (killed by the test)"
    host.close()
    texts = [text.replace(b"%d" % host.port, b"PORT") for text in (out, err, host.heard)]
    texts[1] = re.sub(rb"(?m)(?:(?<=pid )|^)%d\b" % process.pid, b"PID", texts[1])
    return [process.returncode, *(text.decode("latin-1") for text in texts)]


if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        json.dump(list(pool.map(run, json.load(sys.stdin))), sys.stdout)
