"""What a tenant may choose of how the job works."""

import msgspec

from rare_audit.detection.floods import FloodLimits
from rare_audit.reporting.coverage import MIN_DAYS


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Choices, each with the default of an ordinary tenant.

    A day with fewer than `min_days` days of its lookback with data is held against a degraded baseline. At most
    `max_incidents` are raised for a day. Past `floods` an app's combinations are one finding for each operation.
    A `salt` other than "" has hashes kept in place of values. What is older than
    `retention_days` goes (0: nothing ever does), what dry runs found after `dry_retention_days`.
    """

    min_days: int = MIN_DAYS
    max_incidents: int = 50
    floods: FloodLimits = FloodLimits()
    salt: str = ""
    retention_days: int = 180
    dry_retention_days: int = 7
