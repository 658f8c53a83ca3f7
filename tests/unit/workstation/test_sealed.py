# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials that are sealed once for all workstations with the same key, and the role's variables as options."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.sealed_credentials import sealed_credentials
from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import Wanted, update
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _role_arguments
from tests.unit.workstation.examples import CREDENTIALS, OTHER_STUDIO_KEY, STUDIO_KEY, endpoints

WIDE = _envelope.studio_wide_key(STUDIO_KEY)
SEALED = sealed_credentials(CREDENTIALS, STUDIO_KEY)


def written(credentials: dict[str, dict[str, str]], sealed: t.Any) -> dict[str, t.Any]:
    """Return the credentials part of a config that is new."""
    wanted = Wanted(endpoints(), credentials, WIDE, 1, "studio-wide", sealed_once=sealed)
    part: dict[str, t.Any] = json.loads(update(None, wanted, "2026-11-28T00:00:00Z").content)["credentials"]
    return part


def test_the_same_credentials_are_not_sealed_again() -> None:
    assert written(CREDENTIALS, SEALED) == SEALED
    assert _envelope.unseal(SEALED, WIDE) == CREDENTIALS


@pytest.mark.parametrize(
    "sealed", [None, {}, sealed_credentials({}, STUDIO_KEY), sealed_credentials(CREDENTIALS, OTHER_STUDIO_KEY)]
)
def test_others_are_sealed_anew(sealed: t.Any) -> None:
    part = written(CREDENTIALS, sealed)
    assert _envelope.unseal(part, WIDE) == CREDENTIALS
    assert part != sealed


def test_bad_credentials_are_refused_without_their_value() -> None:
    with pytest.raises(AnsibleFilterError, match="the value of 'Access Key ID' must be a text"):
        sealed_credentials({"aws": {"Access Key ID": 5}}, STUDIO_KEY)


class Plain:
    """A templar for variables without templates."""

    def template(self, value: t.Any) -> t.Any:
        """Return the value."""
        return value


def options(**variables: t.Any) -> dict[str, t.Any]:
    """Return the options that come of the role's variables."""
    given = {
        "comfyui_path": "/c",
        "id": "ws-1",
        "endpoints": {"nim_endpoints": {}},
        "studio_key": STUDIO_KEY,
        "previous_studio_key": "",
        "encryption_version": 2,
        "key_path": "/k/studio.key",
        "deliver_key": True,
        "user": "",
        "_derived": {
            "studio_key": STUDIO_KEY,
            "wide": WIDE,
            "previous_studio_key": "",
            "previous_wide": "",
            "sealed": SEALED,
        },
        **variables,
    }
    host = {"inventory_hostname": given.pop("inventory_hostname", "other")}
    return _role_arguments.arguments(
        Plain(), {**host, **{f"workstation_config_{name}": value for name, value in given.items()}}
    )


def test_a_workstation_with_its_own_key() -> None:
    found = options()
    assert (found["mode"], found["as_owner"], found["previous_keys"]) == ("workstation", True, [WIDE])
    assert {"key", "sealed", "previous_studio_key"} & set(found) == set()


def test_a_workstation_with_the_wide_key() -> None:
    found = options(studio_wide="yes", encryption_version="1", user="artist", deliver_key="no")
    assert (found["mode"], found["key"], found["sealed"], found["as_owner"]) == ("studio-wide", WIDE, SEALED, False)
    assert "key_path" not in found


def test_another_studio_key_is_derived_again() -> None:
    found = options(encryption_version=1, studio_key=OTHER_STUDIO_KEY)
    assert found["previous_keys"] == []
    assert {"key", "sealed"} & set(found) == set()


def test_only_own_nims_take_the_expression_of_the_role() -> None:
    assert options(_endpoints={"own": 1})["endpoints"] == {"nim_endpoints": {}}
    found = options(own_nims=True, _endpoints={"own": 1}, _unread_targets=["ws-1"])
    assert (found["endpoints"], found["unread_targets"]) == ({"own": 1}, ["ws-1"])


