"""Health scores and orders of 50 histories worked out slowly, in exact fractions, from the definition alone.

Run as a script, it writes the answer file. A history is what happened to some vendors, in the policy's order: calls in
stretches [how many, milliseconds of the first, more for each following, outcome], milliseconds null where nothing came
back at all, and bars by session [session, received, expected].
"""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).resolve().parents[3] / "answers" / "provider_health.json"
VENDORS = ["fmp", "polygon", "twelve_data", "finnhub", "yfinance"]
LIMITS = ["rate_limited", "quota_exhausted"]
HARMLESS = ["ok", "unsupported", "unknown_symbol"]
FAULTS = ["unavailable", "malformed", "stale", "bad_key"]
BREAKER = {"closed": Fraction(1), "half_open": Fraction(1, 2), "open": Fraction(0)}

Stretch = list[Any]
Vendor = dict[str, Any]


def vendor(calls: list[Stretch] | None = None, bars: list[list[Any]] | None = None, circuit: str = "closed") -> Vendor:
    return {"circuit": circuit, "calls": calls or [], "bars": bars or []}


def session(number: int) -> str:
    return (date(2026, 1, 1) + timedelta(days=number)).isoformat()


FINE = vendor([[10, 100, 0, "ok"]])
HALF = [[session(0), 1, 2]]  # completeness 1/2
SCORE_80 = vendor([[100, 4050, 0, "ok"]])  # latency 0.2: 0.45 + 0.05 + 0.20 + 0.10
SCORE_JUST_BELOW_80 = vendor([[100, 4050.25, 0, "ok"]])
# Half open: 0.225 + 0.25 * 0.3 + 0.20 + 0.10 * 0.5 is 0.55 exactly.
SCORE_55 = vendor([[1, 3575, 0, "ok"]], HALF, "half_open")
SCORE_JUST_BELOW_55 = vendor([[1, 3575.25, 0, "ok"]], HALF, "half_open")


def edges() -> dict[str, list[Vendor]]:
    dead = vendor([[30, 15000, 0, "unavailable"]], [[session(0), 0, 10]], "closed")
    return {
        "exactly 250 ms is best": [vendor([[100, 250, 0, "ok"]])],
        "a quarter of a millisecond more is not": [vendor([[100, 250.25, 0, "ok"]])],
        "exactly 5 s is worst": [vendor([[100, 5000, 0, "ok"]])],
        "more than 5 s is no worse": [vendor([[100, 15000, 0, "unavailable"]])],
        "no calls": [vendor()],
        "all 429": [vendor([[150, 9000, 0, "rate_limited"], [3, 9000, 0, "quota_exhausted"]])],
        "all unknown symbols and plans": [vendor([[20, 100, 0, "unknown_symbol"], [20, 100, 0, "unsupported"]])],
        "no connection has no latency": [vendor([[3, None, 0, "unavailable"]])],
        "one call": [vendor([[1, 1000, 0, "ok"]])],
        "two calls, the percentile between them": [vendor([[1, 4000, 0, "ok"], [1, 300, 0, "ok"]])],
        "the call before the last hundred is forgotten": [vendor([[50, 9000, 0, "ok"], [100, 100, 5, "ok"]])],
        "of 21 sessions the oldest is forgotten": [vendor(bars=[[session(n), int(n > 0), 1] for n in range(21)])],
        "one session in several parts": [vendor(bars=[[session(1), 5, 9], [session(0), 3, 4], [session(1), 2, 2]])],
        "nothing expected": [vendor(bars=[[session(0), 0, 0]])],
        "closed, half open, open": [{**FINE, "circuit": state} for state in BREAKER],
        "half open behind one without fault": [vendor(circuit="half_open"), FINE],
        "half open ahead of a slower one": [vendor(circuit="half_open"), vendor([[100, 2000, 0, "ok"]])],
        "exactly 0.55 is not passed over": [SCORE_55, vendor([[100, 4525, 0, "ok"]], HALF, "half_open")],
        "below 0.55 is passed over within the margin": [SCORE_JUST_BELOW_55, SCORE_55],
        "exactly the margin does not overtake": [SCORE_80, FINE],
        "more than the margin overtakes": [SCORE_JUST_BELOW_80, FINE],
        "the one between holds the last back": [SCORE_JUST_BELOW_80, vendor([[100, 3100, 0, "ok"]]), FINE],
        "the last overtakes two": [SCORE_JUST_BELOW_80, SCORE_JUST_BELOW_80, FINE],
        "all below 0.55, in the policy's order": [dead, vendor([[35, 15000, 0, "malformed"]], HALF, "half_open"), dead],
        "nobody can serve": [vendor(circuit="open"), vendor(circuit="open")],
    }  # fmt: skip


