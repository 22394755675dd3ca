"""quail run: what `make run` calls. Makes a single home if there is none, serves it, and shows the newcomer that it works."""

import os
import shlex
import smtplib
import sys
import time
from email.message import EmailMessage

import click

from quail.cli.init_single import init_single
from quail.cli.serve import Started, serve_home, wanted_ports
from quail.control.reader import Control
from quail.users import mailboxes

_PATIENCE = 20.0  # seconds until the first message must have arrived


@click.command()
@click.option(
    "--home", default="./var", show_default=True, metavar="DIR", help="The single home; made if it is missing."
)
@click.option(
    "--smtp-port", type=click.IntRange(0, 65535), help="This port for smtp instead of the one in control/listen."
)
@click.option("--pop3-port", type=click.IntRange(0, 65535), help="The same for pop3.")
def run(home: str, smtp_port: int | None, pop3_port: int | None) -> None:
    """Make a home if there is none, serve it, deliver a first message, and tell what to try."""
    here = os.getcwd()
    is_new = not os.path.exists(os.path.join(home, "control", "mode"))
    if is_new:
        init_single(home)

    def started(what: Started) -> None:
        # The parent goes on serving; a grandchild, which nobody has to wait for, is the newcomer's first user.
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                _greet(what, here, first=is_new)
            os._exit(0)
        os.waitpid(child, 0)

    serve_home(home, ports=wanted_ports(smtp_port, pop3_port), stamp=True, started=started)


def _greet(what: Started, here: str, *, first: bool) -> None:
    """Never returns."""
    try:
        name = next((row.name for row in mailboxes.rows(what.home) if row.maildir is not None), None)
        if name is None:
            return  # all mailboxes have been removed, and the log says what is served
        path = _send_first(what, name) if first else None
        sys.stdout.write(_screen(what, here, name, path))
        sys.stdout.flush()
    except Exception as error:
        sys.stderr.write(f"quail: the first message did not arrive: {error}\n")
    finally:
        os._exit(0)


def _send_first(what: Started, name: str) -> str:
    """Over SMTP, as anybody would; returns the path of the delivered file."""
    new = os.path.join(what.home, "mail", name, "Maildir", "new")
    host, _, port = what.ports["smtp"].split()[0].rpartition(":")
    message = EmailMessage()
    message["From"] = f"quail@{_me(what)}"
    message["To"] = f"{name}@{_me(what)}"
    message["Subject"] = "Welcome to Quail"
    message.set_content(
        "This message came in over SMTP, was written to the queue and synced to disk before the\n"
        "sender was told 250, and was then delivered, durably, into this Maildir.\n"
    )
    with smtplib.SMTP(host.strip("[]"), int(port), timeout=_PATIENCE) as client:
        client.send_message(message)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        arrived = sorted(os.listdir(new)) if os.path.isdir(new) else []
        if arrived:
            return os.path.join(new, arrived[0])
        time.sleep(0.01)
    raise TimeoutError(f"nothing in {new} after {_PATIENCE:.0f} seconds")


def _me(what: Started) -> str:
    return (Control(f"{what.home}/control").line("me") or b"localhost").decode()


def _sending(what: Started, to: str) -> list[str]:
    """How to send a message, if this home takes any over SMTP."""
    if "smtp" not in what.ports:
        return []
    host, _, port = what.ports["smtp"].split()[0].rpartition(":")
    code = (
        f"import smtplib; smtplib.SMTP('{host}', {port})"
        f".sendmail('me@example.org', '{to}', 'Subject: hello\\n\\nhello')"
    )
    return [f"    send    swaks --server {host} --port {port} --to {to}", f'      or    python3 -c "{code}"']


def _reading(what: Started, quail: str, home: str, name: str) -> list[str]:
    """How to read mail over the network, if it can be."""
    if "pop3" not in what.ports:
        return []
    host, _, port = what.ports["pop3"].split()[0].rpartition(":")
    return [
        f"      or    {quail} --home {shlex.quote(home)} user passwd {name}   # a password, then any mail program:",
        f"            POP3 on {host} port {port}, user {name}, no encryption",
    ]


def _screen(what: Started, here: str, name: str, path: str | None) -> str:
    """About ten lines for a person."""
    home = os.path.relpath(what.home, here)
    maildir = os.path.join(home, "mail", name, "Maildir")
    program = os.path.normpath(os.path.join(here, sys.argv[0]))
    quail = os.path.relpath(program, here) if os.path.exists(program) else "quail"
    to = f"{name}@{_me(what)}"
    places = [
        f"{label} on {what.ports[key]}, " for key, label in (("smtp", "SMTP"), ("pop3", "POP3")) if key in what.ports
    ]
    lines = [
        "",
        f"  Quail serves {home}: {''.join(places)}mail for {to}",
        f"  The first message is delivered: {os.path.relpath(path, here)}" if path else f"  Mail is kept in {maildir}",
        "",
        "  Try, in another terminal:",
        *_sending(what, to),
        f"    read    mutt -f {shlex.quote(maildir)}",
        *_reading(what, quail, home, name),
        f"    look    {quail} --home {shlex.quote(home)} queue list",
        "",
        "  Below is the log. Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines) + "\n"
