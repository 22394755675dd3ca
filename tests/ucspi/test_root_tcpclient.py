"""tcpclient and the clients made of it beside Debian's, both builds: environment, exit codes, complaints, and what is sent."""

import pytest
from tests.root.ident import IDENT
from tests.root.testroot import QUAIL_ENVIRONMENT
from tests.ucspi.oracle import DEBIAN_SIX, both, compare, enter, run, serve_names

ZONE = """
1.0.0.127.in-addr.arpa PTR Local.Host.test
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa PTR six.test
host.test A 127.0.0.1
six.test AAAA ::1
mixed.test A 127.0.0.1
mixed.test AAAA ::1
two.test A 127.0.0.1
two.test A 127.0.0.2
behave dead.test truncate-all
"""
NAMES = {"DNSCACHEIP": "127.0.0.1"}
# Ports of the client's end are the kernel's choice. The original gives an empty name to an address that has
# none, and none to one that can't be looked up; ours is without one in both cases.
SHOW = ["sh", "-c", "env | grep -E '^(TCP|PROTO).*=.' | sed 's/LOCALPORT=[1-9].*/LOCALPORT=N/' | sort"]
ENDS = ("IP", "PORT", "HOST", "INFO")
STALE = {"PROTO": "x"} | {f"TCP{end}{what}": "x" for end in ("LOCAL", "REMOTE") for what in ENDS}
BARE = "-RHl0"


def call(*words, **env):
    return {"argv": ["tcpclient", *words], "env": NAMES | env}


@pytest.fixture
def names(test_root):
    with enter(test_root) as box:
        server = serve_names(box, ZONE)
        yield box
        server.send_signal(15)


def test_what_programs_are_told(names):
    cases = [call(*words, "PORT", *SHOW, **STALE) for words in (
        [BARE, "127.0.0.1"], ["-v", BARE, ""], ["-vRH", "0"], ["-v", "127.0.0.1"], ["-vRHl", "a b", "0"], ["-RHl", "", "0"],
        ["-vDR", "host.test"], ["-rhdv", "-t", "2", "host.test"], ["-Qv", BARE, "[127.0.0.1]"], ["-vQ", BARE, "127.0.0.1."],
        ["-RHl0", "-i127.0.0.5", "127.0.0.1"], ["-vRH", "-i", "127.0.0.5", "host.test"],
    )]  # fmt: skip
    compare(names, cases)


def test_who_the_host_says_it_is(names):
    server = names.popen(["python3", "-c", IDENT], stdout=-1)
    assert server.stdout.readline() == b"ready\n"
    results = compare(
        names, [call(*words, "-Hl0", "127.0.0.1", "PORT", *SHOW, **STALE) for words in ([], ["-r"], ["-R"])]
    )
    assert ["TCPREMOTEINFO=joex:y\n" in result[1] for result in results] == [True, True, False]
    server.send_signal(9)


def test_descriptors(test_root):
    # Each end of the connection by its own descriptor, and no other descriptor of it.
    script = "echo to host >&7; cat <&6; ls -l /proc/$$/fd | grep -c socket:; exit 7"
    with enter(test_root) as box:
        case = call(BARE, "127.0.0.1", "PORT", "sh", "-c", script) | {"host": "from host\n", "expects": 8}
        assert compare(box, [case]) == [(7, "from host\n2\n", "", "to host\n")]


FAILURES = [
    [BARE, "127.0.0.1", "1", "true"], ["-qRHl0", "127.0.0.1", "1", "true"], ["-qvRHl0", "127.0.0.1", "1", "true"],
    [BARE, "two.test", "nosuch", "true"], [BARE, "127.0.0.1", "25x", "true"], [BARE, "127.0.0.1", "", "true"],
    [BARE, "127.0.0.1", "smtp", "true"], [BARE, "127.0.0.1", "70000", "true"], [BARE, "none.test", "25", "true"],
    [BARE, "1.2.3", "25", "true"], [BARE, "1.2.3.4", "25", "true"],
    ["-q", BARE, "none.test", "25", "true"], ["-i10.9.9.9", BARE, "127.0.0.1", "25", "true"],
    ["-ijunk", BARE, "0", "25", "true"], ["-i", "", BARE, "0", "25", "true"], ["-i", "0", BARE, "0", "25", "true"],
    ["-p", "PORT", BARE, "127.0.0.1", "PORT", "true"], [], ["0"], ["0", "25"], ["-q", "0", "25"], ["-q", "-z"], ["-z"], ["-T"],
    [BARE, "127.0.0.1", "PORT", "nonexistent"], ["-q", BARE, "127.0.0.1", "PORT", "nonexistent"],
    [BARE, "127.0.0.1", "PORT", "/etc/passwd"], [BARE, "127.0.0.1", "PORT", "sh", "-c", "kill -9 $$"],
    ["--", "127.0.0.1", "1", "true"],
]  # fmt: skip


