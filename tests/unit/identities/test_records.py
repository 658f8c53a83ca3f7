# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stored of identities, what a workstation gets of it, and what it leaves behind."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities as identities

ROLE = "arn:aws:iam::111122223333:role/studio/ws-01"
FIELDS = {"Access Key ID": "AKIA1", "Secret Access Key": "secret"}
KEYED: dict[str, t.Any] = {"identity": "user", "key_id": "AKIA1", "delivered": True, "fields": FIELDS}


def minted(key_id: str = "AKIA2") -> dict[str, t.Any]:
    """Return the result of a module that made a key."""
    key = {"id": key_id, "created": "2026-11-24T16:50:00Z", "expires": None}
    fields = {"Access Key ID": key_id, "Secret Access Key": "new"}
    return {"identity": "user", "minted": True, "key": key, "credentials": fields, "previous_key_id": None}


def test_a_workstation_that_gets_a_role_leaves_its_user_behind() -> None:
    """The user is removed when the workstation has its new config, and not earlier."""
    kept = {"identity": ROLE, "minted": False}
    record = identities.new_record("aws", kept, KEYED, ROLE)
    assert record["leaves"] == [identities.MADE_HERE]
    assert "key_id" not in record
    assert identities.to_deliver({"aws": record}) == ["aws"]
    assert identities.new_record("aws", kept, record, ROLE) == record
    done = identities.delivered_record(record, ["ws-01"], ["ws-01"])
    assert "leaves" not in done
    assert identities.to_deliver({"aws": done}) == []
    assert identities.new_record("aws", kept, done, ROLE) == done


def test_a_workstation_that_gets_a_user_leaves_its_role_behind() -> None:
    """And back again before that was delivered, it leaves nothing."""
    record = identities.new_record(
        "aws", minted(), identities.new_record("aws", {"identity": ROLE, "minted": False}, None, ROLE)
    )
    assert (record["leaves"], record["delivered"]) == ([ROLE], False)
    again = identities.new_record("aws", {"identity": ROLE, "minted": False}, record, ROLE)
    assert again["leaves"] == [identities.MADE_HERE]


def test_what_a_config_gets() -> None:
    """Own before shared before given by hand; what was revoked is nowhere; facts of the run count most."""
    shared = {"identity": "studio", "fields": {"Access Key ID": "AKIA9"}}
    variables: dict[str, t.Any] = {
        "nim_workstation_credentials": {
            "nvidia": {"NVIDIA API Key / NGC API Key": "k"},
            "aws": {"Access Key ID": "by hand"},
        },
        "nim_studio_identities": {"aws": shared, "gcp": shared},
        "nim_identities": {"aws": KEYED, "nvidia": {"revoked": "2026-11-24T16:50:00Z"}},
    }
    assert identities.credentials(variables) == {"aws": FIELDS, "gcp": shared["fields"]}
    fact = {"workstation_credentials_identities": {"aws": {"revoked": "2026-11-24T16:50:00Z"}}}
    assert identities.credentials({**variables, **fact}) == {
        "gcp": shared["fields"],
        "nvidia": {"NVIDIA API Key / NGC API Key": "k"},
    }
    assert identities.credentials({"nim_identities": None}) == {}


def test_secrets_are_parted_from_the_rest() -> None:
    """A field that nobody knows is a secret."""
    clear, secret = identities.parts({**KEYED, "fields": {**FIELDS, "Something New": "x"}})
    assert clear["fields"] == {"Access Key ID": "AKIA1"}
    assert secret == {"fields": {"Secret Access Key": "secret", "Something New": "x"}}


@pytest.mark.parametrize("record", [[], {"fields": []}])
def test_a_record_of_the_wrong_form_is_an_error(record: t.Any) -> None:
    """The message holds nothing of it."""
    with pytest.raises(identities.IdentitiesError, match="must be a mapping"):
        identities.check_record(record)


def test_a_shared_key_is_delivered_when_all_have_it() -> None:
    """Runs add up."""
    record = {**KEYED, "delivered": False, "previous_key_id": "AKIA0"}
    part = identities.delivered_record(record, ["ws-01"], ["ws-01", "ws-02"])
    assert (part["delivered"], part["holders"]) == (False, ["ws-01"])
    assert part["previous_key_id"] == "AKIA0"
    done = identities.delivered_record(part, ["ws-02"], ["ws-01", "ws-02"])
    assert done == {**KEYED, "previous_key_id": None}
    kept = {"identity": "user", "minted": False, "previous_key_id": None}
    assert identities.new_record("aws", kept, done) == done
