# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kinds of objects AWX has, which fields each takes, and which credential types it comes with.

From AWX 24.6.1: awx/api/serializers.py, awx/main/models and awx_plugins.credentials.plugins. AWX ignores a field that
it does not know; here it is an error.
"""

from __future__ import annotations

import dataclasses
import typing as t

Check = t.Callable[[t.Any], bool]


@dataclasses.dataclass(frozen=True)
class Field:
    """One field: what it takes, and what it is when nothing was said."""

    check: Check
    default: t.Any = ""
    required: bool = False
    refers_to: str = ""


def text(default: str | None = "", *, required: bool = False, choices: t.Sequence[str] = ()) -> Field:
    """Return a field for a text."""
    return Field(lambda value: isinstance(value, str) and (not choices or value in choices), default, required)


def number(default: int | None = 0, least: int = 0) -> Field:
    """Return a field for a whole number."""
    return Field(lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least, default)


def switch(*, default: bool = False) -> Field:
    """Return a field for yes or no."""
    return Field(lambda value: isinstance(value, bool), default)


def mapping() -> Field:
    """Return a field for a mapping."""
    return Field(lambda value: isinstance(value, dict), {})


def reference(kind: str, *, required: bool = False) -> Field:
    """Return a field for the id of an object."""
    return Field(lambda value: isinstance(value, int), None, required, kind)


NAMED = {"name": text(required=True), "description": text()}
EVENTS = ("notification_templates_started", "notification_templates_success", "notification_templates_error")

ASKS = (
    *("diff_mode", "variables", "limit", "tags", "skip_tags", "job_type", "verbosity", "inventory", "credential"),
    *("execution_environment", "forks", "instance_groups", "job_slice_count", "labels", "timeout", "scm_branch"),
)

KINDS: dict[str, dict[str, Field]] = {
    "organizations": {**NAMED, "default_environment": reference("execution_environments"), "max_hosts": number()},
    "execution_environments": {
        **NAMED,
        "organization": reference("organizations"),
        "image": text(required=True),
        "credential": reference("credentials"),
        "pull": text(choices=("", "always", "missing", "never")),
    },
    "credential_types": {
        **NAMED,
        "kind": text(required=True, choices=("cloud", "net")),
        "inputs": mapping(),
        "injectors": mapping(),
        "managed": switch(),
    },
    "credentials": {
        **NAMED,
        "organization": reference("organizations"),
        "credential_type": reference("credential_types", required=True),
        "inputs": mapping(),
    },
    "projects": {
        **NAMED,
        "organization": reference("organizations"),
        "scm_type": text(choices=("", "git", "svn", "insights", "archive")),
        "scm_url": text(),
        "scm_branch": text(),
        "scm_refspec": text(),
        "credential": reference("credentials"),
        "default_environment": reference("execution_environments"),
        "scm_clean": switch(),
        "scm_delete_on_update": switch(),
        "scm_track_submodules": switch(),
        "scm_update_on_launch": switch(),
        "scm_update_cache_timeout": number(),
        "allow_override": switch(),
        "timeout": number(),
    },
    "inventories": {
        **NAMED,
        "organization": reference("organizations", required=True),
        "kind": text(choices=("", "smart", "constructed")),
        "host_filter": text(None),
        "variables": text(),
    },
    "inventory_sources": {
        **NAMED,
        "inventory": reference("inventories", required=True),
        "source": text(required=True, choices=("scm", "ec2", "gce", "azure_rm", "vmware", "controller")),
        "source_project": reference("projects"),
        "source_path": text(),
        "source_vars": text(),
        "execution_environment": reference("execution_environments"),
        "credential": reference("credentials"),
        "overwrite": switch(),
        "overwrite_vars": switch(),
        "update_on_launch": switch(),
        "update_cache_timeout": number(),
        "timeout": number(),
        "verbosity": number(1),
    },
    "job_templates": {
        **NAMED,
        "organization": reference("organizations"),
        "project": reference("projects", required=True),
        "inventory": reference("inventories"),
        "execution_environment": reference("execution_environments"),
        "playbook": text(required=True),
        "job_type": text("run", choices=("run", "check")),
        "forks": number(),
        "limit": text(),
        "verbosity": number(),
        "extra_vars": text(),
        "job_tags": text(),
        "skip_tags": text(),
        "timeout": number(),
        "use_fact_cache": switch(),
        "survey_enabled": switch(),
        "become_enabled": switch(),
        "diff_mode": switch(),
        "allow_simultaneous": switch(),
        "job_slice_count": number(1, 1),
        "scm_branch": text(),
        **{f"ask_{name}_on_launch": switch() for name in ASKS},
    },
    "workflow_job_templates": {
        **NAMED,
        "organization": reference("organizations"),
        "inventory": reference("inventories"),
        "extra_vars": text(),
        "limit": text(None),
        "survey_enabled": switch(),
        "allow_simultaneous": switch(),
        "ask_variables_on_launch": switch(),
        "ask_inventory_on_launch": switch(),
        "ask_limit_on_launch": switch(),
    },
    "workflow_job_template_nodes": {
        "identifier": text(required=True),
        "workflow_job_template": reference("workflow_job_templates", required=True),
        "unified_job_template": reference("unified_job_templates"),
        "extra_data": mapping(),
        "inventory": reference("inventories"),
        "job_type": text(None, choices=("run", "check")),
        "limit": text(None),
        "job_slice_count": number(None, 1),
        "all_parents_must_converge": switch(),
        # Read-only, and sent by the module all the same.
        "type": text("workflow_job_template_node"),
    },
    "workflow_approval_templates": {**NAMED, "timeout": number()},
    "schedules": {
        **NAMED,
        "unified_job_template": reference("unified_job_templates", required=True),
        "rrule": text(required=True),
        "extra_data": mapping(),
        "enabled": switch(default=True),
        "inventory": reference("inventories"),
        "limit": text(None),
        "job_slice_count": number(None, 1),
    },
    "notification_templates": {
        **NAMED,
        "organization": reference("organizations", required=True),
        "notification_type": text(
            required=True,
            choices=("awssns", "email", "grafana", "irc", "mattermost", "pagerduty", "slack", "twilio", "webhook"),
        ),
        "notification_configuration": mapping(),
        "messages": mapping(),
    },
}

ASSOCIATIONS: dict[str, dict[str, str]] = {
    "organizations": {
        "galaxy_credentials": "credentials",
        **dict.fromkeys((*EVENTS, "notification_templates_approvals"), "notification_templates"),
    },
    "projects": dict.fromkeys(EVENTS, "notification_templates"),
    "inventories": {},
    "inventory_sources": dict.fromkeys(EVENTS, "notification_templates"),
    "job_templates": {"credentials": "credentials", **dict.fromkeys(EVENTS, "notification_templates")},
    "workflow_job_templates": dict.fromkeys(EVENTS, "notification_templates"),
    "workflow_job_template_nodes": {
        "credentials": "credentials",
        **dict.fromkeys(("success_nodes", "failure_nodes", "always_nodes"), "workflow_job_template_nodes"),
    },
}
"""What can be linked to what, by the last part of the address."""

UNIFIED = ("job_templates", "workflow_job_templates", "projects", "inventory_sources", "workflow_approval_templates")
"""What unified_job_templates is made of."""

SECRETS_OF_NOTIFICATIONS = {
    "password",
    "token",
    "account_token",
    "grafana_key",
    "aws_secret_access_key",
    "mattermost_url",
}

BUILT_IN: dict[str, tuple[str, dict[str, bool], tuple[str, ...]]] = {
    "Amazon Web Services": (
        "cloud",
        {"username": False, "password": True, "security_token": True},
        ("username", "password"),
    ),
    "Microsoft Azure Resource Manager": (
        "cloud",
        {
            "subscription": False,
            "username": False,
            "password": True,
            "client": False,
            "secret": True,
            "tenant": False,
            "cloud_environment": False,
        },
        ("subscription",),
    ),
    "Google Compute Engine": (
        "cloud",
        {"username": False, "project": False, "ssh_key_data": True},
        ("username", "ssh_key_data"),
    ),
    "Machine": (
        "ssh",
        {
            "username": False,
            "password": True,
            "ssh_key_data": True,
            "ssh_public_key_data": False,
            "ssh_key_unlock": True,
            "become_method": False,
            "become_username": False,
            "become_password": True,
        },
        (),
    ),
    "Vault": ("vault", {"vault_password": True, "vault_id": False}, ("vault_password",)),
    "Source Control": (
        "scm",
        {"username": False, "password": True, "ssh_key_data": True, "ssh_key_unlock": True},
        (),
    ),
    "Container Registry": (
        "registry",
        {"host": False, "username": False, "password": True, "verify_ssl": False},
        ("host",),
    ),
    "Ansible Galaxy/Automation Hub API Token": (
        "galaxy",
        {"url": False, "auth_url": False, "token": True},
        ("url",),
    ),
}
"""Name to kind, fields and whether each is secret, and those that are required."""
