"""POP3 in a served single home: logging in, reading, deleting, being refused, and services that die meanwhile."""

import concurrent.futures
import contextlib
import os
import poplib
import signal
import stat
import sys

import pytest
from tests.remote.dnsserver import DnsServer
from tests.system.harness import Ends
from tests.system.pop3_house import SECRET, Pop3Server, Raw, maildir

from quail.net.tcprules import compile_rules
from quail.services.authd.service import SESSIONS_OF_USER
from quail.services.popd.visit import NO_HOME

FAILED = b"-ERR [AUTH] authorization failed\r\n"
LATER = b"-ERR [SYS/TEMP] unable to check the password now, try again later\r\n"
OVER = "-ERR [SYS/TEMP] too many"


@pytest.fixture
def make_pop3(tmp_path):
    made = []

    def make(**control):
        made.append(Pop3Server(tmp_path / "home", **control))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def pop3(make_pop3):
    return make_pop3().start()


def test_mail_is_read_and_deleted(pop3):
    for number in range(3):
        pop3.end(pop3.send(f"{pop3.name}@localhost", b"Subject: %d\r\n\r\n..dot\r\n" % number))
    client = pop3.login()
    count, size = client.stat()
    assert count == 3
    texts = [client.retr(number)[1] for number in (1, 2, 3)]
    assert size == sum(len(line) + 2 for text in texts for line in text)
    assert sorted(text[-3] for text in texts) == [b"Subject: 0", b"Subject: 1", b"Subject: 2"]
    assert all(text[-1] == b".dot" for text in texts)
    client.dele(2)
    assert client.quit() == b"+OK "
    assert len(maildir(pop3, "cur")) == 2
    assert maildir(pop3) == []
    pop3.line(r"popd: 127\.0\.0\.1 log-in of joe: ok")
    pop3.line(r"authd: session of joe from 127\.0\.0\.1 by pop3 ended: quit, 3 sent, 1 removed")


def test_nothing_is_deleted_without_quit(pop3):
    pop3.put(b"Subject: x\n\nx\n")
    client = pop3.login()
    client.dele(1)
    client.close()
    pop3.line(r"session of joe .* ended: end of input")
    assert maildir(pop3) == ["1.host"]


def test_wrong_passwords_and_nobody_look_alike(pop3):
    with pop3.raw() as client:
        assert client.line() == b"+OK ready\r\n"
        for user in (b"joe", b"nobody"):
            assert client.say(b"USER " + user) == [b"+OK \r\n"]
            assert client.say(b"PASS open sesam") == [FAILED]
        assert client.say(b"USER JOE") == [b"+OK \r\n"]
        assert client.say(b"PASS " + SECRET.encode()) == [b"+OK \r\n"]
    pop3.line(r"log-in of joe: failed")
    pop3.line(r"log-in of nobody: failed")
    assert not any("sesam" in line for line in pop3.log.lines)


def test_commands_behind_the_password_are_not_lost(pop3):
    """Written at once with it: popd hands them on."""
    pop3.put(b"Subject: x\n\nx\n")
    with pop3.raw() as client:
        assert client.line() == b"+OK ready\r\n"
        commands = (b"USER joe", b"PASS " + SECRET.encode(), b"STAT", *[b"NOOP"] * 2000, b"RETR 1")
        replies = client.say(*commands)
        assert replies[2] == b"+OK 1 17\r\n"
        assert set(replies[3:]) == {b"+OK \r\n"}
        assert client.block() == [b"Subject: x\r\n", b"\r\n", b"x\r\n"]
        assert client.say(b"QUIT") == [b"+OK \r\n"]
        assert client.rest() == b""


def test_commands_behind_a_wrong_password_are_heard_too(pop3):
    with pop3.raw() as client:
        client.line()
        replies = client.say(b"USER joe", b"PASS wrong", b"NOOP", b"USER joe", b"PASS " + SECRET.encode(), b"STAT")
        assert replies == [b"+OK \r\n", FAILED, b"+OK \r\n", b"+OK \r\n", b"+OK \r\n", b"+OK 0 0\r\n"]


