"""The jobs `backup` and `verify_backup`: what a person sees of them, and that only one of them proves anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.job_names import BACKUP, VERIFY_BACKUP
from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer
from quantmatrix_pipeline_tests.pipeline.running import overlong


def run(job: str, instance: DagsterInstance) -> ExecuteInProcessResult:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    definition = build_defs().resolve_job_def(job)
    result = definition.execute_in_process(instance=instance, run_config=quiet, raise_on_error=False)
    assert overlong(result.all_events) == {}
    return result


def test_a_backup_is_materialized_and_then_proved_and_a_spoilt_one_fails_the_check(
    database_url: str,
    server: EmbeddedServer,
    instance: DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whose owner may make scratch databases.
    monkeypatch.setenv("QM_DATABASE_URL", server.url(database_url.rsplit("/", 1)[1], SUPERUSER))
    monkeypatch.setenv("QM_BACKUP_URL", str(tmp_path / "copies"))
    taken = run(BACKUP, instance)
    assert taken.success
    assert taken.get_asset_check_evaluations() == []
    (event,) = taken.get_asset_materialization_events()
    facts = {name: value.value for name, value in event.materialization.metadata.items()}
    manifest = json.loads((tmp_path / "copies" / facts["name"] / "manifest.json").read_bytes())
    assert [record.data["sha256"] for record in facts["parts"].records] == [p["sha256"] for p in manifest["parts"]]

    (good,) = run(VERIFY_BACKUP, instance).get_asset_check_evaluations()
    assert good.passed
    dump = tmp_path / "copies" / facts["name"] / "warehouse.dump"
    dump.write_bytes(dump.read_bytes()[:-1] + b"!")
    (bad,) = run(VERIFY_BACKUP, instance).get_asset_check_evaluations()
    assert not bad.passed
    assert "damaged" in str(bad.metadata["found"])
