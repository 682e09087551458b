"""What is composed reads back as what was meant, in this Python and in any other."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_event_provider.targets.mail import compose, mail_address
from ml_event_provider.targets.network import short
from tests.peers.samples import sample_message

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"]
MIME = ["Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
#: Pieces of headers, encoded words and line ends beside any text.
TEXTS = st.lists(
    st.text(max_size=20)
    | st.sampled_from(["=?", "?=", "=?utf-8?q?", "=0D=0A", "=?utf-8?b?DQo=?=", "\r\n", "\r\n\r\n", " <b@x>", '"', ","]),
    max_size=8,
).map("".join)


def decoded(raw: str) -> str:
    """A header's words as its reader sees them: unfolded, encoded words decoded, once."""
    return str(make_header(decode_header(raw.replace("\r\n", "") if "=?" not in raw else raw)))


def said(phrase: str) -> str:
    """A display name without its quotes."""
    if phrase.startswith('"') and phrase.endswith('"') and len(phrase) > 1:
        return re.sub(r"\\(.)", r"\1", phrase[1:-1])
    return decoded(phrase)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, TEXTS, st.text(max_size=30), st.booleans())
def test_whatever_the_texts_the_mail_reads_back_as_it_was_meant(
    title: str, name: str, body: str, delivery_id: str, html: bool
) -> None:
    message = sample_message(
        title=title, body=body, delivery_id=delivery_id, parts={"html": f"<p>{body}</p>"} if html else {}
    )
    content = compose(message, (name, "ml@airflow.example"), ["ann@x.example", "b@xn--strae-oqa.example"], NOW)
    # With the raw parser: nothing is decoded, and nothing is hidden.
    raw = message_from_bytes(content, policy=policy.compat32)
    assert raw.keys()[:6] == HEADERS
    assert set(raw.keys()[6:]) == set(MIME) - ({"Content-Transfer-Encoding"} if html else set())
    assert decoded(raw["Subject"]) == (short(title) or message.event.type)
    phrase, address = raw["From"].removesuffix(">").rsplit("<", 1) if short(name) else ("", raw["From"])
    assert (said(phrase.strip()), address) == (short(name), "ml@airflow.example")
    assert decoded(raw["To"]) == "ann@x.example, b@xn--strae-oqa.example"
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "address", ["a", "@x", "a@", "a b@x", "a@b@x", "a\n@x", "=?utf-8?q?a?=@x", "a\x85@x", "\u202ea@x", "a@x y"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        mail_address(address)


COMPOSED = """
import sys
from datetime import UTC, datetime
from email import message_from_bytes, policy
from ml_event_provider.targets.mail import compose
from tests.peers.samples import sample_message
evil = "=?utf-8?q?hi=0D=0ABcc=3A_x=40example=2Ecom=0D=0A=0D=0A<b>phish</b>?="
mail = compose(sample_message(title=evil, body="b"), (evil, "ml@x.example"), ["a@x.example"], datetime.now(UTC))
assert message_from_bytes(mail, policy=policy.compat32)["Bcc"] is None
head, _, body = mail.partition(b"\\r\\n\\r\\n")
assert b"phish" not in head + body, mail
"""


@pytest.mark.parametrize("name", ["python3.10", "python3.11", "python3.12", "python3.13", "/usr/bin/python3"])
def test_no_version_of_python_decodes_what_stands_in_a_header(name: str) -> None:
    interpreter = shutil.which(name)
    if interpreter is None or _cannot(interpreter):
        pytest.skip(f"there is no {name} here that runs this package")
    done = subprocess.run(
        [interpreter, "-c", COMPOSED],
        env={"PYTHONPATH": _path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _cannot(interpreter: str) -> bool:
    """Whether it does not start, or cannot import what is composed with from the libraries here."""
    asked = [interpreter, "-c", "import ml_event_provider.targets.mail"]
    told = subprocess.run(asked, env={"PYTHONPATH": _path()}, capture_output=True, timeout=60, check=False)
    return told.returncode != 0


def _path() -> str:
    import idna

    return f"{Path(__file__).parents[3]}:{Path(idna.__file__).parents[1]}"
