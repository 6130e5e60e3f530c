"""What azd reads: azure.yaml and the parameters' file."""

import json
import re

import yaml

from rare_audit.settings import read_settings
from tests.infra.bicep import INFRA, default, file, kind_of, text, walk

_TEXT = (INFRA / "main.parameters.json").read_text(encoding="utf-8")
_GIVEN = {name: each["value"] for name, each in json.loads(_TEXT)["parameters"].items()}
_MAIN = file(INFRA / "main.bicep")
_AZD = yaml.safe_load((INFRA.parent / "azure.yaml").read_text(encoding="utf-8"))


def test_every_parameter_can_be_set_by_azd() -> None:
    """The parameters' file names each of main.bicep's, and no other, each by an environment variable of its own."""
    assert _GIVEN.keys() == _MAIN.of("parameter").keys()
    names = [re.fullmatch(r"\$\{(\w+)(=[^}]*)?\}", value) for value in _GIVEN.values()]
    assert all(names)
    assert len({name[1] for name in names if name}) == len(_GIVEN)


def test_defaults_are_the_same_in_both_places() -> None:
    """Where the environment says nothing, azd gives main.bicep's own default; an empty text is one only of a text."""
    for name, node in _MAIN.of("parameter").items():
        value, given = default(node), _GIVEN[name].rstrip("}").partition("=")
        if value is not None and kind_of(value):
            assert given[2] == text(value).strip("'"), name


def test_defaults_are_those_of_the_code() -> None:
    """What main.bicep sets by default is what the code does where nothing is set."""
    guid = "5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42"
    settings = read_settings({
        "AzureWebJobsStorage": "UseDevelopmentStorage=true", "LOG_ANALYTICS_WORKSPACE_ID": guid,
        "RARE_AUDIT_INCIDENTS": "observe",
    })  # fmt: skip
    code = {
        "maxIncidents": settings.max_incidents, "minDays": settings.workspace.min_days,
        "catchUpDays": settings.catch_up_days, "lateDays": settings.late_days,
        "retentionDays": settings.retention_days, "bookmarks": settings.bookmarks,
        "storeValues": settings.store_values,
    }  # fmt: skip
    for name, value in code.items():
        declared = default(_MAIN.of("parameter")[name])
        assert declared is not None
        assert json.loads(text(declared)) == value, name


def test_the_timers_default_is_the_apps() -> None:
    """The schedule is the one that function_app.py falls back to."""
    declared = default(_MAIN.of("parameter")["schedule"])
    assert declared is not None
    assert f'or "{text(declared).strip(chr(39))}"' in (INFRA.parent / "function_app.py").read_text(encoding="utf-8")


def test_azd_finds_the_app() -> None:
    """The service of azure.yaml is the tag of one resource."""
    assert list(_AZD["services"]) == ["job"]
    tagged = [node for node in walk(file(INFRA / "app/job.bicep").root) if text(node) == "'azd-service-name': 'job'"]
    assert tagged


def test_hooks_know_their_scripts() -> None:
    """Each hook calls the script that is there, with a word that it knows."""
    script = (INFRA / "hooks/sentinel.sh").read_text(encoding="utf-8")
    for hook in _AZD["hooks"].values():
        assert hook["shell"] == "sh"
        _, path, word = hook["run"].split()
        assert (INFRA.parent / path).is_file()
        assert f"\n{word})\n" in script
