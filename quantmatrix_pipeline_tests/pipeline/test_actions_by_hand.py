"""`qm actions`: what an operator adds counts, what one withdraws does not, whatever a vendor says next night."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from quantmatrix_pipeline.cli.main import app
from quantmatrix_pipeline.errors import ConfigurationError, NoSuchAction
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk

DAYS = sessions("2021-12-31", 34)
SPLIT_ON, WRONG_ON = DAYS[-8], DAYS[-20]
WHY = ["--note", "the company's letter", "--by", "ann"]


def qm(*arguments: str) -> str:
    return CliRunner().invoke(app, ["actions", *arguments], catch_exceptions=False).output


def listed(*arguments: str) -> list[dict[str, Any]]:
    return json.loads(qm("list", "--json", *arguments))  # type: ignore[no-any-return]


def factors(warehouse: Warehouse, adjust: str) -> list[float]:
    """The distinct factors of AAA's adjusted series, oldest first."""
    rows = warehouse.rows("SELECT factor FROM adjusted_bars('AAA', :adjust) ORDER BY session", adjust=adjust)
    return list(dict.fromkeys(round(row.factor, 6) for row in rows))


def test_what_is_added_counts_and_what_is_withdrawn_does_not_whatever_a_vendor_says_next_night(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(["AAA", "SPY"], DAYS)
    split = (bars["symbol"] == "AAA") & (bars["date"] >= SPLIT_ON)
    bars.loc[split, ["open", "high", "low", "close"]] /= 2
    wrong = f"symbol,ex_date,ratio\nAAA,{WRONG_ON},1.01\n"  # too small for prices to refute
    folder.write(bars[bars["date"] < DAYS[-1]], splits=wrong, constituents={"SP500": "symbol\nAAA\n"})
    assert chain.run(DAYS[-12], DAYS[-2]).success
    held = "SELECT count(*) FROM bars WHERE gap_detected"
    assert warehouse.scalar(held) == 1, "half the price, and nobody names a split"

    assert "2:1" in qm("add", "aaa", "split", str(SPLIT_ON), "2:1", *WHY)
    assert warehouse.scalar(held) == 0
    with pytest.raises(NoSuchAction, match="added by hand before"):
        qm("add", "AAA", "split", str(SPLIT_ON), "2:1", *WHY)
    assert factors(warehouse, "split") == [round(1 / 2.02, 6), 0.5, 1.0]
    (vendors,) = [a for a in listed("--symbol", "AAA") if a["vendor"] == "files"]
    assert vendors["in_force"]
    qm("withdraw", str(vendors["action_id"]), *WHY)
    assert factors(warehouse, "split") == [0.5, 1.0]
    with pytest.raises(NoSuchAction, match="withdrawn by hand already"):
        qm("withdraw", str(vendors["action_id"]), *WHY)

    # The vendor goes on naming its split and not naming the true one; the night restates and changes nothing of it.
    folder.write(bars, splits=wrong, constituents={"SP500": "symbol\nAAA\n"})
    night = chain.run(DAYS[-1])
    assert night.success, night.errors
    assert night.facts["indicator_history"]["restated"] > 0
    assert night.checks["splits_explain_the_prices"].passed
    assert factors(warehouse, "split") == [0.5, 1.0]
    by_vendor = {a["vendor"]: a for a in listed("--symbol", "AAA")}
    assert {v: a["in_force"] for v, a in by_vendor.items()} == {"operator": True, "files": False}
    assert all((a["note"], a["by"]) == ("the company's letter", "ann") for a in by_vendor.values())
    assert [a["reason"] for a in listed("--conflicts")] == ["withdrawn_by_operator"]

    assert "yes" in qm("restore", str(vendors["action_id"]), *WHY)
    assert factors(warehouse, "split") == [round(1 / 2.02, 6), 0.5, 1.0]
    qm("withdraw", str(by_vendor["operator"]["action_id"]), *WHY)
    assert warehouse.scalar(held) == 1

    before = warehouse.scalar("SELECT close FROM bars WHERE symbol = 'AAA' AND session = :day", day=DAYS[4])
    qm("add", "AAA", "dividend", str(DAYS[5]), "0.5", *WHY)
    total = factors(warehouse, "total_return")
    assert total[0] / total[1] == pytest.approx(1 - 0.5 / before, rel=1e-5)
    (paid,) = listed("--kind", "dividend")
    assert (paid["amount"], paid["currency"], paid["vendor"]) == ("0.5", "USD", "operator")
    qm("withdraw", str(paid["action_id"]), *WHY)
    assert len(factors(warehouse, "total_return")) == len(total) - 1


def test_what_is_written_wrongly_is_said(chain: Chain, warehouse: Warehouse) -> None:
    warehouse.execute("INSERT INTO instruments DEFAULT VALUES")
    warehouse.execute("INSERT INTO instrument_symbols (symbol, instrument_id) VALUES ('AAA', 1)")
    for says, arguments in {
        "'1:1' is no ratio: write new:old shares": ["add", "AAA", "split", "2021-12-31", "1:1", *WHY],
        "'four' is no ratio": ["add", "AAA", "split", "2021-12-31", "four", *WHY],
        "'-1' is no cash per share": ["add", *WHY, "--", "AAA", "dividend", "2021-12-31", "-1"],
        "'merger' is no kind of action: one of split, stock": ["add", "AAA", "merger", "2021-12-31", "1", *WHY],
        "--note is empty": ["withdraw", "1", "--note", " "],
    }.items():
        with pytest.raises(ConfigurationError, match="^" + says):
            qm(*arguments)
    with pytest.raises(NoSuchAction, match="no action bears the number 7"):
        qm("restore", "7", *WHY)
