"""usage: qmail-qread

List the messages in the queue and their recipients. For root and the owner of the home. Exit 0, or 111 with the reason.
"""

from typing import Any

from quail.message.dates import rfc822
from quail.message.logtext import safe
from quail.programs.run import home, output, program
from quail.queue.operator_client import OperatorClient


@program("qmail-qread", takes=0)
def main(_args: list[bytes]) -> int:
    client = OperatorClient(home())
    for message in client.messages():
        output(_paragraph(message).encode())
    return 0


def _paragraph(message: dict[str, Any]) -> str:
    """One message, in the form of qmail-qread(8)."""
    number = message["number"]
    if "trouble" in message:
        return f"warning: trouble with #{number}: {message['trouble']}\n"
    date = rfc822(message["time"]).decode().removesuffix(" -0000")
    sender = safe(message["sender"].encode())
    lines = [f"{date} GMT  #{number}  {message['bytes']}  <{sender}> " + (" bouncing" if message["bouncing"] else "")]
    for recipient in message["recipients"]:
        done = "  done" if recipient["done"] else ""
        lines.append(f"{done}\t{recipient['channel']}\t{safe(recipient['address'].encode())}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
