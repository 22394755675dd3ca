"""Rules: the text, the file it becomes, and what a peer gets. Golden files were made by Debian's tcprules 0.88-7, the one with
IPv6 addresses by its IPv6 build."""

import hashlib
import os

import pytest

from quail.cdb.maker import Maker
from quail.cdb.reader import Reader
from quail.errors import TemporaryError
from quail.net import tcprules
from quail.net.tcprules import RuleError, Rules, addresses, compile_rules, instructions


def records(text, **kwargs):
    return list(Reader(compile_rules(text, "rules", **kwargs)).items())


MIXED = (
    b"# no mail today\n"
    b'127.:allow,RELAYCLIENT="",X=/y/\n'
    b'10.1-3.:allow,RELAYCLIENT=""\n'
    b'=.example.org:allow,A="1",B="2"\n'
    b"info@=h.example.org:deny\n"
    b'1.2.3.4:deny,WHY="x"\n'
    b"1.2.3.4:allow\n"
    b"no rule here\n"
    b':allow,RBLSMTPD="-no"'
)


@pytest.mark.parametrize(
    ("text", "size", "digest"),
    [
        (
            MIXED,
            2425,
            "68379e20b6621f65f9bafcceeaed10c5ca4232f2a02ffeb01d5b8e92f7d5d730",
        ),
        (
            b'::1:allow,RELAYCLIENT=""\n2001:db8::allow,A="1"\n2001:db8::1:deny,X=":allow"\n',
            2174,
            "1667140d985ea8d125f0180bdcaeca859ca4c49299bef5f543366638cb8c6e5c",
        ),
        (b"", 2048, "ad292543e381bc50175b6b6452ccc06e579755910a528c8dc7d18019279e1f3f"),
    ],
)
def test_golden_files_byte_for_byte(text, size, digest):
    data = compile_rules(text, "rules", lenient=True)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # All as observed with the original, unless told otherwise.
        (b"1.2.3.4:deny", [(b"1.2.3.4", b"D\0")]),
        (b" 1.2.3.4:deny  \t", [(b" 1.2.3.4", b"D\0")]),
        (b"1.2:allow \n", [(b"1.2", b"")]),
        (b":deny", [(b"", b"D\0")]),
        (b"\n\t \n#x:deny\n #y:deny\n", [(b" #y", b"D\0")]),
        (b"allow:allow", [(b"allow", b"")]),
        (b'127.:allow,RELAYCLIENT="",X=/y/', [(b"127.", b"+RELAYCLIENT=\0+X=y\0")]),
        (b"1.2:allow,X=,a,,Y=,b,", [(b"1.2", b"+X=a\0+Y=b\0")]),
        (b'1.2:allow,=""', [(b"1.2", b"+=\0")]),
        (b'1.2:deny,A="b",B=//', [(b"1.2", b"D\0+A=b\0+B=\0")]),
        (b'1.2:allow,X="1",X="2"', [(b"1.2", b"+X=1\0+X=2\0")]),
        (b"1.2-4.5:allow", [(b"1.2.5", b""), (b"1.3.5", b""), (b"1.4.5", b"")]),
        (b"250-999.:allow", [(b"%d." % n, b"") for n in range(250, 256)]),
        (b"250-" + b"9" * 5000 + b".:allow", [(b"%d." % n, b"") for n in range(250, 256)]),
        (b"256-300.:allow", []),
        (b"001-003.:allow", [(b"1.", b""), (b"2.", b""), (b"3.", b"")]),
        (b"1.2.3.4-1.2.3.9:allow", []),
        (b"1.2-3.4-5:allow", [(b"1.2.4-5", b""), (b"1.3.4-5", b"")]),
        (b"1.-.3:allow", [(b"1.0.3", b"")]),
        (b"-1:allow", [(b"0", b""), (b"1", b"")]),
        (b"3-:allow", []),
        (b"=a-1-2:allow", [(b"=a-1-2", b"")]),
        (b"a@1-2:allow", [(b"a@1-2", b"")]),
        (b"2001:db8::1:allow", [(b"2001:db8::1", b"")]),
        (b"::allow", [(b":", b"")]),
        (b'2001:db8::1:deny,X=":allow"', [(b"2001:db8::1", b"D\0+X=:allow\0")]),
    ],
)
def test_lines_of_rules(line, expected):
    assert records(line) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"foo:bar", "no colon with allow or deny after it; write ADDRESS:allow or ADDRESS:deny"),
        (b"1.2:ALLOW", "no colon with allow"),
        (b"1.2: allow", "no colon with allow"),
        (b"1.2:allowx", "'x' sets no variable; after allow or deny comes nothing, or"),
        (b"1.2:deny\r", "'\\r' sets no variable"),
        (b"1.2:allow,", "',' sets no variable"),
        (b"1.2:allow,X", "',X' sets no variable"),
        (b"1:deny:allow", "':allow' sets no variable"),
        (b"1.2:deny,deny", "',deny' sets no variable"),
        (b'1.2:allow ,X="a"', "sets no variable"),
        (b'1.2:allow,X="abc"d', "'d' sets no variable"),
        (b'1.2:allow,X="abc",', "',' sets no variable"),
        (b"1.2:allow,X=", 'the value of X has no end; write X="VALUE"'),
        (b'1.2:allow,X="', "the value of X has no end"),
        (b'1.2:allow,X="abc', "the value of X has no end"),
        (b"1.2:allow,X= a ", "the value of X has no end"),
        (b"1.2-x.5:allow", "'x' is not a number; a range is"),
        (b"1-2-3.4:allow", "'2-3' is not a number"),
        (b"abc1-2:allow", "'abc1' is not a number"),
        (b"1-2\xff:allow", "is not a number"),
        (b"2001:db8:1-3:allow", "'2001:db8:1' is not a number"),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_lines_that_are_no_rules(line, words, lenient):
    with pytest.raises(RuleError) as caught:
        compile_rules(b"\n# fine\n1.:allow\n" + line + b"\n2.:deny\n", "etc/rules", lenient=lenient)
    assert str(caught.value).startswith("etc/rules line 4: ")
    assert words in str(caught.value)
    assert caught.value.line == 4
    assert caught.value.text == line.rstrip(b" ")


