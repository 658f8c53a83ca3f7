# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a workstation's identity on Google Cloud, and what goes wrong in it."""

from __future__ import annotations

import json
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_identity as identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient
from tests.gcp.artist import BINDING, NAMESPACE, PLACE, WORKSTATION, Artist, ModuleFailedError

VIEWER = identity.VIEWER
CONDITION = {"title": "office hours", "expression": "request.time.getHours() < 18"}
READ_CALLS = ["GetServiceAccount", "ListServiceAccountKeys", "GetIamPolicy", "GetCluster", "get rolebindings"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for what will not come."""
    monkeypatch.setattr(identity, "LIST_SECONDS", 0.1)
    monkeypatch.setattr(identity, "LIST_INTERVAL", 0.05)


def test_the_first_run_makes_everything_and_one_key(with_cluster: Artist) -> None:
    artist = with_cluster
    result = artist.run()
    key_id = result["key"]["id"]
    assert result["steps"] == [*artist.first_steps, artist.bind_step, f"create key {key_id}"]
    assert (result["identity"], result["minted"], result["reason"]) == (artist.email, True, "there is none yet")
    assert result["warnings"] == []
    assert {name: value for name, value in result["credentials"].items() if name != "Service Account JSON"} == {
        "Project ID": artist.project,
        "Region": "us-central1",
        "Zone": "us-central1-a",
    }
    content = json.loads(result["credentials"]["Service Account JSON"])
    assert (content["client_email"], content["private_key_id"]) == (artist.email, key_id)
    assert result["key"]["expires"] is None
    assert artist.resources()["service_accounts"] == [artist.email]
    assert artist.key_ids() == [key_id]
    assert artist.roles() == [VIEWER]
    account = artist.by_hand("GET", f"/{artist.email}")
    assert account["description"] == f"budgetguard:managed workstation={WORKSTATION} cluster={PLACE}"
    assert artist.users() == [artist.email, account["uniqueId"]]


def test_the_second_run_makes_five_reads_and_nothing_else(with_cluster: Artist) -> None:
    artist = with_cluster
    first = artist.run()
    for number in range(3):
        artist.run(workstation=f"other-{number}")
    since = artist.control.newest()
    second = artist.run(key_id=first["key"]["id"])
    assert (second["changed"], second["steps"], "credentials" in second) == (False, [], False)
    assert second["key"] == first["key"]
    assert artist.calls(since) == READ_CALLS


def test_check_mode_tells_the_steps_and_makes_none(with_cluster: Artist) -> None:
    artist = with_cluster
    since = artist.control.newest()
    foreseen = artist.run(check=True)
    assert artist.writes(since) == []
    assert (foreseen["identity"], foreseen["minted"], foreseen["key"]) == (None, True, None)
    done = artist.run()
    assert foreseen["steps"] == [*artist.first_steps, artist.bind_step, "create key"]
    assert [step.removesuffix(f" {done['key']['id']}") for step in done["steps"]] == foreseen["steps"]
    asked: list[dict[str, t.Any]] = [{"key_id": done["key"]["id"], "rotate": True}, {"state": "absent"}]
    for options in asked:
        since = artist.control.newest()
        foreseen = artist.run(check=True, options=options)
        assert artist.writes(since) == []
        really = artist.run(options=options)
        made = really["key"]["id"] if really["minted"] else "-"
        assert [step.removesuffix(f" {made}") for step in really["steps"]] == foreseen["steps"]


def test_a_rotation_in_two_phases(artist: Artist) -> None:
    old = artist.run()
    new = artist.run(key_id=old["key"]["id"], rotate=True)
    assert (new["minted"], new["previous_key_id"]) == (True, old["key"]["id"])
    assert artist.is_accepted(old["credentials"])
    assert artist.is_accepted(new["credentials"])

    both = {"key_id": new["key"]["id"], "previous_key_id": old["key"]["id"]}
    assert artist.run(options=both, rotate=True)["changed"] is False
    last = artist.run(options=both, delivered=True)
    assert last["steps"] == [f"delete key {old['key']['id']}"]
    assert artist.key_ids() == [new["key"]["id"]]
    assert not artist.is_accepted(old["credentials"])
    assert artist.is_accepted(new["credentials"])
    assert artist.run(key_id=new["key"]["id"], delivered=True)["changed"] is False


def test_a_key_that_was_switched_off_or_deleted_is_replaced(artist: Artist) -> None:
    first = artist.run()["key"]["id"]
    artist.by_hand("POST", f"/{artist.email}/keys/{first}:disable", {})
    second = artist.run(key_id=first)
    assert second["reason"] == f"the stored key {first} is switched off or has ended"
    artist.by_hand("DELETE", f"/{artist.email}/keys/{second['key']['id']}")
    third = artist.run(key_id=second["key"]["id"])
    assert third["reason"] == f"the stored key {second['key']['id']} is not there any more"
    with pytest.raises(ModuleFailedError, match="does not work; run again without delivered"):
        artist.run(key_id=first, delivered=True)


def test_ten_lost_keys_make_room_for_one_that_is_stored(artist: Artist) -> None:
    stored = artist.run()["key"]["id"]
    for _number in range(9):
        artist.by_hand("POST", f"/{artist.email}/keys", {})
    new = artist.run(key_id=stored, rotate=True)
    assert len(artist.key_ids()) == 10
    assert {stored, new["key"]["id"]} <= set(artist.key_ids())
    artist.run(key_id=new["key"]["id"], delivered=True)
    assert artist.key_ids() == [new["key"]["id"]]


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "FAILED_PRECONDITION", "Precondition check failed."),
        (429, "RESOURCE_EXHAUSTED", "Maximum number of keys on account reached."),
    ],
)
def test_too_many_keys_are_a_reason_to_look_again(artist: Artist, status: int, code: str, message: str) -> None:
    """Google has said it in two ways. It happens where others make keys at the same time."""
    artist.control.fault("CreateServiceAccountKey", code, status=status, message=message)
    result = artist.run()
    assert artist.key_ids() == [result["key"]["id"]]


def test_absent_takes_the_keys_first_and_leaves_nothing(with_cluster: Artist) -> None:
    artist = with_cluster
    result = artist.run()
    artist.run()
    keys = artist.key_ids()
    since = artist.control.newest()
    gone = artist.run(state="absent")
    assert sorted(gone["steps"][:2]) == [f"delete key {key}" for key in keys]
    assert gone["steps"][2:] == [
        f"remove the RoleBinding {BINDING} from the cluster {PLACE}",
        f"take all roles of {artist.email} in the project {artist.project} away",
        f"delete service account {artist.email}",
    ]
    assert artist.writes(since) == [
        "DeleteServiceAccountKey",
        "DeleteServiceAccountKey",
        "delete rolebindings",
        "SetIamPolicy",
        "DeleteServiceAccount",
    ]
    assert "service_accounts" not in artist.resources()
    assert artist.binding() is None
    assert artist.email not in json.dumps(artist.policy())
    assert not artist.is_accepted(result["credentials"])
    since = artist.control.newest()
    assert artist.run(state="absent")["changed"] is False
    assert artist.calls(since) == ["GetServiceAccount", "GetCluster", "get rolebindings", "GetIamPolicy"]


def test_an_account_that_is_brought_back_can_do_nothing(with_cluster: Artist) -> None:
    artist = with_cluster
    credentials = artist.run()["credentials"]
    number = artist.by_hand("GET", f"/{artist.email}")["uniqueId"]
    artist.run(state="absent")
    restored = artist.by_hand("POST", f"/{number}:undelete", {})
    assert restored["restoredAccount"]["email"] == artist.email
    assert (artist.key_ids(), artist.roles(), artist.binding()) == ([], [], None)
    assert not artist.is_accepted(credentials)


def test_what_somebody_deleted_by_hand_is_made_again_and_leaves_no_trace(with_cluster: Artist) -> None:
    """Google keeps the roles of a deleted account under another name."""
    artist = with_cluster
    old_users = artist.users() if artist.run() else []
    artist.by_hand("DELETE", f"/{artist.email}")
    assert f"deleted:{artist.member}?uid=" in json.dumps(artist.policy())
    again = artist.run(key_id="lost")
    assert again["steps"][:-1] == [*artist.first_steps, artist.bind_step]
    assert artist.users() != old_users
    assert "deleted:" not in json.dumps(artist.policy())
    artist.by_hand("DELETE", f"/{artist.email}")
    gone = artist.run(state="absent")
    assert len(gone["steps"]) == 2
    assert artist.email not in json.dumps(artist.policy())


# ---- a run that is killed ------------------------------------------------------------------------------------------


class KilledError(BaseException):
    """Stands for the end of the process."""


class Killer:
    """Ends a run before or after one of its writes, which it counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.after = False
        self.count = 0
        for owner, name in ((GcpSession, "rest"), (KubeClient, "apply")):
            self._wrap(monkeypatch, owner, name)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, owner: t.Any, name: str) -> None:
        real = getattr(owner, name)

        def call(this: t.Any, *words: t.Any, **options: t.Any) -> t.Any:
            if name == "rest" and (words[1] == "GET" or words[2].endswith(":getIamPolicy")):
                return real(this, *words, **options)
            self.count += 1
            is_last = self.count == self.at
            if is_last and not self.after:
                raise KilledError
            answer = real(this, *words, **options)
            if is_last:
                raise KilledError
            return answer

        monkeypatch.setattr(owner, name, call)

    def lurk(self, at: int, after: bool) -> None:
        self.at, self.after, self.count = at, after, 0


