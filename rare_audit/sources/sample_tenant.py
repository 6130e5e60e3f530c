"""The made-up tenant behind the sample: its people, groups, devices and apps, and how its AuditLogs rows are worded.

Tidewater Freight does not exist. The shapes follow what Microsoft Entra writes (operation names, attribute lists as
JSON in a string, role and group changes as scalars); names, ids and values are invented and of a fixed number, so a
longer sample repeats the same combinations instead of adding new ones.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias
from uuid import NAMESPACE_DNS, uuid5

import msgspec

DOMAIN: Final = "tidewater.example"
NOW: Final = "0000-00-00T00:00:00Z"
"""Stands in a value for the second of the event; it needs no escape, so it is found however deep it is quoted."""
CREDENTIALS_UPDATE: Final = "Update application \u2013 Certificates and secrets management "
HR_SYNC: Final = "PeopleHarbor to Entra ID Provisioning"
LICENSING: Final = "Microsoft Azure AD Group-Based Licensing"
RUNBOOKS: Final = "Windlass Automation"
RUNBOOKS_IP: Final = "203.0.113.40"
BACKUP: Final = "Bollard Backup"
GUEST_DESK: Final = "Gangway Guest Desk"
GROUP_MANAGER: Final = "Harbourlight Group Manager"
HELPDESK: Final = "Tidewater Service Desk Bot"

_OPERATIONS: Final[Mapping[str, str]] = {  # Category, AADOperationType, LoggedByService
    "Add app role assignment grant to user": "UserManagement, Assign, Core Directory",
    "Add app role assignment to service principal": "ApplicationManagement, Assign, Core Directory",
    "Add member to group": "GroupManagement, Assign, Core Directory",
    "Add member to role": "RoleManagement, Assign, Core Directory",
    "Add member to role completed (PIM activation)": "RoleManagement, Assign, PIM",
    "Add owner to application": "ApplicationManagement, Assign, Core Directory",
    "Add owner to service principal": "ApplicationManagement, Assign, Core Directory",
    "Add service principal": "ApplicationManagement, Add, Core Directory",
    "Add user": "UserManagement, Add, Core Directory",
    "AuditRoleAssignment": "RoleManagement, Update, PIM",
    "Change user license": "UserManagement, Update, Core Directory",
    "Consent to application": "ApplicationManagement, Assign, Core Directory",
    "Invite external user": "UserManagement, Add, Invited Users",
    "Remove member from group": "GroupManagement, Unassign, Core Directory",
    "Remove member from role (PIM activation expired)": "RoleManagement, Unassign, PIM",
    "Remove owner from service principal": "ApplicationManagement, Unassign, Core Directory",
    "Reset user password": "UserManagement, Update, Core Directory",
    "Set domain authentication": "DirectoryManagement, Update, Core Directory",
    "Set federation settings on domain": "DirectoryManagement, Update, Core Directory",
    "Update application": "ApplicationManagement, Update, Core Directory",
    CREDENTIALS_UPDATE: "ApplicationManagement, Update, Core Directory",
    "Update conditional access policy": "Policy, Update, Conditional Access",
    "Update device": "Device, Update, Core Directory",
    "Update group": "GroupManagement, Update, Core Directory",
    "Update service principal": "ApplicationManagement, Update, Core Directory",
    "Update user": "UserManagement, Update, Core Directory",
    "User registered security info": "UserManagement, Add, Authentication Methods",
}
_FIRST_NAMES: Final = """Amara Bjorn Chiara Dmitri Elif Farah Gustavo Hanneke Ingrid Joaquin Katya Lindiwe Mateus Niamh
Oskar Priya Quentin Rosalind Soren Tomasz Ursula Viktor Wanjiru Ximena Yusuf""".split()
_LAST_NAMES: Final = """Abernathy Brekke Castellanos Dlamini Eriksen Fontaine Grabowski Haddad Iversen Jankowski
Kowalczyk Lindqvist Moreau Nakamura Okonkwo Petrov Quispe Rasmussen Santoro Thorvald Ueda Vandermeer Whitlock Yilmaz
Zielinski""".split()
_DEPARTMENTS: Final = (
    "Accounts Payable", "Crewing", "Customs Brokerage", "Dry Dock", "Fleet Operations",
    "Freight Forwarding", "Human Resources", "Information Technology", "Port Security", "Treasury",
)  # fmt: skip
VALUES: Final[Mapping[str, Sequence[str]]] = {
    "Department": _DEPARTMENTS,
    "JobTitle": ("Analyst", "Chief Mate Coordinator", "Dispatcher", "Planner", "Senior Clerk", "Team Lead"),
    "PhysicalDeliveryOfficeName": ("Bergen Quay 4", "Gdynia Terminal", "Leith Dock House", "Rotterdam Waalhaven"),
    "StreetAddress": ("4 Quay Road", "11 Terminal Street", "Dock House, Commercial Street", "Sluisjesdijk 80"),
    "City": ("Bergen", "Gdynia", "Edinburgh", "Rotterdam"),
    "TelephoneNumber": tuple(f"+44 131 496 0{n}" for n in range(100, 199)),
    "Mobile": tuple(f"+44 7700 900{n}" for n in range(100, 199)),
    "CompanyName": ("Tidewater Freight AS", "Tidewater Freight BV", "Tidewater Freight Ltd", "Tidewater Polska"),
    "EmployeeType": ("Permanent", "Fixed term", "Contractor", "Apprentice"),
    "extensionAttribute7": tuple(f"CC-{n}" for n in range(4100, 4180)),
}
"""The values that a user's attribute goes round in."""
SYSTEMS: Final = {"Windows": "10.0.22631", "iPhone": "18.3", "MacMDM": "14.7", "AndroidForWork": "15.0"}
"""Operating systems as a device object names them, with a version each."""
BROWSERS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:135.0) Gecko/20100101 Firefox/135.0",
    "PowerShell/7.5.0 (Ubuntu 24.04.2 LTS; Linux; en-US)",
)
ROLES: Final = ("Cloud Device Administrator", "Exchange Administrator", "Helpdesk Administrator", "User Administrator")
HR_ATTRIBUTES: Final = (
    ("Department", "JobTitle"),
    ("Mobile",),
    ("StreetAddress", "City", "PhysicalDeliveryOfficeName"),
    ("CompanyName", "EmployeeType"),
    ("extensionAttribute7",),
)

