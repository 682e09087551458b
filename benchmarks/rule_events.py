"""Events and patterns for the benchmark of the rule index: model package state changes of about 1.4 kB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

TYPES = ("created", "approved", "rejected", "pending", "deleted", "metrics", "deployed", "failed")
STATUSES = ("Approved", "Rejected", "PendingManualApproval")
REGIONS = ("eu-west-1", "us-east-2", "ap-southeast-1")


def group(number: int) -> str:
    """The name of a model."""
    return f"churn-{number:06d}-model"


def event(rng: random.Random, groups: int) -> dict[str, Any]:
    """One event about one of so many models."""
    name = group(rng.randrange(groups))
    version = rng.randrange(1, 40)
    region = rng.choice(REGIONS)
    arn = f"arn:aws:sagemaker:{region}:123456789012:model-package/{name}/{version}"
    return {
        "specversion": "1.0",
        "id": f"{rng.getrandbits(128):032x}",
        "source": f"/sagemaker/{region}",
        "type": f"model_version.{rng.choice(TYPES)}",
        "time": f"2026-03-{rng.randrange(1, 29):02d}T17:{rng.randrange(60):02d}:14Z",
        "subject": f"{name}/{version}",
        "workspace": "default",
        "origin": "ingest",
        "datacontenttype": "application/json",
        "data": {
            "ModelPackageGroupName": name,
            "ModelPackageVersion": version,
            "ModelPackageArn": arn,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": rng.choice(STATUSES),
            "CertifyForMarketplace": False,
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": f"257758044811.dkr.ecr.{region}.example/sagemaker-xgboost:1.0-1-cpu-py3",
                        "ImageDigest": "sha256:" + "4dc8a7e4a010a19b" * 4,
                        "ModelDataUrl": f"s3://sagemaker-project/{name}/Train/output/model.tar.gz",
                    }
                ],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
            "ModelMetrics": {"accuracy": round(rng.random(), 6), "psi": round(rng.random() ** 3, 6)},
            "MetadataProperties": {"GeneratedBy": f"{arn}/execution/4r83jejmhorv"},
            "LastModifiedBy": {"SourceIp": f"10.{rng.randrange(256)}.{rng.randrange(256)}.7"},
            "UpdatedModelPackageFields": ["ModelApprovalStatus"],
            "Tags": [{"Key": "team", "Value": f"team-{rng.randrange(20)}"}, {"Key": "env", "Value": "prod"}],
        },
    }


def exact(rng: random.Random, number: int) -> dict[str, Any]:
    """Four fields, exact values."""
    return {
        "source": [f"/sagemaker/{rng.choice(REGIONS)}"],
        "type": [f"model_version.{rng.choice(TYPES)}"],
        "data": {"ModelPackageGroupName": [group(number)], "ModelApprovalStatus": [rng.choice(STATUSES)]},
    }


def numeric(rng: random.Random, number: int) -> dict[str, Any]:
    """A type and a narrow range of a metric that is new in each event."""
    low = rng.random()
    return {
        "type": [f"model_version.{rng.choice(TYPES)}"],
        "data": {"ModelMetrics": {"accuracy": [{"numeric": [">=", low, "<", low + 0.0005]}]}},
    }


def wildcard(rng: random.Random, number: int) -> dict[str, Any]:
    """A wildcard with stars on both sides of the model's name."""
    return {"data": {"ModelPackageArn": [{"wildcard": f"arn:aws:sagemaker:*:model-package/{group(number)}/*"}]}}


def _others(rng: random.Random, number: int) -> tuple[dict[str, Any], ...]:
    name = group(number)
    kind = f"model_version.{rng.choice(TYPES)}"
    return (
        {"type": [kind], "data": {"ModelPackageGroupName": [{"prefix": name[:12]}]}},
        {"type": [kind], "subject": [{"suffix": f"{name[6:]}/{rng.randrange(40)}"}]},
        {"type": [kind], "data": {"ModelPackageGroupName": [{"equals-ignore-case": name.upper()}]}},
        {
            "data": {
                "ModelPackageGroupName": [name],
                "ModelPackageVersion": [{"numeric": [">=", rng.randrange(40)]}],
                "ModelApprovalStatus": [{"anything-but": "Rejected"}],
            }
        },
        {
            "data": {
                "ModelPackageGroupName": [name],
                "Tags": {"Key": ["team"], "Value": [f"team-{rng.randrange(20)}"]},
                "Error": [{"exists": False}],
            }
        },
        {
            "type": [kind],
            "data": {"LastModifiedBy": {"SourceIp": [{"cidr": f"10.{rng.randrange(256)}.{number % 256}.0/24"}]}},
        },
        {"$or": [{"data": {"ModelPackageGroupName": [name]}}, {"subject": [f"{name}/1"]}], "type": [kind]},
    )


def mixed(rng: random.Random, number: int) -> dict[str, Any]:
    """All operators."""
    choices = (exact(rng, number), numeric(rng, number), wildcard(rng, number), *_others(rng, number))
    return choices[number % len(choices)]


def one_type(rng: random.Random, number: int) -> dict[str, Any]:
    """All operators, and all rules name the same type and source, as all events have them."""
    return mixed(rng, number) | SAME


#: What the events of ``one_type`` have in place of their own.
SAME = {"source": ["/sagemaker/eu-west-1"], "type": ["model_version.approved"]}

KINDS = {"exact": exact, "mixed": mixed, "one_type": one_type, "numeric": numeric, "wildcard": wildcard}
