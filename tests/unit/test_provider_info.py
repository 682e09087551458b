"""The provider's metadata is what Airflow reads: valid, and every name in it leads somewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import config, extensions
from ml_event_provider.get_provider_info import OPTIONS, get_provider_info, option_default

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """Airflow's own schemas for this metadata."""
    import airflow

    folder = Path(airflow.__path__[0])
    return {
        name: json.loads((folder / f"{name}.schema.json").read_text("utf-8"))
        for name in ("provider_info", "customized_form_field_behaviours")
    }


def test_airflows_schema_takes_it(schemas: dict[str, Any]) -> None:
    import jsonschema

    jsonschema.validate(get_provider_info(), schemas["provider_info"])
    json.dumps(get_provider_info())


@pytest.mark.parametrize("kind", get_provider_info()["connection-types"], ids=lambda kind: kind["connection-type"])
def test_a_connections_form_is_one_that_airflow_takes(kind: dict[str, Any], schemas: dict[str, Any]) -> None:
    import jsonschema

    behaviour = kind["ui-field-behaviour"]
    known = schemas["customized_form_field_behaviours"]
    document = {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }
    jsonschema.validate(document, known)
    for field in kind["conn-fields"].values():
        jsonschema.Draft202012Validator.check_schema(field["schema"])


def names() -> Iterator[str]:
    info = get_provider_info()
    for group in ("operators", "sensors", "triggers", "hooks"):
        for item in info[group]:
            yield from item["python-modules"]
    yield from info["notifications"]
    yield from info["cli"]
    yield from info["db-managers"]
    yield from (plugin["plugin-class"] for plugin in info["plugins"])
    yield from (kind["hook-class-name"] for kind in info["connection-types"])


@pytest.mark.parametrize("name", sorted(set(names())))
def test_every_name_leads_somewhere(name: str) -> None:
    try:
        import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert callable(getattr(import_module(module), attribute))


def test_a_hook_serves_each_connection_type_under_its_name() -> None:
    for kind in get_provider_info()["connection-types"]:
        module, _, name = kind["hook-class-name"].rpartition(".")
        hook = getattr(import_module(module), name)
        assert (hook.conn_type, hook.hook_name) == (kind["connection-type"], kind["hook-name"])


def test_every_connection_type_of_ours_is_declared() -> None:
    declared = {kind["connection-type"] for kind in get_provider_info()["connection-types"]}
    served = {name for name in extensions.targets() if name.startswith("ml_events")}
    assert served <= declared


def test_modules_of_operators_hooks_and_the_like_are_all_declared() -> None:
    package = Path(import_module("ml_event_provider").__path__[0])
    info = get_provider_info()
    for group in ("operators", "sensors", "triggers"):
        found = {f"ml_event_provider.{group}.{path.stem}" for path in (package / group).glob("[!_]*.py")}
        assert found == {name for item in info[group] for name in item["python-modules"]}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_a_function_that_takes_its_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    getattr(config, name)()
    option = OPTIONS[name]
    assert isinstance(option["default"], str)
    if option["type"] in {"float", "integer"}:
        assert getattr(config, name)() == float(option["default"])
    if option["type"] == "boolean":
        assert getattr(config, name)() is (option["default"] == "True")


def test_an_option_that_does_not_exist_has_no_default() -> None:
    with pytest.raises(KeyError):
        option_default("nothing")


def test_reading_the_metadata_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ml_event_provider.get_provider_info import get_provider_info; get_provider_info();"
        "print(sorted({'airflow', 'pydantic', 'sqlalchemy', 'jinja2', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_installed_package_says_the_same() -> None:
    found = [one for one in entry_points(group="apache_airflow_provider") if "ml_event_provider" in one.value]
    if not found:
        pytest.skip("the package is not installed here")
    assert found[0].load()() == get_provider_info()
