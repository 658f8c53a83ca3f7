# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _artists, _catalog

NOW = "2026-11-23T10:00:00Z"
LATER = "2026-11-24T10:00:00Z"


def deployment(name: str = "nim-flux-dev-l40s", node: str = "FLUX Dev", **changes: t.Any) -> dict[str, t.Any]:
    base = f"https://nim.example.com/{name.removeprefix('nim-')}"
    found = {
        "name": name,
        "node": node,
        "serves": [node],
        "variants": {},
        "gpu_tier": "l40s",
        "image": "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3",
        "kind": "image",
        "replicas": 1,
        "running": 0,
        "state": "stopped",
        "reason": None,
        "endpoint": base,
        "infer_url": base + "/v1/infer",
        "health_url": base + "/v1/health/ready",
        "region": "us-east-1",
        "deployed_at": "2026-11-20T08:00:00Z",
    }
    found.update(changes)
    return found


def target(name: str = "aws-us", provider: str = "aws", *deployments: t.Any, **changes: t.Any) -> dict[str, t.Any]:
    found = {
        "target": name,
        "provider": provider,
        "region": "us-east-1",
        "read": True,
        "error": None,
        "deployments": list(deployments),
    }
    found.update(changes)
    return found


def unread(name: str = "aws-us", provider: str = "aws") -> dict[str, t.Any]:
    return target(name, provider, read=False, error="The credentials have expired.")


def document(targets: t.Any, published: t.Any = None, at: str = NOW, **options: t.Any) -> dict[str, t.Any]:
    return _artists.artists_config(targets, published, generated_at=at, catalog=_catalog.CATALOG, **options)


def test_the_whole_document() -> None:
    assert document([target("aws-us", "aws", deployment())]) == {
        "version": "1.0",
        "generated_at": NOW,
        "nim_endpoints": {
            "FLUX Dev": {
                "aws": [
                    {
                        "url": "https://nim.example.com/flux-dev-l40s",
                        "gpu_tier": "l40s",
                        "infer_url": "https://nim.example.com/flux-dev-l40s/v1/infer",
                        "health_url": "https://nim.example.com/flux-dev-l40s/v1/health/ready",
                        "region": "us-east-1",
                        "target": "aws-us",
                        "deployed_at": "2026-11-20T08:00:00Z",
                        "api_style": "nim-infer",
                        "auth": "none",
                    }
                ]
            }
        },
        "credentials_status": {"nvidia": False, "aws": False, "azure": False, "gcp": False},
    }


def test_without_endpoint_there_is_no_entry() -> None:
    assert document([target("aws-us", "aws", deployment(endpoint=None))])["nim_endpoints"] == {}


def test_what_comes_and_goes_is_not_in_it() -> None:
    stopped = document([target("aws-us", "aws", deployment())])
    running = document([target("aws-us", "aws", deployment(state="running", running=1))], stopped, LATER)
    failed = document([target("aws-us", "aws", deployment(state="failed", reason="No GPU."))], stopped, LATER)
    assert stopped == running == failed


@pytest.mark.parametrize(
    ("provider", "key", "auth"),
    [
        ("aws", "aws", "none"),
        ("azure", "azure", "none"),
        ("gcp", "gcp", "none"),
        ("nvidia", "nvidia-hosted", "bearer"),
        ("local", "local", "none"),
    ],
)
def test_provider_keys(provider: str, key: str, auth: str) -> None:
    endpoints = document([target("one", provider, deployment())])["nim_endpoints"]["FLUX Dev"]
    assert [(found, entry["auth"]) for found, [entry] in endpoints.items()] == [(key, auth)]


@pytest.mark.parametrize(
    ("node", "kind", "style"),
    [
        ("Llama 3.1", "llm", "openai"),
        ("FLUX Dev", "image", "nim-infer"),
        ("Unknown", "llm", "openai"),
        ("X", "3d", "nim-infer"),
    ],
)
def test_api_style(node: str, kind: str, style: str) -> None:
    endpoints = document([target("aws-us", "aws", deployment(node=node, kind=kind))])["nim_endpoints"]
    assert endpoints[node]["aws"][0]["api_style"] == style


