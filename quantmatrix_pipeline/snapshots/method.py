"""By which settings rows are computed, and what a panel is measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.stage_rules import DEFAULT_RULES, StageRules
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class Method:
    """The settings that rows depend on.

    Attributes
    ----------
    benchmark
        The symbol that relative strength is measured against.
    stage_rules
        The thresholds of the weekly stage.
    """

    benchmark: str = "SPY"
    stage_rules: StageRules = DEFAULT_RULES

    @classmethod
    def of(cls, settings: Settings) -> Method:
        """Return what the settings say."""
        rules = StageRules(settings.stage_flat_percent, settings.stage_near_percent, settings.stage_far_percent)
        return cls(settings.benchmark or DEFAULT_METHOD.benchmark, rules)

    def applied_to(self, warehouse: Warehouse, panel: Panel) -> Panel:
        """Return the panel of all instruments with what it is to be measured by and against.

        Prices that include dividends and prices that don't are never divided by each other. Where the benchmark has no
        bars, or not on the basis of most others, the equal-weight mean of the instruments on that basis takes its
        place.
        """
        included = np.zeros(panel.width, np.bool_) if panel.dividends_in is None else panel.dividends_in
        basis = bool(2 * included.sum() > panel.width)
        own = panel.instrument_ids == instruments.ids(warehouse, [self.benchmark]).get(self.benchmark, -1)
        if (own & (included == basis)).any():
            benchmark = Benchmark.of_instrument(panel, int(own.argmax()))
        else:
            benchmark = Benchmark.of_universe(panel, ~own & (included == basis), dividends_in=basis)
        return replace(
            panel, stage_rules=self.stage_rules, benchmark=benchmark, sector=_sectors(warehouse, panel.instrument_ids)
        )


def _sectors(warehouse: Warehouse, instrument_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    known = instruments.sectors(warehouse)
    number = {name: place for place, name in enumerate(sorted(set(known.values())))}
    return np.array([number.get(known.get(int(i), ""), -1) for i in instrument_ids], np.int32)


DEFAULT_METHOD = Method()
