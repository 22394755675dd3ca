"""How every injector calls what stands in the queue's place (facts 3.2): where it is, what it has, what it may say."""

import os
import subprocess
import sys

import pytest
from tests import signals
from tests.programs.queue_home import QueueHome

MESSAGE = b"To: a@b.c\n\nhello\n"
CALLERS = {
    "qmail-inject": ["a@b.c"],
    "sendmail": ["a@b.c"],
    "forward": ["a@b.c"],
    "condredirect": ["a@b.c", "true"],
    "mailsubj": ["x", "a@b.c"],
    "datemail": ["a@b.c"],
}


@pytest.fixture
def home(tmp_path):
    return QueueHome(tmp_path / "home", DTLINE="Delivered-To: a@b.c\n", SENDER="s@x", NEWSENDER="s@x", USER="joe")


@pytest.mark.parametrize("name", CALLERS)
def test_where_it_runs_and_what_it_has(home, name):
    """In the home, with its own name alone, and nothing open but the message, the envelope, stderr and what its words go to."""
    home.queue(
        'pwd > where; echo "$0 $#" > called; ls /proc/$$/fd > open; cat > message; cat <&1 > envelope; echo $$ > pid'
    )
    code, _, _ = home.run(name, *CALLERS[name], stdin=MESSAGE)
    assert code == (99 if name == "condredirect" else 0)
    read = lambda file: (home.path / file).read_text().split()  # noqa: E731
    assert read("where") == [os.path.realpath(home.path)]
    assert read("called") == ["bin/queue-program", "0"] or read("called") == [f"{home.path}/bin/queue-program", "0"]
    # The others are the shell's own: the script, and where its output was before it went to this file.
    assert set(read("open")) - {"10", "11", "255"} == {"0", "1", "2", "4", "6"}
    assert home.taken()[1] == [b"a@b.c"]


@pytest.mark.parametrize("name", CALLERS)
def test_it_is_not_looked_for_in_path(home, name):
    code, _, error = home.run(name, *CALLERS[name], stdin=MESSAGE, QMAILQUEUE="queue-program")
    assert code == 111
    assert error.endswith(b"unable to exec qq (#4.3.0)\n")
    assert home.taken() is None


@pytest.mark.parametrize("name", CALLERS)
def test_what_it_says_on_stderr_is_heard(home, name):
    home.queue("echo heard >&2; cat > message; exit 53")
    code, _, error = home.run(name, *CALLERS[name], stdin=MESSAGE)
    assert code == 111
    assert error.startswith(b"heard\n")
    assert error.endswith(b"qq write error or disk full (#4.3.0)\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("Dnot here (#5.7.1)", 100, b"not here (#5.7.1)"),
        ("Znot now (#4.7.1)", 111, b"not now (#4.7.1)"),
        ("D" + "x" * 400, 100, b"x" * 254),
        ("Dn", 111, b"qq temporary problem (#4.3.0)"),
        ("", 111, b"qq temporary problem (#4.3.0)"),
    ],
    ids=["D", "Z", "255 bytes", "too short", "nothing"],
)
@pytest.mark.parametrize("name", CALLERS)
def test_words_of_its_own(home, name, words, code, said):
    home.queue(f"cat > message; printf %s '{words}' >&6; exit 82")
    found, _, error = home.run(name, *CALLERS[name], stdin=MESSAGE)
    assert found == code
    assert error.rstrip(b"\n").endswith(b": " + said)


@pytest.mark.parametrize(("place", "code"), [(4, 82), (4, 88), (6, 88)])
def test_words_as_simscan_and_other_patches_have_them(home, place, code):
    """Those of simscan are on descriptor 4; some say 88 for 82."""
    home.queue(f"cat > message; printf 'Dnot here (#5.7.1)' >&{place}; exit {code}")
    found, _, error = home.run("forward", "a@b.c", stdin=MESSAGE)
    assert (found, error) == (100, b"forward: fatal: not here (#5.7.1)\n")


def test_it_ignores_no_signal(home):
    """Whatever the injector ignores or holds back, as a delivery does: a filter could not be ended, nor end what it runs."""
    home.queue("cat > message; grep -E '^Sig(Blk|Ign)' /proc/self/status > signals")
    code = (
        "import os, signal, sys\n"
        "for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        "from quail.queue.program import QueueProgram\n"
        "print(QueueProgram(b'bin/queue-program', sys.argv[1]).send(b'', [b'a@b.c'], [b'']).letter)"
    )
    words = [sys.executable, "-c", code, str(home.path)]
    assert subprocess.run(words, capture_output=True, check=True, timeout=60).stdout == b"b'K'\n"
    told = dict(line.split(":") for line in (home.path / "signals").read_text().splitlines())
    assert {name: signals.of_mask(mask) for name, mask in told.items()} == {"SigBlk": set(), "SigIgn": set()}
