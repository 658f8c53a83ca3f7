# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read back from NVIDIA becomes our words; and the choice of an instance type."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted, resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _nvidia_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_settings import NvidiaSettings


def version(status: str = "ACTIVE", number: int = 1, function: str = "f", **more: t.Any) -> dict[str, t.Any]:
    """Return a version as the list shows it."""
    facts = {"MANAGED": "true", "NODE": "FLUX Dev", "GPU_TIER": "l40s", "KIND": "image", "INFER_PATH": "/v1/infer"}
    return {
        "id": function,
        "versionId": f"{function}-{number}",
        "name": "nim-flux-dev-l40s",
        "status": status,
        "createdAt": f"2026-11-23T10:00:0{number}.123456Z",
        "containerImage": "nvcr.io/my-org/flux.1-dev:1.2.3",
        "containerEnvironment": [{"key": f"BUDGETGUARD_{key}", "value": value} for key, value in facts.items()],
        **more,
    }


def function(*versions: dict[str, t.Any]) -> objects.Function:
    """Return the one NIM that these versions are."""
    found = list(objects.functions({"functions": list(versions)}, []).values())
    assert len(found) == 1
    return found[0]


def deployment(least: int = 1, error: str | None = None) -> dict[str, t.Any]:
    """Return a deployment as it is read."""
    health = {"healthInfo": [{"error": error}]} if error else {}
    spec = {"gpu": "L40S", "instanceType": "NCP.GPU.L40S_2x", "minInstances": least, "maxInstances": 3}
    return {"deploymentSpecifications": [spec], **health}


def flux(**changes: t.Any) -> Wanted:
    """Return FLUX Dev on an L40S."""
    entry = {"node": "FLUX Dev", "gpu_tier": "l40s", "state": "present", **changes}
    (item,), _selections = resolve_all([entry], "nvidia", _catalog.load({}))
    return item


DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def test_own_image_of_a_tag() -> None:
    item, stock, own = flux(tag="1.2.0"), "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.0", "nvcr.io/o/flux.1-dev:1.2.0"
    assert objects.own_image(NvidiaSettings(org="o"), item) == own
    copied = objects.copy_commands(item, own)
    assert copied == f"docker pull {stock} && docker tag {stock} {own} && docker push {own}"


def test_own_image_of_a_digest_has_no_tag_because_nvidia_refuses_both() -> None:
    item, own = flux(tag=f"1.2.0@{DIGEST}"), f"nvcr.io/o/flux.1-dev@{DIGEST}"
    assert objects.own_image(NvidiaSettings(org="o"), item) == own
    assert objects.copy_commands(item, own).split() == [
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        f"docker://nvcr.io/nim/black-forest-labs/flux.1-dev@{DIGEST}",
        "docker://nvcr.io/o/flux.1-dev:1.2.0",
    ]


def test_an_image_of_the_studio_keeps_its_registry() -> None:
    catalog = _catalog.load({"FLUX Dev": {"image": "registry.studio.example:5000/flux"}})
    entry = {"node": "FLUX Dev", "gpu_tier": "l40s", "state": "present", "tag": f"1.2.3@{DIGEST}"}
    (item,), _selections = resolve_all([entry], "nvidia", catalog)
    assert objects.own_image(NvidiaSettings(), item) == f"registry.studio.example:5000/flux@{DIGEST}"


@pytest.mark.parametrize(
    ("status", "least", "error", "state", "reason"),
    [
        ("INACTIVE", None, None, "stopped", None),
        ("DEPLOYING", 1, None, "starting", "waiting for an instance with L40S"),
        ("DEPLOYING", 1, "no capacity", "starting", "no capacity"),
        ("ACTIVE", 1, None, "running", None),
        ("ACTIVE", 0, None, "stopped", None),
        ("DEGRADING", 1, None, "running", "some of its instances do not answer"),
        ("DEGRADED", 1, None, "starting", "no instance of it answers any more; NVIDIA starts another one"),
        ("ERROR", 1, "out of\nmemory", "failed", "out of memory"),
        ("ERROR", 1, None, "failed", "NVIDIA reports an error and gives no reason"),
        ("PAUSED", 1, None, "unknown", "NVIDIA reports the state PAUSED, which is not known here"),
    ],
)
def test_states(status: str, least: int | None, error: str | None, state: str, reason: str | None) -> None:
    read = None if least is None else deployment(least, error)
    found = objects.status(function(version(status)), read)
    assert (found.state, found.reason) == (state, reason)


def test_instances_count_where_they_are_told() -> None:
    instances = [{"instanceStatus": "STARTING"}]
    found = objects.status(function(version("DEPLOYING", activeInstances=instances)), deployment(2))
    assert (found.running, found.replicas) == (0, 2)
    assert found.reason == "an instance is there; the container starts and loads the model"
    awake = [{"instanceStatus": "ACTIVE"}, {"instanceStatus": "TERMINATED"}]
    found = objects.status(function(version(activeInstances=awake)), deployment(0))
    assert (found.state, found.running, found.replicas) == ("running", 1, 1)


