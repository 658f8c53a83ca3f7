# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Bring one target to what is asked for: observe, plan, apply, wait, report.

Only :func:`run` knows AnsibleModule. One NIM's failure does not stop the others, and whenever another run turns out
to be at work on the same target, the target is read again and what is left is planned again.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.yaml import HAS_YAML, yaml_dump

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    Selection,
    Status,
    Wanted,
    resolve_all,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import hide_json
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Step, diff, plan, stages
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    AsleepError,
    ConflictError,
    LookAgainError,
    MissingLibraryError,
    Provider,
    ProviderError,
    Snapshot,
    expand,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._wait import is_final, not_ready

ROUNDS = 6
"""How often a target is read again because another run changed it meanwhile, before that is called an error."""

WORKERS = 8
"""NIMs that are worked on at the same time."""


_NOTHING_RUNS: t.Mapping[str, t.Any] = {"replicas": 0, "running": 0, "reason": None, "running_since": None}
"""What is said of a NIM that is stopped or gone."""


@dataclasses.dataclass
class Outcome:
    """What happened to one target."""

    steps: list[Step] = dataclasses.field(default_factory=list)
    done: list[Step] = dataclasses.field(default_factory=list)
    errors: dict[str, str] = dataclasses.field(default_factory=dict)
    target_error: str | None = None
    statuses: dict[str, Status] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Goal:
    """What one call asks of one target."""

    wanted: tuple[Wanted, ...] = ()
    selections: tuple[Selection, ...] = ()
    purge_shared: bool = False
    gateway_only: bool = False
    check_mode: bool = False
    wait: bool = True
    wait_timeout: int = 2700
    wait_interval: float = 15.0

    def __post_init__(self) -> None:
        if self.wait_timeout < 0:
            raise ValueError(f"wait_timeout is {self.wait_timeout}; it must be at least 0 seconds")
        if self.wait_interval <= 0:
            raise ValueError(f"wait_interval is {self.wait_interval:g}; it must be more than 0 seconds")


@dataclasses.dataclass
class Round:
    """The errors of carrying out one list of steps."""

    errors: dict[str, ProviderError] = dataclasses.field(default_factory=dict)
    shared: ProviderError | None = None
    done: list[Step] = dataclasses.field(default_factory=list)

    @property
    def conflicts(self) -> bool:
        """Say whether everything that failed may succeed after looking again."""
        found = [*self.errors.values(), *([self.shared] if self.shared else [])]
        return any(isinstance(error, ConflictError) for error in found)


def make_plan(provider: Provider, goal: Goal, seen: Snapshot) -> list[Step]:
    """Return the steps that lead from what was seen to the goal. Makes no calls."""
    if goal.gateway_only:
        return plan(provider.kinds, provider.gateway_resources(seen), seen.resources)
    resources = provider.resources(goal.wanted, seen) if goal.wanted else []
    stopped = {status.name: status for status in expand(goal.selections, seen.statuses, "stopped")}
    stops = [provider.stop_resource(status) for status in stopped.values()]
    resources += [item for item in stops if item.key in seen.resources]
    if _goes_idle(goal, seen, stopped):
        resources += provider.idle_resources(seen)
    return plan(provider.kinds, resources, seen.resources, _unwanted(goal, seen, {item.key for item in resources}))


def _goes_idle(goal: Goal, seen: Snapshot, stopped: t.Container[str]) -> bool:
    """Say whether the call is a stop after which nothing on the target should run."""
    is_stop = not goal.wanted and any(item.state == "stopped" for item in goal.selections)
    return is_stop and not any(status.replicas for name, status in seen.statuses.items() if name not in stopped)


def _unwanted(goal: Goal, seen: Snapshot, kept: t.Container[Key]) -> list[Key]:
    """Return the objects of NIMs that must go, what only they used and, on request, what the whole target shared."""
    gone = {status.name for status in expand(goal.selections, seen.statuses, "absent")}
    keys = [item.key for item in seen.resources.values() if item.deployment in gone]
    if any(item.state == "absent" for item in goal.selections):
        some = [item for item in seen.resources.values() if item.users is not None and item.key not in kept]
        keys += [item.key for item in some if item.users is not None and item.users <= gone]
    left = {item.deployment for item in seen.resources.values() if item.deployment is not None} - gone
    if goal.purge_shared and not left and not goal.wanted:
        keys += [item.key for item in seen.resources.values() if item.deployment is None]
    return keys


