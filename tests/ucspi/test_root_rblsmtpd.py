"""rblsmtpd beside Debian's: decisions from a DNS server of the tests' own, dialogues, time-outs."""

import random
import subprocess
import time

import pytest
from tests.root.testroot import QUAIL_ENVIRONMENT
from tests.ucspi.oracle import DEBIAN, ENVIRONMENT, both, compare, enter, run, serve_names

ZONE = r"""
2.0.0.127.listed.test TXT "listed here"
2.0.0.127.parts.test TXT "a" "b c"
2.0.0.127.odd.test TXT "a\007\255 q\010z%"
2.0.0.127.empty.test TXT ""
2.0.0.127.address.test A 127.0.0.2
2.0.0.127.good.test A 127.0.0.2
2.0.0.127.alias.test CNAME 2.0.0.127.listed.test
3.2.1.listed.test TXT "three"
2.0.0.127 TXT "no base"
f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.listed.test TXT "six"
behave 2.0.0.127.fail.test truncate-all
behave 2.0.0.127.shut.test tcp-close
behave 2.0.0.127.lame.test lame
behave 2.0.0.127.refused.test refused
behave 2.0.0.127.silent.test silent
behave 2.0.0.127.servfail.test servfail
"""
ZONE += f'2.0.0.127.long.test TXT "{"x" * 150}" "{"y" * 150}"\n'
NAMES = {"TCPREMOTEIP": "127.0.0.2", "DNSCACHEIP": "127.0.0.1"}
SERVED = ["echo", "served"]
WORDS = [
    "-b",
    "-B",
    "-c",
    "-C",
    "-rlisted.test",
    "-rnone.test",
    "-rfail.test",
    "-agood.test",
    "-anone.test",
    "-afail.test",
]


@pytest.fixture
def names(test_root):
    with enter(test_root) as box:
        server = serve_names(box, ZONE)
        yield box
        server.send_signal(15)


def asked(words, stdin="rcpt\r\n", **env):
    env = {name: value for name, value in (NAMES | env).items() if value is not None}
    return {"argv": ["rblsmtpd", *words, *SERVED], "env": env, "stdin": stdin}


def test_every_option_before_every_other(names):
    chance = random.Random(5)
    orders = [[word] for word in WORDS] + [[one, other] for one in WORDS for other in WORDS]
    orders = chance.sample(orders, 60) + [chance.choices(WORDS, k=chance.randint(3, 6)) for _ in range(40)]
    results = compare(names, [asked(words) for words in orders])
    said = {result[1] for result in results}
    assert len(said) == 4  # served, listed with both codes, and not to be told


def test_lists(names):
    lists = ("parts", "odd", "empty", "address", "alias", "long", "none", "shut")
    cases = [asked([f"-r{each}.test"]) for each in lists] + [asked(["-c", "-r", f"{each}.test"]) for each in lists]
    cases += [asked([f"-a{each}.test", "-rlisted.test"]) for each in lists]
    cases += [asked(["-r", base]) for base in ("", "listed.test:x", "a b", "x" * 64, "x." * 130, "listed.test.")]
    cases += [
        asked(["-rlisted.test"], TCPREMOTEIP=ip) for ip in ("1.2.3", "127.0.0.9", "300.0.0.2", "127.0.0.2x", None)
    ]
    compare(names, cases)


def test_lists_have_nibbles_of_ipv6(names):
    cases = [asked(["-rlisted.test"], TCPREMOTEIP=ip) for ip in ("2001:db8::1f", "2001:db8::1e", "::ffff:127.0.0.2")]
    ours, _ = both(names, cases)
    log = "rblsmtpd: {} pid PID: 451 {}\n"
    turned_away = "220 rblsmtpd.local\r\n451 {}\r\n"
    assert ours == [
        (0, turned_away.format("six"), log.format("2001:db8::1f", "six"), ""),
        (0, "served\n", "", ""),
        (0, turned_away.format("listed here"), log.format("::ffff:127.0.0.2", "listed here"), ""),
    ]


