"""A journal in a folder of the test, without a loop: entries made, committed, read back."""

import os

from quail.queue import records
from quail.queue.journal import Journal
from quail.queue.records import Accepted
from quail.queue.recovery import open_journal
from quail.queue.store import Entry
from quail.storage.calls import SystemCalls

SEGMENT = 64 << 10
TIME = 1_700_000_000 * 1_000_000


class Failing(SystemCalls):
    """The machine's calls; those named in `fail` raise, from the time they are put there."""

    COUNTED = ("open", "write", "pwritev", "ftruncate", "fsync", "fdatasync", "unlink", "mkdir", "rename", "statvfs")

    def __init__(self):
        self.fail = {}  # name: OSError, or how many calls to let pass before it
        self.made = []
        for name in self.COUNTED:
            setattr(self, name, self._wrapped(name, getattr(SystemCalls, name)))

    def _wrapped(self, name, real):
        def call(*args):
            self.made.append(name)
            error = self.fail.get(name)
            if isinstance(error, tuple):
                count, then = error
                self.fail[name] = (count - 1, then) if count > 0 else then
                error = None if count > 0 else then
            if error is not None:
                raise error
            return real(*args)

        return call


class Home:
    """queue/ in a temporary folder; opened again as often as wanted."""

    def __init__(self, folder, *, segment_size=SEGMENT):
        self.directory = f"{folder}/queue"
        os.mkdir(self.directory)
        self.segment_size = segment_size
        self.calls = Failing()
        self.opened = None
        self.open()

    def open(self):
        self.close()
        self.opened = open_journal(self.directory, calls=self.calls, segment_size=self.segment_size)
        return self.journal

    def close(self):
        if self.opened is not None:
            self.opened.journal.close()
            os.close(self.opened.lock)
            self.opened = None

    @property
    def journal(self) -> Journal:
        return self.opened.journal

    @property
    def state(self):
        return self.opened.journal.state

    def accept(self, *recipients, body=b"body\n", sender=b"from@x", large=False, commit=True):
        """A message; its number."""
        journal = self.journal
        number = journal.new_number()
        accepted = Accepted(sender, dict(enumerate(recipients or (b"joe@here",))), uid=1, pid=2)
        file = None
        if large:
            file = journal.new_large_body(number)
            journal.large_write(file, body)
        entry = Entry(records.ACCEPTED, number, TIME, accepted.encode(), () if large else (body,), file)
        if commit:
            assert journal.commit([entry])
            return number
        return entry

    def mark(self, kind, number, envelope=b""):
        assert self.journal.commit([Entry(kind, number, TIME, envelope)])

    def done(self, number, recipient=0):
        self.mark(records.DONE, number, b"%d" % recipient)

    def failed(self, number, recipient=0, report=b"no\n"):
        self.mark(records.FAILED, number, records.encode_failure(recipient, report))

    def deferred(self, number, local, remote=0):
        self.mark(records.DEFERRED, number, b"%d,%d" % (local, remote))

    def finish(self, number):
        self.mark(records.FINISHED, number)

    def left(self, number):
        return self.state.left(number, self.journal.read(number, body=False).accepted.recipients)

    def body(self, number):
        stored = self.journal.read(number, body=True)
        if stored.body is not None:
            return stored.body
        try:
            return os.pread(stored.fd, stored.size + 1, 0)
        finally:
            os.close(stored.fd)

    def segments(self):
        return sorted(os.listdir(f"{self.directory}/journal"))

    def large_bodies(self):
        return sorted(os.listdir(f"{self.directory}/mess"))

    def path(self, segment):
        return f"{self.directory}/journal/{segment:08d}.seg"

    def live(self):
        return sorted(self.state)
