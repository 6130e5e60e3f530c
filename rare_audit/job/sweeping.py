"""What is kept for too long goes, after a run that kept all it found."""

import logging
from datetime import datetime, timedelta
from typing import Final

from rare_audit.errors import ServiceError
from rare_audit.job.options import Options
from rare_audit.ports import Retention
from rare_audit.records import Run

_log: Final = logging.getLogger(__name__)


def sweep(retention: Retention, run: Run, options: Options, now: datetime) -> None:
    """Remove what is kept for too long, though not what this run, asked for days so old, has just found."""
    before, dry_before = (
        f"{now - timedelta(days=kept):%Y-%m-%d}" for kept in (options.retention_days, options.dry_retention_days)
    )
    try:
        more = True
        while more:
            swept = retention.sweep(min(before, run.first_day), dry_before)
            if swept.undelivered:
                _log.error("run %s: %d deliveries that never succeeded are too old now", run.id, swept.undelivered)
            more = swept.more
    except ServiceError as error:  # the next run sweeps again
        _log.warning("run %s: retention could not be applied: %s", run.id, error)
