"""What kill -9 tests share: clients that never give up, services killed at random, and the account of every message.

The seed is printed when a test fails; QUAIL_KILL_SEED repeats its choices (not its moments: those are the kernel's).
"""

import collections
import os
import random
import re
import signal
import smtplib
import threading
import time

from tests.system.harness import PATIENCE, Ends

CLIENTS = 4
AT_ONCE = 20  # concurrencylocal
DELIVERING = ("queue", "lspawn", "worker", "serve")  # whose end leaves it open what was delivered


class Load:
    """Clients that send one message after another, each with a token of its own, and go on whatever happens."""

    def __init__(self, port, recipients=("joe@localhost",), *, enter=lambda: None):
        """Each message goes to one of the recipients; `enter` is called first in each client's thread."""
        self.port = port
        self.recipients = recipients
        self._enter = enter
        self.accepted = set()
        self.unclear = set()  # sent, and no answer came
        self._tokens = 0
        self._lock = threading.Lock()
        self._progress = threading.Condition(self._lock)
        self._stopping = False
        self.troubles = []
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _client(self):
        self._enter()
        while not self._stopping:
            try:
                self._session()
            except (OSError, smtplib.SMTPException) as error:
                with self._lock:
                    self._progress.wait(0.02)  # nobody listens just now
                    self.troubles.append(repr(error))

    def _session(self):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as client:
            for _ in range(10):
                if self._stopping:
                    return
                with self._lock:
                    self._tokens += 1
                    token = f"token{self._tokens:06d}"
                    self.unclear.add(token)
                # One in thirty is too large for a record of the journal.
                size = 200_000 if self._tokens % 30 == 0 else 1000
                text = f"X-Token: {token}\n\n" + f"{'x' * 70}\n" * (size // 71)
                to = self.recipients[int(token[5:]) % len(self.recipients)]
                try:
                    client.sendmail("s@example.org", [to], text)
                except smtplib.SMTPResponseException:
                    pass  # refused, most often because the queue has gone: it may have the message all the same
                else:
                    with self._progress:
                        self.unclear.discard(token)
                        self.accepted.add(token)
                        self._progress.notify_all()

    def more(self, count):
        """Wait until so many more messages have their 250."""
        deadline = time.monotonic() + PATIENCE
        with self._progress:
            goal = len(self.accepted) + count
            while len(self.accepted) < goal:
                left = deadline - time.monotonic()
                assert left > 0, f"no mail is taken any more: {self.troubles[-3:]}"
                self._progress.wait(left)

    def stop(self):
        self._stopping = True
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def kill_one(server, service, choice):
    """Kill it, and wait until it is back under another number."""
    if service == "serve":
        ends = Ends(server.every_pid())
        server.kill()
        ends.wait()
        server.start(*server.again)
        return
    if service == "worker":
        victims = server.until(server.workers, "a delivery worker")
        victim = choice.choice(victims)
    else:
        victim = choice.choice(server.pids[service])
    ends = Ends([victim])
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        assert service == "worker"  # idle for long enough to go by itself
    ends.wait()
    if service != "worker":
        count = len(server.pids[service])

        def back():
            pids = server.pids.get(service, [])
            return len([pid for pid in pids if pid and pid != victim]) == count

        server.until(back, f"another {service}")


def drain(server):
    """Until the queue is empty; what was deferred because its worker died is tried now."""

    def empty():
        status = server.ask({"do": "status"})
        if status["messages"] and not any(channel["running"] for channel in status["channels"].values()):
            server.alarm()
        return not status["messages"]

    server.until(empty, "the queue to be empty")


def rounds(server, load, count, services):
    seed = int(os.environ.get("QUAIL_KILL_SEED") or int.from_bytes(os.urandom(4), "little"))
    print(f"QUAIL_KILL_SEED={seed}")
    choice = random.Random(seed)
    order = [service for _ in range(count) for service in choice.sample(services, len(services))]
    for service in order:
        load.more(choice.randrange(1, 60))
        kill_one(server, service, choice)
    load.more(CLIENTS)
    load.stop()
    drain(server)
    return order


def account(load, order, mail):
    """Every 250 is in the mailboxes; who is there twice was in flight when something died.

    mail: bytes of messages or of whole mailboxes. Returns the number of repeats.
    """
    found = collections.Counter(
        token.decode() for text in mail for token in re.findall(rb"^X-Token: (\w+)$", text, re.MULTILINE)
    )
    missing = load.accepted - set(found)
    assert not missing, f"lost: {sorted(missing)}"
    unknown = set(found) - load.accepted - load.unclear
    assert not unknown
    repeats = sum(found.values()) - len(found)
    most = AT_ONCE * sum(service in DELIVERING for service in order)
    print(f"{len(load.accepted)} accepted, {len(set(found) - load.accepted)} of {len(load.unclear)} without an answer arrived,"
          f" {repeats} repeats, at most {most} could be; killed: {', '.join(order)}")  # fmt: skip
    assert repeats <= most
    return repeats
