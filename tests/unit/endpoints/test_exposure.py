# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where an endpoint may be called: nothing is open to the world that nobody has opened in so many words."""

from __future__ import annotations

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import ExposureError, check_exposure


def test_networks_are_told_in_one_form() -> None:
    twice = ["fd00::/16", "10.0.0.0/8", "10.0.0.0/8"]
    assert check_exposure("internal", twice, tls=False) == ("10.0.0.0/8", "fd00::/16")
    assert check_exposure("public", ["0.0.0.0/0"], tls=True, allow_public=True) == ("0.0.0.0/0",)
    assert check_exposure("public", ["10.0.0.0/8"], tls=False, allow_plain_http=True) == ("10.0.0.0/8",)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.0.0.0/7", "::/0", "fc00::/15"])
def test_a_network_of_almost_everybody_needs_words(network: str) -> None:
    with pytest.raises(ExposureError, match="lets almost everybody in"):
        check_exposure("internal", ["10.1.0.0/16", network], tls=True, allow_plain_http=True)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ExposureError) as caught:
        check_exposure("public", ["10.0.0.1/8", "0.0.0.0/0"], tls=False)
    assert [line.partition(":")[0].partition(" is ")[0] for line in str(caught.value).splitlines()] == [
        "allowed_cidrs",
        "allowed_cidrs",
        "scheme",
    ]
    with pytest.raises(ExposureError, match="allowed_cidrs is empty"):
        check_exposure("internal", [], tls=True)
