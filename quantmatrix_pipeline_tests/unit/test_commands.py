"""The commands of `qm`: each can be had, none has an option that is not its own, and a slip is understood."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from quantmatrix_pipeline.cli.main import COMMANDS, app


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_and_has_no_option_of_the_library(command: str) -> None:
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert f"qm {command}" in " ".join(told.output.split())
    assert "completion" not in told.output


def test_a_slip_is_answered_with_what_was_meant() -> None:
    told = CliRunner().invoke(app, ["statsu"])
    assert told.exit_code == 2
    assert "Did you mean 'status'" in " ".join(told.output.split())
