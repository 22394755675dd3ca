"""Runs one tcpserver, of any build, through many scenes in a network of its own, and prints what came of it as JSON.

    python3 tcpserver_scenarios.py FOLDER COMMAND WORD...      (in a box, by uid 0)

Each scene is {rc, replies, log}: the exit code after TERM, or of a server that did not start; what clients got; standard error.
Process ids and ports that the kernel chose have names in their place.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.abspath(__file__)) + "/../remote"]
from dnsserver import DnsServer  # noqa: E402  the tests' own, which no installation has
from ident_responder import IdentResponder  # noqa: E402  so is this

PATIENCE = 30.0
ENV = ["/usr/bin/env"]
TRUE = ["/bin/true"]
KIND = ["/usr/bin/python3", "-c", "import socket; print(socket.socket(fileno=0).family)"]
RULES = {
    "set": '127.0.0.1:allow,RELAYCLIENT="",A="1",A="2",PATH="/nonexistent",TCPREMOTEHOST="x"\n:deny\n',
    "deny": '127.:deny,A="1"\n',
    "host": '=joe.example:allow,BY="host"\n=.example:allow,BY="suffix"\n=:allow,BY="any name"\n:allow,BY="nobody"\n',
    "info": 'joe@127.0.0.1:allow,BY="info"\n127.0.0.1:allow,BY="ip"\n',
    "six": '::1:allow,BY="six"\n127.:allow,BY="four"\n:deny\n',
    "prefix": 'fd00:1::allow,BY="prefix"\nfd00::allow,BY="short"\n',
}
ANSWERS = {
    "user": b"1,2:USERID:UNIX:joe\r\n", "blanks": b"1 , 2 : USERID : UNIX : j o\te\r\n", "error": b"1,2:ERROR:NO-USER\r\n",
    "rubbish": b"rubbish\n", "cut": b"1,2:USERID:UNIX:joe", "whole": b"1:2:3:" + b"y" * 300, "odd": b":::\x01\x80%z\r\n",
    "nothing": b"", "nul": b"1:2:3:a\0b\n",
}  # fmt: skip


def scene(
    name, options, program=ENV, *, to=("127.0.0.1",), host="127.0.0.1", port="0", env=None, ident=None, user=None
):
    return name, options, program, to, host, port, env or {}, ident, user


def quiet(name, options, *args, **more):
    return scene(name, ["-HRl0", *options], *args, **more)


SCENES = [
    quiet("plain", ["-v"]),
    quiet("silent", ["-q"], ["nosuch"]),
    quiet("errors", [], ["nosuch"]),
    quiet("any address", ["-v"], host="0"),
    quiet("any address, empty", ["-v"], host=""),
    quiet("two at once", ["-v"], to=("127.0.0.1", "127.0.0.1")),
    quiet("old variables", [], env={"TCPREMOTEHOST": "o", "TCPREMOTEINFO": "o", "TCPLOCALHOST": "o", "KEEP": "1"}),
    quiet("no path", ["-v"], ["env"], env={"PATH": None}),
    quiet("exit code", ["-v"], ["sh", "-c", "exit 7"]),
    quiet("killed", ["-v"], ["sh", "-c", "kill -9 $$"]),
    quiet("not there", ["-v"], ["/nosuch"]),
    quiet("a folder", ["-v"], ["/etc"]),
    quiet("not executable", ["-v"], ["/etc/passwd"]),
    quiet("no program on the path", ["-v"], ["nosuch", "x"]),
    quiet("a name with % and :", ["-v", "-la%b:c"], TRUE),
    quiet("a long name", ["-v", "-l" + "x" * 100], TRUE),
    quiet("a name as long as may be", ["-v", "-l" + "x" * 99], TRUE),
    quiet("banner", ["-v", "-Bhello there"], TRUE),
    quiet("banner and deny", ["-v", "-Bhello there", "-x{deny}"], TRUE),
    quiet("rules", ["-v", "-x{set}"]),
    quiet("rules deny", ["-v", "-x{deny}"]),
    quiet("no rules", ["-v", "-x/nonexistent.cdb"]),
    quiet("no rules, said", ["-x/nonexistent.cdb"]),
    quiet("no rules, allowed", ["-v", "-X", "-x/nonexistent.cdb"], TRUE),
    quiet("rules that are none", ["-v", "-X", "-x/etc/passwd"], TRUE),
    quiet("rules below a file", ["-v", "-X", "-x/etc/passwd/x"], TRUE),
    # Without the two that are the C library's own, which its posix_spawn ignores.
    quiet("signals", ["-v"], ["grep", "Sig[BI]", "/proc/self/status"]),
    quiet("signals, spawned", [], ["sh", "-c", "grep Sig[BI] /proc/$$/status | sed s/[01][08]0000000$/000000000/"]),
    quiet("descriptors", [], ["sh", "-c", "ls /proc/$$/fd"]),
    quiet("kind of socket", [], KIND),
    quiet("ids", ["-u1001x", "-g1002"], ["id"]),
    quiet("uid", ["-u1001"], ["id"]),
    quiet("ids of the environment", ["-U"], ["id"], env={"UID": "1003", "GID": "1004"}),
    quiet("limit", ["-v", "-c3x"], TRUE),
    quiet("no limit", ["-cabc"], TRUE, to=()),
    quiet("last one counts", ["-v", "-l1", "-l2", "-q", "-v"], TRUE),
    quiet("nodelay", ["-v", "-D", "-o"], TRUE),
    quiet("service name", [], TRUE, port="smtp"),
    quiet("no such service", [], TRUE, port="nosuch"),
    quiet("half a number", [], TRUE, port="25x"),
    quiet("no port", ["-v"], TRUE, port=""),
    quiet("foreign address", [], TRUE, host="192.0.2.1"),
    quiet("not root: uid", ["-u7"], TRUE, user=1000),
    quiet("not root: gid", ["-g7"], TRUE, user=1000),
    quiet("not root: port", [], TRUE, port="1", user=1000),
    quiet("not root: no ids", ["-v", "-u0", "-g0"], TRUE, user=1000),
    scene("nobody of that name", ["-HRl0"], TRUE, host="nobody.example"),
    scene("a name", ["-HRl0"], TRUE, host="me.example"),
    scene("name of the client", ["-vRl0"]),
    scene("odd name of the client", ["-vRl0"], to=("127.0.0.9",)),
    scene("no name of the client", ["-vRl0"], to=("127.0.0.7",)),
    scene("paranoid, right", ["-vpRl0"]),
    scene("paranoid, wrong", ["-vpRl0"], to=("127.0.0.8",)),
    scene("local name", ["-vHR"]),
    scene("rules by name", ["-vRl0", "-x{host}"]),
    scene("rules by end of name", ["-vRl0", "-x{host}"], to=("127.0.0.8",)),
    scene("rules without name", ["-vRl0", "-x{host}"], to=("127.0.0.7",)),
    scene("rules by ident", ["-vHl0", "-x{info}"], ident="user"),
    *(scene(f"ident {name}", ["-vHl0"], ident=name) for name in ANSWERS),
    scene("ident nobody", ["-vHl0"]),
    scene("ident silent", ["-vHl0", "-t1"], ident="silent"),
]
SIX = [
    quiet("-6", [], ["sh", "-c", "env | grep -v TCP6INTERFACE"]),  # the original makes one up here
    quiet("-6 logged", ["-v", "-6"], TRUE),
    quiet("-4", ["-v", "-4"]),
    quiet("-4, any address", ["-v", "-4"], host="0"),
    quiet("-4 ::1", ["-v", "-4"], host="::1"),
    quiet("::1", ["-v"], host="::1", to=("::1",)),
    quiet("kind of socket, mapped", ["-6"], KIND, host="::ffff:127.0.0.1"),
    quiet("kind of socket, any address", [], KIND, host="0"),
    quiet("any address, both", ["-v"], host="0", to=("::1", "127.0.0.1")),
    quiet("interface", ["-v", "-Ilo"], host="::1", to=("::1",)),
    quiet("link-local without interface", [], TRUE, host="fe80::1"),
    quiet("rules of both", ["-v", "-x{six}"], host="0", to=("::1", "127.0.0.1")),
    quiet("rules by prefix", ["-v", "-x{prefix}"], host="0", to=("fd00:1::2", "fd00:2::3", "fd00:0:1::1")),
    quiet("shortened", ["-v"], host="0", to=("fd00:1:0:2:3:4:5:6", "fd00:0:0:1:0:0:0:1", "fd00:1:0:0:2:0:0:3")),
    scene("name of an IPv6 client", ["-vRl0"], host="::1", to=("::1",)),
    scene("ident by IPv6", ["-vHl0"], host="::1", to=("::1",), ident="user"),
]
ZONE = (
    "1.0.0.127.in-addr.arpa PTR Joe.Example", "joe.example A 127.0.0.1", "me.example A 127.0.0.1",
    "8.0.0.127.in-addr.arpa PTR liar.example", "liar.example A 192.0.2.1",
    "9.0.0.127.in-addr.arpa PTR a+b.example", "a+b.example A 127.0.0.9",
    "1" + ".0" * 31 + ".ip6.arpa PTR six.example", "six.example AAAA ::1",
)  # fmt: skip


def visit(address, port):
    """What a client gets, and its port; it comes from the address that it goes to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    data = b""
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        try:
            client.bind((address, 0))
            client.connect((address if address[:4] != "127." else "127.0.0.1", port))
            own = client.getsockname()[1]
            while part := client.recv(65536):
                data += part
        except ConnectionRefusedError:
            return "refused", 0
        except ConnectionResetError:
            pass
    return data.decode("latin-1"), own


