import pytest

from quail.control.reader import Control
from quail.errors import ConfigError
from quail.policy.smtp import Rules, leading_number, queue_reply, received, recipient_reply


@pytest.fixture
def control(tmp_path):
    def make(**files):
        for name, text in ({"me": "mx.example.com"} | files).items():
            (tmp_path / name).write_text(text)
        return Control(str(tmp_path))

    return make


def test_defaults(control):
    rules = Rules(control(), frozenset((b"127.0.0.1",)))
    settings = rules.settings({})
    assert (rules.timeout, rules.check_recipients, settings.check_recipients) == (1200, True, True)
    assert (settings.greeting, settings.localiphost, settings.databytes) == (b"mx.example.com", b"mx.example.com", 0)
    assert settings.relayclient is None
    assert settings.local_addresses == {b"127.0.0.1"}
    assert not settings.accepts_host(b"mx.example.com")
    assert not settings.badmailfrom(b"a@b")
    assert settings.max_recipients >= 100
    assert settings.max_command_length >= 512


def test_every_file_arrives(control):
    settings = Rules(
        control(
            smtpgreeting="hello there", localiphost="box", databytes="77", rcptcheck="0", badmailfrom="@bad", rcpthosts="Good",
            maxrecipients="101", maxcommandlength="600", maxlinelength="700", maxbadcommands="8", maxjunkcommands="90",
        )
    ).settings({})  # fmt: skip
    assert (settings.greeting, settings.localiphost, settings.databytes) == (b"hello there", b"box", 77)
    assert not settings.check_recipients
    assert settings.badmailfrom(b"x@BAD")
    assert settings.accepts_host(b"good")
    assert (settings.max_recipients, settings.max_command_length, settings.max_line_length) == (101, 600, 700)
    assert (settings.max_bad_commands, settings.max_junk_commands) == (8, 90)
    assert b"250-SIZE 77\r\n" in settings.ehlo


def test_the_connection_can_change_two_things(control):
    rules = Rules(control(databytes="10"))
    assert rules.settings({b"RELAYCLIENT": b""}).relayclient == b""
    assert rules.settings({b"DATABYTES": b"20"}).databytes == 20
    assert rules.settings({b"DATABYTES": b"0"}).databytes == 0
    assert rules.settings({}).databytes == 10


def test_equal_connections_share_their_settings_and_many_unequal_ones_do_not_pile_up(control):
    rules = Rules(control())
    assert rules.settings({}) is rules.settings({b"TCPREMOTEIP": b"1.2.3.4"})
    for number in range(2000):
        assert rules.settings({b"DATABYTES": b"%d" % number}).databytes == number
        assert len(rules._kept) <= 256


@pytest.mark.parametrize("name", ["databytes", "smtpgreeting", "maxlinelength", "rcptcheck"])
def test_a_malformed_file_is_named(control, name):
    with pytest.raises(ConfigError, match=name):
        Rules(control(**{name: "\r\n"}))


@pytest.mark.parametrize(
    ("text", "number"), [(b"", 0), (b"x", 0), (b"12x", 12), (b"007", 7), (b"-1", 0), (b"9" * 5000, 10**18 - 1)]
)
def test_leading_number(text, number):
    assert leading_number(text) == number


PEER = {b"TCPREMOTEHOST": b"Client.Example", b"TCPREMOTEIP": b"1.2.3.4", b"TCPLOCALHOST": b"here.example"}


@pytest.mark.parametrize(
    ("environment", "helo", "start"),
    [
        (PEER, b"Foo[1]_x", b"from Client.Example (HELO Foo[1]?x) (1.2.3.4)\n  by here.example with SMTP; "),
        (PEER, b"client.example", b"from Client.Example (1.2.3.4)\n  by here.example with SMTP; "),
        (PEER | {b"TCPREMOTEINFO": b"us er"}, None, b"from Client.Example (us?er@1.2.3.4)\n"),
        (
            {b"TCPREMOTEIP": b"2001:db8::1", b"TCPLOCALIP": b"::1"},
            None,
            b"from unknown (2001:db8::1)\n  by ::1 with SMTP; ",
        ),
        ({}, b"", b"from unknown (HELO ) (unknown)\n  by unknown with SMTP; "),
    ],
)
def test_received(environment, helo, start):
    assert received(environment, helo, 811_999_613).startswith(b"Received: " + start)


def test_recipient_replies():
    assert recipient_reply(b"K") is None
    assert recipient_reply(b"N") == b"550 5.1.1 sorry, no mailbox here by that name"
    assert recipient_reply(b"T").startswith(b"451 4.3.0 ")


@pytest.mark.parametrize(
    ("letter", "text", "reply"),
    [
        (b"K", b"12", b"250 2.0.0 ok 1700000000 qp 12"),
        (b"Z", b"qq write error or disk full (#4.3.0)", b"451 4.3.0 qq write error or disk full"),
        (b"Z", b"no space (#4.3.1)", b"452 4.3.1 no space"),
        (b"Z", b"whatever", b"451 4.3.0 whatever"),
        (b"D", b"envelope address too long for qq (#5.1.3)", b"554 5.1.3 envelope address too long for qq"),
        (b"D", b"", b"554 5.3.0 "),
        (b"D", b"is it (#4.4.4)", b"554 5.4.4 is it"),
        (b"D", b"not a code (#5.1)", b"554 5.3.0 not a code (#5.1)"),
        (b"D", b"not a code (#5.1.1000)", b"554 5.3.0 not a code (#5.1.1000)"),
        (b"Z", b"two\r\n250 lines \xff (#4.0.0)", b"451 4.0.0 two??250 lines ?"),
    ],
)
def test_queue_replies(letter, text, reply):
    assert queue_reply(letter, text, 1700000000.9) == reply


def test_a_reply_has_its_greatest_length():
    assert len(queue_reply(b"D", b"x" * 5000, 0)) + 2 <= 512