def test_public_form() -> None:
    shown = objects.status(function(version()), deployment()).as_dict()
    assert shown["infer_url"] == "https://f.invocation.api.nvcf.nvidia.com/v1/infer"
    assert shown["health_url"] == "https://f.invocation.api.nvcf.nvidia.com/v1/health/ready"
    assert shown["deployed_at"] == "2026-11-23T10:00:01Z"


def test_the_newest_version_counts_and_an_old_one_may_run() -> None:
    found = function(version("INACTIVE", 2), version("ACTIVE", 1), version("INACTIVE", 0))
    assert found.current.version_id == "f-2"
    assert found.deployed is not None
    assert found.deployed.version_id == "f-1"
    assert [item.version_id for item in found.leftovers] == ["f-0"]


def test_of_two_functions_the_one_in_use_counts_else_the_first() -> None:
    assert function(version("INACTIVE", 1, "a"), version("ACTIVE", 2, "b")).current.function_id == "b"
    assert function(version("INACTIVE", 2, "b"), version("INACTIVE", 1, "a")).current.function_id == "a"


def test_only_ours_and_what_was_asked_for_is_read() -> None:
    foreign = version(containerEnvironment=[])
    assert objects.functions({"functions": [foreign]}, []) == {}
    assert not objects.functions({"functions": [foreign]}, ["nim-flux-dev-l40s"])["nim-flux-dev-l40s"].current.managed
    assert objects.functions({"functions": [version("DELETED")]}, ["nim-flux-dev-l40s"]) == {}


def test_a_key_that_comes_back_is_not_kept() -> None:
    entry = version()
    entry["containerEnvironment"].append({"key": "NGC_API_KEY", "value": "nvapi-CANARY"})
    assert "CANARY" not in repr(function(entry))


def test_body_and_specification_have_no_key() -> None:
    settings = NvidiaSettings(org="my-org", ngc_api_key="nvapi-CANARY0000000", hf_token="hf_CANARY0000000000")
    assert "CANARY" not in str(objects.function_body(settings, flux()))
    assert "CANARY" not in str(objects.function_spec(settings, flux()))
    assert str(objects.with_keys(settings, flux(), objects.function_body(settings, flux()))).count("CANARY") == 2


def test_a_mark_tells_nims_and_keys_apart() -> None:
    def mark(key: str, **changes: t.Any) -> str | None:
        return objects.keys_mark(NvidiaSettings(ngc_api_key=key, hf_token="hf_1"), flux(**changes))

    assert mark("a") == mark("a")
    assert len({mark("a"), mark("b"), mark("a", gpu_tier="h100")}) == 3
    assert objects.keys_mark(NvidiaSettings(hf_token="hf_1"), flux()) is None


def test_a_port_of_the_studio() -> None:
    body = objects.function_body(NvidiaSettings(org="o"), flux(env={"NIM_HTTP_API_PORT": "9000"}))
    variables = {entry["key"]: entry["value"] for entry in body["containerEnvironment"]}
    assert (body["inferencePort"], body["health"]["port"], variables["NIM_SERVER_PORT"]) == (9000, 9000, "9000")


# ---- kinds of instance -----------------------------------------------------------------------------------------------

OFFERS = objects.offers(
    {
        "clusterGroups": [
            {
                "gpus": [
                    {"name": "L40S", "instanceTypes": [{"name": "B_1x"}, {"name": "A_2x"}, {"name": "A_1x"}]},
                    {"name": "A100_80GB", "instanceTypes": [{"name": "OCI.A100_80GB_1x"}]},
                ]
            },
            {"gpus": [{"name": "L40S", "instanceTypes": [{"name": "C_1x", "default": True}]}], "clusters": []},
        ]
    }
)


@pytest.mark.parametrize(("name", "gpus"), [("DGX-CLOUD.GPU.L40_2x", 2), ("g6.full", 1), ("OCI.GPU.H100_8x.x4", 8)])
def test_gpus_of_an_instance(name: str, gpus: int) -> None:
    assert objects.gpus_of(name) == gpus


def test_nvidias_default_is_taken_first() -> None:
    assert objects.choose(NvidiaSettings(), flux(), OFFERS).instance_type == "C_1x"


def test_names_of_gpus_are_compared_without_separators() -> None:
    item = flux(gpu_tier="a100-80gb")
    assert objects.choose(NvidiaSettings(), item, OFFERS).gpu == "A100_80GB"


def test_the_number_of_gpus_counts() -> None:
    entry = {"node": "Mixtral", "gpu_tier": "l40s", "state": "present"}
    (item,), _selections = resolve_all([entry], "nvidia", _catalog.load({}))
    with pytest.raises(ValueError, match=r"no instance type with 4 L40S\. It offers: L40S"):
        objects.choose(NvidiaSettings(), item, OFFERS)


def test_a_key_that_may_not_list_them() -> None:
    with pytest.raises(ValueError, match=r"scope list_cluster_groups\); set instance_types, for example"):
        objects.choose(NvidiaSettings(), flux(), None)
    settings = NvidiaSettings(instance_types={"l40s": "X_1x"})
    assert objects.choose(settings, flux(), None) == objects.Offer("L40S", "X_1x")
