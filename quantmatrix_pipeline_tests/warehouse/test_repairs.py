"""A faulty bar on its way into the warehouse: put right, noted with what came, brought back when somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import NoSuchRepair
from quantmatrix_pipeline.ingest import decide
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.mend import OFF
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Split, UnreadableRow
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import instruments, repairs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.repairs import Repair
from quantmatrix_pipeline.warehouse.universe import Tracked
from quantmatrix_pipeline_tests.pipeline.running import walk

CALENDAR = trading_calendar("XNYS")
DAYS = CALENDAR.window(date(2021, 12, 31), 60)
NOW = datetime(2022, 1, 3, 23, tzinfo=UTC)


@dataclass
class Market:
    """One stock of 60 sound bars, and a database to store them in, faulty or not."""

    warehouse: Warehouse
    frame: pd.DataFrame = field(default_factory=lambda: walk(["AAA"], DAYS.tolist()))
    now: datetime = NOW

    def __post_init__(self) -> None:
        known = instruments.ensure(self.warehouse, ["AAA"])["AAA"]
        self.stock = Tracked(known, "AAA", "stock", "XNYS", DAYS[0].item(), ("watch_list",), None)

    def store(
        self,
        first: int = 0,
        last: int = len(DAYS),
        unreadable: tuple[UnreadableRow, ...] = (),
        splits: tuple[Split, ...] = (),
        basis: Basis = Basis.RAW,
        repair_at: float = 0.9,
        without: tuple[int, ...] = (),
    ) -> IngestReport:
        """Store the bars of the days from `first` to `last`, its end exclusive, as an answer of one vendor."""
        self.now += timedelta(days=1)
        part = self.frame.iloc[first:last].drop(index=list(without))
        columns = {name: part[name].to_numpy(np.float64) for name in FIELDS}
        sessions = part["date"].to_numpy().astype("datetime64[D]")
        batch = BarBatch(("AAA",), np.zeros(len(part), np.int32), sessions, **columns)
        day = None if basis is Basis.RAW else DAYS[-1].item()
        answer = DailyAnswer("acme", basis, day, batch, unreadable=unreadable, splits=splits)
        report = IngestReport("acme", DAYS[0].item(), DAYS[-1].item())
        asked = {"AAA": BarRequest("AAA", DAYS[first:last])}
        store_answer(
            self.warehouse, CALENDAR, {"AAA": self.stock}, asked, answer, report, self.now, repair_at=repair_at
        )
        assert report.balanced
        assert not audit_faults(self.warehouse)
        return report

    def bar(self, at: int) -> tuple[float, ...] | None:
        """Return open, high, low, close, volume and quality of a day's bar as it is stored."""
        rows = self.warehouse.rows(
            "SELECT open, high, low, close, volume, quality_score FROM price_data WHERE session = :day",
            day=DAYS[at].item(),
        )
        return tuple(rows[0]) if rows else None

    def sound(self, at: int) -> tuple[float, ...]:
        return (*(float(self.frame[name].iloc[at]) for name in FIELDS), 1.0)

    def repairs(self, **narrowed: str) -> list[Repair]:
        return repairs.find(self.warehouse, **narrowed)  # type: ignore[arg-type]

    def spoil(self, at: int, factor: float, *names: str) -> None:
        for name in names or FIELDS[:4]:
            self.frame[name] = self.frame[name].astype(float)
            self.frame.loc[at, name] *= factor


def audit_faults(warehouse: Warehouse) -> int:
    return int(
        warehouse.scalar(
            "SELECT count(*) FROM price_data WHERE NOT (high >= greatest(open, close) AND low <= least(open, close)"
            " AND low > 0 AND volume >= 0)"
        )
    )


@pytest.fixture
def market(database_url: str) -> Iterator[Market]:
    warehouse = Warehouse(database_url)
    yield Market(warehouse)
    warehouse.close()


def test_a_bar_a_hundred_times_off_is_stored_as_it_should_be_and_noted_as_it_came(market: Market) -> None:
    sound = market.sound(30)
    market.spoil(30, 100.0)
    came = market.sound(30)[:5]
    report = market.store()
    assert (report.inserted, report.repaired, report.rejected) == (60, 1, 0)
    assert market.bar(30) == pytest.approx(sound, rel=1e-12)
    (repair,) = market.repairs()
    assert (repair.symbol, repair.session, repair.rule, repair.state) == (
        "AAA",
        DAYS[30].item(),
        "hundredfold",
        "applied",
    )
    assert repair.original == came
    assert repair.repaired == pytest.approx(sound[:5], rel=1e-12)
    assert repair.confidence > 0.99
    assert (repair.vendor, repair.basis) == ("acme", "raw")