class Store:
    """What a role keeps of the identity, and the order in which it works."""

    def __init__(self, artist: Artist) -> None:
        self.artist = artist
        self.key_id: str | None = None
        self.previous: str | None = None
        self.credentials: dict[str, str] = {}
        #: What the workstation works with.
        self.held: dict[str, str] = {}

    def play(self, rotate: bool = False) -> None:
        result = self.artist.run(key_id=self.key_id, previous_key_id=self.previous, rotate=rotate)
        if result["minted"]:
            self.key_id, self.credentials = result["key"]["id"], result["credentials"]
        self.previous = result["previous_key_id"]
        self.held = self.credentials
        self.artist.run(key_id=self.key_id, delivered=True)
        self.previous = None

    def check(self) -> None:
        assert self.artist.key_ids() == [self.key_id]
        assert self.artist.is_accepted(self.held)
        assert self.artist.roles() == [VIEWER]
        assert len(self.artist.users()) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_making_one_that_is_killed_at_any_write_is_finished_by_the_next_run(
    with_cluster: Artist, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    killer = Killer(monkeypatch)
    for number in range(1, 5):
        store = Store(with_cluster)
        killer.lurk(number, after)
        with pytest.raises(KilledError):
            store.play()
        killer.lurk(0, after)
        store.play()
        store.check()
        with_cluster.run(state="absent")
    # There is no fifth write, so nobody is killed.
    killer.lurk(5, after)
    Store(with_cluster).play()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_rotation_killed_at_any_write_leaves_a_key_that_works(
    with_cluster: Artist, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    killer = Killer(monkeypatch)
    store = Store(with_cluster)
    store.play()
    for number in (1, 2):
        killer.lurk(number, after)
        with pytest.raises(KilledError):
            store.play(rotate=True)
        assert with_cluster.is_accepted(store.held)
        killer.lurk(0, after)
        store.play(rotate=True)
        store.check()
    killer.lurk(3, after)
    before = store.key_id
    store.play(rotate=True)
    assert store.key_id != before
    store.check()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_removal_killed_at_any_write_is_finished_by_the_next(
    artist: Artist, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    killer = Killer(monkeypatch)
    for number in (1, 2, 3):
        killer.lurk(0, after)
        artist.run()
        killer.lurk(number, after)
        with pytest.raises(KilledError):
            artist.run(state="absent")
        killer.lurk(0, after)
        artist.run(state="absent")
        assert artist.resources() == {}
        assert artist.email not in json.dumps(artist.policy())


def test_a_lost_answer_leaves_no_key_behind(artist: Artist) -> None:
    """Google has made the key, and the answer never came."""
    artist.control.fault("CreateServiceAccountKey", "UNAVAILABLE", status=503, when="after")
    kept = artist.run()["key"]["id"]
    assert len(artist.key_ids()) == 2
    artist.run(key_id=kept, delivered=True)
    assert artist.key_ids() == [kept]


# ---- the project's policy ------------------------------------------------------------------------------------------


def foreign_bindings(artist: Artist) -> list[dict[str, t.Any]]:
    """Return what others have in the project, in forms that are easily lost."""
    return [
        {"role": "roles/viewer", "members": ["group:lighting@studio.example", "user:lead@studio.example"]},
        {"role": VIEWER, "members": ["user:lead@studio.example"], "condition": CONDITION},
        {"role": VIEWER, "members": ["serviceAccount:render@other-project.iam.gserviceaccount.com"]},
        {"role": "roles/viewer", "members": [f"deleted:user:gone@studio.example?uid={10**20}"]},
        {"role": f"projects/{artist.project}/roles/nimArtist", "members": ["domain:studio.example"]},
    ]


def members(policy: dict[str, t.Any]) -> set[tuple[str, str, str]]:
    """Return who has which role on which condition."""
    return {
        (item["role"], member, json.dumps(item.get("condition")))
        for item in policy["bindings"]
        for member in item["members"]
    }


def test_bindings_of_others_are_kept_with_their_conditions(artist: Artist) -> None:
    artist.set_policy(foreign_bindings(artist))
    before = members(artist.policy())
    artist.run()
    after = artist.policy()
    assert after["version"] == 3
    assert members(after) - before == {(VIEWER, artist.member, "null")}
    assert before <= members(after)
    artist.run(state="absent")
    assert members(artist.policy()) == before


def test_runs_that_race_for_the_policy_lose_nothing(artist: Artist) -> None:
    """All read the same policy and one write is accepted at a time. Somebody else changes it meanwhile, too."""
    artist.set_policy(foreign_bindings(artist))
    before = members(artist.policy())
    names = [f"ws-{number:02}" for number in range(8)]
    artist.control.hook("GetIamPolicy", 0.2, times=8, when="after")
    since = artist.control.newest()
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        running = [pool.submit(artist.run, workstation=name) for name in names]
        artist_of_others(artist)
        results = [item.result() for item in running]
    statuses = [call["status"] for call in artist.control.calls(action="SetIamPolicy", since=since)]
    assert 409 in statuses
    assert statuses.count(200) == len(names) + 1
    given = {(VIEWER, f"serviceAccount:{artist.email_of(name)}", "null") for name in names}
    others = {("roles/viewer", "user:new@studio.example", "null")}
    assert members(artist.policy()) == before | given | others
    assert len({result["key"]["id"] for result in results}) == len(names)
    again = artist.run(workstation=names[0], key_id=results[0]["key"]["id"])
    assert again["changed"] is False


def artist_of_others(artist: Artist) -> None:
    """Give somebody a role by hand while the others run."""
    while True:
        try:
            artist.set_policy([{"role": "roles/viewer", "members": ["user:new@studio.example"]}])
        except ConflictError:
            continue
        return


def test_a_policy_that_never_comes_to_rest_is_an_error(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "POLICY_SECONDS", 0.3)
    words = "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
    artist.control.fault("SetIamPolicy", "ABORTED", status=409, message=words, times=None)
    with pytest.raises(ModuleFailedError, match=r"cannot change the IAM policy of \S+: 409 ABORTED: There were conc"):
        artist.run()


def test_a_role_that_was_taken_away_by_hand_comes_back(with_cluster: Artist) -> None:
    artist = with_cluster
    key_id = artist.run()["key"]["id"]
    kube = artist.kube()
    kube.delete("RoleBinding", BINDING, NAMESPACE)
    artist.run(state="present", key_id=key_id, project_role="")
    assert len(artist.users()) == 2
    kube.delete("RoleBinding", BINDING, NAMESPACE)
    assert artist.run(key_id=key_id)["steps"] == [artist.bind_step]
    assert artist.run(key_id=key_id)["changed"] is False


def test_more_rights_than_an_artist_needs_are_told(artist: Artist) -> None:
    key_id = artist.run()["key"]["id"]
    artist.set_policy([{"role": "roles/container.developer", "members": [artist.member]}])
    result = artist.run(key_id=key_id)
    assert result["changed"] is False
    assert any("also has roles/container.developer in the project" in text for text in result["warnings"])


def test_a_custom_role_or_none(artist: Artist) -> None:
    own = f"projects/{artist.project}/roles/nimArtist"
    result = artist.run(project_role=own)
    assert artist.roles() == [own]
    artist.run(state="absent")
    result = artist.run(project_role="")
    assert result["steps"] == [artist.first_steps[0], f"create key {result['key']['id']}"]
    assert artist.roles() == []


# ---- the cluster ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("none", "it does not exist"),
        ("role", "it has no Role nim-artists in the namespace budgetguard before the first deployment"),
        ("unreachable", "upstream is gone"),
    ],
)
def test_a_cluster_that_cannot_be_asked_keeps_no_key_from_being_made(artist: Artist, case: str, words: str) -> None:
    artist.control.defaults(cluster_seconds=0)
    if case != "none":
        artist.make_cluster(with_role=case != "role")
    if case == "unreachable":
        artist.control.fault("get rolebindings", "ServiceUnavailable", status=503, message="upstream is gone", times=2)
    result = artist.run()
    assert result["steps"] == [*artist.first_steps, f"create key {result['key']['id']}"]
    [warning] = result["warnings"]
    assert words in warning
    assert "can start and stop no NIM until another run has done that" in warning
    if case == "unreachable":
        later = artist.run(key_id=result["key"]["id"])
        assert (later["steps"], later["warnings"]) == ([artist.bind_step], [])


def test_a_cluster_that_cannot_be_asked_keeps_nobody_from_being_revoked(with_cluster: Artist) -> None:
    artist = with_cluster
    artist.run()
    artist.control.fault("get rolebindings", "ServiceUnavailable", status=503, message="upstream is gone", times=2)
    gone = artist.run(state="absent")
    assert f"whether there is a RoleBinding {BINDING} is not known" in gone["warnings"][0]
    assert "service_accounts" not in artist.resources()
    later = artist.run(state="absent")
    assert later["steps"] == [f"remove the RoleBinding {BINDING} from the cluster {PLACE}"]
    assert artist.binding() is None


def test_a_binding_to_another_role_is_made_again(with_cluster: Artist) -> None:
    """A RoleBinding cannot be pointed at another Role."""
    artist = with_cluster
    key_id = artist.run()["key"]["id"]
    kube, wrong = artist.kube(), dict(artist.binding() or {})
    kube.delete("RoleBinding", BINDING, NAMESPACE)
    metadata = {name: wrong["metadata"][name] for name in ("name", "namespace", "labels")}
    kube.apply({**wrong, "metadata": metadata, "roleRef": {**wrong["roleRef"], "name": "admin"}})
    assert artist.run(key_id=key_id)["steps"] == [artist.bind_step]
    assert (artist.binding() or {})["roleRef"]["name"] == "nim-artists"


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_binding_of_somebody_else_is_refused(with_cluster: Artist, state: str) -> None:
    artist = with_cluster
    artist.run()
    mine = dict(artist.binding() or {})
    kube = artist.kube()
    kube.delete("RoleBinding", BINDING, NAMESPACE)
    kube.apply({**mine, "metadata": {"name": BINDING, "namespace": NAMESPACE}})
    with pytest.raises(ModuleFailedError, match=f"the RoleBinding {NAMESPACE}/{BINDING} was not made here"):
        artist.run(state=state)


# ---- what is not ours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "was not made here"),
        (f"budgetguard:managed workstation=ws-1 cluster={PLACE}", "was not made here"),
        (
            "budgetguard:managed workstation=ws-01 cluster=europe-west4-b/shots/nims",
            f"belongs to the cluster europe-west4-b/shots/nims, not to {PLACE}",
        ),
    ],
    ids=["by-hand", "other-workstation", "other-cluster"],
)
def test_an_account_of_somebody_else_is_refused(artist: Artist, state: str, description: str, message: str) -> None:
    body = {"accountId": identity.account_id(WORKSTATION), "serviceAccount": {"description": description}}
    artist.by_hand("POST", "", body)
    since = artist.control.newest()
    with pytest.raises(ModuleFailedError, match=message):
        artist.run(state=state)
    assert artist.writes(since) == []


