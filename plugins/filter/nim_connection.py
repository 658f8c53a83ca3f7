# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    AWS_CONNECTION,
    AZURE_CONNECTION,
    GCP_CONNECTION,
    NVIDIA_CONNECTION,
)

_SPECS = {"aws": AWS_CONNECTION, "azure": AZURE_CONNECTION, "gcp": GCP_CONNECTION, "nvidia": NVIDIA_CONNECTION}


def nim_connection(target: t.Any, provider: str) -> dict[str, t.Any]:
    """Return those options of a target that say how it is reached."""
    if provider not in _SPECS:
        raise AnsibleFilterError(
            f"budgetguard.techops.nim_connection: provider is {provider!r}; it must be one of {', '.join(_SPECS)}"
        )
    if not isinstance(target, t.Mapping):
        raise AnsibleFilterError("budgetguard.techops.nim_connection: nim_target must be a mapping of options")
    return {name: value for name, value in target.items() if name in _SPECS[provider]}


class FilterModule:
    """The filter nim_connection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_connection": nim_connection}
