"""Microsoft Sentinel: what to write when. An incident that exists belongs to its analyst.

Every id comes from content and every write follows a read, so that a delivery that was cut short anywhere and is
repeated, with the memo it had, ends where an undisturbed one does.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from rare_audit.detection.finding import Finding, content_id
from rare_audit.detection.rule import EntityMapping
from rare_audit.errors import RefusedError
from rare_audit.reporting import sentinel_bodies as bodies
from rare_audit.reporting.incident import Incident
from rare_audit.sinks.arm import PREVIEW, STABLE, Arm, Resource
from rare_audit.sinks.sentinel_memo import Link, Memo, changed, is_same, merge, read_memo, write_memo, written

_log: Final = logging.getLogger(__name__)


class _Standing(msgspec.Struct, frozen=True):
    """How an incident stands: what is known of it, what it still has to be told, and why it can't be, if so.

    `room` is how many more bookmarks it holds.
    """

    link: Link
    number: str
    untold: tuple[Finding, ...]
    shut: str = ""
    room: int = bodies.MOST_BOOKMARKS


class Sentinel:
    """ports.IncidentSink into Microsoft Sentinel: one incident, its evidence as a comment, bookmarks beside it.

    `notes` says, each once, what was left out of all deliveries so far and why, `refused` how many comments and
    bookmarks Sentinel would not take for what they hold.
    """

    def __init__(self, arm: Arm, *, bookmarks: bool = True, mappings: Sequence[EntityMapping] = ()) -> None:
        """Deliver to `arm`'s workspace; without `bookmarks` none is tried. `mappings` are the rule's."""
        self._mappings = mappings
        self.notes: list[str] = []
        self.refused = 0
        self._arm = arm
        self._bookmarks = bookmarks
        self._workspace = arm.workspace.path.casefold()

    def deliver(self, incident: Incident, memo: str) -> str:
        """Raise an incident, or add to the one that exists what is new; return the memo of it.

        What somebody changed, closed or deleted is left so. Raises ServiceError: repeat it with the same memo.
        """
        past = read_memo(memo, self._workspace)
        if past.gone:
            return memo
        notes: list[str] = []
        links = self._walk(incident, past.links or (Link(incident.id),), notes)
        if links is None:
            self._arm.again(self._arm.check)  # a 404 for want of the workspace is no deletion
            return write_memo(msgspec.structs.replace(past, gone=True))
        noted = tuple(dict.fromkeys((*past.notes, *notes)))
        return write_memo(Memo(self._workspace, links, notes=noted))

    def _walk(self, incident: Incident, known: tuple[Link, ...], notes: list[str]) -> tuple[Link, ...] | None:
        """Go along an incident and its follow-ups until all is told; return them, or None where one was deleted.

        A follow-up's id comes from the id of the one before, so that it is found again though no memo names it and
        though the findings have changed since.
        """
        before, link = known[:-1], known[-1]
        while True:
            earlier = {mark for each in before for mark in each.told}
            rest = tuple(finding for finding in incident.findings if bodies.mark(finding) not in earlier)
            if before and not rest:
                return (*before, link) if link.fields else before
            wanted = bodies.follow_up(incident, link.id, link.follows, rest) if before else incident
            standing = self._arm.again(partial(self._settle, wanted, link))
            if standing is None:
                return None
            link = standing.link
            if not standing.shut:
                return (*before, self._tell(wanted, standing, notes))
            if not standing.untold:
                return (*before, link)
            before = (*before, link)
            follows = f"incident {standing.number}({link.id}), {standing.shut}"
            link = Link(content_id("follow-up", link.id), follows=follows)

    def _settle(self, wanted: Incident, link: Link) -> _Standing | None:
        """Bring an incident's own fields up to date, in one attempt; None where it was deleted.

        Nothing is written where it is closed, nor where it holds no comment that new findings need.
        """
        path = f"incidents/{link.id}"
        properties = bodies.incident_properties(wanted)
        found = self._arm.get(path)
        if found is None:
            if link.fields:
                return None
            made = self._arm.put(path, {"properties": properties}).properties
            link = msgspec.structs.replace(link, fields=written(properties, made))
            return _Standing(link, _number(made), wanted.findings)
        changes, kept = merge(found.properties, properties, link.fields)
        standing = self._standing(wanted, link, found, properties)
        if changes and not standing.shut:
            body = {"properties": changed(found.properties, changes)} | ({"etag": found.etag} if found.etag else {})
            kept |= written(changes, self._arm.put(path, body).properties)
        return msgspec.structs.replace(standing, link=msgspec.structs.replace(standing.link, fields=kept))

    def _standing(self, wanted: Incident, link: Link, found: Resource, properties: dict[str, Any]) -> _Standing:
        """Return how an incident stands by what is known and, where that leaves findings untold, by its comments."""
        comments = list(self._arm.list(f"incidents/{link.id}/comments")) if _untold(wanted, link.told) else []
        told = _told(wanted, link, comments)
        closed = found.properties.get("status") == "Closed"
        if closed and not (link.fields or told) and is_same("description", found.properties, properties):
            told = _marks(wanted.findings)  # cut short before its comment, then closed: the description tells them
        untold = _untold(wanted, told)
        full = bool(untold) and len(comments) >= bodies.MOST_COMMENTS
        return _Standing(
            msgspec.structs.replace(link, told=told),
            _number(found.properties),
            untold,
            shut="which was closed" if closed else "which holds no more comments" if full else "",
            room=bodies.MOST_BOOKMARKS - _bookmarks_on(found.properties),
        )

    def _tell(self, wanted: Incident, standing: _Standing, notes: list[str]) -> Link:
        """Tell an open incident the findings it has not been told, in one comment, and bookmark those it has."""
        link = standing.link
        if standing.untold:
            notes += self._comment(link, standing.untold)
            link = msgspec.structs.replace(link, told=(*link.told, *_marks(standing.untold)))
        due = [each for each in wanted.findings if bodies.mark(each) in {*link.told} - {*link.bookmarked}]
        due = due[: bodies.MOST_BOOKMARKS - len(link.bookmarked)]
        if self._bookmarks:
            notes += self._bookmark(wanted, due, standing.room)
        return msgspec.structs.replace(link, bookmarked=(*link.bookmarked, *_marks(due)))

    def _comment(self, link: Link, untold: tuple[Finding, ...]) -> list[str]:
        """Put the evidence of findings on an incident; return a note where Sentinel refuses what it holds."""
        path = f"incidents/{link.id}/comments/{bodies.comment_id(link.id, untold)}"
        try:
            self._ensure(path, {"message": bodies.comment(untold)}, STABLE)
        except RefusedError as error:
            if not error.is_for_content:
                raise
            self.refused += 1
            note = f"the evidence comment of incident {link.id} was left out: {error}"
            self._note(note)
            return [note]
        return []

    def _bookmark(self, wanted: Incident, due: list[Finding], room: int) -> list[str]:
        """Put a bookmark of each finding on an incident; return notes of what was left out."""
        notes: list[str] = []
        for finding in due:
            try:
                room -= self._relate(wanted, finding, room)
            except _NoRoomError:
                notes.append("bookmarks were left out: an incident holds no more of them")
                break
            except RefusedError as error:
                if error.status == 403:
                    notes.append(
                        "bookmarks were left out: the identity may not write them, which needs the role Microsoft "
                        f"Sentinel Contributor on the resource group {self._arm.workspace.group}"
                    )
                    break
                if not error.is_for_content:
                    raise
                self.refused += 1
                notes.append(f"bookmarks were left out: Sentinel refused them as malformed ({error.status})")
        for note in notes:
            self._note(note)
        return notes

    def _relate(self, wanted: Incident, finding: Finding, room: int) -> bool:
        """Write a finding's bookmark and its relation to the incident, unless they are there; tell if it was new."""
        relation = f"incidents/{wanted.id}/relations/{bodies.relation_name(wanted.id, finding)}"
        if room <= 0:
            if self._arm.again(partial(self._arm.get, relation)) is None:
                raise _NoRoomError
            return False
        bookmark = f"bookmarks/{bodies.bookmark_id(wanted.id, finding)}"
        self._ensure(bookmark, bodies.bookmark_properties(wanted, finding, self._mappings), PREVIEW)
        return self._ensure(relation, {"relatedResourceId": f"{self._arm.base}/{bookmark}"}, STABLE)

    def _ensure(self, path: str, properties: dict[str, Any], version: str) -> bool:
        """Write what is not there yet, and tell if it was not: what is there may have been edited since."""

        def attempt() -> bool:
            if self._arm.get(path, version) is not None:
                return False
            self._arm.put(path, {"properties": properties}, version)
            return True

        return self._arm.again(attempt)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
            _log.warning("%s", note)


