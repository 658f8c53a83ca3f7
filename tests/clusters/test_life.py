# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of NIMs on AKS and GKE, from the first deploy to the teardown."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _tokens
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import PlanError
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from tests.clusters.cluster import HF_TOKEN, NAMESPACE, NGC_KEY, Cluster, assert_fine, described, is_rehearsal, path_of
from tests.unit.gateway.running import until

FLUX, LLAMA = "FLUX Dev@a100-80gb", "Llama 3.1@a100-80gb"
FLUX_NAME, LLAMA_NAME = "nim-flux-dev-a100-80gb", "nim-llama-3-1-a100-80gb"
H100 = {"azure": "h100", "gcp": "a100"}
"""A second tier that the cloud rents on demand."""

SHARED_DEPLOYMENTS = ["gateway"]


def deployment(cluster: Cluster, name: str = FLUX_NAME) -> dict[str, t.Any]:
    found = cluster.kube().read("Deployment", name, NAMESPACE)
    assert found is not None
    return found


def test_present_makes_everything_without_a_gpu(cluster: Cluster) -> None:
    outcome = cluster.run(FLUX, LLAMA)
    assert_fine(outcome)
    assert cluster.clusters() == ["budgetguard"]
    assert len(cluster.pools()) == 1
    assert cluster.objects() == {
        "Deployment": ["gateway", FLUX_NAME, LLAMA_NAME],
        "Service": ["gateway", FLUX_NAME, LLAMA_NAME],
        "PersistentVolumeClaim": [f"{FLUX_NAME}-cache", f"{LLAMA_NAME}-cache"],
        "NetworkPolicy": ["gateway", FLUX_NAME, LLAMA_NAME],
        "ConfigMap": ["gateway"],
        "Role": ["nim-artists"],
        "Secret": ["ngc-api", "ngc-pull"],
    }
    assert {status.state for status in outcome.statuses.values()} == {"stopped"}
    endpoint = outcome.statuses[FLUX_NAME].endpoint
    assert endpoint is not None
    assert endpoint.startswith("http://10.")
    assert endpoint.endswith("/flux-dev-a100-80gb")
    assert cluster.info() == outcome.statuses


def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    cluster.run(FLUX, LLAMA)
    cluster.control.clear_calls()
    assert described(cluster.run(FLUX, LLAMA)) == []
    assert cluster.writes() == []


def test_check_mode_plans_what_the_run_does_and_writes_nothing(cluster: Cluster) -> None:
    predicted = cluster.run(FLUX, check_mode=True)
    assert cluster.writes() == []
    done = described(cluster.run(FLUX))
    assert sorted(step.describe() for step in predicted.steps) == sorted(done)
    cluster.control.clear_calls()
    entry = {"node": "FLUX Dev", "gpu_tier": "a100-80gb", "tag": "1.2.4", "env": {"NIM_LOG_LEVEL": "debug"}}
    predicted = cluster.run(entry, LLAMA, check_mode=True)
    assert_fine(predicted)
    assert cluster.writes() == []
    assert any(is_rehearsal(call) for call in cluster.calls())
    assert sorted(step.describe() for step in predicted.steps) == sorted(described(cluster.run(entry, LLAMA)))


def test_an_artists_start_survives_present_and_stop_ends_it(cluster: Cluster) -> None:
    cluster.run(FLUX)
    cluster.kube().scale(FLUX_NAME, NAMESPACE, 1)
    assert described(cluster.run(FLUX)) == []
    changed = cluster.run({"node": "FLUX Dev", "gpu_tier": "a100-80gb", "tag": "1.2.4"})
    assert_fine(changed)
    assert deployment(cluster)["spec"]["replicas"] == 1
    stopped = cluster.run("FLUX Dev", state="stopped")
    assert described(stopped) == [f"update deployment {FLUX_NAME} (spec.replicas)"]
    assert stopped.statuses[FLUX_NAME].state == "stopped"
    assert described(cluster.run("FLUX Dev", state="stopped")) == []


def test_started_waits_until_it_answers_behind_the_gateway(cluster: Cluster) -> None:
    cluster.control.defaults(startup_seconds=0.5)
    outcome = cluster.run(FLUX, state="started")
    assert_fine(outcome)
    status = outcome.statuses[FLUX_NAME]
    assert (status.state, status.running, status.replicas) == ("running", 1, 1)
    assert not any(path.endswith("/scale") for path in cluster.writes())
    cluster.run("FLUX Dev", state="stopped")
    cluster.control.clear_calls()
    again = cluster.run(FLUX, state="started")
    assert described(again) == [f"update deployment {FLUX_NAME} (spec.replicas)"]
    assert [path.rpartition("/")[2] for path in cluster.writes()] == ["scale"]


