"""The error tree. Each class knows its exit code; str(error) is for the log and for the person at the terminal.

Temporary errors may go away by waiting (exit 111), permanent ones only by changing something (exit 100). PeerError is the
only thing that a parser fed foreign bytes may raise. Text for an SMTP peer is never taken from here: smtp/ has its replies.
"""

EXIT_PERMANENT = 100
EXIT_TEMPORARY = 111


class QuailError(Exception):
    """Any failure that Quail expects and can name. `verbatim`: the text shows somebody a line of his own, and is written as it
    is, line feeds and all; in other texts they are escaped, since names of files may have them.
    """

    exit_code = EXIT_TEMPORARY
    verbatim = False


class TemporaryError(QuailError):
    """Something outside is not as it must be just now: disk full, service down, file unreadable."""


class PermanentError(QuailError):
    """Trying again does not help."""

    exit_code = EXIT_PERMANENT


class UsageError(PermanentError):
    """A command was called wrongly; the text is its usage or what to do instead."""


class PeerError(PermanentError):
    """Foreign bytes do not follow their format."""


class ConfigError(TemporaryError):
    """A file that the operator owns is malformed: names the file, the line and the remedy."""

    def __init__(self, path: str, line: int, reason: str, remedy: str) -> None:
        """Line numbers start at 1; 0 means the file as a whole."""
        where = f"{path} line {line}" if line else path
        super().__init__(f"{where}: {reason}; {remedy}")
        self.path, self.line, self.reason, self.remedy = path, line, reason, remedy
