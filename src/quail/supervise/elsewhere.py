"""Going to other directories and back, as svc and svstat do: names of services may lead from where we are."""

import os


class Here:
    """The current directory, to come back to."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        """It need not be readable."""
        self._fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def back(self) -> None:
        """OSError if it can't be entered any longer."""
        os.chdir(self._fd)
