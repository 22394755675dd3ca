"""What a scripted host can do at a stage of a conversation. In a script: text (a whole reply) or one of these."""


class Act:
    """Anything but a plain reply at once. `then` is done after the bytes have gone out: another Act, or None."""

    def __init__(self, data=b"", *, gap=0.0, wait=0.0, then=None, good=None):
        """data goes out `wait` seconds from now, whole or, with a gap, byte by byte so many seconds apart. good: whether the
        host itself goes on as if it had said yes; by default it goes by the first digit.
        """
        self.data, self.gap, self.wait, self.then = data, gap, wait, then
        self.good = data[:1] in (b"2", b"3") if good is None else good


HANG = Act()  # neither answers nor reads on
CLOSE = Act()
MUTE = Act(good=True)  # goes on without an answer
RESET = Act()  # closes with RST: what is on its way to us is lost, and the peer's next write fails


def lines(text):
    """A reply as on the wire: lines of the text, each with CR LF."""
    if isinstance(text, str):
        text = text.encode("latin-1")
    return b"".join(line + b"\r\n" for line in text.split(b"\n"))


def raw(data, then=None):
    """Bytes that are no proper reply, or more than one."""
    return Act(data, then=then)


def slowly(text, gap=0.002):
    return Act(lines(text), gap=gap)


def late(text, seconds):
    return Act(lines(text), wait=seconds)


def and_close(text, how=CLOSE):
    return Act(lines(text), then=how)


def action(value):
    """A script's value as an Act."""
    return value if isinstance(value, Act) else Act(lines(value))


class Choice:
    """Values of one stage: a single one, or a list that is used up over the host's life and whose last stays in use."""

    def __init__(self, value):
        self._values = list(value) if isinstance(value, list) else [value]

    def next(self):
        return self._values.pop(0) if len(self._values) > 1 else self._values[0]
