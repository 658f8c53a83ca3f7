# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto behaves unlike AWS in ways an ECS-on-EC2 GPU deployment meets, it is put right here.

One function per behaviour; its docstring says what AWS does and what moto 5.2.5 does. Importing this package
registers the patches, `install_patches` puts them in place.
"""

from __future__ import annotations

from tests.sandbox.aws_patches import (
    autoscaling,
    cloudwatch,
    ec2,
    ecs_clusters,
    ecs_services,
    ecs_tasks,
    elbv2,
    iam,
    logs,
    secrets,
    spot,
    ssm,
)
from tests.sandbox.aws_patches.patching import install_patches

__all__ = [
    "autoscaling",
    "cloudwatch",
    "ec2",
    "ecs_clusters",
    "ecs_services",
    "ecs_tasks",
    "elbv2",
    "iam",
    "install_patches",
    "logs",
    "secrets",
    "spot",
    "ssm",
]
