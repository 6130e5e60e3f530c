"""Sentinel: what is written when, against the stand-in; and that an incident which exists is its analyst's."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from rare_audit.errors import ServiceError
from rare_audit.places import Workspace, parse_workspace
from rare_audit.reporting.roll_up import choose
from rare_audit.reporting.sentinel_bodies import bookmark_id, comment_id, incident_properties, relation_name
from rare_audit.sinks.sentinel_memo import Memo, read_memo
from tests.azure.sentinel_server import BASE, GROUP, SUBSCRIPTION, WORKSPACE, WORKSPACE_ID
from tests.azure.sentinel_state import Fault
from tests.azure.sentinel_state import Workspace as Kept
from tests.builders import DAY
from tests.project import azure_imported_by
from tests.sinks.sentinel_world import ONE, THREE, TWO, World, incident, named, replaced, worlds

FIRST: Final = incident(ONE)
BOTH: Final = incident(ONE, TWO)
ALL: Final = incident(ONE, TWO, THREE)
ID: Final = FIRST.id


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One server for all tests here."""
    with worlds(tmp_path_factory.mktemp("tls")) as world:
        yield world


@pytest.fixture
def world(served: World) -> World:
    """Return the server with nothing in it."""
    served.server.workspace = Kept()
    served.server.denied = set()
    served.server.before_write.clear()
    served.server.forget()
    served.time.waits.clear()
    return served


def _kept(world: World) -> dict[str, Any]:
    return world.server.workspace.contents()


def _messages(world: World, incident_id: str = ID) -> list[str]:
    return [each["message"] for each in _kept(world)["comments"].get(incident_id, {}).values()]


def _memo(text: str) -> Memo:
    return read_memo(text, parse_workspace(WORKSPACE_ID).path.casefold())


# A new incident


def test_raised(world: World) -> None:
    """Title, description, severity, times and labels; a comment with the evidence; a bookmark for each finding."""
    world.sentinel().deliver(BOTH, "")
    kept = _kept(world)
    stored = kept["incidents"][ID]
    for name, value in incident_properties(BOTH).items():
        if name != "labels":
            assert stored[name] == value
    labels = [label["labelName"] for label in stored["labels"]]
    assert labels[2:] == ["tactic:Persistence", "tactic:LateralMovement", "technique:T1136"]
    assert labels[1] == f"rule:{BOTH.rule_id}"
    assert list(kept["comments"][ID]) == [comment_id(ID, BOTH.findings)]
    assert list(kept["bookmarks"]) == [bookmark_id(ID, ONE), bookmark_id(ID, TWO)]
    assert kept["relations"][ID] == {
        relation_name(ID, each): {"relatedResourceId": f"{BASE}/bookmarks/{bookmark_id(ID, each)}"}
        for each in (ONE, TWO)
    }
    assert world.time.waits == []


def test_token_is_asked_for_the_endpoint(world: World) -> None:
    """The scope is the endpoint's, so that sovereign clouds need no setting more."""
    world.credential.scopes.clear()
    world.sentinel().deliver(FIRST, "")
    assert world.credential.scopes == [f"{world.server.endpoint}/.default"]


def test_nothing_new_nothing_written(world: World) -> None:
    """Delivered again, the incident is looked at once; with no memo, all is looked at and nothing written."""
    memo = world.sentinel().deliver(BOTH, "")
    world.server.forget()
    assert world.sentinel().deliver(BOTH, memo) == memo
    assert world.server.requests == [("GET", f"incidents/{ID}")]
    assert world.sentinel().deliver(BOTH, "") == memo
    assert world.server.writes == []


def test_new_findings_are_one_comment(world: World) -> None:
    """What is new is told once, the rest is not told again; fields that nobody touched follow."""
    memo = world.sentinel().deliver(FIRST, "")
    memo = world.sentinel().deliver(ALL, memo)
    world.server.forget()
    assert world.sentinel().deliver(ALL, memo) == memo
    assert world.server.writes == []
    kept = _kept(world)
    assert list(kept["comments"][ID]) == [comment_id(ID, [ONE]), comment_id(ID, [TWO, THREE])]
    assert "Add service principal" not in _messages(world)[1].split("| 2026-03-02 10")[0]
    assert kept["incidents"][ID]["description"] == ALL.description
    assert kept["incidents"][ID]["lastActivityTimeUtc"] == ALL.last_activity
    assert len(kept["bookmarks"]) == 3


