# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter import (
    artists_config,
    nim_node_names,
    nim_skipped,
    nim_status,
    nim_wanted,
    provider_endpoints,
)

FILTERS = (artists_config, nim_node_names, nim_skipped, nim_status, nim_wanted, provider_endpoints)
GROUPS = {"all": ["aws-us"], "nim_providers": ["aws-us"], "aws": ["aws-us"]}
TARGETS = [
    {
        "target": "aws-us",
        "provider": "aws",
        "region": "us-east-1",
        "read": True,
        "deployments": [{"name": "nim-my-node-l40s", "node": "My Node", "endpoint": "https://x.example/my-node-l40s"}],
    }
]
OWN_NODE = {
    "My Node": {
        "kind": "llm",
        "image": "registry.example.com/nim/mine",
        "tag": "1",
        "min_gpu_memory_gib": 16,
        "min_host_memory_gib": 16,
    }
}


def call(name: str, *arguments: t.Any, **options: t.Any) -> t.Any:
    [module] = [module for module in FILTERS if module.__name__.endswith(f".{name}")]
    return module.FilterModule().filters()[name](*arguments, **options)


@pytest.mark.parametrize("module", FILTERS, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def test_documentation_names_every_argument(module: t.Any) -> None:
    path = Path(module.__file__)
    documented = yaml.safe_load(path.with_suffix(".yml").read_text(encoding="utf-8"))["DOCUMENTATION"]
    [(name, function)] = module.FilterModule().filters().items()
    arguments = list(function.__code__.co_varnames[1 : function.__code__.co_argcount])
    options = [option for option in documented["options"] if option != "_input"]
    assert name == documented["name"] == path.stem
    assert sorted(options) == sorted(arguments)
    positional = documented.get("positional", "").replace(" ", "").split(",")
    assert [word for word in positional if word] == arguments[: len([word for word in positional if word])]
    defaults = dict(zip(reversed(arguments), reversed(function.__defaults__ or ()), strict=False))
    for option, default in defaults.items():
        assert documented["options"][option].get("default") == default


def test_nim_wanted_knows_the_studios_own_nodes() -> None:
    [deployment] = call("nim_wanted", {"my node": {"aws": "present"}}, "aws-us", GROUPS, catalog=OWN_NODE)
    assert deployment["node"] == "My Node"


def test_nim_wanted_and_nim_skipped_are_two_halves() -> None:
    wanted = call("nim_wanted", {}, "aws-us", GROUPS, nodes="all")
    skipped = call("nim_skipped", {}, "aws-us", GROUPS, nodes="all")
    assert [item["node"] for item in skipped] == ["SDXL"]
    assert "SDXL" not in [item["node"] for item in wanted]


def test_artists_config_uses_the_studios_own_nodes() -> None:
    document = call("artists_config", TARGETS, "2026-11-23T10:00:00Z", catalog=OWN_NODE)
    assert document["nim_endpoints"]["My Node"]["aws"][0]["api_style"] == "openai"


def test_provider_endpoints() -> None:
    assert call("provider_endpoints", TARGETS)["aws"]["endpoint"] == "https://x.example"


def test_nim_status() -> None:
    status = call("nim_status", TARGETS)
    assert status["rows"][0]["state"] == "unknown"
    assert status["lines"][-1] == "1 NIM: 1 unknown."


@pytest.mark.parametrize(
    ("name", "arguments", "options", "message"),
    [
        ("nim_wanted", [{"FLUX Dev": {"awss": "present"}}, "aws-us", GROUPS], {}, "did you mean 'aws'"),
        ("nim_wanted", [{}, "aws-us", GROUPS], {"catalog": {"New": {}}}, r"nim_catalog\['New'\]\.kind"),
        ("nim_skipped", [{}, "elsewhere", GROUPS], {}, "no host 'elsewhere'"),
        ("nim_skipped", [{}, "aws-us", GROUPS], {"catalog": []}, "nim_catalog must be a mapping"),
        ("artists_config", [{}, "2026-11-23T10:00:00Z"], {}, "targets: must be a list"),
        ("artists_config", [[], "2026-11-23T10:00:00Z"], {"catalog": {"New": {}}}, r"nim_catalog\['New'\]"),
        ("provider_endpoints", [{}], {}, "targets: must be a list"),
        ("nim_status", [{}], {}, "must be a list of targets"),
    ],
)
def test_errors_are_filter_errors(name: str, arguments: list[t.Any], options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        call(name, *arguments, **options)


def test_node_names_are_those_of_the_catalogue_and_the_studio() -> None:
    names = call("nim_node_names", OWN_NODE)
    assert {"FLUX Dev", "My Node"} < set(names)
    assert names == sorted(names)
    with pytest.raises(AnsibleFilterError, match="nim_catalog"):
        call("nim_node_names", {"My Node": {"kind": "nothing"}})
