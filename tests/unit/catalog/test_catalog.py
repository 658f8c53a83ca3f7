# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _gpu

NEW_NODE: t.Mapping[str, t.Any] = {
    "kind": "image",
    "image": "registry.example.com:5000/nim/upscaler",
    "tag": "2.1.0",
    "min_gpu_memory_gib": 20,
    "min_host_memory_gib": 32,
}


def problems_of(overrides: t.Any) -> list[str]:
    with pytest.raises(_catalog.CatalogError) as caught:
        _catalog.load(overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("node", _catalog.CATALOG.values(), ids=lambda node: node.slug)
def test_every_node_is_complete(node: _catalog.Node) -> None:
    assert node.source
    assert node.kind in _catalog.KINDS
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", node.slug)
    assert node.infer_path == ("/v1/chat/completions" if node.kind == "llm" else "/v1/infer")
    assert node.variant is None or node.variant in node.variants
    assert set(node.listed_tiers) <= set(node.gpus_by_tier) <= set(_gpu.TIERS)
    if node.image is None:
        assert node.tag is None
        assert node.hosted_url
    else:
        assert re.fullmatch(r"nvcr\.io/nim/[a-z-]+/[a-z0-9.-]+", node.image)
        assert node.tag not in (None, "latest")
        assert node.licences
        assert min(node.min_gpu_memory_gib, node.min_host_memory_gib) > 0


def test_every_word_stands_for_one_node() -> None:
    owners: dict[str, str] = {}
    for node in _catalog.CATALOG.values():
        for word in {node.slug, *map(_catalog.slugify, (node.name, *node.aliases))}:
            assert owners.setdefault(word, node.name) == node.name


@pytest.mark.parametrize("name", ["FLUX Dev", "flux dev", "flux-dev", "FLUX.1-dev", "Flux.1 [dev]"])
def test_find_by_name_slug_and_alias(name: str) -> None:
    assert _catalog.find(_catalog.CATALOG, name).name == "FLUX Dev"


def test_find_suggests() -> None:
    with pytest.raises(_catalog.UnknownNodeError) as caught:
        _catalog.find(_catalog.CATALOG, "FLUX Devv")
    assert "Did you mean 'FLUX Dev'?" in str(caught.value)
    assert "TRELLIS" in str(caught.value)


def test_flux_variants_share_one_image() -> None:
    nodes = [_catalog.CATALOG[name] for name in ("FLUX Dev", "FLUX Canny", "FLUX Depth")]
    assert len({(node.image, node.tag, node.variants) for node in nodes}) == 1
    assert [node.variant for node in nodes] == ["base", "canny", "depth"]


def test_sdxl_is_hosted_only() -> None:
    sdxl = _catalog.CATALOG["SDXL"]
    assert sdxl.hosted_only
    assert "SD 3.5 Large" in sdxl.notes


@pytest.mark.parametrize(
    ("name", "expected"),
    [("FLUX Dev", True), ("FLUX Canny", True), ("FLUX Kontext", True), ("FLUX Schnell", False), ("Llama 3.1", False)],
)
def test_licence_warning(name: str, expected: bool) -> None:
    warning = _catalog.licence_warning(_catalog.CATALOG[name])
    assert bool(warning) is expected
    if warning:
        assert "does not allow commercial work" in warning


def test_load_without_overrides() -> None:
    assert _catalog.load() == _catalog.load({}) == dict(_catalog.CATALOG)
    assert _catalog.load() is not _catalog.CATALOG


def test_override_of_one_field_leaves_the_others() -> None:
    catalog = _catalog.load({"flux.1-dev": {"tag": "1.2.0"}})
    assert catalog["FLUX Dev"].tag == "1.2.0"
    assert catalog["FLUX Dev"].image == _catalog.CATALOG["FLUX Dev"].image
    assert list(catalog) == list(_catalog.CATALOG)
    assert _catalog.CATALOG["FLUX Dev"].tag == "1.2.3"


def test_override_of_gpu_counts_narrows_the_listed_tiers() -> None:
    node = _catalog.load({"Llama 3.1": {"gpus_by_tier": {"A10G": 2, "l4": 1}}})["Llama 3.1"]
    assert node.gpus_by_tier == {"a10g": 2, "l4": 1}
    assert node.listed_tiers == ("a10g",)


def test_new_node_gets_defaults() -> None:
    node = _catalog.load({"Studio Upscaler": NEW_NODE})["Studio Upscaler"]
    assert (node.slug, node.infer_path, node.verified, node.min_compute_capability) == (
        "studio-upscaler",
        "/v1/infer",
        False,
        (8, 0),
    )
    assert _catalog.load({"Chat": {**NEW_NODE, "kind": "llm"}})["Chat"].infer_path == "/v1/chat/completions"


@pytest.mark.parametrize("written", ["8.9", 8.9])
def test_compute_capability_forms(written: t.Any) -> None:
    node = _catalog.load({"New": {**NEW_NODE, "min_compute_capability": written}})["New"]
    assert node.min_compute_capability == (8, 9)


def test_licences_as_texts_and_mappings() -> None:
    licences = ["plain", {"name": "strict", "url": "https://example.com", "non_commercial": True}]
    node = _catalog.load({"New": {**NEW_NODE, "licences": licences}})["New"]
    assert node.licences == (_catalog.Licence("plain"), _catalog.Licence("strict", "https://example.com", True))
    assert node.non_commercial


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("min_gpu_memory_gib", "16", "must be a whole number of GiB"),
        ("min_gpu_memory_gib", True, "must be a whole number of GiB"),
        ("min_host_memory_gib", 0, "must be a whole number of GiB"),
        ("shm_gib", -1, "must be a whole number of GiB, 0 or more"),
        ("tag", 1.2, "must be an image tag as text, in quotes"),
        ("image", "nvcr.io/nim/meta/llama:1.0", "without tag or digest"),
        ("image", "llama", "must be registry/path"),
        ("kind", "video", "must be one of image, llm, 3d"),
        ("slug", "My Node", "lower-case letters"),
        ("slug", "x" * 31, "at most 30"),
        ("aliases", "FLUX", "must be a list of texts"),
        ("needs_hf_token", "yes", "must be true or false"),
        ("min_compute_capability", 9, "must be a compute capability such as '8.9'"),
        ("gpus_by_tier", ["l40s"], "must be a mapping of GPU tiers"),
        ("gpus_by_tier", {"l40s": 0}, "whole number of GPUs, at least 1, for tier 'l40s'"),
        ("gpus_by_tier", {"l41s": 1}, "Did you mean"),
        ("listed_tiers", ["cpu"], "every NIM needs an NVIDIA GPU"),
        ("licences", [{"title": "x"}], "must be a list of texts, or of mappings"),
        ("licences", [{"url": "https://x.example"}], "must be a list of texts, or of mappings"),
        ("hosted_url", "http://example.com", "starts with https://"),
        ("infer_path", "/infer", "must be one of /v1/infer"),
        ("variant", "canny", "'canny' is not among variants (none)"),
        ("notes", 5, "must be a text"),
        ("source", "", "must be a text that is not empty"),
    ],
)
def test_wrong_field_is_named_with_its_path(field: str, value: t.Any, message: str) -> None:
    [problem] = problems_of({"My Node": {**NEW_NODE, field: value}})
    assert problem.startswith(f"nim_catalog['My Node'].{field}: ")
    assert message in problem


