# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the files in policies/ from what the code says. A test compares them.

Run as ``python -m tests.tools.policy_files``, in the environment of the tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from tests.tools import layout

sys.path.insert(0, str(layout.LINKS))

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _aws_policies,
    _aws_rights,
    _azure_rights,
    _gcp_rights,
)

#: The account that AWS's own documentation uses for examples.
ACCOUNT = "111122223333"
NAMES = _aws_policies.ArtistNames("aws", ACCOUNT, "budgetguard")
#: A network that is kept for documentation (RFC 5737).
STUDIO = "203.0.113.0/24"

HEADER = """\
---
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""


def contents() -> dict[str, str]:
    """Return all files, by their path below policies/."""
    documents = {name: _aws_rights.policy(grants) for name, grants in _aws_rights.grants(NAMES).items()}
    documents["artist"] = _aws_policies.artist_policy(NAMES, [STUDIO])
    return {
        **{f"aws/{name}.json": _as_json(document) for name, document in documents.items()},
        **{f"azure/{name}.json": _as_json(role) for name, role in _azure_rights.definitions().items()},
        **{f"gcp/{name}.yaml": HEADER + _as_yaml(role) for name, role in _gcp_rights.definitions().items()},
    }


def _as_yaml(document: object) -> str:
    return yaml.dump(document, Dumper=_Indented, sort_keys=False, default_flow_style=False)


class _Indented(yaml.SafeDumper):
    """Writes lists as yamllint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists, too."""
        del indentless
        super().increase_indent(flow, False)


def _as_json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"


def write(folder: Path) -> None:
    """Write all files."""
    for name, text in contents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write(layout.ROOT / "policies")
