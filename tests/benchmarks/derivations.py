# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Count how often keys are derived for N workstations: python -m tests.benchmarks.derivations.

Counts, not times, so the result is the same on every machine. The stretching (PBKDF2) of version 1 costs tens of
milliseconds of CPU, so it must happen once per studio key, whatever N is. Version 2 splits keys off (HKDF), which costs
microseconds, once per workstation.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import typing as t
from unittest import mock

from ansible_collections.budgetguard.techops.plugins.filter import workstation_keys
from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope

STUDIO_KEY = "b7Vq-2mXe9Lw4Rt_6Yp1Uo8Ks3Dh5Fj0GzCn"
WORKSTATIONS = (1, 60, 3000)


@dataclasses.dataclass(frozen=True)
class Row:
    """What one use of the filter cost."""

    envelope: str
    workstations: int
    stretched: int
    split_off: int
    different_keys: int


@contextlib.contextmanager
def counting() -> t.Iterator[collections.Counter[str]]:
    """Count the derivations that are made meanwhile. They are still made."""
    counter: collections.Counter[str] = collections.Counter()

    def counted(name: str) -> t.Callable[..., t.Any]:
        original = getattr(_envelope, name)

        def derive(*args: t.Any, **options: t.Any) -> t.Any:
            counter[name] += 1
            return original(*args, **options)

        return derive

    with mock.patch.multiple(_envelope, _stretch=counted("_stretch"), _split_off=counted("_split_off")):
        yield counter


def measure() -> list[Row]:
    """Derive the keys of some studios of different sizes, in both versions."""
    rows = []
    for name, studio_wide in (("studio-wide (1)", True), ("per workstation (2)", False)):
        for number in WORKSTATIONS:
            with counting() as counter:
                ids = [f"ws-{index}" for index in range(number)]
                keys = workstation_keys.workstation_keys(STUDIO_KEY, ids, studio_wide=studio_wide)
            rows.append(Row(name, len(keys), counter["_stretch"], counter["_split_off"], len(set(keys.values()))))
    return rows


def main() -> None:
    """Print the table."""
    print(f"{'envelope':<20} {'workstations':>12} {'PBKDF2':>7} {'HKDF':>6} {'different keys':>15}")
    for row in measure():
        print(
            f"{row.envelope:<20} {row.workstations:>12} {row.stretched:>7} {row.split_off:>6} {row.different_keys:>15}"
        )


if __name__ == "__main__":
    main()