Property: TypeAlias = dict[str, str | None]
Target: TypeAlias = dict[str, object]


class Initiator(msgspec.Struct, frozen=True):
    """Who did it: the app's display name ("" for a person), the columns Identity and InitiatedBy, details."""

    app: str
    identity: str
    text: str
    details: Mapping[str, str]


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says besides its time and its own ids. `targets` and `details` are JSON text and may hold NOW."""

    operation: str
    category: str
    kind: str
    service: str
    by: Initiator
    targets: str
    details: str
    resource_group: str = "Microsoft.aadiam"
    correlation_id: str = ""


class Tenant(msgspec.Struct, frozen=True):
    """The population, the seed that all ids come from, and the ids of the directory and of its workspace."""

    seed: int
    directory: str
    workspace: str
    people: Sequence[str]  # user principal names
    groups: Sequence[str]
    devices: Sequence[str]  # names, their systems in the order of SYSTEMS, over and over


class AuditRow(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One line of the export: the columns in their usual order, dynamic ones as JSON text."""

    tenant_id: str
    source_system: str = "Azure AD"
    time_generated: str
    resource_id: str
    operation_name: str
    operation_version: str = "1.0"
    category: str
    result_type: str = ""
    result_signature: str = "None"
    result_description: str = ""
    duration_ms: int = 0
    correlation_id: str
    resource: str = "Microsoft.aadiam"
    resource_group: str
    resource_provider: str = ""
    identity: str
    level: str = "4"
    location: str = ""
    additional_details: str
    id: str
    initiated_by: str
    logged_by_service: str
    result: str = "success"
    result_reason: str = ""
    target_resources: str
    aad_tenant_id: str = msgspec.field(name="AADTenantId")
    activity_display_name: str
    activity_date_time: str
    aad_operation_type: str = msgspec.field(name="AADOperationType")
    type: str = "AuditLogs"


