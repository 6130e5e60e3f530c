"""The cases planted in the sample: attacks, honest novelties, what the rule can't see, near misses, exclusions."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from rare_audit.sources.sample_tenant import (
    BACKUP,
    BROWSERS,
    CREDENTIALS_UPDATE,
    DOMAIN,
    GROUP_MANAGER,
    GUEST_DESK,
    HELPDESK,
    HR_SYNC,
    LICENSING,
    NOW,
    RUNBOOKS,
    RUNBOOKS_IP,
    Activity,
    Initiator,
    Property,
    Target,
    activity,
    by_app,
    by_user,
    guid,
    prop,
    target,
    user_target,
)

_HOSTILE_NAME: Final = (
    "=cmd|' /C calc'!A0 \x1b[31mURGENT\x1b[0m \u202egpj.eciovni [Sign in](https://tidewater.invalid/) <b>|</b>"
)
_Event: TypeAlias = tuple[str, tuple[Target, ...]]


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """One planted case, in the terms of the rule's columns: app and user name are "" where there is none.

    `seen`: the rule reports it. `excluded`: it does, but a shipped exclusion takes it. `why`: what hides an unseen one.
    """

    name: str
    story: str
    day: str
    app: str
    operation: str
    target_upn: str
    seen: bool
    excluded: bool = False
    why: str = ""


class Case(msgspec.Struct, frozen=True):
    """A planted case with its events: TimeGenerated (seven decimals, Z) and what happened. The last one is the case."""

    planted: Planted
    events: Sequence[tuple[str, Activity]]


def cases(seed: int) -> list[Case]:
    """All planted cases; the seed changes ids and nothing else. One story on one day is one correlation."""
    groups = (_attacks, _disguises, _novelties, _scalars, _blind_spots, _known, _edges, _excluded)
    told = [case for group in groups for case in group(seed)]
    return [Case(case.planted, [(at, _correlated(seed, case, at, act)) for at, act in case.events]) for case in told]


def _correlated(seed: int, case: Case, at: str, act: Activity) -> Activity:
    return msgspec.structs.replace(act, correlation_id=guid(seed, "case", case.planted.name, at[:10]))


def _case(name: str, operation: str, by: Initiator, story: str, *events: _Event, why: str = "") -> Case:
    """The last event says day and user; a `why` says that the rule does not report it."""
    stamp, targets = events[-1]
    planted = Planted(
        name=name,
        story=story,
        day=stamp[:10],
        app=by.app,
        operation=operation,
        target_upn=str(targets[0].get("userPrincipalName", "")).lower(),
        seen=not why,
        why=why,
    )
    return Case(planted, [(stamp, activity(operation, by, *targets)) for stamp, targets in events])


def _at(time: str, *targets: Target) -> _Event:
    """An event on a day of the month and a time of day, with all seven decimals: 15T03:12:44.1830027."""
    return f"2026-03-{time}Z", targets


def _service(seed: int, name: str, *changes: Property) -> Target:
    return _named(seed, "ServicePrincipal", name, *changes)


def _named(seed: int, kind: str, name: str, *changes: Property) -> Target:
    return target(kind, guid(seed, kind.lower(), name), name, *changes)


def _application(seed: int, name: str, *changes: Property) -> Target:
    return _named(seed, "Application", name, *changes)


def _user(seed: int, name: str, *changes: Property) -> Target:
    return user_target(seed, f"{name}@{DOMAIN}", *changes)


def _taken(case: Case, resource_group: str = "Microsoft.aadiam") -> Case:
    """The case, marked as taken by an exclusion, in this resource group."""
    replace = msgspec.structs.replace
    events = [(at, replace(act, resource_group=resource_group)) for at, act in case.events]
    return Case(replace(case.planted, excluded=True), events)


def _keys(seed: int, *names: str) -> tuple[Property, ...]:
    keys = [f"[KeyIdentifier={guid(seed, name)},KeyType=Password,KeyUsage=Verify,DisplayName={name}]" for name in names]
    return prop("KeyDescription", keys, keys[:-1]), prop("Included Updated Properties", "KeyDescription")


# The cases read as a table: who did what on the first line, the story below, then what happened.
# fmt: off
def _attacks(seed: int) -> list[Case]:
    role = prop("AppRole.Value", ["RoleManagement.ReadWrite.Directory"])
    owned = prop("Application.DisplayName", ["Customs Gateway"])
    urls = prop("IssuerUri", ["urn:tidewater-sso"]), prop("PassiveLogOnUri", ["https://sso-tidewater.invalid/adfs/ls"])
    migration, live = by_app(seed, "Tenant Migration Toolkit"), prop("LiveType", ["Federated"], ["Managed"])
    return [
        _case("backup-app-adds-a-credential", CREDENTIALS_UPDATE, by_app(seed, BACKUP),
              "The backup app's own secret leaked. At night it gives the payroll export two passwords.",
              _at("15T03:12:44.1830027", _application(seed, "Payroll Export", *_keys(seed, "sync"))),
              _at("15T03:12:51.5520318", _application(seed, "Payroll Export", *_keys(seed, "sync", "sync-2")))),
        _case("hr-sync-grants-itself-a-role", "Add app role assignment to service principal", by_app(seed, HR_SYNC),
              "The HR sync, which only ever writes users, grants itself the right to manage directory roles.",
              _at("16T02:41:09.0073312", _service(seed, "Microsoft Graph", role), _service(seed, HR_SYNC))),
        _case("runbook-makes-a-temp-an-owner", "Add owner to application", by_app(seed, RUNBOOKS, ip=RUNBOOKS_IP),
              "From its usual address the automation account makes a temp the owner of the customs gateway.",
              _at("16T04:05:30.7719004", _user(seed, "Temp.Rigger07", owned), _application(seed, "Customs Gateway"))),
        _case("domain-becomes-federated", "Set federation settings on domain", migration,
              "An app nobody knows points the domain's sign-ins at an identity provider of its own.",
              _at("15T22:18:03.4410095", _named(seed, "Domain", DOMAIN, *urls))),
        _case("domain-authentication-changes", "Set domain authentication", migration,
              "A moment later the same app switches the domain from managed to federated sign-in.",
              _at("15T22:18:37.9025561", _named(seed, "Domain", DOMAIN, live))),
    ]


def _disguises(seed: int) -> list[Case]:
    laptop, linux = "TWF-WIN-0112", prop("CloudDeviceOSType", ["Linux"], ["Windows"])
    cfo = "Astrid.Vanterpool_vanterpool-holding.example#EXT#"
    phone = {"DeviceName": "Pixel 9", "PhoneAppVersion": "6.2502.1", "AuthenticationType": 3, "NotificationType": 2}
    scopes = "[] => [[Scope: Mail.ReadWrite Files.ReadWrite.All offline_access, ConsentType: AllPrincipals]]"
    return [
        _case("service-desk-bot-swaps-the-cfo-telephone", "Update user", by_app(seed, HELPDESK),
              "The service desk bot renews telephones all day, but never yet for the finance chief, a guest account.",
              _at("16T13:26:48.3391170", _user(seed, cfo, prop("StrongAuthenticationPhoneAppDetail", [phone], []))),
              _at("16T13:27:15.6108842", _user(seed, cfo, prop("StrongAuthenticationMethod", [{"Type": 6}], [])))),
        _case("laptop-turns-into-linux", "Update device", by_app(seed, "Asset Barcode Import"),
              "A barcode importer rewrites a laptop's operating system, and the device policies no longer apply to it.",
              _at("16T01:17:22.0450761", _named(seed, "Device", laptop, linux)),
              _at("16T01:17:40.2299318", _named(seed, "Device", laptop, prop("IsCompliant", [True], [False])))),
        _case("app-with-a-hostile-name", "Consent to application", by_app(seed, _HOSTILE_NAME),
              "A mail app asks for consent under a name that attacks whoever displays, exports or forwards it.",
              _at("16T11:48:55.1203457", _service(seed, _HOSTILE_NAME, prop("ConsentAction.Permissions", [scopes])))),
        _case("twin-of-the-guest-desk", "Add user", by_app(seed, GUEST_DESK, principal="twin"),
              "A second service principal takes the guest desk's name and creates a member account instead of a guest.",
              _at("15T05:33:10.8841209", _user(seed, "svc-printqueue", prop("AccountEnabled", [True], [])))),
    ]


def _novelties(seed: int) -> list[Case]:
    hr, room = by_app(seed, HR_SYNC), "Quay.Room.4"
    enabled, office = prop("AccountEnabled", [True], []), prop("PhysicalDeliveryOfficeName", ["Leith Dock House"], [])
    return [
        _case("new-colleague-gets-an-account", "Add user", hr,
              "Honest: somebody starts on Monday, like two others this month. A new user is always a new combination.",
              _at("04T06:00:12.4470913", _user(seed, "Eleni.Marinos", enabled)),
              _at("09T06:00:09.9102245", _user(seed, "Tadeusz.Wilk", enabled)),
              _at("16T06:00:11.2054376", _user(seed, "Saoirse.Quinlan", enabled))),
        _case("new-colleague-gets-a-profile", "Update user", hr,
              "Honest: a minute later the HR sync fills in the new colleague's office.",
              _at("16T06:01:02.7381190", _user(seed, "Saoirse.Quinlan", office))),
        _case("new-room-booking-app", "Update user", by_app(seed, "Lantern Room Booking"),
              "Honest: facilities roll out a booking app on Sunday; it marks its first room mailbox.",
              _at("15T09:20:45.6613308", _user(seed, room, prop("extensionAttribute12", ["bookable"], [])))),
    ]


def _scalars(seed: int) -> list[Case]:
    temp, role, group = "Temp.Rigger07", "Global Administrator", "SG Treasury Approvers"
    names = prop("Role.DisplayName", role), prop("Role.WellKnownObjectName", "TenantAdmins")
    joined = prop("Group.DisplayName", group)
    gone = (
        prop("ServicePrincipal.DisplayName", [], ["Break Glass"]),
        prop("ServicePrincipal.AppId", None, guid(seed, "glass")),
    )
    why = "Its new values are plain strings; only the first item of an array counts as a new value."
    return [
        _case("runbook-grants-global-administrator", "Add member to role", by_app(seed, RUNBOOKS, ip=RUNBOOKS_IP),
              "The automation account makes a temp Global Administrator, and the rule says nothing.",
              _at("16T04:06:18.1150932", _user(seed, temp, *names), _named(seed, "Role", role)),
              why=why),
        _case("backup-app-joins-a-stranger-to-the-approvers", "Add member to group", by_app(seed, BACKUP),
              "The backup app puts a temp into the group that approves payments.",
              _at("15T03:20:04.5013377", _user(seed, temp, joined), _named(seed, "Group", group)),
              why=why),
        _case("removal-of-an-owner", "Remove owner from service principal", by_app(seed, GROUP_MANAGER),
              "The group manager takes the last owner off the break-glass app.",
              _at("16T15:44:31.9007126", _user(seed, "Hanneke.Bos", *gone), _service(seed, "Break Glass")),
              why="A removal leaves [] or null as new value, and a row without a new value is dropped."),
    ]


def _blind_spots(seed: int) -> list[Case]:
    grant, own = "Add app role assignment grant to user", "Add owner to service principal"
    crm = _service(seed, "Cargo CRM", prop("AppRole.Value", ["Reader"]))
    owned = prop("ServicePrincipal.DisplayName", ["Payroll Export"])
    impostor = LICENSING.lower()
    admin = by_user(seed, f"adm.oskar.nakamura@{DOMAIN}", "198.51.100.77", BROWSERS[0])
    return [
        _case("second-target-is-new", grant, by_app(seed, GROUP_MANAGER),
              "Access to the CRM is granted as every week; that a temp gets it this time stands in the second target.",
              _at("10T10:15:00.3370021", crm, _user(seed, "Front.Counter")),
              _at("16T10:15:00.4120088", crm, _user(seed, "Temp.Rigger07")),
              why="Only the first target is read, and it is a service principal the app has granted before."),
        _case("app-named-like-the-ignored-one", own, by_app(seed, impostor, principal="impostor"),
              "An attacker's app calls itself like group-based licensing and becomes the owner of the payroll export.",
              _at("15T23:02:56.0814425", _user(seed, "Temp.Rigger07", owned), _service(seed, "Payroll Export")),
              why="The rule ignores this app by its display name in any case, and anybody may choose that name."),
        _case("done-by-hand", own, admin,
              "An administrator adds the same owner by hand.",
              _at("16T16:30:02.2750640", _user(seed, "Temp.Rigger07", owned), _service(seed, "Payroll Export")),
              why="A person did it; the rule looks at events that an app initiated."),
        _case("backup-app-on-its-second-day", CREDENTIALS_UPDATE, by_app(seed, BACKUP),
              "The backup app goes on to the next application, one day after the rule has reported it.",
              _at("16T03:09:17.6402215", _application(seed, "Treasury Ledger", *_keys(seed, "sync-3"))),
              why="An application has no user name, so yesterday's finding makes operation and app known."),
    ]


def _known(seed: int) -> list[Case]:
    signatures = by_app(seed, "Halyard Signature Manager")
    old, new = prop("extensionAttribute3", ["signature=2"], []), prop("OtherMail", ["parcel@courier.invalid"], [])
    stamps = prop("LastDirSyncTime", [NOW], []), prop("StsRefreshTokensValidFrom", [NOW], [])
    marks = prop("Action Client Name", ["DirectorySync"]), prop("Included Updated Properties", ["LastDirSyncTime"])
    return [
        _case("only-ignored-properties", "Update user", by_app(seed, "Mooring Identity Bridge"),
              "A new sync server touches a user for the first time, but writes nothing except its own marks.",
              _at("15T08:05:27.3160044", _user(seed, "Piet.Zandstra", *stamps, *marks)),
              why="All its properties are on the ignore lists."),
        _case("only-the-case-differs", "Update user", signatures,
              "The signature manager writes the same user again, spelled with other capitals.",
              _at("05T12:00:31.0901178", _user(seed, "karin.van.der.berg", old)),
              _at("16T12:00:30.7745520", _user(seed, "Karin.Van.Der.Berg", old)),
              why="User names are lower-cased before they are compared."),
        _case("new-property-of-a-known-combination", "Update user", signatures,
              "The signature manager suddenly sets an outside mail address. Only the by-property variant reports that.",
              _at("05T12:00:32.4418803", _user(seed, "Luca.Ferrante", old)),
              _at("16T12:00:33.0090017", _user(seed, "Luca.Ferrante", new)),
              why="The property's name is no part of the key, so the combination is known."),
    ]


def _edges(seed: int) -> list[Case]:
    courier, dialler = "Cartage Courier Sync", "Semaphore Dialler"
    tag, url = prop("Tags", ["courier"], []), prop("AppAddress", ["https://dialler.example/cb"], [])
    return [
        _case("known-since-the-first-tick-of-the-lookback", "Add service principal", by_app(seed, courier),
              "The courier sync did this before, exactly 14 days before the hunted day begins.",
              _at("02T00:00:00.0000000", _service(seed, courier, tag)),
              _at("16T09:41:13.5507209", _service(seed, courier, tag)),
              why="The lookback includes its first tick."),
        _case("known-one-tick-too-early", "Update application", by_app(seed, dialler),
              "The dialler did this before, but one tick before the lookback begins.",
              _at("01T23:59:59.9999999", _service(seed, dialler, url)),
              _at("16T14:02:39.1180563", _service(seed, dialler, url))),
        _case("on-midnights-tick", "Update service principal", by_app(seed, "Nightwatch Scheduler"),
              "A scheduler never seen before acts on the very tick of midnight.",
              _at("16T00:00:00.0000000", _service(seed, "Harbour Lights", prop("Tags", ["nightly"], []))),
              why="The window's first tick belongs to the lookback too, so the event makes itself known."),
    ]


def _excluded(seed: int) -> list[Case]:
    report, review = prop("Description", ["Quarterly evidence"], []), prop("ReviewState", ["Audited"], ["Pending"])
    return [
        _taken(
            _case("compliance-runbook", "Update group", by_app(seed, "Compliance Automation Runbook"),
                  "The quarterly compliance runbook stamps its evidence group, in its own resource group.",
                  _at("16T05:30:00.8082216", _named(seed, "Group", "SG Audit Evidence", report))),
            resource_group="Compliance-Reports",
        ),
        _taken(
            _case("role-assignment-audit", "AuditRoleAssignment", by_app(seed, "MS-PIM"),
                  "Privileged identity management runs its periodic audit of role assignments.",
                  _at("15T04:45:19.3300471", _named(seed, "Role", "Exchange Administrator", review))),
        ),
    ]