def test_without_a_colon_only_the_lenient_pass_over_it():
    assert records(b"1.2.3.4 deny", lenient=True) == []
    with pytest.raises(RuleError, match="rules line 1: no colon"):
        records(b"1.2.3.4 deny")


def test_order_of_looking_up():
    assert list(addresses(b"1.22.3.4", b"mail.example.org", b"joe")) == [
        b"joe@1.22.3.4",
        b"joe@=mail.example.org",
        b"1.22.3.4",
        b"=mail.example.org",
        b"1.22.3.",
        b"1.22.",
        b"1.",
        b"=.example.org",
        b"=.org",
        b"=",
        b"",
    ]


def test_order_of_looking_up_with_less_known():
    assert list(addresses(b"1.2.3.4", None, None)) == [b"1.2.3.4", b"1.2.3.", b"1.2.", b"1.", b""]
    assert list(addresses(b"1.2.3.4", None, b""))[:2] == [b"@1.2.3.4", b"1.2.3.4"]
    assert list(addresses(b"1.2", b"", None)) == [b"1.2", b"=", b"1.", b"=", b""]
    assert list(addresses(b"2001:db8::1", None, None)) == [b"2001:db8::1", b"2001:db8::", b"2001:db8:", b"2001:", b""]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"D\0", [None]),
        (b"+A=1\0D\0+B=2\0", [b"A=1", None, b"B=2"]),
        (b"x\0\0+A=b=c\0", [b"A=b=c"]),
        (b"+A=1", []),
        (b"+A\0+=x\0", [b"A", b"=x"]),
    ],
)
def test_instructions(data, expected):
    assert list(instructions(data)) == expected


RULES = (
    b'1.2.3.4:deny,A="1",B="2"\n'
    b'=mail.example.org:allow,H="exact"\n'
    b'=.org:allow,H="suffix"\n'
    b'info@1.2.3.5:allow,I="ip"\n'
    b'info@=mail.example.org:allow,I="host"\n'
    b'1.2.3.:allow,P="3"\n'
    b'1.2.3.:allow,P="never"\n'
    b'1.:allow,P="1"\n'
    b'=:allow,K="known"\n'
    b'2001:db8::allow,S="six"\n'
    b'::1:allow,RELAYCLIENT=""\n'
    b"fe80::7:deny\n"
    b":deny\n"
)


@pytest.fixture(params=["decoded once", "decoded at need"], autouse=True)
def size_class(request, monkeypatch):
    if request.param == "decoded at need":
        monkeypatch.setattr(tcprules, "_FILES_IN_MEMORY", 0)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rules.cdb"
    path.write_bytes(compile_rules(RULES, "rules"))
    return path


@pytest.mark.parametrize(
    ("peer", "deny", "environment", "rule"),
    [
        ((b"1.2.3.4",), True, [(b"A", b"1"), (b"B", b"2")], b"1.2.3.4"),
        ((b"::ffff:1.2.3.4",), True, [(b"A", b"1"), (b"B", b"2")], b"1.2.3.4"),
        ((b"1.2.3.4", b"mail.example.org"), True, [(b"A", b"1"), (b"B", b"2")], b"1.2.3.4"),
        ((b"1.2.3.5", b"mail.example.org"), False, [(b"H", b"exact")], b"=mail.example.org"),
        ((b"1.2.3.5", b"mail.example.org", b"info"), False, [(b"I", b"ip")], b"info@1.2.3.5"),
        ((b"1.2.3.6", b"mail.example.org", b"info"), False, [(b"I", b"host")], b"info@=mail.example.org"),
        ((b"1.2.3.6", b"x.example.org", b"info"), False, [(b"P", b"3")], b"1.2.3."),
        ((b"1.2.9.9",), False, [(b"P", b"1")], b"1."),
        ((b"9.9.9.9", b"x.example.org"), False, [(b"H", b"suffix")], b"=.org"),
        ((b"9.9.9.9", b"org"), False, [(b"K", b"known")], b"="),
        ((b"9.9.9.9",), True, [], b""),
        ((b"2001:db8::1",), False, [(b"S", b"six")], b"2001:db8:"),
        ((b"2001:db8:1::1",), False, [(b"S", b"six")], b"2001:db8:"),
        ((b"2001:db80::1",), True, [], b""),
        ((b"::1",), False, [(b"RELAYCLIENT", b"")], b"::1"),
        ((b"fe80::7%eth0",), True, [], b"fe80::7"),
    ],
)
def test_decisions(path, peer, deny, environment, rule):
    decision = Rules(str(path)).decide(*peer)
    assert (decision.deny, list(decision.environment), decision.rule) == (deny, environment, rule)


