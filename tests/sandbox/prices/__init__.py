# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The price lists of the three clouds, as their APIs tell them. The figures are the sandbox's, not the clouds'."""

from __future__ import annotations

from tests.sandbox.prices.aws import PriceList, spot_history
from tests.sandbox.prices.azure import RetailPrices
from tests.sandbox.prices.gcp import BillingCatalog

__all__ = ["BillingCatalog", "PriceList", "RetailPrices", "spot_history"]
