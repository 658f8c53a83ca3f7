# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a target: what is taken, and what is refused with one clear error."""

from __future__ import annotations

import typing as t

import pytest

from tests.unit.azure.cases import settings


def test_a_region_is_taken_as_people_write_it() -> None:
    assert settings(region="East US").region == "eastus"


def test_what_is_not_set_keeps_its_default() -> None:
    chosen = settings(region=None, system_nodes=None, admin_group_object_ids=[])
    assert (chosen.region, chosen.system_nodes, chosen.admin_group_object_ids) == (None, 2, ())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cluster": "studio a"}, "cluster is 'studio a'"),
        ({"cluster": "a" * 64}, "up to 63"),
        ({"cluster": "studio-"}, "letter or digit at both ends"),
        ({"resource_group": "studio/a"}, "resource_group is 'studio/a'"),
        ({"resource_group": "studio."}, "no period at the end"),
        ({"system_nodes": 0}, "system_nodes is 0"),
        ({"subnet_id": "nims"}, "the whole id of a subnet"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, t.Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings(**options)
