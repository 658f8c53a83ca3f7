# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Prices as they once were, for when a price API cannot be asked. Data, and the look-up.

Every figure has its source and its date; what no source could be found for is absent, and then the price is unknown.
Where a source can be of several dates, the earliest counts, so that nothing here looks younger than it is.

Machines on AWS: tsaol/aws-gpu data/all_gpu_instances.js, which was made of instances.vantage.sh and so of AWS's own
price list. It calls itself of 2025-11-30 and has rows that are younger. C(g6e.2xlarge) was compared with AWS's price
list as published on 2026-09-25, and C(g5.xlarge) with factualminds.com of 2026-06-17: both are the same.
There are no machines of Azure: its price API wants no login, and no dated source was found.
"""

from __future__ import annotations

from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import (
    ALB_HOUR,
    CLUSTER_HOUR,
    LIST,
    MACHINE,
    Quote,
    Thing,
)

CURRENCY = "USD"
"""Of all figures here."""

_AWS_REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "eu-west-1", "eu-west-2", "ap-northeast-1")
_AWS_DATE = "2025-11-30"
_AWS_SOURCE = "tsaol/aws-gpu data/all_gpu_instances.js, from AWS's price list"

# USD an hour on demand with Linux, in the order of the regions above.
_AWS_MACHINES: dict[str, tuple[str | None, ...]] = {
    "g4dn.xlarge": ("0.526", "0.526", "0.658", "0.587", "0.615", "0.71"),
    "g4dn.2xlarge": ("0.752", "0.752", "0.94", "0.838", "0.88", "1.015"),
    "g4dn.4xlarge": ("1.204", "1.204", "1.505", "1.342", "1.409", "1.625"),
    "g4dn.8xlarge": ("2.176", "2.176", "2.72", "2.426", "2.546", "2.938"),
    "g4dn.12xlarge": ("3.912", "3.912", "4.89", "4.362", "4.577", "5.281"),
    "g6.xlarge": ("0.8048", "0.8048", "1.0064", None, "1.0216", "1.1672"),
    "g6.2xlarge": ("0.9776", "0.9776", "1.22249", None, "1.24095", "1.41781"),
    "g6.4xlarge": ("1.3232", "1.3232", "1.65466", None, "1.67965", "1.91903"),
    "gr6.4xlarge": ("1.5392", "1.5392", "1.9248", None, "1.9539", "2.2323"),
    "g6.8xlarge": ("2.0144", "2.0144", "2.519", None, "2.55705", "2.92148"),
    "g6.12xlarge": ("4.6016", "4.6016", "5.75429", None, "5.8412", "6.67369"),
    "g6.48xlarge": ("13.3504", "13.3504", "16.69464", None, "16.94678", "19.36206"),
    "g5.xlarge": ("1.006", "1.006", "1.258", "1.123", "1.277", "1.459"),
    "g5.2xlarge": ("1.212", "1.212", "1.5156", "1.35296", "1.53849", "1.75776"),
    "g5.4xlarge": ("1.624", "1.624", "2.03081", "1.81287", "2.06148", "2.35528"),
    "g5.8xlarge": ("2.448", "2.448", "3.06122", "2.73271", "3.10745", "3.55033"),
    "g5.12xlarge": ("5.672", "5.672", "7.09282", "6.33167", "7.19994", "8.22609"),
    "g5.48xlarge": ("16.288", "16.288", "20.3681", "18.18233", "20.67572", "23.62246"),
    "g6e.xlarge": ("1.861", "1.861", "2.327", None, None, "2.699"),
    "g6e.2xlarge": ("2.24208", "2.24208", "2.8035", None, None, "3.25168"),
    "g6e.4xlarge": ("3.00424", "3.00424", "3.75651", None, None, "4.35703"),
    "g6e.8xlarge": ("4.52856", "4.52856", "5.66252", None, None, "6.56775"),
    "g6e.12xlarge": ("10.49264", "10.49264", "13.12002", None, None, "15.21742"),
    "g6e.24xlarge": ("15.06559", "15.06559", "18.83806", None, None, "21.84956"),
    "g6e.48xlarge": ("30.13118", "30.13118", "37.67612", None, None, "43.69912"),
    "g7e.2xlarge": ("3.36312", "3.36312", "5.71915", None, "5.84531", "4.87752"),
    "g7e.4xlarge": ("3.99816", "3.99816", "6.79907", None, "6.94905", "5.79852"),
    "g7e.12xlarge": ("8.28608", "8.28608", "14.09088", None, "14.40172", "12.01727"),
    "g7e.24xlarge": ("16.57216", "16.57216", "28.18177", None, "28.80344", "24.03454"),
    "g7e.48xlarge": ("33.14432", "33.14432", "56.36354", None, "57.60687", "48.06908"),
    "p4d.24xlarge": ("21.957642", "21.95764", "27.43298", "23.71569", "28.54493", "30.09784"),
    "p4de.24xlarge": ("27.44705", "27.44705", "34.29122", None, None, "37.6223"),
    "p5.4xlarge": ("6.88", "6.88", None, None, "8.944", "8.6"),
    "p5.48xlarge": ("55.04", "55.04", None, None, "71.552", "68.8"),
    "p5en.48xlarge": ("63.296", "63.296", None, None, None, "79.12"),
    "p6-b200.48xlarge": ("113.9328", "113.9328", None, None, None, None),
}

_OTHERS: tuple[tuple[Thing, str, str, str], ...] = (
    (
        Thing("aws", "us-east-1", ALB_HOUR),
        "0.0225",
        "2026-05-01",
        "cloud-horizons.com, about Application Load Balancers, of May 2026",
    ),
    (
        Thing("gcp", "us-central1", MACHINE, "g2-standard-4"),
        "0.7068",
        "2026-10-07",
        "holori.com and economize.cloud, which agree, read on 2026-10-07",
    ),
)

_EVERYWHERE: tuple[tuple[str, str, str, str, str], ...] = (
    ("gcp", CLUSTER_HOUR, "0.10", "2026-11-23", "https://cloud.google.com/kubernetes-engine/pricing"),
)
"""What costs the same in all regions: provider, kind, USD, date, source."""


def _rows() -> dict[Thing, Quote]:
    found = {
        Thing("aws", region, MACHINE, machine): _quote(price, _AWS_DATE, _AWS_SOURCE)
        for machine, prices in _AWS_MACHINES.items()
        for region, price in zip(_AWS_REGIONS, prices)
        if price is not None
    }
    found.update({thing: _quote(price, date, source) for thing, price, date, source in _OTHERS})
    return found


def _quote(price: str, date: str, source: str) -> Quote:
    return Quote(Decimal(price), LIST, f"{date}T00:00:00Z", source)


ROWS = _rows()
"""Thing -> its price."""


def look_up(thing: Thing) -> Quote | None:
    """Return the price of a thing in USD, None where the list has none."""
    for provider, kind, price, date, source in _EVERYWHERE:
        if (thing.provider, thing.kind) == (provider, kind):
            return _quote(price, date, source)
    return ROWS.get(thing)


__all__ = ("CURRENCY", "ROWS", "look_up")
