"""What a pass read, whatever it looked for."""

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many events there were, from when to when, and on which days.

    `first` and `last` are ISO 8601 as logged, "" where there is none. Days are `YYYY-MM-DD`, UTC. `days` counts the
    events in the windows and their lookbacks, by the day on which each 24 hours of them begin; `days_by_apps` counts
    those that apps started, and also outside.
    """

    events: int = 0
    by_apps: int = 0
    first: str = ""
    last: str = ""
    days: dict[str, int] = {}
    days_by_apps: dict[str, int] = {}
