"""Service directories, and programs of either side, ours or Debian's, that supervise and control them.

A Street is where programs run: this machine, or a box, which has both sides. They run in its folder.
A service writes into its file `diary` what it is told: a line for its start, with its pid, and one for each signal.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

from quail.cli import launchers

PATIENCE = 60.0  # seconds; only a failing test waits so long
GLANCE = 0.01  # seconds between looks at what no event tells of
ORACLES = "/opt/oracles/daemontools/usr/bin"
SERVICE = """#!{python} -IS
import os, signal
numbers = [signal.SIGHUP, signal.SIGINT, signal.SIGALRM, signal.SIGTERM, signal.SIGCONT]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
log = os.open("diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
os.write(log, b"start %d\\n" % os.getpid())
while True:
    number = signal.sigwait(numbers)
    os.write(log, signal.Signals(number).name.encode() + b"\\n")
    if number == signal.SIGTERM:
        break
"""


def until(condition, what):
    """The first true value of the condition."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what() if callable(what) else what}"[-4000:]
        time.sleep(GLANCE)
    return value


class Street:
    """`folder` is a pathlib.Path of this machine."""

    def __init__(self, folder, sides, python, box=None, inside=""):
        """`sides`: the folder of programs of each; `inside`: what the box calls our folder."""
        self.folder = folder
        self.sides = sides
        self.python = python
        self._box = box
        self._inside = inside
        self._started = []

    def popen(self, side, *words, user=0, **options):
        """Standard error is a pipe to us, unless told otherwise."""
        options = {"stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        path = f"{self.sides[side]}:/usr/bin:/bin"
        if self._box is not None:
            cwd = f"{self._inside}/{options.pop('cwd', '')}"
            process = self._box.popen(
                [f"{self.sides[side]}/{words[0]}", *words[1:]], user=user, cwd=cwd, env={"PATH": path}, **options
            )
        else:
            cwd = self.folder / options.pop("cwd", "")
            process = subprocess.Popen(
                words, cwd=cwd, env={"PATH": path}, executable=f"{self.sides[side]}/{words[0]}", **options
            )
        self._started.append(process)
        return process

    def started(self, process):
        """To be ended with the others."""
        self._started.append(process)

    def run(self, side, *words, **options):
        """Exit code, standard output and standard error."""
        process = self.popen(side, *words, stdout=subprocess.PIPE, **options)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out.decode(), err.decode()

    def service(self, name, text=SERVICE, *, down=False):
        """A service directory."""
        service = Service(self, name)
        service.folder.mkdir(parents=True)
        service.write("run", text)
        if down:
            (service.folder / "down").touch()
        return service

    def close(self):
        """Nothing stays: services first, whose supervise would else start them again."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
            if process.stderr is not None:
                process.stderr.close()
        if self._box is None:
            self._end_services()

    def _end_services(self):
        """Those of this machine whose working directory is below ours."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd").startswith(f"{self.folder}/"):
                    os.kill(int(pid), signal.SIGKILL)


class Service:
    """One service directory."""

    def __init__(self, street, name):
        self.street = street
        self.name = name
        self.folder = street.folder / name

    def write(self, file, text):
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(python=self.street.python))
        path.chmod(0o755)

    def log(self):
        try:
            return (self.folder / "diary").read_text().splitlines()
        except FileNotFoundError:
            return []

    def told(self, count, word="start"):
        """Wait for the count-th line that begins so; all lines."""
        return until(
            lambda: (lines := self.log()) and sum(line.startswith(word) for line in lines) >= count and lines,
            lambda: f"{count} x {word} in {self.log()}",
        )

    def pid(self):
        """As the service itself says."""
        return int([line for line in self.log() if line.startswith("start ")][-1].split()[1])

    def status(self):
        """The bytes of the file."""
        return (self.folder / "supervise/status").read_bytes()

    def reaches(self, paused, want, *, up):
        """Wait for a status with these last two bytes; returns it."""

        def looked():
            try:
                data = self.status()
            except FileNotFoundError:
                return None
            return data[16:] == bytes((paused, want)) and (data[12:16] != bytes(4)) == up and data

        return until(looked, lambda: f"{paused}, {want}, up={up} in {self.status()}")

    def lives(self):
        """Wait until supervise says that it runs."""

        def opens():
            try:
                os.close(os.open(self.folder / "supervise/ok", os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return False
            return True

        until(opens, f"supervise of {self.name}")

    def dead(self):
        """Wait until it does not."""

        def refuses():
            try:
                os.close(os.open(self.folder / "supervise/ok", os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return True
            return False

        until(refuses, f"the end of supervise of {self.name}")


@contextlib.contextmanager
def here(folder, home):
    """This machine, where our programs alone are; they are put into `home`."""
    if not (home / "bin").exists():
        launchers.write(str(home))
    street = Street(folder, {"ours": f"{home}/bin"}, sys.executable)
    try:
        yield street
    finally:
        street.close()


OURS = "/opt/ours"
_WRITE = f"from quail.cli import launchers; launchers.write({OURS!r})"


def move_in(box, environment):
    """Put our programs into a box, which has the others already."""
    box.run(["python3", "-c", _WRITE], env=environment)


@contextlib.contextmanager
def there(folder, box, inside):
    """A box; `inside` is what `folder` is called there."""
    sides = {"ours": f"{OURS}/bin", "debian": ORACLES}
    street = Street(folder, sides, "/usr/bin/python3", box, inside)
    try:
        yield street
    finally:
        street.close()
