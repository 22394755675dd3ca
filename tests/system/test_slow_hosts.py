"""The memory of slow hosts in a served home: serve makes it where it is missing or damaged, and rspawn empties it."""

import os
import time

import pytest

from quail.storage.tcpto import PATH, SIZE, Tcpto


@pytest.mark.parametrize("left", [None, b"", b"x" * SIZE], ids=["missing", "empty", "damaged"])
def test_serve_makes_the_table(make_server, left):
    server = make_server()
    os.unlink(f"{server.path}/{PATH}")
    if left is not None:
        with open(f"{server.path}/{PATH}", "wb") as file:
            file.write(left)
    server.start()
    assert Tcpto.open(f"{server.path}/{PATH}").trouble == ""


def test_a_start_forgets(make_server):
    server = make_server()
    table = Tcpto.open(f"{server.path}/{PATH}")
    table.timed_out("192.0.2.1", time.time())
    server.start()
    server.until(lambda: not list(table.entries(time.time())), "an empty table")
    assert table.trouble == ""


def test_a_table_that_cannot_be_made_stops_nothing(make_server):
    server = make_server()
    os.unlink(f"{server.path}/{PATH}")
    os.mkdir(f"{server.path}/{PATH}")
    server.start()
    server.line(rf"^warning: unable to make {PATH}, so slow hosts are not remembered: is a directory$")
    server.send("joe@localhost")
    server.line(r"^end msg 1$")