def test_an_account_that_was_switched_off_stays_off_and_can_be_removed(artist: Artist) -> None:
    result = artist.run()
    artist.by_hand("POST", f"/{artist.email}:disable", {})
    assert not artist.is_accepted(result["credentials"])
    with pytest.raises(ModuleFailedError, match=f"gcloud iam service-accounts enable {artist.email}"):
        artist.run(key_id=result["key"]["id"])
    artist.run(state="absent")
    assert artist.resources() == {}


# ---- a principal of the workstation's own --------------------------------------------------------------------------

FEDERATED = (
    "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/studio/subject/ws-02"
)


def test_a_federated_identity_gets_the_rights_and_nothing_else(with_cluster: Artist) -> None:
    artist = with_cluster
    options = {"workstation": "ws-02", "principal": FEDERATED}
    foreseen = artist.run(check=True, options=options)
    result = artist.run(options=options)
    assert result["steps"] == [
        f"give {FEDERATED} the role {VIEWER} in the project {artist.project}",
        f"bind {FEDERATED} to the Role nim-artists in the cluster {PLACE}",
    ]
    assert foreseen["steps"] == result["steps"]
    assert (result["identity"], result["minted"], result["key"]) == (FEDERATED, False, None)
    assert artist.users("nim-principal-ws-02") == [FEDERATED]
    assert artist.roles(FEDERATED) == [VIEWER]
    assert "service_accounts" not in artist.resources()
    since = artist.control.newest()
    assert artist.run(options=options)["changed"] is False
    assert artist.calls(since) == ["GetIamPolicy", "GetCluster", "get rolebindings"]
    artist.set_policy([{"role": "roles/viewer", "members": [FEDERATED]}])
    assert len(artist.run(options=options, state="absent")["steps"]) == 2
    assert artist.roles(FEDERATED) == ["roles/viewer"]
    assert artist.run(options=options, state="absent")["changed"] is False


