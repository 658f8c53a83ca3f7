# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Argument specifications that several modules share. The doc fragments of the same names describe them."""

from __future__ import annotations

import typing as t

ArgumentSpec = dict[str, dict[str, t.Any]]

DEPLOYMENTS: ArgumentSpec = {
    "deployments": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "node": {"type": "str", "required": True},
            "gpu_tier": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "started", "stopped", "absent"], "default": "present"},
            "replicas": {"type": "int", "default": 1},
            "tag": {"type": "str"},
            "variants": {"type": "list", "elements": "str", "default": []},
            "machine": {"type": "str"},
            "env": {"type": "dict", "default": {}},
            "always_on": {"type": "bool", "default": False},
            "skip_fit_check": {"type": "bool", "default": False},
        },
    },
    "nim_catalog": {"type": "dict", "default": {}},
    "purge_shared": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 2700},
    "wait_interval": {"type": "float", "default": 15},
}

AWS_CONNECTION: ArgumentSpec = {
    "region": {"type": "str", "required": True},
    "cluster": {"type": "str", "default": "budgetguard"},
    "profile": {"type": "str"},
    "access_key": {"type": "str", "no_log": True},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "assume_role_arn": {"type": "str"},
    "assume_role_external_id": {"type": "str"},
    "endpoint_url": {"type": "str"},
    "ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}
