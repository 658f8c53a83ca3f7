# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with the credentials of one workstation, for those who bring it there by hand."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from ansible_collections.budgetguard.techops.plugins.plugin_utils._vault_file import plain


def credentials_export(
    credentials: t.Any,
    workstation: str,
    studio_key: str | None = None,
    encryption_version: int = 2,
    found: str = "",
) -> str:
    """Return the text of the file: sealed, or in clear without a studio key.

    C(found) is the text of the file until now. It stays if it holds the same, since sealing twice gives two texts.
    """
    wanted = plain(credentials)
    if studio_key is None:
        return _text(wanted)
    try:
        key = _envelope.derive_keys(str(studio_key), [str(workstation)], int(encryption_version))[str(workstation)]
        if _opened(found, key) == wanted:
            return found
        sealed = _envelope.seal(wanted, key, int(encryption_version))
    except _envelope.EnvelopeError as error:
        raise AnsibleFilterError(f"budgetguard.techops.credentials_export: {error}") from error
    return _text({"version": "1.0", "workstation": str(workstation), "credentials": sealed})


def _opened(found: str, key: str) -> t.Any:
    """Return the credentials in a file; None if there are none that the key opens."""
    try:
        return _envelope.unseal(json.loads(found)["credentials"], key)
    except (ValueError, TypeError, KeyError, _envelope.EnvelopeError):
        return None


def _text(content: t.Any) -> str:
    return f"{json.dumps(content, indent=2, sort_keys=True)}\n"


class FilterModule:
    """The filter credentials_export."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"credentials_export": credentials_export}
