# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _gpu, _matrix
from tests.tools import layout

CATALOG = _catalog.CATALOG

GROUPS: t.Mapping[str, t.Sequence[str]] = {
    "all": ["aws-eu", "aws-us", "azure-1", "gcp-1", "nv-1", "box-1", "ws-1"],
    "ungrouped": [],
    "nim_providers": ["aws-eu", "aws-us", "azure-1", "gcp-1", "nv-1", "box-1"],
    "aws": ["aws-eu", "aws-us"],
    "azure": ["azure-1"],
    "gcp": ["gcp-1"],
    "nvidia": ["nv-1"],
    "local": ["box-1"],
    "clouds": ["aws-eu", "aws-us", "azure-1", "gcp-1"],
    "europe": ["aws-eu", "gcp-1"],
    "america": ["aws-us"],
    "unused": [],
    "artist_workstations": ["ws-1"],
}

DEFAULTS = {"replicas": 1, "always_on": False, "skip_fit_check": False}


def wanted(matrix: t.Any, target: str = "aws-us", **options: t.Any) -> list[dict[str, t.Any]]:
    return _matrix.select(matrix, target, GROUPS, CATALOG, **options).wanted


def problems_of(matrix: t.Any, target: str = "aws-us", **options: t.Any) -> list[str]:
    with pytest.raises(_matrix.MatrixError) as caught:
        wanted(matrix, target, **options)
    return str(caught.value).splitlines()


def tier_on(places: t.Any, target: str = "aws-us") -> str | None:
    deployments = wanted({"FLUX Dev": places}, target)
    return deployments[0].get("gpu_tier") if deployments else None


def test_shape_of_a_deployment() -> None:
    assert wanted({"flux dev": {"aws": "present"}}) == [{"node": "FLUX Dev", "state": "present", **DEFAULTS}]


def test_every_option_is_handed_on() -> None:
    options = {
        "gpu_tier": "L40S",
        "replicas": 2,
        "tag": "1.2.0",
        "variants": ["base", "canny"],
        "machine": "g6e.4xlarge",
        "env": {"NIM_LOG_LEVEL": "DEBUG", "NIM_RELAX_MEM_CONSTRAINTS": 1},
        "skip_fit_check": True,
    }
    [deployment] = wanted({"FLUX Dev": {"aws": options}})
    assert deployment == {
        "node": "FLUX Dev",
        "state": "present",
        "always_on": False,
        **options,
        "gpu_tier": "l40s",
        "env": {"NIM_LOG_LEVEL": "DEBUG", "NIM_RELAX_MEM_CONSTRAINTS": "1"},
    }


def test_null_options_are_left_out() -> None:
    [deployment] = wanted({"FLUX Dev": {"aws": {"gpu_tier": None, "machine": None, "state": None}}})
    assert deployment == {"node": "FLUX Dev", "state": "present", **DEFAULTS}


def test_an_empty_matrix_wants_nothing() -> None:
    assert wanted({}) == wanted(None) == []


def test_other_targets_entries_do_not_apply() -> None:
    assert wanted({"FLUX Dev": {"azure": "present", "aws-eu": "present", "unused": "present"}}) == []


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (["all", "nim_providers"], "nim_providers"),
        (["all", "aws"], "aws"),
        (["nim_providers", "aws"], "aws"),
        (["nim_providers", "clouds"], "clouds"),
        (["clouds", "aws"], "aws"),
        (["aws", "america"], "america"),
        (["all", "nim_providers", "clouds", "aws", "america", "aws-us"], "aws-us"),
        (["all", "aws-us"], "aws-us"),
    ],
)
def test_the_nearest_place_wins_whatever_the_order(places: list[str], expected: str) -> None:
    tiers = dict(zip(places, ["h100", "l40s", "l4", "a10g", "rtx-pro-6000", "a100"], strict=False))
    tree = {place: {"gpu_tier": tier} for place, tier in tiers.items()}
    assert tier_on(tree) == tiers[expected]
    assert tier_on(dict(reversed(tree.items()))) == tiers[expected]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (["azure", "nim_providers"], "azure"),
        (["azure", "single"], "single"),
        (["all", "nim_providers", "azure", "single"], "single"),
    ],
)
def test_groups_with_the_same_hosts(places: list[str], expected: str) -> None:
    groups = {"all": ["one"], "nim_providers": ["one"], "azure": ["one"], "single": ["one"]}
    tiers = dict(zip(places, ["h100", "a100-80gb", "a10", "t4"], strict=False))
    matrix = {"FLUX Dev": {place: {"gpu_tier": tier} for place, tier in tiers.items()}}
    [deployment] = _matrix.select(matrix, "one", groups, CATALOG).wanted
    assert deployment["gpu_tier"] == tiers[expected]


