# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a workstation's identity on AWS, and what goes wrong in it."""

from __future__ import annotations

import json
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_identity
from tests.aws.artist import GROUP, POLICY, POLICY_ARN, USER, USER_ARN, WORKSTATION, Artist, ModuleFailedError
from tests.sandbox.state import ACCOUNT_ID

FIRST_STEPS = [
    f"create policy /budgetguard/{POLICY}",
    f"create group /budgetguard/{GROUP}",
    f"attach policy {POLICY} to group {GROUP}",
    f"create user /budgetguard/{USER}",
    f"put user {USER} into group {GROUP}",
]
ROLE_ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/studio/ws-02"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "rolesanywhere.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for what will not come."""
    monkeypatch.setattr(_aws_identity, "LIST_SECONDS", 0.2)
    monkeypatch.setattr(_aws_identity, "LIST_INTERVAL", 0.1)


def test_the_first_run_makes_everything_and_one_key(artist: Artist) -> None:
    result = artist.run()
    key_id = result["key"]["id"]
    assert result["steps"] == [*FIRST_STEPS, f"create key {key_id}"]
    assert (result["identity"], result["minted"], result["reason"]) == (USER_ARN, True, "there is none yet")
    assert list(result["credentials"]) == ["Access Key ID", "Secret Access Key"]
    assert result["credentials"]["Access Key ID"] == key_id
    assert artist.resources() == {
        "policies": [POLICY],
        "users": [USER],
        "groups": [GROUP],
        "access_keys": [key_id],
    }
    user = artist.client("iam").get_user(UserName=USER)["User"]
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"] == POLICY_ARN
    assert {tag["Key"]: tag["Value"] for tag in user["Tags"]} == {
        "budgetguard:managed": "true",
        "budgetguard:cluster": "budgetguard",
        "budgetguard:workstation": WORKSTATION,
    }


def test_the_second_run_makes_six_reads_and_nothing_else(artist: Artist) -> None:
    first = artist.run()
    since = artist.control.newest()
    second = artist.run(key_id=first["key"]["id"])
    assert (second["changed"], second["steps"], "credentials" in second) == (False, [], False)
    assert second["key"] == first["key"]
    assert len(artist.control.calls(since=since)) == 6
    assert artist.writes(since) == []


def test_the_calls_of_a_run_without_change_do_not_grow(artist: Artist) -> None:
    for number in range(5):
        artist.run(workstation=f"other-{number}")
    first = artist.run()
    since = artist.control.newest()
    artist.run(key_id=first["key"]["id"])
    assert len(artist.control.calls(since=since)) == 6


def test_check_mode_tells_the_steps_and_makes_none(artist: Artist) -> None:
    foreseen = artist.run(check=True)
    assert artist.writes() == []
    assert (foreseen["identity"], foreseen["minted"], foreseen["key"]) == (None, True, None)
    done = artist.run()
    assert foreseen["steps"] == [*FIRST_STEPS, "create key"]
    assert [step.removesuffix(f" {done['key']['id']}") for step in done["steps"]] == foreseen["steps"]
    for options in (
        {"key_id": done["key"]["id"], "rotate": True},
        {"state": "absent"},
    ):
        since = artist.control.newest()
        foreseen = artist.run(check=True, **options)
        assert artist.writes(since) == []
        really = artist.run(**options)
        made = really["key"]["id"] if really["minted"] else "-"
        assert [step.removesuffix(f" {made}") for step in really["steps"]] == foreseen["steps"]


def test_a_rotation_in_two_phases(artist: Artist) -> None:
    old = artist.run()
    new = artist.run(key_id=old["key"]["id"], rotate=True)
    assert (new["minted"], new["previous_key_id"]) == (True, old["key"]["id"])
    assert new["other_keys"] == [old["key"]["id"]]
    assert len(artist.key_ids()) == 2

    again = artist.run(key_id=new["key"]["id"], previous_key_id=old["key"]["id"], rotate=True)
    assert (again["changed"], again["previous_key_id"]) == (False, old["key"]["id"])

    last = artist.run(key_id=new["key"]["id"], previous_key_id=old["key"]["id"], delivered=True)
    assert last["steps"] == [f"delete key {old['key']['id']}"]
    assert artist.key_ids() == [new["key"]["id"]]
    assert artist.run(key_id=new["key"]["id"], delivered=True)["changed"] is False


def test_a_key_that_was_not_stored_is_gone_after_the_second_phase(artist: Artist) -> None:
    """The run was killed between the cloud's answer and the store."""
    lost = artist.run()["key"]["id"]
    kept = artist.run()
    assert kept["minted"]
    assert artist.key_ids() == sorted([lost, kept["key"]["id"]])
    artist.run(key_id=kept["key"]["id"], delivered=True)
    assert artist.key_ids() == [kept["key"]["id"]]


