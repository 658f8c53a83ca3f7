# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""AWS's bill, by Cost Explorer.

GetCostAndUsage takes two things to group by, and wants 0.01 USD for each page (aws.amazon.com/aws-cost-management
/aws-cost-explorer/pricing). So one question is about all targets of an account with the same cluster name: they are
told apart by region, and NIMs by their tag. Tags count only after they were activated as cost allocation tags, which
takes up to a day and does not work backwards by itself (docs.aws.amazon.com/awsaccountbilling/latest/aboutv2
/activating-tags.html). A tag that is not active looks like a tag that nothing has, so AWS is asked for that as well.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import CLUSTER_TAG, NODE_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_prices import HOME, HOMES
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._price_api import MOST_PAGES
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Line, Reading, merged

METRIC = "UnblendedCost"
CALL_USD = Decimal("0.01")

ACTIVE = "Active"

_COST = "ce:GetCostAndUsage"
_TAGS = "ce:ListCostAllocationTags"


@dataclasses.dataclass(frozen=True)
class Tag:
    """A cost allocation tag. ``since`` is the day of its last change, '' if AWS does not say."""

    active: bool
    since: str = ""


class AwsSpend:
    """Asks with one target's credentials, which have to be those of the account that the targets are in."""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        home = HOMES.get(str(options["region"]), HOME)
        self._session = AwsSession({**options, "region": home})
        self._calls = 0

    def read(self, cluster: str, regions: t.Mapping[str, str], first_day: str, last_day: str) -> Reading:
        """Return what was billed from the first day to the last. ``regions`` are names of targets by region."""
        # AWS does not count the day that it is given as the end.
        end = (datetime.date.fromisoformat(last_day) + datetime.timedelta(days=1)).isoformat()
        lines = merged(self._lines(cluster, regions, first_day, end))
        tags, unread = self._tags()
        unknown, notes = _findings(cluster, list(regions.values()), lines, tags, unread, first_day)
        return Reading(
            lines,
            dict.fromkeys(regions.values(), unknown) if unknown else {},
            notes,
            self._calls,
            self._calls * CALL_USD,
        )

    def _lines(self, cluster: str, regions: t.Mapping[str, str], first_day: str, end: str) -> t.Iterator[Line]:
        request: dict[str, t.Any] = {
            "TimePeriod": {"Start": first_day, "End": end},
            "Granularity": "DAILY",
            "Metrics": [METRIC],
            "Filter": {
                "And": [
                    {"Tags": {"Key": CLUSTER_TAG, "Values": [cluster], "MatchOptions": ["EQUALS"]}},
                    {"Dimensions": {"Key": "REGION", "Values": sorted(regions)}},
                ]
            },
            "GroupBy": [{"Type": "TAG", "Key": NODE_TAG}, {"Type": "DIMENSION", "Key": "REGION"}],
        }
        doing = f"read what AWS has billed ({_COST})"
        for _page in range(MOST_PAGES):
            self._calls += 1
            answer = self._session.call("ce", "get_cost_and_usage", doing, **request)
            for period in answer["ResultsByTime"]:
                for group in period["Groups"]:
                    tag, region = group["Keys"]
                    if region not in regions:
                        continue
                    cost = group["Metrics"][METRIC]
                    # The tag comes with its name before it; nothing behind that are things without it.
                    node = tag.partition("$")[2] or None
                    date, amount = period["TimePeriod"]["Start"][:10], Decimal(cost["Amount"])
                    yield Line(date, regions[region], amount, cost["Unit"], node)
            if not answer.get("NextPageToken"):
                return
            request["NextPageToken"] = answer["NextPageToken"]
        raise ProviderError(f"cannot {doing}: it has more than {MOST_PAGES} pages")

    def _tags(self) -> tuple[dict[str, Tag], str | None]:
        """Return which of our tags count for bills, or why that cannot be told.

        Members of an organization may not ask, only the account that pays.
        """
        self._calls += 1
        try:
            answer = self._session.call(
                "ce",
                "list_cost_allocation_tags",
                f"see which tags count for the bill ({_TAGS})",
                TagKeys=[CLUSTER_TAG, NODE_TAG],
            )
        except ProviderError as exc:
            return {}, str(exc)
        tags = {
            tag["TagKey"]: Tag(tag["Status"] == ACTIVE, str(tag.get("LastUpdatedDate") or "")[:10])
            for tag in answer["CostAllocationTags"]
        }
        return {name: tags.get(name, Tag(active=False)) for name in (CLUSTER_TAG, NODE_TAG)}, None


def _findings(
    cluster: str,
    targets: t.Sequence[str],
    lines: t.Sequence[Line],
    tags: t.Mapping[str, Tag],
    unread: str | None,
    first_day: str,
) -> tuple[str | None, tuple[str, ...]]:
    """Return why nothing is known, if so, and what limits what is known."""
    named = ", ".join(sorted(targets))
    if not lines:
        if tags and not tags[CLUSTER_TAG].active:
            return f"AWS does not tell costs by the tag {CLUSTER_TAG}: activate it as a cost allocation tag", ()
        why = f"nothing since {first_day} is billed under the tag {CLUSTER_TAG}={cluster}"
        if unread is not None:
            return f"{why}, and whether the tag is active cannot be told: {unread}", ()
        return f"{why}. The tag is active, but costs may take a day to be told by it", ()
    notes = []
    if tags and not tags[NODE_TAG].active:
        notes.append(
            f"{named}: the bill is not divided by node: activate {NODE_TAG} as a cost allocation tag (docs/spend.md)"
        )
    for key, tag in tags.items():
        if tag.active and tag.since > first_day:
            notes.append(
                f"{named}: the tag {key} was activated on {tag.since}; what was billed before may be missing or shared "
                "until AWS is asked to backfill it"
            )
    return None, tuple(notes)
