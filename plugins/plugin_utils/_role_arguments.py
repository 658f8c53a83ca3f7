# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The options of comfyui_config out of the variables of the role workstation_config.

A task with fifteen options that are templates has Jinja compile fifty of them in the process of every workstation, and
an expression with a filter of a collection has that process load all filters of the collection. Both together cost as
much as reaching the workstation. Here a variable is templated only when it is a template, and what the role decides of
them is decided in Python. Where workstation_rollout_plan has looked at the variables of all workstations, what it found
is taken: that is templated already.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities
from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import STUDIO_WIDE
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import STUDIO_WIDE_MODE
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _gateway_options

ROLE = "workstation_config"
# What the role registers of workstation_rollout_plan.
PLANNED = "workstation_config_planned"

# What the role prepares once, from the variables of one workstation.
PREPARED = tuple(f"{ROLE}_{name}" for name in ("endpoints", "unread_targets", "studio_key", "previous_studio_key"))

Values = t.Mapping[str, t.Any]


class RoleVariables:
    """The variables of the role on one workstation, templated when they are asked for."""

    def __init__(self, templar: t.Any, variables: Values) -> None:
        self._templar = templar
        self._variables = variables
        options = variables.get(PLANNED, {}).get("options", {})
        own = options.get("each", {}).get(variables.get("inventory_hostname"))
        self._planned: Values = {} if own is None else {**options["all"], **own}
        # The role has set it with set_fact, so there is nothing in it to be templated.
        self.derived: Values = variables.get(f"{ROLE}__derived", {})
        self._shared = options["shared"] if own is not None and self.derived else ()

    def get(self, name: str, default: t.Any = None) -> t.Any:
        """Return a variable of the role by the part of its name that comes after the role's."""
        full = f"{ROLE}_{name}"
        if full in self._planned:
            return self._planned[full]
        if full in self._shared:
            return self.derived[name]
        return self._templar.template(self._variables[full]) if full in self._variables else default

    def yes(self, name: str) -> bool:
        """Return a variable that is a boolean, however it was written.

        :raises AnsibleActionFail: it is none.
        """
        try:
            return bool(boolean(self.get(name, False)))
        except TypeError as error:
            raise AnsibleActionFail(f"{ROLE}_{name} must be true or false.") from error


def one_for_all(found: t.Sequence[Values], later: t.Sequence[str]) -> list[str]:
    """Return which of those that the role prepares have one value everywhere. What comes later comes for all."""
    return [name for name in PREPARED if name in later or all(each.get(name) == found[0].get(name) for each in found)]


def planned(found: t.Mapping[str, Values], shared_secrets: t.Sequence[str]) -> dict[str, t.Any]:
    """Return the variables of all workstations, what they share once.

    :param shared_secrets: those that all share, too, and whose values must not be told. The role prepares them.
    """
    each = list(found.values())
    shared = {
        name: value
        for name, value in (each[0] if each else {}).items()
        if all(name in other and other[name] == value for other in each)
    }
    own = {host: {name: value for name, value in of.items() if name not in shared} for host, of in found.items()}
    return {"all": shared, "each": own, "shared": list(shared_secrets)}


def arguments(templar: t.Any, variables: Values) -> dict[str, t.Any]:
    """Return the options of comfyui_config for one workstation."""
    role = RoleVariables(templar, variables)
    wide = role.yes("studio_wide")
    found = {
        "comfyui_path": role.get("comfyui_path"),
        "workstation_id": role.get("id"),
        "mode": STUDIO_WIDE_MODE if wide else "workstation",
        "encryption_version": role.get("encryption_version"),
        "key_path": role.get("key_path") if role.yes("deliver_key") else None,
        "as_owner": not role.get("user"),
        "comfyui_user": role.get("user"),
        "comfyui_python": role.get("comfyui_python"),
        "backup": role.yes("backup"),
        "force": role.yes("force"),
        **_documents(role),
        **_keys(role),
        "credentials": _credentials(role, variables),
    }
    return {name: value for name, value in found.items() if value is not None}


def _documents(role: RoleVariables) -> dict[str, t.Any]:
    """Return the endpoints. Only a workstation that has NIMs of its own needs the role's expression for them."""
    if role.yes("own_nims"):
        return {"endpoints": role.get("_endpoints"), "unread_targets": role.get("_unread_targets")}
    return {"endpoints": role.get("endpoints"), "unread_targets": role.get("unread_targets", [])}


def _keys(role: RoleVariables) -> dict[str, t.Any]:
    """Return the keys. The wide ones were derived once for all, from the studio key of one workstation.

    If this one has another studio key, they are derived again.
    """
    studio_key, previous = role.get("studio_key"), role.get("previous_studio_key") or None
    derived = role.derived
    known = [derived["wide"]] if derived and derived["studio_key"] == studio_key else []
    before = [derived["previous_wide"]] if previous and derived and derived["previous_studio_key"] == previous else []
    wants_wide = str(role.get("encryption_version")) == str(STUDIO_WIDE)
    return {
        "key": known[0] if wants_wide and known else None,
        "sealed": derived.get("sealed") or None if wants_wide and known else None,
        "studio_key": studio_key,
        "previous_keys": known + before,
        "previous_studio_key": previous,
    }


def _credentials(role: RoleVariables, variables: Values) -> t.Any:
    """Return what the artist gets, or what is stored of the workstation's identities."""
    if not role.yes("stored_credentials"):
        return role.get("credentials", {})
    return stored_credentials(variables["hostvars"][variables["inventory_hostname"]])


def stored_credentials(host: Values) -> dict[str, dict[str, str]]:
    """Return what the filter identity_credentials does.

    :raises AnsibleActionFail: what is stored cannot be used.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        found: dict[str, dict[str, str]] = _gateway_options.with_token(_identities.credentials(host), host, now)
    except ValueError as error:
        raise AnsibleActionFail(f"The stored credentials cannot be used: {error}") from error
    return found


__all__ = ("RoleVariables", "arguments", "planned", "stored_credentials")
