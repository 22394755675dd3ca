"""A supervise tree of trivial services in its own process: python tree_launcher.py MEMBER..., each NAME:SERVICE:STAGE:GRACE.
The one that is called vital is.

Lines go to standard error. Waits between starts are cut to hundredths of a second.
"""

import os
import signal
import socket
import sys

from quail.errors import ConfigError, TemporaryError
from quail.supervise import keeper, tree
from quail.supervise.log import LineLog
from quail.supervise.tree import Member, Tree


def steady(context):
    """Signals stay blocked and are taken one by one, so that none is missed."""
    numbers = {signal.SIGTERM, signal.SIGHUP, signal.SIGALRM}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    context.log("up")
    while True:
        number = signal.sigwait(numbers)
        context.log(f"got {signal.Signals(number).name}")
        if number == signal.SIGTERM:
            return


def stubborn(context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.ready()
    context.log("up")
    while True:
        signal.pause()


def quitter(context):
    context.log("up")


def malformed(context):
    raise ConfigError("control/me", 1, "not a host name", "correct it")


def bug(context):
    raise ValueError("a bug")


def orphan(context):
    context.log("up")
    os.read(context.life_fd, 1)
    context.log("serve is gone")


def sockets(context):
    links = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    context.log(f"{sorted(context.sockets)} {sum(link.startswith('socket:') for link in links)} {context.worker}")
    context.ready()
    signal.pause()


def files(context):
    """Those of the working directory."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            pass  # of the listing itself
    context.log(str([link for link in links if link.startswith(os.getcwd())]))
    context.ready()
    signal.pause()


def main():
    keeper.AGAIN_AFTER, tree.LONGEST_WAIT = 0.02, 0.05
    services = {
        "steady": steady,
        "stubborn": stubborn,
        "quitter": quitter,
        "malformed": malformed,
        "bug": bug,
        "orphan": orphan,
        "sockets": sockets,
        "files": files,
    }
    members = []
    for argument in sys.argv[1:]:
        name, service, stage, grace = argument.split(":")
        members.append(
            Member(name, services[service], (name,), stage=int(stage), grace=float(grace), prefix=f"{name}: ")
        )
        members[-1].vital = name == "vital"
    os.makedirs("run", exist_ok=True)
    listeners = {name: socket.socket(socket.AF_UNIX) for name in {member.name for member in members}}
    log = LineLog()
    whole = Tree(
        members,
        listeners,
        home=os.getcwd(),
        mode="single",
        log=log,
        nofile=(1024, 1024),
        signals_for={signal.SIGALRM: ("a",)},
    )
    try:
        whole.run(lambda: log("started"))
    except TemporaryError as error:
        log(f"failed: {error}")
    log("stopped")


if __name__ == "__main__":
    main()
