"""Mbox delivery on a real file system: quoting, locks, and every call that can fail."""

import errno
import fcntl
import itertools
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.storage import mbox
from quail.storage.calls import SystemCalls
from quail.storage.mbox import OpenError, Quoting, SlowLockError, deliver, deliver_all

HEAD = b"From s@x.y Sun Nov 02 10:27:43 2026\nReturn-Path: <s@x.y>\n"
OLD = b"From x\n\nold\n\n"
BODY = b"A: b\n\nFrom here\nlast"
NEW = HEAD + b"A: b\n\n>From here\nlast\n\n"


class Calls(SystemCalls):
    """The real calls, written down; the one named `failing` fails from its `after`th use on. Writes may be short."""

    def __init__(self, failing="", code=errno.EIO, after=0, short=None):
        self.log = []
        self.failing = failing
        self.code = code
        self.after = after
        self.short = short

    def _note(self, name):
        self.log.append(name)
        if name == self.failing and self.log.count(name) > self.after:
            raise OSError(self.code, os.strerror(self.code))

    def open(self, path, flags, mode=0o777):
        self._note("open")
        return os.open(path, flags, mode)

    def write(self, fd, data):
        self._note("write")
        return os.write(fd, data[: self.short])

    def fsync(self, fd):
        self._note("fsync")
        os.fsync(fd)

    def ftruncate(self, fd, size):
        self._note("ftruncate")
        os.ftruncate(fd, size)

    def flock(self, fd, operation):
        self._note("flock")
        fcntl.flock(fd, operation)

    def fstat(self, fd):
        self._note("fstat")
        return os.fstat(fd)

    def syncfs(self, fd):
        self._note("syncfs")

    def close(self, fd):
        self.log.append("close")
        os.close(fd)


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "box"
    path.write_bytes(OLD)
    return path


