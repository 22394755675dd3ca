"""Programs that need a machine of their own: splogger with a real /dev/log, config and tcp-env with name servers."""

import json
import os

import pytest
from tests.root.ident import IDENT
from tests.root.testroot import QUAIL_ENVIRONMENT
from tests.ucspi.oracle import serve_names

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = QUAIL_ENVIRONMENT | {"DNSCACHEIP": "127.0.0.1", "LOCALDOMAIN": "example.test"}
PYTHON = ["python3", "-m"]

ZONE = """
mail.example.test A 192.0.2.1
mail.example.test AAAA 2001:db8::1
1.2.0.192.in-addr.arpa PTR Mail.Example.test
2.2.0.192.in-addr.arpa PTR www.example.test
www.example.test A 192.0.2.2
3.2.0.192.in-addr.arpa PTR bank.example
bank.example A 192.0.2.99
1.0.0.127.in-addr.arpa PTR Local.Host.test
local.host.test A 127.0.0.1
2.0.0.127.in-addr.arpa PTR other\\032name.test
behave 4.0.0.127.in-addr.arpa servfail
behave sick.example.test servfail
"""


@pytest.fixture
def box(test_root):
    with test_root.enter({f"{HERE}/../remote": "/srv/remote"}) as box:
        box.run(["mkdir", "-p", "/var/qmail/control"])
        server = serve_names(box, ZONE)
        yield box
        server.send_signal(15)


def own_address(box, *addresses):
    code = (
        "import sys; sys.path.append('/srv/remote'); import boxnet\nfor each in sys.argv[1:]: boxnet.own_address(each)"
    )
    box.run(["python3", "-c", code, *addresses])


def config(box, host):
    box.run(["hostname", host])
    done = box.run([*PYTHON, "quail.programs.qmail.config"], env=ENVIRONMENT, check=False)
    return done.returncode, done.stdout, done.stderr


def control(box):
    names = box.run(["ls", "/var/qmail/control"]).stdout.split()
    return {name: box.run(["cat", f"/var/qmail/control/{name}"]).stdout for name in names}


def test_config(box):
    """The host's name, completed, and those of its addresses that lead back to them; not what others call them."""
    own_address(box, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "2001:db8::1")
    code, out, error = config(box, "mail")
    assert (code, error) == (0, "")
    for line in (
        "The name of this host is mail.", "The DNS knows it as mail.example.test.",
        "192.0.2.1: mail.example.test", "192.0.2.2: www.example.test",
        "192.0.2.3: no name that leads back to it", "192.0.2.4: no name that leads back to it",
        "2001:db8::1: no name that leads back to it", "control/locals: mail.example.test, www.example.test",
    ):  # fmt: skip
        assert line in out.splitlines()
    assert "127.0.0.1" not in out
    listed = "mail.example.test\nwww.example.test\n"
    assert control(box) == {
        "me": "mail.example.test\n", "defaultdomain": "example.test\n", "plusdomain": "example.test\n",
        "locals": listed, "rcpthosts": listed,
    }  # fmt: skip
    assert config(box, "mail.example.test")[0] == 0  # again: nothing is to be changed
    box.run(["sh", "-c", "echo other.example > /var/qmail/control/locals"])
    before = control(box)
    code, _, error = config(box, "mail")
    assert (code, "control/locals in /var/qmail would be changed" in error) == (100, True)
    assert control(box) == before


def test_config_of_a_host_that_the_dns_does_not_know(box):
    for host in ("nobody", "localhost"):
        code, _, error = config(box, host)
        assert code == 100
        assert error.startswith(
            f"config: fatal: the DNS has no full name of {host} with an address: call config-fast NAME"
        )
    code, _, error = config(box, "sick")
    assert code == 111
    assert control(box) == {}


