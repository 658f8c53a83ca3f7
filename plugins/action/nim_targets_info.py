# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read many targets at once, on the controller."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    AsleepError,
    MissingLibraryError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _awx
from ansible_collections.budgetguard.techops.plugins.plugin_utils._targets import (
    LOCAL,
    Connect,
    describe,
    load,
)

TARGET_GROUP = "nim_providers"
WORKERS = 16

IN_A_SLICE = (
    "This job is one slice of a sliced job, so it has a part of the inventory, and targets are missing in it. What it "
    "read would be published as if it were all, so nothing was read. Run it in a workflow after endpoints, "
    "whose result all slices use (nim_published), or set the job template's number of slices to 1. More: docs/awx.md."
)

NO_GROUP = (
    f"nim_matrix says what should exist, but the inventory has no group {TARGET_GROUP}, so no target was read. All "
    "workstations would lose their endpoints. Correct the group's name; without any target, keep the group without "
    "hosts, or take nim_matrix out."
)


class ActionModule(ActionBase):
    """The action of nim_targets_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read the targets and return what they hold."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, options = self.validate_argument_spec(
            {
                "targets": {"type": "list", "elements": "str"},
                "docker_hosts": {"type": "list", "elements": "dict", "default": []},
                "explain": {"type": "bool", "default": True},
                "fail_unread": {"type": "bool", "default": False},
            }
        )
        names = options["targets"]
        if names is None and _awx.is_slice(task_vars):
            result.update(failed=True, msg=IN_A_SLICE)
            return result
        groups = task_vars.get("groups", {})
        if names is None and TARGET_GROUP not in groups and task_vars.get("nim_matrix"):
            result.update(failed=True, msg=NO_GROUP)
            return result
        if names is None:
            names = groups.get(TARGET_GROUP, [])
        # Variables are templated here, in one thread; only the clouds are asked in parallel.
        answers = {str(answer.get("item")): answer for answer in options["docker_hosts"]}
        opened = [describe(str(name), task_vars, answers) for name in names]
        connects = load(opened)
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            targets = list(pool.map(lambda target: _read(target, connects, options["explain"]), opened))
        asleep = [target["target"] for target in targets if target["asleep"]]
        unread = [target for target in targets if not target["read"] and not target["asleep"]]
        result.update(changed=False, targets=targets, unread=[target["target"] for target in unread], asleep=asleep)
        problems = [f"{target['target']} cannot be read: {target['error']}" for target in unread]
        if problems and options["fail_unread"]:
            result.update(failed=True, msg="\n".join(problems))
        elif problems:
            result["warnings"] = [*result.get("warnings", []), *problems]
        return result


def _told(answer: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """Return what a result of nim_local_info says about its host."""
    if answer is None:
        return {"error": "it was not asked: give the results of nim_local_info for it in docker_hosts"}
    if "deployments" not in answer or answer.get("failed") or answer.get("unreachable"):
        return {"error": str(answer.get("msg") or "it gave no answer")}
    return {"read": True, "deployments": list(answer["deployments"])}


def _read(target: dict[str, t.Any], connects: t.Mapping[str, Connect], explain: bool) -> dict[str, t.Any]:
    """Ask one target. Whatever goes wrong is told as its error."""
    options = target.get("options", {})
    answer = {
        "target": target["target"],
        "provider": target.get("provider"),
        "region": options.get("region") or options.get("location"),
        "read": False,
        "asleep": False,
        "error": target["error"],
        "deployments": [],
        "control": None,
    }
    if target["error"] is not None:
        return answer
    if target["provider"] == LOCAL:
        return {**answer, **_told(target["answer"])}
    try:
        provider = connects[target["provider"]](options)
        statuses = provider.statuses(explain=explain)
        control = provider.control()
    except MissingLibraryError as exc:
        return {**answer, "error": f"the Python library {exc.package} is not installed on the controller"}
    except AsleepError as exc:
        return {**answer, "asleep": True, "error": str(exc)}
    except (ProviderError, ValueError) as exc:
        return {**answer, "error": str(exc)}
    deployments = [status.as_dict() for _name, status in sorted(statuses.items())]
    return {**answer, "read": True, "deployments": deployments, "control": control}