def execute(provider: Provider, steps: t.Sequence[Step]) -> Round:
    """Carry out the steps stage by stage. A NIM that fails is left out of the later stages; the others go on."""
    result = Round()
    batches: list[list[Step]] = []
    by_name = {kind.name: kind for kind in provider.kinds}
    for stage in stages(provider.kinds, steps):
        alive = [step for step in stage if step.deployment is None or step.deployment not in result.errors]
        if not alive:
            continue
        kind = by_name[alive[0].kind]
        if kind.batch:
            if _apply_batch(provider, alive, result):
                batches.append(alive)
        elif kind.per_nim:
            _apply_per_nim(provider, alive, result)
        elif not _apply_shared(provider, alive, result):
            return result
    for batch in batches:
        _verify_batch(provider, batch, result)
    return result


def _apply_shared(provider: Provider, steps: t.Sequence[Step], result: Round) -> bool:
    for step in steps:
        try:
            provider.apply(step)
        except ProviderError as exc:
            if isinstance(exc, LookAgainError):
                result.done.append(step)
            if not step.users:
                result.shared = exc
                return False
            result.errors.update(dict.fromkeys(step.users, exc))
        else:
            result.done.append(step)
    return True


def _apply_batch(provider: Provider, steps: t.Sequence[Step], result: Round) -> bool:
    try:
        provider.apply_batch(steps)
    except ProviderError as exc:
        result.errors.update({step.deployment: exc for step in steps if step.deployment})
        return False
    result.done += steps
    return True


def _verify_batch(provider: Provider, steps: t.Sequence[Step], result: Round) -> None:
    alive = [step for step in steps if step.deployment not in result.errors]
    if not alive:
        return
    try:
        provider.verify_batch(alive)
    except ProviderError as exc:
        result.errors.update({step.deployment: exc for step in alive if step.deployment})


def _apply_per_nim(provider: Provider, steps: t.Sequence[Step], result: Round) -> None:
    chains: dict[str, list[Step]] = {}
    for step in steps:
        chains.setdefault(step.deployment or "", []).append(step)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        futures = {name: pool.submit(_apply_chain, provider, chain) for name, chain in chains.items()}
    for name, future in futures.items():
        done, error = future.result()
        result.done += done
        if error is not None:
            result.errors[name] = error


def _apply_chain(provider: Provider, steps: t.Sequence[Step]) -> tuple[list[Step], ProviderError | None]:
    done: list[Step] = []
    for step in steps:
        try:
            provider.apply(step)
        except ProviderError as exc:
            return done, exc
        done.append(step)
    return done, None


def converge(provider: Provider, goal: Goal, sleep: t.Callable[[float], None] = time.sleep) -> Outcome:
    """Bring the target to the goal and say what happened.

    Raises ProviderError or ValueError only as long as nothing was changed.
    """
    outcome = Outcome()
    names = [item.name for item in goal.wanted]
    if not goal.check_mode:
        provider.settle()
    seen = provider.observe(names)
    outcome.steps = steps = make_plan(provider, goal, seen)
    outcome.warnings = [*seen.warnings, *_left_over(goal, seen)]
    provider.preflight(goal.wanted, steps, seen)
    if goal.check_mode:
        _rehearse(provider, steps, outcome)
    try:
        for attempt in range(ROUNDS):
            if goal.check_mode or not steps:
                break
            result = execute(provider, steps)
            outcome.done += result.done
            outcome.errors = {name: str(error) for name, error in result.errors.items()}
            outcome.target_error = str(result.shared) if result.shared else None
            if not result.conflicts or attempt == ROUNDS - 1:
                break
            sleep(min(2**attempt, 20) * random.uniform(0.5, 1.0))
            seen = provider.observe(names)
            steps = make_plan(provider, goal, seen)
            if isinstance(result.shared, LookAgainError):
                outcome.steps += steps
                provider.preflight(goal.wanted, steps, seen)
            outcome.errors, outcome.target_error = {}, None
        outcome.statuses = _report(provider, goal, seen, outcome, sleep)
    except (ProviderError, ValueError) as exc:
        # What stopped the work comes first: that the target cannot be read now may only follow from it.
        outcome.target_error = "\n".join(filter(None, [outcome.target_error, str(exc)]))
    return outcome


