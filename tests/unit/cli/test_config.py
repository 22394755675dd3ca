"""quail config, called in-process: what it prints, what it writes, what it refuses."""

import json
import os
import subprocess

import pytest
from click.testing import CliRunner

from quail.cli.config import config
from quail.control.reader import Control
from quail.control.table import NOT_YET, TABLE
from quail.errors import ConfigError, PermanentError, UsageError
from quail.users.build import rebuild


@pytest.fixture
def home(tmp_path, monkeypatch) -> str:
    monkeypatch.delenv("QMAILHOME", raising=False)
    (tmp_path / "control").mkdir()
    for name, data in {"me": "mail.example.com\n", "listen": "smtp 127.0.0.1:0\n", "mode": "single\n"}.items():
        (tmp_path / "control" / name).write_text(data)
    return str(tmp_path)


@pytest.fixture(autouse=True)
def _wide(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def call(home: str, *args: str) -> str:
    """What the command prints; its errors are raised."""
    result = CliRunner().invoke(config, [args[0], "--home", home, *args[1:]], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def content(home: str, name: str) -> bytes:
    with open(f"{home}/control/{name}", "rb") as file:
        return file.read()


# get and list


def test_get(home: str) -> None:
    assert call(home, "get", "me") == "mail.example.com\n"
    assert call(home, "get", "bouncehost") == "mail.example.com\n"
    assert call(home, "get", "concurrencylocal") == "10\n"
    assert call(home, "get", "locals") == "mail.example.com\n"
    assert call(home, "get", "virtualdomains") == ""
    assert call(home, "get", "listen") == "smtp 127.0.0.1:0\n"


def test_get_json(home: str) -> None:
    found = json.loads(call(home, "get", "--json", "databytes"))
    assert (found["value"], found["source"], found["unit"]) == (0, "default", "bytes")
    assert json.loads(call(home, "get", "--json", "bouncehost"))["source"] == "me"
    assert json.loads(call(home, "get", "--json", "me"))["source"] == "file"
    assert json.loads(call(home, "get", "--json", "rcpthosts"))["value"] == []


def test_get_names_what_is_wrong(home: str) -> None:
    with open(home + "/control/databytes", "w", encoding="ascii") as file:
        file.write("lots\n")
    with pytest.raises(ConfigError, match="databytes line 1: does not begin with a digit"):
        call(home, "get", "databytes")
    assert "does not begin with a digit" in json.loads(call(home, "get", "--json", "databytes"))["trouble"]


def test_get_of_a_compiled_file_points_at_its_text(home: str) -> None:
    with pytest.raises(PermanentError, match=r"its text is in morercpthosts$"):
        call(home, "get", "morercpthosts.cdb")


def test_list_has_every_file_that_something_reads(home: str, monkeypatch) -> None:
    monkeypatch.setitem(NOT_YET, "qmail-qmqpc", "that is to come")
    found = {row["name"]: row for row in json.loads(call(home, "list", "--json"))}
    assert set(found) == set(TABLE) - {"qmqpservers"}
    assert found["me"]["value"] == "mail.example.com"
    assert set(TABLE) == {row["name"] for row in json.loads(call(home, "list", "--json", "--all"))}


def test_list_as_a_table(home: str) -> None:
    with open(home + "/control/locals", "w", encoding="ascii") as file:
        file.write("".join(f"d{number}.example\n" for number in range(8)))
    with open(home + "/control/rcptcheck", "w", encoding="ascii") as file:
        file.write("no\n")
    output = call(home, "list")
    assert "mail.example.com" in output
    assert "(3 more)" in output
    assert "0 bytes" in output
    assert " line 1: does not begin with a digit" in output


def test_unknown_name_gets_a_suggestion(home: str) -> None:
    with pytest.raises(UsageError, match=r"there is no control file rcpthost; did you mean rcpthosts\?"):
        call(home, "get", "rcpthost")
    with pytest.raises(UsageError, match="quail config list shows all"):
        call(home, "set", "zzzzzz", "1")
    assert not os.path.exists(home + "/control/zzzzzz")


def test_a_folder_that_is_no_home(tmp_path) -> None:
    with pytest.raises(PermanentError, match="is no home of Quail"):
        call(str(tmp_path), "list")


# set


def test_set_line_integer_list_pairs_and_listen(home: str) -> None:
    call(home, "set", "smtpgreeting", "mail.example.com no spam please")
    call(home, "set", "databytes", "50000000")
    call(home, "set", "rcpthosts", "example.com", ".example.com")
    call(home, "set", "virtualdomains", "example.org:jane", ":all")
    call(home, "set", "listen", "smtp 127.0.0.1:2525", "smtp [::1]:2525")
    assert content(home, "smtpgreeting") == b"mail.example.com no spam please\n"
    control = Control(home + "/control")
    assert control.integer("databytes") == 50000000
    assert control.lines("rcpthosts") == [b"example.com", b".example.com"]
    assert control.pairs("virtualdomains") == {b"example.org": b"jane", b"": b"all"}
    assert control.listen() == [("smtp", "127.0.0.1", 2525), ("smtp", "::1", 2525)]
    assert [name for name in os.listdir(home + "/control") if name.startswith(".")] == []


def test_set_replaces_what_was_there_and_keeps_its_mode(home: str) -> None:
    call(home, "set", "locals", "a.example", "b.example")
    assert os.stat(home + "/control/locals").st_mode & 0o777 == 0o644
    os.chmod(home + "/control/locals", 0o640)
    call(home, "set", "locals", "c.example")
    assert content(home, "locals") == b"c.example\n"
    assert os.stat(home + "/control/locals").st_mode & 0o777 == 0o640


def test_set_follows_a_link_in_control(home: str) -> None:
    os.mkdir(home + "/shared")
    os.symlink("../shared/locals", home + "/control/locals")
    call(home, "set", "locals", "a.example")
    assert os.path.islink(home + "/control/locals")
    assert os.listdir(home + "/shared") == ["locals"]


def test_empty_value_empties_a_list(home: str) -> None:
    call(home, "set", "locals", "")
    assert content(home, "locals") == b""
    assert Control(home + "/control").lines("locals") == []


def test_unset(home: str) -> None:
    call(home, "set", "databytes", "1")
    call(home, "set", "databytes", "--unset")
    assert not os.path.exists(home + "/control/databytes")
    call(home, "set", "databytes", "--unset")  # nothing left to do


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["databytes", "10MB"], "databytes is a whole number of bytes$"),
        (["databytes", ""], "databytes is a whole number"),
        (["databytes", "1", "2"], "has a single value"),
        (["databytes"], "give databytes a value"),
        (["databytes", "1", "--unset"], "give databytes a value"),
        (["concurrencylocal", "99999"], "concurrencylocal is a whole number 0 to 1000$"),
        (["minfree", "1000"], "minfree is a whole number of bytes at least 134217728"),
        (["minfree", "9" * 30], "minfree is a whole number"),
        (["me", ""], "me: is empty"),
        (["me", "mail.example.com\nx"], "is one line"),
        (["me", " mail.example.com"], "neither begins nor ends with a blank"),
        (["me", "mail\x07"], "me: has a control character"),
        (["smtpgreeting", "mail.example.com", "hello"], "put quotes around words"),
        (["locals", "#example.com"], "is a comment"),
        (["virtualdomains", "example.com"], "virtualdomains: has no colon; write name:value"),
        (["listen", "smtp localhost:25"], "does not begin with an IP address"),
        (["smtproutes", "example.com:a", ":relay:0"], "smtproutes: 'relay:0' has no port after its last colon"),
        (["outgoingip", "192.0.2.1", "192.0.2.2"], "outgoingip: is a second address of IPv4; keep one of them"),
        (["defaultdelivery", ""], "must not be empty"),
    ],
)
def test_set_refuses_what_the_reader_would_misread(home: str, args: list[str], reason: str) -> None:
    before = sorted(os.listdir(home + "/control"))
    with pytest.raises(UsageError, match=reason):
        call(home, "set", *args)
    assert sorted(os.listdir(home + "/control")) == before
    assert content(home, "me") == b"mail.example.com\n"


