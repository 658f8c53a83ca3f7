# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What targets say about their NIMs and what the endpoints answered, put together. Pure.

A NIM that is stopped is not asked and is no problem; one that should run and does not answer is.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines

STOPPED = "stopped"
FAILED = "failed"
UNREADABLE = "unreadable"
NOT_ASKED = "not_asked"

ORDER = (
    UNREADABLE,
    FAILED,
    "unreachable",
    "wrong_service",
    "open",
    "refused",
    "starting",
    NOT_ASKED,
    "ready",
    STOPPED,
)
"""Results of a row, the one that needs attention most first. Those that are not of the endpoint check are above."""

PROBLEMS = frozenset({UNREADABLE, FAILED, "unreachable", "wrong_service", "open", "refused"})

METRICS = "budgetguard_nim"
"""How the names of the Prometheus metrics begin."""

_SILENT_STATES = ("stopped", "stopping")
_HEADINGS = ("NODE", "TARGET", "TIER", "RESULT", "LATENCY")


class HealthError(ValueError):
    """What was given is not the result of reading targets, or of checking endpoints."""


def endpoints(targets: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return what is to be checked: every NIM that has an address and is not switched off.

    The result is the option ``endpoints`` of ``nim_endpoint_info``. Raises HealthError.
    """
    found = []
    for target, deployment in _deployments(targets):
        if not deployment.get("endpoint") or deployment.get("state") in _SILENT_STATES:
            continue
        found.append(
            {
                "url": deployment["endpoint"],
                "health_url": deployment.get("health_url"),
                "infer_url": deployment.get("infer_url"),
                "auth": "bearer" if target.get("provider") == "nvidia" else deployment.get("auth") or "none",
                **_identity(target, deployment),
            }
        )
    # Options that are not set are left out: a module would take None for a value.
    return [{key: value for key, value in item.items() if value is not None} for item in found]


def report(
    targets: t.Sequence[t.Mapping[str, t.Any]],
    findings: t.Sequence[t.Mapping[str, t.Any]],
    *,
    now: datetime.datetime,
    certificate_days: int = 21,
) -> dict[str, t.Any]:
    """Return rows, lines for people, problems, warnings, counts and the text for Prometheus.

    ``findings`` are the result of ``nim_endpoint_info``. A certificate that ends within ``certificate_days`` is a
    warning. Raises HealthError.
    """
    if not isinstance(findings, (list, tuple)) or not all(
        isinstance(item, t.Mapping) and "url" in item for item in findings
    ):
        raise HealthError("endpoints: must be a list, as nim_endpoint_info returns it")
    by_name = {_key(item): item for item in findings}
    rows = [_unreadable(target) for target in _checked(targets) if not target["read"] and not target.get("asleep")]
    for target, deployment in _deployments(targets):
        identity = _identity(target, deployment)
        finding = by_name.get(_key({"url": deployment.get("endpoint"), **identity}))
        rows.append(_row(identity, deployment, finding))
    rows.sort(key=lambda row: (ORDER.index(row["result"]), str(row["target"]), str(row["node"] or "").casefold()))
    problems = [_sentence(row) for row in rows if row["problem"]]
    return {
        "ok": not problems,
        "checked_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "counts": {result: sum(row["result"] == result for row in rows) for result in ORDER},
        "problems": problems,
        "warnings": _certificates(rows, now, certificate_days),
        "rows": rows,
        "lines": _table(rows),
        "prometheus": _prometheus(rows, targets, now),
    }


def _checked(targets: t.Any) -> t.Sequence[t.Mapping[str, t.Any]]:
    if not isinstance(targets, (list, tuple)):
        raise HealthError("targets: must be a list, as nim_targets_info returns it")
    for number, target in enumerate(targets):
        if not isinstance(target, t.Mapping) or "target" not in target or "read" not in target:
            raise HealthError(f"targets[{number}]: must be a mapping with target and read")
    return targets


def _deployments(
    targets: t.Sequence[t.Mapping[str, t.Any]],
) -> t.Iterator[tuple[t.Mapping[str, t.Any], t.Mapping[str, t.Any]]]:
    for target in _checked(targets):
        if target["read"]:
            for deployment in target.get("deployments") or ():
                yield target, deployment


def _identity(target: t.Mapping[str, t.Any], deployment: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "node": " + ".join(deployment.get("serves") or [str(deployment.get("node"))]),
        "target": target["target"],
        "provider": target.get("provider"),
        "gpu_tier": deployment.get("gpu_tier"),
        "state": deployment.get("state"),
    }


def _key(item: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
    return tuple(item.get(name) for name in ("url", "node", "target", "gpu_tier"))


def _unreadable(target: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    identity = {"node": None, "target": target["target"], "provider": target.get("provider"), "gpu_tier": None}
    reason = target.get("error") or "the target could not be read"
    return {**identity, "state": None, "result": UNREADABLE, "reason": reason, "problem": True, **_NOTHING}


_NOTHING: t.Mapping[str, t.Any] = {
    "url": None,
    "status": None,
    "latency_ms": None,
    "certificate_expires_at": None,
    "model": None,
}


def _row(
    identity: t.Mapping[str, t.Any], deployment: t.Mapping[str, t.Any], finding: t.Mapping[str, t.Any] | None
) -> dict[str, t.Any]:
    """Return one NIM: what its endpoint answered, or what the target says where it was not asked."""
    state = deployment.get("state")
    answered = {key: (finding or {}).get(key) for key in _NOTHING}
    row = {**identity, **answered, "url": deployment.get("endpoint")}
    if finding is None:
        result = STOPPED if state in _SILENT_STATES else {"failed": FAILED, "starting": "starting"}.get(str(state))
        result = result or NOT_ASKED
        reason = None if result == STOPPED else deployment.get("reason") or "it has no address yet"
        return {**row, "result": result, "reason": reason, "problem": result in PROBLEMS}
    result, reason = str(finding.get("result")), finding.get("reason")
    if state == "failed" and result != "ready":
        # The target knows better why than the load balancer's 503.
        result, reason = FAILED, deployment.get("reason") or reason
    elif result == "starting" and state == "running":
        return {**row, "result": result, "reason": f"should be running, but {reason}", "problem": True}
    elif result == "starting":
        reason = deployment.get("reason") or reason
    if result not in ORDER:
        raise HealthError(f"endpoints: '{result}' is no result of nim_endpoint_info")
    return {**row, "result": result, "reason": reason, "problem": result in PROBLEMS}


def _sentence(row: t.Mapping[str, t.Any]) -> str:
    what = " on ".join(str(row[key]) for key in ("node", "target") if row[key])
    return f"{what}: {row['result'].replace('_', ' ')}: {_lines.one_line(row['reason'] or 'no reason was given')}"


def _certificates(rows: t.Sequence[t.Mapping[str, t.Any]], now: datetime.datetime, days: int) -> list[str]:
    limit = (now + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ends = {row["url"]: row["certificate_expires_at"] for row in rows if row["certificate_expires_at"]}
    return [f"the certificate of {url} ends on {end[:10]}" for url, end in sorted(ends.items()) if end < limit]


def _table(rows: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return a table for people: what needs attention on top, its reason on the line below."""
    heading, *body = _lines.table(_HEADINGS, [_cells(row) for row in rows])
    text = [heading]
    for row, line in zip(rows, body):
        text.append(line)
        if row["reason"]:
            text.append(f"    why: {_lines.one_line(row['reason'])}")
    counts = [(result, sum(row["result"] == result for row in rows)) for result in ORDER]
    told = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in counts if count)
    return [*text, f"{told or 'nothing to check'}."]