def test_the_same_answer_again_repairs_the_same_and_writes_nothing(market: Market) -> None:
    market.spoil(30, 0.01, "low")
    market.store()
    again = market.store()
    assert (again.unchanged, again.revised, again.repaired) == (60, 0, 1)
    assert len(market.repairs()) == 1


def test_the_newest_bar_is_only_suggested_and_put_right_when_the_next_one_proves_it(market: Market) -> None:
    sound = market.sound(40)
    market.spoil(40, 100.0)
    first = market.store(0, 41)
    assert (first.repaired, first.suggested) == (0, 1)
    (suggested,) = market.repairs(state="suggested")
    assert 0.5 <= suggested.confidence < 0.9
    assert market.bar(40)[3] == pytest.approx(100 * sound[3])  # type: ignore[index]
    second = market.store(41, 44)
    assert (second.repaired, second.inserted) == (1, 3)
    assert market.bar(40) == pytest.approx(sound, rel=1e-12)
    assert [repair.state for repair in market.repairs(state="applied")] == ["applied"]
    versions = market.warehouse.rows(
        "SELECT close, reason FROM price_data_revisions WHERE session = :day", day=DAYS[40].item()
    )
    assert [(v.close, v.reason) for v in versions] == [(pytest.approx(100 * sound[3]), "repaired")]
    due = market.warehouse.scalar("SELECT first_session FROM history_due")
    assert due <= DAYS[40].item()


def test_undo_brings_the_bar_back_as_a_new_version_and_the_decision_is_remembered(market: Market) -> None:
    market.spoil(30, 100.0)
    came = market.sound(30)[:5]
    market.store()
    (repair,) = market.repairs()
    (undone,) = decide.undo(market.warehouse, CALENDAR, [repair.repair_id], market.now, 5)
    assert undone.state == "undone"
    bar = market.bar(30)
    assert bar is not None
    assert bar[:5] == came
    assert bar[5] < 0.85, "judged as it came"
    reasons = market.warehouse.rows("SELECT reason FROM price_data_revisions WHERE session = :d", d=DAYS[30].item())
    assert [row.reason for row in reasons] == ["repair undone"]
    again = market.store()
    assert (again.unchanged, again.revised, again.repaired) == (60, 0, 0)
    assert market.bar(30) == bar
    (applied,) = decide.apply(market.warehouse, CALENDAR, [repair.repair_id], market.now, 5)
    assert applied.state == "applied"
    assert market.bar(30)[3] == pytest.approx(came[3] / 100)  # type: ignore[index]
    assert market.store().unchanged == 60


def test_a_decision_on_one_fault_says_nothing_of_another_of_the_same_bar(market: Market) -> None:
    sound = market.sound(30)
    market.spoil(30, 100.0)
    market.store()
    decide.undo(market.warehouse, CALENDAR, [market.repairs()[0].repair_id], market.now, 5)
    market.spoil(30, 1e-4)  # now a hundredth
    market.store()
    assert market.bar(30) == pytest.approx(sound, rel=1e-12)


def test_what_cannot_be_decided_says_why_and_nothing_is_done(market: Market) -> None:
    market.spoil(30, 100.0)
    market.store()
    (repair,) = market.repairs()
    with pytest.raises(NoSuchRepair, match="no repair bears the number 999"):
        decide.undo(market.warehouse, CALENDAR, [repair.repair_id, 999], market.now, 5)
    with pytest.raises(NoSuchRepair, match=r"AAA 2021-\d\d-\d\d, hundredfold\) is applied: nothing to apply"):
        decide.apply(market.warehouse, CALENDAR, [repair.repair_id], market.now, 5)
    assert [r.state for r in market.repairs()] == ["applied"]


def test_repair_can_be_off(market: Market) -> None:
    market.spoil(30, 100.0)
    report = market.store(repair_at=OFF)
    assert (report.repaired, report.suggested, len(market.repairs())) == (0, 0, 0)
    assert market.bar(30)[3] == market.sound(30)[3]  # type: ignore[index]


def test_a_bar_that_repeats_the_one_before_is_withheld_and_can_be_had_all_the_same(market: Market) -> None:
    for name in FIELDS[:4]:
        market.frame.loc[30, name] = market.frame.loc[29, "close"]
    market.frame.loc[30, "volume"] = 0
    report = market.store()
    assert (report.inserted, report.rejected, report.reasons["stale"]) == (59, 1, 1)
    assert market.bar(30) is None
    logged = market.warehouse.rows("SELECT session, reason_codes FROM validation_log")
    assert [(row.session, row.reason_codes) for row in logged] == [(DAYS[30].item(), ["stale"])]
    (repair,) = market.repairs()
    assert (repair.rule, repair.withheld, repair.state) == ("stale", True, "applied")
    decide.undo(market.warehouse, CALENDAR, [repair.repair_id], market.now, 5)
    assert market.bar(30)[:5] == market.sound(30)[:5]  # type: ignore[index]
    decide.apply(market.warehouse, CALENDAR, [repair.repair_id], market.now, 5)
    bar = market.bar(30)
    assert bar is not None
    assert bar[5] == 0, "withdrawn: used for nothing"


