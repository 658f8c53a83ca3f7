# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The bills of the clouds, opened with what the inventory says. A cloud's libraries are loaded only when it is asked.

All targets that one question can be about are asked about at once: at AWS those of one account and cluster name in
different regions, at Azure those of one subscription in different resource groups, at Google those of one export.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t
import warnings

from ansible_collections.budgetguard.techops.plugins.module_utils._spend import UNBILLED, Reading
from ansible_collections.budgetguard.techops.plugins.module_utils._spend_book import Question
from ansible_collections.budgetguard.techops.plugins.plugin_utils._price_targets import Place

TABLE_VARIABLE = "spend_bigquery_table"
"""The variable of a target on Google Cloud that says where its bill is exported to."""

Options = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A target whose bill can be read."""

    place: Place
    options: Options
    table: str = ""

    @property
    def name(self) -> str:
        """The target's name."""
        return self.place.target.name

    @property
    def provider(self) -> str:
        """The target's provider."""
        return self.place.target.provider


@dataclasses.dataclass(frozen=True)
class Task:
    """A question with the targets it is about, in their order."""

    question: Question
    sources: tuple[Source, ...]


def source_of(place: Place, variables: Options) -> Source | str:
    """Return how a target's bill is read, or why it cannot be."""
    provider = place.target.provider
    if place.error is not None:
        return place.error
    if provider in UNBILLED:
        return UNBILLED[provider]
    if place.connection is None:
        return "how it is reached is not known"
    if provider == "gcp":
        table = str(variables.get(TABLE_VARIABLE) or "")
        if not table:
            return (
                f"{TABLE_VARIABLE} is not set; Google tells costs only in the table of BigQuery to which the billing "
                "account is exported, such as studio-billing.billing.gcp_billing_export_resource_v1_0123"
            )
        return Source(place, place.connection, table)
    return Source(place, place.connection)


def tasks(sources: t.Iterable[Source], first_day: str) -> list[Task]:
    """Put targets together that one question can be about."""
    bundles: dict[tuple[str, ...], list[dict[tuple[str, ...], Source]]] = {}
    for source in sources:
        account, place = _account(source), _place(source)
        waiting = bundles.setdefault(account, [])
        free = next((bundle for bundle in waiting if place not in bundle), None)
        if free is None:
            free = {}
            waiting.append(free)
        free[place] = source
    return [
        Task(
            Question(
                account[0],
                tuple(source.name for source in bundle.values()),
                (*account, *("/".join((*place, source.options["cluster"])) for place, source in bundle.items())),
                first_day,
            ),
            tuple(bundle.values()),
        )
        for account, waiting in bundles.items()
        for bundle in waiting
    ]


def _account(source: Source) -> tuple[str, ...]:
    """Return whose bill it is, without anything secret."""
    if source.provider == "aws":
        given = [source.options.get(name) for name in ("cluster", "profile", "access_key", "assume_role_arn")]
        given += [os.environ.get(name) for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL")]
    elif source.provider == "azure":
        names = ("subscription_id", "resource_manager_endpoint", "tenant", "client_id")
        given = [source.options.get(name) for name in names]
    else:
        given = [source.table, source.options.get("service_account_file")]
    return (source.provider, *(str(value or "") for value in given))


def _place(source: Source) -> tuple[str, ...]:
    """Return by what the answer to one question tells a target from others."""
    if source.provider == "aws":
        return (str(source.options["region"]),)
    if source.provider == "azure":
        return (str(source.options["resource_group"]).lower(),)
    return (str(source.options.get("project") or ""), str(source.options["location"]), str(source.options["cluster"]))


class Apis:
    """Asks the clouds. Days are written as 2026-11-28."""

    def __init__(self, today: str, most_bytes: int) -> None:
        self._today = today
        self._most_bytes = most_bytes

    def ask(self, task: Task) -> Reading:
        """Ask one question. Raises ProviderError, MissingLibraryError, and ValueError for wrong options."""
        asks = {"aws": self._aws, "azure": self._azure, "gcp": self._gcp}
        with warnings.catch_warnings():
            # The libraries' remarks about Python are kept to ourselves.
            warnings.simplefilter("ignore")
            return asks[task.question.provider](task)

    def _aws(self, task: Task) -> Reading:
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_spend

        options = task.sources[0].options
        regions = {str(source.options["region"]): source.name for source in task.sources}
        api = _aws_spend.AwsSpend(options)
        return api.read(str(options["cluster"]), regions, task.question.first_day, self._today)

    def _azure(self, task: Task) -> Reading:
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_spend

        clusters = [
            _azure_spend.Cluster(
                source.name,
                str(source.options["cluster"]),
                str(source.options["resource_group"]),
                source.place.target.region,
            )
            for source in task.sources
        ]
        api = _azure_spend.AzureSpend(task.sources[0].options)
        return api.read(clusters, task.question.first_day, self._today)

    def _gcp(self, task: Task) -> Reading:
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_spend

        clusters = [
            _gcp_spend.Cluster(
                source.name, str(source.options["cluster"]), str(source.options["location"]), source.options
            )
            for source in task.sources
        ]
        return _gcp_spend.GcpSpend(task.sources[0].table, self._most_bytes).read(clusters, task.question.first_day)