def test_a_service_account_of_the_workstation_keeps_its_keys(with_cluster: Artist) -> None:
    artist = with_cluster
    account = artist.by_hand("POST", "", {"accountId": "artist-7"})
    email = account["email"]
    artist.by_hand("POST", f"/{email}/keys", {})
    options = {"principal": email}
    result = artist.run(options=options)
    assert result["identity"] == email
    assert artist.users("nim-principal-ws-01") == [email, account["uniqueId"]]
    assert artist.run(options=options, delivered=True)["changed"] is False
    artist.run(options=options, state="absent")
    assert len(artist.key_ids(email)) == 1
    assert artist.roles(f"serviceAccount:{email}") == []


def test_a_service_account_that_may_not_be_read_is_bound_by_its_email(with_cluster: Artist) -> None:
    artist = with_cluster
    email = "ws-02@render-farm.iam.gserviceaccount.com"
    result = artist.run(principal=email)
    assert "the number of ws-02@render-farm" in result["warnings"][0]
    assert artist.users("nim-principal-ws-01") == [email]
    missing = f"artist-8@{artist.project}.iam.gserviceaccount.com"
    with pytest.raises(ModuleFailedError, match=f"principal is {missing}, but there is no such service account"):
        artist.run(principal=missing)


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workstation": "ws_01"}, "workstation is 'ws_01'; it must be 1 to 48 letters"),
        ({"workstation": "w" * 49}, "1 to 48"),
        ({"cluster": "Budget Guard"}, "cluster 'Budget Guard' is no name"),
        ({"location": "earth"}, "location 'earth' is neither a zone"),
        ({"namespace": "kube-system"}, "must not start with kube-"),
        ({"principal": "ws-02"}, "it must be the email of a service account"),
        ({"principal": "lead@studio.example"}, "it must be the email of a service account"),
        ({"principal": FEDERATED.replace("principal://", "principalSet://")}, "or a federated identity"),
        ({"principal": FEDERATED, "key_id": "abc"}, "principal is one that has no key"),
        ({"project_role": "roles/container.developer"}, "it must be roles/container.clusterViewer"),
        ({"project_role": "roles/owner"}, "it must be roles/container.clusterViewer"),
        ({"delivered": True}, "delivered needs key_id"),
        ({"service_account_contents": "{}"}, 'it does not say "type": "service_account"'),
    ],
)
def test_bad_input_is_one_error_before_any_call(artist: Artist, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ModuleFailedError) as caught:
        artist.run(options=options)
    assert message in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed.")
    assert artist.control.calls() == []


