# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _gateway_options


def identity_credentials(variables: t.Any) -> dict[str, dict[str, str]]:
    """Return the credentials of a workstation's config, from all its variables."""
    if not isinstance(variables, t.Mapping):
        raise AnsibleFilterError(
            "budgetguard.techops.identity_credentials: it takes a host's variables, such as hostvars['ws-01']"
        )
    try:
        now = datetime.datetime.now(datetime.timezone.utc)
        return _gateway_options.with_token(_identities.credentials(variables), variables, now)
    except ValueError as error:
        raise AnsibleFilterError(f"budgetguard.techops.identity_credentials: {error}") from error


class FilterModule:
    """The filter identity_credentials."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"identity_credentials": identity_credentials}