def drawn(numbers: random.Random) -> list[Vendor]:
    found = []
    for _ in range(numbers.randint(2, len(VENDORS))):
        calls: list[Stretch] = []
        for _ in range(numbers.randint(0, 5)):
            outcome = numbers.choice(["ok"] * 6 + HARMLESS + LIMITS + FAULTS)
            first = None if outcome == "unavailable" and numbers.random() < 0.3 else numbers.randint(20, 7000)
            calls.append([numbers.randint(1, 60), first, numbers.choice([0, 0.25, 7.5, 40]) if first else 0, outcome])
        bars = []
        for number in sorted(numbers.sample(range(40), numbers.randint(0, 25))):
            expected = numbers.randint(0, 500)
            bars.append([session(number), numbers.randint(expected // 3, expected), expected])
        found.append(vendor(calls, bars, numbers.choice(["closed"] * 5 + ["half_open", "half_open", "open"])))
    return found


def parts(told: Vendor) -> dict[str, Fraction]:
    """Return the weighted parts of one vendor's score."""
    latencies: list[Fraction] = []
    errors: list[int] = []
    for count, first, step, outcome in told["calls"]:
        for number in range(count):
            if outcome in LIMITS:
                continue
            errors.append(1 if outcome in FAULTS else 0)
            if first is not None:
                latencies.append(Fraction(str(first)) + number * Fraction(str(step)))
    latency = Fraction(1)
    if latencies:
        last = sorted(latencies[-100:])
        rank = Fraction(95, 100) * (len(last) - 1)
        whole = rank.numerator // rank.denominator
        p95 = last[whole] if rank == whole else last[whole] * (whole + 1 - rank) + last[whole + 1] * (rank - whole)
        latency = min(Fraction(1), max(Fraction(0), (5000 - p95) / (5000 - 250)))
    # The average written out: an error n calls before the last one still weighs 0.1 * 0.9^n.
    average = sum((Fraction(1, 10) * Fraction(9, 10) ** n for n, e in enumerate(reversed(errors)) if e), Fraction(0))
    sessions = sorted({day for day, _, _ in told["bars"]})[-20:]
    received = sum(came for day, came, _ in told["bars"] if day in sessions)
    expected = sum(due for day, _, due in told["bars"] if day in sessions)
    return {
        "breaker": Fraction(45, 100) * BREAKER[told["circuit"]],
        "latency": Fraction(25, 100) * latency,
        "errors": Fraction(20, 100) * (1 - average),
        "completeness": Fraction(10, 100) * (Fraction(received, expected) if expected else 1),
    }


def order(scores: dict[str, Fraction]) -> list[str]:
    """Return the vendors that can serve, given in the policy's order, in the order in which they are asked."""
    whole: list[str] = []
    for group in (
        [name for name, score in scores.items() if score >= Fraction(55, 100)],
        [name for name, score in scores.items() if score < Fraction(55, 100)],
    ):
        line: list[str] = []
        for name in group:
            passed = 0
            while passed < len(line) and scores[name] > scores[line[-1 - passed]] + Fraction(20, 100):
                passed += 1
            line = [*line[: len(line) - passed], name, *line[len(line) - passed :]]
        whole += line
    return whole


def cases() -> list[dict[str, Any]]:
    numbers = random.Random(20260131)
    told = edges()
    told |= {f"drawn {n}": drawn(numbers) for n in range(1, 51 - len(told))}
    worked_out = []
    for name, vendors in told.items():
        scored = {v: parts(t) for v, t in zip(VENDORS, vendors, strict=False)}
        worked_out.append(
            {
                "name": name,
                "vendors": [
                    {
                        "vendor": v,
                        **told_of,
                        "parts": {part: float(value) for part, value in scored[v].items()},
                        "score": float(sum(scored[v].values())),
                    }
                    for v, told_of in zip(VENDORS, vendors, strict=False)
                ],
                "order": order(
                    {
                        v: sum(scored[v].values(), Fraction(0))
                        for v, told_of in zip(VENDORS, vendors, strict=False)
                        if told_of["circuit"] != "open"
                    }
                ),
            }
        )
    return worked_out


def text() -> str:
    """Return the answer file: a vendor a line."""
    blocks = []
    for case in cases():
        lines = ",\n   ".join(json.dumps(v) for v in case["vendors"])
        name, asked = json.dumps(case["name"]), json.dumps(case["order"])
        blocks.append(f' {{"name": {name},\n  "vendors": [\n   {lines}],\n  "order": {asked}}}')
    return "[\n" + ",\n".join(blocks) + "\n]\n"


if __name__ == "__main__":
    ANSWERS.write_text(text())
