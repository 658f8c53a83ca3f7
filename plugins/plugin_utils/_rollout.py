# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Who comes first in a rollout, when it stops, and what is told of it.

Everything here is pure: names and results in, batches and sentences out.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _unreachable
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import printable

GROUP = "artist_workstations"


class RolloutError(Exception):
    """The options of a rollout make no sense. One sentence."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """In which order workstations are reached, and how many at a time, as the C(serial) of a play has it."""

    hosts: str
    serial: tuple[str, ...]
    canaries: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one workstation. Without a reason it is done."""

    changed: bool = False
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of all of them so far. C(stop) says why no other batch may begin."""

    done: tuple[str, ...]
    changed: int
    not_done: dict[str, str]
    not_tried: tuple[str, ...]
    stop: str

    @property
    def over(self) -> bool:
        """Whether this is the end of the rollout."""
        return bool(self.stop) or not self.not_tried


def plan(
    names: t.Sequence[str],
    canary: object,
    batch: object,
    max_failed_percent: object,
    match: t.Callable[[str], t.Sequence[str]],
) -> Plan:
    """Return the order and the batches.

    :arg names: the workstations of this run, in the order of the inventory.
    :arg canary: a number, or a pattern of hosts, or a list of them; None for no canary.
    :arg match: what finds the hosts of a pattern, whatever the limit of the run.
    :raises RolloutError: an option that makes no sense.
    """
    batches = _batches(batch)
    _check_percent(max_failed_percent, batches)
    if canary is None or canary == "":
        return Plan(GROUP, batches, ())
    number = _number(canary)
    if number is not None:
        if number < 1:
            raise RolloutError(f"rollout_canary is {canary!r}; it must be a number from 1 on, or a pattern of hosts.")
        return Plan(GROUP, (str(number), *(batches or ("100%",))), tuple(names[:number]))
    patterns = list(canary) if isinstance(canary, (list, tuple)) else [canary]
    if not patterns or not all(isinstance(one, str) for one in patterns):
        raise RolloutError(f"rollout_canary is {canary!r}; it must be a number, a pattern of hosts, or a list of them.")
    found = match(",".join(map(str, patterns)))
    if not found:
        raise RolloutError(f"rollout_canary is {canary!r}, which fits no host of the group {GROUP}.")
    canaries = tuple(name for name in found if name in set(names))
    if not canaries:
        # They are not in the limit of this run, which so finishes what they were tried for.
        return Plan(GROUP, batches, ())
    return Plan(",".join((*canaries, GROUP)), (str(len(canaries)), *(batches or ("100%",))), canaries)


def _number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value.strip()):
        return int(value)
    return None


def _batches(batch: object) -> tuple[str, ...]:
    """Return the sizes of batches as texts."""
    if batch is None or batch in ("", []):
        return ()
    sizes = tuple(str(one).strip() for one in (batch if isinstance(batch, (list, tuple)) else [batch]))
    for size in sizes:
        if not re.fullmatch(r"[1-9]\d*|([1-9]\d?|100)%", size):
            raise RolloutError(
                f"rollout_batch is {batch!r}; it must be a number from 1 on, a percentage such as '20%', "
                "or a list of them."
            )
    return sizes


def _check_percent(percent: object, batches: t.Sequence[str]) -> None:
    if percent is None or percent == "":
        return
    wrong = f"rollout_max_failed_percent is {percent!r}; it must be a number from 0 to 100."
    try:
        number = float(str(percent))
    except ValueError:
        raise RolloutError(wrong) from None
    if not 0 <= number <= 100:
        raise RolloutError(wrong)
    if not batches:
        raise RolloutError(
            "rollout_max_failed_percent needs rollout_batch: without batches all workstations are reached at once, "
            "and there is nothing left to stop."
        )


def outcome(result: t.Mapping[str, t.Any]) -> Outcome:
    """Return what the result of a workstation's task means."""
    message = printable(" ".join(str(result.get("msg") or "").split()))
    if result.get("unreachable"):
        return Outcome(reason=f"Not reached. {_unreachable.reason(message)}")
    if result.get("failed"):
        if "timedout" in result:
            return Outcome(reason="it was reached, but did not finish in time (workstation_config_timeout)")
        return Outcome(reason=message or "it failed and did not say why")
    return Outcome(changed=bool(result.get("changed")))


def report(
    names: t.Sequence[str],
    outcomes: t.Mapping[str, Outcome],
    batch: t.Sequence[str],
    canaries: t.Sequence[str],
    max_failed_percent: float | None,
) -> Report:
    """Return what came of all so far, and whether to stop.

    :arg outcomes: of those that were tried.
    :arg batch: those that were tried last.
    """
    not_done = {name: outcomes[name].reason for name in names if name in outcomes and outcomes[name].reason}
    done = tuple(name for name in names if name in outcomes and not outcomes[name].reason)
    not_tried = tuple(name for name in names if name not in outcomes)
    return Report(
        done=done,
        changed=sum(outcomes[name].changed for name in done),
        not_done=not_done,
        not_tried=not_tried,
        stop=_stop(not_done, batch, canaries, max_failed_percent) if not_tried else "",
    )


def _stop(
    not_done: t.Mapping[str, str], batch: t.Sequence[str], canaries: t.Sequence[str], max_failed_percent: float | None
) -> str:
    """Say why no other batch may begin, or nothing."""
    sick = [name for name in canaries if name in not_done]
    if sick:
        return f"stopped, because {_listed(sick)} of rollout_canary is not done"
    failed = [name for name in batch if name in not_done]
    if max_failed_percent is not None and batch and len(failed) * 100 > max_failed_percent * len(batch):
        return (
            f"stopped, because {len(failed)} of {len(batch)} workstations of a batch are not done, more than "
            f"rollout_max_failed_percent ({max_failed_percent:g} %)"
        )
    return ""


def _listed(names: t.Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")


def left(told: Report) -> tuple[str, ...]:
    """Return who is left for the next run."""
    return (*told.not_done, *told.not_tried)


def lines(told: Report, check_mode: bool) -> list[str]:
    """Return the summary: counts, a line for each workstation that is not done, and how to go on."""
    total = len(told.done) + len(told.not_done) + len(told.not_tried)
    would = "would be " if check_mode else ""
    counts = [f"{len(told.done)} of {total} workstations are {'fine' if check_mode else 'done'}"]
    counts[0] += f" ({told.changed} {would}changed)"
    if told.not_done:
        counts.append(f"{len(told.not_done)} not done")
    if told.not_tried:
        counts.append(f"{len(told.not_tried)} not tried")
    text = [f"Rollout: {', '.join(counts)}."]
    rows = [(name, "not done", reason) for name, reason in told.not_done.items()]
    rows += [(name, "not tried", told.stop) for name in told.not_tried]
    if not rows:
        return text
    width = max(len("workstation"), *(len(name) for name, _state, _reason in rows))
    table = [("workstation", "state", "why"), *rows]
    text += [f"  {name:<{width}}  {state:<9}  {reason}" for name, state, reason in table]
    return [*text, f"The next run does what is left. These alone: --limit '{','.join(left(told))}'"]


__all__ = (
    "GROUP",
    "Outcome",
    "Plan",
    "Report",
    "RolloutError",
    "left",
    "lines",
    "outcome",
    "plan",
    "report",
)