def test_the_nearest_place_counts_as_a_whole() -> None:
    matrix = {"FLUX Dev": {"aws": {"gpu_tier": "h100", "replicas": 3}, "aws-us": {"tag": "1.2.0"}}}
    assert wanted(matrix) == [{"node": "FLUX Dev", "state": "present", **DEFAULTS, "tag": "1.2.0"}]


def test_overlapping_groups_must_agree() -> None:
    assert tier_on({"aws": {"gpu_tier": "l40s"}, "europe": {"gpu_tier": "l40s"}}, "aws-eu") == "l40s"
    [problem] = problems_of({"FLUX Dev": {"aws": "present", "europe": "absent"}}, "aws-eu")
    assert problem == (
        "nim_matrix['FLUX Dev']: 'aws' and 'europe' both hold 'aws-eu' and say different things; "
        "say it for 'aws-eu' itself"
    )
    assert tier_on({"aws": "present", "europe": "absent", "aws-eu": {"gpu_tier": "l4"}}, "aws-eu") == "l4"
    assert wanted({"FLUX Dev": {"aws": "present", "europe": "absent"}}, "aws-us")


# state of the entry and what the playbook asks for -> state the module is asked for
@pytest.mark.parametrize(
    ("entry", "asked", "expected"),
    [
        ("present", None, "present"),
        ("present", "present", "present"),
        ("present", "started", "started"),
        ("present", "stopped", "stopped"),
        ("present", "absent", "absent"),
        ("absent", None, "absent"),
        ("absent", "started", None),
        ("absent", "stopped", None),
        ("absent", "absent", "absent"),
        ({"always_on": True}, "present", "started"),
        ({"always_on": True}, "started", "started"),
        ({"always_on": True}, "stopped", None),
        ({"always_on": True}, "absent", "absent"),
        ({"state": "absent"}, "present", "absent"),
        ({"state": "absent", "always_on": True}, "present", "absent"),
        ({"state": "absent", "always_on": True}, "stopped", None),
    ],
)
def test_states(entry: t.Any, asked: str | None, expected: str | None) -> None:
    deployments = wanted({"FLUX Dev": {"aws": entry}}, state=asked)
    assert [item["state"] for item in deployments] == ([expected] if expected else [])


def test_stop_spares_always_on_unless_it_is_named() -> None:
    matrix = {"FLUX Dev": {"aws": {"always_on": True}}, "Phi-3": {"aws": "present"}}
    everything = _matrix.select(matrix, "aws-us", GROUPS, CATALOG, state="stopped")
    assert [item["node"] for item in everything.wanted] == ["Phi-3"]
    [skipped] = everything.skipped
    assert skipped["node"] == "FLUX Dev"
    assert "always_on" in skipped["reason"]
    named = _matrix.select(matrix, "aws-us", GROUPS, CATALOG, nodes=["flux-dev"], state="stopped")
    assert named == _matrix.Selection([{"node": "FLUX Dev", "state": "stopped"}], [])


def test_stopping_means_all_tiers_and_removing_the_one_of_the_entry() -> None:
    matrix = {"FLUX Dev": {"aws": {"gpu_tier": "h100", "replicas": 2}}}
    assert wanted(matrix, state="stopped") == [{"node": "FLUX Dev", "state": "stopped"}]
    assert wanted(matrix, state="absent") == [{"node": "FLUX Dev", "state": "absent", "gpu_tier": "h100"}]
    assert wanted({"FLUX Dev": {"aws": "absent"}}) == [{"node": "FLUX Dev", "state": "absent"}]


