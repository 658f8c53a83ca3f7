# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys are missing: told before anything is made, from what is given and what the target has."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._keys import missing_keys
from tests.unit.azure.cases import nim

GATED = dataclasses.replace(nim(), needs_hf_token=True)
NO_KEY, NO_TOKEN = "ngc_api_key is not set and there is no secret yet", "hf_token is not set; FLUX Dev downloads"
BOTH = ("NGC_API_KEY", "HF_TOKEN")


@pytest.mark.parametrize(
    ("key", "token", "stored", "problem"),
    [
        (None, None, None, NO_KEY),
        (None, "hf_x", None, NO_KEY),
        (None, None, BOTH, None),
        (None, None, ("NGC_API_KEY",), NO_TOKEN),
        ("nvapi-x", None, None, NO_TOKEN),
        # The secret is written anew, with the keys that are given and no others.
        ("nvapi-x", None, BOTH, NO_TOKEN),
        ("nvapi-x", "hf_x", None, None),
    ],
)
def test_what_is_missing(
    key: str | None, token: str | None, stored: tuple[str, ...] | None, problem: str | None
) -> None:
    found = missing_keys([GATED], key, token, stored)
    assert [text.startswith(str(problem)) for text in found] == ([] if problem is None else [True])
    assert missing_keys([], key, token, stored) == []


def test_a_nim_whose_weights_are_free_needs_no_token() -> None:
    assert missing_keys([nim()], "nvapi-x", None, None) == []
