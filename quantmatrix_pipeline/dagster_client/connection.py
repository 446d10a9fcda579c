"""One question to Dagster's web server: asked over HTTP, its answer or the error that it carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import httpx

from quantmatrix_pipeline.errors import DagsterNotRunning, DagsterRefused, DagsterUnreachable
from quantmatrix_pipeline.settings import Settings

LOCATION = "quantmatrix_pipeline"  # as in workspace.yaml
REPOSITORY = "__repository__"  # what Dagster calls the only one of a location
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 30.0


class Dagster:
    """The web server of a running Dagster.

    Parameters
    ----------
    address
        Such as `http://127.0.0.1:3000`, without a slash at its end.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    def of(cls, settings: Settings) -> Dagster:
        """Return the one that the settings name."""
        return cls(settings.dagster_address)

    def page(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.address}/runs/{run_id}"

    def ask(
        self,
        question: str,
        variables: Mapping[str, Any],
        expected: Collection[str],
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        """Ask a question of one field, and return what the field holds.

        Parameters
        ----------
        question
            A GraphQL document whose only field asks for `__typename`, and for `message` of an `Error`.
        variables
            The document's.
        expected
            The types of the field that are answers; any other is a refusal.
        seconds
            How long the answer may take.

        Raises
        ------
        DagsterNotRunning
            Nobody listens there, or somebody who is no Dagster.
        DagsterUnreachable
            Whoever listens did not answer.
        DagsterRefused
            It answered with an error, which is told.
        """
        try:
            # A neighbour, whatever proxy the environment names for the world outside.
            response = httpx.post(
                f"{self.address}/graphql",
                json={"query": question, "variables": dict(variables)},
                timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
                trust_env=False,
            )
        except httpx.ConnectError as error:
            raise DagsterNotRunning(
                f"no Dagster UI runs at {self.address}; `qm up` starts one, QM_DAGSTER_URL names one elsewhere"
            ) from error
        except httpx.HTTPError as error:
            raise DagsterUnreachable(
                f"whoever listens at {self.address} (QM_UI_PORT, QM_DAGSTER_URL) did not answer:"
                f" {type(error).__name__} within {seconds:g} s; its log is ui.log in QM_DATA_DIR/logs"
            ) from error
        try:
            body = response.json()
            wrong, data = body.get("errors"), body.get("data") or {}
        except (ValueError, AttributeError):
            raise self._other() from None
        if wrong:  # the question itself was not understood
            raise DagsterRefused(f"Dagster at {self.address}: {_message(wrong[0])}", kind="GraphQLError")
        for found in data.values():
            if isinstance(found, dict) and "__typename" in found:
                if found["__typename"] in expected:
                    return found
                raise refusal(self.address, found)
        raise self._other()

    def _other(self) -> DagsterNotRunning:
        return DagsterNotRunning(
            f"what answers at {self.address} is no Dagster UI; QM_UI_PORT or QM_DAGSTER_URL says where"
        )


def refusal(address: str, found: Mapping[str, Any]) -> DagsterRefused:
    """Return the error that an answer carries."""
    kind = str(found.get("__typename"))
    # Dagster wraps what our code raised; the first cause is what it raised.
    said = [*(found.get("errors") or ()), *(found.get("causes") or ()), found][0]
    return DagsterRefused(f"Dagster at {address} refused: {kind}: {_message(said)}", kind=kind)


def _message(said: Mapping[str, Any]) -> str:
    return " ".join(str(said.get("message") or "no reason was given").split())
