# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from each cloud's price API: pages, throttling, outages, and rows that are not what they seem."""

from __future__ import annotations

import collections
import os
import time
import typing as t
from decimal import Decimal

import boto3
import botocore.exceptions
import pytest
import requests

from ansible_collections.budgetguard.techops.plugins.module_utils import _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import Quote, Thing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _price_api
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_prices import AwsPrices
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_prices import AzurePrices
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_prices import GcpPrices
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._tokens import Google
from tests.sandbox import SandboxControl
from tests.sandbox.prices import figures

USD = Decimal
CANARY = "AIzaCaNaRyKey81Zr0QmTvX3"


class Source(t.Protocol):
    """A cloud's prices."""

    def quotes(self, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        """Return what is known."""


def aws(*things: tuple[str, str, str]) -> list[Thing]:
    """Return things of AWS: region, kind, name."""
    return [Thing("aws", *thing) for thing in things]


def calls(control: SandboxControl) -> collections.Counter[tuple[str, str]]:
    """Count the calls, without those that log in."""
    return collections.Counter(
        (call["service"], call["action"]) for call in control.calls() if call["service"] != "google-oauth"
    )


def amounts(source: Source, things: t.Sequence[Thing]) -> dict[str, Decimal | None]:
    """Return what each thing costs, rounded as no figure of the sandbox needs."""
    found = source.quotes(things)
    return {
        f"{thing.region} {thing.name or thing.kind}": None if quote.amount is None else round(quote.amount, 9)
        for thing, quote in found.items()
    }


def test_aws_tells_what_things_cost_on_demand(control: SandboxControl) -> None:
    source = AwsPrices({}, now=time.time())
    kinds = [
        ("us-east-1", kind, "")
        for kind in (
            _pricing.GP3_MONTH,
            _pricing.GP3_THROUGHPUT_MONTH,
            _pricing.ALB_HOUR,
            _pricing.IPV4_HOUR,
            _pricing.VAULT_MONTH,
            _pricing.FARGATE_CPU_HOUR,
            _pricing.FARGATE_MEMORY_HOUR,
        )
    ]
    machines = [
        ("us-east-1", _pricing.MACHINE, "g6e.2xlarge"),
        ("us-east-1", _pricing.MACHINE, "g6.4xlarge"),
        ("eu-central-1", _pricing.MACHINE, "g6e.2xlarge"),
        ("eu-central-1", _pricing.MACHINE, "p5.4xlarge"),
    ]
    # Not the price of tomorrow, of Windows, of a dedicated host, of a reservation, nor of trust stores.
    assert amounts(source, aws(*kinds, *machines)) == {
        "us-east-1 gp3_gib_month": figures.AWS_GP3,
        "us-east-1 gp3_mibps_month": figures.AWS_GP3_GIBPS / 1024,
        "us-east-1 load_balancer_hour": figures.AWS_ALB,
        "us-east-1 public_ipv4_hour": figures.AWS_ADDRESS,
        "us-east-1 vault_entry_month": figures.AWS_SECRET,
        "us-east-1 fargate_arm_vcpu_hour": figures.AWS_FARGATE_CPU,
        "us-east-1 fargate_arm_gib_hour": figures.AWS_FARGATE_MEMORY,
        "us-east-1 g6e.2xlarge": USD("2.24"),
        "us-east-1 g6.4xlarge": USD("1.32"),
        "eu-central-1 g6e.2xlarge": USD("2.80"),
        "eu-central-1 p5.4xlarge": None,
    }
    # The list is asked where it has an endpoint, whatever the region in question.
    assert {call["region"] for call in control.calls() if call["service"] == "pricing"} == {"us-east-1"}
    assert calls(control).keys() == {("pricing", "GetProducts")}


def test_all_machines_of_an_aws_region_are_one_question(control: SandboxControl) -> None:
    things = aws(*(("us-east-1", _pricing.MACHINE, name) for name in figures.AWS_MACHINES))
    assert None not in amounts(AwsPrices({}, now=time.time()), things).values()
    asked = [call["params"] for call in control.calls() if call["service"] == "pricing"]
    assert len({str(params["Filters"]) for params in asked}) == 1
    # The rest of its calls turn pages.
    assert [bool(params.get("NextToken")) for params in asked].count(False) == 1
    assert len(asked) > 1


def test_what_aws_does_not_sell_is_told_from_what_was_not_found(control: SandboxControl) -> None:
    there, nowhere = aws(
        ("eu-central-1", _pricing.MACHINE, "p5.4xlarge"), ("ap-nowhere-1", _pricing.MACHINE, "p5.4xlarge")
    )
    found = AwsPrices({}, now=time.time()).quotes([there, nowhere])
    assert (found[there].offered, found[there].passing) == (False, False)
    assert found[nowhere].offered is None
    assert found[nowhere].amount is None
    assert control.count(service="pricing") > 0


def test_data_out_of_aws_gets_cheaper_by_amount(control: SandboxControl) -> None:
    (thing,) = aws(("us-east-1", _pricing.TRANSFER_OUT, ""))
    found = AwsPrices({}, now=time.time()).quotes([thing])[thing]
    assert found.tiers == figures.AWS_TRANSFER
    assert found.amount == USD("0.09")
    assert control.count(service="pricing") == 1


def test_a_spot_machine_costs_what_the_dearest_zone_asks_now(control: SandboxControl) -> None:
    here, far = aws(
        ("us-east-1", _pricing.SPOT_MACHINE, "g6e.2xlarge"), ("eu-central-1", _pricing.SPOT_MACHINE, "p5.4xlarge")
    )
    found = AwsPrices({}, now=time.time()).quotes([here, far])
    assert found[here].amount == USD("2.24") * figures.SPOT_FACTORS["a"]
    assert found[here].note == "in us-east-1a, the dearest zone now"
    assert found[far].offered is False
    regions = {call["region"] for call in control.calls() if call["action"] == "DescribeSpotPriceHistory"}
    assert regions == {"us-east-1", "eu-central-1"}


def test_aws_does_not_convert(control: SandboxControl) -> None:
    (thing,) = aws(("us-east-1", _pricing.MACHINE, "g6e.2xlarge"))
    found = AwsPrices({}, "EUR", now=time.time()).quotes([thing])[thing]
    assert (found.amount, found.why) == (None, "AWS tells prices in USD and CNY only, not in EUR")
    assert control.calls() == []


def test_a_throttled_price_list_is_asked_again(control: SandboxControl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    control.fault("GetProducts", "ThrottlingException", service="pricing", times=3)
    (thing,) = aws(("us-east-1", _pricing.ALB_HOUR, ""))
    assert AwsPrices({}, now=time.time()).quotes([thing])[thing].amount == figures.AWS_ALB
    assert control.count(service="pricing") == 4


def test_one_refused_question_leaves_the_others(control: SandboxControl) -> None:
    control.fault("GetProducts", "AccessDeniedException", service="pricing", match="AWSELB", times=None)
    balancer, disk = aws(("us-east-1", _pricing.ALB_HOUR, ""), ("us-east-1", _pricing.GP3_MONTH, ""))
    found = AwsPrices({}, now=time.time()).quotes([balancer, disk])
    assert found[disk].amount == figures.AWS_GP3
    assert (found[balancer].amount, found[balancer].passing) == (None, True)
    assert "pricing:GetProducts" in str(found[balancer].why)
    assert "AccessDeniedException" in str(found[balancer].why)


def azure(*things: tuple[str, str, str]) -> list[Thing]:
    """Return things of Azure."""
    return [Thing("azure", *thing) for thing in things]


def test_azure_tells_what_things_cost_without_a_login(control: SandboxControl, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name)
    size = "Standard_NC24ads_A100_v4"
    things = azure(
        ("eastus", _pricing.MACHINE, size),
        ("eastus", _pricing.MACHINE, "Standard_D4as_v5"),
        ("westeurope", _pricing.MACHINE, size),
        ("eastus", _pricing.DISK_MONTH, "P15"),
        ("eastus", _pricing.DISK_MONTH, "E10"),
        ("eastus", _pricing.ALB_HOUR, ""),
        ("eastus", _pricing.IPV4_HOUR, ""),
    )
    source = AzurePrices(now=time.time())
    # No price of before, of tomorrow, of Windows, of Low Priority, of a reservation, nor of another region.
    assert amounts(source, things) == {
        "eastus Standard_NC24ads_A100_v4": USD("3.67"),
        "eastus Standard_D4as_v5": USD("0.17"),
        "westeurope Standard_NC24ads_A100_v4": USD("4.404"),
        "eastus P15": figures.AZURE_DISKS["P15"],
        "eastus E10": figures.AZURE_DISKS["E10"],
        "eastus load_balancer_hour": figures.AZURE_BALANCER,
        "eastus public_ipv4_hour": figures.AZURE_ADDRESS,
    }
    (spot,) = azure(("eastus", _pricing.SPOT_MACHINE, size))
    assert source.quotes([spot])[spot].amount == USD("1.468")
    assert calls(control).keys() == {("azure-prices", "RetailPrices_List")}


def test_one_question_to_azure_is_about_all_machines_of_a_region(control: SandboxControl) -> None:
    things = azure(*(("eastus", _pricing.MACHINE, size) for size in figures.AZURE_MACHINES))
    assert None not in amounts(AzurePrices(now=time.time()), things).values()
    asked = [call["params"] for call in control.calls()]
    assert len({params["$filter"] for params in asked}) == 1
    assert ["$skip" in params for params in asked].count(False) == 1
    # The link to the next page keeps everything that was asked for.
    assert {params["meterRegion"] for params in asked} == {"'primary'"}


def test_microsoft_tells_other_currencies_itself(control: SandboxControl) -> None:
    (thing,) = azure(("eastus", _pricing.MACHINE, "Standard_NC24ads_A100_v4"))
    assert AzurePrices("EUR", now=time.time()).quotes([thing])[thing].amount == USD("3.303")
    refused = AzurePrices("XXX", now=time.time()).quotes([thing])[thing]
    assert refused.passing
    assert "the currency XXX is not known" in str(refused.why)
    assert control.count(service="azure-prices") > 1


def test_data_out_of_azure_is_free_at_first(control: SandboxControl) -> None:
    (thing,) = azure(("eastus", _pricing.TRANSFER_OUT, ""))
    found = AzurePrices(now=time.time()).quotes([thing])[thing]
    assert found.tiers == figures.AZURE_TRANSFER
    assert found.amount == USD("0.08")
    assert control.count(service="azure-prices") == 1


def test_azure_is_asked_again_after_as_long_as_it_says(control: SandboxControl) -> None:
    slept: list[float] = []
    control.fault(
        "RetailPrices_List",
        "TooManyRequests",
        status=429,
        times=2,
        service="azure-prices",
        headers={"Retry-After": "7"},
    )
    (thing,) = azure(("eastus", _pricing.IPV4_HOUR, ""))
    found = AzurePrices(now=time.time(), sleep=slept.append).quotes([thing])
    assert found[thing].amount == figures.AZURE_ADDRESS
    assert slept == [7.0, 7.0]


@pytest.mark.parametrize(("status", "headers", "tries"), [(503, {}, 5), (429, {"Retry-After": "600"}, 1), (400, {}, 1)])
def test_an_outage_is_given_up_in_time(
    control: SandboxControl, status: int, headers: dict[str, str], tries: int
) -> None:
    control.fault(
        "RetailPrices_List",
        "Oops",
        message="out to lunch",
        status=status,
        times=None,
        headers=headers,
        service="azure-prices",
    )
    (thing,) = azure(("eastus", _pricing.IPV4_HOUR, ""))
    slept: list[float] = []
    found = AzurePrices(now=time.time(), sleep=slept.append).quotes([thing])[thing]
    assert (found.amount, found.passing) == (None, True)
    assert f"the answer is {status} (out to lunch)" in str(found.why)
    assert control.count(service="azure-prices") == tries
    assert sum(slept) < 60


def test_a_next_page_elsewhere_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get(_self: t.Any, _doing: str, url: str, _headers: t.Any = None) -> dict[str, t.Any]:
        asked.append(url)
        return {"Items": [], "NextPageLink": "https://prices.example.com/api/retail/prices?$skip=100"}

    monkeypatch.setattr(_price_api.JsonApi, "get", get)
    (thing,) = azure(("eastus", _pricing.IPV4_HOUR, ""))
    found = AzurePrices(now=time.time()).quotes([thing])[thing]
    assert "the next page is said to be somewhere else" in str(found.why)
    assert len(asked) == 1


def gcp(*things: tuple[str, str, str]) -> list[Thing]:
    """Return things of Google Cloud."""
    return [Thing("gcp", *thing) for thing in things]


def test_google_sells_machines_in_pieces(control: SandboxControl) -> None:
    source = GcpPrices(now=time.time(), token=Google({}).get)
    names = ("n1-standard-16", "g2-standard-12", "a2-highgpu-1g", "a2-ultragpu-1g", "e2-standard-4")
    things = gcp(*(("us-central1", _pricing.MACHINE, name) for name in names))
    local = 375 * USD("0.08") / 730
    # Not the price of tomorrow, of a commitment, of a reservation, nor of a scheduler's calendar.
    assert amounts(source, things) == {
        "us-central1 n1-standard-16": 16 * USD("0.032") + 60 * USD("0.0042") + USD("0.35"),
        "us-central1 g2-standard-12": 12 * USD("0.025") + 48 * USD("0.003") + USD("0.56"),
        "us-central1 a2-highgpu-1g": 12 * USD("0.032") + 85 * USD("0.0042") + USD("2.93"),
        "us-central1 a2-ultragpu-1g": round(12 * USD("0.032") + 170 * USD("0.0042") + USD("3.93") + local, 9),
        "us-central1 e2-standard-4": 4 * USD("0.022") + 16 * USD("0.003"),
    }
    (spot,) = gcp(("us-central1", _pricing.SPOT_MACHINE, "a3-highgpu-1g"))
    whole = 26 * USD("0.03") + 234 * USD("0.0025") + USD("9.80") + 750 * USD("0.08") / 730
    assert round(t.cast("Decimal", source.quotes([spot])[spot].amount), 9) == round(whole * figures.GCP_SPOT, 9)
    # The catalogue is read once for each look-up, in pages.
    pages = [call["params"] for call in control.calls() if call["service"] == "google-billing"]
    assert ["pageToken" in page for page in pages].count(False) == 2


def test_what_else_a_cluster_of_google_costs(control: SandboxControl) -> None:
    source = GcpPrices(now=time.time(), token=Google({}).get)
    things = gcp(
        ("us-central1", _pricing.CLUSTER_HOUR, "zonal"),
        ("us-central1", _pricing.BALANCED_MONTH, ""),
        ("europe-west4", _pricing.BALANCED_MONTH, ""),
        ("us-central1", _pricing.ALB_HOUR, ""),
        ("us-central1", _pricing.IPV4_HOUR, ""),
    )
    assert amounts(source, things) == {
        "us-central1 zonal": figures.GCP_CLUSTER,
        "us-central1 balanced_disk_gib_month": figures.GCP_BALANCED,
        "europe-west4 balanced_disk_gib_month": figures.GCP_BALANCED * figures.GCP_REGIONS["europe-west4"][1],
        "us-central1 load_balancer_hour": figures.GCP_RULE,
        "us-central1 public_ipv4_hour": figures.GCP_ADDRESS,
    }
    (out,) = gcp(("us-central1", _pricing.TRANSFER_OUT, ""))
    assert source.quotes([out])[out].tiers == figures.GCP_TRANSFER
    services = [call["path"].split("/")[3] for call in control.calls() if call["service"] == "google-billing"]
    assert set(services) == {"6F81-5844-456A", "CCD8-9BF1-090E"}


def test_what_google_sells_nowhere_is_not_called_unsold(control: SandboxControl) -> None:
    elsewhere, nowhere, odd = gcp(
        ("asia-east1", _pricing.MACHINE, "g2-standard-12"),
        ("us-central1", _pricing.MACHINE, "g4-standard-48"),
        ("us-central1", _pricing.MACHINE, "c4-standard-8"),
    )
    found = GcpPrices(now=time.time(), token=Google({}).get).quotes([elsewhere, nowhere, odd])
    assert (found[elsewhere].offered, found[elsewhere].amount) == (False, None)
    assert (found[nowhere].offered, found[nowhere].amount) == (None, None)
    assert "nothing that looks like G4 processor" in str(found[nowhere].why)
    assert "how Google sells c4-standard-8 is not known here" in str(found[odd].why)
    assert control.count(service="google-billing") > 0


def test_an_api_key_goes_into_a_header_and_nowhere_else(control: SandboxControl) -> None:
    (thing,) = gcp(("us-central1", _pricing.BALANCED_MONTH, ""))
    found = GcpPrices(now=time.time(), api_key=CANARY).quotes([thing])[thing]
    assert (found.amount, found.passing) == (None, True)
    assert "API key not valid" in str(found.why)
    assert CANARY not in str(found)
    assert control.calls_containing(CANARY) == []
    none = GcpPrices(now=time.time()).quotes([thing])[thing]
    assert "gcp_api_key" in str(none.why)


def test_google_is_asked_again_while_it_is_busy(control: SandboxControl) -> None:
    slept: list[float] = []
    control.fault("ListSkus", "RESOURCE_EXHAUSTED", status=429, times=2, service="google-billing")
    (thing,) = gcp(("us-central1", _pricing.CLUSTER_HOUR, "zonal"))
    source = GcpPrices(now=time.time(), token=Google({}).get, sleep=slept.append)
    assert source.quotes([thing])[thing].amount == figures.GCP_CLUSTER
    assert slept == [1.0, 2.0]


def test_different_prices_at_once_are_no_price() -> None:
    rows = [_price_api.Row(USD(1), 5.0), _price_api.Row(USD(2), 5.0), _price_api.Row(USD(3), 4.0)]
    found = _price_api.picked(rows, 10.0, "now", "test", "a thing")
    assert (found.amount, found.offered) == (None, None)
    assert "several prices for a thing: 1, 2" in str(found.why)
    assert _price_api.picked(rows[1:], 10.0, "now", "test", "a thing").amount == 2
    assert _price_api.picked(rows, 4.5, "now", "test", "a thing").amount == 3
    assert _price_api.picked(rows, 3.0, "now", "test", "a thing", not_sold=True).offered is False


# ---- the simulators themselves ---------------------------------------------------------------------------------------


def test_the_price_list_of_the_sandbox_is_strict(control: SandboxControl) -> None:
    make: t.Any = boto3.client
    client = make("pricing", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    good = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-east-1"}
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidParameterException"):
        client.get_products(ServiceCode="AmazonEC2", Filters=[{**good, "Field": "region"}])
    with pytest.raises(botocore.exceptions.ClientError, match="NotFoundException"):
        client.get_products(ServiceCode="AmazonEC3", Filters=[good])
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidNextTokenException"):
        client.get_products(ServiceCode="AmazonEC2", Filters=[good], NextToken="x")
    elsewhere = make("pricing", region_name="us-west-2", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    with pytest.raises(botocore.exceptions.ClientError, match="no endpoint"):
        elsewhere.get_products(ServiceCode="AmazonEC2", Filters=[good])
    assert control.count(service="pricing") == 4


@pytest.mark.parametrize(
    "query",
    [
        "$filter=serviceNam eq 'Storage'",
        "$filter=serviceName eq Storage",
        "$filter=serviceName ne 'Storage'",
        "$filter=(serviceName eq 'Storage'",
        "$filter=serviceName eq 'Storage' location eq 'x'",
        "$top=3",
        "currencyCode=USD",
        "meterRegion='secondary'",
        "api-version=2020-01-01",
    ],
)
def test_the_retail_prices_of_the_sandbox_are_strict(control: SandboxControl, query: str) -> None:
    url = f"{os.environ['AZURE_RETAIL_PRICES_ENDPOINT']}/api/retail/prices?{query}"
    answer = requests.get(url, timeout=30)
    assert answer.status_code == 400, answer.text
    assert control.count(service="azure-prices") == 1


def test_capitals_count_in_filters_of_the_sandbox(control: SandboxControl) -> None:
    base = f"{os.environ['AZURE_RETAIL_PRICES_ENDPOINT']}/api/retail/prices"
    counts = [
        requests.get(base, {"$filter": f"serviceName eq '{name}'"}, timeout=30).json()["Count"]
        for name in ("Virtual Machines", "virtual machines")
    ]
    assert counts == [3, 0]
    assert control.count(service="azure-prices") == 2


@pytest.mark.parametrize("query", ["filter=x", "pageSize=0", "pageSize=9999", "currencyCode=XXX"])
def test_the_billing_catalogue_of_the_sandbox_is_strict(control: SandboxControl, query: str) -> None:
    base = os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"]
    headers = {"Authorization": f"Bearer {Google({}).get()}"}
    answer = requests.get(f"{base}v1/services/6F81-5844-456A/skus?{query}", headers=headers, timeout=30)
    assert answer.status_code == 400, answer.text
    assert requests.get(f"{base}v1/services/6F81-5844-456A/skus", timeout=30).status_code == 401
    assert requests.get(f"{base}v1/services/0000/skus", headers=headers, timeout=30).status_code == 404
    assert control.count(service="google-billing") == 3


def test_a_price_api_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    api = _price_api.JsonApi(sleep=lambda _seconds: None)
    with pytest.raises(ProviderError, match=r"cannot read it: nothing listens at 127\.0\.0\.1:9 .*; tried 5 times"):
        api.get("read it", "http://127.0.0.1:9/")