def test_all_problems_at_once() -> None:
    problems = problems_of(
        {
            "My Node": {"kind": "image", "min_gpu_memry_gib": 20},
            "FLUX Dev": {"tag": 1.2},
            "Empty": None,
            7: {},
        }
    )
    assert problems == [
        "nim_catalog['My Node'].min_gpu_memry_gib: there is no such field; did you mean 'min_gpu_memory_gib'?",
        "nim_catalog['My Node'].image: is missing; a new node needs it",
        "nim_catalog['My Node'].tag: is missing; a new node needs it",
        "nim_catalog['My Node'].min_gpu_memory_gib: is missing; a new node needs it",
        "nim_catalog['My Node'].min_host_memory_gib: is missing; a new node needs it",
        "nim_catalog['FLUX Dev'].tag: must be an image tag as text, in quotes, such as '1.2.3', not 1.2",
        "nim_catalog['Empty']: must be a mapping of fields",
        "nim_catalog['7']: the name of a node must be a text with letters or digits",
    ]


@pytest.mark.parametrize("overrides", [[], "x", 3])
def test_catalog_itself_has_the_wrong_form(overrides: t.Any) -> None:
    assert problems_of(overrides) == ["nim_catalog must be a mapping of node names to their fields"]


def test_names_that_clash() -> None:
    [problem] = problems_of({"My Node": {**NEW_NODE, "aliases": ["flux dev"]}})
    assert problem == "nim_catalog['My Node']: 'flux-dev' already stands for 'FLUX Dev'"


def test_long_name_needs_a_slug() -> None:
    name = "A node with a name that is much too long"
    [problem] = problems_of({name: NEW_NODE})
    assert f"nim_catalog[{name!r}].slug: is missing" in problem
    assert _catalog.load({name: {**NEW_NODE, "slug": "short"}})[name].slug == "short"


def test_hosted_only_node_can_be_given_an_image() -> None:
    [tag, gpu, host] = problems_of({"SDXL": {"image": "registry.example.com/nim/sdxl"}})
    assert "SDXL'].tag: is missing; SDXL is hosted only so far" in tag
    assert "min_gpu_memory_gib" in gpu
    assert "min_host_memory_gib" in host
    override = {key: value for key, value in NEW_NODE.items() if key != "kind"}
    assert not _catalog.load({"SDXL": override})["SDXL"].hosted_only


def test_listed_tier_without_a_gpu_count() -> None:
    [problem] = problems_of({"New": {**NEW_NODE, "gpus_by_tier": {"l40s": 1}, "listed_tiers": ["h100"]}})
    assert problem == "nim_catalog['New'].listed_tiers: h100 not in gpus_by_tier"
