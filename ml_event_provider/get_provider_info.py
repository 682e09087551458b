"""What Airflow knows of this provider. Every Airflow process imports this: the standard library only."""

from __future__ import annotations

from typing import Any

_NAME = "ML Events"
_PASSWORD = {"type": ["string", "null"], "format": "password"}
_TEXT = {"type": ["string", "null"]}


def _option(
    default: str, kind: str, description: str, example: str | None = None, added: str = "0.1.0"
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": added,
        "type": kind,
        "example": example,
        "default": default,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "workspace": _option("default", "string", "The workspace of events whose DAG belongs to no Airflow team.", "fraud"),
    "include_dags": _option("", "string", "Shell patterns of DAG ids to capture, by commas. Empty: all.", "train_*"),
    "exclude_dags": _option("", "string", "Shell patterns of DAG ids never to capture, by commas.", "scratch_*"),
    "include_tasks": _option(
        "", "string", "Shell patterns of dag_id.task_id to capture, by commas. Empty: all.", "train_*.fit"
    ),
    "exclude_tasks": _option("", "string", "Shell patterns of dag_id.task_id never to capture, by commas.", "*.wait_*"),
    "capture_running": _option("True", "boolean", "Whether tasks that start are events too."),
    "conn_id": _option(
        "ml_events_default",
        "string",
        "The connection to the ingest endpoint for processes without a database. Where this machine holds the API"
        " server's [api_auth] key, the default needs no connection: a short-lived service token is minted.",
    ),
    "hand_over_seconds": _option(
        "3.0", "float", "The longest that a task process spends handing over its events, in seconds, in all."
    ),
    "spool_directory": _option(
        "",
        "string",
        "Where events wait while the API server cannot be reached. Empty: ml_events/spool in AIRFLOW_HOME.",
    ),
    "spool_megabytes": _option(
        "200.0",
        "float",
        "The most that waits in the spool directory, in MiB; a small file counts as 4 KiB. What does not fit is"
        " refused, and said in the log.",
    ),
    "embedded_dispatcher": _option(
        "True",
        "boolean",
        "Whether each scheduler runs a dispatcher as its child. Switch it off where `airflow ml-events dispatcher`"
        " runs on its own.",
    ),
    "poll_seconds": _option("0.5", "float", "How often an idle dispatcher looks for work, in seconds."),
    "send_workers": _option("16", "integer", "How many deliveries one dispatcher sends at the same time."),
    "lease_seconds": _option(
        "60.0",
        "float",
        "After how many seconds another dispatcher takes over a delivery whose dispatcher died.",
    ),
    "send_timeout_seconds": _option("15.0", "float", "How long one attempt at a target may take, in seconds."),
    "max_attempts": _option(
        "34", "integer", "After how many failed attempts a delivery becomes a dead letter. 34 take about a day."
    ),
    "retry_base_seconds": _option(
        "5.0", "float", "The wait before the first retry in seconds; it doubles for each further one."
    ),
    "retry_max_seconds": _option("3600.0", "float", "The longest wait between two attempts, in seconds."),
    "reconcile_seconds": _option(
        "10.0",
        "float",
        "How often the reconciler compares Airflow's tables with the recorded events, in seconds. 0: never.",
    ),
    "reconcile_grace_seconds": _option(
        "15.0",
        "float",
        "How long after a state change its own reporter may still come before the reconciler records it, in seconds.",
    ),
    "retention_days": _option("90.0", "float", "After how many days events and their deliveries are pruned. 0: never."),
    "max_body_bytes": _option("4194304", "integer", "The largest request that the ingest endpoint reads, in bytes."),
    "max_targets": _option(
        "5", "integer", "How many targets a rule may have, those of its escalations included.", added="0.2.0"
    ),
    "max_contacts": _option(
        "100",
        "integer",
        "How many people the rules of a workspace may reach; one person counts once for each channel.",
        added="0.2.0",
    ),
    "max_rules": _option("1000", "integer", "How many rules a workspace may have.", added="0.2.0"),
    "notifications_per_hour": _option(
        "0",
        "integer",
        "How many notifications of one rule may go out in one hour; the others are recorded as muted. 0: any number.",
        added="0.2.0",
    ),
    "workspace_quotas": _option(
        "",
        "string",
        "Other limits for some workspaces, as JSON: max_targets, max_contacts, max_rules, notifications_per_hour.",
        '{"fraud": {"max_targets": 20}}',
        added="0.2.0",
    ),
    "max_hops": _option(
        "3",
        "integer",
        "How often an action of a rule may lead to an event with another action, before the chain is cut.",
        added="0.2.0",
    ),
    "allowed_hosts": _option(
        "",
        "string",
        "Internal hosts, addresses or networks that targets may reach all the same, by commas.",
        "hooks.internal, 10.1.0.0/16, 127.0.0.1",
    ),
    "template_directories": _option(
        "",
        "string",
        "Your template folders, by commas; searched before the built-in one.",
        "/opt/airflow/messages",
    ),
}


def option_default(name: str) -> str:
    """The default of ``[ml_events] name``.

    :raises KeyError: if there is no such option.
    """
    return str(OPTIONS[name]["default"])


