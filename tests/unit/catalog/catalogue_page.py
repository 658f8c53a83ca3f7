# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the tables of docs/catalogue.md from the data.

The text around the tables is written by hand; each table stands between a pair of marks. Run
``python -m tests.unit.catalog.catalogue_page`` from the root of the collection after changing the data.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _gpu

PAGE = Path(__file__).resolve().parents[3] / "docs" / "catalogue.md"


def render(page: str) -> str:
    """Return the page with every table as the data has it now."""
    for name, make_table in TABLES.items():
        start, end = f"<!-- table {name} -->\n", "\n<!-- end of table -->"
        before, mark, rest = page.partition(start)
        _old, end_mark, after = rest.partition(end)
        if not mark or not end_mark:
            raise ValueError(f"{PAGE}: there is no table {name}")
        page = before + start + make_table() + end + after
    return page


def _table(headings: t.Sequence[str], rows: t.Iterable[t.Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _nodes() -> str:
    headings = (
        "Node",
        "Also called",
        "Kind",
        "Image and tag",
        "Variant",
        "GPU memory",
        "Host memory",
        "Compute capability",
        "Cache",
        "Hugging Face token",
        "Verified",
    )
    return _table(headings, (_node_row(node) for node in _catalog.CATALOG.values()))


def _node_row(node: _catalog.Node) -> list[str]:
    names = [node.name, ", ".join([node.slug, *node.aliases]), node.kind]
    if node.image is None:
        return [*names, "hosted only", *["-"] * 7]
    variant = "-"
    if node.variants:
        variant = f"`{node.variant}` of {', '.join(node.variants)}"
    return [
        *names,
        f"`{node.image}:{node.tag}`",
        variant,
        f"{node.min_gpu_memory_gib} GiB",
        f"{node.min_host_memory_gib} GiB",
        ".".join(map(str, node.min_compute_capability)),
        f"{node.disk_gib} GiB",
        "yes" if node.needs_hf_token else "no",
        "yes" if node.verified else "no",
    ]


def _runs_on() -> str:
    rows = []
    for node in _catalog.CATALOG.values():
        if node.hosted_only:
            continue
        others = [name for name in node.gpus_by_tier if name not in node.listed_tiers]
        defaults = [_default(node, provider) for provider in _gpu.PROVIDERS_WITH_MACHINES]
        rows.append([node.name, _counted(node, node.listed_tiers), _counted(node, others), *defaults])
    return _table(("Node", "NVIDIA lists", "Plausible, unverified", "Default on AWS", "on Azure", "on GCP"), rows)


def _counted(node: _catalog.Node, tiers: t.Iterable[str]) -> str:
    named = []
    for name in tiers:
        gpus = node.gpus_by_tier[name]
        named.append(name if gpus == 1 else f"{gpus} x {name}")
    return ", ".join(named) or "-"


def _default(node: _catalog.Node, provider: str) -> str:
    tier = _fit.default_tier(node, provider)
    machine = _fit.check(node, tier, provider).machine
    return f"{tier}, {machine.name}" if machine else tier


def _licences() -> str:
    rows = []
    for node in _catalog.CATALOG.values():
        if node.hosted_only:
            continue
        links = ", ".join(f"[{licence.name}]({licence.url})" for licence in node.licences)
        rows.append([node.name, links, "**no**" if node.non_commercial else "see the terms"])
    return _table(("Node", "Accept the terms of", "Commercial work"), rows)


def _notes() -> str:
    rows = [[node.name, node.notes, node.hosted_url or "-", node.source] for node in _catalog.CATALOG.values()]
    return _table(("Node", "Notes", "NVIDIA's hosted address", "Sources"), rows)


def _tiers() -> str:
    rows = []
    for tier in _gpu.TIERS.values():
        providers = [p for p in _gpu.PROVIDERS_WITH_MACHINES if tier.name in _gpu.provider_tiers(p)]
        capability = ".".join(map(str, tier.compute_capability))
        where = ", ".join(providers) or "local only"
        rows.append(
            [f"`{tier.name}`", tier.title, f"{tier.memory_mib} MiB", capability, where, tier.notes or "-", tier.source]
        )
    return _table(("Tier", "GPU", "Memory of one", "Compute capability", "Where", "Notes", "Sources"), rows)


def _machines() -> str:
    rows = [
        _machine_row(row)
        for provider in _gpu.PROVIDERS_WITH_MACHINES
        for tier in _gpu.provider_tiers(provider)
        for row in _gpu.machines(provider, tier)
    ]
    return _table(("Provider", "Tier", "Machine", "GPUs", "vCPUs", "Host memory", "Local disk", "Notes"), rows)


def _machine_row(row: _gpu.Machine) -> list[object]:
    return [
        row.provider,
        f"`{row.tier}`",
        f"`{row.name}`",
        row.gpus,
        row.vcpus,
        f"{row.memory_gib} GiB",
        f"{row.local_disk_gib} GiB" if row.local_disk_gib else "-",
        row.notes or "-",
    ]


TABLES: t.Mapping[str, t.Callable[[], str]] = {
    "nodes": _nodes,
    "runs-on": _runs_on,
    "licences": _licences,
    "notes": _notes,
    "tiers": _tiers,
    "machines": _machines,
}


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
