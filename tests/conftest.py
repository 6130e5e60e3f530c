"""Options all tests share."""

import pytest
from hypothesis import HealthCheck, settings

# A machine under load makes drawing slow, not wrong; and no run may depend on what an earlier one left on disk.
settings.register_profile("steady", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`, which runs the long versions too."""
    parser.addoption("--all", action="store_true", help="run the long versions of checks as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long versions out unless they are asked for; they are deselected, not skipped."""
    if config.getoption("--all"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
