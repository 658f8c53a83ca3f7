# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The price APIs of the clouds, and their quotas, opened with what the inventory says. Loaded only when they are asked.

Prices are the same for everybody, so of the targets of one cloud the first lends its credentials.
"""

from __future__ import annotations

import typing as t
import warnings

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu, _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._catalog import Node
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import deployment_name
from ansible_collections.budgetguard.techops.plugins.module_utils._price_book import Ask
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._price_targets import Place

Things = t.Sequence[_pricing.Thing]
Quotes = t.Mapping[_pricing.Thing, _pricing.Quote]
Options = t.Mapping[str, t.Any]

USAGES_API = "2024-07-01"


class Apis:
    """What is asked of the clouds in one run."""

    def __init__(self, places: t.Sequence[Place], gcp_api_key: str | None, currency: str, now: float) -> None:
        self._connections: dict[str, Options] = {}
        for item in places:
            if item.connection is not None:
                self._connections.setdefault(item.target.provider, item.connection)
        self._places = places
        self._key = gcp_api_key
        self._currency = currency
        self._now = now
        self._quotas: dict[tuple[str, str], t.Any] = {}
        self.unread_quotas: list[str] = []

    def asks(self) -> dict[str, Ask]:
        """Return the function that asks each cloud for prices."""
        return {"aws": self._aws, "azure": self._azure, "gcp": self._gcp}

    def _aws(self, things: Things) -> Quotes:
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_prices import AwsPrices

        return AwsPrices(self._connections.get("aws", {}), self._currency, now=self._now).quotes(things)

    def _azure(self, things: Things) -> Quotes:
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_prices import AzurePrices

        return AzurePrices(self._currency, now=self._now).quotes(things)

    def _gcp(self, things: Things) -> Quotes:
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_prices import GcpPrices

        token = None if self._key else self._gcp_token
        return GcpPrices(self._currency, now=self._now, api_key=self._key, token=token).quotes(things)

    def _gcp_token(self) -> str:
        options = self._connections.get("gcp", {})
        if options.get("service_account_contents"):
            return str(_gcp_session(options).token())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from ansible_collections.budgetguard.techops.plugins.module_utils._providers._tokens import Google

            return Google(options).get()

    # ---- quotas ------------------------------------------------------------------------------------------------------

    def quota(self, target: _pricing.Target, node: Node, nim: _pricing.Nim) -> str | None:
        """Say why a quota does not allow one copy of a NIM; None where it does or cannot be read."""
        if nim.machine is None or target.provider not in ("azure", "gcp"):
            return None
        key = (target.provider, target.region)
        try:
            if key not in self._quotas:
                self._quotas[key] = self._read_quotas(target)
            if target.provider == "azure":
                return _azure_problem(self._quotas[key], target.region, nim)
            return _gcp_problem(self._quotas[key], target, node, nim)
        except (MissingLibraryError, ProviderError, ValueError) as exc:
            self._quotas[key] = None
            self.unread_quotas.append(f"the quotas of {target.provider} in {target.region} cannot be read: {exc}")
            return None

    def _read_quotas(self, target: _pricing.Target) -> t.Any:
        options = self._connections.get(target.provider)
        if options is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if target.provider == "azure":
                return _azure_session(options).rest_list(
                    f"read the quotas of region {target.region}",
                    f"providers/Microsoft.Compute/locations/{target.region}/usages",
                    USAGES_API,
                )
            session = _gcp_session(options)
            return session.project, session.quotas(target.region), session.quotas(None)


def _azure_session(options: Options) -> t.Any:
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import AzureSession

    return AzureSession(options)


def _gcp_session(options: Options) -> t.Any:
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession

    return GcpSession(options)


def _azure_problem(usages: t.Any, region: str, nim: _pricing.Nim) -> str | None:
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_quota as quota

    if usages is None or nim.machine is None:
        return None
    need = quota.Need(quota.GPU_FAMILIES.get(nim.gpu_tier, ""), nim.machine.vcpus, now=True)
    return " ".join(quota.problems([need], usages, region)) or None


def _gcp_problem(read: t.Any, target: _pricing.Target, node: Node, nim: _pricing.Nim) -> str | None:
    from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_quota as quota
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings

    if read is None or nim.machine is None:
        return None
    project, of_region, of_project = read
    spot = "always" if nim.provisioning == "spot" else "never"
    settings = GcpSettings(location=f"{target.region}-a", spot=spot)
    tier = nim.gpu_tier
    item = Wanted(
        name=deployment_name(node, tier),
        node=node.name,
        gpu_tier=tier,
        image="",
        kind=node.kind,
        machine=nim.machine,
        gpus=nim.machine.gpus,
        replicas=1,
        start=True,
        serves={},
        env={},
        infer_path=node.infer_path,
        disk_gib=nim.disk_gib,
        shm_gib=node.shm_gib,
        needs_hf_token=False,
    )
    needs = quota.needs_of_one(settings, item)
    found = quota.problems(needs.region, of_region, f"region {target.region}", project)
    found += quota.problems(needs.project, of_project, f"project {project}", project)
    return " ".join(found) or None


def compared_targets(places: t.Sequence[Place], regions: t.Mapping[str, t.Sequence[str]]) -> list[_pricing.Target]:
    """Return a target for each cloud and region that are compared: those named, else those of the inventory.

    Of what the inventory says of a target, only what prices depend on counts, and not whether machines are Spot.
    """
    found: dict[tuple[str, str], _pricing.Target] = {}
    for item in places:
        target = item.target
        if item.error or (not target.region and target.provider in _gpu.PROVIDERS_WITH_MACHINES):
            continue
        if target.provider not in regions:
            found.setdefault((target.provider, target.region), target)
    for provider, names in regions.items():
        for region in names:
            found.setdefault((provider, region), _pricing.Target(f"{provider} {region}", provider, region, {}))
    return [found[key] for key in sorted(found)]
