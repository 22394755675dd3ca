"""usage: qmail-getpw local

Say whose mail for `local` is by the accounts of this machine: user, uid, gid, home, dash and extension, each ended by a NUL.
Exit 0; with nothing printed 100 if called wrongly, 115 if a home can't be looked at now, 116 if there is no account alias,
118 if the name service can't tell. users/cdb, which goes first, is not asked.
"""

from quail.errors import TemporaryError
from quail.net.users_protocol import encode_owner
from quail.programs.run import output, program, say
from quail.users.getpw import HomeError, NoAliasError, find

NO_HOME, NO_ALIAS, NO_ANSWER = 115, 116, 118


@program("qmail-getpw", takes=(1, None))
def main(args: list[bytes]) -> int:
    try:
        owner = find(args[0])
    except TemporaryError as error:
        say(f"qmail-getpw: fatal: {error}")
        return NO_HOME if isinstance(error, HomeError) else NO_ALIAS if isinstance(error, NoAliasError) else NO_ANSWER
    output(encode_owner(owner) + b"\0")
    return 0


if __name__ == "__main__":
    main()
