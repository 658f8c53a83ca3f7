# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that AWS would refuse when half of a target is made already, and that are refused before."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_settings import AwsSettings

_IN_CHINA = "arn:aws-cn:iam::111122223333"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"log_retention_days": 15}, "log_retention_days is 15; CloudWatch Logs takes 1, 3, 5, 7, 14, 30, "),
        ({"log_retention_days": 0}, "log_retention_days is 0; "),
        ({"idle_timeout": 0}, "idle_timeout is 0; a load balancer takes 1 to 4000 seconds"),
        ({"idle_timeout": 4001}, "idle_timeout is 4001; "),
        ({"gateway_replicas": 0}, "gateway_replicas is 0; "),
        ({"endpoint_host": "https://nims.studio.example"}, "must be a name without scheme, port and path"),
        (
            {"certificate_arn": "nims.studio.example"},
            "certificate_arn is 'nims.studio.example'; it must be the ARN of ",
        ),
        ({"certificate_arn": f"{_IN_CHINA}:role/x"}, "it must be the ARN of a certificate "),
        (
            {"certificate_arn": "arn:aws:acm:eu-west-1:111122223333:certificate/0a-1b"},
            "certificate_arn is one of eu-west-1; it must be .* that AWS Certificate Manager has in us-east-1, or ",
        ),
        ({"endpoint_host": "nims.studio.example:443"}, "must be a name without scheme, port and path"),
    ],
)
def test_what_aws_would_refuse(options: dict[str, t.Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        AwsSettings.from_options({"region": "us-east-1", **options})


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {"region": "us-east-1", "log_retention_days": 15, "idle_timeout": 0, "endpoint_host": "a b"}
    with pytest.raises(ValueError, match=r"log_retention_days.*\nidle_timeout.*\nendpoint_host"):
        AwsSettings.from_options(wrong)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012",
        f"{_IN_CHINA}:server-certificate/cloudfront/nims",
    ],
)
def test_certificates(arn: str) -> None:
    assert AwsSettings.from_options({"region": "us-east-1", "certificate_arn": arn}).certificate_arn == arn


def test_an_empty_text_is_not_set() -> None:
    settings = AwsSettings.from_options(
        {"region": "us-east-1", "endpoint_host": "", "ami_id": "", "certificate_arn": ""}
    )
    assert (settings.endpoint_host, settings.ami_id, settings.certificate_arn) == (None, None, None)