def test_config_stops_when_a_name_cannot_be_told_now(box):
    """Rather than leave a domain out."""
    own_address(box, "127.0.0.4", "192.0.2.1", "192.0.2.5")
    assert config(box, "mail")[0] == 0
    box.run(["sh", "-c", "rm /var/qmail/control/*"])
    box.run(["hostname", "mail"])
    dead = ENVIRONMENT | {"DNSCACHEIP": "127.255.255.1"}
    done = box.run([*PYTHON, "quail.programs.qmail.config"], env=dead, check=False)
    assert done.returncode == 111
    assert control(box) == {}


INETD = """
import json, socket, subprocess, sys
address, program = sys.argv[1], sys.argv[2:]
with socket.create_server((address, 0)) as listener:
    client = socket.create_connection(listener.getsockname(), source_address=(address, 0))
    server = listener.accept()[0]
done = subprocess.run(program, stdin=server, capture_output=True, text=True)
print(json.dumps([done.returncode, done.stdout, done.stderr, *server.getsockname(), *server.getpeername()]))
"""


def tcp_env(box, address, *options):
    call = ["python3", "-c", INETD, address, *PYTHON, "quail.programs.qmail.tcp_env", *options, "env"]
    code, out, error, *_ = json.loads(box.run(call, env=ENVIRONMENT | {"TCPREMOTEHOST": "stale"}).stdout)
    assert (code, error) == (0, "")
    return dict(line.split("=", 1) for line in out.splitlines())


def test_tcp_env(box):
    """Names in lower case; none where there is none; a word of its own where it can't be told."""
    for address, name in (
        ("127.0.0.1", "local.host.test"), ("127.0.0.2", "other\\040name.test"), ("127.0.0.3", None),
        ("127.0.0.4", "softdnserror"),
    ):  # fmt: skip
        told = tcp_env(box, address)
        assert (told["PROTO"], told["TCPLOCALIP"], told["TCPREMOTEIP"]) == ("TCP", address, address)
        assert {told.get(f"TCP{end}HOST") for end in ("LOCAL", "REMOTE")} == {name}
        assert "TCPREMOTEINFO" not in told
    server = box.popen(["python3", "-c", IDENT], stdout=-1)
    assert server.stdout.readline() == b"ready\n"
    assert [tcp_env(box, "127.0.0.1", *options).get("TCPREMOTEINFO") for options in ([], ["-Rr", "-t5"], ["-R"])] == [
        "joex:y", "joex:y", None,
    ]  # fmt: skip
    server.send_signal(9)


LOG = """
import os, socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
os.chmod("/dev/log", 0o666)
print("ready", flush=True)
while True:
    sys.stdout.buffer.write(log.recv(10000) + b"\\n")
    sys.stdout.flush()
"""


def test_splogger_and_the_systems_log(box):
    """Priority and facility as syslogd gets them."""
    log = box.popen(["python3", "-c", LOG], stdout=-1)
    assert log.stdout.readline() == b"ready\n"
    data = "new msg 1\nalert: oh no\nwarning: %s%n\n" + "x" * 800 + "\n"
    done = box.run(["python3", "-ISc", SPLOGGER, "qmail"], data=data, user=1000)
    assert (done.stdout, done.stderr) == ("", "")
    for priority, text in (
        (2 * 8 + 6, b" new msg 1"), (2 * 8 + 1, b" alert: oh no"), (2 * 8 + 4, b" warning: %s%n"),
        (2 * 8 + 6, b" " + b"x" * 799), (2 * 8 + 6, b"+x"),
    ):  # fmt: skip
        line = log.stdout.readline().rstrip(b"\n\0")
        head, _, rest = line.partition(b" qmail: ")
        assert head.startswith(b"<%d>" % priority)
        assert rest[17:] == text
    log.send_signal(9)
    log.wait()
    assert box.run(["python3", "-ISc", SPLOGGER, "qmail"], data=data).returncode == 0  # nobody to tell


SPLOGGER = "import sys; sys.path.insert(0, '/opt/quail/src'); from quail.programs.qmail.splogger import main; main()"
