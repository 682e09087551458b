"""The commands of ``airflow ml-events``. Every ``airflow`` call imports this module: no work, no heavy import."""

from __future__ import annotations

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command

WORKSPACE = Arg(("-w", "--workspace"), help="the workspace (default: [ml_events] workspace)", default="")
ONLY_WORKSPACE = Arg(("-w", "--workspace"), help="only this workspace (default: all)", default="")
OUTPUT = Arg(
    ("-o", "--output"),
    help="how to print: a table for people, JSON for programs",
    choices=("table", "json"),
    default="table",
)
LIMIT = Arg(("-n", "--limit"), help="how many at the most (default: 50)", type=int, default=50)
NAME = Arg(("name",), help="the rule's name")
RULE_FILES = Arg(("-f", "--file"), help="a YAML or JSON file, or a folder of them", required=True)
EVENT = Arg(
    ("--event",),
    help="a recorded event's id, a file with an event as CloudEvents JSON, or a type (for a sample)",
    required=True,
)


def _do(module: str, function: str):  # type: ignore[no-untyped-def]
    return lazy_load_command(f"ml_event_provider.cli.{module}.{function}")


DISPATCHER = ActionCommand(
    name="dispatcher",
    help="match events and deliver notifications until stopped",
    func=_do("dispatcher", "run"),
    args=(
        Arg(("--parent",), help="end when this process is no longer the parent", type=int),
        Arg(("--once",), help="match and send what is due now, then end", action="store_true"),
        Arg(
            ("--workers",),
            help="deliveries sent at the same time (default: [ml_events] send_workers)",
            type=int,
        ),
    ),
)

EVENTS = (
    ActionCommand(
        name="list",
        help="the newest recorded events",
        func=_do("events", "list_events"),
        args=(Arg(("--type",), help="only types that begin so", default=""), ONLY_WORKSPACE, LIMIT, OUTPUT),
    ),
    ActionCommand(
        name="show",
        help="one recorded event and its deliveries",
        func=_do("events", "show"),
        args=(Arg(("id",), help="the event's id"),),
    ),
    ActionCommand(
        name="types",
        help="the event types of this provider",
        func=_do("events", "types"),
        args=(OUTPUT,),
    ),
    ActionCommand(
        name="schema",
        help="the JSON Schema of a type's data",
        func=_do("events", "schema"),
        args=(Arg(("type",), help="the event type; without it, all types", nargs="?", default=""),),
    ),
)

RULES = (
    ActionCommand(
        name="apply",
        help="create and change rules as the files say",
        func=_do("rules", "apply"),
        args=(RULE_FILES, Arg(("--plan",), help="only say what would be done", action="store_true")),
    ),
    ActionCommand(name="list", help="all rules", func=_do("rules", "list_rules"), args=(ONLY_WORKSPACE, OUTPUT)),
    ActionCommand(name="show", help="one rule as YAML", func=_do("rules", "show"), args=(NAME, WORKSPACE)),
    ActionCommand(name="enable", help="switch a rule on", func=_do("rules", "enable"), args=(NAME, WORKSPACE)),
    ActionCommand(name="disable", help="switch a rule off", func=_do("rules", "disable"), args=(NAME, WORKSPACE)),
    ActionCommand(name="delete", help="delete a rule", func=_do("rules", "delete"), args=(NAME, WORKSPACE)),
    ActionCommand(
        name="test",
        help="say which rules match an event, and why the others do not",
        func=_do("rules", "test"),
        args=(
            EVENT,
            Arg(("-f", "--file"), help="rules from files instead of the store's", default=""),
            ONLY_WORKSPACE,
        ),
    ),
    ActionCommand(
        name="schema", help="the JSON Schema of rule files, for editors", func=_do("rules", "schema"), args=()
    ),
)

DELIVERIES = (
    ActionCommand(
        name="list",
        help="the newest deliveries",
        func=_do("deliveries", "list_deliveries"),
        args=(
            Arg(
                ("--state",),
                help="only those in this state",
                choices=("pending", "leased", "failed", "delivered", "dead", "muted"),
                default="",
            ),
            Arg(("--rule",), help="only those of this rule", default=""),
            LIMIT,
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="show",
        help="one delivery with all its attempts",
        func=_do("deliveries", "show"),
        args=(Arg(("id",), help="the delivery's id"),),
    ),
    ActionCommand(
        name="retry",
        help="send an ended delivery, or all dead letters, again",
        func=_do("deliveries", "retry"),
        args=(
            Arg(("id",), help="the delivery's id", nargs="?", default=""),
            Arg(("--all-dead",), help="all dead letters", action="store_true"),
        ),
    ),
)

TEMPLATES = (
    ActionCommand(
        name="render",
        help="preview the message of an event on a channel",
        func=_do("templates", "render"),
        args=(
            Arg(("--event",), help="a recorded event's id, a CloudEvents JSON file, or a type (for a sample)"),
            Arg(("--channel",), help="webhook, dingtalk, slack or email (default: all)", default=""),
            Arg(("--template",), help="this template instead of the type's own", default=""),
        ),
    ),
)


def get_commands() -> list[CLICommand]:
    """What the provider adds to Airflow's command line (``cli`` in the provider's metadata)."""
    return [
        GroupCommand(
            name="ml-events",
            help="Events, rules and notifications for ML pipelines",
            subcommands=(
                DISPATCHER,
                GroupCommand(name="events", help="recorded events", subcommands=EVENTS),
                GroupCommand(name="rules", help="rules", subcommands=RULES),
                GroupCommand(name="deliveries", help="deliveries and dead letters", subcommands=DELIVERIES),
                GroupCommand(name="templates", help="message templates", subcommands=TEMPLATES),
                ActionCommand(
                    name="health",
                    help="say what is wrong; exit 1 if anything is",
                    func=_do("health", "show"),
                    args=(OUTPUT,),
                ),
            ),
        )
    ]
