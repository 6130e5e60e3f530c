"""A synthetic tenant's AuditLogs rows, as a Log Analytics export has them, with planted cases to find and to miss.

Ordinary days come from `_streams`, what stands out from `sample_attacks`. The last two of the sixteen days are the ones
to hunt. On them ordinary events only repeat what days 2 to 14 have shown, days that both hunts look back on.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from operator import itemgetter
from random import Random
from typing import Final, TypeAlias

import msgspec

from rare_audit.sources.sample_attacks import Planted, cases
from rare_audit.sources.sample_tenant import (
    BACKUP,
    BROWSERS,
    CREDENTIALS_UPDATE,
    DOMAIN,
    GROUP_MANAGER,
    GUEST_DESK,
    HELPDESK,
    HR_ATTRIBUTES,
    HR_SYNC,
    LICENSING,
    NOW,
    ROLES,
    RUNBOOKS,
    RUNBOOKS_IP,
    SYSTEMS,
    VALUES,
    Activity,
    Initiator,
    Property,
    Tenant,
    activity,
    audit_row,
    by_app,
    by_user,
    guid,
    make_tenant,
    prop,
    target,
    user_target,
)

__all__ = ["DAYS", "FIRST_DAY", "FIRST_HUNTED", "LAST_HUNTED", "Planted", "planted", "sample_lines"]

FIRST_DAY: Final = "2026-03-01"
DAYS: Final = 16
FIRST_HUNTED: Final = "2026-03-15"
LAST_HUNTED: Final = "2026-03-16"

_WALKED_DAYS: Final = range(1, 14)
_HUNTED_DAYS: Final = range(14, 16)
_HOURLY: Final = (1, 1, 1, 1, 1, 2, 4, 7, 10, 11, 11, 9, 8, 10, 11, 10, 8, 5, 3, 2, 2, 1, 1, 1)
_TICKS_A_SECOND: Final = 10_000_000
_TICKS_AN_HOUR: Final = 3600 * _TICKS_A_SECOND
_TURNS: Final = range(3)

_Combinations: TypeAlias = Sequence[Sequence[Activity]]
_Act: TypeAlias = Callable[[Tenant, Initiator, int, int], Activity]
"""What an initiator does, for the target's number and the turn. The names in it depend on the number only."""


def planted() -> tuple[Planted, ...]:
    """What is planted in every sample, whatever its size and seed, and what the rule makes of it."""
    return tuple(case.planted for case in cases(seed=0))


def sample_lines(events: int = 4000, seed: int = 7) -> Iterator[bytes]:
    """About `events` rows, each one JSON line ending in a newline, in ascending order of TimeGenerated.

    The same arguments give the same bytes. Only the population is held, so millions of rows need no more memory than a
    few. The planted cases are always in; below a hundred events there is little else.
    """
    random = Random(seed)  # noqa: S311 - a repeatable sample, no secret
    home = make_tenant(seed)
    special = sorted((event for case in cases(seed) for event in case.events), key=itemgetter(0))
    ordinary = _ordinary(home, max(events - len(special), 0), random)
    encode = msgspec.json.Encoder().encode
    # Stamps are all of one length, so their order as text is their order in time.
    for stamp, act in heapq.merge(ordinary, special, key=itemgetter(0)):
        yield encode(audit_row(home, stamp, act, random.getrandbits(128))) + b"\n"


class _Stream:
    """One source of ordinary events: its share of a thousand, and its combinations.

    Each combination comes in a few turns, alike in operation, app, address, user and property names; only values
    differ. On days 2 to 14 a stream walks through them in order, then at random; the last two days choose among those
    walked by then, so they surely hold nothing new, at any number of events. Day 1 is free: the second hunt does not
    look back that far.
    """

    def __init__(self, share: int, combinations: _Combinations) -> None:
        self.share = share
        self._combinations = combinations
        self._walked = 0

    def step(self, day: int, chance: float) -> Activity | None:
        """The next event on this day (0 is the first) for a chance in [0, 1); None if none is known by then."""
        known = self._walked if day in _HUNTED_DAYS else len(self._combinations)
        if not known:
            return None
        place, rest = divmod(chance * known, 1)
        if day in _WALKED_DAYS and self._walked < known:
            place = self._walked
            self._walked += 1
        turns = self._combinations[int(place)]
        return turns[int(rest * len(turns))]


def _ordinary(home: Tenant, events: int, random: Random) -> Iterator[tuple[str, Activity]]:
    chances = [stream for stream in _streams(home) for _ in range(stream.share)]
    first = date.fromisoformat(FIRST_DAY)
    for day, hour, count in _hours(events):
        start = f"{first + timedelta(days=day)}T{hour:02d}"
        for slot in range(count):
            act = chances[int(random.random() * len(chances))].step(day, random.random())
            # At least one tick past the hour: an event on midnight's tick would make itself known.
            width = _TICKS_AN_HOUR // count
            second, tick = divmod(slot * width + 1 + int(random.random() * (width - 1)), _TICKS_A_SECOND)
            if act is not None:
                yield f"{start}:{second // 60:02d}:{second % 60:02d}.{tick:07d}Z", act


