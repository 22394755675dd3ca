"""usage: config

Set up the control files as config-fast does, for this host as the DNS knows it: its name, and those of its addresses. Exit 0;
100 if it has no name there, or a file is there and says something else; 111 if that can't be told now or a file can't be
written. Source: the page config(8).
"""

import os

from quail.control.domain import LOCAL_ONLY, fit_domain
from quail.errors import PermanentError, UsageError
from quail.net.interfaces import local_addresses
from quail.programs.qmail.config_fast import set_up
from quail.programs.run import enter_home, output, program


@program("config", takes=0)
def main(_args: list[bytes]) -> None:
    enter_home()
    host = os.uname().nodename
    output(f"The name of this host is {host}.\n".encode())
    name = _full_name(os.fsencode(host))
    output(f"The DNS knows it as {name}.\n".encode())
    domains = {name: None}
    for ip in sorted(address.decode() for address in local_addresses()):
        if _is_told_outside(ip):
            own = _name_of(ip)
            output(f"{ip}: {own or 'no name that leads back to it'}\n".encode())
            if own:
                domains[own] = None
    set_up(name, list(domains))


def _full_name(host: bytes) -> str:
    """The first of its possible names that has an address. PermanentError, TemporaryError."""
    from quail.net import lookup  # noqa: PLC0415  loads an event loop

    for candidate in lookup.candidates(host):
        text = os.fsdecode(candidate)
        if lookup.addresses(candidate + b"."):
            try:
                name = fit_domain(text)
            except UsageError:
                continue
            if name != LOCAL_ONLY:
                return name
    raise PermanentError(
        f"the DNS has no full name of {os.fsdecode(host)} with an address: call config-fast NAME with the one that this host"
        " is to have"
    )


def _name_of(ip: str) -> str | None:
    """Only a name that has the address: others may give any name to theirs. TemporaryError."""
    from ipaddress import ip_address  # noqa: PLC0415  most programs have no use for it

    from quail.net import lookup  # noqa: PLC0415  as above

    try:
        name = fit_domain((lookup.first_name(ip) or b"").decode())
    except UsageError:
        return None
    found = lookup.addresses(name.encode() + b".")
    return name if ip_address(ip) in map(ip_address, found) else None


def _is_told_outside(ip: str) -> bool:
    """Whether it can be an address of this host to others."""
    from ipaddress import ip_address  # noqa: PLC0415  as above

    address = ip_address(ip)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


if __name__ == "__main__":
    main()
