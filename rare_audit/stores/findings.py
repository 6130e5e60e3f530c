"""Findings on a table: a partition for each rule and UTC day, a row for each finding."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from rare_audit.errors import RefusedError
from rare_audit.ports import Entity, Table, Value
from rare_audit.records import KeptFinding
from rare_audit.reporting.incident import app_of
from rare_audit.stores.bodies import LongRow, long_parts, pack, put_each, unpack_long
from rare_audit.stores.keys import key_of

_APP: Final = "app"
_DAYS: Final = "finding-days"


class Findings:
    """ports.FindingStore, and beside the days an index of each app's days, and one of all days with their apps."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of_day(self, rule_id: str, day: str) -> tuple[KeptFinding, ...]:
        """Return all that is kept of a UTC day, withdrawn findings too, ordered by id."""
        return tuple(unpack_long(self._table, entity, KeptFinding) for entity in self._table.query(_day(rule_id, day)))

    def of_app(self, rule_id: str, identity: str) -> Iterator[KeptFinding]:
        """Yield what is kept of an app, by day and id; `identity` is that of reporting.incident.App."""
        app = key_of(identity)
        for index in self._table.query(_app_days(rule_id, identity)):
            for entity in self._table.query(_day(rule_id, index.row)):
                if entity.values[_APP] == app:
                    yield unpack_long(self._table, entity, KeptFinding)

    def keep(self, kept: Iterable[KeptFinding]) -> dict[str, RefusedError]:
        """Write the findings that differ from what is kept under their ids; of two under one id the last counts.

        Returns those that were refused for what they hold, by id.
        """
        refused: dict[str, RefusedError] = {}
        days: dict[tuple[str, str], dict[str, KeptFinding]] = defaultdict(dict)
        for one in kept:
            days[one.finding.rule_id, one.finding.day][one.finding.id] = one
        for (rule_id, day), ones in days.items():
            stored = {old.finding.id: old for old in self.of_day(rule_id, day)}
            refused |= self._write([one for id_, one in ones.items() if stored.get(id_) != one])
        return refused

    def expired(self, before_day: str) -> Iterator[tuple[str, str]]:
        """Yield the keys of the rows of all UTC days before `before_day` (`YYYY-MM-DD`), of all rules.

        In the order in which they may be deleted while this goes on: what they are found by comes last.
        """
        swept = ("", "")
        for index in self._table.query(_DAYS, last=before_day):
            day, rule, app = index.row.split(".")
            if swept != (day, rule):
                for entity in self._table.query(f"findings.{day}.{rule}"):
                    yield from long_parts(self._table, entity.partition, entity.row)
                    yield entity.partition, entity.row
                swept = day, rule
            yield f"app-days.{app}", day
            yield index.partition, index.row

    def _write(self, kept: list[KeptFinding]) -> dict[str, RefusedError]:
        # The indexes first: an app's day without findings of it does no harm, a finding that the index lacks is lost to
        # of_app for ever, as the next run finds it kept already. And first of all the one that retention goes by.
        apps = {(one.finding.rule_id, one.finding.day, app_of(one.finding).identity) for one in kept}
        for rule_id, day, identity in sorted(apps):
            row = f"{day}.{key_of(rule_id)}.{key_of(rule_id, identity)}"
            self._table.put(Entity(_DAYS, row, {}))
            self._table.put(Entity(_app_days(rule_id, identity), day, {_APP: identity}))
        return put_each(self._table, map(_row, kept))


def _row(one: KeptFinding) -> LongRow:
    columns: dict[str, Value] = {
        _APP: key_of(app_of(one.finding).identity),
        "incident": one.incident_id,
        "held": one.held,
    }
    return LongRow(_day(one.finding.rule_id, one.finding.day), one.finding.id, pack(one), columns)


def _day(rule_id: str, day: str) -> str:
    return f"findings.{day}.{key_of(rule_id)}"


def _app_days(rule_id: str, identity: str) -> str:
    return f"app-days.{key_of(rule_id, identity)}"