@pytest.mark.parametrize("name", ["mode", "morercpthosts.cdb"])
def test_set_leaves_to_others_what_they_make(home: str, name: str) -> None:
    with pytest.raises(PermanentError):
        call(home, "set", name, "system")
    assert content(home, "mode") == b"single\n"


def test_set_warns_of_what_does_not_fit_the_rest(home: str) -> None:
    output = call(home, "set", "rcpthosts", "example.com")
    assert "control/rcpthosts: warning: mail.example.com is missing" in output


# what to do next


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("locals", "a.example", "This counts when quail serve starts next."),
        ("smtpdworkers", "3", "This counts when quail serve starts next."),
        ("morercpthosts", "a.example", "Now call qmail-newmrh"),
        ("qmqpservers", "192.0.2.7", "This counts from the next run of qmail-qmqpc on."),
    ],
)
def test_next_step_while_nothing_runs(home: str, name: str, value: str, said: str) -> None:
    assert call(home, "set", name, value).startswith(said)


def test_next_step_for_what_nothing_reads(home: str, monkeypatch) -> None:
    monkeypatch.setitem(NOT_YET, "qmail-qmqpc", "that is to come")
    assert call(home, "set", "qmqpservers", "192.0.2.7").startswith("Nothing reads qmqpservers yet: that is to come.")