def test_what_goes_wrong(names):
    ours, theirs = both(names, [call(*words) for words in FAILURES])
    for words, our, their in zip(FAILURES, ours, theirs, strict=True):
        usage = their[2].replace("[ -h", "[ -46h").replace("info ] host", "info ] [ -I interface ] host")
        assert our == (*their[:2], usage, their[3]), words


def test_addresses_one_after_another(names):
    """In whatever order the name server gives them."""
    ours, theirs = both(names, [call(BARE, "two.test", "1", "true")])
    for code, out, err, _ in (*ours, *theirs):
        assert (code, out) == (111, "")
        assert sorted(err.splitlines()) == [
            f"tcpclient: unable to connect to 127.0.0.{number} port 1: connection refused" for number in (1, 2)
        ]


def test_names_that_can_not_be_looked_up(names):
    ((code, out, err, _),) = both(names, [call(BARE, "dead.test", "1", "true")])[0]
    assert (code, out) == (111, "")
    assert err.startswith("tcpclient: fatal: temporarily unable to figure out IP address for dead.test: ")
    assert err.count("\n") == 1


def test_ipv6(names):
    cases = [call(*words, "PORT", *SHOW, **STALE) for words in (
        [BARE, "::1"], ["-vRHl0", "::1"], ["-6RHl0", "127.0.0.1"], ["-RHl0", "-I", "lo", "::1"],
        ["-RHl0", "-I", "nosuch", "::1"],
        ["-vRHl0", "::ffff:127.0.0.1"], ["-RHl0", "-i", "::1", "::1"], ["-4RHl0", "127.0.0.1"], [BARE, "six.test"],
        ["-4RHl0", "host.test"], ["-vRHl0", "-6", "::1"],
    )]  # fmt: skip
    cases += [
        call(*words)
        for words in (["-vRHl0", "::1", "1", "true"], ["-z"], ["-i", "127.0.0.1", BARE, "::1", "PORT", "true"])
    ]
    compare(names, cases, DEBIAN_SIX)


def test_a_host_of_both_kinds(names):
    """The original goes from one address to the next by four bytes instead of sixteen."""
    host = {"host": "x"}
    ours, _ = both(
        names, [call("-vRHl0", "mixed.test", "PORT", "cat") | host, call("-vRHl0", "mixed.test", "1", "true")]
    )
    assert ours[0][2] == "tcpclient: connected to ::1 port PORT\n"
    assert ours[1][2] == "".join(
        f"tcpclient: unable to connect to {ip} port 1: connection refused\n" for ip in ("::1", "127.0.0.1")
    )


FULL = """
import socket, subprocess, sys, time
held = []
for number in (5, 7):
    listener = socket.socket()
    listener.bind((f"127.0.0.{number}", 9999))
    listener.listen(0)
    held.append(listener)
    for _ in range(3):  # nobody accepts, and there is room for one
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        held.append(client)
for patience, host in (("1+1", "slow.test"), ("0+1", "127.0.0.5"), ("1+", "127.0.0.5")):
    started = time.monotonic()
    done = subprocess.run([*sys.argv[1:], "-T", patience, "-RHl0", host, "9999", "true"], capture_output=True, text=True)
    lines = sorted(done.stderr.splitlines()[1:]) if host == "slow.test" else []
    print(done.returncode, done.stderr.splitlines()[:1], lines, int(time.monotonic() - started))
"""


def test_rounds(test_root):
    with enter(test_root) as box:
        server = serve_names(box, "slow.test A 127.0.0.5\nslow.test A 127.0.0.1\nslow.test A 127.0.0.7\n")
        told = []
        for argv in (["/usr/bin/tcpclient"], ["python3", "-m", "quail.programs.ucspi.tcpclient"]):
            done = box.run(["python3", "-c", FULL, *argv], env=NAMES | QUAIL_ENVIRONMENT)
            told.append(done.stdout.splitlines())
        server.send_signal(15)
    # Those that are refused are told of in the first round, those that are silent in the second.
    assert told[0] == told[1]
    assert told[0][0] == (
        "111 ['tcpclient: unable to connect to 127.0.0.1 port 9999: connection refused'] "
        "['tcpclient: unable to connect to 127.0.0.5 port 9999: timed out', "
        "'tcpclient: unable to connect to 127.0.0.7 port 9999: timed out'] 4"
    )