class _NoRoomError(Exception):
    """An incident holds all the bookmarks it can, some of them of its analyst."""


def _told(wanted: Incident, link: Link, comments: list[Resource]) -> tuple[str, ...]:
    """Return the marks of what an incident was told: what is known of it, and what its comments say."""
    said = (mark for each in comments for mark in bodies.told_in(str(each.properties.get("message", ""))))
    told = tuple(dict.fromkeys((*link.told, *said)))
    untold = _untold(wanted, told)
    if bodies.comment_id(link.id, untold) in {each.name for each in comments}:
        return (*told, *_marks(untold))  # a comment of more findings than its last line has room for
    return told


def _untold(wanted: Incident, told: tuple[str, ...]) -> tuple[Finding, ...]:
    known = set(told)
    return tuple(finding for finding in wanted.findings if bodies.mark(finding) not in known)


def _marks(findings: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(map(bodies.mark, findings))


def _number(properties: dict[str, Any]) -> str:
    """Return the number that analysts know an incident by, with a blank after it; "" where it has none."""
    number = properties.get("incidentNumber")
    return f"{number} " if isinstance(number, int) else ""


def _bookmarks_on(properties: dict[str, Any]) -> int:
    additional = properties.get("additionalData")
    count = additional.get("bookmarksCount") if isinstance(additional, dict) else 0
    return count if isinstance(count, int) else 0