@pytest.mark.parametrize(
    ("provider", "node", "model"),
    [
        ("nvidia", "Llama 3.1", "meta/llama-3.1-8b-instruct"),
        ("nvidia", "FLUX Dev", None),
        ("nvidia", "Unknown", None),
        ("aws", "Llama 3.1", None),
    ],
)
def test_language_models_at_nvidia_say_their_name(provider: str, node: str, model: str | None) -> None:
    kind = "image" if node == "FLUX Dev" else "llm"
    [[entry]] = document([target("one", provider, deployment(node=node, kind=kind))])["nim_endpoints"][node].values()
    assert entry.get("model") == model


def test_one_deployment_for_several_nodes() -> None:
    served = deployment(
        serves=["FLUX Dev", "FLUX Canny", "FLUX Depth"],
        variants={"FLUX Dev": "base", "FLUX Canny": "canny", "FLUX Depth": "depth"},
    )
    endpoints = document([target("aws-us", "aws", served)])["nim_endpoints"]
    modes = {node: [entry["mode"] for entry in providers["aws"]] for node, providers in endpoints.items()}
    assert modes == {"FLUX Canny": ["canny"], "FLUX Depth": ["depth"], "FLUX Dev": ["base"]}
    assert len({providers["aws"][0]["url"] for providers in endpoints.values()}) == 1
    alone = document([target("aws-us", "aws", deployment(variants={"FLUX Dev": "base"}))])
    assert "mode" not in alone["nim_endpoints"]["FLUX Dev"]["aws"][0]


def test_order_does_not_depend_on_the_order_of_reading() -> None:
    targets = [
        target("gcp-1", "gcp", deployment("nim-phi-3-l4", "Phi-3", gpu_tier="l4"), deployment()),
        target("aws-us", "aws", deployment("nim-flux-dev-h100", gpu_tier="h100"), deployment()),
        target("aws-eu", "aws", deployment()),
        target("box", "local", deployment("nim-llama-3-l4", "llama 3")),
    ]
    forward, backward = document(targets), document(list(reversed(targets)))
    assert json.dumps(forward) == json.dumps(backward)
    assert list(forward["nim_endpoints"]) == ["FLUX Dev", "llama 3", "Phi-3"]
    assert list(forward["nim_endpoints"]["FLUX Dev"]) == ["aws", "gcp"]
    order = [(entry["target"], entry["gpu_tier"]) for entry in forward["nim_endpoints"]["FLUX Dev"]["aws"]]
    assert order == [("aws-eu", "l40s"), ("aws-us", "h100"), ("aws-us", "l40s")]


def test_unchanged_content_keeps_its_time_and_bytes() -> None:
    targets = [target("aws-us", "aws", deployment()), target("gcp-1", "gcp", deployment())]
    first = document(targets)
    again = document(targets, json.loads(json.dumps(first)), LATER)
    assert json.dumps(again) == json.dumps(first)
    assert document([*targets, target("box", "local", deployment())], first, LATER)["generated_at"] == LATER
    assert document(targets, first, LATER, credentials_status={"aws": True})["generated_at"] == LATER


def test_unread_target_keeps_what_was_published() -> None:
    both = [
        target("aws-us", "aws", deployment()),
        target("gcp-1", "gcp", deployment(), deployment("nim-phi-3-l4", "Phi-3")),
    ]
    first = document(both)
    second = document([both[0], unread("gcp-1", "gcp")], first, LATER)
    assert second["generated_at"] == LATER
    assert second["nim_endpoints"]["FLUX Dev"]["aws"] == first["nim_endpoints"]["FLUX Dev"]["aws"]
    for node in ("FLUX Dev", "Phi-3"):
        [old], [kept] = first["nim_endpoints"][node]["gcp"], second["nim_endpoints"][node]["gcp"]
        assert kept == {**old, "stale": True}
    assert document([both[0], unread("gcp-1", "gcp")], second, "2026-12-01T00:00:00Z") == second
    back = document(both, second, LATER)
    assert back == {**first, "generated_at": LATER}


