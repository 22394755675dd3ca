"""The small tools of daemontools beside the originals: environments, limits, locks, stamps, exit codes and words."""

import json
import os
import random
import shutil

import pytest
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = pytest.mark.root
HERE = os.path.dirname(os.path.abspath(__file__))
LIMITS = "prlimit --noheadings -o RESOURCE,SOFT,HARD"
ENVIRONMENT = 'sh -c \'env -0 | tr "\\0\\n" "\\n^" | grep -v ^PATH | sort\''
SESSION = "pgrphack sh -c 'ps -o pid=,pgid=,sid= $$ | awk \"{print \\$1==\\$2, \\$2==\\$3}\"'"
TITLE = (
    "mkfifo p; readproctitle log .......... < p & exec 3> p; printf '{}' >&3; "
    "until tr '\\0' '|' < /proc/$!/cmdline | grep -o '[^|]*ijk|$'; do :; done; exec 3>&-; wait $!; echo $?"
)
COMMANDS = [
    # Users.
    "setuidgid", "setuidgid nobody", "setuidgid nosuch id", "setuidgid nobody id", "setuidgid -x nobody id",
    "setuidgid 65534 id", "setuidgid nobody nosuch", "setuidgid nobody /var/cache/ldconfig/none",
    "setuidgid nobody /etc/passwd", "setuidgid nobody /etc", "setuidgid nobody ''", "setuidgid tester setuidgid nobody id",
    "envuidgid", "envuidgid nobody", "envuidgid nosuch env", f"envuidgid nobody {ENVIRONMENT}", "envuidgid nobody nosuch",
    "UID=5 envuidgid tester sh -c 'echo $UID $GID'",
    # Environments.
    "envdir", "envdir e", "envdir nodir env", "envdir -x e env", "envdir bad env", "envdir data env", "envdir e nosuch",
    f"envdir e {ENVIRONMENT}", "mkdir p; printf '' > p/PATH; envdir p true", "mkdir p; echo /nowhere > p/PATH; envdir p ls",
    "ln -s none locked/dangling; envdir locked true", "envdir e envdir e sh -c 'echo $A'",
    # Limits, as the child has them.
    "softlimit", "softlimit -m", "softlimit -m 100", "softlimit -x true", "softlimit -o 12x true", "softlimit -o abc true",
    "softlimit -- true", "softlimit --o true", f"softlimit -o10 {LIMITS}", "softlimit -o 10 nosuch", "softlimit -o -5 true",
    "softlimit -o == true",
    f"softlimit -o 18446744073709551636 {LIMITS}", f"softlimit -o 18446744073709551615 {LIMITS}", f"softlimit -o = {LIMITS}",
    f"softlimit -o 20 -o 30 {LIMITS}", f"softlimit -m 90000000000 {LIMITS}", "softlimit -", "softlimit -co 1 2 true",
    "softlimit -c= true", "softlimit -f 4096 sh -c 'yes > full'; echo $?; ls -s full",
    *[f"softlimit -{letter} {number} {LIMITS}" for letter, number in zip("acdflmoprst", (
        9000000001, 512, 9000000000, 4096, 65536, 8000000000, 77, 1000, 1000000, 8000000, 5), strict=True)],
    f"softlimit -s 8000000 softlimit -s = {LIMITS}", "ulimit -Hn 50; softlimit -o 100 sh -c 'ulimit -n; ulimit -Hn'",
    # Locks.
    "setlock", "setlock data", "setlock data cat data", "setlock -z data true", "setlock data nosuch", "setlock nodir/f true",
    "setlock -x nodir/f true", "setlock -xX nodir/f true", "setlock -x data nosuch", "setlock /etc true",
    "setlock new true; stat -c '%a %s' new", "setlock -n -x new echo hi", "setlock -- new echo hi", "setlock --z new echo hi",
    "setlock new sh -c 'readlink /proc/self/fd/3'",
    *[f"setlock new sh -c 'setlock {flags} new echo in; echo $?'" for flags in ("-n", "-nx", "-nX", "-nxX", "-Nn", "-xn")],
    "setlock new sh -c 'timeout 0.3 setlock -nN new true; echo $?'", "setlock new true; setlock -n new echo free",
    # Other loaders.
    "fghack", "fghack nosuch", "fghack -x true", "fghack sh -c 'exit 3'", "fghack sh -c 'kill -9 $$'",
    "fghack sh -c 'ls /proc/self/fd'", "fghack sh -c '(sleep 0.3; echo late)& exit 4'; echo $?",
    "pgrphack", "pgrphack nosuch", "pgrphack -x true", SESSION,
    "setsid -w pgrphack echo hi",
    "readproctitle", "readproctitle a", "readproctitle a bbbb", "readproctitle a bbbbb", "readproctitle a b ccccccc",
    *[TITLE.format(text) for text in ("ijk", "abc\\0defghijk", "a\\nb\\377cijk", "x\\0\\0\\0ijk")],
    # Stamps.
    "tai64n </dev/null", "tai64n < data > /dev/full; echo $?", "tai64nlocal < data > /dev/full; echo $?",
    "tai64nlocal a b < data",
    "printf 'a\\n\\nb' | tai64n | sed s/^@4.......................//", "printf 'a\\n\\nb' | tai64n | tai64nlocal | cut -c30-",
]  # fmt: skip


def stamps(seed):
    """Lines with labels of times that there are, and other lines."""
    picks = random.Random(seed)
    zones = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Nowhere", "XYZ-3:30", "")
    for _ in range(25):
        lines = []
        for _ in range(8):
            seconds = picks.choice((picks.randrange(-(2**31), 2**34), picks.randrange(2**31), 0, -1, 951782400))
            number = f"{2**62 + 10 + seconds:016x}{picks.choice((0, 500, 999999500, 2**32 - 1)):08x}"
            lines.append(picks.choice((f"@{number} text", f"@{number}", f" @{number}", f"@{number}@{number}", f"x{number}", "",
                                       f"@{number}G", f"@{number}\\0z")))  # fmt: skip
        yield "printf '" + "\\n".join(lines) + "\\n' | TZ=" + picks.choice(zones) + " tai64nlocal"


def test_they_do_as_the_originals_do(test_root, tmp_path):
    shutil.copy(f"{HERE}/tools_inside.py", tmp_path)
    commands = [*COMMANDS, *stamps(3)]
    with test_root.enter({str(tmp_path): "/srv"}) as box:
        done = box.run(
            ["python3", "/srv/tools_inside.py"], data=json.dumps(commands), env=QUAIL_ENVIRONMENT, timeout=300
        )
    assert json.loads(done.stdout) == []
