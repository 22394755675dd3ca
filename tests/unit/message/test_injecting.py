"""Whole messages through the machine of qmail-inject: the golden cases, whole and byte by byte."""

import os
import shlex

import pytest
from injection import Result, run

with open(f"{os.path.dirname(os.path.abspath(__file__))}/golden/messages.txt", encoding="utf-8") as file:
    TEXT = file.read()

ADDED = b"Date: 26 Sep 1995 04:46:53 -0000\nMessage-ID: <19950926044653.3429.qmail@mx.example.com>\nFrom: joe@mx.example.com\n"


class Case:
    """name, args, environ, message, and what is expected: a Result."""

    def __init__(self, text: str, section: str) -> None:
        head, *parts = text.split("--- ")
        name, *settings = head.splitlines()
        self.name = f"{section}: {name}"
        self.args = [b"-h"]
        self.environ = {b"USER": b"joe"}
        for line in settings:
            kind, _, value = line.partition(":")
            if kind == "args":
                self.args = [os.fsencode(word) for word in shlex.split(value)]
            elif kind == "env":
                self._set(value.strip())
        self.expected = Result()
        self.expected.dry = True
        for part in parts:
            title, _, data = part.partition("\n")
            content = data.replace("\\r", "\r").encode()
            match title:
                case "in":
                    self.message = content
                case "in, without its last line feed":
                    self.message = content.removesuffix(b"\n")
                case "out":
                    self.expected.output = content.replace(b"{added}\n", ADDED)
                case "envelope":
                    self._envelope(content)
                case "error":
                    self.expected.error = data.removesuffix("\n")
                case _:
                    raise AssertionError(title)

    def _set(self, setting: str) -> None:
        name, equals, value = setting.partition("=")
        if equals:
            self.environ[name.encode()] = value.replace("\\n", "\n").encode()
        else:
            assert setting.endswith(" is not set")
            del self.environ[setting.removesuffix(" is not set").encode()]

    def _envelope(self, content: bytes) -> None:
        self.expected.dry = False
        lines = [b"" if line[2:] == b"<>" else line[2:] for line in content.splitlines()]
        self.expected.sender, self.expected.recipients = lines[0], tuple(lines[1:])


def read(text: str) -> list[Case]:
    cases = []
    section = ""
    for block in text.split("\n=== ")[1:]:
        body, mark, title = block.partition("\n# ")
        cases.append(Case(body, section))
        section = title.partition("(")[0].strip() if mark else section
    return cases


CASES = read(TEXT)


def test_the_cases_are_read_to_their_end():
    assert len(CASES) >= 280
    assert CASES[-1].name == "Mail of other programs: mutt"
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_message(case, size):
    result = run(case.message, case.args, case.environ, size=size)
    assert result.error == case.expected.error
    if case.expected.error is None:
        assert result.output == case.expected.output
        assert result.dry is case.expected.dry
        if not result.dry:
            assert (result.sender, result.recipients) == (case.expected.sender, case.expected.recipients)