def test_what_the_plan_found_is_taken_for_its_workstations_alone() -> None:
    shared = {"workstation_config_backup": True, "workstation_config_comfyui_path": "/opt/ComfyUI"}
    hosts = {
        "ws-1": {**shared, "workstation_config_id": "a"},
        "ws-2": {**shared, "workstation_config_id": "b"},
    }
    planned = _role_arguments.planned(hosts, [])
    assert planned["all"] == shared
    assert planned["each"] == {"ws-1": {"workstation_config_id": "a"}, "ws-2": {"workstation_config_id": "b"}}

    def taken(host: str) -> tuple[t.Any, ...]:
        variables = {"inventory_hostname": host, "workstation_config_planned": {"options": planned}}
        role = _role_arguments.RoleVariables(Plain(), {**variables, "workstation_config_id": "own"})
        return role.get("id"), role.yes("backup"), role.get("comfyui_path")

    assert taken("ws-1") == ("a", True, "/opt/ComfyUI")
    assert taken("ws-2") == ("b", True, "/opt/ComfyUI")
    assert taken("ws-3") == ("own", False, None)


def test_nothing_is_shared_by_no_workstation() -> None:
    assert _role_arguments.planned({}, []) == {"all": {}, "each": {}, "shared": []}


DOCUMENTS = ("endpoints", "unread_targets")
KEYS = ("studio_key", "previous_studio_key")


def in_a_rollout(*shared: str, **variables: t.Any) -> dict[str, t.Any]:
    """Return the options of a workstation whose own variables say something else than what was prepared for all."""
    prepared = {"endpoints": {"nim_endpoints": {"SDXL": {}}}, "unread_targets": ["gpu-box"], "studio_key": STUDIO_KEY}
    names = [f"workstation_config_{name}" for name in shared]
    return options(
        inventory_hostname="ws-1",
        planned={"options": _role_arguments.planned({"ws-1": {}}, names)},
        studio_key=OTHER_STUDIO_KEY,
        _derived={**prepared, "previous_studio_key": "", "wide": WIDE, "previous_wide": "", "sealed": {}},
        **variables,
    )


def test_in_a_rollout_what_all_share_is_taken_as_prepared() -> None:
    found = in_a_rollout(*DOCUMENTS, *KEYS)
    assert (found["endpoints"], found["unread_targets"]) == ({"nim_endpoints": {"SDXL": {}}}, ["gpu-box"])
    assert (found["studio_key"], found["previous_keys"]) == (STUDIO_KEY, [WIDE])


def test_in_a_rollout_a_workstation_keeps_what_not_all_share() -> None:
    found = in_a_rollout()
    assert (found["endpoints"], found["unread_targets"]) == ({"nim_endpoints": {}}, [])
    assert (found["studio_key"], found["previous_keys"]) == (OTHER_STUDIO_KEY, [])


def test_all_share_what_is_the_same_everywhere_or_comes_later() -> None:
    def shared(later: list[str], *hosts: dict[str, t.Any]) -> set[str]:
        found = [{f"workstation_config_{name}": value for name, value in host.items()} for host in hosts]
        names = _role_arguments.one_for_all(found, [f"workstation_config_{name}" for name in later])
        return {name.removeprefix("workstation_config_") for name in names}

    host = {"studio_key": STUDIO_KEY, "previous_studio_key": "", "endpoints": {"a": 1}, "unread_targets": []}
    assert shared([], host, host) == {*DOCUMENTS, *KEYS}
    assert shared([], host, {**host, "studio_key": OTHER_STUDIO_KEY}) == {*DOCUMENTS, "previous_studio_key"}
    assert shared([], host, {**host, "endpoints": {"a": 2}}) == {"unread_targets", *KEYS}
    assert shared(["endpoints"], host, {**host, "endpoints": {"a": 2}}) == {*DOCUMENTS, *KEYS}


def test_in_a_rollout_own_nims_take_the_expression_of_the_role() -> None:
    assert in_a_rollout(*DOCUMENTS, own_nims=True, _endpoints={"own": 1})["endpoints"] == {"own": 1}
