"""TD Sequential read off a chart: one bar, one rule at a time, the two sides written out apart."""

from __future__ import annotations

from quantmatrix_pipeline_tests.unit.indicators.panels import Floats

COLUMNS = (
    *("td_buy_setup", "td_buy_complete", "td_buy_countdown", "td_perfect_buy"),
    *("td_sell_setup", "td_sell_complete", "td_sell_countdown", "td_perfect_sell"),
)
Row = dict[str, int | str]


def below(a: float, b: float) -> bool:
    return a < b and not same(a, b)


def above(a: float, b: float) -> bool:
    return a > b and not same(a, b)


def same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-12 * abs(b)


def true_high(bar: int, high: Floats, close: Floats) -> float:
    return high[bar] if bar == 0 else max(high[bar], close[bar - 1])


def true_low(bar: int, low: Floats, close: Floats) -> float:
    return low[bar] if bar == 0 else min(low[bar], close[bar - 1])


def buy_run(bar: int, close: Floats) -> int:
    """How many bars in a row closed below the close four bars before, back to the price flip; 0 without one."""
    run = 0
    while bar - run >= 4 and below(close[bar - run], close[bar - run - 4]):
        run += 1
    flip = bar - run >= 4  # the bar before the first is there to be compared, and was not below
    return run if flip else 0


def sell_run(bar: int, close: Floats) -> int:
    run = 0
    while bar - run >= 4 and above(close[bar - run], close[bar - run - 4]):
        run += 1
    flip = bar - run >= 4
    return run if flip else 0


def buy_perfect(bar: int, run: int, low: Floats) -> bool:
    if run < 9:
        return False
    first = bar - run + 1
    six, seven = low[first + 5], low[first + 6]
    return any(below(low[k], six) and below(low[k], seven) for k in range(first + 7, bar + 1))


def sell_perfect(bar: int, run: int, high: Floats) -> bool:
    if run < 9:
        return False
    first = bar - run + 1
    six, seven = high[first + 5], high[first + 6]
    return any(above(high[k], six) and above(high[k], seven) for k in range(first + 7, bar + 1))


def td_sequential(high: Floats, low: Floats, close: Floats) -> list[Row]:
    """One row per bar from the sixth on: the eight counts, and which rules moved them."""
    rows: list[Row] = []
    buying: list[int] | None = None  # the countdown's bars so far; None while none is under way
    selling: list[int] | None = None
    resistance = support = 0.0
    for bar in range(len(close)):
        rules = []
        up, down = sell_run(bar, close), buy_run(bar, close)
        if down == 1:
            rules.append("bearish flip")
        if up == 1:
            rules.append("bullish flip")
        buy_shown = sell_shown = 0

        if buying is not None and up == 9:
            buying = None
            rules.append("buy countdown cancelled by sell setup")
        if buying is not None and above(true_low(bar, low, close), resistance):
            buying = None
            rules.append("buy countdown cancelled by TDST")
        if selling is not None and down == 9:
            selling = None
            rules.append("sell countdown cancelled by buy setup")
        if selling is not None and below(true_high(bar, high, close), support):
            selling = None
            rules.append("sell countdown cancelled by TDST")

        if down == 9:
            rules.append("buy setup complete")
            if buying is not None:
                rules.append("buy countdown recycled")
            buying = []
            resistance = max(true_high(k, high, close) for k in range(bar - 8, bar + 1))
        if up == 9:
            rules.append("sell setup complete")
            if selling is not None:
                rules.append("sell countdown recycled")
            selling = []
            support = min(true_low(k, low, close) for k in range(bar - 8, bar + 1))

        if buying is not None:
            reference = low[bar - 2]
            if below(close[bar], reference) or same(close[bar], reference):
                eighth = close[buying[7]] if len(buying) == 12 else None
                if eighth is not None and above(low[bar], eighth):
                    rules.append("buy 13 deferred")
                else:
                    buying.append(bar)
                    rules.append(f"buy countdown {len(buying)}")
            buy_shown = len(buying)
            if buy_shown == 13:
                buying = None
        if selling is not None:
            reference = high[bar - 2]
            if above(close[bar], reference) or same(close[bar], reference):
                eighth = close[selling[7]] if len(selling) == 12 else None
                if eighth is not None and below(high[bar], eighth):
                    rules.append("sell 13 deferred")
                else:
                    selling.append(bar)
                    rules.append(f"sell countdown {len(selling)}")
            sell_shown = len(selling)
            if sell_shown == 13:
                selling = None

        buy_is_perfect, sell_is_perfect = buy_perfect(bar, down, low), sell_perfect(bar, up, high)
        if buy_is_perfect and not (rows and rows[-1]["td_perfect_buy"]):
            rules.append("buy setup perfected")
        if sell_is_perfect and not (rows and rows[-1]["td_perfect_sell"]):
            rules.append("sell setup perfected")
        rows.append(
            {
                "td_buy_setup": min(down, 9),
                "td_buy_complete": int(down == 9),
                "td_buy_countdown": buy_shown,
                "td_perfect_buy": int(buy_is_perfect),
                "td_sell_setup": min(up, 9),
                "td_sell_complete": int(up == 9),
                "td_sell_countdown": sell_shown,
                "td_perfect_sell": int(sell_is_perfect),
                "rule": "; ".join(rules),
            }
        )
    return rows[5:]
