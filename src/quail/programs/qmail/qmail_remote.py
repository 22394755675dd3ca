"""usage: qmail-remote host sender recip [ recip ... ] < message

Deliver the message to the recipients at host, over SMTP, or over QMTP or LMTP if control/smtproutes says so. What became of
it is printed, in records that end with NUL (qmail-remote(8)). Exit 0, always.
"""

import asyncio
import time

from quail.control.reader import Control
from quail.delivery.remote import report
from quail.delivery.remote.courier import Courier
from quail.delivery.remote.message import Mail, UnreadableError, whole
from quail.delivery.remote.report import Result, together
from quail.delivery.remote.settings import Settings
from quail.errors import QuailError, TemporaryError
from quail.net.resolvconf import nameservers
from quail.net.resolver import Resolver
from quail.programs.run import enter_home, output, program, say
from quail.smtp.client import MAX_RECIPIENTS
from quail.storage import tcpto

_IMPROPER = b"I (qmail-remote) was invoked improperly. (#5.3.5)"
_NO_HOME = b"Unable to switch to home directory. (#4.3.0)"
_NO_CONTROL = b"Unable to read control files. (#4.3.0)"
_TICK = 1.0  # seconds
_STDIN = 0


@program("qmail-remote")
def main(args: list[bytes]) -> int:
    output(_run(args).printed())
    return 0


def _run(args: list[bytes]) -> Result:
    if len(args) < 3:
        return report.never(_IMPROPER)
    host, sender, *recipients = args
    try:
        enter_home()
    except TemporaryError as error:
        say(f"qmail-remote: {error}")
        return report.later(_NO_HOME)
    try:
        control = Control()
        settings = Settings(control)
        servers = nameservers(control)
    except QuailError as error:
        say(f"qmail-remote: {error}")
        return report.later(_NO_CONTROL)
    try:
        mail = Mail(host, sender, recipients, b"", whole(_STDIN))
    except (OSError, UnreadableError):
        return report.later(report.UNREADABLE)
    return asyncio.run(_deliver(mail, settings, Resolver(nameservers=servers)))


async def _deliver(mail: Mail, settings: Settings, resolver: Resolver) -> Result:
    loop = asyncio.get_running_loop()
    courier = Courier(
        loop,
        settings,
        resolver,
        tcpto.Tcpto.open(tcpto.PATH),
        log=lambda text: say(f"qmail-remote: {text}"),
        now=time.time,
    )

    async def watch() -> None:
        while True:
            await asyncio.sleep(_TICK)
            courier.tick()

    watching = loop.create_task(watch())
    try:
        count = len(mail.recipients)
        parts = [range(at, min(at + MAX_RECIPIENTS, count)) for at in range(0, count, MAX_RECIPIENTS)]
        return together(
            [(part, await courier.deliver(mail.to(mail.recipients[part.start : part.stop]))) for part in parts]
        )
    except UnreadableError:
        return report.later(report.UNREADABLE)
    finally:
        watching.cancel()
        courier.close()
        resolver.close()
        await asyncio.sleep(0)  # good-byes go out


if __name__ == "__main__":
    main()
