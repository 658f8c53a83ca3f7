# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudWatch's metrics."""

from __future__ import annotations

import re
from typing import Any

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import CloudWatchBackend

from tests.sandbox.aws_patches.patching import patches

MOST_QUERIES = 500
SHORT_PERIODS = (1, 5, 10, 20, 30)


@patches(CloudWatchBackend, "get_metric_data")
def get_metric_data(
    original: Any, self: CloudWatchBackend, queries: list[dict[str, Any]], *args: Any, **kwargs: Any
) -> Any:
    """Refuse a request that breaks the rules of the API reference's MetricDataQuery and MetricStat.

    AWS: ValidationError for more than 500 queries, an id that is there twice or does not begin with a small letter,
    and a period that is no multiple of 60 (or one of the short ones).
    moto: answers.
    """
    ids = [query["Id"] for query in queries]
    if len(queries) > MOST_QUERIES:
        raise ValidationError(f"The collection MetricDataQueries must not have a size greater than {MOST_QUERIES}.")
    wrong = [name for name in ids if not re.fullmatch(r"[a-z][a-zA-Z0-9_]*", name) or ids.count(name) > 1]
    if wrong:
        raise ValidationError(
            f"The values for parameter id in MetricDataQueries are not valid or not unique: {wrong[0]}"
        )
    for query in queries:
        period = int(query.get("MetricStat", {}).get("Period", 60))
        if period < 1 or (period % 60 and period not in SHORT_PERIODS):
            raise ValidationError(f"The parameter MetricDataQueries.member.1.MetricStat.Period is not valid: {period}")
    return original(self, queries, *args, **kwargs)
