"""`config/iam/webhooks.json` gives the receiver what it uses, and nothing else."""

import inspect
import json
import re
from pathlib import Path

from sidecar.webhook import dynamodb

POLICY = Path(__file__).parents[2] / "config/iam/webhooks.json"


def test_the_policy_names_the_operations_on_the_table() -> None:
    """Every operation that the code asks of DynamoDB, and no other."""
    policy = json.loads(POLICY.read_text())
    granted = {
        action.removeprefix("dynamodb:")
        for statement in policy["Statement"]
        for action in statement["Action"]
        if action.startswith("dynamodb:")
    }
    asked = set(re.findall(r'"([a-z]+_item)"', inspect.getsource(dynamodb)))

    assert {name.title().replace("_", "") for name in asked} == granted


def test_the_policy_reads_one_secret() -> None:
    """As the sidecar's own: DescribeSecret and GetSecretValue, nothing that writes."""
    policy = json.loads(POLICY.read_text())
    secret = next(s for s in policy["Statement"] if s["Sid"] == "ReadTheWebhookSecret")

    assert set(secret["Action"]) == {
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
    }
    assert "*" not in secret["Resource"]


def test_the_policy_decrypts_that_secret_alone() -> None:
    """A secret under a key of the account's own is not read without; through AWS only."""
    policy = json.loads(POLICY.read_text())
    by_sid = {statement["Sid"]: statement for statement in policy["Statement"]}
    decrypt = by_sid["DecryptTheWebhookSecret"]

    assert decrypt["Action"] == "kms:Decrypt"
    assert decrypt["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"},
        "StringLike": {
            "kms:EncryptionContext:SecretARN": by_sid["ReadTheWebhookSecret"][
                "Resource"
            ]
        },
    }
