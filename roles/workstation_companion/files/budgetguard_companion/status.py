# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the artist has working credentials, and if not, why. Pure.

What this returns goes to the browser, so there is no secret in it, and no address.
"""

from __future__ import annotations

import datetime
import typing as t

from .endpoints import Endpoint, endpoints_of
from .envelope import ConfigError, Credentials, Opened

GREEN = "✓ Server Credentials Found"
YELLOW = "⚠ Server Credentials Not Found - call your TechOps technician"

FIELDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "nvidia": (("NVIDIA API Key / NGC API Key",),),
    "aws": (("Access Key ID",), ("Secret Access Key",)),
    "azure": (
        ("Subscription ID",),
        ("Tenant ID",),
        ("Client ID (Application ID)",),
        ("Client Secret",),
        ("Resource Group",),
        ("Region",),
    ),
    "gcp": (("Project ID",), ("Service Account JSON File Path", "Service Account JSON"), ("Region",), ("Zone",)),
}
"""The fields that make a provider's credentials complete. Of those in one pair of brackets any will do."""

OWN_IDENTITY = "Identity"
"""The field of a workstation that has an identity of its own and so no key."""

CURES = {
    "no_config": "Run the playbook workstations for this workstation, and check comfyui_path.",
    "bad_config": "Run the playbook workstations for this workstation.",
    "no_key": "Run the playbook workstations for this workstation; ComfyUI must run as the user that owns the key.",
    "bad_key": "Run the playbook workstations for this workstation.",
    "wrong_key": "Run the playbook workstations for this workstation; after a rotation restart ComfyUI's service.",
    "no_library": "Run the playbook workstations with workstation_companion: true.",
    "no_credentials": "Set nim_workstation_credentials, or run the playbook credentials.",
    "expired": "Run the playbook workstations for this workstation.",
    "revoked": "Run credentials -e restore=true for this workstation, if it is to work again.",
    "refused": "Run gateway_renew for the gateways, then workstations for this workstation.",
}
"""For TechOps: what helps, by reason."""


def complete(credentials: Credentials) -> dict[str, bool]:
    """Say for each provider whether all its fields have a text."""
    return {provider: _is_complete(credentials.get(provider, {}), fields) for provider, fields in FIELDS.items()}


def _is_complete(found: t.Mapping[str, str], fields: t.Iterable[tuple[str, ...]]) -> bool:
    if found.get(OWN_IDENTITY, "").strip():
        return True
    return all(any(found.get(name, "").strip() for name in names) for names in fields)


def expiry(credentials: Credentials) -> datetime.datetime | None:
    """Return when the gateway's token ends; None without a token or a time."""
    text = credentials.get("gateway", {}).get("Expires", "")
    try:
        then = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return then if then.tzinfo else None


def refuse(opened: Opened, now: datetime.datetime, verdict: str | None = None) -> None:
    """Raise ConfigError if what was opened does not serve.

    :arg verdict: what a gateway says to the token: C(revoked), C(refused), or None if it takes it or was not asked.
    """
    credentials = opened.credentials
    ends = expiry(credentials)
    if ends is not None and ends <= now:
        raise ConfigError("expired", f"This workstation's token ended on {ends:%Y-%m-%d %H:%M} UTC.")
    if verdict == "revoked":
        raise ConfigError("revoked", "The gateway says that this workstation was revoked.")
    if verdict == "refused":
        raise ConfigError("refused", "The gateway does not take this workstation's token.")
    if not any(complete(credentials).values()) and not credentials.get("gateway", {}).get("Token"):
        raise ConfigError("no_credentials", "The config was opened and holds no complete credentials.")


def green(opened: Opened) -> dict[str, t.Any]:
    """Return the status of a workstation that has what it needs."""
    document = opened.document
    found = endpoints_of(document)
    return {
        "ok": True,
        "text": GREEN,
        "reason": None,
        "detail": None,
        "cure": None,
        "credentials_status": _status(opened.credentials, found),
        "mode": _text(document.get("mode")),
        "installed_at": _text(document.get("installed_at")),
        "nodes": _nodes(found),
    }


def yellow(problem: ConfigError) -> dict[str, t.Any]:
    """Return the status of a workstation that lacks something."""
    return {
        "ok": False,
        "text": YELLOW,
        "reason": problem.reason,
        "detail": str(problem),
        "cure": CURES.get(problem.reason),
        "credentials_status": dict.fromkeys(FIELDS, False),
        "mode": None,
        "installed_at": None,
        "nodes": {},
    }


def _status(credentials: Credentials, endpoints: t.Sequence[Endpoint]) -> dict[str, bool]:
    """Say for each provider whether the artist can use it: with its own credentials, or with the gateway's token."""
    status = complete(credentials)
    if credentials.get("gateway", {}).get("Token"):
        for endpoint in endpoints:
            if endpoint.auth == "gateway" and endpoint.provider in status:
                status[endpoint.provider] = True
    return status


def _nodes(endpoints: t.Sequence[Endpoint]) -> dict[str, list[dict[str, t.Any]]]:
    """Return what a page may know of each node's endpoints: no address."""
    nodes: dict[str, list[dict[str, t.Any]]] = {}
    for endpoint in endpoints:
        nodes.setdefault(endpoint.node, []).append(endpoint.shown())
    return nodes


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