def test_a_client_that_says_no_more_after_its_commands(pop3):
    with pop3.raw() as client:
        client.line()
        client.sock.sendall(b"USER joe\r\nPASS " + SECRET.encode() + b"\r\nSTAT\r\nQUIT\r\n")
        client.sock.shutdown(1)
        assert client.rest() == b"+OK \r\n+OK \r\n+OK 0 0\r\n+OK \r\n"


def test_apop(make_pop3):
    pop3 = make_pop3(apop="1")
    pop3.passwd("joe", "readable", "--cram")
    pop3.start()
    client = pop3.client()
    assert client.welcome.endswith(b"@localhost>")
    assert client.apop("joe", "readable") == b"+OK "
    client.quit()
    client = pop3.client()
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.apop("joe", SECRET)
    client.close()
    pop3.passwd("joe", SECRET)
    client = pop3.client()
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.apop("joe", SECRET)
    client.close()
    pop3.login().quit()


def test_a_new_password_counts_at_once(pop3):
    pop3.passwd("joe", "another")
    with pytest.raises(poplib.error_proto):
        pop3.login()
    pop3.login("another").quit()
    assert pop3.quail("user", "passwd", "joe", "--remove").returncode == 0
    with pytest.raises(poplib.error_proto):
        pop3.login("another")


def test_a_broken_password_file_is_trouble_and_named(pop3):
    path = pop3.path / "users/passwords"
    path.chmod(0o644)
    with pop3.raw() as client:
        client.line()
        assert client.say(b"USER joe", b"PASS x") == [b"+OK \r\n", LATER]
    pop3.line(r"authd: alert: unable to judge the log-in of joe .*users/passwords: others than its owner")
    path.chmod(0o600)
    pop3.login().quit()


def test_who_may_log_in_by_rule(pop3):
    folder = pop3.path / "etc/tcprules.d"
    assert (folder / "qmail-pop3").exists()
    (folder / "new").write_bytes(compile_rules(b"127.0.0.2:deny\n:allow\n", "rules"))
    (folder / "new").rename(folder / "qmail-pop3.cdb")
    with pop3.raw("127.0.0.2") as client:
        assert client.rest() == b""
    pop3.login().quit()


def test_guessing_is_slowed_down_then_refused(pop3):
    """Of many tries at once no more are judged than the limit; another address is not held up."""

    def guess(number):
        with pop3.raw("127.0.0.3") as client:
            client.line()
            return client.say(b"USER user%d" % number, b"PASS wrong")[1]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(guess, range(10, 15)))
        list(pool.map(guess, range(20, 25)))
    refused = guess(99)
    assert refused == b"-ERR [SYS/TEMP] too many wrong passwords, try again later\r\n"
    pop3.line(r"127\.0\.0\.3 log-in of user99: refused unseen: too many wrong passwords, for \d+ seconds more")
    pop3.login().quit()


def test_nobody_may_log_in_whom_no_rule_allows(pop3):
    pop3.rules(b"127.0.0.2:allow\n:deny\n", "pop3")
    with pop3.raw() as client:
        assert client.rest() == b""
    pop3.line(r"popd: 127\.0\.0\.1 denied by rule :$")
    with pop3.raw("127.0.0.2") as client:
        assert client.line() == b"+OK ready\r\n"
    pop3.rules(b":deny\n", "pop3")
    with pop3.raw("127.0.0.2") as client:
        assert client.rest() == b""


