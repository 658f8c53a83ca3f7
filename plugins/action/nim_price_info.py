# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what NIMs and targets cost, on the controller."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from decimal import Decimal

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import (
    _catalog,
    _gpu,
    _price_book,
    _price_compare,
    _price_report,
    _pricing,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _price_apis
from ansible_collections.budgetguard.techops.plugins.plugin_utils._price_targets import (
    Asked,
    Place,
    currency_problem,
    place,
)

TARGET_GROUP = "nim_providers"

Quotes = t.Mapping[_pricing.Thing, _pricing.Quote]

SPEC: dict[str, dict[str, t.Any]] = {
    "targets": {"type": "list", "elements": "str"},
    "nodes": {"type": "raw"},
    "found": {"type": "list", "elements": "dict"},
    "compare": {"type": "bool", "default": False},
    "compare_nodes": {"type": "list", "elements": "str", "default": []},
    "compare_regions": {"type": "dict", "default": {}},
    "compare_spot": {"type": "bool", "default": False},
    "check_quotas": {"type": "bool", "default": False},
    "currency": {"type": "str", "default": "USD"},
    "prices": {"type": "str", "choices": list(_price_book.MODES), "default": _price_book.AUTO},
    "cache_path": {"type": "path", "default": "~/.cache/budgetguard/prices.json"},
    "cache_hours": {"type": "float", "default": 24.0},
    "list_max_age_days": {"type": "int", "default": 90},
    "office_hours_per_week": {"type": "float", "default": 50.0},
    "gcp_api_key": {"type": "str", "no_log": True},
}


class ActionModule(ActionBase):
    """The action of nim_price_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Look prices up and return them."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, options = self.validate_argument_spec(SPEC)
        _check(options)
        names = options["targets"]
        if names is None:
            names = task_vars.get("groups", {}).get(TARGET_GROUP, [])
        found = {str(target.get("target")): target for target in options["found"] or ()}
        # Variables are templated here; what follows knows plain data only.
        places = [place(str(name), task_vars, options["nodes"], found.get(str(name))) for name in names]
        result.update(changed=False, **_Prices(options, time.time()).tell(places, task_vars))
        warnings = result.pop("old")
        if warnings:
            result["warnings"] = [*result.get("warnings", []), *warnings]
        return result


def _check(options: t.Mapping[str, t.Any]) -> None:
    """Refuse options that make no sense."""
    problems = [
        f"{name} is {options[name]:g}; it must be above 0"
        for name in ("cache_hours", "list_max_age_days", "office_hours_per_week")
        if options[name] <= 0
    ]
    problems += filter(None, [currency_problem(options["currency"])])
    for provider, regions in options["compare_regions"].items():
        if provider not in _gpu.PROVIDERS_WITH_MACHINES:
            known = ", ".join(_gpu.PROVIDERS_WITH_MACHINES)
            problems.append(f"compare_regions: {provider!r} must be one of {known}")
        elif not isinstance(regions, list) or not all(isinstance(region, str) for region in regions):
            problems.append(f"compare_regions.{provider}: must be a list of regions, such as [us-east-1]")
    if problems:
        raise AnsibleActionFail("\n".join(problems))


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is to be priced of a target: of each NIM its parts, or the reason why it has none that are known."""

    place: Place
    nims: tuple[list[_pricing.Part] | str, ...]
    fixed: tuple[_pricing.Part, ...]
    transfer: _pricing.Thing | None

    @classmethod
    def of(cls, item: Place) -> _Plan:
        """Plan a target."""
        if item.error or _no_region(item.target):
            reason = item.error or str(_no_region(item.target))
            return cls(item, tuple(reason for _nim in item.nims), (), None)
        nims = [asked.nim for asked in item.nims if asked.nim is not None]
        fixed = _pricing.parts_of_target(item.target, nims)
        parts = tuple(_parts(item.target, asked) for asked in item.nims)
        return cls(item, parts, tuple(fixed), _pricing.transfer_of(item.target))

    def things(self) -> set[_pricing.Thing]:
        """Return what prices are needed for."""
        parts = [part for nim in self.nims if not isinstance(nim, str) for part in nim]
        return _pricing.things_of([*parts, *self.fixed]) | ({self.transfer} if self.transfer else set())


class _Prices:
    """One look at prices."""

    def __init__(self, options: t.Mapping[str, t.Any], now: float) -> None:
        self._options = options
        self._now = now
        self._currency = str(options["currency"])
        self._office = Decimal(str(options["office_hours_per_week"]))

    def tell(self, places: t.Sequence[Place], task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return all that was asked for."""
        cache = _price_book.Cache(self._options["cache_path"] or None, self._options["cache_hours"], self._now)
        apis = _price_apis.Apis(places, self._options["gcp_api_key"], self._currency, self._now)
        book = _price_book.Book(apis.asks(), cache, currency=self._currency, mode=self._options["prices"])
        plans = [_Plan.of(item) for item in places]
        needed = {thing for plan in plans for thing in plan.things()}

        def look_up(things: t.Iterable[_pricing.Thing]) -> Quotes:
            # All at once, the inventory's too, so that each price API is asked once.
            return book.look_up({*things, *needed})

        comparison = self._compare(places, task_vars, look_up, apis)
        quotes = look_up(())
        prices = [row for plan in plans for row in self._nim_rows(plan, quotes)]
        targets = [self._target_row(plan, quotes) for plan in plans]
        everything = [*prices, *targets, *(comparison["choices"] or ())]
        return {
            "currency": self._currency,
            "read_at": _price_book.iso(self._now),
            "prices": prices,
            "targets": targets,
            "problems": list(dict.fromkeys([*cache.problems, *book.problems, *apis.unread_quotas])),
            "old": _price_report.old_prices(everything, self._now, self._options["list_max_age_days"]),
            **comparison,
        }

    # ---- what the inventory has --------------------------------------------------------------------------------------

    def _nim_rows(self, plan: _Plan, quotes: Quotes) -> t.Iterator[dict[str, t.Any]]:
        target = plan.place.target
        for asked, parts in zip(plan.place.nims, plan.nims):
            unknown = isinstance(parts, str)
            yield _price_report.nim_row(
                target,
                asked.node,
                asked.name,
                asked.gpu_tier,
                asked.nim,
                None if isinstance(parts, str) else self._sum(target, parts, quotes),
                currency=self._currency,
                office_hours=self._office,
                why=str(parts) if unknown else None,
                warnings=asked.warnings,
            )

    def _target_row(self, plan: _Plan, quotes: Quotes) -> dict[str, t.Any]:
        target = plan.place.target
        return _price_report.target_row(
            target,
            _pricing.priced(plan.fixed, quotes),
            quotes[plan.transfer] if plan.transfer else None,
            currency=self._currency,
            error=plan.place.error or _no_region(target),
        )

    def _sum(
        self,
        target: _pricing.Target,
        parts: t.Sequence[_pricing.Part],
        quotes: Quotes,
    ) -> _pricing.Sum:
        if target.local_hourly is None or target.provider != "local":
            return _pricing.priced(parts, quotes)
        if self._currency != "USD":
            return _pricing.priced(
                [
                    _pricing.Part(
                        "machine", Decimal(1), None, why="local_hourly_usd is in USD, and nothing is converted"
                    )
                ],
                quotes,
            )
        return _pricing.given(target.local_hourly, _price_book.iso(self._now))

    # ---- comparison --------------------------------------------------------------------------------------------------

    def _compare(
        self,
        places: t.Sequence[Place],
        task_vars: t.Mapping[str, t.Any],
        look_up: _price_compare.LookUp,
        apis: _price_apis.Apis,
    ) -> dict[str, t.Any]:
        if not self._options["compare"]:
            return {"choices": None, "left_out": None}
        try:
            catalog = _catalog.load(_catalog_of(places, task_vars))
            nodes = [_catalog.find(catalog, name) for name in self._options["compare_nodes"]]
        except ValueError as exc:
            raise AnsibleActionFail(f"compare_nodes: {exc}") from exc
        if not nodes:
            named = dict.fromkeys(asked.node for item in places for asked in item.nims)
            nodes = [catalog[name] for name in named if name in catalog]
        targets = _price_apis.compared_targets(places, self._options["compare_regions"])
        choices, left_out = _price_compare.compare(
            nodes,
            targets,
            look_up,
            spot=self._options["compare_spot"],
            quota=apis.quota if self._options["check_quotas"] else None,
        )
        return {
            "choices": [
                _price_report.choice_row(choice, currency=self._currency, office_hours=self._office)
                for choice in choices
            ],
            "left_out": [_price_report.left_out_row(item) for item in left_out],
        }


def _parts(target: _pricing.Target, asked: Asked) -> list[_pricing.Part] | str:
    """Return the parts of a NIM, or the reason why its price cannot be known."""
    if asked.nim is None:
        return asked.why or "what it is made of is not known"
    try:
        return _pricing.parts_of_nim(target, asked.nim)
    except _pricing.PricingError as exc:
        return str(exc)


def _catalog_of(places: t.Sequence[Place], task_vars: t.Mapping[str, t.Any]) -> t.Any:
    """Return the studio's own entries of the catalogue, which all targets have in common."""
    names = [item.target.name for item in places if not item.error]
    return task_vars["hostvars"][names[0]].get("nim_catalog") if names else None


def _no_region(target: _pricing.Target) -> str | None:
    if target.provider in _gpu.PROVIDERS_WITH_MACHINES and not target.region:
        return "its region is not known: set region in its nim_target"
    return None
