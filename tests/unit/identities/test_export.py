# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with a workstation's credentials."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.credentials_export import credentials_export
from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope

STUDIO_KEY = "k7Qm2ZxT9rWbLp5sYnHd4GfJc8VaE3uRtN6iOeX1"
GIVEN = {"aws": {"Access Key ID": "AKIA1", "Secret Access Key": "CaNaRy"}}


@pytest.mark.parametrize("version", [1, 2])
def test_sealed_and_the_same_the_second_time(version: int) -> None:
    """Sealing is random, so what says the same already stays; other credentials or another key do not."""
    text = credentials_export(GIVEN, "ws-01", STUDIO_KEY, version)
    key = _envelope.derive_keys(STUDIO_KEY, ["ws-01"], version)["ws-01"]
    assert "CaNaRy" not in text
    assert _envelope.unseal(json.loads(text)["credentials"], key) == GIVEN
    assert credentials_export(GIVEN, "ws-01", STUDIO_KEY, version, text) == text
    assert credentials_export({"nvidia": {}}, "ws-01", STUDIO_KEY, version, text) != text
    assert credentials_export(GIVEN, "ws-01", f"{STUDIO_KEY}2", version, text) != text


@pytest.mark.parametrize("found", ["", "not JSON", "[]", '{"credentials": {}}'])
def test_whatever_was_there_is_replaced(found: str) -> None:
    """It is not an obstacle."""
    assert json.loads(credentials_export(GIVEN, "ws-01", STUDIO_KEY, 2, found))["workstation"] == "ws-01"


def test_in_clear_it_is_the_public_form() -> None:
    """Provider to fields."""
    assert json.loads(credentials_export(GIVEN, "ws-01")) == GIVEN


def test_a_weak_studio_key_is_refused() -> None:
    """Rather than a file that anybody can open."""
    with pytest.raises(AnsibleFilterError, match="shorter than 32"):
        credentials_export(GIVEN, "ws-01", "short")