def test_two_lost_keys_make_room_for_one_that_is_stored(artist: Artist) -> None:
    lost = {artist.run()["key"]["id"], artist.run()["key"]["id"]}
    kept = artist.run()
    assert len(artist.key_ids()) == 2
    assert [step for step in kept["steps"] if step.startswith("delete key")] == [
        f"delete key {(lost - set(artist.key_ids())).pop()}"
    ]
    assert kept["key"]["id"] in artist.key_ids()


def test_the_stored_key_stays_when_others_are_in_the_way(artist: Artist) -> None:
    stored = artist.run()["key"]["id"]
    artist.client("iam").create_access_key(UserName=USER)
    new = artist.run(key_id=stored, rotate=True)
    assert artist.key_ids() == sorted([stored, new["key"]["id"]])


def test_a_lost_answer_leaves_no_third_key(artist: Artist) -> None:
    """The cloud has made the key, the answer never came, and botocore asks again."""
    first = artist.run()["key"]["id"]
    artist.control.fault("CreateAccessKey", "InternalFailure", status=500, when="after")
    new = artist.run(key_id=first, rotate=True)
    assert new["minted"]
    assert artist.key_ids() == sorted([first, new["key"]["id"]])


def test_a_key_that_was_switched_off_or_deleted_is_replaced(artist: Artist) -> None:
    first = artist.run()["key"]["id"]
    iam = artist.client("iam")
    iam.update_access_key(UserName=USER, AccessKeyId=first, Status="Inactive")
    second = artist.run(key_id=first)
    assert second["reason"] == f"the stored key {first} is switched off or has ended"
    iam.delete_access_key(UserName=USER, AccessKeyId=second["key"]["id"])
    third = artist.run(key_id=second["key"]["id"])
    assert third["reason"] == f"the stored key {second['key']['id']} is not there any more"
    with pytest.raises(ModuleFailedError, match="does not work; run again without delivered"):
        artist.run(key_id=first, delivered=True)


def test_absent_deletes_the_keys_first(artist: Artist) -> None:
    artist.run()
    artist.run()
    keys = artist.key_ids()
    since = artist.control.newest()
    result = artist.run(state="absent")
    assert sorted(result["steps"][:2]) == [f"delete key {key}" for key in keys]
    assert result["steps"][2:] == [
        f"take user {USER} out of group {GROUP}",
        f"delete user /budgetguard/{USER}",
    ]
    assert artist.writes(since) == ["DeleteAccessKey", "DeleteAccessKey", "RemoveUserFromGroup", "DeleteUser"]
    assert artist.resources() == {"policies": [POLICY], "groups": [GROUP]}
    since = artist.control.newest()
    assert artist.run(state="absent")["changed"] is False
    assert [call["action"] for call in artist.control.calls(since=since)] == ["GetUser"]