def test_unread_target_removes_nothing_of_another_one() -> None:
    same_provider = [target("aws-eu", "aws", deployment()), target("aws-us", "aws", deployment())]
    first = document(same_provider)
    second = document([target("aws-eu", "aws"), unread("aws-us")], first, LATER)
    assert [entry["target"] for entry in second["nim_endpoints"]["FLUX Dev"]["aws"]] == ["aws-us"]


def test_everything_unread_and_nothing_published() -> None:
    assert document([unread()])["nim_endpoints"] == {}


def test_what_an_unread_target_hands_over_is_not_believed() -> None:
    half = {**unread(), "deployments": [deployment()]}
    assert document([half])["nim_endpoints"] == {}


def test_target_that_left_the_inventory_goes() -> None:
    first = document([target("aws-us", "aws", deployment()), target("gcp-1", "gcp", deployment())])
    second = document([target("aws-us", "aws", deployment())], first, LATER)
    assert list(second["nim_endpoints"]["FLUX Dev"]) == ["aws"]


def test_inputs_are_not_changed() -> None:
    targets = [target("aws-us", "aws", deployment()), unread("gcp-1", "gcp")]
    published = document([target("aws-us", "aws"), target("gcp-1", "gcp", deployment())])
    before = copy.deepcopy((targets, published))
    document(targets, published, LATER)
    assert (targets, published) == before


def test_credentials_status() -> None:
    status = document([], credentials_status={"aws": True})["credentials_status"]
    assert status == {"nvidia": False, "aws": True, "azure": False, "gcp": False}


@pytest.mark.parametrize("given", [{"aws": "yes"}, {"local": True}, ["aws"]])
def test_wrong_credentials_status(given: t.Any) -> None:
    with pytest.raises(_artists.ArtistsError, match="credentials_status"):
        document([], credentials_status=given)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({}, "targets: must be a list"),
        (["aws-us"], r"targets\[0\]: must be a mapping"),
        ([{"target": "one"}], r"targets\[0\]: has no provider, read"),
        ([target("one", "oracle")], r"targets\[0\]\.provider: must be one of aws"),
        ([target("one"), target("one", "gcp")], r"targets\[1\]: the target 'one' is there twice"),
    ],
)
@pytest.mark.parametrize("make", [document, _artists.provider_endpoints])
def test_wrong_targets(make: t.Callable[[t.Any], t.Any], targets: t.Any, message: str) -> None:
    with pytest.raises(_artists.ArtistsError, match=message):
        make(targets)


@pytest.mark.parametrize(
    ("published", "message"),
    [
        (["x"], "has no mapping nim_endpoints"),
        ({"version": "1.0"}, "has no mapping nim_endpoints"),
        ({"nim_endpoints": {"FLUX Dev": []}}, r"nim_endpoints\['FLUX Dev'\]: must be a mapping of providers"),
        ({"nim_endpoints": {"FLUX Dev": {"aws": ["x"]}}}, r"\['FLUX Dev'\]\['aws'\]: must be a list of mappings"),
    ],
)
def test_damaged_published_document(published: t.Any, message: str) -> None:
    with pytest.raises(_artists.ArtistsError, match=message) as caught:
        document([unread()], published)
    assert "remove it to start anew" in str(caught.value)


@pytest.mark.parametrize("published", [None, {}, ""])
def test_nothing_published_yet(published: t.Any) -> None:
    assert document([target("aws-us", "aws", deployment())], published)["nim_endpoints"]


