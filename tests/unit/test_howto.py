"""What the pages say is there: rules load, code compiles, commands parse, links lead somewhere, names are right."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
import textwrap
import time
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ml_event_provider import callbacks
from ml_event_provider.get_provider_info import OPTIONS, get_provider_info
from ml_event_provider.messages import Renderer
from ml_event_provider.messages.preview import sample_events
from ml_event_provider.rules import RuleSet
from ml_event_provider.rules.files import load_definitions
from ml_event_provider.targets import Message, Outcome
from ml_event_provider.targets.network import Network
from ml_event_provider.targets.webhook import secret_bytes, sign
from tests.peers.receiver import WEBHOOK_SECRET, Behaviour, Receiver

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ml_event_provider"
DOCS = ROOT / "docs"
PAGES = {page.relative_to(ROOT).as_posix(): page for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block and where it stands."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def page(name: str) -> str:
    return PAGES[name].read_text("utf-8")


def blocks(language: str) -> list[Block]:
    return [
        Block(name, page(name)[: found.start()].count("\n") + 1, textwrap.dedent(found[3]))
        for name in PAGES
        for found in _FENCE.finditer(page(name))
        if found[2] == language
    ]


def prose(name: str) -> str:
    return _FENCE.sub("", page(name))


def where(value: object) -> str:
    return str(value)


# Rules


RULES = [block for block in blocks("yaml") if "targets:" in block.text]


@pytest.mark.parametrize("block", RULES, ids=where)
def test_rules_in_the_pages_load_and_compile(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(block.text, "utf-8")
    found = load_definitions(path)
    rules = RuleSet(found.rules, groups=found.resource_groups, calendars=found.calendars, silences=found.silences)
    assert rules.broken == {}
    for rule in found.rules:
        for target in rule.targets:
            if source := target.options.get("body_template"):
                event = sample_events()["airflow.task_instance.failed"]
                json.loads(Renderer().render_json(str(source), event, rule=rule.name, options=target.options))


# Code


@pytest.mark.parametrize("block", blocks("python"), ids=where)
def test_python_in_the_pages_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", blocks("json"), ids=where)
def test_json_in_the_pages_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [block for block in blocks("python") if "DAG(" in block.text], ids=where)
def test_dags_in_the_pages_can_be_parsed(block: Block) -> None:
    from airflow.sdk import DAG

    scope: dict[str, Any] = {}
    exec(block.text, scope)
    for dag in scope.values():
        if isinstance(dag, DAG):
            dag.validate()


def imports(block: Block) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ml_event_provider"):
            yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize(
    ("module", "name"),
    sorted({pair for block in blocks("python") for pair in imports(block)}),
)
def test_what_the_pages_import_exists(module: str, name: str) -> None:
    assert name in names_of(module)


def test_the_receiver_shown_takes_what_is_signed_and_nothing_else() -> None:
    (block,) = (one for one in blocks("python") if "standardwebhooks" in one.text)
    scope: dict[str, Any] = {}
    exec(block.text, scope)
    body, now = b'{"type": "x"}', int(time.time())
    headers = {
        "webhook-id": "d-1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret_bytes(WEBHOOK_SECRET, "secret"), "d-1", now, body),
    }
    assert scope["receive"](WEBHOOK_SECRET, headers, body) == {"type": "x"}
    with pytest.raises(PermissionError):
        scope["receive"](WEBHOOK_SECRET, headers, body.replace(b"x", b"y"))


def test_the_target_shown_sends_and_says_what_the_remote_said() -> None:
    (block,) = (one for one in blocks("python") if "class NtfyTarget" in one.text)
    scope: dict[str, Any] = {}
    exec(block.text, scope)
    assert [target.connection_types for target in scope["ml_event_targets"]()] == [("ntfy",)]
    target = scope["NtfyTarget"](network=Network(allowed_hosts=lambda: ("127.0.0.1",)))
    message = Message(
        delivery_id="d-1",
        event=sample_events()["airflow.dag_run.failed"],
        title="❌ DAG churn_training failed",
        body="Run: r1",
        severity="error",
        log_url="https://airflow.example.com/log",
    )
    with Receiver() as receiver:
        connection = SimpleNamespace(
            conn_id="phones",
            conn_type="ntfy",
            host=receiver.url("/ml"),
            schema=None,
            login=None,
            password="tk_0123456789",
            port=None,
            extra_dejson={},
        )
        results = [target.send(connection, message, timeout=5)]
        receiver.next(
            Behaviour(status=503, headers={"Retry-After": "7"}), Behaviour(status=403, body="no tk_0123456789")
        )
        results += [target.send(connection, message, timeout=5) for _ in range(2)]
        (first, *_) = receiver.requests
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.RETRY, Outcome.REFUSED]
    assert results[1].retry_after == 7
    assert "tk_0123456789" not in results[2].reason
    sent = {name.lower(): value for name, value in first.headers.items()}
    assert (sent["priority"], sent["click"], sent["authorization"]) == (
        "5",
        "https://airflow.example.com/log",
        "Bearer tk_0123456789",
    )
    assert sent["title"].encode("latin-1").decode() == message.title
    assert first.body == b"Run: r1"


def test_the_templates_shown_can_be_used(tmp_path: Path) -> None:
    extended, short = (one.text for one in blocks("jinja") if one.page == "docs/howto/templates.md")
    (tmp_path / "airflow.task_instance.failed.slack.j2").write_text(extended, "utf-8")
    (tmp_path / "short.j2").write_text(short, "utf-8")
    event = sample_events()["airflow.task_instance.failed"]

    def body(template: str | None = None, **options: Any) -> str:
        rendered = Renderer([tmp_path]).render(
            event,
            channel="slack",
            dialect="mrkdwn",
            max_title_bytes=200,
            max_body_bytes=16_000,
            template=template,
            options=options,
        )
        assert rendered.problems == ()
        return rendered.body

    assert "<https://wiki.example.com/runbooks/churn_training|how to restart>" in body()
    assert "on call: Ana" in body("short.j2", on_call="Ana")


# Commands


def commands(block: Block) -> Iterator[str]:
    for line in block.text.replace("\\\n", " ").splitlines():
        if re.match(r"(\S+=\S* )*airflow ", line):
            yield line[line.index("airflow ") :]


def said(name: str) -> Iterator[str]:
    """Whole commands in a how-to's prose."""
    if name.startswith("docs/howto/"):
        yield from re.findall(r"`(airflow ml-events [^`]+)`", prose(name))


