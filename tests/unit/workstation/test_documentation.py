# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documented options are the ones that the actions take. No gate checks that for actions."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.action import comfyui_config, comfyui_config_info
from ansible_collections.budgetguard.techops.plugins.doc_fragments.workstation import ModuleDocFragment
from ansible_collections.budgetguard.techops.plugins.modules import comfyui_config as config_documentation
from ansible_collections.budgetguard.techops.plugins.modules import comfyui_config_info as info_documentation

ACTIONS = {
    "comfyui_config": (config_documentation, comfyui_config.ARGUMENT_SPEC),
    "comfyui_config_info": (info_documentation, comfyui_config_info.ARGUMENT_SPEC),
}
COMPARED = ("type", "elements", "choices", "default", "required")
NEVER_SHOWN = {"key", "previous_keys", "studio_key", "previous_studio_key", "credentials"}


@pytest.mark.parametrize(("documentation", "spec"), ACTIONS.values(), ids=ACTIONS.keys())
def test_documented_options_are_the_real_ones(documentation: t.Any, spec: dict[str, dict[str, t.Any]]) -> None:
    shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    own = yaml.safe_load(documentation.DOCUMENTATION).get("options", {})
    told = {name: {key: option[key] for key in COMPARED if key in option} for name, option in {**shared, **own}.items()}
    real = {name: {key: option[key] for key in COMPARED if key in option} for name, option in spec.items()}
    assert told == real


@pytest.mark.parametrize("spec", [spec for _documentation, spec in ACTIONS.values()], ids=ACTIONS.keys())
def test_secret_options_are_marked(spec: dict[str, dict[str, t.Any]]) -> None:
    assert {name for name, option in spec.items() if option.get("no_log")} == NEVER_SHOWN & set(spec)