# ---- trouble -------------------------------------------------------------------------------------------------------


def test_an_organisation_without_keys_is_told_what_works(artist: Artist) -> None:
    words = "Key creation is not allowed on this service account."
    artist.control.fault("CreateServiceAccountKey", "FAILED_PRECONDITION", message=words, times=None)
    with pytest.raises(ModuleFailedError) as caught:
        artist.run()
    message = str(caught.value)
    assert "an organisation policy forbids to make keys of service accounts" in message
    assert "(constraints/iam.disableServiceAccountKeyCreation)" in message
    assert "set principal to an identity that the workstation has of its own" in message
    assert f"Done before that: {'; '.join(artist.first_steps)}." in message
    assert artist.key_ids() == []


def test_throttling_is_waited_out(artist: Artist) -> None:
    slow = ("GetServiceAccount", "CreateServiceAccount", "SetIamPolicy", "CreateServiceAccountKey")
    for action in slow:
        artist.control.fault(action, "RESOURCE_EXHAUSTED", status=429, message="Quota exceeded for quota metric")
    result = artist.run()
    assert artist.control.faults() == []
    assert artist.key_ids() == [result["key"]["id"]]


@pytest.mark.parametrize(
    ("action", "status", "code", "message"),
    [
        ("SetIamPolicy", 400, "INVALID_ARGUMENT", "Service account ws does not exist."),
        ("SetIamPolicy", 409, "ABORTED", "There were concurrent policy changes."),
        ("CreateServiceAccountKey", 404, "NOT_FOUND", "Service account ws does not exist."),
    ],
)
def test_what_was_just_made_may_not_be_known_everywhere(
    artist: Artist, action: str, status: int, code: str, message: str
) -> None:
    artist.control.fault(action, code, status=status, message=message, times=2)
    result = artist.run()
    assert result["steps"] == [*artist.first_steps, f"create key {result['key']['id']}"]
    assert artist.key_ids() == [result["key"]["id"]]


