# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two filters of the studio key, and what deriving costs."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.studio_key_problem import studio_key_problem
from ansible_collections.budgetguard.techops.plugins.filter.workstation_keys import workstation_keys
from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.benchmarks import derivations
from tests.unit.workstation.examples import KEY, STUDIO_KEY


def test_each_workstation_gets_its_own_key() -> None:
    keys = workstation_keys(STUDIO_KEY, ["ws-1", "ws-2"])
    assert keys["ws-1"] == KEY
    assert keys["ws-2"] != KEY


@pytest.mark.parametrize("options", [{"studio_wide": True}, {"encryption_version": 1}])
def test_version_1_is_one_key_for_all(options: dict[str, t.Any]) -> None:
    keys = workstation_keys(STUDIO_KEY, ["ws-1", "ws-2"], **options)
    assert keys == dict.fromkeys(["ws-1", "ws-2"], _envelope.studio_wide_key(STUDIO_KEY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("budgetguard_studio_default_key", ["ws-1"]), "default of the public tools"),
        ((STUDIO_KEY, "ws-1"), "must be a list"),
        ((STUDIO_KEY, [""]), "workstation id"),
        ((STUDIO_KEY, ["ws-1"], True, 2), "studio_wide needs"),
        ((STUDIO_KEY, ["ws-1"], False, 3), "encryption_version must be"),
    ],
)
def test_bad_input_is_one_sentence_without_the_key(arguments: tuple[t.Any, ...], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message) as refusal:
        workstation_keys(*arguments)
    assert STUDIO_KEY not in str(refusal.value)


def test_problem_of_a_studio_key() -> None:
    assert studio_key_problem(STUDIO_KEY) == ""
    assert "shorter" in studio_key_problem("weak")
    assert "empty" in studio_key_problem(None)
    assert "empty" in studio_key_problem(["x"])


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_envelope, "CRYPTOGRAPHY_IMPORT_ERROR", "no module")
    assert "cryptography" in studio_key_problem(STUDIO_KEY)
    with pytest.raises(AnsibleFilterError, match="cryptography"):
        workstation_keys(STUDIO_KEY, ["ws-1"])


def test_stretching_happens_once_whatever_the_number_of_workstations() -> None:
    rows = {(row.envelope[-2], row.workstations): row for row in derivations.measure()}
    for number in derivations.WORKSTATIONS:
        shared, own = rows["1", number], rows["2", number]
        assert (shared.stretched, shared.split_off, shared.different_keys) == (1, 0, 1)
        assert (own.stretched, own.split_off, own.different_keys) == (0, number, number)
