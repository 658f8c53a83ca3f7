# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Argument specifications that several modules share. The doc fragments of the same names describe them."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.parameters import env_fallback

ArgumentSpec = dict[str, dict[str, t.Any]]

Rules = t.Mapping[str, t.Any]
"""Which options exclude or need each other, as arguments of AnsibleModule."""

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

GATEWAY: ArgumentSpec = {
    "gateway": {
        "type": "dict",
        "options": {
            "target": {"type": "str"},
            "studio": {"type": "str"},
            "public_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "denied": {"type": "dict", "default": {}},
            "certificate": {"type": "str"},
            "private_key": {"type": "str", "no_log": True},
            "body_mib": {"type": "int", "default": 64},
            "requests_per_minute": {"type": "int"},
            "concurrent_requests": {"type": "int"},
        },
    },
    "gateway_only": {"type": "bool", "default": False},
}
"""The login, the certificate and the limits of the gateway in front of a target's NIMs."""

KUBERNETES: ArgumentSpec = {
    **GATEWAY,
    "scheme": {"type": "str", "choices": ["internal", "public"], "default": "internal"},
    "allowed_cidrs": {"type": "list", "elements": "str", "default": []},
    "allow_public": {"type": "bool", "default": False},
    "allow_plain_http": {"type": "bool", "default": False},
    "endpoint_host": {"type": "str"},
    "ngc_api_key": {"type": "str", "no_log": True},
    "hf_token": {"type": "str", "no_log": True},
    "storage_class": {"type": "str"},
    "gateway_image": {"type": "str"},
    "gateway_replicas": {"type": "int", "default": 2},
}
"""What is set up inside a cluster, for the modules that deploy to one."""

GCP_CONNECTION: ArgumentSpec = {
    "project": {"type": "str"},
    "location": {"type": "str", "required": True},
    "cluster": {"type": "str", "default": "budgetguard"},
    "namespace": {"type": "str", "default": "budgetguard"},
    "dns_endpoint": {"type": "bool", "default": False},
    "service_account_file": {"type": "path"},
    "service_account_contents": {"type": "jsonarg", "no_log": True},
    "container_endpoint": {"type": "str"},
    "compute_endpoint": {"type": "str"},
}

AZURE_CONNECTION: ArgumentSpec = {
    "subscription_id": {"type": "str", "required": True, "fallback": (env_fallback, ["AZURE_SUBSCRIPTION_ID"])},
    "resource_group": {"type": "str", "required": True},
    "cluster": {"type": "str", "default": "budgetguard"},
    "namespace": {"type": "str", "default": "budgetguard"},
    "region": {"type": "str"},
    "auth_source": {
        "type": "str",
        "choices": ["auto", "service_principal", "managed_identity", "cli"],
        "default": "auto",
    },
    "tenant": {"type": "str", "fallback": (env_fallback, ["AZURE_TENANT_ID", "AZURE_TENANT"])},
    "client_id": {"type": "str", "fallback": (env_fallback, ["AZURE_CLIENT_ID"])},
    "secret": {"type": "str", "no_log": True, "fallback": (env_fallback, ["AZURE_CLIENT_SECRET", "AZURE_SECRET"])},
    "resource_manager_endpoint": {"type": "str", "fallback": (env_fallback, ["AZURE_RESOURCE_MANAGER_ENDPOINT"])},
    "graph_endpoint": {"type": "str", "fallback": (env_fallback, ["AZURE_GRAPH_ENDPOINT"])},
}

AWS_IDENTITY: ArgumentSpec = {
    **AWS_CONNECTION,
    "allowed_source_cidrs": {"type": "list", "elements": "str", "default": []},
}
AWS_IDENTITY_RULES: Rules = {"required_together": [("access_key", "secret_key")]}

AZURE_IDENTITY: ArgumentSpec = AZURE_CONNECTION

GCP_IDENTITY: ArgumentSpec = {
    **GCP_CONNECTION,
    "project_role": {"type": "str", "default": "roles/container.clusterViewer"},
    "iam_endpoint": {"type": "str"},
    "resource_manager_endpoint": {"type": "str"},
}
GCP_IDENTITY_RULES: Rules = {"mutually_exclusive": [("service_account_file", "service_account_contents")]}
"""What the modules for workstations' identities take beside what they share."""

LOCAL_CONNECTION: ArgumentSpec = {
    "docker_host": {"type": "str", "default": "unix:///var/run/docker.sock"},
    "docker_command": {"type": "str", "default": "docker"},
    "endpoint_host": {"type": "str"},
}

NVIDIA_CONNECTION: ArgumentSpec = {
    "api_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["NVIDIA_API_KEY", "NGC_API_KEY"])},
    "org": {"type": "str", "fallback": (env_fallback, ["NGC_ORG", "NGC_CLI_ORG"])},
    "team": {"type": "str", "fallback": (env_fallback, ["NGC_TEAM", "NGC_CLI_TEAM"])},
    "endpoint": {"type": "str", "fallback": (env_fallback, ["NGC_ENDPOINT"])},
    "ca_bundle": {"type": "path"},
    "cloud_functions": {"type": "bool", "default": True},
    "hosted_nodes": {"type": "list", "elements": "str", "default": []},
    "hosted_check": {"type": "str", "choices": ["key", "model"], "default": "key"},
    "nim_catalog": {"type": "dict", "default": {}},
}

USAGE: ArgumentSpec = {
    **AWS_CONNECTION,
    **AZURE_CONNECTION,
    **GCP_CONNECTION,
    **LOCAL_CONNECTION,
    "region": {"type": "str"},
    "subscription_id": {"type": "str", "fallback": (env_fallback, ["AZURE_SUBSCRIPTION_ID"])},
    "resource_group": {"type": "str"},
    "location": {"type": "str"},
    "provider": {"type": "str", "choices": ["aws", "azure", "gcp", "local"], "required": True},
    "since": {"type": "str", "default": "24h"},
    "before": {"type": "str"},
    "period": {"type": "str", "choices": ["none", "hour", "day"], "default": "day"},
    "recent_minutes": {"type": "int", "default": 60},
    "look_back_days": {"type": "int", "default": 14},
    "nodes": {"type": "list", "elements": "str", "default": []},
    "metrics": {"type": "bool", "default": True},
    "log_path": {"type": "path"},
    "log_analytics_workspace_id": {"type": "str", "fallback": (env_fallback, ["AZURE_LOG_ANALYTICS_WORKSPACE_ID"])},
    "log_analytics_endpoint": {"type": "str", "fallback": (env_fallback, ["AZURE_LOG_ANALYTICS_ENDPOINT"])},
    "prometheus_query_endpoint": {"type": "str", "fallback": (env_fallback, ["AZURE_PROMETHEUS_QUERY_ENDPOINT"])},
    "logging_endpoint": {"type": "str"},
    "monitoring_endpoint": {"type": "str"},
}
"""A gateway's log, wherever a target keeps it."""
