"""The jobs `backfill_symbols` and `backfill_index`: what a part of the tracked set lacks is fetched, and what follows
from it is brought up to date.
"""

from collections.abc import Iterator
from datetime import date

from dagster import AssetObservation, Config, In, JobDefinition, Nothing, OpExecutionContext, Out, Output, job, op
from pydantic import Field

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.configs import NO_BARS, day
from quantmatrix_pipeline.assets.coverage import look_at_coverage
from quantmatrix_pipeline.assets.metadata import table, would_fetch
from quantmatrix_pipeline.automation.jobs.restate import restate_all
from quantmatrix_pipeline.automation.jobs.tags import LIMITS, ONE_AT_A_TIME
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.coverage.fill import update_fill
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.ingest.daily import ingest_stretches
from quantmatrix_pipeline.ingest.plan import lacking, window_start
from quantmatrix_pipeline.job_names import BACKFILL_INDEX, BACKFILL_SYMBOLS
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.universe.scope import Part, part_of
from quantmatrix_pipeline.universe.tracking import track_watched
from quantmatrix_pipeline.warehouse.universe import never_asked

Fetched = Iterator[Output[None]]


class StretchConfig(Config):
    """Which sessions are looked at."""

    first: str | None = Field(
        None, description="the first session (YYYY-MM-DD); empty: QM_HISTORY_SESSIONS before the last"
    )
    last: str | None = Field(None, description="the last session, inclusive; empty: the newest closed one")
    dry_run: bool = Field(False, description=NO_BARS)


class SymbolsConfig(StretchConfig):
    """Whose bars are fetched."""

    symbols: list[str] = Field(
        [], description="tracked symbols or those of the watch list, such as AAPL, BRK.B; empty: those never asked for"
    )


class IndexConfig(StretchConfig):
    """Whose bars are fetched."""

    index: str = Field("SP500", description="SP500, NASDAQ100, DOW30 or R2000")


def build() -> list[JobDefinition]:
    """Return the jobs; both fetch only what is missing, so that a second run asks for nothing."""

    @op(out=Out(Nothing, is_required=False))
    def fetch_symbols(context: OpExecutionContext, config: SymbolsConfig, platform: Platform) -> Fetched:
        """The bars that the named symbols lack, or those of symbols about which nobody was ever asked."""
        came_in = track_watched(platform.warehouse, platform.newest_session())
        context.log.info(f"tracked from now on: {', '.join(came_in) or 'nobody new'}")
        symbols = config.symbols or never_asked(platform.warehouse)
        yield from _fetch(context, platform, config, part_of(platform.warehouse, "symbols", symbols=symbols))

    @op(out=Out(Nothing, is_required=False))
    def fetch_index(context: OpExecutionContext, config: IndexConfig, platform: Platform) -> Fetched:
        """The bars that the members of an index lack."""
        yield from _fetch(context, platform, config, part_of(platform.warehouse, "index", index=config.index))

    @op(ins={"fetched": In(Nothing)}, out=Out(Nothing))
    def bring_history_up_to_date(context: OpExecutionContext, platform: Platform) -> None:
        """Snapshots, and new rows and revisions of the recorded history, as far as the bars touch them."""
        context.add_output_metadata(restate_all(platform))

    @op(ins={"recorded": In(Nothing)})
    def look_at_the_coverage(context: OpExecutionContext, platform: Platform) -> None:
        """The coverage as of the newest closed session."""
        newest = platform.newest_session()
        report, _ = look_at_coverage(platform, newest, newest)
        context.add_output_metadata({"headline": report.headline()})

    @job(
        name=BACKFILL_SYMBOLS,
        tags=ONE_AT_A_TIME | LIMITS,
        description="Fetch what these symbols lack, by default those never asked for, and record what follows.",
    )
    def backfill_symbols() -> None:
        look_at_the_coverage(bring_history_up_to_date(fetch_symbols()))

    @job(
        name=BACKFILL_INDEX,
        tags=ONE_AT_A_TIME | LIMITS,
        description="Fetch what the members of an index lack, and record what follows.",
    )
    def backfill_index() -> None:
        look_at_the_coverage(bring_history_up_to_date(fetch_index()))

    return [backfill_symbols, backfill_index]


def _fetch(context: OpExecutionContext, platform: Platform, config: StretchConfig, part: Part) -> Fetched:
    """Fetch what a part of the tracked set lacks; a dry run yields nothing, so that the steps behind it are skipped."""
    context.log.info(part.told)
    first, last = stretch(config, platform.calendar, platform.newest_session(), platform.settings.history_sessions)
    wanted = lacking(platform.warehouse, platform.source, platform.calendar, part.tracked, first, last)
    context.log.info(f"{wanted.symbols} symbols lack {wanted.sessions} sessions of {first}..{last}")
    if config.dry_run:
        context.log_event(AssetObservation("daily_bars", metadata={"who": part.told, **would_fetch(wanted)}))
        return
    if not wanted.symbols:
        yield Output(None, metadata={"who": part.told, "asked": "nothing: nothing is missing"})
        return
    done = ingest_stretches(
        platform.warehouse,
        platform.source,
        platform.calendar,
        dict.fromkeys(part.ids, (first, last)),
        now=clock.now(),
        tell=context.log.info,
        **platform.fetching,
    )
    scan(
        platform.warehouse,
        platform.calendar,
        platform.newest_session(),
        depth=platform.settings.history_sessions,
        now=clock.now(),
    )
    update_fill(platform.warehouse, platform.calendar, first, last, clock.now())
    yield Output(
        None,
        metadata={
            "who": part.told,
            "asked": f"{done.asked_symbols} symbols, {done.asked_sessions} sessions, {done.first}..{done.last}",
            "inserted": done.inserted,
            "revised": done.revised,
            "rejected": done.rejected,
            "failed_symbols": len(done.failures),
            "failures": table({"symbol": s, "why": why} for s, why in sorted(done.failures.items())),
            "seconds": round(done.seconds, 3),
        },
    )


def stretch(config: StretchConfig, calendar: TradingCalendar, newest: date, depth: int) -> tuple[date, date]:
    """Return the first and the last session of a stretch, both inclusive; `depth` is how many it has by default.

    Raises
    ------
    ConfigurationError
        If there is no closed session between them.
    """
    last = min(day(config.last, "last") or newest, newest)
    first = day(config.first, "first")
    inside = calendar.sessions_in(first or calendar.sessions[0].item(), last)
    if not len(inside):
        raise ConfigurationError(f"there is no closed session of {calendar.name} from {first} to {last}")
    return first or window_start(calendar, inside[-1].item(), depth), last