def test_stopping_what_is_not_there_makes_nothing(cluster: Cluster) -> None:
    assert described(cluster.run("FLUX Dev", state="stopped")) == []
    assert cluster.writes() == []
    assert cluster.info() == {}


def test_a_nim_takes_its_pool_with_it_if_nobody_else_uses_it(cluster: Cluster) -> None:
    other = f"FLUX Dev@{H100[cluster.cloud]}"
    assert_fine(cluster.run(FLUX, LLAMA, other))
    assert len(cluster.pools()) == 2
    assert_fine(cluster.run({"node": "FLUX Dev", "gpu_tier": H100[cluster.cloud]}, state="absent"))
    assert len(cluster.pools()) == 1
    assert_fine(cluster.run("FLUX Dev", state="absent"))
    assert len(cluster.pools()) == 1
    assert described(cluster.run(LLAMA)) == []
    assert_fine(cluster.run("Llama 3.1", state="absent"))
    assert cluster.pools() == []
    assert cluster.objects()["Deployment"] == ["gateway"]


def test_teardown_leaves_nothing_behind(cluster: Cluster) -> None:
    cluster.run(FLUX, LLAMA, state="started")
    outcome = cluster.run("FLUX Dev", "Llama 3.1", state="absent", purge_shared=True)
    assert_fine(outcome)
    assert cluster.clusters() == []
    assert cluster.resources() == {}
    assert cluster.control.resources().get("kube", {}) == {}
    assert_fine(cluster.run(FLUX))


def test_two_nims_on_one_machine_type_share_a_pool_that_is_large_enough(cluster: Cluster) -> None:
    cluster.run(FLUX)
    outcome = cluster.run(LLAMA)
    assert next(line for line in described(outcome) if "gpu_pool" in line).endswith("(max_nodes)")
    started = cluster.run(FLUX, LLAMA, state="started")
    assert_fine(started)
    assert {status.state for status in started.statuses.values()} == {"running"}
    cluster.run({"node": "FLUX Dev", "gpu_tier": "a100-80gb", "replicas": 2}, state="started")
    assert cluster.info()[FLUX_NAME].running == 2


CHANGES = [
    pytest.param({"tag": "1.2.4"}, ["deployment"], id="tag"),
    pytest.param({"env": {"NIM_LOG_LEVEL": "debug"}}, ["deployment"], id="env"),
    pytest.param({"variants": ["canny"]}, ["deployment"], id="variants"),
    pytest.param({"replicas": 2}, ["gpu_pool", "deployment"], id="replicas"),
]


@pytest.mark.parametrize(("change", "kinds"), CHANGES)
def test_a_change_reaches_the_cluster_once(cluster: Cluster, change: dict[str, t.Any], kinds: list[str]) -> None:
    cluster.run(FLUX)
    entry = {"node": "FLUX Dev", "gpu_tier": "a100-80gb", **change}
    outcome = cluster.run(entry)
    assert_fine(outcome)
    assert [step.kind for step in outcome.done] == kinds
    assert described(cluster.run(entry)) == []
    assert_fine(cluster.run(FLUX))
    assert described(cluster.run(FLUX)) == []


def test_what_somebody_changed_by_hand_is_put_right(cluster: Cluster) -> None:
    cluster.run(FLUX)
    client = cluster.kube()
    policy = client.read("NetworkPolicy", FLUX_NAME, NAMESPACE)
    assert policy is not None
    client.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": FLUX_NAME, "namespace": NAMESPACE, "labels": policy["metadata"]["labels"]},
            "spec": {**policy["spec"], "ingress": [{}]},
        }
    )
    client.delete("ConfigMap", "gateway", NAMESPACE)
    client.delete("Service", FLUX_NAME, NAMESPACE)
    outcome = cluster.run(FLUX)
    assert sorted(step.kind for step in outcome.done) == ["gateway_config", "network_policy", "service"]
    assert described(cluster.run(FLUX)) == []


def test_keys_are_changed_without_reading_the_old_ones(cluster: Cluster) -> None:
    cluster.run(FLUX)
    new = f"{NGC_KEY}-new"
    outcome = cluster.run(FLUX, settings={"ngc_api_key": new})
    assert [step.name for step in outcome.done] == ["ngc-api", "ngc-pull"]
    assert described(cluster.run(FLUX, settings={"ngc_api_key": None, "hf_token": None})) == []
    reads = [call for call in cluster.calls() if "/secrets" in call["path"] and call["method"] == "GET"]
    assert reads
    assert cluster.control.calls_containing(new) == [
        call for call in cluster.control.calls_containing(new) if call["method"] == "PATCH"
    ]


def test_secrets_go_into_the_secrets_and_nowhere_else(cluster: Cluster) -> None:
    predicted = cluster.run(FLUX, check_mode=True)
    outcome = cluster.run(FLUX, state="started")
    for secret in (NGC_KEY, HF_TOKEN):
        calls = cluster.control.calls_containing(secret)
        assert calls
        assert {path_of(call).split("/")[-2] for call in calls} == {"secrets"}
        assert secret not in repr((outcome, predicted))


