"""What a Prometheus makes of a scrape, and which labels the answer to a query over it bears.

Knows the functions and operators that the deployed queries use; another is an error here until it is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import promql_parser as promql
from prometheus_client import Metric

Labels = frozenset[str]
Stored = Mapping[str, Sequence[Mapping[str, str]]]

AGGREGATIONS = {"sum", "max", "min", "avg", "count"}
OF_ONE_SERIES = {"rate", "increase", "max_over_time"}
SETS = {"and", "or", "unless"}


def stored(families: Iterable[Metric], target: Mapping[str, str]) -> Stored:
    """Return metric -> the labels of each of its series as Prometheus stores them, those of the target among them.

    A label of ours that is the target's as well would be stored under another name (`exported_job`): that is refused.
    """
    found: dict[str, list[Mapping[str, str]]] = {"up": [target]}
    for family in families:
        for sample in family.samples:
            taken = sample.labels.keys() & target.keys()
            assert not taken, f"{sample.name}: Prometheus gives the label {', '.join(taken)} itself"
            found.setdefault(sample.name, []).append({**sample.labels, **target})
    for name, series in found.items():
        assert len({frozenset(labels) for labels in series}) == 1, f"{name}: not every series has the same labels"
    return found


def labels_of(query: Any, series: Stored) -> Labels | None:
    """Return the labels that a parsed query's answer bears, None of a plain number.

    Holds it to metrics, labels and values that are stored, and to sides of operators that find each other.
    """
    match query:
        case promql.NumberLiteral():
            return None
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return labels_of(query.expr, series)
        case promql.MatrixSelector():
            return _selected(query.vector_selector, series)
        case promql.VectorSelector():
            return _selected(query, series)
        case promql.AggregateExpr():
            return _aggregated(query, series)
        case promql.Call():
            return _called(query, series)
        case promql.BinaryExpr():
            return _combined(query, series)
    raise AssertionError(f"{query}: not known here")


def _selected(selector: Any, series: Stored) -> Labels:
    assert selector.name in series, f"{selector.name}: no such metric"
    found = list(series[selector.name])
    for matcher in selector.matchers.matchers:
        assert matcher.name in found[0], f"{selector.name}: no label {matcher.name}"
        found = [labels for labels in found if _holds(matcher, labels[matcher.name])]
        assert found, f"{selector.name}: no series with {matcher.name} {matcher.value!r}"
    return frozenset(found[0])


def _holds(matcher: Any, value: str) -> bool:
    literal = matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
    alike = value == matcher.value if literal else re.fullmatch(matcher.value, value) is not None
    return alike != (matcher.op in (promql.MatchOp.NotEqual, promql.MatchOp.NotRe))


def _aggregated(query: Any, series: Stored) -> Labels:
    assert str(query.op) in AGGREGATIONS, f"{query.op}: not known here"
    inner = labels_of(query.expr, series)
    assert inner is not None, f"{query}: a number has nothing to sum up"
    named = frozenset(query.modifier.labels) if query.modifier else frozenset()
    assert named <= inner, f"{query}: no label {', '.join(named - inner)}"
    without = query.modifier is not None and query.modifier.type == promql.AggModifierType.Without
    return inner - named if without else named


def _called(query: Any, series: Stored) -> Labels | None:
    arguments = [labels_of(argument, series) for argument in query.args]
    if query.func.name == "time":
        return None
    if query.func.name == "histogram_quantile":
        assert arguments[1] is not None, query
        assert "le" in arguments[1], f"{query}: the buckets' label le is gone"
        return arguments[1] - {"le"}
    assert query.func.name in OF_ONE_SERIES, f"{query.func.name}: not known here"
    return arguments[0]


def _combined(query: Any, series: Stored) -> Labels | None:
    left, right = labels_of(query.lhs, series), labels_of(query.rhs, series)
    if left is None or right is None:
        return right if left is None else left
    modifier = query.modifier
    assert not (modifier and modifier.group_labels), f"{query}: not known here"
    matching = modifier.matching if modifier else None
    named = frozenset(matching.labels) if matching else frozenset()
    assert named <= left & right, f"{query}: one side has no label {', '.join(named - (left & right))}"
    on = matching is not None and matching.type == promql.LabelModifierType.Include
    if not on:
        assert left - named == right - named, f"{query}: sides with {sorted(left)} and {sorted(right)} never meet"
    if str(query.op) in SETS:
        assert str(query.op) != "or" or left == right, f"{query}: either answer, with other labels"
        return left
    return named if on else left - named