def test_servers_that_refuse_or_fail(names):
    """Or say nothing. The original asks them again and again for a minute, and decides the same then; but from one who knows
    nothing and asks nobody it takes that there is nothing."""
    cases = [
        asked(words)
        for each in ("refused", "lame", "servfail", "silent")
        for words in ([f"-r{each}.test"], ["-c", f"-r{each}.test"])
    ]
    started = time.monotonic()
    argv = ["python3", "-m", "quail.programs.ucspi.rblsmtpd"]
    results = run(
        names, [{**case, "argv": argv + case["argv"][1:], "env": case["env"] | QUAIL_ENVIRONMENT} for case in cases]
    )
    assert [result[1] for result in results] == [
        "served\n",
        "220 rblsmtpd.local\r\n451 temporary RBL lookup error\r\n",
    ] * 4
    assert time.monotonic() - started < 50


VERBS = [
    "HELO",
    "EHLO",
    "MAIL",
    "RCPT",
    "DATA",
    "RSET",
    "NOOP",
    "QUIT",
    "VRFY",
    "HELP",
    "AUTH",
    "STARTTLS",
    "BDAT",
    "x",
    "",
]


def lines(seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        session = ""
        for _ in range(chance.randint(0, 12)):
            verb = chance.choice(VERBS if chance.random() < 0.9 else ["x" * 5000, "noop\0", "\xff"])
            verb = chance.choice([verb, verb.lower(), verb.capitalize()]) if verb.isascii() else verb
            session += (
                verb + chance.choice(["", " ", " x y", "\t", "\r", ":"]) + chance.choice(["\r\n", "\n", "\r\r\n"])
            )
        yield session + chance.choice(["", "quit", "NOOP\r"])


def test_dialogues(test_root):
    texts = ["-no", "no", "-", "--x", " ", "\x01\x7f\xff\u00e9%", "x" * 199 + "yz", "-" + "x" * 201]
    with enter(test_root) as box:
        cases = [asked([], session, RBLSMTPD="-no") for session in lines(6, 40)]
        cases += [asked([], "rcpt\n", RBLSMTPD=text) for text in texts]
        cases += [asked([*words, "-t0"], "noop\n", RBLSMTPD="-no") for words in ([], ["-b"], ["-rlisted.test"])]
        cases += [asked(["-t", number], "noop\n", RBLSMTPD="no") for number in ("abc", "5x", "99", "0x1")]
        cases += [asked([], "noop\n", RBLSMTPD="no", TCPREMOTEIP=ip) for ip in ("1.2.3.4\x01", "", None, "::1")]
        cases += [asked([], RBLSMTPD=""), asked([], RBLSMTPD=None), asked(["-b", "-c"], RBLSMTPD=None)]
        cases += [asked(["-b"], RBLSMTPD="no")]
        compare(box, cases)


def test_wrong_calls(test_root):
    calls = [[], ["-b"], ["-z", "x"], ["-v", "x"], ["-R", "x"], ["-r"], ["-t"], ["nonexistent"], ["--", "sh", "-c", "exit 7"],
             ["-bB", "sh", "-c", "exit 9"], ["-t5", "--", "/etc/passwd"], ["-"]]  # fmt: skip
    with enter(test_root) as box:
        compare(box, [{"argv": ["rblsmtpd", *words]} for words in calls])


@pytest.mark.parametrize("argv", [[DEBIAN + "rblsmtpd"], ["python3", "-m", "quail.programs.ucspi.rblsmtpd"]])
def test_time_is_over(test_root, argv):
    """A client that says nothing, and one that goes on talking."""
    with enter(test_root) as box:
        for talks in (False, True):
            env = ENVIRONMENT | QUAIL_ENVIRONMENT | {"RBLSMTPD": "no"}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            started = time.monotonic()
            server = box.popen([*argv, "-t", "2", "true"], env=env, **pipes)
            assert server.stdout.readline() == b"220 rblsmtpd.local\r\n"
            while talks:
                try:
                    server.stdin.write(b"noop\n")
                    server.stdin.flush()
                except BrokenPipeError:
                    break
                if server.stdout.readline() != b"250 rblsmtpd.local\r\n":
                    break
            assert server.wait(30) == 0
            assert 1 < time.monotonic() - started < 20
            assert server.stdout.read() == b""
            assert server.stderr.read().endswith(b": 451 no\n")