def test_next_step_while_quail_serves(home: str, monkeypatch) -> None:
    os.mkdir(home + "/run")
    with open(home + "/run/pids.json", "w", encoding="ascii") as file:
        json.dump({"serve": [os.getpid()], "queue": [1]}, file)
    elsewhere = call(home, "set", "locals", "mail.example.com")
    assert elsewhere.startswith("This counts when quail serve starts next.")  # the number is somebody else's now
    monkeypatch.chdir(home)
    assert f"To make queue and users and smtpd read it now: kill -HUP {os.getpid()}" in call(
        home, "set", "locals", "mail.example.com"
    )
    assert "stopped and started again" in call(home, "set", "smtpdworkers", "3")


def test_next_step_while_parts_of_it_are_served(home: str, monkeypatch) -> None:
    """quail serve --only: each has a file of its own; those that read the setting are named."""
    os.mkdir(home + "/run")
    monkeypatch.chdir(home)
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=home)
    try:
        for name, pid in (("queue", os.getpid()), ("smtpd.users", other.pid), ("rspawn", 1)):
            with open(f"{home}/run/pids.{name}.json", "w", encoding="ascii") as file:
                json.dump({"serve": [pid], **{part: [9] for part in name.split(".")}}, file)
        told = call(home, "set", "locals", "mail.example.com")
        assert f"kill -HUP {os.getpid()} {other.pid}\n" in told
        restart = call(home, "set", "smtpdworkers", "3")
        assert f"(processes {os.getpid()} and {other.pid}) is stopped and started again" in restart
    finally:
        other.communicate()
    assert f"kill -HUP {os.getpid()}\n" in call(home, "set", "locals", "mail.example.com")


@pytest.mark.parametrize("left", ["", "{", "[]", '{"serve": []}', '{"serve": ["x"]}', '{"serve": [0]}'])
def test_what_a_crash_left_of_the_numbers_does_no_harm(home: str, left: str) -> None:
    os.mkdir(home + "/run")
    with open(home + "/run/pids.json", "w", encoding="ascii") as file:
        file.write(left)
    assert call(home, "set", "locals", "mail.example.com").startswith("This counts when quail serve starts next.")


# check


def test_check(home: str) -> None:
    call(home, "set", "rcpthosts", "mail.example.com")
    call(home, "set", "concurrencyremote", "0")
    assert call(home, "check") == f"{home}: all is well\n"
    assert json.loads(call(home, "check", "--json")) == []
    os.unlink(home + "/control/rcpthosts")
    assert "control/rcpthosts: warning: does not exist" in call(home, "check")


def test_check_sees_what_of_users_append_does_not_count(home: str) -> None:
    call(home, "set", "rcpthosts", "mail.example.com")
    call(home, "set", "concurrencyremote", "0")
    os.mkdir(home + "/users")
    well = f"{home}: all is well\n"

    def append(text: str) -> str:
        with open(home + "/users/append", "a", encoding="ascii") as file:
            file.write(text)
        return call(home, "check")

    assert append("") == well
    line = "=joe:joe:1:1:/home/joe:::\n"
    older = "warning: does not count yet: users/assign is older; call quail user rebuild\n"
    assert append(line) == f"users/append line 1: {older}"
    rebuild(home)
    assert call(home, "check") == well
    assert append("# joe\n").startswith("users/append line 2: warning: has 0 colons, not 7; write ")
    assert json.loads(call(home, "check", "--json"))[0]["path"] == "users/append"


def test_check_fails_if_a_service_would_stop(home: str) -> None:
    with open(home + "/control/me", "wb"):
        pass
    result = CliRunner().invoke(config, ["check", "--home", home])
    assert result.exit_code == 100
    assert "control/me line 1: error: is empty" in result.output
    result = CliRunner().invoke(config, ["check", "--json", "--home", home])
    found = json.loads(result.output)
    assert [(row["path"], row["line"]) for row in found if row["severity"] == "error"] == [("control/me", 1)]