def _hours(events: int) -> Iterator[tuple[int, int, int]]:
    """Day, hour and number of events: busy in working hours, quiet at night and on weekends, `events` in all."""
    first = date.fromisoformat(FIRST_DAY)
    busy = [2 if (first + timedelta(days=day)).isoweekday() > 5 else 5 for day in range(DAYS)]
    total = sum(busy) * sum(_HOURLY)
    weight = given = 0
    for place in range(DAYS * 24):
        day, hour = divmod(place, 24)
        weight += busy[day] * _HOURLY[hour]
        due = events * weight // total
        yield day, hour, due - given
        given = due


def _streams(home: Tenant) -> list[_Stream]:
    def app(name: str, act: _Act, count: int, ip: str = "") -> _Combinations:
        by = by_app(home.seed, name, ip=ip)
        return [[act(home, by, number, turn) for turn in _TURNS] for number in range(count)]

    everyone, devices = len(home.people), len(home.devices)
    return [
        _Stream(205, _administrators(home)),
        _Stream(120, _self_service(home)),
        _Stream(170, app(HR_SYNC, _profile_update, everyone)),
        _Stream(130, app("ConnectSyncProvisioning_TWFSYNC01_5be0c1d97a24", _directory_sync, everyone)),
        _Stream(90, app(LICENSING, _licence_change, everyone)),
        _Stream(110, app("Device Registration Service", _system_update, devices)),
        _Stream(60, app("Quayside Device Manager", _compliance_update, devices)),
        _Stream(40, app("MS-PIM", _role_activation, 40)),
        _Stream(25, app(GROUP_MANAGER, _membership, 120)),
        _Stream(20, app(HELPDESK, _phone_update, 60)),
        _Stream(10, app("Identity Governance Access Reviews", _removal, 60)),
        _Stream(10, app(BACKUP, _group_update, len(home.groups))),
        _Stream(5, app(GUEST_DESK, _invitation, 40)),
        _Stream(5, app(RUNBOOKS, _tag_update, 6, RUNBOOKS_IP)),
    ]


def _administrators(home: Tenant) -> _Combinations:
    """What twelve administrators do by hand. The rule looks at apps only, so it never sees any of it."""
    names = [f"adm.{upn}".lower() for upn in home.people[200:212]]
    by = [by_user(home.seed, upn, f"198.51.100.{20 + n}", BROWSERS[n % len(BROWSERS)]) for n, upn in enumerate(names)]
    acts = (
        _membership,
        _removal,
        _password_reset,
        _policy_update,
        _profile_update,
        _licence_change,
        _credential_update,
    )
    return [
        [acts[number % len(acts)](home, by[number % len(by)], number, turn) for turn in _TURNS] for number in range(350)
    ]


def _self_service(home: Tenant) -> _Combinations:
    operation, agent = "User registered security info", BROWSERS[0]
    people = [(upn, by_user(home.seed, upn, f"192.0.2.{number}", agent)) for number, upn in enumerate(home.people)]
    return [[activity(operation, by, user_target(home.seed, upn))] for upn, by in people]


def _on_user(home: Tenant, by: Initiator, operation: str, number: int, *changes: Property) -> Activity:
    upn = home.people[number % len(home.people)]
    return activity(operation, by, user_target(home.seed, upn, *changes))


def _changes(names: Sequence[str], at: int) -> list[Property]:
    lists = [(name, VALUES[name]) for name in names]
    changed = [prop(name, [some[(at + 1) % len(some)]], [some[at % len(some)]]) for name, some in lists]
    return [*changed, prop("Included Updated Properties", ", ".join(names))]


def _profile_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    changes = _changes(HR_ATTRIBUTES[number % len(HR_ATTRIBUTES)], number + turn)
    return _on_user(home, by, "Update user", number, *changes)


