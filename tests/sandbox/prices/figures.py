# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What things cost in the sandbox: round figures near the clouds' own, so that tables look right, and no facts.

Each region has a factor, exact in decimals, by which all its prices are dearer than those here.
"""

from __future__ import annotations

from decimal import Decimal

AWS_REGIONS = {
    "us-east-1": ("USE1", Decimal(1)),
    "us-west-2": ("USW2", Decimal(1)),
    "eu-central-1": ("EUC1", Decimal("1.25")),
}
"""Region -> short name, factor."""

AWS_MACHINES = {
    "g4dn.xlarge": Decimal("0.53"),
    "g4dn.4xlarge": Decimal("1.20"),
    "g5.2xlarge": Decimal("1.21"),
    "g5.4xlarge": Decimal("1.62"),
    "g6.2xlarge": Decimal("0.98"),
    "g6.4xlarge": Decimal("1.32"),
    "g6e.xlarge": Decimal("1.86"),
    "g6e.2xlarge": Decimal("2.24"),
    "g6e.4xlarge": Decimal("3.00"),
    "g6e.12xlarge": Decimal("10.50"),
    "g7e.2xlarge": Decimal("3.36"),
    "p5.4xlarge": Decimal("6.88"),
}
"""USD an hour on demand. Types that are not here are not sold."""

AWS_NOT_SOLD = frozenset((("eu-central-1", "p5.4xlarge"),))
AWS_GP3, AWS_GP3_GIBPS, AWS_ALB, AWS_LCU = Decimal("0.08"), Decimal("40.96"), Decimal("0.0225"), Decimal("0.008")
AWS_ADDRESS, AWS_SECRET = Decimal("0.005"), Decimal("0.40")
AWS_FARGATE_CPU, AWS_FARGATE_MEMORY = Decimal("0.03"), Decimal("0.0035")
AWS_TRANSFER = ((Decimal(0), Decimal("0.09")), (Decimal(10240), Decimal("0.085")), (Decimal(51200), Decimal("0.07")))

SPOT_FACTORS = {"a": Decimal("0.40"), "b": Decimal("0.35")}
"""Zone -> share of the price on demand that Spot costs."""

AZURE_REGIONS = {"eastus": Decimal(1), "westeurope": Decimal("1.2")}
AZURE_MACHINES = {
    "Standard_NC4as_T4_v3": ("NCasT4 v3", Decimal("0.53")),
    "Standard_NC8as_T4_v3": ("NCasT4 v3", Decimal("0.75")),
    "Standard_NC16as_T4_v3": ("NCasT4 v3", Decimal("1.20")),
    "Standard_NV36ads_A10_v5": ("NVadsA10v5", Decimal("3.20")),
    "Standard_NC24ads_A100_v4": ("NCadsA100v4", Decimal("3.67")),
    "Standard_NC48ads_A100_v4": ("NCadsA100v4", Decimal("7.35")),
    "Standard_NC40ads_H100_v5": ("NCadsH100v5", Decimal("6.98")),
    "Standard_D4as_v5": ("Dasv5", Decimal("0.17")),
}
"""Size -> series, USD an hour."""

AZURE_DISKS = {
    "P10": Decimal("19.70"),
    "P15": Decimal("38.00"),
    "E6": Decimal("4.80"),
    "E10": Decimal("9.60"),
    "E15": Decimal("19.20"),
}
AZURE_BALANCER, AZURE_ADDRESS = Decimal("0.025"), Decimal("0.005")
AZURE_TRANSFER = ((Decimal(0), Decimal(0)), (Decimal(100), Decimal("0.08")), (Decimal(10335), Decimal("0.065")))
AZURE_CURRENCIES = {"USD": Decimal(1), "EUR": Decimal("0.9")}
"""What Microsoft says in other currencies, for reference."""

GCP_REGIONS = {"us-central1": ("Americas", Decimal(1)), "europe-west4": ("Netherlands", Decimal("1.1"))}
"""Region -> how descriptions call it, factor."""

GCP_CORES = {
    "N1 Predefined": (Decimal("0.032"), Decimal("0.0042")),
    "E2": (Decimal("0.022"), Decimal("0.003")),
    "G2": (Decimal("0.025"), Decimal("0.003")),
    "A2": (Decimal("0.032"), Decimal("0.0042")),
    "A3": (Decimal("0.03"), Decimal("0.0025")),
}
"""Family -> USD an hour for a processor and for a GiB of memory."""

GCP_GPUS = {
    "Nvidia Tesla T4 GPU": Decimal("0.35"),
    "Nvidia L4 GPU": Decimal("0.56"),
    "Nvidia Tesla A100 GPU": Decimal("2.93"),
    "Nvidia Tesla A100 80GB GPU": Decimal("3.93"),
    "Nvidia H100 80GB GPU": Decimal("9.80"),
}
GCP_SPOT = Decimal("0.4")
GCP_LOCAL_SSD, GCP_BALANCED = Decimal("0.08"), Decimal("0.10")
GCP_RULE, GCP_ADDRESS, GCP_CLUSTER = Decimal("0.025"), Decimal("0.005"), Decimal("0.10")
GCP_TRANSFER = ((Decimal(0), Decimal("0.12")), (Decimal(1024), Decimal("0.11")), (Decimal(10240), Decimal("0.08")))
GCP_CURRENCIES = {"USD": Decimal(1), "EUR": Decimal("0.9")}