COMMANDS = sorted(
    {line for block in blocks("bash") for line in commands(block)} | {line for name in PAGES for line in said(name)}
)


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    from airflow.cli.cli_parser import get_parser

    return get_parser()


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_in_the_pages_parse(line: str, parser: ArgumentParser, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line, comments=True)[1:]
    try:
        parser.parse_args(words)
    except SystemExit:
        pytest.fail(f"{line}\n{capsys.readouterr().err}")


def test_there_are_commands_to_parse() -> None:
    assert len(COMMANDS) > 30


# Names


def links(name: str) -> Iterator[tuple[str, str]]:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(name)):
        path, _, anchor = target.partition("#")
        yield path, anchor


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for path, anchor in links(name):
        target = (PAGES[name].parent / path) if path else PAGES[name]
        assert target.exists(), f"{name} links to {path}"
        assert not anchor or anchor in slugs(target), f"{name} links to {path}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = {(DOCS / path).resolve() for path, _ in links("docs/README.md")}
    assert index == {
        path.resolve() for name, path in PAGES.items() if name.startswith("docs/") and path.parent != DOCS
    } | {(DOCS / "tutorial.md").resolve()}


def options(name: str) -> set[str]:
    text = page(name)
    found = set(re.findall(r"\[ml_events\] ([a-z_]+)", text))
    found |= {option.lower() for option in re.findall(r"AIRFLOW__ML_EVENTS__([A-Z_]+)", text)}
    for block in re.findall(r"^\[ml_events\]\n((?:\w+ ?=.*\n)+)", text, re.MULTILINE):
        found |= set(re.findall(r"^(\w+) ?=", block, re.MULTILINE))
    return found


@pytest.mark.parametrize("name", PAGES)
def test_options_named_in_the_pages_exist(name: str) -> None:
    assert options(name) <= set(OPTIONS)


def test_every_metric_is_documented_and_no_other() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r'(?<![.\w])(?:count|gauge)\(f?"([a-z_{}.]+)"', sources))
    named.remove("deliveries_{state}")
    named |= {f"deliveries_{state}" for state in ("delivered", "failed", "dead")}
    documented = re.findall(r"^\| `ml_events\.(\w+)` \|", page("docs/howto/operate.md"), re.MULTILINE)
    assert set(documented) == named


# The page about Python


PYTHON = page("docs/reference/python.md")


class Documented(NamedTuple):
    """A name with its own section: its rows of arguments and methods."""

    module: str
    name: str
    arguments: dict[str, tuple[str, bool]]
    methods: dict[str, list[str]]

    def __str__(self) -> str:
        return self.name


def _arguments(text: str) -> dict[str, tuple[str, bool]]:
    rows = re.findall(r"^\| `(\w+)` \| (`.+?`|required) \| (.*) \|$", text, re.MULTILINE)
    return {name: (default.strip("`"), "(templated)" in meaning) for name, default, meaning in rows}


def documented() -> Iterator[Documented]:
    for part in PYTHON.split("\n## `")[1:]:
        module = part.partition("`")[0]
        for section in part.split("\n### `")[1:]:
            methods = re.findall(r"^\| `(\w+)\((.*?)\)` \|", section, re.MULTILINE)
            yield Documented(
                module,
                section.partition("`")[0],
                _arguments(section),
                {name: re.findall(r"\w+", arguments) for name, arguments in methods},
            )


