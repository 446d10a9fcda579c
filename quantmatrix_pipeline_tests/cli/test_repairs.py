"""`qm repairs`: what a run put right, as a user sees it, undoes it and has it again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.pipeline.running import Folder as Files
from quantmatrix_pipeline_tests.pipeline.running import walk


def test_a_slip_in_a_file_is_repaired_listed_undone_and_applied_again(migrated: Installation, tmp_path: Path) -> None:
    bars = walk(["AAA", "SPY"], migrated.folder.sessions[-40:])
    at = bars.index[bars["symbol"] == "AAA"][-6]
    for name in ("open", "high", "low", "close"):
        bars.loc[at, name] *= 100
    Files(tmp_path / "slipped").write(bars, constituents={"SP500": "symbol\nAAA\n"})
    installation = replace(migrated, folder=replace(migrated.folder, path=tmp_path / "slipped"))
    run = installation.qm("run")
    assert run.code == 0, run.stderr
    assert "1 made" in run.stdout
    (repair,) = json.loads(installation.qm("repairs", "list", "--symbol", "AAA", "--json").stdout)
    assert (repair["rule"], repair["state"]) == ("hundredfold", "applied")
    assert repair["session"] == str(bars.loc[at, "date"])
    number = str(repair["repair_id"])
    assert "AAA" in installation.qm("repairs", "list").stdout
    assert "undone" in installation.qm("repairs", "undo", number).stdout
    again = installation.qm("repairs", "undo", number)
    assert again.code == 2
    assert "nothing to undo" in again.error
    assert "applied" in installation.qm("repairs", "apply", number).stdout


def test_what_is_asked_wrongly_is_one_line_that_says_what_to_write(migrated: Installation) -> None:
    unknown = migrated.qm("repairs", "undo", "4711")
    assert unknown.code == 2
    assert "no repair bears the number 4711" in unknown.error
    rule = migrated.qm("repairs", "list", "--rule", "magic")
    assert rule.code == 2
    assert "hundredfold, split_unit" in rule.error
    assert "confidence" in migrated.qm("repairs", "rules").stdout
