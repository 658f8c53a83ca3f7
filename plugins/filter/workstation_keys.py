# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter budgetguard.techops.workstation_keys. Documentation: workstation_keys.yml."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    PER_WORKSTATION,
    STUDIO_WIDE,
    EnvelopeError,
    derive_keys,
    missing_library,
)


def workstation_keys(
    studio_key: str,
    workstation_ids: t.Iterable[str],
    studio_wide: bool = False,
    encryption_version: int | None = None,
) -> dict[str, str]:
    """Return the derived key of each workstation, by its id.

    :raises AnsibleFilterError: a weak studio key, a bad id or version, or no cryptography library.
    """
    library = missing_library()
    if library is not None:
        raise AnsibleFilterError(library)
    if isinstance(workstation_ids, str):
        raise AnsibleFilterError("workstation_keys: workstation_ids must be a list of ids, not one text.")
    if studio_wide and encryption_version == PER_WORKSTATION:
        raise AnsibleFilterError("workstation_keys: studio_wide needs encryption_version 1.")
    version = encryption_version or (STUDIO_WIDE if studio_wide else PER_WORKSTATION)
    ids = [str(workstation_id) for workstation_id in workstation_ids]
    try:
        return derive_keys(str(studio_key), ids, version)
    except EnvelopeError as problem:
        raise AnsibleFilterError(f"workstation_keys: {problem}") from None


class FilterModule:
    """Lists the filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filter by its name."""
        return {"workstation_keys": workstation_keys}