def _connection_types() -> list[dict[str, Any]]:
    return [
        {
            "connection-type": "mlevents",
            "hook-name": "ML Events",
            "hook-class-name": "ml_event_provider.hooks.ml_events.MlEventHook",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port"],
                "relabeling": {
                    "host": "API server URL",
                    "login": "User",
                    "password": "Password or API token",
                },
                "placeholders": {"host": "http://localhost:8080"},
            },
            "conn-fields": {
                "verify": {
                    "label": "Verify TLS",
                    "schema": {"type": ["boolean", "null"], "default": True},
                    "description": "Whether the API server's certificate must be valid.",
                },
            },
        },
        {
            "connection-type": "mleventswebhook",
            "hook-name": "ML Events: Webhook",
            "hook-class-name": "ml_event_provider.hooks.webhook.WebhookHook",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port", "login"],
                "relabeling": {"host": "URL", "password": "Signing secret"},
                "placeholders": {"host": "https://example.com/hooks/ml", "password": "whsec_…"},
            },
            "conn-fields": {
                "format": {
                    "label": "Body",
                    "schema": {
                        "type": ["string", "null"],
                        "enum": ["standard", "cloudevents-structured", "cloudevents-binary", "custom"],
                        "default": "standard",
                    },
                    "description": "standard: signed JSON of event and message; custom: the rule's own JSON template.",
                },
                "previous_secret": {
                    "label": "Previous signing secret",
                    "schema": _PASSWORD,
                    "description": "While a secret is rotated, requests are signed with both.",
                },
                "headers": {
                    "label": "Headers",
                    "schema": {"type": ["string", "object", "null"], "format": "multiline"},
                    "description": "A JSON object of further headers.",
                },
                "bearer_token": {"label": "Bearer token", "schema": _PASSWORD},
                "body_template": {
                    "label": "Body template",
                    "schema": {"type": ["string", "null"], "format": "multiline"},
                    "description": "Jinja for a JSON body of your own (format custom is then meant).",
                },
            },
        },
        {
            "connection-type": "mleventsdingtalk",
            "hook-name": "ML Events: DingTalk robot",
            "hook-class-name": "ml_event_provider.hooks.dingtalk.DingTalkHook",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port", "login"],
                "relabeling": {"host": "Webhook URL (without access_token)", "password": "Access token"},
                "placeholders": {"host": "https://oapi.dingtalk.com/robot/send"},
            },
            "conn-fields": {
                "secret": {
                    "label": "Signing key",
                    "schema": _PASSWORD,
                    "description": "SEC…, if the robot's security is the signature.",
                },
                "keywords": {
                    "label": "Keywords",
                    "schema": _TEXT,
                    "description": "By commas, if the robot's security is keywords; one is added where none occurs.",
                },
                "message_type": {
                    "label": "Message type",
                    "schema": {
                        "type": ["string", "null"],
                        "enum": ["markdown", "text", "actionCard"],
                        "default": "markdown",
                    },
                },
                "at_mobiles": {"label": "Mention mobiles", "schema": _TEXT, "description": "By commas."},
                "at_all": {"label": "Mention all", "schema": {"type": ["boolean", "null"], "default": False}},
            },
        },
        {
            "connection-type": "mleventsmlflow",
            "hook-name": "ML Events: MLflow registry",
            "hook-class-name": "ml_event_provider.hooks.mlflow.MLflowHook",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port"],
                "relabeling": {
                    "host": "Tracking server URL",
                    "login": "User",
                    "password": "Password or token",
                },
                "placeholders": {"host": "http://mlflow.internal:5000"},
            },
            "conn-fields": {},
        },
    ]


#: By a connection type's former name: the type, and the hook of connections that still bear it.
FORMER_TYPES = {
    "ml_events": ("mlevents", "FormerMlEventHook"),
    "ml_events_webhook": ("mleventswebhook", "FormerWebhookHook"),
    "ml_events_dingtalk": ("mleventsdingtalk", "FormerDingTalkHook"),
    "ml_events_mlflow": ("mleventsmlflow", "FormerMLflowHook"),
}


def _former_types(types: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The types again under their former names, so that Airflow shows and tests such connections as before."""
    by_name = {one["connection-type"]: one for one in types}
    return [
        {
            **by_name[name],
            "connection-type": former,
            "hook-name": f"{by_name[name]['hook-name']} (former name)",
            "hook-class-name": f"ml_event_provider.hooks.former_types.{hook}",
        }
        for former, (name, hook) in FORMER_TYPES.items()
    ]


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata (entry point ``apache_airflow_provider``)."""
    types = _connection_types()
    return {
        "package-name": "airflow-provider-ml-events",
        "name": _NAME,
        "description": "Events, rules and notifications for ML pipelines.",
        "integrations": [{"integration-name": _NAME, "external-doc-url": "", "tags": ["service"]}],
        "operators": [
            {"integration-name": _NAME, "python-modules": ["ml_event_provider.operators.events"]},
            {"integration-name": _NAME, "python-modules": ["ml_event_provider.operators.drift"]},
        ],
        "sensors": [
            {"integration-name": _NAME, "python-modules": ["ml_event_provider.sensors.model_approval"]},
        ],
        "triggers": [
            {"integration-name": _NAME, "python-modules": ["ml_event_provider.triggers.model_approval"]},
        ],
        "hooks": [
            {
                "integration-name": _NAME,
                "python-modules": [
                    "ml_event_provider.hooks.ml_events",
                    "ml_event_provider.hooks.webhook",
                    "ml_event_provider.hooks.dingtalk",
                    "ml_event_provider.hooks.mlflow",
                ],
            },
        ],
        "notifications": ["ml_event_provider.notifications.ml_events.MlEventNotifier"],
        "connection-types": [*types, *_former_types(types)],
        "config": {
            "ml_events": {
                "description": "Capture, delivery and retention of ML events.",
                "options": OPTIONS,
            },
        },
        "cli": ["ml_event_provider.cli.definition.get_commands"],
        "db-managers": ["ml_event_provider.store.manager.MlEventDBManager"],
        "plugins": [
            {"name": "ml_events", "plugin-class": "ml_event_provider.plugins.ml_events.MlEventsPlugin"},
        ],
    }
