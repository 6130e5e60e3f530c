"""A watch over the job whose spans and metrics stay in memory."""

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rare_audit.watch import OpenTelemetry


class Watched:
    """The watch, and what it was told."""

    def __init__(self) -> None:
        self._spans, self._metrics = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.watch = OpenTelemetry(tracers, MeterProvider([self._metrics], shutdown_on_exit=False))

    @property
    def spans(self) -> list[Any]:
        """The spans that ended, in this order."""
        return list(self._spans.get_finished_spans())

    def points(self) -> dict[str, list[Any]]:
        """Return each metric's points, one for each set of attributes."""
        data: Any = self._metrics.get_metrics_data()
        found = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        return {metric.name: list(metric.data.data_points) for metric in found}

    def metrics(self) -> dict[str, float]:
        """Return each metric's value, over all its attributes."""
        return {name: sum(point.value for point in points) for name, points in self.points().items()}

    def text(self) -> str:
        """Return all that was told, as text."""
        return " ".join(span.to_json() for span in self.spans) + str(self._metrics.get_metrics_data())
