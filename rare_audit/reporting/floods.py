"""A flood in words."""

from rare_audit.detection.finding import FloodCounts


def flood_line(flood: FloodCounts) -> str:
    """Return how many there are of what: `2,001 combinations: 2,001 users, 1 resource, 3 addresses`."""
    parts = (
        (flood.users, "user", "users"),
        (flood.resources, "resource", "resources"),
        (flood.addresses, "address", "addresses"),
    )
    listed = ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in parts if count)
    return f"{flood.combinations:,} combinations{': ' if listed else ''}{listed}"
