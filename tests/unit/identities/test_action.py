# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action workstation_identities with clouds in memory: its options, its files, and what may be seen of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import typing as t
import warnings
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action import workstation_identities as action
from ansible_collections.budgetguard.techops.plugins.module_utils import _identity, _stores
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AWS_IDENTITY, AWS_IDENTITY_RULES
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial
from ansible_collections.budgetguard.techops.plugins.modules import workstation_identities as documentation
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _identity_clouds
from tests.tools import layout
from tests.unit.identities.memory import Killed, MemoryHands, World

COMPARED = ("type", "elements", "choices", "default", "required")
LOADED = """
import os, sys
import ansible.plugins.action, ansible.plugins.loader
def held(): return [len(os.listdir(f"/proc/self/{what}")) for what in ("task", "fd")]
before = held()
import ansible_collections.budgetguard.techops.plugins.action.workstation_identities
print("same" if held() == before and {"boto3", "azure.identity", "google.auth"} <= {*sys.modules} else held())
"""
"""Loads the action, and the libraries of the clouds with it."""

NVIDIA_FIELD = "NVIDIA API Key / NGC API Key"


class Studio:
    """Two workstations, a target in each cloud, and an inventory in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.asked: list[dict[str, t.Any]] = []
        self.regions: list[str | None] = []
        self.folder = folder
        self.hostvars: dict[str, dict[str, t.Any]] = {
            "aws-1": {"nim_target": {"region": "eu-central-1", "allowed_cidrs": ["10.0.0.0/8"]}},
            "gcp-1": {"nim_target": {"location": "us-central1-a"}},
            "ws-01": {},
            "ws-02": {},
        }
        self.loader = DataLoader()
        secrets: t.Any = [("default", VaultSecret(b"a password"))]
        self.loader.set_vault_secrets(secrets)
        monkeypatch.setattr(_identity_clouds, "bring", self.bring)
        monkeypatch.setattr(_identity_clouds, "refusal", self.refusal)

    def bring(self, provider: str, options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
        """Stand in for the clouds."""
        self.asked.append(dict(options))
        own = {name: value for name, value in options.items() if name in _identity.IDENTITY}
        return MemoryHands(self.world, check_mode).bring(provider, own)

    def refusal(self, provider: str, fields: t.Mapping[str, t.Any], region: str | None, seconds: float) -> str:
        """Stand in for the trial of a key."""
        self.regions.append(region)
        return MemoryHands(self.world, False).try_out(provider, fields, seconds)

    def run(self, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run the action for ws-01."""
        task = Task()
        task.args = {"providers": ["aws", "gcp"], "inventory_dir": str(self.folder), **options}
        task.check_mode = check_mode
        connection: t.Any = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
        none: t.Any = None
        found = action.ActionModule(task, connection, none, self.loader, none, none)
        groups = {"aws": ["aws-1"], "gcp": ["gcp-1"], "artist_workstations": ["ws-01", "ws-02"]}
        return found.run(task_vars={"inventory_hostname": "ws-01", "hostvars": self.hostvars, "groups": groups})

    def file(self, name: str = "host_vars/ws-01") -> Path:
        """Return a file of stored identities."""
        return self.folder / name / "budgetguard_identities.yml"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """Give a studio without identities."""
    return Studio(tmp_path, monkeypatch)


def test_the_documented_options_are_the_real_ones() -> None:
    told = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    assert {name: {key: option[key] for key in COMPARED if key in option} for name, option in told.items()} == {
        name: {key: option[key] for key in COMPARED if key in option} for name, option in action.ARGUMENT_SPEC.items()
    }


