"""Rewriting of recipients by a server that runs (facts 15.3): which channel, and what the listing calls them.

Both concurrencies are 0, which holds deliveries (facts 2.2), so that everything stays to be looked at.
"""

import re

import pytest
from tests.programs.launch import launch

VIRTUAL = "virt.org:joe-v\nuser@sp.org:joe-s\n.wild.org:joe-w\nnot.wild.org:\ntwice.org:joe-no\nTWICE.org:joe-yes"
VECTORS = {
    "info@VIRT.org": "local joe-v-info@VIRT.org",
    "user@sp.org": "local joe-s-user@sp.org",
    "other@sp.org": "remote other@sp.org",
    "x@a.wild.org": "local joe-w-x@a.wild.org",
    "x@wild.org": "remote x@wild.org",
    "y@not.wild.org": "remote y@not.wild.org",
    "q%far.org@pct.org": "remote q@far.org",
    "z%pct.org@pct.org": "remote z@pct.org",
    "@mx.example.com": "local @mx.example.com",
    "a@twice.org": "local joe-yes-a@twice.org",
    "Joe@MX.example.COM": "local Joe@MX.example.COM",
    "nohost": "remote nohost@noat.example",
    "a b@far.org": "remote a_b@far.org",
}


@pytest.fixture
def held(make_server):
    return make_server(
        me="mx.example.com", locals="mx.example.com", percenthack="pct.org", virtualdomains=VIRTUAL,
        envnoathost="noat.example", concurrencylocal="0", concurrencyremote="0",
    ).start()  # fmt: skip


def listed(server):
    """Of each message its head, and channel and address of its recipients, as qmail-qread shows them."""
    done = launch("qmail-qread", env={"QMAILHOME": str(server.path)})
    assert (done.returncode, done.stderr) == (0, b"")
    heads, recipients = [], []
    for line in done.stdout.decode().splitlines():
        if line.startswith(("\t", " ")):
            recipients.append(" ".join(line.split("\t")[-2:]))
        else:
            heads.append(line)
    return heads, recipients


def test_every_vector(held):
    number = held.queue(b"s@x.y", *(address.encode() for address in VECTORS))
    heads, recipients = listed(held)
    assert sorted(recipients) == sorted(VECTORS.values())
    (head,) = heads
    stamp = r"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    assert re.fullmatch(rf"{stamp}  #{number}  \d+  <s@x\.y> ", head)
    assert not [line for line in held.log.lines if line.startswith("starting delivery")]


def test_after_hup_what_is_in_the_queue_goes_by_the_files_of_now(held):
    """Unlike with qmail, which rewrites an address once."""
    held.queue(b"", b"info@virt.org")
    assert listed(held)[1] == ["local joe-v-info@virt.org"]
    held.control("virtualdomains", "virt.org:joe-other")
    held.hup()
    held.until(lambda: listed(held)[1] == ["local joe-other-info@virt.org"], "the new address")