def _rehearse(provider: Provider, steps: t.Sequence[Step], outcome: Outcome) -> None:
    """Let the target check the steps, so that check mode tells of what the run would be refused."""
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        futures = [(step, pool.submit(provider.rehearse, step)) for step in steps]
    for step, future in futures:
        try:
            future.result()
        except ProviderError as exc:
            concerned = [step.deployment] if step.deployment else list(step.users or ())
            outcome.errors.update({name: str(exc) for name in concerned if name not in outcome.errors})
            if not concerned and outcome.target_error is None:
                outcome.target_error = str(exc)


def _left_over(goal: Goal, seen: Snapshot) -> list[str]:
    """Tell of other tiers of a wanted node: they are left alone, and they may cost money."""
    asked = {item.node: item for item in goal.wanted}
    names = {item.name for item in goal.wanted}
    removed = {status.name for status in expand(goal.selections, seen.statuses, "absent")}
    return [
        f"{status.name} also serves {status.node} on this target and is left alone; "
        f"remove it with state absent and gpu_tier {status.gpu_tier} if {asked[status.node].name} replaces it"
        for status in seen.statuses.values()
        if status.node in asked and status.name not in names and status.name not in removed
    ]


def _report(
    provider: Provider, goal: Goal, seen: Snapshot, outcome: Outcome, sleep: t.Callable[[float], None]
) -> dict[str, Status]:
    """Return the state of every NIM that the call was about."""
    concerned = {item.name for item in goal.wanted}
    concerned |= {status.name for status in expand(goal.selections, seen.statuses, "stopped")}
    absent = {status.name: status for status in expand(goal.selections, seen.statuses, "absent")}
    if goal.check_mode:
        statuses = _predict(provider, goal, seen)
    elif concerned and (outcome.done or any(item.start for item in goal.wanted)):
        try:
            statuses = _wait(provider, goal, sorted(concerned), outcome, sleep)
        except AsleepError:
            # The stop has switched the whole target off: there is nobody to ask, and nothing runs.
            statuses = _predict(provider, goal, seen)
    else:
        statuses = {name: status for name, status in seen.statuses.items() if name in concerned}
    gone = {
        name: dataclasses.replace(status, state="absent", endpoint=None, **_NOTHING_RUNS)
        for name, status in absent.items()
        if name not in outcome.errors
    }
    kept = {name: status for name, status in absent.items() if name in outcome.errors}
    return {**statuses, **kept, **gone}


def _predict(provider: Provider, goal: Goal, seen: Snapshot) -> dict[str, Status]:
    """Say what a run would leave behind, without inventing what only the cloud knows (endpoints, dates)."""
    predicted: dict[str, Status] = {}
    for item in goal.wanted:
        found = seen.statuses.get(item.name)
        base = found or Status(name=item.name, node=item.node, gpu_tier=item.gpu_tier, state="stopped")
        replicas = item.replicas if item.start else base.replicas
        predicted[item.name] = dataclasses.replace(
            base,
            kind=item.kind,
            serves=item.serves,
            infer_path=item.infer_path,
            replicas=replicas,
            state="starting" if replicas > base.running else base.state,
            **provider.foreseen(item),
        )
    for status in expand(goal.selections, seen.statuses, "stopped"):
        predicted[status.name] = dataclasses.replace(status, state="stopped", **_NOTHING_RUNS)
    return predicted


def _wait(
    provider: Provider, goal: Goal, names: list[str], outcome: Outcome, sleep: t.Callable[[float], None]
) -> dict[str, Status]:
    """Poll until every started NIM is ready or has failed for good, or the time is over."""
    started = {item.name for item in goal.wanted if item.start} - set(outcome.errors)
    if outcome.target_error is not None:
        started = set()
    deadline = time.monotonic() + goal.wait_timeout
    statuses = provider.statuses(names, explain=goal.wait)
    while goal.wait:
        open_names = {name for name in started if not is_final(statuses.get(name))}
        if not open_names or time.monotonic() >= deadline:
            break
        sleep(min(goal.wait_interval, max(0.0, deadline - time.monotonic())))
        statuses.update(provider.statuses(sorted(open_names), explain=True))
    if goal.wait:
        for name in sorted(started):
            problem = not_ready(statuses.get(name), goal.wait_timeout)
            if problem:
                outcome.errors[name] = problem
    return statuses


