# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What was read of targets, logs, prices and spend, decided upon and told. Pure.

The shapes are those of nim_targets_info, nim_usage_info, nim_endpoint_info and nim_price_info.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _guard, _guard_policy, _lines, _looks, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import HOSTED_TIER

Mapping = t.Mapping[str, t.Any]
Row = dict[str, t.Any]

_HEADINGS = ("NODE", "TARGET", "TIER", "DECISION", "IDLE SINCE", "SAVES PER HOUR", "REASON")
_ORDER = (_guard.STOP, _guard.WARN, _guard.KEEP)
_SAMPLED = {
    "azure_monitor": "the GPU's use is a sample twice a minute or so, and a short request may fall between them",
    "cloud_monitoring": "the GPU's duty cycle covers ten seconds of each minute, and a short request may fall "
    "between them",
}
"""Sources that can show that a NIM was used, and never that it was not, and why."""


class GuardError(ValueError):
    """What was given is not what the modules return."""


@dataclasses.dataclass(frozen=True)
class Read:
    """All that was read. A target or a log that was read twice counts as it was read last.

    ``policies`` are the variables of each target. ``only`` are the NIMs that may be stopped, as target and name; None
    is before anybody was asked again. ``looks`` is what NIMs have counted, for those of which no log tells.
    """

    targets: t.Sequence[Mapping]
    usages: t.Sequence[Mapping]
    policies: t.Mapping[str, Mapping]
    endpoints: t.Sequence[Mapping] = ()
    prices: t.Sequence[Mapping] = ()
    spend: Mapping | None = None
    only: t.Sequence[Mapping] | None = None
    looks: t.Any = None


def told(read: Read, now: float) -> Row:
    """Decide on all NIMs that are switched on. Raises GuardError, and PolicyError for wrong variables."""
    return decided(read, policies_of(read.policies), now)


def decided(read: Read, policies: t.Mapping[str, _guard.Policy], now: float) -> Row:
    """Do the same with policies that were read before. Raises GuardError."""
    spend = spend_of(read.spend)
    try:
        looks = _looks.parse(read.looks)
    except _looks.LooksError as exc:
        raise GuardError(str(exc)) from exc
    targets = {str(target["target"]): target for target in _mappings("targets", read.targets)}
    usages = {str(usage.get("target")): usage for usage in _mappings("usages", read.usages)}
    decisions: list[_guard.Decision] = []
    unread: Row = {}
    for name, target in targets.items():
        if name not in policies:
            continue
        if not target["read"]:
            if not target.get("asleep"):
                unread[name] = str(target.get("error") or "it could not be read")
            continue
        always = {str(node) for node in read.policies[name].get("always_on") or ()}
        for deployment in target["deployments"]:
            if not deployment["replicas"] or deployment["gpu_tier"] == HOSTED_TIER:
                continue
            nim = _nim(name, deployment, always)
            decision = _guard.decide(
                nim,
                _or_looks(_use(nim, deployment, usages.get(name), read.endpoints), nim, deployment, looks),
                policies[name],
                now,
                _price(nim, read.prices),
                spend,
                final=read.only is not None,
            )
            decisions.append(_only(decision, read.only))
    notes = [f"{name}: cannot be read, so nothing on it is stopped: {why}" for name, why in unread.items()]
    notes += _log_notes(usages, {decision.nim.target for decision in decisions})
    if any(policy.budgets for policy in policies.values()):
        # Without a budget nobody minds what was spent.
        notes += [f"spend: {problem}" for problem in (read.spend or {}).get("problems") or ()]
    notes += _guard.expired(policies.values(), now) + _guard.budget_notes(policies.values(), spend, now)
    ordered = sorted(decisions, key=lambda item: (_ORDER.index(item.action), item.nim.target, item.nim.name))
    rows = [_row(decision) for decision in ordered]
    return {
        "decisions": rows,
        "stops": [row for row in rows if row["decision"] == _guard.STOP],
        "unread": unread,
        "notes": notes,
        "lines": [*_table(rows, now), *notes],
    }


def policies_of(variables: t.Mapping[str, Mapping]) -> dict[str, _guard.Policy]:
    """Return the policy of each target. Raises PolicyError with all that is wrong."""
    found: dict[str, _guard.Policy] = {}
    problems: list[str] = []
    for name, options in variables.items():
        try:
            found[name] = _guard_policy.policy(options)
        except _guard_policy.PolicyError as exc:
            problems += [f"{name}: {line}" for line in str(exc).splitlines()]
    if problems:
        raise _guard_policy.PolicyError("\n".join(problems))
    return found


