"""Where files are that belong to an installation but may lie outside of its home (DESIGN.md, Two kinds of home)."""

import os

SINGLE_RULES = "etc/tcprules.d"  # in the home
SYSTEM_RULES = "/etc/tcprules.d"
SYSTEM = "system"
ALIASES = "/etc/aliases"  # of the machine, whoever's mail system it has had


def rules_folder(mode: str) -> str:
    """The folder of the access rules; `mode` is the word in control/mode."""
    return SYSTEM_RULES if mode == SYSTEM else SINGLE_RULES


def rules_file(mode: str, service: str) -> str:
    """The compiled access rules of a service (`smtp`, `pop3`, `qmqp`), which may be missing. Sites that follow Life with
    qmail have them as /etc/tcp.smtp.cdb: that is taken if it alone is there.
    """
    usual = f"{rules_folder(mode)}/qmail-{service}.cdb"
    other = f"/etc/tcp.{service}.cdb"
    return other if mode == SYSTEM and not os.path.exists(usual) and os.path.exists(other) else usual
