# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 tells about Spot machines."""

from __future__ import annotations

import datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses.spot_instances import SpotInstances

from tests.sandbox.aws_patches.patching import aws_error, page, patches
from tests.sandbox.prices.aws import spot_history

PAGE_SIZE = 3
PRODUCTS = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")


@patches(SpotInstances, "describe_spot_price_history")
def describe_spot_price_history(original: Any, self: SpotInstances) -> ActionResult:
    """Tell the prices of machines by zone.

    AWS: has the newest and older prices of each zone, filters by product, and pages.
    moto: has one price for everything, knows no products, no times and no pages.
    """
    products = self._get_param("ProductDescriptions", [])
    unknown = [name for name in products if name not in PRODUCTS]
    if unknown:
        raise aws_error("InvalidParameterValue", f"Invalid product description: {unknown[0]}")
    now = datetime.datetime.now(datetime.timezone.utc)
    rows = spot_history(self.region, self._get_param("InstanceTypes", []), now)
    shown, token = page(rows, PAGE_SIZE, self._get_param("NextToken"))
    return ActionResult({"SpotPriceHistory": shown, "NextToken": token or ""})