def run(folder, command, scene):
    _, options, program, to, host, port, env, _, user = scene
    options = [re.sub(r"\{(\w+)\}", lambda found: f"{folder}/{found[1]}.cdb", word) for word in options]
    environment = {"PATH": "/usr/bin:/bin", "DNSCACHEIP": "127.0.0.1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    environment = {name: value for name, value in {**environment, **env}.items() if value is not None}
    words = [*command, "-1", *options, host, port, *program]
    if user:
        words = ["setpriv", f"--reuid={user}", "--clear-groups", *words]
    server = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    told = server.stdout.readline()
    replies, names = [], {}
    if told:
        names[told.decode().strip()] = "PORT"
        for number, address in enumerate(to):
            reply, own = visit(address, int(told))
            names[str(own)] = f"CLIENT{number}"
            replies.append(reply)
            wait_for_children(server.pid)
        server.terminate()
    log = server.communicate(timeout=PATIENCE)[1].decode("latin-1")
    pids = dict.fromkeys(re.findall(r"(?:pid|end) (\d+) ", log))
    names.update({pid: f"PID{number}" for number, pid in enumerate(pids)})

    def plain(text):
        return re.sub(r"(?<![\d.])\d+(?![\d.])", lambda found: names.get(found[0], found[0]), text)

    sorted_replies = ["\n".join(sorted(plain(reply).split("\n"))) for reply in replies]
    return {"rc": server.returncode, "replies": sorted_replies, "log": plain(log)}


def wait_for_children(pid):
    """Until the server has none that it has not reaped: its log is whole then."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            if not file.read().strip():
                break
        time.sleep(0.005)
    else:
        raise TimeoutError("children that never end")
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        state = file.read().rpartition(")")[2].split()[0]
    while state == "R" and time.monotonic() < deadline:  # it may be about to write
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            state = file.read().rpartition(")")[2].split()[0]


def main():
    folder, kind, *command = sys.argv[1:]
    for name, text in RULES.items():
        compiler = "/opt/oracles/ucspi-tcp-ipv6/usr/bin/tcprules" if name in {"six", "prefix"} else "tcprules"
        subprocess.run([compiler, f"{folder}/{name}.cdb", f"{folder}/{name}.tmp"], input=text.encode(), check=True)
        os.chmod(f"{folder}/{name}.cdb", 0o644)
    for address in {address for each in SIX for address in each[3] if address[:2] == "fd"}:
        subprocess.run(["ip", "address", "replace", f"{address}/128", "dev", "lo", "nodad"], check=True)
    found = {}
    with DnsServer(*ZONE, port=53):
        for each in SCENES + (SIX if kind == "six" else []):
            name, ident = each[0], each[7]
            if ident is None:
                found[name] = run(folder, command, each)
                continue
            address = "::1" if "::1" in each[3] else "127.0.0.1"
            with IdentResponder([ANSWERS.get(ident)], address, 113):
                found[name] = run(folder, command, each)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
