"""The table of control files agrees with itself."""

import pytest

from quail.control import table
from quail.control.table import TABLE, Entry

KINDS = {table.LINE, table.INTEGER, table.LIST, table.PAIRS, table.LISTEN, table.CDB}

# qmail-control(5): what a file that is missing means.
QMAIL_DEFAULTS = {
    "bouncefrom": b"MAILER-DAEMON",
    "bouncehost": b"bouncehost",
    "concurrencylocal": 10,
    "concurrencyremote": 20,
    "databytes": 0,
    "defaultdomain": b"defaultdomain",
    "defaulthost": b"defaulthost",
    "doublebouncehost": b"doublebouncehost",
    "doublebounceto": b"postmaster",
    "envnoathost": b"envnoathost",
    "idhost": b"idhost",
    "plusdomain": b"plusdomain",
    "queuelifetime": 604800,
    "timeoutconnect": 60,
    "timeoutremote": 1200,
    "timeoutsmtpd": 1200,
}
FALL_BACK_TO_ME = {
    "bouncehost", "defaultdomain", "defaulthost", "doublebouncehost", "envnoathost", "helohost", "idhost", "localiphost",
    "locals", "plusdomain", "smtpgreeting",
}  # fmt: skip
OTHER_QMAIL_FILES = {
    "me", "badmailfrom", "locals", "morercpthosts", "morercpthosts.cdb", "percenthack", "qmqpservers", "rcpthosts",
    "smtproutes", "virtualdomains", "helohost", "localiphost", "smtpgreeting",
}  # fmt: skip


@pytest.mark.parametrize("entry", TABLE.values(), ids=lambda entry: entry.name)
def test_row(entry: Entry) -> None:
    assert entry.kind in KINDS
    assert entry.readers
    assert entry.effect in {table.HUP, table.RESTART, table.EACH_RUN}
    assert entry.doc[-1] not in ".;,"
    assert len(entry.doc) < 110
    if entry.kind == table.INTEGER:
        assert isinstance(entry.default, int)
        assert entry.low <= entry.default <= entry.high
    elif entry.kind == table.LINE:
        assert entry.default is None or isinstance(entry.default, bytes)
    elif entry.kind != table.CDB:
        assert isinstance(entry.default, tuple)
    assert not entry.required or entry.me or entry.name == "me"


def test_defaults_are_those_of_qmail() -> None:
    assert {name: TABLE[name].default for name in QMAIL_DEFAULTS} == QMAIL_DEFAULTS


def test_me_stands_in_where_it_does_in_qmail() -> None:
    assert {entry.name for entry in TABLE.values() if entry.me} == FALL_BACK_TO_ME


def test_every_file_of_qmail_is_known() -> None:
    assert {entry.name for entry in TABLE.values() if not entry.own} == set(QMAIL_DEFAULTS) | OTHER_QMAIL_FILES


def test_minfree_keeps_two_segments_and_more_by_default() -> None:
    minfree = TABLE["minfree"]
    assert minfree.low == 128 * 1024 * 1024
    assert minfree.default == 256 * 1024 * 1024


def test_absent_names_the_missing_feature(monkeypatch) -> None:
    assert table.absent(TABLE["qmqpservers"]) is None
    monkeypatch.setitem(table.NOT_YET, "qmail-qmqpc", "that is to come")
    assert table.absent(TABLE["qmqpservers"]) == "that is to come"
    assert table.absent(TABLE["smtproutes"]) is None