def _mappings(what: str, value: t.Any) -> t.Sequence[Mapping]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, t.Mapping) for item in value):
        raise GuardError(f"{what}: must be a list of mappings")
    return t.cast("t.Sequence[Mapping]", value)


def _only(decision: _guard.Decision, only: t.Sequence[Mapping] | None) -> _guard.Decision:
    """Stop nothing that was not looked at a second time."""
    if decision.action != _guard.STOP or only is None:
        return decision
    if any(item["target"] == decision.nim.target and item["name"] == decision.nim.name for item in only):
        return decision
    return dataclasses.replace(decision, action=_guard.KEEP, reason=f"{decision.reason}; next time")


# ---- what was read ---------------------------------------------------------------------------------------------------


def _nim(target: str, deployment: Mapping, always_on: t.AbstractSet[str]) -> _guard.Nim:
    return _guard.Nim(
        target=target,
        name=str(deployment["name"]),
        node=str(deployment["node"]),
        gpu_tier=str(deployment["gpu_tier"]),
        state=str(deployment["state"]),
        serves=tuple(map(str, deployment.get("serves") or ())),
        running_since=_usage.moment(deployment.get("running_since")),
        always_on=str(deployment["node"]) in always_on,
        why=deployment.get("reason"),
    )


def _use(
    nim: _guard.Nim, deployment: Mapping, usage: Mapping | None, endpoints: t.Sequence[Mapping]
) -> _guard.Use | None:
    """Return what the log and the NIM itself tell. None if the log was not read."""
    if usage is None:
        return None
    asked = next((item for item in endpoints if item["url"] == deployment.get("endpoint")), {})
    in_flight, why = asked.get("busy"), asked.get("busy_reason")
    if usage.get("error") or usage.get("usage") is None:
        problem = str(usage.get("error") or "its use was not read")
        return _guard.Use(problem=problem, in_flight=in_flight, in_flight_why=why)
    log, nims = usage["usage"]["log"], usage["usage"]["nims"]
    own = next((item for item in nims if item["name"] == nim.name), None)
    begins, since = _usage.moment(log["first_line_at"]), _usage.moment(usage["usage"]["since"])
    hours = [row for row in usage["usage"]["rows"] if f"nim-{row['node']}" == nim.name and row["requests"]]
    history = None if begins is None or since is None else max(begins, since)
    if own is not None and own.get("source") not in (None, _usage.LOG):
        # A cloud's metrics, because the log is not known as a whole.
        source = str(own["source"])
        use = _guard.Use(
            last_use=_usage.moment(own["last_use_at"]), in_flight=in_flight, in_flight_why=why, source=source
        )
        if source in _SAMPLED:
            return dataclasses.replace(use, problem=_SAMPLED[source])
        return dataclasses.replace(
            use,
            known_since=_usage.moment(own["idle_since"]),
            settled_until=_usage.moment(own["settled_until"]),
            unbroken=True,
        )
    return _guard.Use(
        last_use=None if own is None else _usage.moment(own["last_use_at"]),
        known_since=None if own is None else _usage.moment(own["idle_since"]),
        settled_until=_usage.moment(log["settled_until"]),
        unbroken=bool(log["unbroken"]),
        problem="; ".join(log["problems"]) or None,
        used_hours=frozenset(filter(None, (_usage.moment(row["period"]) for row in hours))),
        history_since=history if usage.get("history") else None,
        in_flight=in_flight,
        in_flight_why=why,
    )


def _or_looks(
    use: _guard.Use | None, nim: _guard.Nim, deployment: Mapping, looks: t.Sequence[Mapping]
) -> _guard.Use | None:
    """Return the use by what the NIM has counted itself, where nothing better tells it.

    A use that a duty cycle has seen counts beside it.
    """
    if use is None or (use.unbroken and use.settled_until is not None):
        return use
    if deployment["replicas"] != 1:
        # Copies count each for itself, and which one answers is not known.
        return use
    found = _looks.usage_of(looks, nim.target, deployment.get("endpoint"))
    if found is None:
        return use
    if use.source in _SAMPLED and use.last_use is not None:
        found["last_use"] = max(use.last_use, found["last_use"] or 0.0)
    return dataclasses.replace(use, **found, unbroken=True, used_hours=frozenset(), history_since=None)