def test_both_phases_write_the_file_and_what_may_be_seen_holds_no_secret(studio: Studio) -> None:
    foreseen = studio.run(check_mode=True)
    assert (foreseen["changed"], studio.file().exists(), studio.world.keys()["aws"]) == (True, False, [])
    made = studio.run(options={"aws": {"allowed_source_cidrs": ["203.0.113.0/24"]}})
    text = studio.file().read_text()
    assert "key_id: KEY1" in text
    assert "secret of" not in text
    seen = {name: made[name] for name in ("done", "notes", "problems", "due", "ready", "changed")}
    assert "secret of" not in json.dumps(seen)
    assert (made["due"], made["problems"]) == (["aws", "gcp"], [])
    # The target's connection without what else it says, and the options of the studio.
    assert studio.asked[-2]["region"] == "eu-central-1"
    assert studio.asked[-2]["allowed_source_cidrs"] == ["203.0.113.0/24"]
    assert "allowed_cidrs" not in studio.asked[-2]
    assert studio.regions == ["eu-central-1", None]

    kept = {"identities": made["identities"], "studio_identities": {}}
    assert studio.run(state="delivered", **kept)["changed"] is False
    done = studio.run(state="delivered", arrived=True, **kept)
    assert (done["changed"], done["due"]) == (True, [])
    assert studio.file().read_text().count("delivered: true") == 2
    before = studio.file().read_bytes()
    again = studio.run(identities=done["identities"])
    assert (again["changed"], again["done"], studio.file().read_bytes()) == (False, [], before)

    off = studio.run(state="absent", identities=done["identities"], gateway=True, given={"nvidia": {NVIDIA_FIELD: "k"}})
    assert (off["problems"], list(off["identities"])) == ([], ["aws", "gcp", "nvidia", "gateway"])
    text = studio.file().read_text()
    assert (text.count("revoked:"), "fields" in text) == (4, False)
    lifted = studio.run(identities=off["identities"], restore=True)
    assert sorted(lifted["identities"]) == ["aws", "gcp"]
    assert "revoked:" not in studio.file().read_text()


def test_the_shared_identity_waits_for_all_who_use_it(studio: Studio) -> None:
    made = studio.run(studio_wide=True)
    assert studio.file("group_vars/all").exists()
    kept = {"studio_wide": True, "identities": {}, "studio_identities": made["studio_identities"]}
    part = studio.run(state="delivered", holders=["ws-01"], **kept)
    assert "ws-02" in part["done"][0]
    assert studio.run(state="delivered", holders=["ws-02"], acts=False, **kept)["changed"] is False
    studio.hostvars["ws-02"] = {"nim_identities": {"aws": {"revoked": "now"}, "gcp": {"revoked": "now"}}}
    assert studio.run(state="delivered", holders=["ws-01"], **kept)["studio_identities"]["aws"]["delivered"] is True


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"inventory_dir": ""}, "inventory_dir is not set", id="folder"),
        pytest.param({"vault_id": "other"}, "no vault password with the id other", id="password"),
        pytest.param({"store": {"type": "hashi_vault"}}, "a store of the type hashi_vault needs url", id="store"),
        pytest.param({"store": {"type": "drawer"}}, "nim_credential_store: value of type must be one of", id="type"),
    ],
)
def test_nothing_is_asked_of_a_cloud_where_no_record_can_be_written(
    studio: Studio, change: dict[str, t.Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    for state in ("present", "absent"):
        found = studio.run(state=state, **change)
        assert (found["ready"], found["changed"], studio.asked) == (False, False, [])
        assert problem in found["problems"][0]


def test_records_in_a_store_are_read_and_written_there(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, str] = {}

    class Memory(_stores.Store):
        needs = ()

        def read(self, name: str) -> _stores.Stored | None:
            return _stores.Stored(stored[name]) if name in stored else None

        def write(self, name: str, text: str, before: _stores.Stored | None) -> None:
            stored[name] = text

    monkeypatch.setitem(_stores._STORES, "hashi_vault", Memory)
    store: dict[str, t.Any] = {"store": {"type": "hashi_vault"}, "inventory_dir": ""}
    studio.run(**store)
    assert list(stored) == ["budgetguard/workstations/ws-01"]
    record = json.loads(stored["budgetguard/workstations/ws-01"])["nim_identities"]["aws"]
    assert record["fields"]["Secret Access Key"] == "secret of KEY1"
    assert studio.run(**store)["changed"] is False
    assert studio.world.keys()["aws"] == ["KEY1"]


def test_a_cloud_without_a_target_is_a_problem_of_its_own(studio: Studio) -> None:
    del studio.hostvars["aws-1"]["nim_target"]
    found = studio.run(targets={"gcp": "gcp-1"})
    assert found["problems"] == [
        "aws: there is no target with nim_target in the group aws, and nim_workstation_targets names none."
    ]
    assert list(found["identities"]) == ["gcp"]


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        ({"problems": []}, []),
        ({"problems": ["The NGC key has ended."]}, ["nvidia: The NGC key has ended."]),
        ({"msg": "ngc_api_key is not a key"}, ["nvidia: ngc_api_key is not a key"]),
        ({"item": "of another one", "problems": []}, ["nvidia: no answer"]),
    ],
)
def test_what_nvidia_says_counts_for_who_has_the_key(
    studio: Studio, answer: dict[str, t.Any], problems: list[str]
) -> None:
    given = {"nvidia": {NVIDIA_FIELD: "a key"}}
    assert studio.run(given=given, nvidia_answers=[{"item": "a key", **answer}])["problems"] == problems


