"""A checkpassword for tests: joe's password is `se cret`, his home $JOE. Then it goes on in this process, as $JOE_UID.

usage: python checkpassword.py qmail-pop3d maildir

By exec a program of the checkout could not be read by that user in every place where tests run.
"""

import hashlib
import os
import sys

PASSWORD = b"se cret"


def check():
    data = b""
    while part := os.read(3, 513):
        data += part
    os.close(3)
    if len(data) > 512:
        return 1
    name, secret, stamp, rest = data.split(b"\0")
    assert rest == b""
    right = (PASSWORD, hashlib.md5(stamp + PASSWORD).hexdigest().encode())
    if name == b"crash":
        os.kill(os.getpid(), 9)
    return 0 if name == b"joe" and secret in right else 1


def main():
    code = check()
    if code:
        os._exit(code)
    assert sys.argv[1] == "qmail-pop3d"
    from quail.programs.qmail.qmail_pop3d import main as run

    os.chdir(os.environ["JOE"])
    if not os.getuid():
        uid = int(os.environ["JOE_UID"])
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    sys.argv = sys.argv[1:]
    run()


main()
