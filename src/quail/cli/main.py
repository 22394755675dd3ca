"""The `quail` command. Errors are `quail: text` on standard error; exit 100 when trying again won't help, 111 when it may."""

import os
import sys

import click

from quail import __version__
from quail.cli.config import config
from quail.cli.init import init
from quail.cli.queue import queue
from quail.cli.run import run
from quail.cli.serve import serve
from quail.cli.service_tree import service_tree
from quail.cli.user import user
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, QuailError
from quail.inherited import restore_environment


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="quail")
@click.option("--home", metavar="DIR", help="The home; else $QMAILHOME, else /var/qmail.")
@click.pass_context
def quail(context: click.Context, home: str | None) -> None:
    """Quail: a mail system that loses nothing."""
    context.obj = home


for command in (init, serve, run, service_tree, config, user, queue):
    quail.add_command(command)


def main() -> None:
    """Entry point."""
    restore_environment()
    try:
        code = quail.main(prog_name="quail", standalone_mode=False)
    except click.exceptions.Abort:
        sys.stderr.write("quail: given up\n")
        sys.exit(EXIT_PERMANENT)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_PERMANENT)
    except QuailError as error:
        sys.stderr.write(f"quail: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter complains once more at exit
        sys.exit(EXIT_TEMPORARY)
    except OSError as error:
        sys.stderr.write(f"quail: {error}\n")
        sys.exit(EXIT_TEMPORARY)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