@pytest.mark.parametrize(
    ("rules", "comes_in"),
    [
        (b"=near.test:allow\n:deny\n", True),
        (b"=.test:deny\n:allow\n", False),
        (b"=far.test:allow\n=:deny\n:deny\n", False),
    ],
    ids=["allowed", "denied", "another"],
)
def test_who_may_log_in_by_name(make_pop3, rules, comes_in):
    """control/remotelookup: the client may say its commands before the name is known."""
    with DnsServer("1.0.0.127.in-addr.arpa PTR near.test\nnear.test A 127.0.0.1") as names:
        names.behave("1.0.0.127.in-addr.arpa", "hold")
        pop3 = make_pop3(remotelookup="1", nameservers=f"127.0.0.1:{names.port}").start()
        pop3.rules(rules, "pop3")
        with pop3.raw() as client:
            client.sock.sendall(b"USER joe\r\nPASS " + SECRET.encode() + b"\r\nQUIT\r\n")
            names.until(lambda: names.count("1.0.0.127.in-addr.arpa", "PTR"))
            names.release()
            assert client.rest() == (b"+OK ready\r\n" + b"+OK \r\n" * 3 if comes_in else b"")
        if not comes_in:
            pop3.line(r"popd: 127\.0\.0\.1 denied by rule =")


def test_a_name_server_that_fails_keeps_nobody_out(make_pop3):
    with DnsServer("") as names:
        names.behave("*", "servfail")
        pop3 = make_pop3(remotelookup="1", nameservers=f"127.0.0.1:{names.port}").start()
        pop3.rules(b"=near.test:deny\n:allow\n", "pop3")
        pop3.login().quit()


def said(pop3, how):
    return [line for line in pop3.log.lines if "127.0.0.4 log-in of u" in line and how in line]


def test_guessing_with_many_connections_at_once(pop3):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pop3.raw("127.0.0.4")) for _ in range(40)]
        for number, client in enumerate(clients):
            client.line()
            assert client.say(b"USER u%d" % number) == [b"+OK \r\n"]
        for client in clients:
            client.sock.sendall(b"PASS wrong\r\n")
        pop3.until(lambda: len(said(pop3, "refused unseen") + said(pop3, "failed")) == 40, "the verdicts")
        assert len(said(pop3, "failed")) == 10


def test_sessions_of_one_user_are_bounded(pop3):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: pop3.login(), range(SESSIONS_OF_USER)))
    with pytest.raises(poplib.error_proto, match="too many sessions of this user"):
        pop3.login(name="JOE")
    assert len(pop3.sessions()) == SESSIONS_OF_USER
    clients.pop().quit()
    pop3.until(lambda: len(pop3.sessions()) < SESSIONS_OF_USER, "the end of a session")
    pop3.login().quit()
    for client in clients:
        client.quit()


def test_all_sessions_are_bounded(make_pop3):
    pop3 = make_pop3(concurrencypop3="2").start()
    first, second = pop3.login(), pop3.login()
    with pytest.raises(poplib.error_proto, match="too many sessions, try again later"):
        pop3.login()
    pop3.control("concurrencypop3", "3")
    pop3.hup()
    third = pop3.until(lambda: try_login(pop3), "the new limit")
    for client in (first, second, third):
        client.quit()


def try_login(pop3):
    try:
        return pop3.login()
    except poplib.error_proto:
        return None


# What dies


def test_a_session_outlives_authd(pop3):
    pop3.put(b"Subject: x\n\nx\n")
    client = pop3.login()
    before = pop3.pid("authd")
    os.kill(before, signal.SIGKILL)  # whether popd has heard of the log-in or not
    assert client.stat()[0] == 1
    pop3.until(lambda: pop3.pid("authd") not in (0, before), "another authd")
    pop3.login().quit()
    assert client.retr(1)[1][0] == b"Subject: x"
    client.dele(1)
    client.quit()
    pop3.until(lambda: maildir(pop3) == [], "the end of the session")