def test_finding_withdrawn(world: World) -> None:
    """An incident whose findings became fewer has a new description; nothing is told, nothing taken back."""
    memo = world.sentinel().deliver(BOTH, "")
    world.server.forget()
    world.sentinel().deliver(FIRST, memo)
    assert world.server.writes == [("PUT", f"incidents/{ID}")]
    assert _kept(world)["incidents"][ID]["description"] == FIRST.description


# What an analyst did


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "Case 7"),
        ("description", "Known: backup migration"),
        ("severity", "Low"),
        ("labels", [{"labelName": "triaged", "labelType": "User"}]),
        ("status", "Active"),
        ("owner", {"objectId": "o", "assignedTo": "Ada", "ownerType": "User"}),
        ("classificationComment", "looks fine"),
    ],
)
def test_what_was_changed_is_left(field: str, value: Any, world: World) -> None:
    """Whatever somebody changed stays, delivery after delivery, while the other fields follow."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.workspace.edit(ID, **{field: value})
    for wanted in (replaced(BOTH, severity="High"), replaced(ALL, severity="High")):
        memo = world.sentinel().deliver(wanted, memo)
        stored = _kept(world)["incidents"][ID]
        assert stored[field] == value
        for other in ("title", "description", "severity"):
            assert other == field or stored[other] == getattr(wanted, other)
        assert stored["lastActivityTimeUtc"] == wanted.last_activity


def test_changed_before_the_delivery_was_recorded(world: World) -> None:
    """With no memo, what differs from what would be written is somebody's too."""
    world.sentinel().deliver(FIRST, "")
    world.server.workspace.edit(ID, title="Case 7", severity="Low")
    memo = world.sentinel().deliver(FIRST, "")
    assert len(_messages(world)) == 1
    world.sentinel().deliver(replaced(BOTH, severity="High"), memo)
    stored = _kept(world)["incidents"][ID]
    assert (stored["title"], stored["severity"], stored["description"]) == ("Case 7", "Low", BOTH.description)


@pytest.mark.parametrize(
    ("first", "then", "left"), [("Medium", "High", "High"), ("Medium", "Low", "Medium"), ("High", "Medium", "High")]
)
def test_severity_is_only_raised(first: str, then: str, left: str, world: World) -> None:
    """Never lowered, though nobody touched it."""
    memo = world.sentinel().deliver(replaced(FIRST, severity=first), "")
    world.sentinel().deliver(replaced(BOTH, severity=then), memo)
    assert _kept(world)["incidents"][ID]["severity"] == left


def test_service_that_writes_values_its_own_way(world: World) -> None:
    """Trimmed titles, times cut to milliseconds and labels in another order are nobody's change."""
    memo = world.sentinel().deliver(replaced(FIRST, title=" Rare "), "")
    stored = world.server.workspace.incidents[ID]["properties"]
    assert stored["title"] == "Rare"
    stored["firstActivityTimeUtc"] = stored["firstActivityTimeUtc"][:23] + "Z"
    stored["labels"] = stored["labels"][::-1]
    stored["description"] = stored["description"].replace("\n", "\r\n")
    for known in (memo, ""):
        world.server.forget()
        world.sentinel().deliver(replaced(FIRST, title=" Rare "), known)
        assert world.server.writes == []


def test_comments_and_bookmarks_that_were_deleted_stay_so(world: World) -> None:
    """A comment, a relation or a bookmark that somebody removed is not written again."""
    memo = world.sentinel().deliver(BOTH, "")
    workspace = world.server.workspace
    workspace.comments.clear()
    workspace.relations.clear()
    workspace.bookmarks.clear()
    world.server.forget()
    world.sentinel().deliver(BOTH, memo)
    assert world.server.writes == []


# Closed


