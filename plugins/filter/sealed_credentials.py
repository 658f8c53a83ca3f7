# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter budgetguard.techops.sealed_credentials. Documentation: sealed_credentials.yml."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    STUDIO_WIDE,
    EnvelopeError,
    missing_library,
    seal,
    studio_wide_key,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import ConfigError, check_credentials
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import plain


def sealed_credentials(credentials: t.Any, studio_key: str) -> dict[str, t.Any]:
    """Return the sealed part of a studio-wide config.

    :raises AnsibleFilterError: a weak studio key, credentials that are no texts, or no cryptography library.
    """
    library = missing_library()
    if library is not None:
        raise AnsibleFilterError(library)
    try:
        return seal(check_credentials(plain(credentials)), studio_wide_key(str(studio_key)), STUDIO_WIDE)
    except (ConfigError, EnvelopeError) as problem:
        raise AnsibleFilterError(f"sealed_credentials: {problem}") from None


class FilterModule:
    """Lists the filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filter by its name."""
        return {"sealed_credentials": sealed_credentials}