def test_a_message_is_appended(box):
    calls = Calls()
    deliver(calls, str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD + NEW
    assert calls.log[-2:] == ["fsync", "close"]
    assert calls.log.count("open") == calls.log.count("close")


def test_a_new_file_is_private_and_its_name_is_synced(tmp_path):
    path = tmp_path / "box"
    calls = Calls()
    deliver(calls, str(path), HEAD, [BODY])
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert calls.log.count("fsync") == 2


def test_the_name_is_synced_where_it_is(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "box").symlink_to("far/box")
    synced = []
    calls = Calls()
    calls.fsync = lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
    deliver(calls, str(tmp_path / "box"), HEAD, [BODY])
    assert synced == [f"{tmp_path}/far/box", f"{tmp_path}/far"]


def test_a_folder_that_cannot_be_read_is_synced_with_its_file_system(tmp_path):
    class Unreadable(Calls):
        def open(self, path, flags, mode=0o777):
            if flags & os.O_DIRECTORY:
                raise PermissionError(errno.EACCES, "Permission denied")
            return super().open(path, flags, mode)

    calls = Unreadable()
    deliver(calls, str(tmp_path / "box"), HEAD, [BODY])
    assert "syncfs" in calls.log


@pytest.mark.parametrize("short", [1, 7, 64])
def test_short_writes_are_gone_on_with(box, short):
    deliver(Calls(short=short), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD + NEW


@pytest.mark.parametrize("size", [1, 3, 5, 65536])
def test_the_pieces_do_not_matter(box, size):
    body = BODY * 40_000
    deliver(Calls(), str(box), HEAD, (body[at : at + size] for at in range(0, len(body), size)))
    whole = Quoting()
    assert box.read_bytes() == OLD + HEAD + whole.feed(body) + whole.end()


def test_a_large_message_is_not_kept_in_memory(box):
    sizes = []
    calls = Calls()
    calls.write = lambda fd, data: sizes.append(len(data)) or os.write(fd, data)
    deliver(calls, str(box), HEAD, (b"From x\n" * 10_000 for _ in range(20)))
    assert len(sizes) > 10
    assert max(sizes) < 200_000


@pytest.mark.parametrize(
    ("failing", "after", "code"),
    [
        ("write", 0, errno.ENOSPC),
        ("write", 1, errno.ENOSPC),
        ("write", 5, errno.EDQUOT),
        ("write", 20, errno.EFBIG),
        ("fsync", 0, errno.EIO),
    ],
)
def test_what_fails_takes_all_back(box, failing, after, code):
    calls = Calls(failing, code, after, short=3)
    with pytest.raises(OSError) as caught:
        deliver(calls, str(box), HEAD, [BODY])
    assert caught.value.errno == code
    assert not isinstance(caught.value, OpenError | SlowLockError)
    assert box.read_bytes() == OLD
    assert calls.log[-2:] == ["ftruncate", "close"]


def test_what_can_not_be_taken_back_still_reports_the_first_error(box):
    class Stuck(Calls):
        def ftruncate(self, fd, size):
            raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(OSError) as caught:
        deliver(Stuck("write", errno.ENOSPC, 1, short=3), str(box), HEAD, [BODY])
    assert caught.value.errno == errno.ENOSPC


def test_a_message_that_cannot_be_read_takes_all_back(box):
    def chunks():
        yield b"x" * 200_000
        raise LookupError("planted")

    with pytest.raises(LookupError):
        deliver(Calls(), str(box), HEAD, chunks())
    assert box.read_bytes() == OLD


def test_a_name_that_cannot_be_synced_keeps_the_message(tmp_path):
    """It is tried again: twice rather than never."""
    path = tmp_path / "box"
    with pytest.raises(OSError):
        deliver(Calls("fsync", errno.EIO, after=1), str(path), HEAD, [BODY])
    assert path.read_bytes() == NEW


def test_an_open_that_fails(tmp_path):
    with pytest.raises(OpenError) as caught:
        deliver(Calls(), str(tmp_path / "none/box"), HEAD, [BODY])
    assert caught.value.errno == errno.ENOENT


def test_a_failed_look_at_the_file_changes_nothing(box):
    with pytest.raises(OSError):
        deliver(Calls("fstat"), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_it_is_delivered_all_the_same(box, code):
    deliver(Calls("flock", code), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD + NEW


def test_without_a_lock_nothing_is_cut_off(box):
    """Somebody else may have written behind it."""

    class Unlocked(Calls):
        def flock(self, fd, operation):
            raise OSError(errno.ENOLCK, "No locks available")

    calls = Unlocked("fsync")
    with pytest.raises(OSError):
        deliver(calls, str(box), HEAD, [BODY])
    assert "ftruncate" not in calls.log
    assert box.read_bytes() == OLD + NEW


def test_who_is_locked_out_gives_up(box):
    with box.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SlowLockError):
            deliver(Calls(), str(box), HEAD, [BODY], lock_wait=0.05)
    assert box.read_bytes() == OLD


def test_who_is_locked_out_waits(box):
    with box.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        class Patient(Calls):
            def flock(self, fd, operation):
                with pytest.raises(BlockingIOError):
                    fcntl.flock(fd, operation | fcntl.LOCK_NB)
                other.write(b"From y\n\nmeanwhile\n\n")
                other.flush()
                fcntl.flock(other, fcntl.LOCK_UN)
                super().flock(fd, operation)

        deliver(Patient(), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD + b"From y\n\nmeanwhile\n\n" + NEW


def test_what_others_wrote_while_it_waited_is_not_cut_off(box):
    with box.open("ab") as other:

        class Patient(Calls):
            def flock(self, fd, operation):
                other.write(b"From y\n\nmeanwhile\n\n")
                other.flush()
                super().flock(fd, operation)

        with pytest.raises(OSError):
            deliver(Patient("fsync"), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD + b"From y\n\nmeanwhile\n\n"


def test_an_alarm_of_the_caller_is_left_alone(box):
    import signal

    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        handler = signal.getsignal(signal.SIGALRM)
        deliver(Calls(), str(box), HEAD, [BODY])
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("end", "gap"), [(b"", b"\n\n"), (b"\n", b"")])
def test_half_a_line_from_a_crash_is_ended(box, end, gap):
    box.write_bytes(OLD + b"From y\n\nhal" + end)
    deliver(Calls(), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD + b"From y\n\nhal" + end + gap + NEW


def test_a_box_that_may_not_be_read_is_appended_to(box):
    class WriteOnly(Calls):
        def open(self, path, flags, mode=0o777):
            if not flags & os.O_WRONLY:
                raise PermissionError(errno.EACCES, "Permission denied")
            return super().open(path, flags, mode)

    box.write_bytes(b"hal")
    deliver(WriteOnly(), str(box), HEAD, [BODY])
    assert box.read_bytes() == b"hal" + NEW


def test_the_null_device_takes_everything():
    calls = Calls()
    deliver(calls, os.devnull, HEAD, [BODY])
    assert calls.log.count("fsync") == 1


def test_a_descriptor_is_never_left_open(box):
    before = set(os.listdir("/proc/self/fd"))
    for failing in ("open", "flock", "fstat", "write", "fsync", "ftruncate"):
        try:
            deliver(Calls(failing), str(box), HEAD, [BODY])
        except OSError:
            pass
    assert set(os.listdir("/proc/self/fd")) == before


LINES = st.lists(st.sampled_from([b"From ", b"From", b">", b"\n", b"x", b" ", b"F", b"Fro", b">>From \n"]), max_size=30)


@given(LINES.map(b"".join) | st.binary(), st.lists(st.integers(0, 60), max_size=6))
def test_quoting_agrees_with_looking_at_each_line(message, cuts):
    quoting = Quoting()
    places = [0, *sorted(cut for cut in cuts if cut <= len(message)), len(message)]
    got = b"".join(quoting.feed(message[a:b]) for a, b in itertools.pairwise(places)) + quoting.end()
    lines = message.split(b"\n")
    rest = lines.pop()
    lines += [rest] if rest else []
    wanted = [b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in lines]
    assert got == b"".join(line + b"\n" for line in wanted) + b"\n"


@given(LINES.map(b"".join))
def test_a_reader_can_take_the_quoting_away(message):
    quoting = Quoting()
    stands = quoting.feed(message) + quoting.end()
    assert not any(line.startswith(b"From ") for line in stands.split(b"\n"))
    back = [line[1:] if line.lstrip(b">").startswith(b"From ") else line for line in stands.split(b"\n")]
    assert b"\n".join(back).removesuffix(b"\n").removesuffix(b"\n") == message.removesuffix(b"\n")


def test_the_limit_is_qmails():
    assert mbox.LOCK_WAIT == 30
    assert b"30 seconds" in mbox.LOCKED


# Several messages, and files that others replace


def test_several_messages_are_one_append(box):
    calls = Calls()
    deliver_all(calls, str(box), [(HEAD, [BODY]), (HEAD, []), (b"", [b"x\n"])])
    assert box.read_bytes() == OLD + NEW + HEAD + b"\n" + b"x\n\n"
    assert calls.log.count("fsync") == 1


def test_messages_are_asked_for_under_the_lock_and_their_end_is_told_under_it(box):
    seen = []

    def locked():
        with box.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def messages():
        seen.append((locked(), box.read_bytes()))
        yield HEAD, [BODY]

    deliver_all(Calls(), str(box), messages(), then=lambda: seen.append((locked(), box.read_bytes())))
    assert seen == [(True, OLD), (True, OLD + NEW)]
    assert not locked()


def test_a_second_message_that_fails_takes_the_first_back(box):
    def messages():
        yield HEAD, [BODY * 100_000]
        raise ValueError

    told = []
    with pytest.raises(ValueError):
        deliver_all(Calls(), str(box), messages(), then=lambda: told.append(1))
    assert (box.read_bytes(), told) == (OLD, [])


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_was_replaced_while_it_waited_gets_nothing(box, times):
    """Who had the lock has renamed another over it, or taken it away: what is written to the old one nobody would read."""

    class Replaced(Calls):
        def flock(self, fd, operation):
            super().flock(fd, operation)
            if self.log.count("flock") <= times:
                new = box.with_name("new")
                new.write_bytes(b"new\n\n")
                new.rename(box)

    deliver(Replaced(), str(box), HEAD, [BODY])
    assert box.read_bytes() == b"new\n\n" + NEW


def test_a_file_that_was_removed_while_it_waited_is_made_again(box):
    class Removed(Calls):
        def flock(self, fd, operation):
            super().flock(fd, operation)
            if self.log.count("flock") == 1:
                box.unlink()

    deliver(Removed(), str(box), HEAD, [BODY])
    assert box.read_bytes() == NEW


def test_a_file_that_is_replaced_again_and_again_is_given_up(box):
    class Restless(Calls):
        def flock(self, fd, operation):
            super().flock(fd, operation)
            box.unlink()
            box.write_bytes(OLD)

    before = os.listdir("/proc/self/fd")
    with pytest.raises(SlowLockError):
        deliver(Restless(), str(box), HEAD, [BODY])
    assert box.read_bytes() == OLD
    assert os.listdir("/proc/self/fd") == before
