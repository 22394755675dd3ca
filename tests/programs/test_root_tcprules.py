"""tcprules and tcprulescheck beside Debian's, of both builds: the same files, words and exit codes, the same look-ups."""

import os

import pytest

INSIDE = r"""
import os, random, subprocess, sys

OLD, NEW = "/usr/bin/", "/opt/oracles/ucspi-tcp-ipv6/usr/bin/"
CALL = "import sys; sys.argv[0] = {name!r}; from quail.programs.ucspi.{name} import main; main()"


def run(where, name, *args, stdin=b"", env=None):
    words = [where + name] if where else [sys.executable, "-S", "-c", CALL.format(name=name)]
    env = {"PYTHONPATH": "/opt/quail/src", **(env or {})}
    done = subprocess.run([*words, *args], input=stdin, env=env, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def make(where, text):
    with open("r.cdb", "wb") as file:
        file.write(b"old")
    said = run(where, "tcprules", "r.cdb", "r.tmp", stdin=text)
    with open("r.cdb", "rb") as file:
        return said, file.read()


def address(rng, six):
    number = lambda: rng.choice(("0", "1", "10", "255", "1-3", "250-300", "7-5", "-", "3-", "-2", "01-2", "x-2", "1-2-3"))
    plain = lambda: str(rng.randrange(4))
    kind = rng.randrange(12 if six else 10)
    if kind < 3:
        return ".".join(plain() for _ in range(4))
    if kind == 3:
        return ".".join(plain() for _ in range(rng.randrange(1, 4))) + "."
    if kind == 4:
        return ".".join(number() if rng.random() < 0.3 else plain() for _ in range(rng.randrange(1, 5))) + rng.choice(("", "."))
    if kind < 7:
        return "=" + rng.choice(("", "a.b", ".b", "a", ".a.b", "c.a.b", "a-b.c"))
    if kind == 7:
        return rng.choice(("", " ", " 1.2.3.4", "\t", "*", "1.2.3.0/24"))
    if kind < 10:
        return rng.choice(("joe", "", "a-b")) + "@" + rng.choice(("1.2.3.1", "=a.b", "1.2.", "=.b"))
    return rng.choice(("2001:db8::7", "2001:db8:", "::1", "2001:", "fe80::1-3", ":", "a:b"))


WRONG = ("Allow", "", "allo", "denyx", "allow x", "allow,")


def instruction(rng):
    words = rng.choice(("allow", "deny")) if rng.random() < 0.97 else rng.choice(WRONG)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        quote = rng.choice(('"', "/", "'", "x", " ", "\xe9"))
        value = rng.choice(("", "v", "a=b", "a,b", "1 2", "\xe8:", "allow"))
        words += "," + rng.choice(("A", "RELAYCLIENT", "", "n n", "\xe9")) + "=" + quote + value + quote
        if rng.random() < 0.03:
            words += rng.choice((",", "y", ",B", ",B=", ',B="', " "))
    return words


def line(rng, six):
    kind = rng.randrange(40)
    if kind == 0:
        return rng.choice(("", "#", "# 1.2.3.4:deny", " ", " \t", "#:"))
    if kind == 1 and not six:
        return rng.choice(("no colon", "x", "1.2.3.4"))
    return address(rng, six) + ":" + instruction(rng) + rng.choice(("", "", "", " ", "\t "))


def text_of(rng, six):
    lines = [line(rng, six) for _ in range(rng.choice((0, 1, 2, 5, 30, 300)))]
    if rng.random() < 0.6:  # mostly without lines that are in error
        lines = [each for each in lines if good(each, six)]
    return ("\n".join(lines) + rng.choice(("\n", "\n", ""))).encode("latin-1")


def good(line, six):
    from quail.net.tcprules import RuleError, compile_rules
    try:
        compile_rules(line.encode("latin-1"), "x", lenient=True)
    except RuleError:
        return False
    return True


def loops(text):
    # The IPv6 build goes round for ever over a line without a colon that allow or deny follows.
    for line in text.split(b"\n"):
        if line and line[:1] != b"#" and b":allow" not in line and b":deny" not in line:
            return True
    return False


def same(what, ours, theirs, text):
    if ours != theirs:
        sys.exit(f"{what}: {ours!r:.1500} is not {theirs!r:.1500} for {text!r:.3000}")


def main(rng, count):
    compiled = 0
    for _ in range(count):
        six = rng.random() < 0.4
        where = NEW if six else OLD
        text = text_of(rng, six)
        if six and loops(text):
            continue
        ours = make("", text)
        same("tcprules", ours, make(where, text), text)
        if ours[0][0]:
            continue
        compiled += 1
        with open("r.cdb", "wb") as file:
            file.write(ours[1])
        for _ in range(6):
            env = {}
            if rng.random() < 0.9:
                env["TCPREMOTEIP"] = ".".join(str(rng.randrange(4)) for _ in range(4))
                if six and rng.random() < 0.5:
                    env["TCPREMOTEIP"] = rng.choice(("2001:db8::7", "2001:db8::8", "::1", "a:b"))
            if rng.random() < 0.5:
                env["TCPREMOTEHOST"] = rng.choice(("a.b", "c.a.b", "b", "", "z.c.a.b", "A.B", "a-b.c", ".b"))
            if rng.random() < 0.3:
                env["TCPREMOTEINFO"] = rng.choice(("joe", "", "a-b", "joe@1"))
            same("tcprulescheck", *(run(w, "tcprulescheck", "r.cdb", env=env) for w in ("", where)), (text, env))
    print(compiled)


os.chdir(sys.argv[3])
main(random.Random(int(sys.argv[1])), int(sys.argv[2]))
"""


def beside(test_root, tmp_path, count):
    seed = int(os.environ.get("QUAIL_SEED") or 20_261_130)
    (tmp_path / "inside.py").write_text(INSIDE)
    with test_root.enter({str(tmp_path): "/srv/rules"}) as box:
        words = ["python3", "/srv/rules/inside.py", str(seed), str(count), "/srv/rules"]
        done = box.run(words, env={"PYTHONPATH": "/opt/quail/src"}, check=False, timeout=900)
        assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
        assert int(done.stdout) > count // 3


def test_the_same_files_words_and_look_ups(test_root, tmp_path):
    beside(test_root, tmp_path, 40)


@pytest.mark.long
def test_many_texts(test_root, tmp_path):
    beside(test_root, tmp_path, 1500)


@pytest.mark.parametrize("line", ["no colon", "2001:db8::1", "1.2.3.4:Allow", ":", " \t"])
def test_where_the_ipv6_build_never_ends_is_an_error_or_nothing(test_root, tmp_path, line):
    """With a colon it is an error; without any, both builds' older brother takes no notice of it."""
    with test_root.enter({str(tmp_path): "/srv"}) as box:
        theirs = "exec timeout 1 /opt/oracles/ucspi-tcp-ipv6/usr/bin/tcprules r.cdb r.tmp"
        assert box.run(["sh", "-c", theirs], data=line + "\n", cwd="/srv", check=False).returncode == 124
        ours = ["python3", "-m", "quail.programs.ucspi.tcprules", "r.cdb", "r.tmp"]
        done = box.run(ours, data=line + "\n", cwd="/srv", env={"PYTHONPATH": "/opt/quail/src"}, check=False)
        error = f"tcprules: fatal: unable to parse this line: {line}\n" if ":" in line else ""
        assert (done.returncode, done.stderr) == (100 if error else 0, error)
