"""A box: one use of a root, in mount, process, IPC and network namespaces of its own.

    with Box(root, stage, binds=[Bind("/host/dir", "/srv", writable=True)]) as box:
        box.run(["smtp-source", ...])
        server = box.popen(["postfix", ...], user=0)

Programs see the root as their /, and of the machine only what is bound. Leaving the block ends every process of the box.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
    "TZ": "UTC",
}
HOMES = {0: "/root", 1000: "/home/tester"}


class BoxError(Exception):
    """The namespaces, the mounts or a program's start failed."""


class Bind(NamedTuple):
    """A folder or file of the machine, seen in the box at another path."""

    host: str
    guest: str
    writable: bool = False


class Guest(subprocess.Popen[Any]):
    """A program in a box. Signals reach the program itself, not the nsenter that waits for it outside."""

    @property
    def guest_pid(self) -> int | None:
        """The program's process id as the machine sees it; None when it has ended."""
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
                words = file.read().split()
        except FileNotFoundError:
            return None
        return int(words[0]) if words else None

    def send_signal(self, sig: int) -> None:
        pid = self.guest_pid
        if self.poll() is None and pid is not None:
            os.kill(pid, sig)


class Box:
    """Enter with `with`. network: "own" has nothing but a loopback of its own, "host" is the machine's."""

    def __init__(
        self,
        root: str,
        stage: str,
        *,
        binds: Iterable[Bind] = (),
        network: Literal["own", "host"] = "own",
        view: Literal["overlay", "copy", "direct"] = "overlay",
    ) -> None:
        """`stage` is an empty folder to mount on (in the box's own mount namespace: many boxes share it)."""
        self._spec = {"root": root, "stage": stage, "view": view, "network": network, "binds": [*binds]}
        self._unshare: subprocess.Popen[bytes] | None = None
        self._guests: list[Guest] = []
        self.pid = 0  # of the box's process 1, as the machine sees it

    def __enter__(self) -> Self:
        own = ["--net"] if self._spec["network"] == "own" else []
        here = os.path.dirname(os.path.abspath(__file__))
        words = ["unshare", "--mount", "--pid", "--ipc", "--uts", *own, "--fork", "--kill-child", "--"]
        words += [sys.executable, "-I", "-S", os.path.join(here, "box_init.py"), json.dumps(self._spec)]
        self._unshare = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._unshare.stdout is not None
        assert self._unshare.stderr is not None
        answer = self._unshare.stdout.readline()
        if not answer:
            reason = self._unshare.stderr.read().decode(errors="replace").strip()
            self._end()
            raise BoxError(reason or "unshare ended without a word")
        self.pid = int(answer)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        box = self._unshare
        assert box is not None
        for pipe in (box.stdin, box.stdout):  # the end of stdin ends process 1, and so all others
            if pipe is not None:
                pipe.close()
        box.wait()
        if box.stderr is not None:
            box.stderr.close()
        for guest in self._guests:
            for pipe in (guest.stdin, guest.stdout, guest.stderr):
                if pipe is not None:
                    pipe.close()
            guest.wait()

    def _words(self, words: Sequence[str], user: int, cwd: str) -> list[str]:
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--ipc", "--uts"]
        if self._spec["network"] == "own":
            enter.append("--net")
        enter += [f"--setuid={user}", f"--setgid={user}", "--wdns=" + cwd]
        return [*enter, "--", *words]

    @staticmethod
    def _environment(user: int, more: Mapping[str, str]) -> dict[str, str]:
        return {**ENVIRONMENT, "HOME": HOMES.get(user, "/"), **more}

    def popen(
        self,
        words: Sequence[str],
        *,
        user: int = 0,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Guest:
        """Start a program; `options` are subprocess.Popen's (stdin is empty unless given)."""
        options.setdefault("stdin", subprocess.DEVNULL)
        guest = Guest(self._words(words, user, cwd), env=self._environment(user, env or {}), **options)
        self._guests.append(guest)
        return guest

    def run(
        self,
        words: Sequence[str],
        *,
        user: int = 0,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        data: str = "",
        timeout: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; what it prints is captured as text. BoxError, with both outputs, when check fails.

        A program that outlives `timeout` seconds is killed.
        """
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with Guest(self._words(words, user, cwd), env=self._environment(user, env or {}), text=True, **pipes) as guest:
            try:
                out, err = guest.communicate(data, timeout=timeout)
            except BaseException:
                guest.send_signal(signal.SIGKILL)
                raise
        if check and guest.returncode:
            raise BoxError(f"{' '.join(words)} ended with {guest.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(list(words), guest.returncode, out, err)