@pytest.mark.parametrize(("status", "code"), [(403, "PERMISSION_DENIED"), (404, "NOT_FOUND")])
def test_an_account_that_another_run_made_is_taken(artist: Artist, status: int, code: str) -> None:
    """The first look says that there is none, making it that there is one, and the second look that there is none."""
    artist.run(project_role="")
    artist.control.fault("GetServiceAccount", "NOT_FOUND", status=404)
    artist.control.fault("GetServiceAccount", code, status=status, match="", times=1)
    result = artist.run()
    assert result["steps"][:-1] == artist.first_steps
    assert artist.resources()["service_accounts"] == [artist.email]


def test_a_list_that_does_not_have_the_new_key_yet_is_read_again(
    artist: Artist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LIST_SECONDS", 10)
    key_id = artist.run()["key"]["id"]
    real = GcpSession.rest
    answers: list[dict[str, t.Any]] = [{}]

    def stale_once(session: t.Any, doing: str, *words: t.Any, **options: t.Any) -> t.Any:
        return answers.pop() if answers and "read the keys" in doing else real(session, doing, *words, **options)

    monkeypatch.setattr(GcpSession, "rest", stale_once)
    assert artist.run(key_id=key_id)["changed"] is False
    assert answers == []


def test_a_denied_call_is_named_with_what_was_done_before(artist: Artist) -> None:
    artist.control.fault("CreateServiceAccountKey", "PERMISSION_DENIED", status=403, message="not for you")
    with pytest.raises(ModuleFailedError) as caught:
        artist.run()
    message = str(caught.value)
    assert message.startswith(f"ws-01: cannot create a key for {artist.email}: 403 PERMISSION_DENIED: not for you.")
    assert "roles/iam.serviceAccountKeyAdmin" in message
    assert f"Done before that: {'; '.join(artist.first_steps)}." in message


def test_the_same_workstation_twice_at_once(with_cluster: Artist) -> None:
    """Both get a key that works; the second phase leaves the stored one."""
    artist = with_cluster
    artist.control.hook("GetServiceAccount", 0.3, times=2, when="after")
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda _number: artist.run(), range(2)))
    assert len({result["key"]["id"] for result in results}) == 2
    assert artist.resources()["service_accounts"] == [artist.email]
    artist.run(key_id=results[0]["key"]["id"], delivered=True)
    assert artist.key_ids() == [results[0]["key"]["id"]]


def test_the_secret_is_in_the_credentials_alone(with_cluster: Artist) -> None:
    artist = with_cluster
    first = artist.run()
    second = artist.run(key_id=first["key"]["id"], rotate=True)
    for result in (first, second):
        secret = json.loads(result.pop("credentials")["Service Account JSON"])["private_key"]
        lines = secret.splitlines()[1:-1]
        shown = json.dumps(result)
        assert not any(line in shown for line in lines)
        assert not any(artist.control.calls_containing(line) for line in lines[:3])
