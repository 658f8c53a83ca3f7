# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the option deployments to what should exist, and everything that is refused on the way."""

from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    DeploymentsError,
    Selection,
    Status,
    Wanted,
    decode_serves,
    encode_serves,
    resolve_all,
)


def resolve(*options: dict[str, t.Any], catalog: t.Any = None) -> tuple[list[Wanted], list[Selection]]:
    entries = [{"state": "present", "gpu_tier": None, **option} for option in options]
    return resolve_all(entries, "aws", _catalog.load(catalog or {}))


def test_a_node_is_resolved_with_machine_image_and_name() -> None:
    (wanted,), _selections = resolve({"node": "flux dev"})
    assert (wanted.name, wanted.gpu_tier, wanted.machine_name) == ("nim-flux-dev-l40s", "l40s", "g6e.2xlarge")
    assert wanted.image == "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"
    assert wanted.serves == {"FLUX Dev": "base"}
    assert wanted.needs_hf_token
    assert not wanted.start


@pytest.mark.parametrize(("option", "start"), [({}, False), ({"state": "started"}, True), ({"always_on": True}, True)])
def test_only_started_and_always_on_switch_on(option: dict[str, t.Any], start: bool) -> None:
    (wanted,), _selections = resolve({"node": "FLUX Dev", **option})
    assert wanted.start is start


def test_variants_serve_several_nodes_and_are_marked_unverified() -> None:
    (wanted,), _selections = resolve({"node": "FLUX Dev", "variants": ["base", "canny", "depth"]})
    assert wanted.serves == {"FLUX Dev": "base", "FLUX Canny": "canny", "FLUX Depth": "depth"}
    assert any("unverified" in warning for warning in wanted.warnings)


def test_a_non_commercial_licence_is_told() -> None:
    (wanted,), _selections = resolve({"node": "FLUX Dev"})
    assert any("does not allow commercial work" in warning for warning in wanted.warnings)


REFUSED = [
    pytest.param({"node": "FLUX Dev", "gpu_tier": "t4"}, "smallest tier on aws that would do is l40s", id="flux-on-t4"),
    pytest.param(
        {"node": "FLUX Dev", "gpu_tier": "a10g", "machine": "g5.xlarge"}, "16 GiB of host memory", id="host-memory"
    ),
    pytest.param({"node": "FLUX Dev", "gpu_tier": "cpu"}, "every NIM needs an NVIDIA GPU", id="cpu"),
    pytest.param({"node": "FLUX Dev", "gpu_tier": "a100"}, "p4d.24xlarge", id="eight-gpus-for-one"),
    pytest.param({"node": "SDXL"}, "no container image", id="hosted-only"),
    pytest.param({"node": "FLUX Dve"}, "FLUX Dev", id="typing-error"),
    pytest.param({"node": "FLUX Dev", "replicas": 0}, "replicas is 0", id="no-replicas"),
    pytest.param({"node": "FLUX Dev", "variants": ["sketch"]}, "sketch", id="unknown-variant"),
    pytest.param({"node": "FLUX Dev", "tag": "flux:1"}, "tag must be an image tag as text", id="wrong-tag"),
    pytest.param({"node": "FLUX Dev", "env": {"A B": "1"}}, "env: 'A B' is no name of", id="no-variable"),
    pytest.param({"node": "FLUX Dev", "env": {"A": None}}, "env: the value of A must be a text", id="no-value"),
    pytest.param({"node": "FLUX Dev", "env": {"A": True}}, "env: the value of A must be a text", id="true-or-True"),
    pytest.param({"node": "FLUX Dev", "env": {"HF_TOKEN": "hf"}}, "env: HF_TOKEN is a secret", id="key-for-all-to-see"),
    pytest.param({"node": "FLUX Dev", "tag": "1.2.3@sha256:12"}, "tag has no digest after the @", id="wrong-digest"),
]


@pytest.mark.parametrize(("option", "text"), REFUSED)
def test_refused(option: dict[str, t.Any], text: str) -> None:
    with pytest.raises(DeploymentsError) as raised:
        resolve(option)
    assert text in str(raised.value)
    assert str(raised.value).startswith(f"deployments[0] ({option['node']}): ")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(DeploymentsError) as raised:
        resolve(
            {"node": "FLUX Dev", "gpu_tier": "t4"},
            {"node": "Llama 3.1", "gpu_tier": "l4"},
            {"node": "Llama 3.1", "gpu_tier": "l4"},
            {"node": "Llama 3.1", "state": "absent"},
        )
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("deployments[0] (FLUX Dev)")
    assert "nim-llama-3-1-l4 is asked for more than once" in lines[1]
    assert "nim-llama-3-1-l4 is asked for and absent in the same call" in lines[2]


def test_a_studio_extends_and_overrides_the_catalogue() -> None:
    (wanted,), _selections = resolve({"node": "FLUX Dev"}, catalog={"FLUX Dev": {"tag": "9.9.9"}})
    assert wanted.image.endswith(":9.9.9")


def test_a_digest_stands_behind_the_tag() -> None:
    tag = f"1.2.0@sha256:{'a' * 64}"
    (wanted,), _selections = resolve({"node": "FLUX Dev", "tag": tag})
    assert wanted.image == f"nvcr.io/nim/black-forest-labs/flux.1-dev:{tag}"


def test_a_whole_number_is_the_text_of_a_variable() -> None:
    (wanted,), _selections = resolve({"node": "FLUX Dev", "env": {"NIM_MAX_IMAGES": 2, "NIM_LOG_LEVEL": "DEBUG"}})
    assert wanted.env == {"NIM_MAX_IMAGES": "2", "NIM_LOG_LEVEL": "DEBUG"}


def test_a_selection_means_all_tiers_or_one() -> None:
    _wanted, (every, one) = resolve(
        {"node": "flux dev", "state": "stopped"}, {"node": "Gone", "gpu_tier": "L4", "state": "absent"}
    )
    assert every.matches(Status("x", "FLUX Dev", "h100"))
    assert not every.matches(Status("x", "FLUX Depth", "h100"))
    assert one.matches(Status("x", "Gone", "l4"))
    assert not one.matches(Status("x", "Gone", "l40s"))


def test_serves_survives_a_tag() -> None:
    serves = {"FLUX Dev": "base", "Llama 3.1": ""}
    assert decode_serves(encode_serves(serves)) == serves


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp", "local", "nvidia"])
def test_modules_describe_all_that_they_say_of_a_nim(provider: str) -> None:
    said = set(Status("nim-a", "a", "l4").as_dict())
    described = _returned(f"nim_{provider}")["deployments"]["contains"]
    assert set(described) == said | {"changed", "steps", "error"}
    (sample,) = _returned(f"nim_{provider}_info")["deployments"]["sample"]
    assert set(sample) == said


def _returned(module: str) -> dict[str, t.Any]:
    source = importlib.import_module(f"ansible_collections.budgetguard.techops.plugins.modules.{module}")
    found: dict[str, t.Any] = yaml.safe_load(source.RETURN)
    return found
