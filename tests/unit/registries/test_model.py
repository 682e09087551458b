from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.registries import Approval, ApprovalPolicy, ModelVersion


@pytest.mark.parametrize(
    ("policy", "tags", "aliases", "status"),
    [
        ({}, {}, (), "pending"),
        ({}, {"validation_status": "in review"}, (), "pending"),
        ({}, {"validation_status": "approved"}, (), "approved"),
        ({}, {"validation_status": " APPROVED "}, (), "approved"),
        ({}, {"validation_status": "Rejected"}, (), "rejected"),
        ({}, {"Validation_Status": "approved"}, (), "pending"),
        ({}, {}, ("approved",), "pending"),
        ({"tag": "qa", "approved": ("ok", "Passed")}, {"qa": "passed"}, (), "approved"),
        ({"tag": "qa", "rejected": ("no", "failed")}, {"qa": "FAILED"}, (), "rejected"),
        ({"alias": "champion"}, {}, ("Champion",), "approved"),
        ({"alias": "Champion"}, {}, ("challenger", "champion"), "approved"),
        ({"alias": "champion"}, {"validation_status": "approved"}, ("challenger",), "pending"),
        ({"alias": "champion"}, {"validation_status": "rejected"}, ("champion",), "rejected"),
    ],
)
def test_status_is_read_from_tag_or_alias(
    policy: dict[str, Any], tags: dict[str, str], aliases: tuple[str, ...], status: str
) -> None:
    version = ModelVersion(model="churn", version="3", tags=tags, aliases=aliases)
    assert ApprovalPolicy(**policy).status(version) is Approval(status)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (ApprovalPolicy(), "tag 'validation_status' = 'approved'"),
        (ApprovalPolicy(tag="qa", approved=("ok", "passed")), "tag 'qa' = 'ok' or 'passed'"),
        (ApprovalPolicy(alias="champion"), "alias 'champion'"),
    ],
)
def test_a_policy_says_what_it_wants(policy: ApprovalPolicy, words: str) -> None:
    assert policy.wanted() == words
