"""What the client's SMTP machine and the encoder cost: a 4 KB message on an open connection, answered as servers do.

usage: python -m bench.micro_smtp_client

Prints CPU microseconds and messages a second: with PIPELINING and without, with 100 recipients, with dots and CRs in the
text, and a large text in chunks.
"""

import time

from quail.smtp.client import GO_AHEAD, OVER, READY, Client
from quail.smtp.outgoing import Encoder, encode

OK, GO = b"250 2.0.0 ok 1700000000 qp 12\r\n", b"354 go ahead\r\n"
EHLO = b"250-mx.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n250 SMTPUTF8\r\n"
ROW = b"The quick brown fox jumps over the lazy dog, and over it once more, says it.\n"
BODY = b"From: <sender@example.org>\nSubject: a test\n\n" + ROW * 52
CHUNK = 65536
TARGET = 25.0
RUNS = 60


def opened(*, pipelining: bool) -> Client:
    """A connection on which READY was given."""
    client = Client(b"client.example.org")
    for data in (b"220 mx.example.com ESMTP\r\n", EHLO if pipelining else EHLO.replace(b"PIPELINING", b"X")):
        client.receive(data)
        event = client.next_event()
        client.take_output()
    assert event == (READY,)
    return client


def send(client: Client, recipients: list[bytes], body: bytes, answers: list[bytes]) -> None:
    """One message, as a driver sends it; `answers` are the server's, as they come."""
    client.begin(b"sender@example.org", recipients, size=len(body), eight_bit=False, utf8=False)
    client.take_output()
    for answer in answers[:-1]:
        client.receive(answer)
        event = client.next_event()
        client.take_output()
    assert event is not None
    assert event[0] is GO_AHEAD
    text = encode(body)
    client.body_sent()
    assert text + client.take_output()
    client.receive(answers[-1])
    event = client.next_event()
    assert event is not None
    assert event[0] is OVER
    assert client.reusable


def measure(name: str, body: bytes, *, pipelining: bool = True, count: int = 1) -> float:
    """Best of many short runs, in CPU time, so that other work disturbs little; returns microseconds a message."""
    client = opened(pipelining=pipelining)
    recipients = [b"user%d@example.com" % number for number in range(count)]
    answers = [OK * (count + 1) + GO, OK] if pipelining else [OK] * (count + 1) + [GO, OK]
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time_ns()
        for _ in range(50):
            send(client, recipients, body, answers)
        best = min(best, (time.process_time_ns() - start) / 50 / 1000)
    print(f"{name:48}{best:12.2f}{1e6 / best:12.0f}")
    return best


def main() -> None:
    """Run all."""
    print(f"{f'a message of {len(BODY)} bytes':48}{'microseconds':>12}{'a second':>12}")
    best = measure("with PIPELINING", BODY)
    print(f"{'':48}{'within' if best <= TARGET else 'OVER':>12} the target of {TARGET:g}")
    measure("each step waits", BODY, pipelining=False)
    measure("100 recipients", BODY, count=100)
    measure("a dot in front of each line", BODY.replace(b"\n", b"\n."))
    measure("CR LF in it", BODY.replace(b"\n", b"\r\n"))
    large = ROW * ((1 << 24) // len(ROW))
    start = time.process_time_ns()
    encoder = Encoder()
    for at in range(0, len(large), CHUNK):
        encoder.feed(large[at : at + CHUNK])
    spent = time.process_time_ns() - start
    print(f"{'encoder, 16 MB in 64 KB pieces: MB a second':48}{len(large) / (spent / 1000):12.0f}")


if __name__ == "__main__":
    main()
