"""A chain by way of another account and new limits, under tcpserver, to a server of ours: what the kernel says of it."""

import json

import pytest
from tests.daemontools.supervise_house import OURS, move_in
from tests.root.testroot import QUAIL_ENVIRONMENT
from tests.ucspi.oracle import enter

pytestmark = pytest.mark.root

# The server waits for a command while somebody looks at it.
INSIDE = """
import json, os, sys
sys.path.insert(0, "/srv/ucspi")
from tcpserver_process import TcpServer
folder = "/tmp/variables"
os.mkdir(folder)
for name in ("RELAYCLIENT", "TCPREMOTEINFO"):
    with open(f"{folder}/{name}", "w") as file:
        file.write("\\n")
chain = ["softlimit", "-o", "50", "-c", "0", "setuidgid", "nobody", "envdir", folder, "qmail-smtpd"]
found = {}
with TcpServer(["-vHRl0"], chain, env={"PATH": "OURS/bin:/usr/bin:/bin", **json.loads(sys.argv[1])}) as server:
    client = server.connect()
    found["replies"] = [client.recv(1000).decode()]
    (pid,) = server.children()
    for name in ("status", "limits", "comm", "cmdline"):
        with open(f"/proc/{pid}/{name}") as file:
            found[name] = file.read()
    for command in ("HELO x", "MAIL FROM:<a@b>", "RCPT TO:<c@elsewhere.example>", "QUIT"):
        client.sendall(command.encode() + b"\\r\\n")
        found["replies"].append(client.recv(1000).decode())
    client.close()
    server.wait_for(r"tcpserver: end \\d+ status 0")
    server.wait_for("tcpserver: status: 0/40", 2)
print(json.dumps(found))
"""


def test_account_limits_and_environment_hold_for_the_last_of_a_chain(test_root):
    with enter(test_root) as box:
        move_in(box, QUAIL_ENVIRONMENT)
        box.run(["mkdir", f"{OURS}/control"])
        for name, line in (("me", "mx.example.com"), ("rcpthosts", "example.com")):
            box.run(["sh", "-c", f"echo {line} > {OURS}/control/{name}"])
        script = INSIDE.replace("OURS", OURS)
        done = box.run(["python3", "-c", script, json.dumps(QUAIL_ENVIRONMENT)], env=QUAIL_ENVIRONMENT)
        nobody, group = box.run(["sh", "-c", "id -u nobody; id -g nobody"]).stdout.split()
    found = json.loads(done.stdout)
    status = dict(line.split(":\t", 1) for line in found["status"].splitlines() if ":\t" in line)
    assert status["Uid"].split() == [nobody] * 4
    assert status["Gid"].split() == [group] * 4
    assert status["Groups"].split() == [group]
    limits = {line[:26].strip(): line[26:].split()[0] for line in found["limits"].splitlines()[1:]}
    assert limits["Max open files"] == "50"
    assert limits["Max core file size"] == "0"
    assert found["comm"] == "qmail-smtpd\n"
    assert f"{OURS}/bin/envdir" in found["cmdline"].split("\0")  # the last that was exec'd: by setuidgid
    assert [reply[:3] for reply in found["replies"]] == ["220", "250", "250", "250", "221"]  # $RELAYCLIENT