def test_closed_is_not_spoken_to(world: World) -> None:
    """Neither its fields nor comments nor bookmarks change when nothing new is found."""
    memo = world.sentinel().deliver(BOTH, "")
    world.server.workspace.close(ID)
    world.server.forget()
    memo = world.sentinel().deliver(replaced(FIRST, severity="High"), memo)
    assert world.sentinel().deliver(replaced(BOTH, severity="High"), memo) == memo
    assert world.server.writes == []


def _closed_and_followed(world: World) -> tuple[str, str]:
    """Close an incident, deliver more; return the memo and the follow-up's id."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.workspace.close(ID)
    memo = world.sentinel().deliver(BOTH, memo)
    return memo, _memo(memo).links[-1].id


def test_follow_up(world: World) -> None:
    """Findings that come after the closing open one that names it, with only what is new; the closed one is left."""
    world.sentinel().deliver(FIRST, "")
    world.server.workspace.close(ID)
    before = _kept(world)
    memo, follow_up = _closed_and_followed(world)
    after = _kept(world)
    assert len(after["incidents"]) == 2
    assert after["incidents"][ID] == before["incidents"][ID]
    assert after["comments"][ID] == before["comments"][ID]
    stored = after["incidents"][follow_up]
    assert stored["title"].startswith("Follow-up: Rare activity by app")
    assert f"incident 1 ({ID}), which was closed" in stored["description"]
    assert stored["firstActivityTimeUtc"] == TWO.start_time
    (message,) = _messages(world, follow_up)
    assert "Add member to group" in message
    assert "Add service principal" not in message
    world.server.forget()
    assert world.sentinel().deliver(BOTH, memo) == memo
    assert world.server.requests == [("GET", f"incidents/{follow_up}")]


def test_follow_up_is_added_to_and_followed(world: World) -> None:
    """What comes later goes to the follow-up while it is open, and to one more once it is closed."""
    memo, follow_up = _closed_and_followed(world)
    memo = world.sentinel().deliver(ALL, memo)
    assert len(_messages(world, follow_up)) == 2
    assert len(_kept(world)["incidents"]) == 2
    world.server.workspace.close(follow_up)
    last = named("four", start_time=f"{DAY}T11:00:00.0000000Z")
    memo = world.sentinel().deliver(incident(ONE, TWO, THREE, last), memo)
    third = _memo(memo).links[-1].id
    assert f"incident 2 ({follow_up})" in _kept(world)["incidents"][third]["description"]
    assert len(_messages(world, third)) == 1


def test_follow_up_is_found_again_without_a_memo(world: World) -> None:
    """A follow-up nobody recorded is found, though more was found since: nothing is told twice."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.workspace.close(ID)
    world.sentinel().deliver(BOTH, memo)
    for known in (memo, ""):
        last = world.sentinel().deliver(ALL, known)
        assert len(_kept(world)["incidents"]) == 2
        assert len(_messages(world, _memo(last).links[-1].id)) == 2


def test_closed_before_its_comment(world: World) -> None:
    """Cut short before its comment and closed: it is not spoken to; what is new then opens a follow-up."""
    world.server.faults[3] = Fault()
    with pytest.raises(ServiceError):
        world.sentinel(patience=0).deliver(FIRST, "")
    world.server.workspace.close(ID)
    world.server.forget()
    memo = world.sentinel().deliver(FIRST, "")
    assert world.server.writes == []
    memo = world.sentinel().deliver(BOTH, memo)
    (message,) = _messages(world, _memo(memo).links[-1].id)
    assert "Evidence of one finding." in message


def test_hundred_comments(world: World) -> None:
    """An incident that holds no more comments is followed as well; it is asked page by page."""
    memo = world.sentinel().deliver(FIRST, "")
    comments = world.server.workspace.comments[ID]
    for number in range(99):
        comments[f"c{number}"] = {"name": f"c{number}", "properties": {"message": "hm\n\nFinding ids: none"}}
    memo = world.sentinel().deliver(BOTH, memo)
    assert len(comments) == 100
    follow_up = _memo(memo).links[-1].id
    assert "which holds no more comments" in _kept(world)["incidents"][follow_up]["description"]


# Deleted