def test_a_session_outlives_popd(pop3):
    client = pop3.login()
    waiting = pop3.client()
    before = pop3.pid("popd")
    os.kill(before, signal.SIGKILL)
    with pytest.raises((poplib.error_proto, ConnectionError)):
        waiting.noop()
    waiting.close()
    assert client.stat() == (0, 0)
    pop3.until(lambda: pop3.pid("popd") not in (0, before), "another popd")
    pop3.login().quit()
    client.quit()


def test_a_log_in_while_authd_is_being_started(pop3):
    os.kill(pop3.pid("authd"), signal.SIGKILL)
    pop3.login().quit()  # it waits in the socket until there is another one


def test_a_log_in_that_authd_dies_at(pop3):
    """The client hears nothing more, because authd may have let a session have the connection, and nothing hangs."""
    slow = pop3.path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    pop3.control("checkpassword", str(slow))
    pop3.hup()
    with pop3.raw() as client:
        client.line()
        client.sock.sendall(b"USER joe\r\nPASS x\r\n")
        assert client.line() == b"+OK \r\n"
        (checker,) = pop3.until(lambda: pop3.children_of("authd"), "the program")
        os.kill(pop3.pid("authd"), signal.SIGKILL)
        assert client.rest() == b""
    pop3.line(r"log-in of joe: no word from authd, connection dropped")
    os.kill(checker, signal.SIGKILL)


def test_stop_ends_idle_sessions_at_once(pop3):
    client = pop3.login()
    ends = Ends(pop3.sessions())
    assert pop3.stop() == 0
    ends.wait()
    assert client.file.read() == b""
    client.close()


def test_sessions_end_with_serve_even_without_their_authd(pop3):
    client = pop3.login()
    sessions = pop3.sessions()
    ends = Ends(sessions)
    before = pop3.pid("authd")
    os.kill(before, signal.SIGKILL)
    pop3.until(lambda: pop3.pid("authd") not in (0, before), "another authd")
    assert pop3.stop() == 0
    ends.wait()
    assert client.file.read() == b""
    client.close()


def test_sessions_end_when_serve_is_killed(pop3):
    client = pop3.login()
    ends = Ends(pop3.sessions())
    pop3.kill()
    ends.wait()
    assert client.file.read() == b""
    client.close()


def test_a_home_that_is_away(pop3):
    home = pop3.path / "mail/joe"
    home.rename(pop3.path / "mail/away")
    with pop3.raw() as client:
        client.line()
        assert client.say(b"USER joe", b"PASS " + SECRET.encode())[1] == NO_HOME
        assert client.rest() == b""
    pop3.line(r"session of joe .* ended: can't be served: the home can't be entered: file does not exist")


# Without POP3, and with another checkpassword


def test_no_authd_without_pop3(make_pop3):
    pop3 = make_pop3(listen="smtp 127.0.0.1:0").start()
    assert set(pop3.pids) == {"serve", "queue", "users", "lspawn", "rspawn", "smtpd"}
    assert not (pop3.path / "run/authd.sock").exists()


def test_who_may_connect_to_authd(pop3):
    assert stat.S_IMODE(os.stat(pop3.path / "run/authd.sock").st_mode) == 0o600


