# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trying the credentials of many workstations at once."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial
from ansible_collections.budgetguard.techops.plugins.modules import workstation_credentials_info
from tests.unit.registry.services import run_module
from tests.unit.workstation.examples import CANARY

GOOD = {"Access Key ID": "AKIAGOOD", "Secret Access Key": CANARY}
BAD = {"Access Key ID": "AKIABAD", "Secret Access Key": f"{CANARY}-bad", "Region": "eu-central-1"}
FLEET = {
    "ws-1": {"aws": GOOD, "nvidia": {"NVIDIA API Key / NGC API Key": CANARY}},
    "ws-2": {"aws": BAD},
    "ws-3": {"aws": BAD, "gateway": {"Token": CANARY}},
    "ws-4": {"aws": {"Identity": "arn:aws:iam::111122223333:role/ws-4"}},
    "ws-5": {},
}


Tried = list[tuple[str, str]]
Run = t.Callable[..., tuple[dict[str, t.Any], Tried]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the module against a cloud that refuses the bad key, with the logins it has seen."""
    tried: Tried = []

    def try_out(provider: str, fields: dict[str, str], wait: float) -> str:
        tried.append((fields["Access Key ID"], fields["Region"]))
        if "BAD" in fields["Access Key ID"]:
            raise ProviderError(f"{provider} refuses {fields['Access Key ID']} in {fields['Region']}")
        return "arn"

    def play(**options: t.Any) -> tuple[dict[str, t.Any], Tried]:
        done = run_module(workstation_credentials_info.main, {"credentials": FLEET, **options}, monkeypatch, capsys)
        assert CANARY not in json.dumps(done)
        return done, sorted(tried)

    monkeypatch.setattr(_credential_trial, "try_out", try_out)
    return play


def test_each_login_is_tried_once_and_told_of_all_who_have_it(run: Run) -> None:
    done, tried = run()
    assert tried == [("AKIABAD", "eu-central-1"), ("AKIAGOOD", "us-east-1")]
    told = "aws refuses AKIABAD in eu-central-1"
    assert done["refused"] == {"ws-2": {"aws": told}, "ws-3": {"aws": told}}
    assert (done["changed"], done["logins"]) == (False, 2)


def test_parallel_must_be_a_number_of_logins(run: Run) -> None:
    done, tried = run(parallel=0)
    assert "parallel is 0" in done["msg"]
    assert tried == []
