# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bills of the three clouds, as their APIs tell them. The figures are the sandbox's, not the clouds'."""

from __future__ import annotations

from tests.sandbox.spend.aws import CostExplorer
from tests.sandbox.spend.azure import CostManagement
from tests.sandbox.spend.gcp import BigQuery
from tests.sandbox.spend.ledger import Entry, Ledger, sums

__all__ = ["BigQuery", "CostExplorer", "CostManagement", "Entry", "Ledger", "sums"]