def _price(nim: _guard.Nim, prices: t.Sequence[Mapping]) -> _guard.Price | None:
    """Return a NIM's price by its name, or by node and tier, as nim_price_info tells it."""
    for row in prices:
        same = row.get("name") == nim.name or (row.get("node"), row.get("gpu_tier")) == (nim.node, nim.gpu_tier)
        if row.get("target") == nim.target and same:
            start = row.get("start") or {}
            return _guard.Price(
                row.get("hourly"),
                str(row.get("currency") or "USD"),
                start.get("cold_start_minutes"),
                start.get("tail_minutes"),
            )
    return None


def spend_of(spend: Mapping | None) -> _guard.Spend | None:
    """Return what was spent. None if it is not known. Raises GuardError."""
    if not spend:
        return None
    as_of = _usage.moment(spend.get("as_of"))
    if as_of is None:
        raise GuardError("spend: as_of must say up to when it is known, such as 2026-11-28T18:00:00Z")
    rows = tuple(
        _guard.Spent(
            str(row.get("target")),
            row.get("node"),
            row.get("month_to_date"),
            row.get("today"),
            row.get("estimated"),
        )
        for row in _mappings("spend.rows", spend.get("rows"))
    )
    return _guard.Spend(rows, str(spend.get("currency") or "USD"), as_of)


# ---- what is told ----------------------------------------------------------------------------------------------------


def _row(decision: _guard.Decision) -> Row:
    nim = decision.nim
    return {
        "target": nim.target,
        "name": nim.name,
        "node": nim.node,
        "gpu_tier": nim.gpu_tier,
        "decision": decision.action,
        "reason": decision.reason,
        "known": decision.known,
        "idle_since": _usage.iso(decision.idle_since),
        "source": decision.source,
        "hourly": decision.price.hourly,
        "currency": decision.price.currency,
    }


def _log_notes(usages: t.Mapping[str, Mapping], names: t.AbstractSet[str]) -> list[str]:
    """Say what is not known of the logs of targets on which something runs."""
    notes = []
    for name in sorted(names):
        usage = usages.get(name)
        if usage is None:
            continue
        if usage.get("error") or usage.get("usage") is None:
            notes.append(f"{name}: its use is not known: {usage.get('error') or 'it was not read'}")
        elif not usage["usage"]["log"]["unbroken"]:
            notes += [f"{name}: {problem}" for problem in usage["usage"]["log"]["problems"]]
    return notes


def _table(rows: t.Sequence[Row], now: float) -> list[str]:
    """Return the table, one line a NIM, and a sum below it."""
    text = _lines.table(_HEADINGS, [_cells(row) for row in rows], ("SAVES PER HOUR",))
    counts = {action: sum(row["decision"] == action for row in rows) for action in _ORDER}
    unknown = sum(not row["known"] for row in rows)
    stops = [row for row in rows if row["decision"] == _guard.STOP]
    text.append(
        f"{_lines.counted(len(rows), 'NIM')} switched on at {_usage.iso(now)}: {counts[_guard.STOP]} to stop, "
        f"{counts[_guard.WARN]} to look at, {counts[_guard.KEEP]} kept, of {unknown} the use is not known."
        f"{_saved(stops)}"
    )
    return text


def _cells(row: Row) -> tuple[str, ...]:
    saves = "-"
    if row["decision"] == _guard.STOP and row["hourly"] is not None:
        saves = f"{row['hourly']:.2f} {row['currency']}"
    return (
        row["node"],
        row["target"],
        row["gpu_tier"] or "-",
        row["decision"] if row["known"] else f"{row['decision']} (not known)",
        row["idle_since"] or "-",
        saves,
        _lines.one_line(row["reason"]),
    )


def _saved(stops: t.Sequence[Row]) -> str:
    sums: dict[str, float] = {}
    for row in stops:
        if row["hourly"] is not None:
            sums[row["currency"]] = sums.get(row["currency"], 0.0) + row["hourly"]
    without = sum(row["hourly"] is None for row in stops)
    told_of = " and ".join(f"{amount:.2f} {currency}" for currency, amount in sorted(sums.items()))
    text = f" The stops save {told_of} per hour." if sums else ""
    return f"{text} Of {_lines.counted(without, 'stop')} the price is not known." if without else text


__all__ = ("GuardError", "Read", "decided", "policies_of", "spend_of", "told")