def _directory_sync(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    """Every other person gets new stamps only, which the rule ignores by their names and values."""
    stamp, mark = prop("LastDirSyncTime", [NOW]), prop("Action Client Name", ["DirectorySync"])
    if number % 2:
        return _on_user(home, by, "Update user", number, stamp, *_changes(("TelephoneNumber",), number + turn))
    included = prop("Included Updated Properties", ["LastDirSyncTime"])
    return _on_user(home, by, "Update user", number, stamp, mark, included)


def _licence_change(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    names = ("SPE_E5", "VISIO_PLAN1", "PROJECT_P1")
    plans = [f"[SkuName={name}, SkuId={guid(0, name)}, DisabledPlans=[]]" for name in names]
    included = prop("Included Updated Properties", "AssignedLicense")
    return _on_user(home, by, "Change user license", number, prop("AssignedLicense", plans[: 1 + turn], []), included)


def _phone_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    phone = {"DeviceName": "NO_DEVICE", "PhoneAppVersion": f"6.25{turn}.1", "AuthenticationType": 3}
    names = prop("Included Updated Properties", "StrongAuthenticationPhoneAppDetail")
    return _on_user(home, by, "Update user", number, prop("StrongAuthenticationPhoneAppDetail", [phone], []), names)


def _password_reset(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    return _on_user(home, by, "Reset user password", number + turn)


def _invitation(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    upn = f"purser{number:02d}_{('lighterage', 'stevedores', 'bunkering')[number % 3]}.example#EXT#@{DOMAIN}"
    changes = prop("UserType", ["Guest"], []), prop("UserState", ["PendingAcceptance"]), prop("Source", f"desk {turn}")
    return activity("Invite external user", by, user_target(home.seed, upn, *changes))


def _membership(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    """Group changes carry scalars, so the rule drops them."""
    group = home.groups[(number + turn) % len(home.groups)]
    known = guid(home.seed, "group", group)
    changes = prop("Group.ObjectID", known), prop("Group.DisplayName", group)
    user = user_target(home.seed, home.people[number % len(home.people)], *changes)
    return activity("Add member to group", by, user, target("Group", known, group))


def _removal(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    """Removals carry old values only, so the rule drops them too."""
    group = home.groups[(number + turn) % len(home.groups)]
    known = guid(home.seed, "group", group)
    changes = prop("Group.ObjectID", None, known), prop("Group.DisplayName", None, group)
    user = user_target(home.seed, home.people[number % len(home.people)], *changes)
    return activity("Remove member from group", by, user, target("Group", known, group))


def _role_activation(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    role = ROLES[(number + turn) % len(ROLES)]
    known = guid(home.seed, "role", role)
    changes = [prop("Role.DisplayName", role), prop("Role.TemplateId", known)]
    operation = "Add member to role completed (PIM activation)"
    if number % 2:
        changes = [prop("Role.DisplayName", None, role), prop("Role.TemplateId", None, known)]
        operation = "Remove member from role (PIM activation expired)"
    user = user_target(home.seed, home.people[number], *changes)
    details = {"StartTime": NOW, "Justification": f"CHG{70412 + number}"}
    return activity(operation, by, user, target("Role", known, role), details=details)


def _policy_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    name = f"CA{number % 30:03d} Require MFA outside the quays"
    known = guid(home.seed, "policy", name)
    policy = {"id": known, "displayName": name, "state": "enabled", "conditions": {"clientAppTypes": ["all"]}}
    changes = prop("ConditionalAccessPolicy", {**policy, "modifiedDateTime": NOW, "revision": turn})
    return activity("Update conditional access policy", by, target("Policy", known, name, changes))


def _credential_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    name = f"{('Berth Planner', 'Manifest Importer', 'Tide Tables')[number % 3]} {number % 7}"
    key = f"[KeyIdentifier={guid(home.seed, name, turn)},KeyType=Password,KeyUsage=Verify,DisplayName=rotated]"
    changes = prop("KeyDescription", [key], []), prop("Included Updated Properties", "KeyDescription")
    return activity(CREDENTIALS_UPDATE, by, target("Application", guid(home.seed, "object", name), name, *changes))


def _group_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    name = home.groups[number]
    changes = prop("Description", [f"Last saved {NOW}, set {turn}"]), prop("Included Updated Properties", "Description")
    return activity("Update group", by, target("Group", guid(home.seed, "group", name), name, *changes))


def _tag_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    name = f"twf-runbook-{number:02d}"
    changes = prop("Tags", [f"lastRun={NOW}", f"slot={turn}"]), prop("Included Updated Properties", "Tags")
    return activity("Update service principal", by, target("ServicePrincipal", guid(home.seed, name), name, *changes))


def _system_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    system = list(SYSTEMS)[number % len(SYSTEMS)]
    names = ("CloudDeviceOSVersion", "DeviceOSVersion") if system == "Windows" else ("CloudDeviceOSVersion",)
    versions = [prop(name, [f"{SYSTEMS[system]}.{4890 + turn}"], [SYSTEMS[system]]) for name in names]
    included = prop("Included Updated Properties", ", ".join((*names, "CloudDeviceOSType")))
    return _on_device(home, by, number, *versions, prop("CloudDeviceOSType", [system]), included)


def _compliance_update(home: Tenant, by: Initiator, number: int, turn: int) -> Activity:
    states = [prop("IsCompliant", [turn != 1], [turn == 1]), prop("IsManaged", [True], [True])]
    return _on_device(home, by, number, *states, prop("Included Updated Properties", "IsCompliant, IsManaged"))


def _on_device(home: Tenant, by: Initiator, number: int, *changes: Property) -> Activity:
    name = home.devices[number]
    known = guid(home.seed, "device", name)
    details = {"Device Id": known, "User-Agent": "Dsreg/10.0"}
    return activity("Update device", by, target("Device", known, name, *changes), details=details)
