# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which rights a caller lacks, told before anything is created. The clouds differ in how they are asked."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.budgetguard.techops.plugins.module_utils._keys import hide_json
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError

ROLES = ("deployer", "identities", "readonly")

PERMISSIONS: dict[str, dict[str, t.Any]] = {
    "roles": {"type": "list", "elements": "str", "choices": list(ROLES), "default": ["deployer"]},
}
"""The option that all modules of this kind share. The doc fragment C(permissions) describes it."""


@dataclasses.dataclass(frozen=True)
class Right:
    """One right that a role needs: how the cloud calls it, and what it is for.

    C(only_with) names what needs it where not everybody does. C(of_data) marks those of Azure that are for what is
    inside a resource.
    """

    name: str
    purpose: str
    only_with: str | None = None
    of_data: bool = False


@dataclasses.dataclass(frozen=True)
class Gap:
    """A right that the caller does not have."""

    right: str
    where: str
    purpose: str
    reason: str | None = None

    @property
    def line(self) -> str:
        """Say it in one line."""
        because = f" ({self.reason})" if self.reason else ""
        return f"{self.right} on {self.where}: {self.purpose}{because}"


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a cloud said about the caller's rights.

    C(unchecked) says of each right that could not be looked at why not; C(notes) what the answers do not cover.
    """

    identity: str | None
    checked: int = 0
    missing: tuple[Gap, ...] = ()
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def run_permissions(module: AnsibleModule, look: t.Callable[[t.Sequence[str]], Findings]) -> t.NoReturn:
    """Carry out a C(nim_<provider>_permissions_info) module and leave with its result."""
    hide_json(module)
    roles = [role for role in ROLES if role in module.params["roles"]]
    if not roles:
        module.fail_json(msg=f"roles is empty; name at least one of {', '.join(ROLES)}")
    try:
        found = look(roles)
    except MissingLibraryError as exc:
        module.fail_json(msg=missing_required_lib(exc.package), exception=exc.import_error)
    except (ProviderError, ValueError) as exc:
        module.fail_json(msg=f"The rights cannot be looked at. {exc}")
    module.exit_json(
        changed=False,
        identity=found.identity,
        checked=found.checked,
        complete=not found.missing and not found.unchecked,
        missing=[{**dataclasses.asdict(gap), "line": gap.line} for gap in found.missing],
        unchecked=list(found.unchecked),
        notes=list(found.notes),
    )


def split_optional(rights: t.Iterable[Right], held: t.Callable[[Right], bool], where: str) -> Findings:
    """Compare rights with what is held. Those that only some need are named in a note, and are no gap."""
    listed = list({(right.name, right.of_data): right for right in reversed(list(rights))}.values())[::-1]
    lacking = [right for right in listed if not held(right)]
    return Findings(
        identity=None,
        checked=len(listed),
        missing=tuple(Gap(right.name, where, right.purpose) for right in lacking if not right.only_with),
        notes=tuple(
            f"not held, and needed only {right.only_with}: {right.name} ({right.purpose})"
            for right in lacking
            if right.only_with
        ),
    )
