"""Ways to start a program that runs once for a message: what each costs beyond the interpreter itself.

usage: python -m bench.micro_launchers

Prints milliseconds of processor time (the least of many starts) and times a bare interpreter, for qmail-inject -n with a short
message, which does everything but hand it over. docs/decisions/0009-launchers.md.
"""

import os
import sys
import tempfile

from quail.cli import bundles, code
from quail.cli.init_single import init_single

STARTS = 40
MODULE = "quail.programs.qmail.qmail_inject"
MESSAGE = b"To: joe\nSubject: hello\n\nhello\n"
CALL = f"from {MODULE} import main;main()"


def milliseconds(words: list[str], message: int, nowhere: int) -> float:
    """Of one run with the message on stdin."""
    best = float("inf")
    actions = [(os.POSIX_SPAWN_DUP2, message, 0), (os.POSIX_SPAWN_DUP2, nowhere, 1)]
    for _ in range(STARTS):
        os.lseek(message, 0, os.SEEK_SET)
        pid = os.posix_spawn(words[0], words, {"USER": "joe"}, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        assert status == 0, words
        best = min(best, (used.ru_utime + used.ru_stime) * 1e3)
    return best


def ways(home: str) -> dict[str, list[str]]:
    """Commands, the bare interpreter first; scripts are made in the home's bin/."""
    python, parent = code.interpreter(), code.package_parent()
    path = f"import sys;sys.path.insert(0,{parent!r})\nimport os;os.environ.setdefault('QMAILHOME',{home!r})\n"
    bundle = path + "\n".join(bundles.lines("qmail-inject", home)) + "\n"
    scripts = {
        "the launcher": f"#!{python} -IS\n{bundle}{CALL}\n",
        "without its bundle": f"#!{python} -IS\n{path}{CALL}\n",
        "with the interpreter's clean-up": f"#!{python} -IS\nimport os,sys;os._exit=sys.exit\n{path}{CALL}\n",
        "by a shell": f"#!/bin/sh\n'''exec' {python} -IS \"$0\" \"$@\"\n' '''\n{bundle}{CALL}\n",
        "with site": f"#!{python} -I\n{path}{CALL}\n",
        "as pip makes it": f"#!{sys.executable}\nimport re\n{path}{CALL}\n",
    }
    found = {
        "the interpreter alone": [python, "-IS", "-c", "pass"],
        "and os, ended at once": [python, "-IS", "-c", "import os;os._exit(0)"],
    }
    for number, (what, text) in enumerate(scripts.items()):
        script = f"{home}/bin/way-{number}"
        with open(script, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(script, 0o755)
        found[what] = [script, "-n"]
    return found


def main() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as message:
        message.write(MESSAGE)
        message.flush()
        home = f"{folder}/home"
        init_single(home, name="joe")
        bare = 0.0
        for what, words in ways(home).items():
            took = milliseconds(words, message.fileno(), nowhere)
            bare = bare or took
            print(f"{what:<36}{took:8.1f} ms{took / bare:8.2f} times")


if __name__ == "__main__":
    main()
