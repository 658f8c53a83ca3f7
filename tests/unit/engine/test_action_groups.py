# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action groups: what ``module_defaults`` sets for a provider reaches each of its modules."""

from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.doc_fragments.attributes import ModuleDocFragment
from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from tests.tools import layout

MODULES = sorted(path.stem for path in (layout.ROOT / "plugins" / "modules").glob("[a-z]*.py"))
GROUPS: dict[str, list[t.Any]] = yaml.safe_load((layout.ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
PREFIX = "budgetguard.techops."


def groups_of(module: str) -> set[str]:
    """Return the groups of providers that hold a module."""
    return {name for name in _gpu.PROVIDERS if module in GROUPS[name]}


def documentation(module: str) -> dict[str, t.Any]:
    """Return a module's documentation, without its fragments."""
    source = importlib.import_module(f"ansible_collections.budgetguard.techops.plugins.modules.{module}").DOCUMENTATION
    return t.cast("dict[str, t.Any]", yaml.safe_load(source))


def fragments(module: str) -> set[str]:
    """Return the fragments that a module's documentation names."""
    named = documentation(module).get("extends_documentation_fragment") or []
    return {name.rpartition(".")[2] for name in named}


def membership(module: str) -> set[str]:
    """Return the groups in which a module says it is."""
    texts = [getattr(ModuleDocFragment, name.upper()) for name in fragments(module) if name.startswith("actiongroup_")]
    told = [documentation(module), *map(yaml.safe_load, texts)]
    groups = [doc.get("attributes", {}).get("action_group", {}).get("membership", []) for doc in told]
    return {name.removeprefix(PREFIX) for names in groups for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_in_the_group_of_each_provider_that_it_connects_to(module: str) -> None:
    connects = {name for name in _gpu.PROVIDERS if f"{name}_connection" in fragments(module)}
    own = {name for name in _gpu.PROVIDERS if module in (f"nim_{name}", f"nim_{name}_info")}
    assert groups_of(module) == connects | own


@pytest.mark.parametrize("module", MODULES)
def test_its_documentation_says_so(module: str) -> None:
    assert membership(module) == ({*groups_of(module), "all"} if groups_of(module) else set())


def test_all_holds_every_provider_and_no_group_holds_what_is_not_there() -> None:
    (extended,) = GROUPS["all"]
    assert extended["metadata"]["extend_group"] == [PREFIX + name for name in _gpu.PROVIDERS]
    assert set(GROUPS) == {"all", *_gpu.PROVIDERS}
    for name in _gpu.PROVIDERS:
        assert GROUPS[name] == sorted(set(GROUPS[name]))
        assert set(GROUPS[name]) <= set(MODULES)