def test_deleted_stays_gone(world: World) -> None:
    """An incident that was deleted is not raised again, whatever is found; not even asked for."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.workspace.delete(ID)
    memo = world.sentinel().deliver(BOTH, memo)
    world.server.forget()
    assert world.sentinel().deliver(ALL, memo) == memo
    assert world.server.requests == []
    assert _kept(world)["incidents"] == {}


def test_deleted_follow_up(world: World) -> None:
    """A follow-up that was deleted is not raised again either."""
    memo, follow_up = _closed_and_followed(world)
    world.server.workspace.delete(follow_up)
    memo = world.sentinel().deliver(ALL, memo)
    world.server.workspace.edit(ID, status="Active")
    world.server.forget()
    assert world.sentinel().deliver(ALL, memo) == memo
    assert world.server.requests == []


def test_workspace_that_is_gone_is_no_deletion(world: World) -> None:
    """Where nothing at all is found, the setting is named, and the incident is not given up."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.always = Fault(404)
    with pytest.raises(ServiceError, match="SENTINEL_WORKSPACE_RESOURCE_ID"):
        world.sentinel().deliver(BOTH, memo)
    world.server.forget()
    world.sentinel().deliver(BOTH, memo)
    assert len(_messages(world)) == 2


def test_memo_of_another_workspace(world: World) -> None:
    """What was written elsewhere says nothing here: the incident is raised."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.workspace = Kept()
    world.sentinel().deliver(FIRST, memo.replace(WORKSPACE, "other"))
    assert list(_kept(world)["incidents"]) == [ID]


@pytest.mark.parametrize("memo", ["{", "[]", '{"workspace": 1}'])
def test_memo_that_cannot_be_read(memo: str, world: World) -> None:
    """It is not taken for none, which would raise what was deleted."""
    with pytest.raises(ServiceError, match="earlier delivery can't be read"):
        world.sentinel().deliver(FIRST, memo)
    assert world.server.requests == []


# Bookmarks


def test_bookmarks_not_wanted(world: World) -> None:
    """Without bookmarks none is tried, and switching them on touches no incident that is there."""
    memo = world.sentinel(bookmarks=False).deliver(BOTH, "")
    assert [path for _, path in world.server.requests if path.startswith("bookmarks")] == []
    assert len(_messages(world)) == 1
    world.sentinel().deliver(BOTH, memo)
    assert _kept(world)["bookmarks"] == {}


def test_bookmarks_not_allowed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An identity without the right leaves them out, says so once, and tries once for each incident."""
    world.server.denied = {"bookmarks"}
    sentinel = world.sentinel()
    memo = sentinel.deliver(BOTH, "")
    other = incident(
        named("other", service_principal_ids=("another",)), named("o2", service_principal_ids=("another",))
    )
    sentinel.deliver(other, "")
    assert [path for method, path in world.server.writes if path.startswith("bookmarks")] == [
        f"bookmarks/{bookmark_id(ID, ONE)}",
        f"bookmarks/{bookmark_id(other.id, other.findings[0])}",
    ]
    (note,) = sentinel.notes
    assert "Microsoft Sentinel Contributor" in note
    assert GROUP in note
    assert caplog.messages == [note]
    assert _memo(memo).notes == (note,)
    world.server.denied = set()
    world.server.forget()
    sentinel.deliver(BOTH, memo)
    assert world.server.writes == []


def test_twenty_bookmarks(world: World) -> None:
    """The first twenty findings have one; the comment tells all."""
    findings = [named(f"{number}") for number in range(25)]
    memo = world.sentinel().deliver(incident(*findings), "")
    assert len(_kept(world)["bookmarks"]) == 20
    assert "Evidence of 25 findings" in _messages(world)[0]
    world.sentinel().deliver(incident(*findings, named("new")), memo)
    assert len(_kept(world)["bookmarks"]) == 20


