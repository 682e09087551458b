"""The commands of ``airflow ml-events``. Every ``airflow`` call imports this module: no work, no heavy import."""

from __future__ import annotations

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command

from ml_event_provider.cli.options import count, flag, listed, number, one, several

WORKSPACE = one("-w", "--workspace", help="the workspace (default: [ml_events] workspace)")
ONLY_WORKSPACE = several("-w", "--workspace", help="only this workspace (default: all)")
OUTPUT = one(
    "-o",
    "--output",
    help="how to print: a table for people, JSON for programs",
    choices=("table", "json"),
    default="table",
)
LIMIT = count("-n", "--limit", help="how many at the most (default: 50)", default=50)
NAME = Arg(("name",), help="the rule's name")
RULE_FILES = listed("-f", "--file", help="YAML or JSON files, or folders of them", required=True)
OTHER_RULES = listed("-f", "--file", help="rules from files or folders instead of the store's")
KIND = one(
    "--kind",
    help="what is defined (default: rule)",
    choices=("rule", "resource_group", "calendar", "silence"),
    default="rule",
)
EVENT = one(
    "--event",
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
        count("--parent", help="end when this process is no longer the parent"),
        flag("--once", help="match and send what is due now, then end"),
        count(
            "--workers",
            help="deliveries sent at the same time (default: [ml_events] send_workers)",
        ),
    ),
)

