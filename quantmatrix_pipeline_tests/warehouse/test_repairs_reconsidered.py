"""A split that a vendor dates wrongly, and bars put into other shares for it: who answers first does not matter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis
from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.reconsider import reconsider
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.ingest.splits import SplitKeeper
from quantmatrix_pipeline.providers.answers import DailyAnswer, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import instruments, repairs
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database
from quantmatrix_pipeline_tests.market_nights import CALENDAR
from quantmatrix_pipeline_tests.pipeline.running import walk

DAYS = CALENDAR.window(datetime(2021, 12, 31).date(), 60)  # noqa: DTZ001
MOVED, NAMED = 40, 44  # the price moved four sessions before the day that one vendor names
NIGHT = datetime(2021, 12, 31, 22, tzinfo=UTC)


class Story:
    """One instrument whose price fell to a quarter on one day, and what vendors say of it, an hour apart."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        ids = instruments.ensure(warehouse, ["AAA"])
        self.stock = {"AAA": Tracked(ids["AAA"], "AAA", "stock", "XNYS", DAYS[0].item(), ("watch_list",), None)}
        frame = walk(["AAA"], DAYS.tolist())
        for name in FIELDS:
            column = frame[name].to_numpy(float).copy()
            column[MOVED:] *= 4 if name == "volume" else 0.25
            frame[name] = column
        self.frame = frame
        self.now = NIGHT

    def say(self, vendor: str, *, bars: bool = False, split_on: int | None = None) -> None:
        frame = self.frame if bars else self.frame[:0]
        columns = {name: frame[name].to_numpy(float) for name in FIELDS}
        batch = BarBatch(("AAA",), np.zeros(len(frame), np.int32), DAYS[: len(frame)], **columns)
        splits = () if split_on is None else (Split("AAA", DAYS[split_on].item(), Fraction(4)),)
        answer = DailyAnswer(vendor, Basis.RAW, None, batch, splits=splits)
        self.now += timedelta(hours=1)
        report = IngestReport(vendor, DAYS[0].item(), DAYS[-1].item())
        asked = {"AAA": BarRequest("AAA", DAYS)}
        store_answer(self.warehouse, CALENDAR, self.stock, asked, answer, report, self.now)
        keeper = SplitKeeper(self.warehouse, CALENDAR, self.stock, self.now)
        keeper.settle()
        reconsider(self.warehouse, CALENDAR, keeper.changed, self.now, repair_at=MIN_CONFIDENCE)

    def state(self) -> tuple[object, ...]:
        bars = self.warehouse.scalar(
            "SELECT md5(string_agg((session, open, close, volume, quality_score, gap_detected)::text, ''"
            " ORDER BY session)) FROM price_data"
        )
        splits = self.warehouse.rows("SELECT ex_date, numerator FROM splits_in_force ORDER BY 1")
        gaps = self.warehouse.scalar("SELECT count(*) FROM price_data WHERE gap_detected")
        return bars, [tuple(split) for split in splits], gaps


@pytest.fixture
def stories(server: EmbeddedServer):  # type: ignore[no-untyped-def]
    """Return a story in a database of its own, as often as it is called."""
    opened = []

    def begin() -> Story:
        database = _database(server, TEMPLATE)
        story = Story(Warehouse(next(database)))
        opened.append((story, database))
        return story

    yield begin
    for story, database in opened:
        story.warehouse.close()
        next(database, None)


def test_bars_put_into_other_shares_for_a_split_on_the_wrong_day_come_back_when_it_is_dated_rightly(stories) -> None:  # type: ignore[no-untyped-def]
    told = {
        "bars": {"bars": True},
        "wrong": {"split_on": NAMED},
        "right": {"split_on": MOVED},
    }
    ends = []
    for order in (
        ("wrong", "bars", "right"),
        ("wrong", "right", "bars"),
        ("right", "wrong", "bars"),
        ("bars", "right", "wrong"),
    ):
        story = stories()
        for vendor in order:
            story.say(vendor, **told[vendor])
        ends.append(story.state())
    assert ends == [ends[0]] * len(ends)
    assert ends[0][1:] == ([(DAYS[MOVED].item(), 4)], 0)


def test_a_wrong_day_alone_leaves_the_bars_as_they_came_whether_named_before_or_after_them(stories) -> None:  # type: ignore[no-untyped-def]
    together, after = stories(), stories()
    together.say("acme", bars=True, split_on=NAMED)
    after.say("acme", bars=True)
    after.say("acme", split_on=NAMED)
    assert together.state() == after.state()
    assert together.state()[1:] == ([(DAYS[MOVED].item(), 4)], 0)
    mended = repairs.find(together.warehouse)
    assert {(r.rule, r.state, r.by_hand) for r in mended} == {("split_unit", "undone", False)}
    assert [r.session for r in mended][::-1] == DAYS[MOVED:NAMED].tolist()
    closes = together.warehouse.rows("SELECT close FROM price_data ORDER BY session")
    assert [row.close for row in closes] == together.frame["close"].tolist()


def test_what_a_person_decided_on_a_repair_stays(stories) -> None:  # type: ignore[no-untyped-def]
    story = stories()
    story.say("acme", bars=True, split_on=NAMED)
    numbers = [r.repair_id for r in repairs.find(story.warehouse)]
    repairs.decide(story.warehouse, numbers, "apply", story.now)
    before = story.warehouse.scalar("SELECT count(*) FROM bar_repair_decisions")
    changed = {story.stock["AAA"].instrument_id: {DAYS[NAMED].item()}}
    assert reconsider(story.warehouse, CALENDAR, changed, story.now, repair_at=MIN_CONFIDENCE) == 0
    assert story.warehouse.scalar("SELECT count(*) FROM bar_repair_decisions") == before