def test_what_was_added_by_hand_stops_the_removal_with_a_reason(artist: Artist) -> None:
    artist.run()
    iam = artist.client("iam")
    iam.attach_user_policy(UserName=USER, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    with pytest.raises(ModuleFailedError, match=r"must detach all policies first.*Done before that: delete key"):
        artist.run(state="absent")
    iam.detach_user_policy(UserName=USER, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    assert artist.run(state="absent")["changed"] is True


# ---- the rights ----------------------------------------------------------------------------------------------------


def drift_policy(artist: Artist) -> None:
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    artist.client("iam").create_policy_version(
        PolicyArn=POLICY_ARN, PolicyDocument=json.dumps(everything), SetAsDefault=True
    )


def test_a_policy_that_somebody_changed_is_put_right(artist: Artist) -> None:
    """Again and again: no more than five versions are kept."""
    key_id = artist.run()["key"]["id"]
    iam = artist.client("iam")
    wanted = default_document(iam)
    drift_policy(artist)
    for _turn in range(5):
        iam.set_default_policy_version(PolicyArn=POLICY_ARN, VersionId="v2")
        result = artist.run(key_id=key_id)
        assert result["steps"] == [f"update policy /budgetguard/{POLICY}"]
        assert default_document(iam) == wanted
        assert len(iam.list_policy_versions(PolicyArn=POLICY_ARN)["Versions"]) <= 5
    assert artist.run(key_id=key_id)["changed"] is False


def default_document(iam: t.Any) -> t.Any:
    version = iam.get_policy(PolicyArn=POLICY_ARN)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=POLICY_ARN, VersionId=version)["PolicyVersion"]["Document"]


def test_other_networks_are_a_change_of_the_policy(artist: Artist) -> None:
    key_id = artist.run()["key"]["id"]
    options = {"key_id": key_id, "allowed_source_cidrs": ["203.0.113.0/24", "198.51.100.7"]}
    assert artist.run(**options)["steps"] == [f"update policy /budgetguard/{POLICY}"]
    denied = default_document(artist.client("iam"))["Statement"][-1]["Condition"]["NotIpAddress"]["aws:SourceIp"]
    assert denied == ["198.51.100.7/32", "203.0.113.0/24"]
    options["allowed_source_cidrs"] = ["203.0.113.0/24", "198.51.100.7/32"]
    assert artist.run(**options)["changed"] is False


def test_what_was_taken_away_by_hand_comes_back(artist: Artist) -> None:
    key_id = artist.run()["key"]["id"]
    iam = artist.client("iam")
    iam.delete_user_permissions_boundary(UserName=USER)
    iam.remove_user_from_group(UserName=USER, GroupName=GROUP)
    iam.detach_group_policy(GroupName=GROUP, PolicyArn=POLICY_ARN)
    assert artist.run(key_id=key_id)["steps"] == [
        f"attach policy {POLICY} to group {GROUP}",
        f"limit user {USER} to policy {POLICY}",
        f"put user {USER} into group {GROUP}",
    ]
    assert artist.run(key_id=key_id)["changed"] is False


def test_another_cluster_has_a_group_and_a_policy_of_its_own(artist: Artist) -> None:
    artist.run()
    artist.run(workstation="ws-02", cluster="shots")
    assert artist.resources()["policies"] == [POLICY, "shots-artist"]
    assert artist.resources()["groups"] == [GROUP, "shots-artists"]


# ---- what is not ours ----------------------------------------------------------------------------------------------

OURS = {"budgetguard:managed": "true", "budgetguard:workstation": WORKSTATION, "budgetguard:cluster": "budgetguard"}


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize(
    ("path", "changed", "message"),
    [
        pytest.param("/budgetguard/", {"budgetguard:managed": None}, "was not made here", id="no-mark"),
        pytest.param("/budgetguard/", {"budgetguard:workstation": "ws-1"}, "was not made here", id="other-workstation"),
        pytest.param("/budgetguard/", {"budgetguard:cluster": "shots"}, "belongs to the cluster shots", id="cluster"),
        pytest.param("/", {}, "was not made here", id="other-path"),
    ],
)
def test_a_user_of_somebody_else_is_refused(
    artist: Artist, state: str, path: str, changed: dict[str, str | None], message: str
) -> None:
    tags = [{"Key": key, "Value": value} for key, value in {**OURS, **changed}.items() if value is not None]
    artist.client("iam").create_user(UserName=USER, Path=path, Tags=tags)
    since = artist.control.newest()
    with pytest.raises(ModuleFailedError, match=message):
        artist.run(state=state)
    assert artist.writes(since) == []


def test_a_group_of_somebody_else_is_refused(artist: Artist) -> None:
    artist.client("iam").create_group(GroupName=GROUP, Path="/studio/")
    since = artist.control.newest()
    with pytest.raises(ModuleFailedError, match=rf"the group arn:\S+:group/studio/{GROUP} was not made here"):
        artist.run()
    assert artist.writes(since) == []


def test_a_policy_name_that_is_taken_elsewhere_is_an_error(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_identity, "SPREAD_SECONDS", 1)
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    artist.client("iam").create_policy(PolicyName=POLICY, PolicyDocument=json.dumps(everything))
    with pytest.raises(ModuleFailedError, match=f"cannot create the policy {POLICY}, whose name is taken"):
        artist.run()


# ---- a principal of the workstation's own ---------------------------------------------------------------------------


def test_a_role_gets_the_policy_and_nothing_else(artist: Artist) -> None:
    iam = artist.client("iam")
    iam.create_role(RoleName="ws-02", Path="/studio/", AssumeRolePolicyDocument=TRUST)
    options: dict[str, t.Any] = {"workstation": "ws-02", "principal": ROLE_ARN}
    foreseen = artist.run(check=True, **options)
    result = artist.run(**options)
    assert result["steps"] == [f"create policy /budgetguard/{POLICY}", f"attach policy {POLICY} to role ws-02"]
    assert foreseen["steps"] == result["steps"]
    assert (result["identity"], result["minted"], result["key"]) == (ROLE_ARN, False, None)
    assert artist.resources() == {"policies": [POLICY], "roles": ["ws-02"]}
    since = artist.control.newest()
    assert artist.run(**options)["changed"] is False
    assert len(artist.control.calls(since=since)) == 4

    gone = artist.run(state="absent", **options)
    assert gone["steps"] == [f"detach policy {POLICY} from role ws-02"]
    assert artist.run(state="absent", **options)["changed"] is False
    assert artist.resources()["roles"] == ["ws-02"]


def test_a_user_of_the_workstation_keeps_its_keys(artist: Artist) -> None:
    iam = artist.client("iam")
    arn = iam.create_user(UserName="artist-7")["User"]["Arn"]
    iam.create_access_key(UserName="artist-7")
    options = {"principal": arn, "state": "present"}
    assert artist.run(**options)["steps"][-1] == f"attach policy {POLICY} to user artist-7"
    assert artist.run(**{**options, "delivered": True})["changed"] is False
    artist.run(**{**options, "state": "absent"})
    assert len(artist.key_ids("artist-7")) == 1


def test_a_principal_of_another_account_is_not_mistaken_for_one_here(artist: Artist) -> None:
    artist.client("iam").create_role(RoleName="ws-02", Path="/studio/", AssumeRolePolicyDocument=TRUST)
    elsewhere = ROLE_ARN.replace(ACCOUNT_ID, "111122223333")
    with pytest.raises(ModuleFailedError, match=f"principal is {elsewhere}, but the role ws-02 of this account is"):
        artist.run(principal=elsewhere)


def test_a_principal_that_is_not_there(artist: Artist) -> None:
    with pytest.raises(ModuleFailedError, match="there is no role ws-02 in this account"):
        artist.run(principal=ROLE_ARN)
    assert artist.run(principal=ROLE_ARN, state="absent")["changed"] is False


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workstation": "ws_01"}, "workstation is 'ws_01'; it must be 1 to 48 letters"),
        ({"workstation": "-ws"}, "begin and end with a letter or digit"),
        ({"workstation": "w" * 49}, "1 to 48"),
        ({"cluster": "Budget Guard"}, "cluster is 'Budget Guard'"),
        ({"allowed_source_cidrs": ["203.0.113.5/24"]}, "allowed_source_cidrs has '203.0.113.5/24'"),
        ({"allowed_source_cidrs": ["10.20.0.0/16"]}, "never private ones"),
        ({"allowed_source_cidrs": ["0.0.0.0/0"]}, "every address"),
        ({"allowed_source_cidrs": [f"203.{a}.{b}.0/24" for a in range(2) for b in range(180)]}, "so many networks"),
        ({"principal": "ws-02"}, "it must be the ARN of a role or user"),
        ({"principal": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/a/b"}, "it must be the ARN of a role or user"),
        (
            {"principal": f"arn:aws:iam::{ACCOUNT_ID}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Artist_1"},
            "customer managed policy in the permission set",
        ),
        ({"principal": ROLE_ARN, "key_id": "AKIA"}, "principal is one that has no key"),
        ({"delivered": True}, "delivered needs key_id"),
    ],
)
def test_bad_input_is_one_error_before_any_call(artist: Artist, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ModuleFailedError) as caught:
        artist.run(**options)
    assert message in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed.")
    assert artist.control.calls() == []


# ---- trouble -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["GetUser", "CreatePolicy", "CreateUser", "CreateAccessKey"])
def test_throttling_is_waited_out(artist: Artist, action: str) -> None:
    artist.control.fault(action, "Throttling", message="Rate exceeded", times=2)
    result = artist.run()
    assert result["minted"]
    assert artist.key_ids() == [result["key"]["id"]]


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("CreateUser", "NoSuchEntity"),
        ("AttachGroupPolicy", "NoSuchEntity"),
        ("AddUserToGroup", "NoSuchEntity"),
        ("CreateAccessKey", "NoSuchEntity"),
        ("AddUserToGroup", "ConcurrentModification"),
        ("CreateAccessKey", "EntityTemporarilyUnmodifiable"),
    ],
)
def test_what_was_just_made_may_not_be_known_everywhere(artist: Artist, action: str, code: str) -> None:
    artist.control.fault(action, code, status=404 if code == "NoSuchEntity" else 409)
    result = artist.run()
    assert result["steps"] == [*FIRST_STEPS, f"create key {result['key']['id']}"]
    assert artist.key_ids() == [result["key"]["id"]]


