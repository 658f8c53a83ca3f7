# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What is to be measured, and what was measured with its price. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import (
    _benchmark,
    _catalog,
    _figures,
    _lines,
    _matrix,
    _nim_request,
)

LEFT_OUT = "left_out"

_SILENT_STATES = ("stopped", "stopping")
_RIGHT = frozenset(("SECONDS", "PRICE IN USD"))
_KEPT = (
    *_figures.MEASURED_ON,
    "provider",
    "kind",
    "mode",
    *(name for names in _benchmark.SIZES.values() for name in names),
    "seconds",
    "times",
    "spread_percent",
    "tokens",
    "seconds_per_step_megapixel",
    "seconds_per_1k_tokens",
    "measured_at",
)
"""What is kept of a result. Money is not: see M(_figures)."""

Row = dict[str, t.Any]
Given = t.Mapping[str, t.Any]


class BenchmarkError(ValueError):
    """What was given is not what the modules return."""


# ---- what is to be measured ------------------------------------------------------------------------------------------


def plan(targets: t.Any, catalog: t.Mapping[str, _catalog.Node], nodes: t.Any = None) -> dict[str, list[Row]]:
    """Return C(requests), one for each node of each NIM that may run, and C(left_out) with reasons.

    Raises BenchmarkError, and ValueError for nodes that are not known.
    """
    wanted = _wanted(catalog, nodes)
    requests: list[Row] = []
    left_out: list[Row] = []
    for target in _checked(targets):
        if not target["read"]:
            reason = target.get("error") or "the target could not be read"
            failed = not target.get("asleep")
            left_out.append({"node": None, "target": target["target"], "reason": reason, "failed": failed})
            continue
        for deployment in target.get("deployments") or ():
            for name in deployment.get("serves") or [str(deployment.get("node"))]:
                if wanted is not None and name not in wanted:
                    continue
                asked = _asked(target, deployment, name, catalog.get(name))
                if isinstance(asked, str):
                    identity = {"node": name, "target": target["target"], "gpu_tier": deployment.get("gpu_tier")}
                    left_out.append({**identity, "reason": asked, "failed": False})
                else:
                    requests.append(asked)
    return {"requests": requests, LEFT_OUT: left_out}


def _wanted(catalog: t.Mapping[str, _catalog.Node], nodes: t.Any) -> set[str] | None:
    names = _matrix.node_names(nodes) if nodes else []
    return {_catalog.find(catalog, name).name for name in names if name != "all"} or None


def _checked(targets: t.Any) -> t.Sequence[Given]:
    if not isinstance(targets, (list, tuple)) or not all(
        isinstance(target, t.Mapping) and {"target", "read"} <= target.keys() for target in targets
    ):
        raise BenchmarkError("targets must be a list, as nim_targets_info returns it")
    return targets


def _asked(target: Given, deployment: Given, name: str, node: _catalog.Node | None) -> Row | str:
    """Return the request for one node of a NIM, or why there is none."""
    if target.get("provider") == "nvidia":
        return "at NVIDIA a request costs credits and may start an instance, and there is no public price"
    if deployment.get("state") in _SILENT_STATES:
        return "it is stopped, and nothing is started here"
    if not deployment.get("endpoint") or not deployment.get("infer_url"):
        return str(deployment.get("reason") or "it has no address yet")
    if node is None:
        return "the catalogue does not know what to ask of it; see nim_catalog"
    if node.kind not in _nim_request.KINDS:
        return f"artists' nodes have no request of the kind {node.kind}"
    served = deployment.get("serves") or ()
    row = {
        "url": deployment["endpoint"],
        "health_url": deployment.get("health_url"),
        "infer_url": deployment["infer_url"],
        "auth": deployment.get("auth") or "none",
        "node": name,
        "name": deployment.get("name"),
        "target": target["target"],
        "provider": target.get("provider"),
        "gpu_tier": deployment.get("gpu_tier"),
        "image": deployment.get("image"),
        "kind": node.kind,
        # The artists' document has a mode only where several nodes share a NIM, so only then is one sent.
        "mode": (deployment.get("variants") or {}).get(name) if len(served) > 1 else None,
        **{size: getattr(node, size) for size in _benchmark.SIZES[node.kind]},
    }
    # Options that are not set are left out: a module would take None for a value.
    return {key: value for key, value in row.items() if value is not None}


# ---- what was measured -----------------------------------------------------------------------------------------------


def report(
    results: t.Any, planned: Given, targets: t.Any, prices: t.Any = None, stored: t.Any = None
) -> dict[str, t.Any]:
    """Return rows with prices, lines for people, problems, and the document to keep.

    ``results`` are those of nim_benchmark, ``planned`` is what :func:`plan` returned, ``prices`` is what nim_price_info
    returned as such, ``stored`` what was kept before. Raises BenchmarkError and FiguresError.
    """
    if not isinstance(results, (list, tuple)) or not all(
        isinstance(one, t.Mapping) and "result" in one for one in results
    ):
        raise BenchmarkError("results must be a list, as nim_benchmark returns it")
    before = _figures.parse(stored)
    priced = {(str(row.get("target")), str(row.get("name"))): row for row in prices or ()}
    rows = [{**one, **price_of(one, priced.get((one["target"], one["name"])))} for one in results]
    rows += [{"result": LEFT_OUT, "price_text": None, **one} for one in planned[LEFT_OUT]]
    measured = [
        {name: row[name] for name in _KEPT if name in row} for row in rows if row["result"] == _benchmark.MEASURED
    ]
    here = {target["target"]: target for target in _checked(targets)}
    return {
        "rows": rows,
        "lines": _table(rows),
        "problems": [_sentence(row) for row in rows if row["result"] == _benchmark.FAILED or row.get("failed")],
        "document": _figures.merged(before, measured, lambda figure: _exists(figure, here)),
    }