def audit_row(home: Tenant, stamp: str, act: Activity, bits: int) -> AuditRow:
    """The row of one activity at TimeGenerated `stamp` (seven decimals, Z); `bits`, 128 of them, make its ids."""
    digits = f"{bits:032x}"
    made = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
    correlation = act.correlation_id or made
    second = stamp[:19] + "Z"
    return AuditRow(
        tenant_id=home.workspace,
        time_generated=stamp,
        resource_id=f"/tenants/{home.directory}/providers/Microsoft.aadiam",
        operation_name=act.operation,
        category=act.category,
        correlation_id=correlation,
        resource_group=act.resource_group,
        identity=act.by.identity,
        additional_details=act.details.replace(NOW, second),
        id=f"Directory_{correlation}_{digits[:5].upper()}_{int(digits[5:12], 16)}",
        initiated_by=act.by.text,
        logged_by_service=act.service,
        target_resources=act.targets.replace(NOW, second),
        aad_tenant_id=home.directory,
        activity_display_name=act.operation,
        activity_date_time=stamp,
        aad_operation_type=act.kind,
    )


def make_tenant(seed: int) -> Tenant:
    """The tenant with 250 people, 40 groups and 120 devices; the seed changes the ids and nothing else."""
    rights = ("Readers", "Editors", "Mailbox", "Approvers")
    systems = list(SYSTEMS)
    return Tenant(
        seed,
        guid(seed, "directory"),
        guid(seed, "workspace"),
        [_upn(number) for number in range(250)],
        [f"SG {area} {right}" for area in _DEPARTMENTS for right in rights],
        [f"TWF-{systems[number % 4][:3].upper()}-{number:04d}" for number in range(120)],
    )


def _upn(number: int) -> str:
    row, first = divmod(number, len(_FIRST_NAMES))
    upn = f"{_FIRST_NAMES[first]}.{_LAST_NAMES[(7 * first + row) % len(_LAST_NAMES)]}@{DOMAIN}"
    return upn if number % 3 else upn.lower()


def guid(seed: int, *what: object) -> str:
    """The id that this thing has under this seed."""
    return str(uuid5(NAMESPACE_DNS, "/".join(map(str, (DOMAIN, seed, *what)))))


def by_app(seed: int, name: str, *, principal: str = "", ip: str = "") -> Initiator:
    """An application as initiator. A `principal` of its own makes it another service principal of the same name."""
    app = {
        "appId": guid(seed, "app", principal or name),
        "displayName": name,
        "servicePrincipalId": guid(seed, "principal", principal or name),
        "servicePrincipalName": None,
    }
    # Real app objects have no ipAddress at all, as a rule.
    initiated = text({"app": {**app, "ipAddress": ip} if ip else app})
    return Initiator(name, name, initiated, {})


def by_user(seed: int, upn: str, ip: str, agent: str) -> Initiator:
    """A person as initiator, in front of this browser."""
    user: dict[str, object] = {
        "id": guid(seed, "user", upn),
        "displayName": None,
        "userPrincipalName": upn,
        "ipAddress": ip,
        "roles": [],
    }
    return Initiator("", upn, text({"user": user}), {"User-Agent": agent})


def text(value: object) -> str:
    """The value as compact JSON text."""
    return msgspec.json.encode(value).decode()


def prop(name: str, new: object, old: object = None) -> Property:
    """A modifiedProperties item: values become JSON in a string, None stays null."""
    return {
        "displayName": name,
        "oldValue": None if old is None else text(old),
        "newValue": None if new is None else text(new),
    }


def target(kind: str, object_id: str, name: str, *properties: Property) -> Target:
    """A TargetResources item that is no user."""
    return {
        "id": object_id,
        "displayName": name,
        "type": kind,
        "modifiedProperties": properties,
    }


def user_target(seed: int, upn: str, *properties: Property) -> Target:
    """A user as TargetResources item; Entra leaves the displayName null there."""
    return {
        "id": guid(seed, "user", upn.lower()),
        "displayName": None,
        "type": "User",
        "userPrincipalName": upn,
        "modifiedProperties": properties,
    }


def activity(operation: str, by: Initiator, *targets: Target, details: Mapping[str, str] | None = None) -> Activity:
    """One thing done, with the category, type and service that Entra gives this operation."""
    category, kind, service = _OPERATIONS[operation].split(", ")
    pairs = {**by.details, **(details or {})}
    return Activity(
        operation=operation,
        category=category,
        kind=kind,
        service=service,
        by=by,
        targets=text(targets),
        details=text([{"key": key, "value": value} for key, value in pairs.items()]),
    )