CHECKER = """#!{python}
import os, sys
data = b""
while part := os.read(3, 512):
    data += part
os.close(3)
user, secret, challenge = data.split(b"\\0")[:3]
if user == b"trouble":
    sys.exit(111)
if user == b"crash":
    os.kill(os.getpid(), 9)
if user == b"silent":
    sys.exit(0)
if secret != b"outside":
    sys.exit(1)
os.chdir({home!r} + "/mail/joe")
os.environ["USER"] = os.fsdecode(user)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def outside(make_pop3, tmp_path):
    checker = tmp_path / "checker"
    pop3 = make_pop3(checkpassword=f"{checker} argument")
    checker.write_text(CHECKER.format(python=sys.executable, home=str(pop3.path)))
    checker.chmod(0o755)
    return pop3.start()


def test_another_checkpassword(outside):
    outside.put(b"Subject: x\n\nx\n")
    with outside.raw() as client:
        client.line()
        replies = client.say(b"USER whoever", b"PASS outside", b"STAT", b"DELE 1", b"QUIT")
        assert replies == [b"+OK \r\n", b"+OK \r\n", b"+OK 1 17\r\n", b"+OK \r\n", b"+OK \r\n"]
        assert client.rest() == b""
    assert maildir(outside) == []
    outside.line(r"authd: session of whoever from 127\.0\.0\.1 by pop3 ended: quit, 0 sent, 1 removed")


@pytest.mark.parametrize(
    ("user", "reply"),
    [(b"joe", FAILED), (b"trouble", LATER), (b"crash", LATER), (b"silent", LATER), (b"x" * 495, FAILED)],
    ids=["wrong", "trouble", "crash", "silent", "long"],
)
def test_how_another_checkpassword_ends(outside, user, reply):
    with outside.raw() as client:
        client.line()
        assert client.say(b"USER " + user, b"PASS " + SECRET.encode())[1] == reply
    assert outside.sessions() == []


def test_another_checkpassword_has_nothing_of_the_connection(make_pop3, tmp_path):
    """popd has it still, and goes on with it."""
    checker = tmp_path / "checker"
    checker.write_text("#!/bin/sh\necho intruder; read -r line; exit 1\n")
    checker.chmod(0o755)
    with make_pop3(checkpassword=str(checker)).start().raw() as client:
        client.line()
        assert client.say(b"USER joe", b"PASS x", b"NOOP") == [b"+OK \r\n", FAILED, b"+OK \r\n"]


def test_what_another_checkpassword_has_started_is_stopped_with_it(make_pop3, tmp_path):
    checker = tmp_path / "checker"
    checker.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/new\nmv {tmp_path}/new {tmp_path}/pid\nwait\n")
    checker.chmod(0o755)
    pop3 = make_pop3(checkpassword=str(checker)).start()
    with pop3.raw() as client:
        client.line()
        client.sock.sendall(b"USER joe\r\nPASS x\r\n")
        pid = pop3.until(lambda: (tmp_path / "pid").exists() and int((tmp_path / "pid").read_text()), "the program")
        ends = Ends([pid])
        assert pop3.stop() == 0
        ends.wait()


def test_a_session_of_another_checkpassword_ends_with_authd_s_stop(outside):
    client = outside.login("outside")
    assert client.stat() == (0, 0)
    assert outside.stop() == 0
    assert client.file.read() == b""
    client.close()


def test_our_own_checkpassword_as_another_one(make_pop3):
    pop3 = make_pop3()
    pop3.control("checkpassword", f"{pop3.path}/bin/checkpassword")
    pop3.start()
    pop3.login().quit()
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        pop3.login("wrong")


def test_a_checkpassword_that_is_not_there(make_pop3):
    pop3 = make_pop3(checkpassword="/nonexistent/checkpassword").start()
    with pop3.raw() as client:
        client.line()
        assert client.say(b"USER joe", b"PASS x")[1] == LATER
    pop3.line(r"alert: unable to run /nonexistent/checkpassword")


# Many


def test_many_that_do_not_log_in(make_pop3):
    pop3 = make_pop3(maxconnectionsperip="1000").start()
    clients = [Raw(pop3.where) for _ in range(200)]
    assert {client.line() for client in clients} == {b"+OK ready\r\n"}
    pop3.login().quit()
    for client in clients:
        client.close()


def test_too_many_connections(make_pop3):
    pop3 = make_pop3(maxconnectionsperip="2").start()
    first, second = pop3.client(), pop3.client()
    with pop3.raw() as third:
        assert third.rest().decode().startswith(OVER)
    first.quit()
    second.quit()
    logged_in = [pop3.login() for _ in range(3)]  # who has logged in does not count there
    for client in logged_in:
        client.quit()
