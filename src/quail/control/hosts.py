"""What completes the host names of addresses that people write: control/defaulthost, defaultdomain and plusdomain."""

from _collections_abc import Mapping

from quail.control.reader import Control
from quail.message.addresslist import Hosts


def hosts(control: Control, environ: Mapping[bytes, bytes] | None = None) -> Hosts:
    """Files are read when an address needs what is in them: most messages need few.

    environ: where QMAILDEFAULTHOST, QMAILDEFAULTDOMAIN and QMAILPLUSDOMAIN go before the files.
    """
    given = environ or {}

    def default_host() -> bytes:
        return given[b"QMAILDEFAULTHOST"] if b"QMAILDEFAULTHOST" in given else control.required("defaulthost")

    def default_domain() -> bytes:
        return given[b"QMAILDEFAULTDOMAIN"] if b"QMAILDEFAULTDOMAIN" in given else control.required("defaultdomain")

    def plus_domain() -> bytes:
        return given[b"QMAILPLUSDOMAIN"] if b"QMAILPLUSDOMAIN" in given else control.required("plusdomain")

    return Hosts(default_host, default_domain, plus_domain)
