"""The names of the jobs, which schedules, the API, coverage reports and the launchpad use alike.

A name that people have in schedules files and scripts: changing one is a change for users.
"""

from __future__ import annotations

RESTORE = "restore_daily_coverage"
BACKFILL_STALE = "backfill_stale_daily"
BACKFILL_SYMBOLS = "backfill_symbols"
BACKFILL_INDEX = "backfill_index"
RECOMPUTE = "recompute_indicators"
RECORD = "record_history"
BACKFILL_HISTORY = "backfill_history"
REFRESH_COVERAGE = "refresh_coverage"
REFRESH_CONSTITUENTS = "refresh_constituents"
REFRESH_PROFILES = "refresh_profiles"
RESTATE = "restate"
VALIDATE = "validate"
WORK_QUEUE = "work_backfill_queue"
RETENTION = "enforce_retention"
BACKUP = "backup"
VERIFY_BACKUP = "verify_backup"
DIGEST = "send_digest"
