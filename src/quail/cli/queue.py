"""quail queue: look at what waits, and for whom; hold, release, retry and remove messages."""

import json
import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

import click

from quail.cli import table
from quail.cli.home import home_option, must_be_home
from quail.errors import PermanentError, UsageError
from quail.queue.operator_client import OperatorClient

_TABLE_ROWS = 1000  # a table is laid out as a whole, in memory


@click.group()
def queue() -> None:
    """Look at the queue and change what is in it."""


def _client(home: str) -> OperatorClient:
    must_be_home(home)
    return OperatorClient(home)


@queue.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each message.")
@click.option("--limit", type=click.IntRange(min=1), help="So many at most; a table has 1,000 if nothing is said.")
@home_option
def list_(as_json: bool, limit: int | None, home: str) -> None:
    """Show the messages in the queue, oldest first."""
    client = _client(home)
    messages = islice(client.messages(), limit if limit or as_json else _TABLE_ROWS)
    if as_json:
        for message in messages:
            click.echo(json.dumps(message))
    else:
        status = client.ask({"do": "status"})
        _print_table(messages, status["messages"], _stopped(status))


def _stopped(status: dict[str, Any]) -> list[str]:
    """The channels on which the settings hold all deliveries."""
    return [name for name, channel in status["channels"].items() if not channel["limit"]]


def _print_table(messages: Iterable[dict[str, Any]], total: int, stopped: list[str]) -> None:
    rows = []
    for message in messages:
        if "trouble" in message:
            rows.append((str(message["number"]), "", "", "", "", _plain(message["trouble"])))
            continue
        left = [r["address"] for r in message["recipients"] if not r["done"]]
        to = left[0] + (f" and {len(left) - 1} more" if len(left) > 1 else "") if left else "(all done)"
        rows.append(
            (
                str(message["number"]),
                _span(time.time() - message["time"]),
                str(message["bytes"]),
                _plain(message["sender"]) or "<>",
                _plain(to),
                _state(message, stopped),
            )
        )
    count = len(rows)
    if rows:
        table.show(("msg", "age", "bytes", "from", "to", "state"), rows, numbers=("msg", "age", "bytes"))
    total = max(total, count)
    shown = f", the oldest {count} of them above; more with --limit" if count < total else ""
    click.echo(f"{total} message{'' if total == 1 else 's'} in the queue{shown}")


def _plain(text: str) -> str:
    """For a terminal: what could command it or break a line is shown as its number."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _state(message: dict[str, Any], stopped: list[str]) -> str:
    """One or a few words."""
    if message["held"]:
        return "held"
    waits = [when for when in (message["next_local"], message["next_remote"]) if when]
    if waits:
        return f"tries again in {_span(max(0.0, min(waits) - time.time()))}"
    if message["bouncing"]:
        return "bouncing"
    channels = sorted({recipient["channel"] for recipient in message["recipients"] if not recipient["done"]})
    if channels and set(channels) <= set(stopped):
        return f"waits: {', '.join(f'concurrency{channel} is 0' for channel in channels)}"
    return "due"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


@queue.command()
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@home_option
def show(number: int, as_json: bool, home: str) -> None:
    """Show all that is known of message NUMBER."""
    client = _client(home)
    message = client.ask({"do": "show", "number": number})["message"]
    if as_json:
        click.echo(json.dumps(message, indent=2))
        return
    if "trouble" in message:
        raise PermanentError(f"message {number}: {message['trouble']}")
    state = _state(message, _stopped(client.ask({"do": "status"})))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message["time"]))
    click.echo(f"message   {number}, {message['bytes']} bytes, {state}")
    click.echo(f"accepted  {when} from uid {message['uid']}")
    click.echo(f"sender    {_plain(message['sender']) or '<>'}")
    for recipient in message["recipients"]:
        done = "done" if recipient["done"] else "left"
        click.echo(f"{recipient['channel']:9} {done}  {_plain(recipient['address'])}")
    for failure in message["failures"]:
        report = " / ".join(map(_plain, failure["report"].strip().split("\n")))
        click.echo(f"failed    {_plain(failure['address'])}: {report}")


def _changing(verb: str, done: str, text: str) -> None:
    @queue.command(verb, help=text)
    @click.argument("numbers", type=int, nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="All messages.")
    @home_option
    def change(numbers: tuple[int, ...], everything: bool, home: str) -> None:
        if bool(numbers) == everything:
            raise UsageError(f"name the messages, or --all: quail queue {verb} NUMBER...")
        answer = _client(home).ask({"do": verb, "numbers": list(numbers), "all": everything})
        if answer["missing"]:
            missing = ", ".join(map(str, answer["missing"]))
            raise PermanentError(f"not in the queue: {missing} ({answer['changed']} others {done})")
        click.echo(f"{answer['changed']} {done}")


_changing("hold", "held", "Hold messages: no delivery of them starts until they are released.")
_changing("release", "released", "Let held messages go.")
_changing("retry", "to be tried now", "Try messages now instead of when their time comes.")
_changing("remove", "removed", "Remove messages; nobody is told. What is just being delivered is delivered.")