def test_provider_endpoints_take_the_first_target_and_the_base_address() -> None:
    targets = [
        target("aws-us", "aws", deployment()),
        target(
            "aws-eu",
            "aws",
            deployment(
                "nim-phi-3-l4",
                "Phi-3",
                endpoint="https://eu.example.com:8443/phi-3-l4",
                deployed_at="2026-11-21T08:00:00Z",
            ),
            deployment(endpoint="https://eu.example.com:8443/flux-dev-l40s"),
            deployment("nim-sdxl", "SDXL", endpoint="https://other.example.com", deployed_at="2026-11-22T08:00:00Z"),
            region="eu-central-1",
        ),
        target("aws-ap", "aws", deployment(endpoint=None)),
        target(
            "nv", "nvidia", deployment(endpoint="https://ai.api.nvidia.com/v1/genai/x", deployed_at=None), region=None
        ),
    ]
    expected = {
        "aws": {
            "endpoint": "https://eu.example.com:8443",
            "region": "eu-central-1",
            "deployed_at": "2026-11-21T08:00:00Z",
            "target": "aws-eu",
        },
        "nvidia-hosted": {"endpoint": "https://ai.api.nvidia.com", "region": None, "deployed_at": None, "target": "nv"},
    }
    assert _artists.provider_endpoints(targets) == expected
    assert json.dumps(_artists.provider_endpoints(list(reversed(targets)))) == json.dumps(expected)


def test_provider_endpoints_keep_an_unread_target() -> None:
    targets = [
        target("aws-eu", "aws", deployment()),
        target("aws-us", "aws", deployment(endpoint="https://us.example.com/x")),
    ]
    first = _artists.provider_endpoints(targets)
    second = _artists.provider_endpoints([unread("aws-eu"), targets[1]], first)
    assert second == {"aws": {**first["aws"], "stale": True}}
    assert _artists.provider_endpoints([unread("aws-eu"), targets[1]], second) == second
    assert _artists.provider_endpoints(targets, second) == first


def test_provider_endpoints_prefer_a_read_target_to_one_never_published() -> None:
    found = _artists.provider_endpoints([unread("aws-eu"), target("aws-us", "aws", deployment())])
    assert found["aws"]["target"] == "aws-us"
    assert "stale" not in found["aws"]


def test_provider_endpoints_drop_what_left_the_inventory() -> None:
    first = _artists.provider_endpoints([target("gone", "gcp", deployment())])
    assert _artists.provider_endpoints([unread("other", "gcp")], first) == {}


@pytest.mark.parametrize("published", [["x"], {"aws": "https://example.com"}])
def test_provider_endpoints_with_damaged_published(published: t.Any) -> None:
    with pytest.raises(_artists.ArtistsError, match="published"):
        _artists.provider_endpoints([unread()], published)


def test_a_target_that_is_switched_off_keeps_what_was_published_as_it_is() -> None:
    azure = target("aks", "azure", deployment(endpoint="https://nim.example.com/x"))
    asleep = {**unread("aks", "azure"), "asleep": True}
    first = document([azure])
    assert document([asleep], first, LATER) == first
    assert _artists.provider_endpoints([asleep], _artists.provider_endpoints([azure])) == (
        _artists.provider_endpoints([azure])
    )


def test_says_where_an_artists_identity_starts_a_nim() -> None:
    """The name is the deployment's, of each node that it serves; a target that cannot be controlled says nothing."""
    ecs = {"kind": "ecs", "region": "us-east-1", "cluster": "budgetguard"}
    both = deployment(serves=["FLUX Canny", "FLUX Dev"])
    found = document([target("aws-us", "aws", both, control=ecs), target("aws-eu", "aws", deployment(), control=None)])
    told = {**ecs, "name": "nim-flux-dev-l40s", "start_minutes": 30}
    entries = [entry for providers in found["nim_endpoints"].values() for entry in providers["aws"]]
    assert [(entry["target"], entry.get("control")) for entry in entries] == [
        ("aws-us", told),
        ("aws-eu", None),
        ("aws-us", told),
    ]