def price_of(result: Given, row: Given | None) -> Row:
    """Return what a result costs by a row of nim_price_info, or why that is not known."""
    names = ("hourly_usd", "replicas", "usd_per_image", "usd_per_1k_tokens", "why", "price_text")
    found: Row = dict.fromkeys(names)
    if result["result"] != _benchmark.MEASURED:
        return found
    if row is None or row.get("hourly") is None:
        return {**found, "why": (row or {}).get("why") or "no price of it was looked up"}
    if row.get("currency") != "USD":
        return {**found, "why": f"its price is in {row.get('currency')}, and nothing is converted"}
    hourly, copies = row["hourly"], row.get("replicas")
    image = _figures.cost(_figures.image_seconds(result), hourly, copies)
    tokens = _figures.cost(result.get("seconds_per_1k_tokens"), hourly, copies)
    told = "" if row.get("complete", True) else "> "
    text = None
    if image is not None:
        text = f"{told}{image:.4f} an image"
    elif tokens is not None:
        text = f"{told}{tokens:.4f} for 1,000 tokens"
    return dict(zip(names, (hourly, copies, image, tokens, None, text)))


def _exists(figure: Given, targets: t.Mapping[str, Given]) -> bool:
    """Say whether a NIM that was measured before is still there. Of a target that cannot be read, it is."""
    target = targets.get(figure["target"])
    if target is None or not target["read"]:
        return target is not None
    return any(
        one.get("name") == figure["name"] and figure["node"] in (one.get("serves") or [one.get("node")])
        for one in target.get("deployments") or ()
    )


def _table(rows: t.Sequence[Row]) -> list[str]:
    headings = ("NODE", "TARGET", "TIER", "RESULT", "ASKED FOR", "SECONDS", "PRICE IN USD")
    order = sorted(rows, key=lambda row: (str(row["node"] or "").casefold(), str(row["target"])))
    cells = [
        (
            str(row["node"] or "-"),
            str(row["target"]),
            str(row.get("gpu_tier") or "-"),
            str(row["result"]).replace("_", " "),
            _benchmark.request_of(row).told() if row.get("kind") else "-",
            "-" if row.get("seconds") is None else f"{row['seconds']:.2f}",
            row["price_text"] or "-",
        )
        for row in order
    ]
    heading, *body = _lines.table(headings, cells, _RIGHT)
    lines = [heading]
    for row, line in zip(order, body):
        lines.append(line)
        notes = [row.get("reason"), f"no price: {row['why']}" if row.get("why") else None]
        if row["result"] == _benchmark.MEASURED and row["busy"] is None:
            notes.append(f"whether somebody else used it is not known: {row['busy_reason']}")
        lines += [f"    {_lines.one_line(note)}" for note in notes if note]
    counts = [(name, sum(row["result"] == name for row in rows)) for name in (*_benchmark.RESULTS, LEFT_OUT)]
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts if count)
    return [*lines, f"{told or 'nothing to measure'}."]


def _sentence(row: Row) -> str:
    what = " on ".join(str(row[key]) for key in ("node", "target") if row[key])
    return f"{what}: {_lines.one_line(row['reason'])}"


# ---- before a request runs -------------------------------------------------------------------------------------------


def request_costs(
    stored: t.Any,
    prices: t.Any,
    *,
    node: str,
    steps: int | None = None,
    width: int | None = None,
    height: int | None = None,
    tokens: int = 1000,
) -> list[Row]:
    """Return what a request of a node will take and cost on each NIM that was measured, the cheapest first.

    Those without a price come last. Raises FiguresError and BenchmarkError.
    """
    if not isinstance(prices, (list, tuple)) or not all(isinstance(row, t.Mapping) for row in prices):
        raise BenchmarkError("prices must be a list, as nim_price_info returns it")
    priced = {(str(row.get("target")), str(row.get("name"))): row for row in prices}
    found = []
    for figure in _figures.parse(stored):
        if figure["node"] != node:
            continue
        seconds = _figures.expected_seconds(figure, steps=steps, width=width, height=height, tokens=tokens)
        row = priced.get((figure["target"], figure["name"]), {})
        if row.get("gpu_tier", figure.get("gpu_tier")) != figure.get("gpu_tier"):
            continue
        usd = _figures.cost(seconds, row.get("hourly"), row.get("replicas")) if row.get("currency") == "USD" else None
        found.append(
            {
                **{name: figure.get(name) for name in (*_figures.MEASURED_ON, "provider", "measured_at")},
                "seconds": None if seconds is None else round(seconds, 2),
                "usd": usd,
                "estimate": True,
            }
        )
    return sorted(found, key=lambda one: (one["usd"] is None, one["usd"] or 0.0, one["target"], one["name"]))


__all__ = ("LEFT_OUT", "BenchmarkError", "plan", "price_of", "report", "request_costs")
