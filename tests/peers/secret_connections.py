"""Connections of each kind with a secret wherever people put one, and the spellings in which a secret travels."""

from __future__ import annotations

import base64
import html
import json
from typing import Any
from urllib.parse import quote, quote_plus

from ml_event_provider.targets.dingtalk import DingTalkTarget
from ml_event_provider.targets.email import EmailTarget
from ml_event_provider.targets.slack import SlackTarget
from ml_event_provider.targets.webhook import WebhookTarget
from tests.peers.samples import SampleConnection

HEADER = "team-7-route"
SHORT = "k3y-78"
KEY = base64.b64encode(b"key of thirty-two bytes for tests").decode()
OLD_KEY = base64.b64encode(b"old key of 32 bytes for the tests").decode()
PASSWORD = 'p4ss/w+rd=%20&"ü'
TOKEN = "t0ken-0123456789abcdef"
BEARER = "bearer+0123456789/abcdef"
PATH = "T0123456/B0123456/xYz0123456789abcdefghijk"

PATH_END = PATH.rpartition("/")[2]
MAIL_PASSWORD = "password-0123456789"
#: What each connection below holds.
SECRETS = {
    "webhook": (KEY, OLD_KEY, BEARER, TOKEN, PATH_END),
    "http": (KEY, PASSWORD, BEARER, TOKEN, PATH_END, HEADER, SHORT),
    "dingtalk": (TOKEN, PASSWORD),
    "slack webhook": (PATH, PATH_END),
    "slack": (TOKEN,),
    "email": (MAIL_PASSWORD, TOKEN),
}


def spellings(secret: str) -> set[str]:
    return {
        secret,
        html.escape(secret),
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode(),
    }


def connections(port: int) -> dict[str, tuple[type[Any], SampleConnection]]:
    base = f"http://127.0.0.1:{port}"
    return {
        "webhook": (
            WebhookTarget,
            SampleConnection(
                conn_type="mleventswebhook",
                host=f"{base}/webhook/{PATH}?token={quote(TOKEN)}",
                password=f"whsec_{KEY}",
                extra={"previous_secret": f"whsec_{OLD_KEY}", "bearer_token": BEARER},
            ),
        ),
        "http": (
            WebhookTarget,
            SampleConnection(
                conn_type="http",
                host=f"{base}/{SHORT}/{PATH}",
                login="me",
                password=PASSWORD,
                extra={"X-Api-Key": TOKEN, "signing_secret": KEY, "headers": {"Cookie": BEARER, "X-Group": HEADER}},
            ),
        ),
        "dingtalk": (
            DingTalkTarget,
            SampleConnection(
                conn_type="mleventsdingtalk",
                host=f"{base}/dingtalk/robot/send",
                password=TOKEN,
                extra={"secret": PASSWORD},
            ),
        ),
        "slack webhook": (
            SlackTarget,
            SampleConnection(conn_type="slackwebhook", host=f"{base}/slack/services", password=PATH),
        ),
        "slack": (
            SlackTarget,
            SampleConnection(
                conn_type="slack", password=TOKEN, extra={"base_url": f"{base}/slack/api", "channel": "#ml"}
            ),
        ),
        "email": (
            EmailTarget,
            SampleConnection(
                conn_type="smtp",
                host="127.0.0.1",
                port=port,
                login="me@x.example",
                password=MAIL_PASSWORD,
                extra={
                    "disable_ssl": True,
                    "disable_tls": True,
                    "to": "ann@x.example",
                    "client_secret": TOKEN,
                },
            ),
        ),
    }