DOCUMENTED = list(documented())
#: Importing it takes seconds and loads Great Expectations: its source is read.
READ = "ml_event_provider.notifications.great_expectations"


@cache
def names_of(module: str) -> frozenset[str]:
    """What can be imported from a module."""
    if module == READ:
        tree = ast.parse((PACKAGE / "notifications" / "great_expectations.py").read_text("utf-8"))
        return frozenset(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    found = importlib.import_module(module)
    return frozenset(dir(found)) | frozenset(getattr(found, "__all__", ()))


def _signature(subject: Any, skip: Iterable[str] = ("self", "cls", "type")) -> dict[str, Any]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        name: one.default
        for name, one in inspect.signature(inspect.unwrap(_constructor(subject))).parameters.items()
        if name not in skip and one.kind not in kinds
    }


def _constructor(subject: Any) -> Any:
    """A class's own constructor: Airflow wraps those of operators, and shows all of its own arguments."""
    return subject.__init__ if inspect.isclass(subject) else subject


def _signature_of(one: Documented) -> dict[str, Any]:
    if one.module == READ:
        tree = ast.parse((PACKAGE / "notifications" / "great_expectations.py").read_text("utf-8"))
        (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == one.name)
        found = {
            node.target.id: ast.literal_eval(node.value)
            for node in body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        }
        # What Great Expectations itself uses to tell actions apart.
        return {name: value for name, value in found.items() if name not in {"type", "name"}}
    subject = getattr(importlib.import_module(one.module), one.name)
    # Airflow's operators inherit from a dataclass.
    if is_dataclass(subject) and "__dataclass_fields__" in vars(subject):
        return {
            field.name: field.default_factory()
            if field.default_factory is not MISSING
            else inspect.Parameter.empty
            if field.default is MISSING
            else field.default
            for field in fields(subject)
        }
    return _signature(subject)


@pytest.mark.parametrize("one", DOCUMENTED, ids=where)
def test_arguments_and_defaults_are_those_of_the_code(one: Documented) -> None:
    signature = _signature_of(one)
    assert list(one.arguments) == list(signature)
    for name, (default, _) in one.arguments.items():
        if default == "required":
            assert signature[name] is inspect.Parameter.empty, name
        elif not default.startswith("["):
            assert signature[name] == ast.literal_eval(default), name


@pytest.mark.parametrize(
    "one", [one for one in DOCUMENTED if ".operators." in one.module or ".sensors." in one.module], ids=where
)
def test_templated_arguments_are_those_of_the_code(one: Documented) -> None:
    subject = getattr(importlib.import_module(one.module), one.name)
    assert {name for name, (_, templated) in one.arguments.items() if templated} == set(subject.template_fields) & set(
        one.arguments
    )


@pytest.mark.parametrize("one", [one for one in DOCUMENTED if one.methods], ids=where)
def test_methods_are_those_of_the_code(one: Documented) -> None:
    subject = getattr(importlib.import_module(one.module), one.name)
    for name, arguments in one.methods.items():
        assert list(_signature(getattr(subject, name), skip=("self",))) == arguments, name


def _public_classes(module: str) -> Iterator[str]:
    found = importlib.import_module(module)
    for name, value in vars(found).items():
        if inspect.isclass(value) and value.__module__ == module and not name.startswith("_"):
            yield name


def public_names() -> Iterator[tuple[str, str]]:
    info = get_provider_info()
    for kind in ("operators", "sensors", "hooks"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                yield from ((module, name) for name in _public_classes(module))
    yield from (tuple(path.rsplit(".", 1)) for path in info["notifications"])  # type: ignore[misc]
    yield READ, "MlEventAction"


@pytest.mark.parametrize(("module", "name"), sorted(public_names()))
def test_every_operator_sensor_hook_notifier_and_action_is_documented(module: str, name: str) -> None:
    assert f"`{module}`" in PYTHON
    assert f"`{name}`" in PYTHON


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in vars(callbacks).items()
        if inspect.isfunction(value) and value.__module__ == callbacks.__name__ and not name.startswith("_")
    ],
)
def test_every_callback_is_documented(name: str) -> None:
    assert re.search(rf"`{name}[`(]", PYTHON)
    if name.endswith("_callback"):
        assert f"| `{name}` |" in page("docs/howto/callbacks.md")
    if name.endswith("_callback") and name != "deadline_alert_callback":
        section = PYTHON.split("\n## `ml_event_provider.callbacks`")[1].split("\n### ")[0]
        found = {key: ast.literal_eval(default) for key, (default, _) in _arguments(section).items()}
        assert found == _signature(getattr(callbacks, name))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for module, names in re.findall(r"^\| `(ml_event_provider[\w.]+)` \| ([^|]+) \|", PYTHON, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    ],
)
def test_names_of_other_modules_can_be_imported(module: str, name: str) -> None:
    getattr(importlib.import_module(module), name)
