"""Packs: what the built-in ones tell of and what not, what parameters do, and how wrong ones are refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ml_event_provider.events.catalogue import validate_data
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import InvalidRule, NotFound
from ml_event_provider.rules import Rule, RuleSet
from ml_event_provider.rules.engine import Arrival, Engine, MemoryStates
from ml_event_provider.rules.packs import Pack, Parameter, find_pack, load_pack, packs, parse_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "packs.md").read_text("utf-8")
START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
NEEDED = {"targets": ["slack_ml"]}
PACKS = packs()


class At(NamedTuple):
    """An event at a moment, in seconds from the start."""

    seconds: float
    type: str
    data: dict[str, Any]


def told(
    pack: Pack, parameters: dict[str, Any], stream: Sequence[At], until: float = 2 * HOUR
) -> list[tuple[str, str]]:
    """Which rules told what, in order: drives the engine over a stream of events."""
    rules = RuleSet(pack.expand({**NEEDED, **parameters}, workspace="default"))
    assert rules.broken == {}
    engine = Engine(rules, MemoryStates())
    begin = START.timestamp()
    engine.advance(begin)
    engine.expect(begin)
    for number, (seconds, kind, data) in enumerate(sorted(stream, key=lambda one: one.seconds), 1):
        time = START + timedelta(seconds=seconds)
        event = Event(id=f"e{number}", source="/airflow", type=kind, time=time, data=data)
        engine.take(Arrival(number, event, begin + seconds))
    engine.advance(begin + until)
    return [(one.rule.name.removeprefix(f"{pack.name}: "), str(one.kind)) for one in engine.planned]


# What happens in an Airflow with models


def run(seconds: float, state: str, dag: str = "train_churn", run: str = "r1") -> At:
    return At(seconds, f"airflow.dag_run.{state}", {"dag_id": dag, "run_id": run, "state": state})


def task(
    seconds: float,
    state: str,
    dag: str = "train_churn",
    run: str = "r1",
    task_id: str = "fit",
    map_index: int = -1,
    tried: int = 1,
) -> At:
    data = {
        "dag_id": dag,
        "run_id": run,
        "task_id": task_id,
        "map_index": map_index,
        "try_number": tried,
        "try_id": f"018f0000-0000-7000-8000-{map_index + 1:08d}{tried:04d}",
        "state": state,
    }
    return At(seconds, f"airflow.task_instance.{state}", data)


def missed(seconds: float, dag: str = "train_churn", run: str = "r1") -> At:
    return At(seconds, "airflow.deadline.missed", {"dag_id": dag, "run_id": run})


def broken_file(seconds: float, name: str) -> At:
    return At(seconds, "airflow.dag.import_error", {"filename": name, "bundle_name": "dags", "message": "No module"})


def metric(seconds: float, name: str, value: Any, run: str = "m1", **data: Any) -> At:
    data = {"run_id": run, "metric": name, "value": value, "dag_id": "train_churn", **data}
    return At(seconds, "ml.run.metric_logged", data)


def version(seconds: float, status: str, previous: str | None = None, number: str = "7", model: str = "churn") -> At:
    data: dict[str, Any] = {"registry": "mlflow", "model": model, "version": number, "status": status}
    return At(seconds, "ml.model_version.approval_changed", data | ({"previous_status": previous} if previous else {}))


def drift(seconds: float, coefficient: float = 0.3, name: str = "orders", **data: Any) -> At:
    day = int(seconds // DAY)
    found = {
        "DataDriftId": name,
        "DataDriftName": name,
        "RunId": f"{name}_{day}",
        "BaseDatasetId": "s3://features/reference.parquet",
        "TargetDatasetId": f"s3://features/{day}.parquet",
        "DriftCoefficient": coefficient,
    }
    return At(seconds, "ml.dataset.drift_detected", found | data)


def check(seconds: float, state: str, severity: str = "warning", name: str = "orders", **data: Any) -> At:
    found: dict[str, Any] = {"checkpoint": name, "data_asset": "orders", "success": state == "success", **data}
    if state == "failed":
        found["failed_expectations"] = [
            {"column": "id", "severity": "info"},
            {"column": "amount", "severity": severity},
        ]
    return At(seconds, f"ml.data_validation.{state}", found)


def endpoint(
    seconds: float,
    status: str,
    previous: str | None = None,
    name: str = "churn",
    kind: str = "ml.endpoint.state_changed",
) -> At:
    return At(seconds, kind, {"endpoint": name, "status": status, "previous_status": previous})


def losses(values: Sequence[Any], name: str = "val_loss") -> list[At]:
    return [metric(10.0 * step, name, value) for step, value in enumerate(values)]


CALM = [0.500 + 0.001 * (step % 3) for step in range(21)]

FIRES: list[tuple[str, dict[str, Any], list[At], float, list[tuple[str, str]]]] = [
    (
        "pipelines",
        {},
        [run(0, "failed"), run(10 * MINUTE, "success", run="r2")],
        HOUR,
        [("run failed", "fired"), ("run failed", "resolved")],
    ),
    (
        # It comes and goes; that it does is told once, and how it stands when it is calm.
        "pipelines",
        {"consecutive": 0},
        [run(n * 6 * MINUTE, ("failed", "success")[n % 2], run=f"r{n}") for n in range(12)],
        9 * HOUR,
        [
            *[("run failed", "fired"), ("run failed", "resolved")] * 2,
            ("run failed", "fired"),
            ("run failed", "flapping"),
            ("run failed", "resolved"),
        ],
    ),
    (
        # A backfill: the first at once, the others together.
        "pipelines",
        {"consecutive": 0},
        [run(number, "failed", run=f"r{number}") for number in range(50)],
        HOUR,
        [("run failed", "fired"), ("run failed", "fired")],
    ),
    (
        # One message for a hundred mapped instances, whose run goes on.
        "pipelines",
        {},
        [task(number / 10, "failed", map_index=number) for number in range(100)],
        HOUR,
        [("task failed", "fired")],
    ),
    (
        # The run's failure tells of its tasks, too.
        "pipelines",
        {},
        [*(task(number / 10, "failed", map_index=number) for number in range(50)), run(30, "failed")],
        HOUR,
        [("run failed", "fired")],
    ),
    (
        "pipelines",
        {"remind": "6h"},
        [*(run(n * HOUR, "failed", run=f"r{n}") for n in range(3)), run(9 * HOUR, "success", run="r4")],
        10 * HOUR,
        [
            *[("run failed", "fired")] * 2,
            ("failing again and again", "fired"),
            ("run failed", "fired"),
            ("failing again and again", "repeated"),
            ("failing again and again", "resolved"),
            ("run failed", "resolved"),
        ],
    ),
    (
        "pipelines",
        {"expect": ["nightly"], "remind": "90m"},
        [run(26 * HOUR, "success", dag="nightly")],
        30 * HOUR,
        [("no success", "fired"), ("no success", "repeated"), ("no success", "resolved")],
    ),
    (
        "pipelines",
        {},
        [missed(0), run(HOUR, "success")],
        2 * HOUR,
        [("deadline missed", "fired"), ("deadline missed", "resolved")],
    ),
    (
        "pipelines",
        {},
        [broken_file(number + again, f"dag_{number}.py") for number in range(30) for again in (0, 20 * MINUTE)],
        2 * HOUR,
        [("dag import failed", "fired")],
    ),
    (
        "pipelines",
        {},
        [task(number, "up_for_retry", dag=f"dag_{number}") for number in range(40)],
        HOUR,
        [("many retries", "fired"), ("many retries", "resolved")],
    ),
    (
        "training",
        {},
        [run(0, "failed"), run(HOUR, "success", run="r2")],
        2 * HOUR,
        [("run failed", "fired"), ("run failed", "resolved")],
    ),
    (
        "training",
        {},
        [run(number, "failed", run=f"r{number}") for number in range(20)],
        HOUR,
        [("run failed", "fired"), ("run failed", "fired")],
    ),
    (
        "training",
        {"longest": "2h"},
        [run(0, "running"), run(1, "running", run="r2"), run(HOUR, "success", run="r2"), run(3 * HOUR, "success")],
        4 * HOUR,
        [("running too long", "fired"), ("running too long", "resolved")],
    ),
    (
        # Workers of one mapped task.
        "training",
        {},
        [task(number * MINUTE, "up_for_retry", map_index=number) for number in range(3)],
        3 * HOUR,
        [("fault tolerance triggered too often", "fired"), ("fault tolerance triggered too often", "resolved")],
    ),
    (
        "training",
        {},
        losses([0.9] * 5 + [0.5] * 5 + [0.9] * 5 + [0.5] * 5, "val_accuracy"),
        10 * MINUTE,
        [("metric worse", "fired")],
    ),
    (
        "training",
        {},
        [metric(n * DAY, "test_auc", v, run=f"m{n}", dag_id=None) for n, v in enumerate([0.9, 0.91, 0.89, 0.7])],
        4 * DAY,
        [("worse than earlier runs", "fired")],
    ),
    ("training", {}, losses([*CALM, 4.0, *CALM, 40.0]), 10 * MINUTE, [("metric diverged", "fired")]),
    (
        "training",
        {},
        [*losses([0.5, "NaN", None]), *losses([0.5, "nan"], "loss")],
        10 * MINUTE,
        [("loss not finite", "fired")],
    ),
    ("training", {}, losses([0.5, "-Infinity"]), 10 * MINUTE, [("loss not finite", "fired")]),
    (
        "training",
        {},
        [run(0, "running"), metric(MINUTE, "val_loss", 0.5), metric(2 * MINUTE, "val_acc", 0.4)],
        3 * HOUR,
        [("no metric logged", "fired")],
    ),
    ("registry", {}, [version(0, "approved", "pending")], 9 * DAY, [("version approved", "fired")]),
    ("registry", {}, [version(0, "rejected", "pending")], 9 * DAY, [("version rejected", "fired")]),
    ("registry", {}, [version(0, "rejected")], DAY, [("version rejected", "fired")]),
    ("registry", {}, [version(0, "rejected", "approved")], DAY, [("approval withdrawn", "fired")]),
    ("registry", {}, [version(0, "pending", "approved")], DAY, [("approval withdrawn", "fired")]),
    (
        "registry",
        {},
        [version(0, "pending"), version(4.5 * DAY, "approved", "pending")],
        6 * DAY,
        [
            ("version waits for approval", "fired"),
            ("pending too long", "fired"),
            ("pending too long", "repeated"),
            ("pending too long", "resolved"),
            ("version approved", "fired"),
        ],
    ),
    (
        "registry",
        {"every_change": True, "approval_asked": False, "decide_within": None},
        [version(0, "pending")],
        9 * DAY,
        [("status changed", "fired")],
    ),
    (
        "drift",
        {},
        [drift(12 * HOUR), drift(32 * HOUR), drift(33 * HOUR, name="users")],
        2 * DAY,
        [("drift detected", "fired")] * 2,
    ),
    (
        # The identifier of the data changes from day to day.
        "drift",
        {},
        [drift(number * 1.5 * DAY) for number in range(3)],
        20 * DAY,
        [
            *[("drift detected", "fired")] * 3,
            ("drift is here to stay", "fired"),
            ("drift is here to stay", "resolved"),
        ],
    ),
    (
        "drift",
        {},
        [drift(12 * HOUR, 0.9), drift(32 * HOUR, 0.95)],
        2 * DAY,
        [("drift is extreme", "fired")],
    ),
    (
        "drift",
        {},
        [check(0, "failed"), check(10 * MINUTE, "failed"), check(HOUR, "success")],
        DAY,
        [("data validation failed", "fired"), ("data validation failed", "resolved")],
    ),
    (
        "drift",
        {},
        [check(0, "failed", "critical"), check(60, "failed", "critical"), check(HOUR, "success")],
        DAY,
        [("critical expectation failed", "fired"), ("critical expectation failed", "resolved")],
    ),
    (
        "drift",
        {"expect": ["orders"]},
        [check(0, "success"), check(30 * HOUR, "success")],
        40 * HOUR,
        [("no check", "fired"), ("no check", "resolved")],
    ),
    (
        # Services tell one change more than once.
        "endpoints",
        {},
        [endpoint(0, "Failed"), endpoint(1, "Failed"), endpoint(2, "InService", name="b"), endpoint(5400, "InService")],
        2 * HOUR,
        [("endpoint failed", "fired"), ("endpoint failed", "repeated"), ("endpoint failed", "resolved")],
    ),
    (
        "endpoints",
        {},
        [
            endpoint(0, "Updating"),
            endpoint(60, "RollingBack"),
            endpoint(61, "RollingBack", name="b"),
            endpoint(62, "Deleting", name="b"),
            endpoint(120, "InService", "RollingBack"),
        ],
        2 * HOUR,
        [
            *[("endpoint rolls back", "fired")] * 2,
            ("endpoint deployed", "fired"),
            ("endpoint rolls back", "resolved"),
        ],
    ),
    (
        "endpoints",
        {"remind": None},
        [
            endpoint(0, "Updating"),
            endpoint(60, "Updating"),
            endpoint(90, "InService", name="b"),
            endpoint(3 * HOUR, "InService"),
        ],
        4 * HOUR,
        [("endpoint is stuck", "fired"), ("endpoint is stuck", "resolved")],
    ),
    (
        "endpoints",
        {"remind": None},
        [endpoint(n * 6 * MINUTE, ("Failed", "InService")[n % 2]) for n in range(12)],
        9 * HOUR,
        [
            *[("endpoint failed", "fired"), ("endpoint failed", "resolved")] * 2,
            ("endpoint failed", "fired"),
            ("endpoint failed", "flapping"),
            ("endpoint failed", "resolved"),
        ],
    ),
    (
        "endpoints",
        {"healthy": ["Ready"], "failed": ["NotReady"], "deployments": False},
        [endpoint(0, "NotReady", kind="com.example.endpoint.changed"), endpoint(60, "Ready", kind="x.endpoint.y")],
        2 * HOUR,
        [("endpoint failed", "fired"), ("endpoint failed", "resolved")],
    ),
]

SILENT: list[tuple[str, dict[str, Any], list[At], float]] = [
    (
        "pipelines",
        {"expect": ["train_churn"]},
        [
            *(run(n * 20 * HOUR + 60, "running", run=f"r{n}") for n in range(4)),
            *(task(n * 20 * HOUR + 90, "up_for_retry", run=f"r{n}") for n in range(4)),
            *(task(n * 20 * HOUR + 95, "success", run=f"r{n}", tried=2) for n in range(4)),
            *(run(n * 20 * HOUR + 100, "success", run=f"r{n}") for n in range(4)),
        ],
        4 * 20 * HOUR,
    ),
    (
        "pipelines",
        {"dags": ["prod_*"]},
        [
            *(run(number, "failed", run=f"r{number}") for number in range(5)),
            *(task(number, "up_for_retry", map_index=number) for number in range(30)),
            task(0, "failed", run="other"),
            missed(5),
        ],
        DAY,
    ),
    (
        # Nobody expects the other.
        "pipelines",
        {"expect": ["nightly"]},
        [run(0, "success", dag="once"), run(20 * HOUR, "success", dag="nightly")],
        30 * HOUR,
    ),
    (
        "training",
        {},
        [
            run(0, "running"),
            *losses([1.0 / (1 + step) for step in range(60)], "train_loss"),
            *losses([0.5 + 0.005 * step for step in range(60)], "val_accuracy"),
            metric(650, "test_auc", 0.8),
            *(metric(600 + step, "learning_rate", 0.1) for step in range(30)),
            metric(651, "learning_rate", 9e9),
            task(655, "up_for_retry"),
            run(660, "success"),
        ],
        3 * DAY,
    ),
    (
        "training",
        {"longest": "1h"},
        [
            run(0, "running", dag="report"),
            *(task(number, "up_for_retry", dag="report", map_index=number) for number in range(9)),
            metric(0, "val_loss", 0.1, dag_id="report"),
            run(3 * HOUR, "failed", dag="report"),
        ],
        DAY,
    ),
    (
        "registry",
        {"models": ["fraud*"], "every_change": True},
        [version(0, "pending"), version(1, "approved"), version(2, "rejected"), version(3, "pending", number="8")],
        9 * DAY,
    ),
    ("registry", {"approval_asked": False}, [version(0, "pending")], 2 * DAY),
    ("registry", {"registries": ["sagemaker"]}, [version(0, "rejected", "approved")], 9 * DAY),
    ("drift", {"expect": ["orders"]}, [check(n * DAY, "success") for n in range(5)], 5 * DAY),
    (
        "drift",
        {"dags": ["users"]},
        [
            *(drift(number * DAY, 0.3 * number, dag_id="orders") for number in range(4)),
            check(0, "failed", dag_id="orders"),
            check(1, "failed", "critical", dag_id="orders"),
        ],
        5 * DAY,
    ),
    (
        # Nobody expects the other.
        "drift",
        {"expect": ["orders"]},
        [check(0, "success", name="users"), *(check(n * DAY, "success") for n in range(5))],
        5 * DAY,
    ),
    ("drift", {"coefficient": 0.5}, [drift(n * HOUR, 0.2) for n in range(5)], 5 * DAY),
    (
        "endpoints",
        {"deployments": False},
        [endpoint(0, "Creating"), endpoint(600, "InService", "Creating"), endpoint(700, "Deleting", "InService")],
        DAY,
    ),
    ("endpoints", {"endpoints": ["fraud"]}, [endpoint(0, "Failed")], DAY),
]


@pytest.mark.parametrize(("name", "parameters", "stream", "until", "expected"), FIRES)
def test_a_pack_tells_what_matters_once(
    name: str, parameters: dict[str, Any], stream: list[At], until: float, expected: list[tuple[str, str]]
) -> None:
    assert sorted(told(PACKS[name], parameters, stream, until)) == sorted(expected)


@pytest.mark.parametrize(("name", "parameters", "stream", "until"), SILENT)
def test_a_pack_is_silent_when_all_is_well(
    name: str, parameters: dict[str, Any], stream: list[At], until: float
) -> None:
    assert told(PACKS[name], parameters, stream, until) == []


def test_every_rule_of_every_pack_was_seen_to_fire() -> None:
    fired = {(name, rule) for name, _, _, _, expected in FIRES for rule, kind in expected if kind == "fired"}
    assert fired == {(name, rule.name) for name, pack in PACKS.items() for rule in pack.rules}


def test_the_events_above_are_as_the_catalogue_has_them() -> None:
    for one in (one for _, _, stream, *_ in [*FIRES, *SILENT] for one in stream):
        wrong = validate_data(Event(id="e", source="/x", type=one.type, time=START, data=one.data))
        assert wrong == [] or not isinstance(one.data.get("value", 0.0), float), one


# Parameters


def test_the_packs_are_those_that_the_page_lists() -> None:
    assert list(PACKS) == ["drift", "endpoints", "pipelines", "registry", "training"]


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_a_pack_needs_to_know_nothing_but_whom_to_tell(pack: Pack) -> None:
    assert [name for name, one in pack.parameters.items() if one.required] == ["targets"]
    rules = pack.expand(NEEDED, workspace="team_a")
    assert rules
    for rule in rules:
        assert rule.name.startswith(f"{pack.name}: ")
        assert rule.workspace == "team_a"
        assert rule.tags == (f"pack:{pack.name}",)
        assert [target.conn_id for target in rule.targets] == ["slack_ml"]
        assert rule.description


#: A value for each parameter that is not its default, and what else must be given to see the difference.
CHANGED: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "pipelines": {
        "targets": (["dingtalk", {"conn_id": "pager", "min_severity": "critical"}], {}),
        "dags": (["prod_*", "report"], {}),
        "severity": ("critical", {}),
        "task_failures": (False, {}),
        "task_wait": ("0s", {}),
        "consecutive": (5, {}),
        "expect": (["nightly"], {}),
        "no_success_within": ("2h", {"expect": ["nightly"]}),
        "import_errors": (False, {}),
        "retries": (7, {}),
        "retries_within": ("1m", {}),
        "remind": (None, {}),
    },
    "training": {
        "targets": ("dingtalk", {}),
        "dags": ("fit_*", {}),
        "severity": ("warning", {}),
        "run_failures": (False, {}),
        "longest": (None, {}),
        "restarts": (9, {}),
        "restarts_within": ("1m", {}),
        "scores": (["bleu"], {}),
        "final_scores": (None, {}),
        "drop": (0.25, {}),
        "window": (1, {}),
        "losses": (["perplexity"], {}),
        "deviations": (3.5, {}),
        "silence": ("10m", {}),
    },
    "registry": {
        "targets": ("dingtalk", {}),
        "models": (["churn*"], {}),
        "registries": (["mlflow"], {}),
        "approval_asked": (False, {}),
        "decide_within": ("1h", {}),
        "remind": ("1h", {}),
        "every_change": (True, {}),
    },
    "drift": {
        "targets": ("dingtalk", {}),
        "dags": (["orders*"], {}),
        "coefficient": (0.2, {}),
        "cooldown": (None, {}),
        "critical_coefficient": (0.5, {}),
        "in_a_row": (0, {}),
        "in_a_row_within": ("1d", {}),
        "validation_cooldown": ("2h", {}),
        "expect": (["orders"], {}),
        "check_within": ("2h", {"expect": ["orders"]}),
    },
    "endpoints": {
        "targets": ("dingtalk", {}),
        "event_types": (["com.example.endpoint.*"], {}),
        "endpoints": (["churn"], {}),
        "healthy": (["Ready"], {}),
        "failed": (["NotReady"], {}),
        "rolling_back": (["Undoing"], {}),
        "changing": (["Deploying"], {}),
        "severity": ("error", {}),
        "change_within": (None, {}),
        "deployments": (False, {}),
        "remind": ("30m", {}),
    },
}


def test_every_parameter_is_changed_below() -> None:
    assert {name: set(found) for name, found in CHANGED.items()} == {
        name: set(pack.parameters) for name, pack in PACKS.items()
    }


@pytest.mark.parametrize(("name", "parameter"), [(name, one) for name, found in CHANGED.items() for one in found])
def test_each_parameter_changes_something(name: str, parameter: str) -> None:
    value, others = CHANGED[name][parameter]
    before = PACKS[name].expand({**NEEDED, **others}, workspace="default")
    after = PACKS[name].expand({**NEEDED, **others, parameter: value}, workspace="default")
    assert after != before
    assert RuleSet(after).broken == {}


def test_a_pack_can_be_switched_on_twice_under_other_names() -> None:
    rules = PACKS["endpoints"].expand(NEEDED, workspace="default", name="endpoints-eu")
    assert {rule.name.partition(": ")[0] for rule in rules} == {"endpoints-eu"}
    assert {rule.tags for rule in rules} == {("pack:endpoints-eu",)}


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("drift", {}, "pack 'drift', parameter 'targets': is missing: Where the notifications go"),
        ("drift", {"targets": []}, "parameter 'targets': [] is not allowed; allowed is connection ids"),
        ("drift", {"targets": [{"conn_id": "a", "tempalte": "b"}]}, "target [0].tempalte: Extra inputs"),
        ("drift", {"targets": 7}, "parameter 'targets': 7 is not allowed"),
        (
            "drift",
            {"dag": "x"},
            "the pack 'drift' has no parameter 'dag'; did you mean 'dags'?; parameters are targets",
        ),
        ("drift", {"coefficient": "high"}, "parameter 'coefficient': 'high' is not allowed; allowed is a number"),
        ("drift", {"coefficient": True}, "True is not allowed; allowed is a number, at least 0, at most 1"),
        ("drift", {"coefficient": float("nan")}, "nan is not allowed"),
        ("drift", {"coefficient": 1.5}, "1.5 is too much; allowed is a number, at least 0, at most 1"),
        ("drift", {"in_a_row": 2.0}, "2.0 is not allowed; allowed is a whole number"),
        ("drift", {"in_a_row": -1}, "-1 is too little"),
        ("drift", {"in_a_row": None}, "None is not allowed"),
        ("drift", {"cooldown": "1 month"}, "parameter 'cooldown': '1 month' is no duration"),
        (
            "drift",
            {"check_within": "5s"},
            "'5s' is too little; allowed is a duration like 90s, 15m, 24h or 7d, at least",
        ),
        (
            "drift",
            {"expect": ["orders*"]},
            "'orders*' is not allowed; allowed is a list of texts or numbers, in the form",
        ),
        ("drift", {"dags": [["a"]]}, "[['a']] is not allowed; allowed is a list of texts or numbers, or nothing"),
        ("endpoints", {"failed": []}, "[] is too little; allowed is a list of texts or numbers, at least 1 entry"),
        ("endpoints", {"deployments": "yes"}, "'yes' is not allowed; allowed is true or false"),
        (
            "pipelines",
            {"severity": "eror"},
            "'eror' is not allowed; did you mean 'error'?; allowed is one of info, warning",
        ),
        # What only the rule can tell, names the parameter that it comes from.
        ("endpoints", {"event_types": ["x.**"]}, "rule 'endpoint failed': on: 'x.**' has **; a single * stands for"),
        ("endpoints", {"event_types": ["x.**"]}, "any characters (from 'event_types')"),
    ],
)
def test_wrong_parameters_are_refused_clearly(name: str, parameters: dict[str, Any], said: str) -> None:
    given = parameters if not parameters or "targets" in parameters else {**NEEDED, **parameters}
    with pytest.raises(InvalidRule) as caught:
        PACKS[name].expand(given, workspace="default")
    assert said in str(caught.value)


def test_all_wrong_parameters_are_told_at_once() -> None:
    with pytest.raises(InvalidRule) as caught:
        PACKS["drift"].expand({"coefficient": 2, "dag": "x"}, workspace="default")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "pairs", "expected"),
    [
        (
            "pipelines",
            ["dags=train_*,score_*", "targets=slack_ml"],
            {"dags": ["train_*", "score_*"], "targets": ["slack_ml"]},
        ),
        ("pipelines", ['dags=["a,b", "c"]'], {"dags": ["a,b", "c"]}),
        ("pipelines", ["dags= a , b "], {"dags": ["a", "b"]}),
        ("pipelines", ["dags="], {"dags": None}),
        ("pipelines", ["expect="], {"expect": []}),
        ("pipelines", ["remind="], {"remind": None}),
        ("pipelines", ["remind=90m", "consecutive=4"], {"remind": "1h30m", "consecutive": 4}),
        ("pipelines", ["task_failures=No", "import_errors=true"], {"task_failures": False, "import_errors": True}),
        ("training", ["drop=0.2", "deviations=4"], {"drop": 0.2, "deviations": 4.0}),
        (
            "drift",
            ['targets=[{"conn_id": "pager", "min_severity": "critical"}, "slack_ml"]'],
            {"targets": [{"conn_id": "pager", "min_severity": "critical"}, "slack_ml"]},
        ),
        ("drift", ['targets={"conn_id": "pager"}'], {"targets": [{"conn_id": "pager"}]}),
        ("endpoints", ["event_types=a=b.endpoint.c"], {"event_types": ["a=b.endpoint.c"]}),
    ],
)
def test_parameters_of_a_command_line_are_read_by_their_types(
    name: str, pairs: list[str], expected: dict[str, Any]
) -> None:
    assert parse_parameters(PACKS[name], pairs) == expected


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("dags", "'dags' is no parameter; write name=value"),
        ("dgas=x", "no parameter 'dgas'; did you mean 'dags'?"),
        ("consecutive=many", "pack 'pipelines', parameter 'consecutive': 'many' is not allowed; allowed is a whole"),
        ("consecutive=2.5", "'2.5' is not allowed"),
        ("task_failures=maybe", "'maybe' is not allowed; allowed is true or false"),
        ('dags=["a"', "begins like JSON but is none"),
        ("targets=", "[] is not allowed"),
        ("severity=", "'' is not allowed; allowed is one of info, warning, error, critical"),
    ],
)
def test_wrong_words_of_a_command_line_are_refused(pair: str, said: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        parse_parameters(PACKS["pipelines"], [pair])
    assert said in str(caught.value)


def test_a_parameter_that_stands_twice_is_refused() -> None:
    with pytest.raises(InvalidRule, match="'dags': stands twice; separate values by commas"):
        parse_parameters(PACKS["pipelines"], ["dags=a", "dags=b"])


def test_a_pack_is_found_by_name_or_the_nearest_is_said() -> None:
    assert find_pack("drift") is PACKS["drift"]
    with pytest.raises(NotFound, match="no pack is named 'pipeline'; did you mean 'pipelines'\\?; packs are drift, "):
        find_pack("pipeline")


# Packs of one's own

OWN = """\
name: slow
title: Slow runs
parameters:
  dags: {type: list, description: DAG ids., default: ["*"]}
  limit: {type: number, description: Seconds., default: 90.5}
  calm: {type: duration, description: Pause., default: null}
  loud: {type: boolean, description: Also to everybody., default: false}