def test_a_stretch_in_other_shares_is_put_right_and_every_bar_of_it_noted(market: Market) -> None:
    sound = [market.sound(at) for at in range(20, 25)]
    market.frame["volume"] = market.frame["volume"].astype(float)
    for at in range(20, 25):
        market.spoil(at, 4.0)
        market.frame.loc[at, "volume"] /= 4
    report = market.store()
    assert report.repaired == 5
    for at in range(20, 25):
        assert market.bar(at) == pytest.approx(sound[at - 20], rel=1e-12)
    assert {(r.rule, r.evidence["factor"], r.evidence["bars"]) for r in market.repairs()} == {("split_unit", 4.0, 5)}


def test_bars_before_a_known_split_that_were_not_adjusted_for_it_are(market: Market) -> None:
    sound = [market.sound(at) for at in range(25)]
    market.frame["volume"] = market.frame["volume"].astype(float)
    for at in range(25):
        market.spoil(at, 2.0)
        market.frame.loc[at, "volume"] /= 2
    split = (Split("AAA", DAYS[25].item(), Fraction(2)),)
    report = market.store(splits=split, basis=Basis.SPLIT)
    assert report.repaired == 25
    assert [market.bar(at)[3] for at in range(25)] == pytest.approx([bar[3] for bar in sound])  # type: ignore[index]


def test_raw_bars_that_do_not_move_on_a_known_split_are_only_suggested(market: Market) -> None:
    report = market.store(splits=(Split("AAA", DAYS[25].item(), Fraction(2)),))
    assert report.repaired == 0
    assert report.suggested == 25, "the split may be what is wrong"


def text(at: int, **cells: str) -> UnreadableRow:
    row = {name: cells.get(name, "") for name in FIELDS}
    return UnreadableRow(
        "AAA", DAYS[at].item(), "wrong_type", f"bars.csv: row {at}", {"file": "bars.csv", "row": at, **row}
    )


def test_a_number_in_text_is_read_and_what_is_none_stays_refused_as_it_came(market: Market) -> None:
    sound, other = market.sound(30), market.sound(31)
    dressed = {name: f"${number}" for name, number in zip(FIELDS, sound, strict=False)}
    words = {name: str(number) for name, number in zip(FIELDS, other, strict=False)} | {"close": "1O1.5"}
    slipped = {name: f"{number * 1000:,.0f}" for name, number in zip(FIELDS, market.sound(45), strict=False)}
    report = market.store(
        unreadable=(text(30, **dressed), text(31, **words), text(45, **slipped)), without=(30, 31, 45)
    )
    assert (report.inserted, report.repaired, report.rejected) == (58, 1, 2)
    assert market.bar(30) == sound
    assert market.bar(31) is None
    assert market.bar(45) is None, "its neighbours say that it is a thousand times too high"
    (repair,) = market.repairs(state="applied")
    assert (repair.rule, repair.evidence["text"]["close"]) == ("junk", dressed["close"])
    logged = market.warehouse.rows("SELECT session, reason_codes, payload FROM validation_log ORDER BY session")
    assert [(row.session, row.reason_codes) for row in logged] == [
        (DAYS[31].item(), ["wrong_type"]),
        (DAYS[45].item(), ["wrong_type"]),
    ]
    assert logged[0].payload["close"] == "1O1.5"


def test_text_beside_a_sound_row_of_the_same_day_does_not_spoil_it(market: Market) -> None:
    cells = {name: f"${number}" for name, number in zip(FIELDS, market.sound(31), strict=False)}
    report = market.store(unreadable=(replace(text(30, **cells)),))
    assert (report.inserted, report.repaired, report.rejected) == (60, 0, 1)
    assert market.bar(30) == market.sound(30)


def test_no_stored_bar_breaks_a_rule_after_any_decision(market: Market) -> None:
    market.spoil(30, 100.0, "high")
    market.store()
    (repair,) = market.repairs()
    decide.undo(market.warehouse, CALENDAR, [repair.repair_id], market.now, 5)
    assert market.bar(30)[1] == market.sound(30)[1]  # type: ignore[index]
    market.spoil(31, 0.01, "high")  # below open and close: refused where it is not repaired
    market.store(31, 33)
    broken = next(r for r in market.repairs() if r.session == DAYS[31].item())
    decide.undo(market.warehouse, CALENDAR, [broken.repair_id], market.now, 5)
    bar = market.bar(31)
    assert bar is not None
    assert bar[5] == 0, "what came is no bar: that in its place is withdrawn"
    assert not audit_faults(market.warehouse)
