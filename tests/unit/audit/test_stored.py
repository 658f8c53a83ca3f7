# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the look takes for stored: a workstation's variables, a secret store, and what cannot be read."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.budgetguard.techops.plugins.action import workstation_info
from tests.unit.audit import test_windows_look
from tests.unit.workstation.examples import CANARY, CREDENTIALS

STORE = {"type": "aws_secretsmanager", "region": "us-east-1"}
KEPT = {
    "workstations/ws-1": {"nim_identities": {"aws": {"key_id": "AKIAEXAMPLE", "fields": CREDENTIALS["aws"]}}},
    "studio-identities": {},
}


class Store:
    """Stands for the lookup that reads a store."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.asked: list[t.Any] = []

    def get(self, name: str, **_more: t.Any) -> Store:
        """Return the lookup."""
        assert name == "budgetguard.techops.stored_vars"
        return self

    def run(self, terms: list[str], _variables: t.Any, store: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Return what is stored."""
        self.asked.append(store)
        if self.problem:
            raise AnsibleLookupError(self.problem)
        return [KEPT[term] for term in terms]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> test_windows_look.Host:
    """Return a workstation with a config. Which system it has makes no difference to what is stored."""
    made = test_windows_look.Host()
    made.configure(**test_windows_look.GIVEN, endpoints=test_windows_look.DOCUMENT, credentials=CREDENTIALS)
    return made


def test_identities_come_from_the_store(host: test_windows_look.Host, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    monkeypatch.setattr(workstation_info, "lookup_loader", store)
    told = host.audit(credentials=None, credential_store=STORE)
    assert store.asked == [STORE]
    assert told["credentials"]["aws"] == {"state": "same", "key_id": "AKIAEXAMPLE"}
    assert told["credentials"]["nvidia"] == {"state": "unexpected"}
    assert CANARY not in repr(told)


def test_a_store_that_cannot_be_read_is_told(host: test_windows_look.Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workstation_info, "lookup_loader", Store("access denied"))
    told = host.audit(credentials=None, credential_store=STORE)
    assert told["credentials"] == {}
    assert told["credentials_problem"] == "What is stored of its credentials cannot be read: access denied"
    assert told["config"]["status"] == "ok"


def test_nothing_is_compared_where_nothing_is_asked(host: test_windows_look.Host) -> None:
    told = host.audit(compare_credentials=False)
    assert (told["credentials"], told["credentials_problem"]) == ({}, None)