rules:
  - name: took more than ${limit} seconds
    description: Of ${dags}, $${limit} is ${limit}, calm is '${calm}', loud is ${loud}.
    on: pipeline job completed
    event_pattern:
      data: {duration: [{numeric: [">", "${limit}"]}]}
    scope: {dags: "${dags}"}
    cooldown: ${calm}
    tags: [speed]
  - name: said to all
    when: loud
    on: pipeline job completed
    targets: [everybody]
"""


def written(folder: Path, text: str, name: str = "pack.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_placeholders_keep_the_type_alone_and_are_text_within_text(tmp_path: Path) -> None:
    pack = load_pack(written(tmp_path, OWN))
    (rule,) = pack.expand({**NEEDED, "dags": ["a*", "${limit}"]}, workspace="default")
    assert rule.event_pattern == {"data": {"duration": [{"numeric": [">", 90.5]}]}}
    assert rule.scope.dags == ("a*", "${limit}")
    assert rule.cooldown is None
    assert rule.name == "slow: took more than 90.5 seconds"
    assert rule.description == "Of a*, ${limit}, ${limit} is 90.5, calm is '', loud is false."
    assert rule.tags == ("speed", "pack:slow")
    slow, loud = pack.expand({**NEEDED, "loud": True, "calm": "3600s"}, workspace="default")
    assert slow.cooldown is not None
    assert slow.cooldown.time == timedelta(hours=1)
    assert [target.conn_id for target in loud.targets] == ["everybody"]


def test_a_pack_whose_rules_all_name_their_targets_needs_none(tmp_path: Path) -> None:
    text = "name: a\ntitle: A\nrules: [{name: b, on: x.y, targets: [s]}, {name: c, on: x.y, actions: {pause_dag: d}}]\n"
    pack = load_pack(written(tmp_path, text))
    assert pack.parameters == {}
    assert [rule.name for rule in pack.expand({}, workspace="default")] == ["a: b", "a: c"]


def test_a_pack_may_be_json(tmp_path: Path) -> None:
    path = written(tmp_path, '{"name": "a", "title": "A", "rules": [{"name": "b", "on": "x.y"}]}', "pack.json")
    assert list(load_pack(path).parameters) == ["targets"]


def test_parameters_that_leave_out_all_rules_are_refused(tmp_path: Path) -> None:
    text = (
        "name: a\ntitle: A\nparameters: {w: {type: boolean, description: W., default: false}}\n"
        "rules: [{name: b, when: w, on: x.y}]\n"
    )
    with pytest.raises(InvalidRule, match="pack 'a': these parameters leave out all of its rules"):
        load_pack(written(tmp_path, text)).expand(NEEDED, workspace="default")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: slow", "name: Slow Runs", "pack.yaml:1: name: String should match pattern"),
        ("title: Slow runs\n", "", "pack.yaml:1: title: is missing"),
        (
            "title:",
            "titel: x\ntitle:",
            "pack.yaml:2: titel: is no field of a pack; did you mean 'title'? (allowed: name",
        ),
        ("type: list,", "type: lst,", "pack.yaml:4: parameters.dags.type: Input should be 'text', 'number'"),
        (
            "Seconds., default: 90.5",
            "S., defalt: 1",
            "5: parameters.limit.defalt: is no field of a parameter; did you mean",
        ),
        (
            "default: 90.5",
            "default: x",
            "pack.yaml:5: parameters.limit: 'default': 'x' is not allowed; allowed is a number",
        ),
        (
            "default: 90.5",
            "default: 5, min: 9",
            "5: parameters.limit: 'default': 5 is too little; allowed is a number, at",
        ),
        ("default: 90.5", "default: 5, min: x", "pack.yaml:5: parameters.limit: 'min': 'x' is no number"),
        ("default: false", "default: false, max: 1", "7: parameters.loud: 'max' has no meaning for the type 'boolean'"),
        ('default: ["*"]', 'default: [], pattern: "("', "4: parameters.dags: 'pattern' is no regular expression"),
        (
            "than ${limit}",
            "than ${limt}",
            "9: rules.0.name: the pack 'slow' has no parameter 'limt'; did you mean 'limit'?",
        ),
        ("[speed]", "['${speed']", "pack.yaml:16: rules.0.tags.0: '${' begins a parameter but is not closed"),
        (
            "cooldown: ${calm}",
            "cooldwn: ${calm}",
            "15: rules.0.cooldwn: is no field of a rule; did you mean 'cooldown'?",
        ),
        (
            "when: loud",
            "when: lout",
            "pack.yaml:18: rules.1.when: the pack 'slow' has no parameter 'lout'; did you mean 'lo",
        ),
        ("name: said to all", "name: took more than ${limit} seconds", "17: rules.1.name: the pack has a rule named"),
        ("tags: [speed]", "workspace: w", "pack.yaml:16: rules.0.workspace: cannot stand in a pack"),
        ("on: pipeline job completed\n    event", "on: job done\n    event", "pack.yaml:11: on: 'job done' is neither"),
        ('[">", ', '[">>", ', "pack.yaml:13: event_pattern.data.duration"),
        ("    tags: [speed]\n", "    severity: grave\n", "pack.yaml:16: severity: input should be 'info'"),
        (
            "calm: {type",
            "idle: {type: text, description: Nothing., default: a}\n  calm: {type",
            "6: parameters.idle: no rule",
        ),
        ("rules:\n", "rules: []\nother:\n", "pack.yaml:8: rules: is empty; it needs an entry"),
        (OWN, "- a\n", "pack.yaml:1: a pack is one mapping with 'name', 'title', 'parameters' and 'rules'"),
        (OWN, f"{OWN}---\n{OWN}", "pack.yaml:1: a pack is one mapping"),
        (OWN, "name: a\ntitle: A\nrules: [b]\n", "pack.yaml:3: rules.0: a rule is a mapping of fields"),
        (OWN, "name: [\n", "pack.yaml:2: not valid YAML"),
        (OWN, "", "pack.yaml:1: the file is empty"),
    ],
)
def test_errors_of_a_file_name_line_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in OWN
    with pytest.raises(InvalidRule) as caught:
        load_pack(written(tmp_path, OWN.replace(old, new, 1)))
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRule, match=r"none\.yaml:1: cannot be read: No such file"):
        load_pack(tmp_path / "none.yaml")


def test_a_required_parameter_is_known_by_its_missing_default() -> None:
    assert Parameter.model_validate({"type": "text", "description": "A."}).required
    assert not Parameter.model_validate({"type": "text", "description": "A.", "default": None}).required


# The page


def test_the_page_lists_packs_rules_and_parameters() -> None:
    for name, pack in PACKS.items():
        section = re.split(rf"^### `{name}`", PAGE, flags=re.MULTILINE)[1].split("\n### ")[0].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
        assert [row[0] for row in rows] == [one for one in pack.parameters if one != "targets"]
        for parameter, shown in rows:
            default = pack.parameters[parameter].default
            texts = default if isinstance(default, list) else ["none" if default is None else default]
            for text in texts:
                assert str(text).lower() in shown.lower(), (name, parameter)
        for rule in pack.rules:
            assert f"**{rule.name}**" in section


@pytest.mark.parametrize("block", [one for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "rules:" in one])
def test_the_packs_shown_can_be_used(block: str, tmp_path: Path) -> None:
    pack = load_pack(written(tmp_path, block))
    given = {name: "a" for name, one in pack.parameters.items() if one.required}
    assert all(isinstance(rule, Rule) for rule in pack.expand(given, workspace="default"))
