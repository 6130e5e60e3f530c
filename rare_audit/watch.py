"""The watch over the job by OpenTelemetry: a trace a run, a span a phase, metrics and a log line of what came of it.

Only ids, days, states and numbers are told: nothing from an event's text. Where no provider is set up, as the Functions
worker does for Application Insights (PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY), it all comes to nothing.
"""

import logging
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Final

from opentelemetry import metrics, trace

from rare_audit.records import Run, State

_NAME: Final = "rare_audit"
_log: Final = logging.getLogger(__name__)


class OpenTelemetry:
    """ports.Watch. Makes its instruments once; keep it for the process."""

    def __init__(
        self, tracers: trace.TracerProvider | None = None, meters: metrics.MeterProvider | None = None
    ) -> None:
        """Watch by the process's own providers, or by these."""
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracers)
        meter = metrics.get_meter(_NAME, meter_provider=meters)
        self._counters = {
            name: meter.create_counter(f"{_NAME}.{name}", description=told)
            for name, told in (
                ("runs", "Runs that ended."),
                ("events", "Events that were read."),
                ("findings", "Findings that a run added, changed or withdrew: which of these, `change` says."),
                ("incidents", "Incidents that were delivered."),
            )
        }
        self._levels = {
            name: meter.create_gauge(f"{_NAME}.{name}", unit=unit, description=told)
            for name, unit, told in (
                ("undelivered", "1", "Incidents, and days of rows, that a run could not deliver."),
                ("refused", "1", "What a service would not take for what it holds."),
                ("unreadable", "1", "Events by apps that could not be read."),
                ("excluded", "1", "Events of a run's days that an exclusion left out."),
                ("coverage_days", "d", "Days with any event, of those a run read."),
                ("lateness_seconds", "s", "From the end of a run's last day to the end of the run."),
                ("duration_seconds", "s", "From when a run was taken up to its end."),
            )
        }

    def span(self, name: str, run: Run) -> AbstractContextManager[object]:
        """Open a span: "run", or a phase of one."""
        told: dict[str, str | int | bool] = {
            "run.id": run.id,
            "run.first_day": run.first_day,
            "run.last_day": run.last_day,
            "run.dry": run.dry_run,
            "run.attempts": run.attempts,
        }
        return self._tracer.start_as_current_span(f"{_NAME}.{name}", attributes=told)

    def ended(self, run: Run, undelivered: int | None = None) -> None:
        """Log a run that ended, in a line whose attributes alerts go by, and measure it."""
        nature = _nature(run)
        self._count(run, nature)
        self._level(run, nature, undelivered)
        level = logging.ERROR if run.state is State.FAILED else logging.INFO
        told = {
            "run.id": run.id,
            "run.first_day": run.first_day,
            "run.last_day": run.last_day,
            **{f"run.{name}": text for name, text in nature.items()},
            "run.refused": run.refused,
            "run.unreadable": run.unreadable,
            **({} if undelivered is None else {"run.undelivered": undelivered}),
        }
        _log.log(level, "run %s: %s, %d findings new", run.id, run.state, len(run.changes.new), extra=told)

    def _count(self, run: Run, nature: dict[str, str]) -> None:
        self._counters["runs"].add(1, nature)
        self._counters["events"].add(run.funnel.reading.events if run.funnel else 0, nature)
        self._counters["incidents"].add(len(run.delivered), nature)
        for change in ("new", "changed", "withdrawn"):
            self._counters["findings"].add(len(getattr(run.changes, change)), {**nature, "change": change})

    def _level(self, run: Run, nature: dict[str, str], undelivered: int | None) -> None:
        """Measure what is known of a run: one that failed early knows little."""
        ended, started = (datetime.fromisoformat(text) for text in (run.ended, run.started))
        day_ended = datetime.fromisoformat(run.last_day).replace(tzinfo=UTC) + timedelta(days=1)
        levels: dict[str, float | None] = {
            "undelivered": undelivered,
            "refused": run.refused,
            "unreadable": run.unreadable,
            "excluded": sum(run.funnel.current.excluded.values()) if run.funnel else None,
            "coverage_days": sum(1 for count in run.coverage.values() if count) if run.coverage else None,
            "lateness_seconds": (ended - day_ended).total_seconds(),
            "duration_seconds": (ended - started).total_seconds(),
        }
        for name, level in levels.items():
            if level is not None:
                self._levels[name].set(level, nature)


def _nature(run: Run) -> dict[str, str]:
    """Return what runs are told apart by, as text: a truth would be told as "True" here and as "true" there."""
    return {
        "state": run.state.value,
        "dry": str(run.dry_run).lower(),
        "degraded": str(bool(run.degraded)).lower(),
    }
