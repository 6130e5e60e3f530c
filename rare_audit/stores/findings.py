"""Findings on a table: a partition for each rule and UTC day, a row for each finding."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from rare_audit.errors import RefusedError
from rare_audit.ports import Entity, Table
from rare_audit.records import KeptFinding
from rare_audit.stores.bodies import LongRow, long_parts, pack, put_each, unpack_long
from rare_audit.stores.keys import key_of
from rare_audit.stores.set_aside import SetAside

_DAYS: Final = "finding-days"


class Findings:
    """ports.FindingStore, and beside the days an index of them all, which retention goes by."""

    def __init__(self, table: Table, aside: SetAside | None = None) -> None:
        self._table = table
        self._aside = aside or SetAside()

    def of_day(self, rule_id: str, day: str) -> tuple[KeptFinding, ...]:
        """Return all that is kept of a UTC day, withdrawn findings too, ordered by id.

        A row that can't be read is set aside: found again, the finding is new.
        """
        return tuple(self.each(rule_id, day))

    def each(self, rule_id: str, day: str, after: str = "") -> Iterator[KeptFinding]:
        """Yield what `of_day` returns, of ids greater than `after`; no more is read than is taken."""
        rows = self._table.query(_day(rule_id, day), first=f"{after}\0" if after else "")
        found = (self._aside.read(partial(unpack_long, self._table, entity, KeptFinding)) for entity in rows)
        yield from (one for one in found if one)

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
        for index in self._table.query(_DAYS, last=before_day):
            for entity in self._table.query(f"findings.{index.row}"):
                yield from long_parts(self._table, entity.partition, entity.row)
                yield entity.partition, entity.row
            yield index.partition, index.row

    def _write(self, kept: list[KeptFinding]) -> dict[str, RefusedError]:
        # The index first: a day without findings does no harm, and a finding that the index lacks is never removed.
        for rule_id, day in sorted({(one.finding.rule_id, one.finding.day) for one in kept}):
            self._table.put(Entity(_DAYS, f"{day}.{key_of(rule_id)}", {}))
        return put_each(self._table, map(_row, kept))


def _row(one: KeptFinding) -> LongRow:
    return LongRow(_day(one.finding.rule_id, one.finding.day), one.finding.id, pack(one))


def _day(rule_id: str, day: str) -> str:
    return f"findings.{day}.{key_of(rule_id)}"
