"""What a session brought, as a message and as a picture."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from quantmatrix_pipeline.alerts import digest
from quantmatrix_pipeline.alerts.digest import Digest
from quantmatrix_pipeline.alerts.message import Tone
from quantmatrix_pipeline.alerts.wording import Links
from quantmatrix_pipeline.warehouse.digest import Recorded

DAY, BEFORE = date(2021, 12, 31), date(2021, 12, 30)
FLAT = Recorded("FLAT", 10.0, 0.0, "1", "1", False, False, False, False)
STOCKS = [
    replace(FLAT, symbol="UP", perf_1d=3.21, stage="2A", stage_before="1", td_sell_9=True),
    replace(FLAT, symbol="DOWN", perf_1d=-4.0, stage="4", stage_before="3", td_buy_13=True),
    replace(FLAT, symbol="STAYS", perf_1d=1.0, stage="2B", stage_before="2A"),
    replace(FLAT, symbol="NEW", perf_1d=None, stage="2A", stage_before=None),
    FLAT,
]
ROW = {"instruments": 5, "advances": 2, "declines": 1, "new_highs_252": 1, "new_lows_252": 0}
SHARES = {"pct_above_sma_50": 61.5, "pct_above_sma_200": None}


def of(**changed: object) -> Digest:
    rows = [{"session": day, **ROW, **SHARES} for day in (BEFORE, DAY)]
    facts = {
        "headline": f"{DAY} ok",
        "degraded": False,
        "stocks": STOCKS,
        "breadth": rows,
        "vendors": {"fmp": (1200, 3)},
    }
    return Digest(DAY, **{**facts, **changed})  # type: ignore[arg-type]


def test_it_names_movers_new_stage_2_td_counts_breadth_and_vendors() -> None:
    told = digest.message(of(), Links("http://ui", "docs"))
    assert (told.title, told.tone) == (f"Digest of {DAY} ok", Tone.INFO)
    assert told.facts == {
        "up": "UP +3.2 %, STAYS +1.0 %",
        "down": "DOWN -4.0 %",
        "new in stage 2": "UP",
        "TD sell 9": "UP",
        "TD buy 13": "DOWN",
        "breadth": "2 up, 1 down, 1 new highs, 0 new lows, 62 % above the average of 50",
        "vendors": "fmp 1,200 calls, 3 errors",
    }


def test_a_breadth_that_was_not_counted_for_the_session_is_left_out() -> None:
    stale = of(breadth=[{"session": BEFORE, **ROW, **SHARES}], degraded=True)
    told = digest.message(stale, Links("http://ui", "docs"))
    assert "breadth" not in told.facts
    assert told.tone is Tone.WARNING


def test_only_so_many_movers_and_names_are_shown() -> None:
    many = [replace(FLAT, symbol=f"S{n:02}", perf_1d=n + 1.0, td_buy_9=True) for n in range(30)]
    up, down = digest.movers(many)
    assert [s.symbol for s in up] == ["S29", "S28", "S27", "S26", "S25"]
    assert down == []
    told = digest.message(of(stocks=many), Links("http://ui", "docs"))
    assert told.facts["TD buy 9"].endswith("S14, … (30)")


def test_the_picture_is_one_with_and_without_breadth_and_movers() -> None:
    for drawn in (of(), of(breadth=[]), of(stocks=[FLAT])):
        picture = digest.picture(drawn)
        assert picture is not None
        assert picture.startswith(b"\x89PNG")