def test_bookmarks_of_the_analyst_count(world: World) -> None:
    """Where an incident's twenty places are taken, no more are written, and that is said."""
    memo = world.sentinel().deliver(FIRST, "")
    relations = world.server.workspace.relations[ID]
    for number in range(18):
        relations[f"r{number}"] = {"name": f"r{number}", "properties": {}}
    sentinel = world.sentinel()
    sentinel.deliver(ALL, memo)
    assert len(relations) == 20
    assert len(_kept(world)["bookmarks"]) == 2
    assert sentinel.notes == ["bookmarks were left out: an incident holds no more of them"]


def test_bookmark_refused(world: World) -> None:
    """One that Sentinel won't take holds up nothing."""
    sentinel = world.sentinel()
    world.server.faults[6] = Fault(400)
    sentinel.deliver(BOTH, "")
    assert sentinel.notes == ["bookmarks were left out: Sentinel refused them as malformed (400)"]
    assert sentinel.refused == 1
    assert list(_kept(world)["bookmarks"]) == [bookmark_id(ID, TWO)]


def test_comment_refused(world: World) -> None:
    """An incident whose evidence Sentinel won't take is there with its bookmarks; that is said, and not tried again."""
    sentinel = world.sentinel()
    world.server.faults[4] = Fault(400)
    memo = sentinel.deliver(BOTH, "")
    (note,) = sentinel.notes
    assert note.startswith(f"the evidence comment of incident {ID} was left out: PUT incidents/{ID}/comments/")
    assert (sentinel.refused, _messages(world), len(_kept(world)["bookmarks"])) == (1, [], 2)
    world.sentinel().deliver(BOTH, memo)
    assert _messages(world) == []


def test_comment_not_allowed(world: World) -> None:
    """What is no fault of the comment fails the delivery, to be repeated."""
    sentinel = world.sentinel()
    world.server.faults[4] = Fault(403)
    with pytest.raises(ServiceError, match="Microsoft Sentinel Responder"):
        sentinel.deliver(BOTH, "")
    assert (sentinel.refused, sentinel.notes) == (0, [])
    sentinel.deliver(BOTH, "")
    assert len(_messages(world)) == 1


# Races


def test_edited_while_being_written(world: World) -> None:
    """An analyst who saves first wins, field by field; what they left follows."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.before_write.append(lambda kept: kept.edit(ID, severity="Low", title="Case 7"))
    world.sentinel().deliver(replaced(BOTH, severity="High"), memo)
    stored = _kept(world)["incidents"][ID]
    assert (stored["severity"], stored["title"], stored["description"]) == ("Low", "Case 7", BOTH.description)
    assert len(world.time.waits) == 1
    assert 0.25 <= world.time.waits[0] <= 0.5


def test_closed_while_being_written(world: World) -> None:
    """The closing is seen, and the findings go to a follow-up."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.before_write.append(lambda kept: kept.close(ID))
    memo = world.sentinel().deliver(BOTH, memo)
    assert len(_messages(world)) == 1
    assert len(_messages(world, _memo(memo).links[-1].id)) == 1


def test_deleted_while_being_written(world: World) -> None:
    """A deletion in between is one: nothing comes back."""
    memo = world.sentinel().deliver(FIRST, "")

    def delete(kept: Kept) -> None:
        kept.delete(ID)

    world.server.before_write.append(delete)
    memo = world.sentinel().deliver(BOTH, memo)
    assert _memo(memo).gone
    assert _kept(world)["incidents"] == {}


def test_edited_without_end(world: World) -> None:
    """Whoever saves faster than we do is left in peace after a while; the delivery stays queued."""
    memo = world.sentinel().deliver(FIRST, "")
    world.server.before_write += [lambda kept: kept.edit(ID, status="Active")] * 100
    with pytest.raises(ServiceError, match=r"409 Conflict: Newer version of resource"):
        world.sentinel().deliver(BOTH, memo)
    assert 5 <= len(world.time.waits) <= 12


# All the rest


def test_incident_without_findings(world: World) -> None:
    """It is raised with its description alone, closed or open."""
    bare = replaced(FIRST, findings=())
    memo = world.sentinel().deliver(bare, "")
    assert _kept(world)["comments"] == {}
    world.server.workspace.close(ID)
    assert world.sentinel().deliver(replaced(bare, severity="High"), memo) == memo


