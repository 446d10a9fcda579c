"""What a person says of corporate actions: one that no vendor names, one that is not to count, one that is to again.

It goes before what vendors say and what prices show, with the person's name and reason kept beside it. Bars from the
ex-date on are judged anew at once, the history of their sessions is due.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.split_evidence import OPERATOR, RESTORED_BY_HAND, SAID_BY_HAND, WITHDRAWN_BY_HAND
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.errors import NoSuchAction
from quantmatrix_pipeline.ingest.dividends import settle_dividends
from quantmatrix_pipeline.ingest.reconsider import reconsider
from quantmatrix_pipeline.ingest.splits import SplitKeeper
from quantmatrix_pipeline.warehouse import action_list, universe
from quantmatrix_pipeline.warehouse.action_list import Action
from quantmatrix_pipeline.warehouse.engine import Warehouse


class ByHand:
    """What one person decides at one moment.

    Parameters
    ----------
    by, note
        Who says so and why; kept with the decision.
    now
        When.
    lock_wait_seconds
        How long a run that writes bars is waited for.
    repair_at
        The confidence from which a faulty bar is repaired, `mend.OFF` for none.
    thresholds
        From where on bars are flagged.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        calendar: TradingCalendar,
        *,
        by: str,
        note: str,
        now: datetime,
        lock_wait_seconds: float,
        repair_at: float = MIN_CONFIDENCE,
        thresholds: Thresholds = DEFAULT_THRESHOLDS,
    ) -> None:
        self._warehouse = warehouse
        self._calendar = calendar
        self._evidence = json.dumps({"by": by, "note": note})
        self._now = now
        self._lock_wait_seconds = lock_wait_seconds
        self._repair_at = repair_at
        self._thresholds = thresholds

    def add(self, instrument_id: int, action: Mapping[str, object]) -> Action:
        """Add an action: kind and ex_date with numerator and denominator, or with amount (text) and currency.

        Raises
        ------
        NoSuchAction
            The same was said by hand before.
        ChainBusy
            A run is writing bars and does not finish.
        """
        with self._warehouse.exclusive("bars_1d", self._lock_wait_seconds):
            before = {a.action_id for a in self._of(instrument_id)}
            keeper = self._keeper([instrument_id])
            keeper.add([{**action, "instrument_id": instrument_id, "vendor": OPERATOR}])
            new = [a for a in self._of(instrument_id) if a.action_id not in before]
            if not new:
                raise NoSuchAction("exactly this was added by hand before; `qm actions list` shows it")
            self._rule(keeper, new, True, SAID_BY_HAND)
            return self._of(instrument_id, new[0].action_id)[0]

    def withdraw(self, action_ids: Sequence[int]) -> list[Action]:
        """Let actions count no more, whoever names them and however often.

        Raises
        ------
        NoSuchAction
            A number that no action bears, or one that was withdrawn by hand already.
        ChainBusy
            A run is writing bars and does not finish.
        """
        return self._decide(action_ids, False, WITHDRAWN_BY_HAND)

    def restore(self, action_ids: Sequence[int]) -> list[Action]:
        """Take the withdrawing of actions back: vendors and prices decide on them again.

        Raises
        ------
        NoSuchAction
            A number that no action bears, or one that is not withdrawn by hand.
        ChainBusy
            A run is writing bars and does not finish.
        """
        return self._decide(action_ids, True, RESTORED_BY_HAND)

    def _decide(self, action_ids: Sequence[int], in_force: bool, reason: str) -> list[Action]:
        with self._warehouse.exclusive("bars_1d", self._lock_wait_seconds):
            found = {a.action_id: a for a in action_list.find(self._warehouse, action_ids=action_ids)}
            for number in action_ids:
                if number not in found:
                    raise NoSuchAction(f"no action bears the number {number}; `qm actions list` shows them")
                if (found[number].reason == WITHDRAWN_BY_HAND) != in_force:
                    state = "withdrawn by hand already" if not in_force else "not withdrawn by hand"
                    raise NoSuchAction(f"action {number} is {state}: nothing to do")
            chosen = list(found.values())
            self._rule(self._keeper([a.instrument_id for a in chosen]), chosen, in_force, reason)
            return action_list.find(self._warehouse, action_ids=action_ids)

    def _rule(self, keeper: SplitKeeper, chosen: Sequence[Action], in_force: bool, reason: str) -> None:
        ids = sorted({a.instrument_id for a in chosen})
        verdict = {"in_force": in_force, "reason": reason, "rivals": [], "evidence": self._evidence}
        keeper.rule([{"action_id": a.action_id, **verdict} for a in chosen], ids)
        keeper.settle(also=ids)
        reconsider(
            self._warehouse, self._calendar, keeper.changed, self._now, repair_at=self._repair_at,
            thresholds=self._thresholds,
        )  # fmt: skip
        settle_dividends(self._warehouse, self._now)

    def _keeper(self, instrument_ids: Sequence[int]) -> SplitKeeper:
        named = {t.symbol: t for t in universe.named(self._warehouse, sorted(set(instrument_ids)))}
        return SplitKeeper(self._warehouse, self._calendar, named, self._now, self._thresholds)

    def _of(self, instrument_id: int, action_id: int | None = None) -> list[Action]:
        ids = None if action_id is None else [action_id]
        return [a for a in action_list.find(self._warehouse, action_ids=ids) if a.instrument_id == instrument_id]
