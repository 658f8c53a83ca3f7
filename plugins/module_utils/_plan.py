# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The pure decision: what should be there and what is there, in; the steps between them, out.

Nothing here knows a cloud, Ansible or the clock. Check mode, the diff and the real run all use the same steps.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

Key = tuple[str, str]


class PlanError(ValueError):
    """What is asked for cannot be reached from what is there; nothing was changed."""


class _Unknown:
    """A value that only exists once another object has been created, such as the id of a new security group."""

    def __repr__(self) -> str:
        return "(known after the run)"


UNKNOWN = _Unknown()


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of cloud object. A provider lists its kinds in the order in which they are created.

    ``per_nim``: belongs to one NIM and is handled in parallel with those of other NIMs; otherwise shared by the target.
    ``batch``: the steps of all NIMs are carried out in one call, because they change one shared list.
    ``immutable``: fields that cannot be changed in place.
    ``adoptable``: an object of that name that somebody else made may be used, but is never changed or deleted.
    """

    name: str
    per_nim: bool = False
    batch: bool = False
    immutable: frozenset[str] = frozenset()
    adoptable: bool = False


@dataclasses.dataclass(frozen=True)
class Resource:
    """One cloud object: what is compared (``spec``) and what is only known (``facts``, such as ARNs).

    ``managed``: made by this collection. ``ending``: already marked for deletion by the cloud, which only waits.
    ``users``: the deployments that need an object which several NIMs share, such as a pool of GPU machines. It goes
    with its last user, and its failure is theirs alone. None: it belongs to the whole target.
    """

    kind: str
    name: str
    spec: t.Mapping[str, t.Any]
    deployment: str | None = None
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict, compare=False)
    managed: bool = dataclasses.field(default=True, compare=False)
    ending: bool = dataclasses.field(default=False, compare=False)
    users: frozenset[str] | None = dataclasses.field(default=None, compare=False)

    @property
    def key(self) -> Key:
        """Identify the object on its target."""
        return (self.kind, self.name)


@dataclasses.dataclass(frozen=True)
class Change:
    """One field that differs. ``before`` is None where there was nothing."""

    path: str
    before: t.Any
    after: t.Any


@dataclasses.dataclass(frozen=True)
class Step:
    """One planned action on one object."""

    action: str
    kind: str
    name: str
    deployment: str | None
    want: Resource | None = None
    have: Resource | None = None
    changes: tuple[Change, ...] = ()

    def describe(self) -> str:
        """Say in a line what is done, for example ``update ecs_service nim-flux-dev-l40s (replicas)``."""
        fields = ", ".join(change.path for change in self.changes)
        return f"{self.action} {self.kind} {self.name}" + (f" ({fields})" if fields else "")

    @property
    def users(self) -> frozenset[str] | None:
        """Name the NIMs that the object serves; None where that is the whole target."""
        served = [item.users for item in (self.want, self.have) if item is not None and item.users is not None]
        return frozenset().union(*served) if served else None

    def changes_field(self, field: str) -> bool:
        """Say whether a top-level field, or something below it, differs."""
        return any(change.path == field or change.path.startswith(f"{field}.") for change in self.changes)


def compare(want: t.Mapping[str, t.Any], have: t.Mapping[str, t.Any], prefix: str = "") -> list[Change]:
    """List the fields of ``want`` that ``have`` does not already say. Fields that only ``have`` knows do not count."""
    changes: list[Change] = []
    for field in sorted(want):
        before, after = have.get(field), want[field]
        if isinstance(after, t.Mapping) and isinstance(before, t.Mapping):
            changes += compare(after, before, f"{prefix}{field}.")
        elif after is UNKNOWN or before != after:
            changes.append(Change(f"{prefix}{field}", before, after))
    return changes


def plan(
    kinds: t.Sequence[Kind],
    wanted: t.Iterable[Resource],
    seen: t.Mapping[Key, Resource],
    unwanted: t.Iterable[Key] = (),
) -> list[Step]:
    """Return the steps from ``seen`` to ``wanted`` without ``unwanted``, in the order in which they must happen.

    Deletions come first and in the reverse order of creation. Raises :class:`PlanError` if an object cannot be
    changed in place or was made by somebody else.
    """
    order = {kind.name: position for position, kind in enumerate(kinds)}
    by_name = {kind.name: kind for kind in kinds}
    problems: list[str] = []

    doomed = [seen[key] for key in set(unwanted) if key in seen]
    doomed = [item for item in doomed if item.managed and not item.ending]
    doomed.sort(key=lambda item: (order[item.kind], item.name), reverse=True)
    steps = [Step("delete", item.kind, item.name, item.deployment, have=item) for item in doomed]

    for item in sorted(wanted, key=lambda item: (order[item.kind], item.name)):
        have = seen.get(item.key)
        if have is None:
            steps.append(Step("create", item.kind, item.name, item.deployment, want=item))
            continue
        if not have.managed and by_name[item.kind].adoptable:
            continue
        if not have.managed:
            problems.append(
                f"{item.kind} {item.name} exists but was not made by this collection (no budgetguard:managed tag); "
                "choose another cluster name or remove it"
            )
            continue
        changes = tuple(compare(item.spec, have.spec))
        immutable = by_name[item.kind].immutable
        fixed = [change for change in changes if change.path in immutable and change.after is not UNKNOWN]
        problems += [
            f"{change.path} of {item.kind} {item.name} is {change.before!r} and cannot become {change.after!r} in "
            "place; tear down what uses it and deploy again"
            for change in fixed
        ]
        if changes:
            steps.append(Step("update", item.kind, item.name, item.deployment, item, have, changes))
    if problems:
        raise PlanError("\n".join(problems))
    return steps


def stages(kinds: t.Sequence[Kind], steps: t.Sequence[Step]) -> list[list[Step]]:
    """Cut the steps into groups that must finish one after the other: deletions, then creations and updates.

    Within a group of per-NIM kinds the NIMs are independent of each other.
    """
    by_name = {kind.name: kind for kind in kinds}

    def group(step: Step) -> tuple[bool, bool, str]:
        kind = by_name[step.kind]
        return (step.action == "delete", kind.per_nim, kind.name if kind.batch else "")

    return [list(items) for _key, items in itertools.groupby(steps, key=group)]


def render(resources: t.Iterable[Resource]) -> dict[str, dict[str, t.Any]]:
    """Return resources as plain data for a diff: ``{"ecs_service": {"nim-flux-dev-l40s": {...}}}``."""
    shown: dict[str, dict[str, t.Any]] = {}
    for item in sorted(resources, key=lambda item: item.key):
        shown.setdefault(item.kind, {})[item.name] = _plain(item.spec)
    return shown


def diff(steps: t.Sequence[Step]) -> dict[str, t.Any]:
    """Return ``before`` and ``after`` of everything that the steps touch, and nothing else."""
    before = [step.have for step in steps if step.have is not None]
    after = [step.want for step in steps if step.want is not None]
    touched = {(step.kind, step.name): step for step in steps}
    shown_before = render(
        Resource(item.kind, item.name, _only(item.spec, touched[item.key]), item.deployment) for item in before
    )
    return {"before": shown_before, "after": render(after)}


def _only(spec: t.Mapping[str, t.Any], step: Step) -> t.Mapping[str, t.Any]:
    """Leave out what the provider knows but the plan does not compare, so that a diff shows no false difference."""
    return {field: spec[field] for field in spec if field in step.want.spec} if step.want else spec


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, t.Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return repr(value) if value is UNKNOWN else value