@pytest.mark.parametrize("nodes", [None, "", []])
def test_empty_nodes_do_not_narrow(nodes: t.Any) -> None:
    matrix = {"Phi-3": {"aws": "present"}, "FLUX Dev": {"aws": "present"}}
    assert [item["node"] for item in wanted(matrix, nodes=nodes)] == ["FLUX Dev", "Phi-3"]


@pytest.mark.parametrize("nodes", ["phi-3", ["Phi-3"], ("Phi 3",)])
def test_nodes_narrow(nodes: t.Any) -> None:
    matrix = {"Phi-3": {"aws": "present"}, "FLUX Dev": {"aws": "present"}}
    assert [item["node"] for item in wanted(matrix, nodes=nodes)] == ["Phi-3"]


def test_named_node_without_an_entry_is_not_invented() -> None:
    assert wanted({"FLUX Dev": {"azure": "present"}}, nodes=["FLUX Dev", "Phi-3"]) == []


@pytest.mark.parametrize("target", ["aws-us", "azure-1", "gcp-1"])
def test_all_nodes_fit_or_are_skipped(target: str) -> None:
    provider = target.split("-", maxsplit=1)[0]
    selection = _matrix.select({}, target, GROUPS, CATALOG, nodes="all")
    named = [item["node"] for item in selection.wanted]
    skipped = [item["node"] for item in selection.skipped]
    assert sorted(named + skipped) == sorted(CATALOG)
    assert skipped == ["SDXL"]
    for name in named:
        node = CATALOG[name]
        _fit.check(node, _fit.default_tier(node, provider), provider)


def test_all_lets_the_matrix_win() -> None:
    matrix = {"FLUX Dev": {"aws": {"gpu_tier": "h100"}}, "Phi-3": {"aws": "absent"}}
    by_node = {item["node"]: item for item in wanted(matrix, nodes=["all"])}
    assert by_node["FLUX Dev"]["gpu_tier"] == "h100"
    assert by_node["Phi-3"]["state"] == "absent"
    assert "gpu_tier" not in by_node["Mixtral"]


def test_all_skips_what_no_tier_can_run() -> None:
    giant = {
        "kind": "image",
        "image": "registry.example.com/nim/giant",
        "tag": "1",
        "min_gpu_memory_gib": 1000,
        "min_host_memory_gib": 64,
    }
    selection = _matrix.select({}, "gcp-1", GROUPS, _catalog.load({"Giant": giant}), nodes="all")
    reasons = {item["node"]: item["reason"] for item in selection.skipped}
    assert "runs on no tier of gcp" in reasons["Giant"]


def test_all_on_a_local_target_needs_its_tier() -> None:
    selection = _matrix.select({}, "box-1", GROUPS, CATALOG, nodes="all")
    assert selection.wanted == []
    assert all("gpu_tier" in item["reason"] or item["node"] == "SDXL" for item in selection.skipped)
    selection = _matrix.select({}, "box-1", GROUPS, CATALOG, nodes="all", default_tier="RTX 4090")
    assert {item["gpu_tier"] for item in selection.wanted} == {"rtx-4090"}
    assert {item["node"] for item in selection.skipped} == {"SDXL", "SD 3.5 Large", "Mixtral"}


def test_all_stops_and_removes_without_asking_what_fits() -> None:
    for state in ("stopped", "absent"):
        selection = _matrix.select({}, "box-1", GROUPS, CATALOG, nodes="all", state=state)
        assert [item["node"] for item in selection.skipped] == ["SDXL"]
        assert {item["state"] for item in selection.wanted} == {state}


def test_default_tier_gives_way_to_the_matrix() -> None:
    matrix = {"FLUX Dev": {"box-1": {"gpu_tier": "l40s"}}, "Phi-3": {"box-1": "present"}}
    tiers = [item["gpu_tier"] for item in wanted(matrix, "box-1", default_tier="rtx-4090")]
    assert tiers == ["l40s", "rtx-4090"]


