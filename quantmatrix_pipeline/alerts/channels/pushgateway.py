"""Prometheus' Pushgateway: how long each run took, under the name that people have dashboards for."""

from __future__ import annotations

from urllib.error import HTTPError

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from quantmatrix_pipeline.alerts.channels.outcome import Outcome
from quantmatrix_pipeline.alerts.events import SLOW, SUCCESS, Run
from quantmatrix_pipeline.alerts.message import Message, Tone

PUSHGATEWAY = "pushgateway"
METRIC = "quantmatrix_task_duration_seconds"
JOB = "quantmatrix_pipeline"


def duration(run: Run) -> Message:
    """Return what is pushed about an ended run: one that went well but took longer than expected is slow."""
    event = SLOW if run.outcome == SUCCESS and run.is_slow else run.outcome
    facts = {"task": run.job, "event": event, "queue": run.pool, "seconds": repr(run.seconds)}
    return Message("duration", Tone.INFO, f"{run.job} took {run.seconds:.1f} s", facts)


class Pushgateway:
    """Puts each run's duration, in a group of its own labels: in a common one each run would replace the last."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    def send(self, message: Message, message_id: int, picture: bytes | None) -> Outcome:
        registry = CollectorRegistry()
        gauge = Gauge(METRIC, "How long the last run of a job took, by how it ended.", registry=registry)
        gauge.set(float(message.facts["seconds"]))
        labels = {name: message.facts[name] for name in ("task", "event", "queue")}
        try:
            push_to_gateway(self._url, job=JOB, registry=registry, grouping_key=labels, timeout=self._timeout)
        except HTTPError as error:
            return Outcome(False, f"answered {error.code}", never=error.code == 400)
        except OSError as error:
            return Outcome(False, f"no answer: {type(error).__name__}")
        return Outcome(True)
