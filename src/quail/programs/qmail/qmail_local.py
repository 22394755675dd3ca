"""usage: qmail-local [ -nN ] user homedir local dash ext domain sender defaultdelivery < message

Deliver the message for local@domain as the dot-qmail file in homedir says, or the lines of defaultdelivery. -n print what would
be done, -N do it. Exit 0, 100 if it can't be delivered, or was called wrongly, 111 if it can't now.
"""

import os
from _collections_abc import Iterable

from quail.control.reader import Control
from quail.delivery import local
from quail.delivery.dotqmail import Plans
from quail.delivery.message import Message, UnreadableError
from quail.delivery.order import Order
from quail.delivery.program import Runner
from quail.delivery.refusal import Refusal
from quail.errors import EXIT_TEMPORARY, QuailError, UsageError
from quail.programs.run import home, output, program, say
from quail.queue.handover import Reply
from quail.queue.submit import submit

_UNSEEKABLE = b"Unable to rewind message. (#4.3.0)\n"


@program("qmail-local")
def main(args: list[bytes]) -> int:
    is_dry, args = _options(args)
    if len(args) != 8 or not args[1].startswith(b"/"):
        raise UsageError
    user, folder, name, dash, ext, host, sender, default_delivery = args
    installation = os.path.abspath(home())  # before the working directory is another
    os.umask(0o077)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # programs get nothing but the message and the report
    message = Message(b"") if is_dry else _message()
    if message is None:
        _say(_UNSEEKABLE)
        return EXIT_TEMPORARY
    order = Order(user, os.fsdecode(folder), name, dash, ext, host, sender, message)
    plans = Plans(default_delivery)
    if is_dry:
        return _describe(order, plans)

    def forward(sender: bytes, recipients: list[bytes], chunks: Iterable[bytes]) -> Reply:
        return submit(sender, recipients, chunks, home=installation)

    surroundings = local.Surroundings(
        runner=Runner(time_limit=_time_limit(installation)),
        environment=os.environb,
        forward=forward,
        log=lambda _: None,  # the report is all that anybody hears of this program
    )
    code, text = local.report(order, plans, surroundings)
    if code:
        _say(text)
    else:
        output(text)
    return code


def _options(args: list[bytes]) -> tuple[bool, list[bytes]]:
    """Whether -n was the last of -n and -N, and what follows the options."""
    is_dry = False
    for at, arg in enumerate(args):
        if arg == b"--":
            return is_dry, args[at + 1 :]
        if not arg.startswith(b"-") or arg == b"-":
            return is_dry, args[at:]
        if arg[1:].strip(b"nN"):
            raise UsageError
        is_dry = arg.endswith(b"n")
    return is_dry, []


def _message() -> Message | None:
    """Descriptor 0; None if it can't be read again from its start."""
    try:
        os.lseek(0, 0, os.SEEK_SET)
        return Message(b"", 0)
    except (OSError, UnreadableError):
        return None


def _describe(order: Order, plans: Plans) -> int:
    try:
        local.describe(order, plans, show=output, warn=_say)
    except Refusal as refusal:
        _say(refusal.text)
        return local.exit_code(refusal)
    return 0


def _time_limit(installation: str) -> int:
    """What programs have; without control files, as everywhere."""
    try:
        return Control(f"{installation}/control").integer("programtimeout")
    except QuailError as error:
        say(f"qmail-local: warning: {error}")
        return 0


def _say(text: bytes) -> None:
    """The report of a failure; programs may have written it already."""
    try:
        os.write(2, text)
    except OSError:
        pass


if __name__ == "__main__":
    main()
