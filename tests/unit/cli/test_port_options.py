"""Ports on the command line that no socket can have."""

import pytest
from click.testing import CliRunner

from quail.cli.run import run
from quail.cli.serve import serve


@pytest.mark.parametrize("command", [serve, run])
@pytest.mark.parametrize("option", ["--smtp-port", "--pop3-port"])
@pytest.mark.parametrize("port", ["65536", "-1"])
def test_a_port_that_is_none_is_a_wrong_call(tmp_path, command, option, port):
    result = CliRunner().invoke(command, ["--home", str(tmp_path / "none"), option, port])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': {port} is not in the range 0<=x<=65535" in result.stderr
    assert not (tmp_path / "none").exists()
