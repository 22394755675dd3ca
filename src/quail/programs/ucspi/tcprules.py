"""usage: tcprules rules.cdb rules.tmp

Compiles the access rules on stdin into rules.cdb, by way of rules.tmp in the same directory. Exit 0; 100 if a line is not a
rule, 111 if a file can't be read or written; rules.cdb stays as it was then.
"""

import os

from quail.errors import PermanentError
from quail.net.tcprules import RuleError, compile_rules
from quail.programs.run import program, read_input, write_file


@program("tcprules", takes=(2, None))
def main(args: list[bytes]) -> None:
    try:
        data = compile_rules(read_input(), "stdin", lenient=True)
    except RuleError as error:
        raise PermanentError(f"unable to parse this line: {os.fsdecode(error.text)}") from error
    write_file(os.fsdecode(args[0]), os.fsdecode(args[1]), data)


if __name__ == "__main__":
    main()