EVENTS = (
    ActionCommand(
        name="list",
        help="the newest recorded events",
        func=_do("events", "list_events"),
        args=(several("--type", help="only types that begin so"), ONLY_WORKSPACE, LIMIT, OUTPUT),
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
        args=(
            RULE_FILES,
            flag("--plan", help="only say what would be done, field by field"),
            flag(
                "--prune",
                help="also delete what came from files and is in them no more, in the workspaces that they name",
            ),
        ),
    ),
    ActionCommand(name="list", help="all rules", func=_do("rules", "list_rules"), args=(KIND, ONLY_WORKSPACE, OUTPUT)),
    ActionCommand(name="show", help="one rule as YAML", func=_do("rules", "show"), args=(NAME, KIND, WORKSPACE)),
    ActionCommand(
        name="history",
        help="all versions of a rule",
        func=_do("rules", "history"),
        args=(
            NAME,
            count("--version", help="this version as YAML"),
            KIND,
            WORKSPACE,
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="rollback",
        help="make a rule what it was in a former version",
        func=_do("rules", "rollback"),
        args=(NAME, count("--version", help="the version to go back to", required=True), KIND, WORKSPACE),
    ),
    ActionCommand(name="enable", help="switch a rule on", func=_do("rules", "enable"), args=(NAME, WORKSPACE)),
    ActionCommand(name="disable", help="switch a rule off", func=_do("rules", "disable"), args=(NAME, WORKSPACE)),
    ActionCommand(name="delete", help="delete a rule", func=_do("rules", "delete"), args=(NAME, KIND, WORKSPACE)),
    ActionCommand(
        name="test",
        help="say which rules match an event, and why the others do not",
        func=_do("rules_explained", "test"),
        args=(EVENT, OTHER_RULES, ONLY_WORKSPACE),
    ),
    ActionCommand(
        name="explain",
        help="say why each rule fired for a recorded event, or did not",
        func=_do("rules_explained", "explain_rules"),
        args=(
            one("--event", help="the recorded event's id", required=True),
            several("--rule", help="only this rule"),
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="backtest",
        help="say what rules would have told of the recorded past",
        func=_do("rules_explained", "backtest"),
        args=(
            OTHER_RULES,
            several("--rule", help="only the rule of this name"),
            one("--since", help="how far back, like 12h or 30d (default: 30d)", default="30d"),
            count("-n", "--limit", help="how many notifications to name (default: 50)", default=50),
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="lint",
        help="say what is wrong with rules, or may be",
        func=_do("rules_explained", "lint"),
        args=(OTHER_RULES, ONLY_WORKSPACE),
    ),
    ActionCommand(
        name="import",
        help="make rule files of another system's rules",
        func=_do("rules_imported", "import_rules"),
        args=(
            one("--from", help="the system whose rules the files hold", choices=("eventbridge",), required=True),
            several("--target", help="a connection that each rule tells (default: imported)"),
            one("-o", "--output", help="the folder to write to (default: print)"),
            Arg(("file",), help="a JSON or YAML file", nargs="+"),
        ),
    ),
    ActionCommand(
        name="schema", help="the JSON Schema of rule files, for editors", func=_do("rules", "schema"), args=()
    ),
)

BY = one("--by", help="who does it (default: the user of the operating system)")
WHY = one("--reason", help="why, for those who look at the alert")
ALERT = Arg(("id",), help="the alert's id")

ALERTS = (
    ActionCommand(
        name="list",
        help="the open alerts",
        func=_do("alerts", "list_alerts"),
        args=(ONLY_WORKSPACE, several("--rule", help="only those of this rule"), OUTPUT),
    ),
    ActionCommand(
        name="ack",
        help="look after an alert: it is not repeated or escalated any more",
        func=_do("alerts", "acknowledge"),
        args=(ALERT, BY, WHY),
    ),
    ActionCommand(
        name="resolve", help="say that an alert is over", func=_do("alerts", "resolve"), args=(ALERT, BY, WHY)
    ),
)


QUARANTINED = Arg(("id",), help="its number, from `quarantine list`", type=number)

QUARANTINE = (
    ActionCommand(
        name="list",
        help="what could not be read, matched or written and was set aside",
        func=_do("quarantine", "list_quarantined"),
        args=(
            several("--kind", help="only this kind", choices=("event", "match", "state", "prune", "row", "settlement")),
            ONLY_WORKSPACE,
            LIMIT,
            OUTPUT,
        ),
    ),
    ActionCommand(
        name="retry",
        help="try it again",
        func=_do("quarantine", "retry"),
        args=(
            Arg(("id",), help="its number, from `quarantine list`", type=number, nargs="?", default=0),
            flag("--all", help="all that can be tried again"),
            ONLY_WORKSPACE,
        ),
    ),
    ActionCommand(
        name="discard",
        help="let it be; its event stays recorded",
        func=_do("quarantine", "discard"),
        args=(QUARANTINED,),
    ),
)


SILENCE = Arg(("name",), help="the silence's name")

SILENCES = (
    ActionCommand(
        name="add",
        help="mute some notifications for a while, or again and again",
        func=_do("silences", "add"),
        args=(
            one("--reason", help="why", required=True),
            listed("--rule", help="only notifications of these rules, with * for any characters"),
            listed("--on", help="only of events of these types, as in a rule's 'on'"),
            listed("--dag", help="only of events about these DAGs, with * for any characters"),
            one("--pattern", help="only of events that match this event pattern (JSON)"),
            flag("--everything", help="all notifications of the workspace"),
            one("--for", help="how long, like 2h or 1d; with --cron, each time", dest="length"),
            one("--until", help="until when, like 2026-03-29T02:30:00Z"),
            one("--from", help="from when on (default: now)", dest="start"),
            one("--cron", help="again and again: when it begins, like '0 2 * * sun'"),
            one("--timezone", help="the time zone of --cron (default: UTC)"),
            one("--name", help="its name (default: made of the time)"),
            BY,
            WORKSPACE,
        ),
    ),
    ActionCommand(
        name="list",
        help="the silences: what they mute, and until when",
        func=_do("silences", "list_silences"),
        args=(flag("--all", help="those that have ended, too"), ONLY_WORKSPACE, OUTPUT),
    ),
    ActionCommand(name="end", help="end a silence now", func=_do("silences", "end"), args=(SILENCE, BY, WORKSPACE)),
    ActionCommand(
        name="delete", help="delete a silence", func=_do("silences", "delete"), args=(SILENCE, BY, WORKSPACE)
    ),
    ActionCommand(
        name="test",
        help="say whether a silence mutes the notifications of an event",
        func=_do("silences", "test"),
        args=(SILENCE, EVENT, WORKSPACE),
    ),
)

PACK = Arg(("name",), help="the pack's name")
PACK_OR_NOT = Arg(("name",), help="the pack's name", nargs="?", default="")
PACK_FILE = one("-f", "--file", help="a pack of your own, from a YAML or JSON file")

PACKS = (
    ActionCommand(
        name="list",
        help="the packs of rules, and which are switched on",
        func=_do("packs", "list_packs"),
        args=(ONLY_WORKSPACE, OUTPUT),
    ),
    ActionCommand(
        name="show",
        help="a pack's purpose, parameters and rules",
        func=_do("packs", "show"),
        args=(PACK_OR_NOT, PACK_FILE, WORKSPACE),
    ),
    ActionCommand(
        name="enable",
        help="switch a pack on, or on with other parameters",
        func=_do("packs", "enable"),
        args=(
            PACK_OR_NOT,
            PACK_FILE,
            several(
                "--set",
                help="a parameter as name=value; those that were given before stay",
            ),
            flag("--plan", help="only say what would be done"),
            BY,
            WORKSPACE,
        ),
    ),
    ActionCommand(
        name="disable",
        help="switch a pack off: delete its rules",
        func=_do("packs", "disable"),
        args=(PACK, BY, WORKSPACE),
    ),
)

DELIVERY_IDS = Arg(("id",), help="the deliveries' ids", nargs="*")

DELIVERIES = (
    ActionCommand(
        name="list",
        help="the newest deliveries",
        func=_do("deliveries", "list_deliveries"),
        args=(
            several(
                "--state",
                help="only those in this state",
                choices=("pending", "leased", "failed", "delivered", "dead", "muted", "overtaken", "cancelled"),
            ),
            several("--rule", help="only those of this rule"),
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
        help="send ended deliveries, or all dead letters, again",
        func=_do("deliveries", "retry"),
        args=(DELIVERY_IDS, flag("--all-dead", help="all dead letters")),
    ),
    ActionCommand(
        name="cancel",
        help="call off deliveries that are still to go out",
        func=_do("deliveries", "cancel"),
        args=(
            DELIVERY_IDS,
            several("--rule", help="all of this rule"),
            several("--target", help="all to the target with this connection id"),
            several("-w", "--workspace", help="all of this workspace"),
            BY,
        ),
    ),
)

TARGETS = (
    ActionCommand(
        name="list",
        help="how things stand with each target: what waits for it, whether it answers",
        func=_do("targets", "list_targets"),
        args=(ONLY_WORKSPACE, OUTPUT),
    ),
)

TEMPLATES = (
    ActionCommand(
        name="render",
        help="preview the message of an event on a channel",
        func=_do("templates", "render"),
        args=(
            one("--event", help="a recorded event's id, a CloudEvents JSON file, or a type (for a sample)"),
            several("--channel", help="webhook, dingtalk, slack or email (default: all)"),
            one("--template", help="this template instead of the type's own"),
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
                GroupCommand(name="packs", help="ready bundles of rules", subcommands=PACKS),
                GroupCommand(name="alerts", help="open alerts", subcommands=ALERTS),
                GroupCommand(name="silences", help="notifications that nobody wants for a while", subcommands=SILENCES),
                GroupCommand(name="quarantine", help="what was set aside", subcommands=QUARANTINE),
                GroupCommand(name="deliveries", help="deliveries and dead letters", subcommands=DELIVERIES),
                GroupCommand(name="targets", help="how things stand with targets", subcommands=TARGETS),
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