def _cells(row: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    latency = None if row["latency_ms"] is None else f"{row['latency_ms']:.0f} ms"
    values = (row["node"], row["target"], row["gpu_tier"], row["result"].replace("_", " "), latency)
    return tuple(str(value) if value else "-" for value in values)


def _prometheus(
    rows: t.Sequence[t.Mapping[str, t.Any]], targets: t.Sequence[t.Mapping[str, t.Any]], now: datetime.datetime
) -> str:
    """Return the text that node_exporter's textfile collector reads. All values are in base units."""
    nims = [row for row in rows if row["result"] != UNREADABLE]
    text: list[str] = []

    def family(name: str, help_text: str, samples: t.Iterable[tuple[t.Mapping[str, t.Any], float]]) -> None:
        found = [f"{METRICS}_{name}{_labels(labels)} {value:.15g}" for labels, value in samples]
        if found:
            text.extend([f"# HELP {METRICS}_{name} {help_text}", f"# TYPE {METRICS}_{name} gauge", *found])

    family("ready", "1 if the NIM answers as ready.", ((_of(row), float(row["result"] == "ready")) for row in nims))
    family(
        "problem", "1 if somebody has to look at the NIM.", ((_of(row), float(bool(row["problem"]))) for row in nims)
    )
    family("result", "Always 1; the label says the result.", ((_with_result(row), 1.0) for row in nims))
    timed = [row for row in nims if row["latency_ms"] is not None]
    family("latency_seconds", "Time of the health request.", ((_of(row), row["latency_ms"] / 1000) for row in timed))
    dated = [row for row in nims if row["certificate_expires_at"]]
    family(
        "certificate_end_timestamp_seconds",
        "When the certificate ends, in Unix time.",
        ((_of(row), _unix(row["certificate_expires_at"])) for row in dated),
    )
    family(
        "target_read",
        "1 if the target could be read, or is switched off as a whole.",
        (({"target": item["target"]}, float(bool(item["read"] or item.get("asleep")))) for item in targets),
    )
    family("check_timestamp_seconds", "When this was checked, in Unix time.", [({}, now.timestamp())])
    return "\n".join([*text, ""])


def _of(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: row[key] or "" for key in ("node", "target", "provider", "gpu_tier")}


def _with_result(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {**_of(row), "result": row["result"]}


def _labels(labels: t.Mapping[str, t.Any]) -> str:
    if not labels:
        return ""
    escaped = {
        key: str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, value in labels.items()
    }
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped.items()) + "}"


def _unix(moment: str) -> float:
    # Before Python 3.11 fromisoformat does not know the Z.
    return datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


__all__ = ("METRICS", "ORDER", "PROBLEMS", "HealthError", "endpoints", "report")