def test_a_deploy_without_keys_is_refused_before_anything_is_created(cluster: Cluster) -> None:
    with pytest.raises(ProviderError, match="ngc_api_key is not set and there is no secret yet"):
        cluster.run(FLUX, settings={"ngc_api_key": None})
    with pytest.raises(ProviderError, match="hf_token is not set; FLUX Dev downloads gated weights"):
        cluster.run(FLUX, settings={"hf_token": None})
    assert cluster.writes() == []


def test_public_needs_words_and_then_has_a_public_address(cluster: Cluster) -> None:
    public = {"scheme": "public"}
    with pytest.raises(ValueError, match="allow_plain_http"):
        cluster.run(FLUX, settings=public)
    with pytest.raises(ValueError, match="allow_public: true"):
        cluster.run(FLUX, settings={"allowed_cidrs": ["0.0.0.0/0"]})
    assert cluster.writes() == []
    outcome = cluster.run(FLUX, settings={**public, "allow_plain_http": True})
    assert_fine(outcome)
    assert str(outcome.statuses[FLUX_NAME].endpoint).startswith("http://20.")
    service = cluster.kube().read("Service", "gateway", NAMESPACE)
    policy = cluster.kube().read("NetworkPolicy", "gateway", NAMESPACE)
    assert service is not None
    assert policy is not None
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.20.0.0/16"]
    sources = [source["ipBlock"]["cidr"] for rule in policy["spec"]["ingress"] for source in rule["from"]]
    assert sources == ["10.20.0.0/16"]


def test_a_name_of_the_studio_is_published(cluster: Cluster) -> None:
    outcome = cluster.run(FLUX, settings={"endpoint_host": "nim.studio.example"})
    assert outcome.statuses[FLUX_NAME].endpoint == "http://nim.studio.example/flux-dev-a100-80gb"
    assert cluster.info()[FLUX_NAME].endpoint == "http://nim.studio.example/flux-dev-a100-80gb"


def test_a_login_is_not_taken_away_by_leaving_the_option_out(cluster: Cluster) -> None:
    login = {"gateway": {"studio": "example", "public_keys": [_tokens.public_key(_tokens.new_signing_key())]}}
    assert cluster.run(FLUX, settings=login, check_mode=True).statuses[FLUX_NAME].auth == "gateway"
    assert_fine(cluster.run(FLUX, settings=login))
    for is_check in (False, True):
        with pytest.raises(ProviderError, match="has a gateway with a login, and this run has no public_keys"):
            cluster.run(FLUX, LLAMA, check_mode=is_check)
    with pytest.raises(ProviderError, match="delete service gateway"):
        cluster.run(gateway_only=True)
    assert cluster.info()[FLUX_NAME].auth == "gateway"
    assert_fine(cluster.run(FLUX, state="stopped"))
    cluster.kube().delete("Service", "gateway", NAMESPACE)
    # It is there until the cloud has taken its load balancer away.
    until(lambda: cluster.kube().read("Service", "gateway", NAMESPACE) is None)
    assert_fine(cluster.run(FLUX))
    assert cluster.info()[FLUX_NAME].auth == "none"


def test_an_object_of_somebody_else_is_not_touched(cluster: Cluster) -> None:
    cluster.run(LLAMA)
    cluster.kube().apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": FLUX_NAME, "namespace": NAMESPACE},
            "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
        }
    )
    cluster.control.clear_calls()
    with pytest.raises(PlanError, match=f"service {FLUX_NAME} exists but was not made by this collection"):
        cluster.run(FLUX)
    assert cluster.writes() == []


def test_two_clusters_do_not_touch_each_other(cluster: Cluster) -> None:
    assert_fine(cluster.run(FLUX))
    assert_fine(cluster.run(FLUX, settings={"cluster": "second"}))
    assert cluster.clusters() == ["budgetguard", "second"]
    assert_fine(cluster.run("FLUX Dev", state="absent", purge_shared=True, settings={"cluster": "second"}))
    assert cluster.clusters() == ["budgetguard"]
    assert described(cluster.run(FLUX)) == []


def test_a_second_namespace_in_a_cluster_is_refused(cluster: Cluster) -> None:
    cluster.run(FLUX)
    cluster.control.clear_calls()
    other = {"namespace": "other"}
    with pytest.raises(ProviderError, match="is for the NIMs in the namespace budgetguard"):
        cluster.run(LLAMA, settings=other)
    with pytest.raises(ProviderError, match="set namespace: budgetguard"):
        cluster.run("Llama 3.1", state="absent", purge_shared=True, settings=other)
    assert cluster.writes() == []
