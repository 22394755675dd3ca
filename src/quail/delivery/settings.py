"""What lspawn tells a delivery worker at its fork."""

import os
from collections.abc import Mapping

from quail.control.reader import Control

DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
_PASSED_ON = (b"TZ", b"LANG", b"QMAILQUEUE")


class Settings:
    """home: of the installation, absolute. queue_path: where forwarded mail is handed over. default_delivery: dot-qmail
    lines; fixed_delivery: those that count whatever control files say, None for none. uid, gid: who the worker becomes,
    None to stay who it is. nofile: soft and hard limit of open files.
    environment: what programs find beside dot-qmail's own variables. programs: whether program lines are followed at all.
    program_timeout: seconds that one may take, 0 for no limit.
    """

    __slots__ = (
        "default_delivery", "environment", "fixed_delivery", "gid", "home", "nofile", "program_timeout", "programs",
        "queue_path", "uid",
    )  # fmt: skip

    def __init__(
        self,
        home: str,
        *,
        default_delivery: bytes = b"./Maildir/\n",
        fixed_delivery: bytes | None = None,
        nofile: tuple[int, int],
        environment: Mapping[bytes, bytes],
        programs: bool = True,
        program_timeout: int = 0,
    ) -> None:
        """For the uid and gid that we have; see with_owner()."""
        self.home = home
        self.queue_path = f"{home}/run/queue.sock"
        self.default_delivery = default_delivery if fixed_delivery is None else fixed_delivery
        self.fixed_delivery = fixed_delivery
        self.uid: int | None = None
        self.gid: int | None = None
        self.nofile = nofile
        self.environment = dict(environment)
        self.programs = programs
        self.program_timeout = program_timeout

    def renew(self, control: Control) -> None:
        """Take what control files say. ConfigError, TemporaryError; then nothing has changed."""
        default_delivery = b"\n".join(control.lines("defaultdelivery")) + b"\n"
        self.program_timeout = control.integer("programtimeout")
        self.default_delivery = default_delivery if self.fixed_delivery is None else self.fixed_delivery

    def with_owner(self, uid: int, gid: int) -> "Settings":
        """The same, for a worker that runs as this user with this one group."""
        owned = Settings(
            self.home,
            default_delivery=self.default_delivery,
            fixed_delivery=self.fixed_delivery,
            nofile=self.nofile,
            environment=self.environment,
            programs=self.programs,
            program_timeout=self.program_timeout,
        )
        owned.uid, owned.gid = uid, gid
        return owned


def program_environment(home: str, outer: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The base environment of users' programs, out of the one that serve was started with: where programs are, time zone
    and language, and nothing that was meant for the services.
    """
    own = os.fsencode(home)
    kept = {name: value for name, value in outer.items() if name in _PASSED_ON or name.startswith(b"LC_")}
    return kept | {b"PATH": own + b"/bin:" + (outer.get(b"PATH") or DEFAULT_PATH), b"QMAILHOME": own}