def test_planning_twice_gives_the_same_and_changes_no_input() -> None:
    matrix = {
        "Phi-3": {"all": "present"},
        "FLUX Dev": {"aws": {"variants": ["base", "canny"], "env": {"A": "b"}}, "nim_providers": "absent"},
    }
    before = copy.deepcopy(matrix)
    first = _matrix.select(matrix, "aws-us", GROUPS, CATALOG, nodes="all")
    first.wanted[0]["env"] = {"changed": "afterwards"}
    second = _matrix.select(dict(reversed(matrix.items())), "aws-us", GROUPS, CATALOG, nodes="all")
    third = _matrix.select(matrix, "aws-us", GROUPS, CATALOG, nodes="all")
    assert second == third
    assert matrix == before
    names = [item["node"] for item in second.wanted]
    assert names == sorted(names, key=str.casefold)


def test_all_problems_at_once() -> None:
    matrix = {
        "FLUX Dev": {"awss": "present", "azure": {"gpu_tier": "l40x", "replica": 2, "replicas": "2"}},
        "Flux Dvv": {"aws": "present"},
        "Phi-3": {"ws-1": "present", "artist_workstations": "absent", "gcp": "started"},
        "SDXL": {"aws": "present", "nvidia": "present"},
        "Llama 3": "present",
    }
    problems = problems_of(matrix, "gcp-1", nodes=["Mixtrl"], state="running", default_tier="cpu")
    assert [problem.split(": ")[0] for problem in problems] == [
        "state",
        "default_tier",
        "nim_matrix['FLUX Dev']['awss']",
        "nim_matrix['FLUX Dev']['azure'].gpu_tier",
        "nim_matrix['FLUX Dev']['azure'].replica",
        "nim_matrix['FLUX Dev']['azure'].replicas",
        "nim_matrix['Flux Dvv']",
        "nim_matrix['Phi-3']['ws-1']",
        "nim_matrix['Phi-3']['artist_workstations']",
        "nim_matrix['Phi-3']['gcp']",
        "nim_matrix['SDXL']['aws']",
        "nim_matrix['Llama 3']",
        "nim_nodes[0]",
    ]
    text = "\n".join(problems)
    assert "nim_matrix['FLUX Dev']['awss']: no such group or host; did you mean 'aws'?" in text
    assert "use always_on: true" in text
    assert "SD 3.5 Large" in text
    assert "Did you mean 'Mixtral'?" in text


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("gpu_tier", "cpu", "every NIM needs an NVIDIA GPU"),
        ("gpu_tier", 40, "must be the name of a GPU tier"),
        ("replicas", 0, "at least 1"),
        ("replicas", True, "at least 1"),
        ("tag", 1.2, "in quotes"),
        ("variants", "base", "must be a list of variants"),
        ("variants", ["edges"], "it has base, canny, depth"),
        ("always_on", "yes", "must be true or false"),
        ("skip_fit_check", 1, "must be true or false"),
        ("state", "started", "use always_on: true"),
        ("machine", "g6e.2xlarg", "g6e.2xlarge"),
        ("machine", 5, "must be the name of a machine type"),
        ("env", ["A=b"], "must be a mapping"),
        ("env", {"A-B": "c"}, "no name of an environment variable"),
        ("env", {"A": True}, "must be a text, in quotes"),
        ("env", {"NGC_API_KEY": "secret-value"}, "comes from the vault"),
        ("tier", "l40s", "did you mean 'gpu_tier'?"),
    ],
)
def test_wrong_option_is_named_with_its_path(option: str, value: t.Any, message: str) -> None:
    [problem] = problems_of({"FLUX Dev": {"aws": {option: value}}})
    assert problem.startswith(f"nim_matrix['FLUX Dev']['aws'].{option}: ")
    assert message in problem
    assert "secret-value" not in problem


DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("tag", ["1.2.0", f"1.2.0@{DIGEST}", f"latest@{DIGEST}"])
def test_a_tag_with_or_without_its_digest(tag: str) -> None:
    assert wanted({"FLUX Dev": {"aws": {"tag": tag}}})[0]["tag"] == tag


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (f"1.2.0@{DIGEST[:-1]}", "sha256: and 64 of the characters 0-9 and a-f, not 'sha256:0123"),
        (f"1.2.0@{DIGEST}0", "64 of the characters"),
        (f"1.2.0@{DIGEST.upper()}", "64 of the characters"),
        (f"1.2.0@{DIGEST}\n", "64 of the characters"),
        ("1.2.0@", "has no digest after the @"),
        (f"1.2.0@md5:{'0' * 32}", "has no digest after the @"),
        (f"1.2.0@{DIGEST}@{DIGEST}", "has no digest after the @"),
        (DIGEST, "has no tag before the digest: it must be like '1.2.3@sha256:...'"),
        (f"@{DIGEST}", "has no tag before the digest"),
        ("nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3", "'1.2.3', without the name of the image"),
        (f"flux.1-dev:1.2.3@{DIGEST}", "without the name of the image"),
        ("1.2 3", "in quotes, such as '1.2.3', not '1.2 3'"),
        (1.2, "in quotes, such as '1.2.3', not 1.2"),
    ],
)
def test_a_wrong_tag_or_digest(tag: t.Any, message: str) -> None:
    [problem] = problems_of({"FLUX Dev": {"aws": {"tag": tag}}})
    assert problem.startswith("nim_matrix['FLUX Dev']['aws'].tag: ")
    assert message in problem


@pytest.mark.parametrize("value", [None, True, "started", 1, ["present"]])
def test_wrong_entry(value: t.Any) -> None:
    [problem] = problems_of({"FLUX Dev": {"aws": value}})
    assert problem.startswith("nim_matrix['FLUX Dev']['aws']: must be present, absent or a mapping of options")


def test_machine_where_none_can_be_chosen() -> None:
    [problem] = problems_of({"FLUX Dev": {"nvidia": {"machine": "x"}}})
    assert problem == "nim_matrix['FLUX Dev']['nvidia'].machine: cannot be chosen on nvidia; leave it out"


def test_one_node_under_two_names() -> None:
    [problem] = problems_of({"FLUX Dev": {"aws": "present"}, "flux-dev": {"aws": "absent"}})
    assert problem == "nim_matrix['flux-dev']: is the same node as 'FLUX Dev'"


@pytest.mark.parametrize("matrix", [["FLUX Dev"], "FLUX Dev"])
def test_wrong_matrix(matrix: t.Any) -> None:
    assert problems_of(matrix) == ["nim_matrix: must be a mapping of nodes to places"]


def test_wrong_nodes_and_target() -> None:
    assert problems_of({}, nodes={"FLUX Dev": 1}) == ["nim_nodes: must be 'all', a node or a list of nodes"]
    assert problems_of({}, "elsewhere") == ["target: there is no host 'elsewhere' in the inventory"]
    [problem] = problems_of({}, "ws-1", nodes="all")
    assert problem == "target: 'ws-1' is in none of the groups aws, azure, gcp, nvidia, local"


def test_a_provider_the_inventory_does_not_use_may_be_named() -> None:
    groups = {"all": ["one"], "nim_providers": ["one"], "aws": ["one"]}
    assert _matrix.select({"FLUX Dev": dict.fromkeys(_gpu.PROVIDERS, "present")}, "one", groups, CATALOG).wanted


def test_hosted_only_node_is_fine_on_nvidia_and_where_it_is_absent() -> None:
    matrix = {"SDXL": {"nvidia": "present", "aws": "absent"}}
    assert [item["node"] for item in wanted(matrix, "nv-1")] == ["SDXL"]
    assert wanted(matrix, "aws-us") == [{"node": "SDXL", "state": "absent"}]


def test_an_inventory_without_the_group_of_targets() -> None:
    groups = {"all": ["one"], "aws": ["one"]}
    assert _matrix.select({"FLUX Dev": {"one": "present"}}, "one", groups, CATALOG).wanted[0]["node"] == "FLUX Dev"


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp", "nvidia", "local"])
def test_the_example_does_for_whoever_takes_the_other_providers_out(provider: str) -> None:
    """Also with a target of another name: who copies the example renames it."""
    path = layout.ROOT / "inventory" / "studio" / "group_vars" / "all" / "nim_matrix.yml"
    groups = {"all": ["mine"], "nim_providers": ["mine"], provider: ["mine"]}
    assert _matrix.select(yaml.safe_load(path.read_text())["nim_matrix"], "mine", groups, CATALOG).wanted
