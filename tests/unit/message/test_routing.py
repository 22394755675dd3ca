"""Rewriting of recipients: what a running qmail-send did with the same control files."""

import pytest

from quail.message.routing import Routes


def routes(**kinds):
    usual = {
        "locals_": [b"mx.example.com"],
        "virtualdomains": {
            b"virt.org": b"joe-v",
            b"user@sp.org": b"joe-s",
            b".wild.org": b"joe-w",
            b"not.wild.org": b"",
        },
        "percenthack": [b"pct.org"],
        "envnoathost": b"mx.example.com",
    }
    return Routes(**(usual | kinds))


@pytest.mark.parametrize(
    ("recipient", "channel", "rewritten"),
    [
        (b"info@VIRT.org", b"local", b"joe-v-info@VIRT.org"),
        (b"user@sp.org", b"local", b"joe-s-user@sp.org"),
        (b"USER@SP.org", b"local", b"joe-s-USER@SP.org"),
        (b"other@sp.org", b"remote", b"other@sp.org"),
        (b"x@a.wild.org", b"local", b"joe-w-x@a.wild.org"),
        (b"x@a.b.WILD.org", b"local", b"joe-w-x@a.b.WILD.org"),
        (b"x@wild.org", b"remote", b"x@wild.org"),
        (b"y@not.wild.org", b"remote", b"y@not.wild.org"),
        (b"y@sub.not.wild.org", b"local", b"joe-w-y@sub.not.wild.org"),
        (b"q%far.org@pct.org", b"remote", b"q@far.org"),
        (b"z%pct.org@pct.org", b"remote", b"z@pct.org"),
        (b"a%mx.example.com%pct.org@PCT.org", b"local", b"a@mx.example.com"),
        (b"q%far.org@else.org", b"remote", b"q%far.org@else.org"),
        (b"a%b@mx.example.com@pct.org", b"local", b"a@b@mx.example.com"),
        (b"joe", b"local", b"joe@mx.example.com"),
        (b"Joe@MX.Example.Com", b"local", b"Joe@MX.Example.Com"),
        (b"@mx.example.com", b"local", b"@mx.example.com"),
        (b"a@b@mx.example.com", b"local", b"a@b@mx.example.com"),
        (b"far@far.org", b"remote", b"far@far.org"),
        (b"far@", b"remote", b"far@"),
        (b"", b"local", b"@mx.example.com"),
    ],
)
def test_routes_like_qmail_send(recipient, channel, rewritten):
    assert routes().route(recipient) == (channel, rewritten)


def test_catch_all_and_its_exceptions():
    everything = routes(virtualdomains={b"": b"all", b"sub.far.org": b"", b".far.org": b"far"})
    assert everything.route(b"a@anywhere") == (b"local", b"all-a@anywhere")
    assert everything.route(b"a@") == (b"local", b"all-a@")
    assert everything.route(b"a@x.far.org") == (b"local", b"far-a@x.far.org")
    assert everything.route(b"a@sub.far.org") == (b"remote", b"a@sub.far.org")
    assert everything.route(b"a@x.sub.far.org") == (b"local", b"far-a@x.sub.far.org")
    assert everything.route(b"a@mx.example.com") == (b"local", b"a@mx.example.com"), "locals come first"


def test_whole_address_wins_and_its_empty_prepend_is_an_exception():
    both = routes(virtualdomains={b"v.org": b"v", b"me@v.org": b"", b"you@v.org": b"you"})
    assert both.route(b"me@v.org") == (b"remote", b"me@v.org")
    assert both.route(b"You@V.org") == (b"local", b"you-You@V.org")
    assert both.route(b"they@v.org") == (b"local", b"v-they@v.org")


def test_keys_from_files_may_have_capitals():
    upper = routes(locals_=[b"HERE"], virtualdomains={b"V.ORG": b"Joe"}, percenthack=[b"PCT"])
    assert upper.route(b"a@here") == (b"local", b"a@here")
    assert upper.route(b"a@v.org") == (b"local", b"Joe-a@v.org")
    assert upper.route(b"a%here@pct") == (b"local", b"a@here")


def test_nothing_configured_sends_everything_away():
    empty = Routes([], {}, [], b"noat.example")
    assert empty.route(b"joe") == (b"remote", b"joe@noat.example")
    assert empty.route(b"a%b@c") == (b"remote", b"a%b@c")


@pytest.mark.parametrize(
    ("virtualdomains", "rewritten", "shown"),
    [
        ({b"user@sp.org": b"joe-s"}, b"joe-s-user@sp.org", b"joe-s-user@sp.org"),
        ({b"v.org": b"joe-s"}, b"joe-s-user@v.org", b"user@v.org"),
        ({b".org": b"joe-s"}, b"joe-s-user@V.org", b"user@V.org"),
        ({b"": b"joe"}, b"joe-user@v.org", b"user@v.org"),
        ({b"v.org": b"joe-s"}, b"JOE-S-user@v.org", b"JOE-S-user@v.org"),
        ({b"v.org": b"joe-s"}, b"joe-susan@v.org", b"joe-susan@v.org"),
        ({b"v.org": b"", b".org": b"joe"}, b"joe-user@v.org", b"joe-user@v.org"),
        ({b"v.org": b"joe"}, b"joe-user@elsewhere.org", b"joe-user@elsewhere.org"),
        ({b"": b"joe"}, b"joe-user@mx.example.com", b"joe-user@mx.example.com"),
        ({}, b"joe", b"joe"),
    ],
)
def test_bounces_show_the_address_without_the_prepend_of_its_domain(virtualdomains, rewritten, shown):
    assert routes(virtualdomains=virtualdomains).strip_prepend(rewritten) == shown
