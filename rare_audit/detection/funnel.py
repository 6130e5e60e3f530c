"""What became of every event of a run: no event is lost without a number."""

import msgspec

from rare_audit.detection.rows import Drop


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a source made of its input; counts of records. `events` went on to the engine."""

    events: int = 0
    unreadable: dict[str, int] = {}
    skipped: dict[str, int] = {}
    files: dict[str, int] = {}
    """Whole files, of a folder or an archive, that could not be read, by reason."""

    @property
    def lost(self) -> int:
        """How many records and files could not be read."""
        return sum(self.unreadable.values()) + sum(self.files.values())


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """Events before the first window, within its lookback; `combinations` are the distinct keys they made known."""

    events: int = 0
    app_initiated: int = 0
    combinations: int = 0


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """Events of the asked-for windows.

    `app_initiated = repeated + sum(dropped) + on_first_tick + known + rare` and `rare = sum(excluded) + reported`.
    `dropped_rows` counts property rows of app-initiated events, `dropped` whole events.
    """

    events: int = 0
    app_initiated: int = 0
    repeated: int = 0
    """Events with the Id and the content of one before: overlapping files, repeated deliveries. Counted once."""
    dropped: dict[Drop, int] = {}
    dropped_rows: dict[Drop, int] = {}
    on_first_tick: int = 0
    known: int = 0
    rare: int = 0
    excluded: dict[str, int] = {}
    reported: int = 0


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a run: `reading.events = outside + baseline.events + current.events`."""

    reading: Reading
    outside: int
    baseline: Baseline
    current: Current
    findings: int
    odd: dict[str, int] = {}
    """Events by apps, in windows and lookbacks, whose TargetResources is not as AuditLogs holds it: by reason.

    They went on to the rule, which sees no change in them, and are counted in `current` and `baseline` as well."""
    first_odd: dict[str, str] = {}
    """The Id and time of the earliest event of each reason."""

    @property
    def lost(self) -> int:
        """How many records, files and events could not be read as they should."""
        return self.reading.lost + sum(self.odd.values())
