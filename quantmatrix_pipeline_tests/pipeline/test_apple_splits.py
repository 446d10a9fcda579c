"""Apple's real years of a split, 2014 and 2020, as two vendors tell them: settled by the prices, factors as published.

answers/apple_factors.csv holds, relative to each year's last session, what a published file of factors says of days on
both sides of every action; that file rounds to seven digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.mend import OFF
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.ingest.splits import SplitKeeper
from quantmatrix_pipeline.providers.answers import DailyAnswer, Dividend, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.reading import one_symbol
from quantmatrix_pipeline.warehouse import actions, instruments, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR
from quantmatrix_pipeline_tests.shared_data import shared_data

ANSWERS = Path(__file__).parents[1] / "answers" / "apple_factors.csv"
NOW = datetime(2021, 4, 1, tzinfo=UTC)
PAID = {
    2014: {"2014-02-06": 3.05, "2014-05-08": 3.29, "2014-08-07": 0.47, "2014-11-06": 0.47},
    2020: {"2020-02-07": 0.77, "2020-05-08": 0.82, "2020-08-07": 0.82, "2020-11-06": 0.205},
}
SPLITS = {2014: ("2014-06-09", 7), 2020: ("2020-08-31", 4)}
# What a second vendor says: another ratio in one year, another day in the other.
OTHERWISE = {2014: ("2014-06-09", 2), 2020: ("2020-09-02", 4)}


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


class Told:
    """Stores what vendors say of one year of Apple, as an ingestion does."""

    def __init__(self, warehouse: Warehouse, year: int) -> None:
        raw = pd.read_parquet(shared_data("raw_and_actions", "raw_unadjusted.parquet")).query("symbol == 'AAPL'")
        self.bars = raw[pd.to_datetime(raw["date"]).dt.year == year]
        self.warehouse = warehouse
        known = instruments.ensure(warehouse, ["AAPL"])["AAPL"]
        universe.track(warehouse, CALENDAR.newest_closed(NOW, timedelta(0)), {known: ["watch_list"]})
        self.instruments = {t.symbol: t for t in universe.tracked(warehouse)}
        self.session = pd.to_datetime(self.bars["date"]).to_numpy().astype("datetime64[D]")

    def say(
        self, vendor: str, splits: dict[str, int], paid: dict[str, float], *, at: datetime, with_bars: bool = False
    ) -> None:
        columns = [self.bars[name].to_numpy(float) for name in ("open", "high", "low", "close", "volume")]
        keep = len(self.session) if with_bars else 0
        answer = DailyAnswer(
            vendor,
            Basis.RAW,
            None,
            one_symbol("AAPL", self.session[:keep], [column[:keep] for column in columns]),
            tuple(Split("AAPL", date.fromisoformat(day), Fraction(ratio)) for day, ratio in splits.items()),
            tuple(Dividend("AAPL", date.fromisoformat(day), amount) for day, amount in paid.items()),
            splits_told={"AAPL": (date(2000, 1, 1), date(2030, 1, 1))},
        )
        report = IngestReport(vendor, date(2000, 1, 1), date(2030, 1, 1))
        request = {"AAPL": BarRequest("AAPL", self.session)}
        # Without repairs, which would put the bars before a vendor's wrong day into the other shares.
        store_answer(self.warehouse, CALENDAR, self.instruments, request, answer, report, at, repair_at=OFF)
        keeper = SplitKeeper(self.warehouse, CALENDAR, self.instruments, at)
        keeper.take_back(answer)
        keeper.settle()

    def in_force(self) -> list[tuple[str, int]]:
        with self.warehouse.arrow() as transaction:
            return [(str(r["ex_date"]), r["numerator"]) for r in actions.read_splits(transaction).to_pylist()]

    def series(self, adjust: str) -> pd.DataFrame:
        rows = self.warehouse.rows("SELECT * FROM adjusted_bars('AAPL', :adjust)", adjust=adjust)
        return pd.DataFrame([dict(row._mapping) for row in rows]).set_index("session")


@pytest.mark.parametrize("year", [2014, 2020])
@pytest.mark.parametrize("last", ["right", "wrong"])
def test_of_two_vendors_the_one_that_explains_the_prices_counts_and_factors_are_as_published(
    warehouse: Warehouse, year: int, last: str
) -> None:
    told = Told(warehouse, year)
    right, wrong = dict([SPLITS[year]]), dict([OTHERWISE[year]])
    orders = [("right", right, PAID[year]), ("wrong", wrong, {})]
    orders = orders if last == "wrong" else orders[::-1]
    for number, (vendor, splits, paid) in enumerate(orders):
        told.say(vendor, splits, paid, at=NOW + timedelta(hours=number), with_bars=number == 0)
    assert told.in_force() == [SPLITS[year]]
    conflicts = warehouse.rows(
        "SELECT vendor, in_force, reason, evidence, rivals FROM action_conflicts ORDER BY vendor"
    )
    assert [(c.vendor, c.in_force, c.reason) for c in conflicts if c.vendor != "prices"] == [
        ("right", True, "explains_prices"),
        ("wrong", False, "another_explains_prices"),
    ]
    assert abs(conflicts[-2].evidence["left_over"]) < 0.04, json.dumps(conflicts[-2].evidence)
    assert abs(conflicts[-1].evidence["left_over"]) > 0.6
    gaps = "SELECT count(*) FROM bars WHERE gap_detected AND session BETWEEN :first AND :last"
    assert warehouse.scalar(gaps, first=date(year, 5, 20), last=date(year, 9, 20)) == 0

    split, total = told.series("split"), told.series("total_return")
    answers = pd.read_csv(ANSWERS, parse_dates=["session"])
    answers = answers[answers["session"].dt.year == year]
    assert len(answers) == 8
    for row in answers.itertuples():
        day = row.session.date()
        assert split["factor"][day] == pytest.approx(row.split, rel=1e-8)
        assert total["factor"][day] / split["factor"][day] == pytest.approx(row.dividends, rel=5e-6)


def test_a_vendor_that_takes_its_wrong_split_back_leaves_the_other_undisputed(warehouse: Warehouse) -> None:
    told = Told(warehouse, 2014)
    told.say("right", dict([SPLITS[2014]]), {}, at=NOW, with_bars=True)
    told.say("wrong", dict([OTHERWISE[2014]]), {}, at=NOW + timedelta(hours=1))
    assert warehouse.scalar("SELECT count(*) FROM action_conflicts") == 2
    told.say("wrong", {}, {}, at=NOW + timedelta(hours=2))
    assert warehouse.scalar("SELECT count(*) FROM action_conflicts") == 0
    assert warehouse.scalar("SELECT count(*) FROM corporate_actions") == 3, "the withdrawal is a row beside the others"
    assert told.in_force() == [SPLITS[2014]]
    then = NOW + timedelta(hours=1, minutes=30)
    known = warehouse.rows("SELECT vendor, withdrawn FROM action_claims_known_at(:then) ORDER BY vendor", then=then)
    assert [tuple(row) for row in known] == [("right", False), ("wrong", False)], "what was known then can be asked"
