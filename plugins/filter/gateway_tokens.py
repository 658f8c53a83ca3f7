# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _tokens
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _gateway_options


def gateway_tokens(variables: t.Any, workstations: t.Any) -> dict[str, dict[str, str]]:
    """Return the token of each workstation, from variables that have the signing key."""
    if not isinstance(variables, t.Mapping):
        raise AnsibleFilterError(
            "budgetguard.techops.gateway_tokens: it takes a host's variables, such as hostvars['ws-01']"
        )
    if isinstance(workstations, str) or not isinstance(workstations, t.Iterable):
        raise AnsibleFilterError("budgetguard.techops.gateway_tokens: workstations must be a list of names")
    library = _tokens.missing_library()
    if library is not None:
        raise AnsibleFilterError(library)
    names = [str(name) for name in workstations]
    try:
        return _gateway_options.tokens(variables, names, datetime.datetime.now(datetime.timezone.utc))
    except ValueError as error:
        raise AnsibleFilterError(f"budgetguard.techops.gateway_tokens: {error}") from error


class FilterModule:
    """The filter gateway_tokens."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"gateway_tokens": gateway_tokens}