def test_variables_without_a_name_are_nobodys(tmp_path):
    (tmp_path / "x").write_bytes(compile_rules(b':allow,="a",B=""\n', "rules"))
    assert Rules(str(tmp_path / "x")).decide(b"1.2.3.4").environment == ((b"B", b""),)


def test_a_missing_file_allows_and_sets_nothing(tmp_path):
    decision = Rules(str(tmp_path / "none")).decide(b"1.2.3.4", b"localhost", b"root")
    assert (decision.deny, decision.environment, decision.rule) == (False, (), None)


def test_no_rule_for_the_peer_allows(tmp_path):
    (tmp_path / "x").write_bytes(compile_rules(b"1.2.3.4:deny\n", "rules"))
    decision = Rules(str(tmp_path / "x")).decide(b"1.2.3.5")
    assert (decision.deny, decision.environment, decision.rule) == (False, (), None)


def replace(path, data):
    path.with_suffix(".tmp").write_bytes(data)
    path.with_suffix(".tmp").rename(path)


def test_the_file_may_come_change_and_go(path):
    rules = Rules(str(path))
    assert rules.decide(b"9.9.9.9").deny
    replace(path, compile_rules(b"1.2.3.4:deny\n", "rules"))
    assert not rules.decide(b"9.9.9.9").deny
    assert rules.decide(b"1.2.3.4").deny
    path.unlink()
    assert not rules.decide(b"1.2.3.4").deny
    replace(path, compile_rules(b":deny\n", "rules"))
    assert rules.decide(b"1.2.3.4").deny


@pytest.mark.parametrize("trouble", ["short", "cut", "directory"])
def test_an_unreadable_file_lets_nobody_in_until_it_is_mended(path, trouble):
    rules = Rules(str(path))
    assert not rules.decide(b"1.2.9.9").deny
    good = path.read_bytes()
    if trouble == "directory":
        path.unlink()
        os.mkdir(path)
    else:
        replace(path, good[:2040] if trouble == "short" else good[:2100])
    for _ in range(2):
        with pytest.raises(TemporaryError, match=r"unable to read .*rules\.cdb: "):
            rules.decide(b"1.2.9.9")
    if trouble == "directory":
        path.rmdir()
    replace(path, good)
    assert not rules.decide(b"1.2.9.9").deny


@pytest.mark.parametrize(
    "addresses",
    [
        [b"2001:db8::1", b"2002:db8::1", b"db8::1"],
        [b"1.2.3.4", b"x" * 63, b"x" * 64, b"x" * 200],
        [b"1.2.3.4", b"=a-b.c", b"", b"=", b"joe@1.2.3.4"],
    ],
)
def test_what_many_lines_say_goes_to_the_address_of_each(addresses):
    said = b':allow,A="b"'
    maker = Maker()
    for address in addresses:
        maker.add(address, b"+A=b\0")
    lines = [address + said for address in addresses]
    assert compile_rules(b"\n".join(lines), "x") == maker.to_bytes()
    commented = [b"# " + lines[0], *lines, b"#" + lines[0], b""]
    assert compile_rules(b"\n".join(commented), "x") == maker.to_bytes()
    with pytest.raises(RuleError) as caught:
        compile_rules(b"\n".join([*lines, *lines[:1] * 9000, b"1.2:nothing"]), "x")
    assert caught.value.line == len(lines) + 9001


def test_rules_that_are_closed_let_in_only_whom_they_allow(tmp_path):
    path = str(tmp_path / "rules.cdb")
    rules = Rules(path, closed=True)
    assert rules.decide(b"192.0.2.1").deny
    (tmp_path / "new").write_bytes(compile_rules(b'192.0.2.1:allow,A="b"\n192.0.2.2:deny\n', "rules"))
    (tmp_path / "new").rename(path)
    assert [rules.decide(b"192.0.2.%d" % last).deny for last in (1, 2, 3)] == [False, True, True]
    assert rules.decide(b"192.0.2.1").environment == ((b"A", b"b"),)
    assert rules.decide(b"192.0.2.3").rule is None
