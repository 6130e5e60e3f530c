"""The watch over the job by OpenTelemetry: a trace a run, a span a phase, metrics of what came of it.

Only ids, days, states and numbers are told: nothing from an event's text. Where no provider is set up, as the Functions
worker does for Application Insights (PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY), it all comes to nothing.
"""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Final

from opentelemetry import metrics, trace

from rare_audit.records import Run

_NAME: Final = "rare_audit"


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
                ("findings", "Findings that were new."),
                ("incidents", "Incidents that were delivered."),
            )
        }
        self._levels = {
            name: meter.create_gauge(f"{_NAME}.{name}", unit=unit, description=told)
            for name, unit, told in (
                ("undelivered", "1", "Incidents that a run could not deliver."),
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

    def ended(self, run: Run, undelivered: int) -> None:
        """Measure a run that ended."""
        told: dict[str, str | bool] = {
            "state": str(run.state),
            "dry": run.dry_run,
            "degraded": bool(run.degraded),
        }
        counts = {
            "runs": 1,
            "events": run.funnel.reading.events if run.funnel else 0,
            "findings": len(run.changes.new),
            "incidents": len(run.delivered),
        }
        for name, count in counts.items():
            self._counters[name].add(count, told)
        ended, started = (datetime.fromisoformat(text) for text in (run.ended, run.started))
        day_ended = datetime.fromisoformat(run.last_day).replace(tzinfo=UTC) + timedelta(days=1)
        levels = {
            "undelivered": undelivered,
            "coverage_days": sum(1 for count in run.coverage.values() if count),
            "lateness_seconds": (ended - day_ended).total_seconds(),
            "duration_seconds": (ended - started).total_seconds(),
        }
        for name, level in levels.items():
            self._levels[name].set(level, told)