def test_loading_it_starts_no_thread_and_opens_nothing() -> None:
    """Ansible does that in its main process, which goes on to fork the processes of tasks."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=layout.ROOT,
        env={**os.environ, "PYTHONPATH": str(layout.LINKS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


def test_wrong_options_are_named(studio: Studio) -> None:
    with pytest.raises(AnsibleActionFail, match="providers"):
        studio.run(providers=["ibm"])


AWS = {"region": "us-east-1", "workstation": "ws-01", "access_key": "AKIA-OF-ADMIN", "secret_key": "a/secret/key"}


def failing(error: BaseException) -> t.Callable[..., t.Any]:
    """Return a function that fails."""

    def fail(*_arguments: object) -> t.Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ProviderError("AWS says a/secret/key"), "ws-01: AWS says ***. Nothing was changed."),
        (MissingLibraryError("boto3", None), "Failed to import the required Python library (boto3)"),
        (KeyError("a/secret/key"), "KeyError in _identity_clouds.py, line "),
    ],
)
def test_the_errors_of_a_cloud_are_told_without_secrets(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = _identity_clouds.Cloud(AWS_IDENTITY, failing(error), AWS_IDENTITY_RULES)
    monkeypatch.setattr(_identity_clouds, "CLOUDS", {"aws": cloud})
    told = _identity_clouds.bring("aws", AWS, False)
    assert told["msg"].startswith(message)
    assert "identity" not in told
    assert "a/secret/key" not in str(told)


def test_a_key_file_is_hidden_in_both_of_its_forms() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIE\n"
    hidden = _identity_clouds.CLOUDS["gcp"].hidden(
        {"service_account_contents": json.dumps({"private_key": key, "project_id": "studio"})}
    )
    assert {key, key.replace("\n", "\\n")} <= set(hidden)
    assert "studio" not in hidden


def test_options_of_a_cloud_are_checked_as_by_its_module() -> None:
    wrong = _identity_clouds.bring("aws", {"region": "us-east-1", "workstation": "ws-01", "secret_key": "x"}, False)
    assert "parameters are required together: access_key, secret_key" in wrong["msg"]
    assert (
        "is not right: cidrs"
        in _identity_clouds.bring("gcp", {"location": "x", "workstation": "a", "cidrs": []}, False)["msg"]
    )


def test_a_request_to_stop_is_no_error_of_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_credential_trial, "try_out", failing(Killed()))
    with pytest.raises(Killed):
        _identity_clouds.refusal("aws", {}, None, 0)
    monkeypatch.setattr(_credential_trial, "try_out", failing(OSError("a/secret/key")))
    assert _identity_clouds.refusal("aws", {}, None, 0).startswith("OSError in _identity_clouds.py, line ")
    monkeypatch.setattr(_credential_trial, "try_out", failing(ProviderError("it has ended")))
    assert _identity_clouds.refusal("aws", {}, None, 0) == "it has ended"


def test_what_the_libraries_remark_about_python_is_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible would take it over, with a lock that may be held for ever in the process of a task."""

    def remark(*_given: object) -> None:
        warnings.warn("this Python is too old", FutureWarning, stacklevel=2)

    monkeypatch.setattr(_credential_trial, "try_out", remark)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert _identity_clouds.refusal("aws", {}, None, 0) == ""
    assert seen == []
