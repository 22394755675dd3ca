"""Exit codes of qmail-queue, and of any program that stands in for it, and what each says (qmail-queue(8), facts 8.6).

Programs that give mail to the queue hear a handover.Reply and so say the same of a failure, whether it was the queue service,
the drop or a program that failed.
"""

from quail.queue.handover import Reply

QUEUED = 0
ADDRESS_TOO_LONG, REFUSED = 11, 31
OUT_OF_MEMORY, TIMEOUT, WRITE_ERROR, READ_ERROR = 51, 52, 53, 54
NO_CONFIGURATION, NO_NETWORK = 55, 56
NO_HOME, NO_QUEUE, REFUSED_FOR_NOW, BUG, BAD_ENVELOPE = 61, 62, 71, 81, 91
CONNECT_TIMEOUT, CONNECT_FAILED, BROKEN_TALK = 72, 73, 74
CANNOT_EXECUTE = 120

OWN_WORDS = (82, 88)  # the second in later patches
MAX_WORDS = 255  # bytes that a program can say of its own

PERMANENT, TEMPORARY = b"D", b"Z"
_HARD = range(11, 41)

_TOO_LONG = b"envelope address too long for qq (#5.1.3)"
_BUG = b"qq internal bug (#4.3.0)"
_NO_FILES = b"qq trouble creating files in queue (#4.3.0)"
_TEXTS = {
    ADDRESS_TOO_LONG: _TOO_LONG,
    REFUSED: b"mail server permanently rejected message (#5.3.0)",
    OUT_OF_MEMORY: b"qq out of memory (#4.3.0)",
    TIMEOUT: b"qq timeout (#4.3.0)",
    WRITE_ERROR: b"qq write error or disk full (#4.3.0)",
    READ_ERROR: b"qq read error (#4.3.0)",
    NO_CONFIGURATION: b"qq unable to read configuration (#4.3.0)",
    NO_NETWORK: b"qq trouble making network connection (#4.3.0)",
    NO_HOME: b"qq trouble in home directory (#4.3.0)",
    NO_QUEUE: _NO_FILES,
    63: _NO_FILES,
    64: _NO_FILES,
    65: _NO_FILES,
    66: _NO_FILES,
    REFUSED_FOR_NOW: b"mail server temporarily rejected message (#4.3.0)",
    CONNECT_TIMEOUT: b"connection to mail server timed out (#4.4.1)",
    CONNECT_FAILED: b"connection to mail server rejected (#4.4.1)",
    BROKEN_TALK: b"communication with mail server failed (#4.4.2)",
    BUG: _BUG,
    BAD_ENVELOPE: _BUG,
    115: _TOO_LONG,  # the old number of 11
    CANNOT_EXECUTE: b"unable to exec qq (#4.3.0)",
}

CRASHED = Reply(TEMPORARY, b"qq crashed (#4.3.0)")
LOST = Reply(TEMPORARY, b"qq waitpid surprise (#4.3.0)")
UNFIT = Reply(PERMANENT, b"qq permanent problem (#5.3.0)")  # an address that no envelope can hold
TOO_MANY = Reply(PERMANENT, b"too many recipients (#5.5.3)")
_OTHER = Reply(TEMPORARY, b"qq temporary problem (#4.3.0)")
CANNOT_RUN = Reply(TEMPORARY, b"unable to run qmail-queue (#4.3.0)")


def reply(code: int, words: bytes = b"") -> Reply:
    """What an exit code other than 0 says; `words` are what the program has written for OWN_WORDS, its letter first."""
    words = words[:MAX_WORDS]
    if code in OWN_WORDS and len(words) > 2:
        letter = PERMANENT if words[:1] == PERMANENT else TEMPORARY
        text = words[1:].partition(b"\0")[0].rstrip()
        return Reply(letter, text or (UNFIT if letter == PERMANENT else _OTHER).text)
    if code in _HARD or code == 115:
        return Reply(PERMANENT, _TEXTS.get(code, UNFIT.text))
    return Reply(TEMPORARY, _TEXTS.get(code, _OTHER.text))


def code(reply: Reply) -> int:
    """The exit code of qmail-queue for what the queue, or the way to it, has answered."""
    if reply.letter == b"K":
        return QUEUED
    if reply.letter == PERMANENT:
        return ADDRESS_TOO_LONG if reply.text == _TOO_LONG else REFUSED
    exact = _SOFT_CODES.get(reply.text)
    if exact is not None:
        return exact
    return WRITE_ERROR if b"disk" in reply.text else REFUSED_FOR_NOW


_SOFT_CODES = {text: code for code, text in reversed(_TEXTS.items()) if code not in _HARD}