PAGES = [
    "HTTP/1.0 200 OK\r\nFoo: bar\r\n\r\nbody\r\nline2\nx", "H\nFoo: bar\n\nbody\r\n\r\nline2\nx\n", "garbage", "",
    "H\nF: b\n \r\nmid\r\r\n\r\n\r\n\r\nbody\r\r\n\r\nline2\nx\0y\xff\n", "\r\nall\r\n", "a\n\n\n",
    "a\n\n" + "long" * 30_000 + "\n\nx",
]  # fmt: skip
TEXTS = ["", "joe  tty1\r\n", "a\rb\r\n\r\r\n\0\x01\x7f\x80\xff\t\x9b31m", "x" * 70_000 + "\n", "\n\n"]


def test_clients(test_root):
    cases = [{"argv": ["http@", *words, "PORT"], "host": "H\n\nx\n", "expects": 30} for words in (
        ["127.0.0.1", "some/path"], ["127.0.0.1", ""], ["", "/abs"], ["0", "a b"], ["[127.0.0.1]", "\xe9"],
    )]  # fmt: skip
    cases += [{"argv": ["http@", "127.0.0.1", "x", "PORT"], "host": page, "expects": 40} for page in PAGES]
    cases += [{"argv": ["tcpcat", "127.0.0.1", "PORT"], "host": text} for text in (*PAGES, *TEXTS)]
    mconnect = {"argv": ["mconnect", "127.0.0.1", "PORT"], "host": "221 bye\r\nx"}
    lines = (("helo x\nquit\n", 14), ("a\r\nb\rc", 7), ("x" * 100_000 + "\n", 100_002))
    cases += [{**mconnect, "stdin": text, "expects": size} for text, size in lines]
    cases += [{"argv": argv} for argv in (
        ["tcpcat"], ["tcpcat", "127.0.0.1"], ["tcpcat", "127.0.0.1", "nosuch"], ["tcpcat", "127.0.0.1", ""], ["mconnect"],
        ["mconnect", "127.0.0.1", "1"], ["who@"], ["who@", "127.0.0.1", "x"], ["date@"], ["finger@"], ["finger@", "0", "joe"],
        ["http@"], ["http@", "127.0.0.1", "x", "1"], ["http@", "127.0.0.1", "x", "nosuch"],
    )]  # fmt: skip
    with enter(test_root) as box:
        compare(box, cases)


HOSTS = """
import socket, sys, threading
def serve(port, text):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(20)
    while True:
        connection, _ = listener.accept()
        with connection:
            heard = connection.makefile("rb").readline() if port == 79 else b""
            connection.sendall(heard + text)
for port in (11, 13, 17, 79):
    threading.Thread(target=serve, args=(port, sys.argv[1].encode("latin-1"))).start()
print("ready", flush=True)
"""


@pytest.mark.parametrize("text", TEXTS[1:3])
def test_clients_of_well_known_ports(test_root, text):
    with enter(test_root) as box:
        server = box.popen(["python3", "-c", HOSTS, text.replace("\0", "")], stdout=-1)
        assert server.stdout.readline() == b"ready\n"
        calls = [["who@"], ["who@", "127.0.0.1"], ["date@"], ["date@", "0"], ["tcpcat"], ["finger@"], ["finger@", "", "joe x"],
                 ["finger@", "127.0.0.1", "\xe9"]]  # fmt: skip
        compare(box, [{"argv": argv} for argv in calls])
        server.send_signal(9)


def test_mconnect_outlives_its_input(test_root):
    with enter(test_root) as box:
        argv = ["python3", "-m", "quail.programs.ucspi.mconnect", "127.0.0.1", "PORT"]
        (result,) = run(
            box, [{"argv": argv, "env": QUAIL_ENVIRONMENT, "stdin": "quit\n", "host": "221 bye\r\n", "expects": 6}]
        )
        assert result == (0, "221 bye\r\n", "", "quit\r\n")
