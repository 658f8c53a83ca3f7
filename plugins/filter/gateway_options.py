# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _tokens
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _gateway_options


def gateway_options(variables: t.Any, deny: t.Any = None) -> dict[str, t.Any]:
    """Return the option gateway of a target's module, from all variables of the target. C(deny) joins the deny list."""
    if not isinstance(variables, t.Mapping):
        raise AnsibleFilterError(
            "budgetguard.techops.gateway_options: it takes a target's variables, such as hostvars['gpu-box-1']"
        )
    if not isinstance(deny or {}, t.Mapping):
        raise AnsibleFilterError("budgetguard.techops.gateway_options: deny must be a mapping of names to times")
    library = _tokens.missing_library()
    if library is not None:
        raise AnsibleFilterError(library)
    try:
        return _gateway_options.options(variables, datetime.datetime.now(datetime.timezone.utc), deny or {})
    except ValueError as error:
        raise AnsibleFilterError(f"budgetguard.techops.gateway_options: {error}") from error


class FilterModule:
    """The filter gateway_options."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"gateway_options": gateway_options}
