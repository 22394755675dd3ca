"""usage: qsmhook [ -DFlMnPs ] [ -x prefix ] program [ arg ... ]

In a dot-qmail file: run a program that was made for sendmail, with the message on stdin. Exits as the program does; 100 if it
can't be run or is called wrongly; 111 if it can't be run now, is killed, or does not read the whole message. Source: the page
qsmhook(1).
"""

from quail.delivery.command import feed
from quail.delivery.resend import variable
from quail.errors import UsageError
from quail.net import options
from quail.programs.run import program


@program("qsmhook")
def main(args: list[bytes]) -> int:
    found, command = options.parse("qsmhook", args, "DFlMnPsx:")
    if not command:
        raise UsageError
    given = dict(found)
    local = variable("LOCAL")
    for letter, prefix in found:
        if letter == "x" and local.startswith(prefix):
            local = local[len(prefix) :]
            break
    values = {b"g": variable("SENDER"), b"h": variable("HOST"), b"u": local}
    lines = [
        variable(name)
        for name, wanted in (("UFLINE", "n" not in given), ("RPLINE", "P" in given), ("DTLINE", "l" in given))
        if wanted
    ]
    return feed([_filled_in(word, values) for word in command], b"".join(lines))


def _filled_in(word: bytes, values: dict[bytes, bytes]) -> bytes:
    """The word with the values in place of %LETTER. A % before anything else is a %."""
    first, *rest = word.split(b"%")
    parts = [first]
    pieces = iter(rest)
    for piece in pieces:
        if piece == b"" and (after := next(pieces, None)) is not None:  # %%
            parts.append(b"%" + after)
        else:
            value = values.get(piece[:1])
            parts.append(b"%" + piece if value is None else value + piece[1:])
    return b"".join(parts)


if __name__ == "__main__":
    main()