def run(module: AnsibleModule, provider_name: str, connect: t.Callable[[], Provider]) -> t.NoReturn:
    """Carry out the ``deployments`` option of a ``nim_<provider>`` module and leave with its result."""
    params = module.params
    hide_json(module)
    try:
        catalog = _catalog.load(params["nim_catalog"])
        wanted, selections = resolve_all(params["deployments"], provider_name, catalog)
        _check_gateway_only(params)
        goal = Goal(
            wanted=tuple(wanted),
            selections=tuple(selections),
            purge_shared=params["purge_shared"],
            gateway_only=bool(params.get("gateway_only")),
            check_mode=module.check_mode,
            wait=params["wait"],
            wait_timeout=params["wait_timeout"],
            wait_interval=params["wait_interval"],
        )
        outcome = converge(connect(), goal)
    except MissingLibraryError as exc:
        module.fail_json(msg=missing_required_lib(exc.package), exception=exc.import_error)
    except (ProviderError, ValueError) as exc:
        module.fail_json(msg=f"Nothing was changed. {exc}")
    for item in goal.wanted:
        for warning in item.warnings:
            module.warn(warning)
    for warning in outcome.warnings:
        module.warn(warning)
    result = build_result(goal, outcome)
    if outcome.errors or outcome.target_error:
        module.fail_json(msg=failure_message(goal, outcome), **result)
    module.exit_json(**result)


def _check_gateway_only(params: t.Mapping[str, t.Any]) -> None:
    if params.get("gateway_only") and params["deployments"]:
        raise ValueError("gateway_only is about the gateway alone, so deployments must be empty")


def run_info(module: AnsibleModule, connect: t.Callable[[], Provider]) -> t.NoReturn:
    """List what a target holds, for a ``nim_<provider>_info`` module."""
    hide_json(module)
    try:
        statuses = connect().statuses(explain=True)
    except MissingLibraryError as exc:
        module.fail_json(msg=missing_required_lib(exc.package), exception=exc.import_error)
    except AsleepError as exc:
        module.warn(str(exc))
        module.exit_json(changed=False, asleep=True, deployments=[])
    except (ProviderError, ValueError) as exc:
        module.fail_json(msg=f"The target cannot be read. {exc}")
    deployments = [status.as_dict() for _name, status in sorted(statuses.items())]
    module.exit_json(changed=False, deployments=deployments)


def build_result(goal: Goal, outcome: Outcome) -> dict[str, t.Any]:
    """Build the module's return value from fields that are not secret."""
    steps = outcome.steps if goal.check_mode else outcome.done
    shown = diff(outcome.steps)
    deployments = []
    for name, status in sorted(outcome.statuses.items()):
        own = [step.describe() for step in steps if step.deployment == name]
        deployments.append({**status.as_dict(), "changed": bool(own), "steps": own, "error": outcome.errors.get(name)})
    return {
        "changed": bool(steps),
        "steps": [step.describe() for step in steps],
        "deployments": deployments,
        "failed_deployments": dict(sorted(outcome.errors.items())),
        "diff": {side: _as_text(shown[side]) for side in shown},
    }


def _as_text(content: t.Mapping[str, t.Any]) -> str:
    """Return one side of a diff. A Docker host may have no PyYAML; there it is JSON."""
    if not content:
        return ""
    if not HAS_YAML:
        return json.dumps(content, indent=2, sort_keys=True)
    return str(yaml_dump(content, default_flow_style=False, allow_unicode=True))


def failure_message(goal: Goal, outcome: Outcome) -> str:
    """Name each failed NIM with its reason and what was already done, and say how the others are.

    In check mode nothing was carried out, and there is nothing from where another run could continue.
    """
    concerned = {item.name for item in goal.wanted} | set(outcome.statuses) | set(outcome.errors)
    lines = []
    failed = "would fail" if goal.check_mode else "failed"
    if outcome.target_error:
        lines.append(f"The shared part of the target {failed}: {outcome.target_error}")
    if outcome.errors:
        others = len(concerned) > len(outcome.errors) and not goal.check_mode and not outcome.target_error
        carried_out = "; the others were carried out" if others else ""
        lines.append(f"{len(outcome.errors)} of {len(concerned)} NIMs {failed}{carried_out}.")
    for name, error in sorted(outcome.errors.items()):
        done = [f"{step.action} {step.kind}" for step in outcome.done if step.deployment == name]
        lines.append(f"{name}: {error}" + (f" (done so far: {', '.join(done)})" if done else ""))
    if not goal.check_mode:
        lines.append("The next run continues from here.")
    return "\n".join(lines)