def test_roll_up_is_an_incident_like_others(world: World) -> None:
    """One roll-up, delivered and delivered again with an app more."""
    apps = [incident(named(f"{n}", service_principal_ids=(f"sp{n}",), initiated_by_app=f"App {n}")) for n in range(5)]
    _, roll_up = choose(apps[:4], 2)
    _, larger = choose(apps, 2)
    assert roll_up is not None
    assert larger is not None
    memo = world.sentinel().deliver(roll_up, "")
    world.sentinel().deliver(larger, memo)
    (stored,) = _kept(world)["incidents"].values()
    assert stored["description"] == larger.description
    assert len(_messages(world, roll_up.id)) >= 1


def test_memo_holds_no_text_from_logs(world: World) -> None:
    """Only ids, digests and what this package says."""
    memo = world.sentinel().deliver(BOTH, "")
    assert "Backup Agent" not in memo
    assert "contoso" not in memo
    assert len(memo) < 2_000


NASTY: Final = (
    "<img src=x onerror=alert(1)>[a](https://evil.example)![p](https://evil.example/p.png) | where 1==1 // "
    '"); drop\r\n| x |\x1b[31m\u202e\u2066 `c` #/\\?% \ud800 \udfff\U000e0041'
)


@pytest.mark.parametrize("name", [NASTY, NASTY * 400, "x" * 60_000, "\ud800" * 60_000, "😀" * 60_000, "\r\n", " "])
def test_hostile_text(name: str, world: World) -> None:
    """Whatever a name holds and however long it is, Sentinel takes what comes of it, and takes it once."""
    one = named(
        "hostile",
        initiated_by_app=name,
        operation_name=name,
        target_user_principal_name=name,
        target_resource_name=name,
        initiated_by_ip_address=name,
        host=name,
        property_names=(name,) * 3,
        app_ids=(name,),
        evidence=(msgspec.structs.replace(ONE.evidence[0], id=name, old_value=name, new_value=name),) * 5,
    )
    hostile = incident(one)
    memo = world.sentinel().deliver(hostile, "")
    assert len(_kept(world)["bookmarks"]) == 1
    assert world.sentinel().notes == []
    world.server.forget()
    assert world.sentinel().deliver(hostile, memo) == memo
    assert world.server.writes == []


@pytest.mark.parametrize(
    "text",
    [
        WORKSPACE_ID,
        WORKSPACE_ID.lower(),
        WORKSPACE_ID.upper(),
        f" {WORKSPACE_ID}/\n",
        WORKSPACE_ID.removeprefix("/"),
    ],
)
def test_workspace(text: str) -> None:
    """A resource id as the portal and the tools give it."""
    found = parse_workspace(text)
    assert msgspec.structs.replace(found, subscription=SUBSCRIPTION) == Workspace(SUBSCRIPTION, found.group, found.name)
    assert (found.group.casefold(), found.name.casefold()) == (GROUP, WORKSPACE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        SUBSCRIPTION,
        WORKSPACE,
        WORKSPACE_ID + "/providers/Microsoft.SecurityInsights",
        WORKSPACE_ID.replace(SUBSCRIPTION, "mine"),
        WORKSPACE_ID.replace(GROUP, "a/../b"),
        WORKSPACE_ID.replace(GROUP, "a."),
        WORKSPACE_ID.replace(WORKSPACE, "-x"),
        WORKSPACE_ID.replace(WORKSPACE, "a?b"),
        WORKSPACE_ID + "\nx",
    ],
)
def test_no_workspace(text: str) -> None:
    """Anything else is refused, with what was expected."""
    with pytest.raises(ValueError, match="expected /subscriptions/<id>/resourceGroups/<group>"):
        parse_workspace(text)


def test_azure_is_imported_when_first_used() -> None:
    """Importing the sink, and making one, costs nothing of azure."""
    program = (
        "from rare_audit.sinks.arm import Arm; from rare_audit.sinks.sentinel import Sentinel; "
        "from rare_audit.places import parse_workspace; "
        f"Sentinel(Arm(parse_workspace('{WORKSPACE_ID}'), lambda: None))"
    )
    assert azure_imported_by(program) == []