def test_a_list_that_does_not_have_the_new_key_yet_is_read_again(
    artist: Artist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_aws_identity, "LIST_SECONDS", 10)
    key_id = artist.run()["key"]["id"]
    provider = _aws_identity.connect(artist.options(key_id=key_id), WORKSTATION)
    answers: list[list[t.Any]] = [[]]
    session = t.cast("t.Any", provider).session
    read = session.pages

    def stale_once(service: str, operation: str, *arguments: str, **request: t.Any) -> list[t.Any]:
        if operation == "list_access_keys" and answers:
            return answers.pop()
        return t.cast("list[t.Any]", read(service, operation, *arguments, **request))

    monkeypatch.setattr(session, "pages", stale_once)
    assert [key.id for key in provider.observe().keys] == [key_id]


def test_a_denied_call_is_named_with_what_was_done_before(artist: Artist) -> None:
    artist.control.fault("CreateAccessKey", "AccessDenied", message="not authorized", status=403)
    with pytest.raises(ModuleFailedError) as caught:
        artist.run()
    message = str(caught.value)
    assert message.startswith(f"ws-01: cannot create a key for the user {USER}: An error occurred (AccessDenied)")
    assert f"Done before that: {'; '.join(FIRST_STEPS)}." in message


def test_many_workstations_at_once(artist: Artist) -> None:
    """From an empty account: all of them need the policy and the group, one run makes them."""
    names = [f"ws-{number:02}" for number in range(12)]
    artist.control.hook("CreatePolicy", 0.3, times=None)
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        results = list(pool.map(lambda name: artist.run(workstation=name), names))
    assert all(result["minted"] for result in results)
    found = artist.resources()
    assert (found["policies"], found["groups"]) == ([POLICY], [GROUP])
    assert len(found["users"]) == len(found["access_keys"]) == len(names)
    users = artist.client("iam").get_group(GroupName=GROUP)["Users"]
    assert len(users) == len(names)
    again = [
        artist.run(workstation=name, key_id=result["key"]["id"]) for name, result in zip(names, results, strict=True)
    ]
    assert not any(result["changed"] for result in again)


def test_the_same_workstation_twice_at_once(artist: Artist) -> None:
    """Both get a key that works; the second phase leaves the stored one."""
    artist.run(workstation="other")
    artist.control.hook("CreateUser", 0.3, times=None, when="after")
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda _number: artist.run(), range(2)))
    assert len({result["key"]["id"] for result in results}) == 2
    artist.run(key_id=results[0]["key"]["id"], delivered=True)
    assert artist.key_ids() == [results[0]["key"]["id"]]
