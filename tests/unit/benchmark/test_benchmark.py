# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured of NIMs, and of which nothing is."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _benchmark, _catalog, _http
from ansible_collections.budgetguard.techops.plugins.modules import nim_benchmark
from tests.unit.benchmark.nims import TOKEN, Network, Nim, asked, bench, measure
from tests.unit.registry.services import run_module

FLUX = "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"
LLAMA = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.15.5"


def one(nim: Nim, node: str = "FLUX Dev", **options: t.Any) -> dict[str, t.Any]:
    """Measure one NIM."""
    (found,) = measure({"nim": nim}, asked("nim", node), **options)
    return found


def test_the_middle_of_the_times_without_the_first() -> None:
    found = one(Nim(FLUX, [90.0, 6.2, 6.0, 6.6]))
    assert (found["result"], found["reason"]) == ("measured", None)
    assert (found["seconds"], found["times"], found["spread_percent"]) == (6.2, [6.2, 6.0, 6.6], 6.5)
    assert found["seconds_per_step_megapixel"] == pytest.approx(6.2 / (30 * 1.048576), abs=1e-6)
    assert (found["measured_at"], found["steps"], found["width"]) == ("2026-11-28T18:00:00Z", 30, 1024)
    assert found["image"] == FLUX
    # An image NIM that tells nothing of its load was measured all the same.
    assert (found["busy"], found["busy_reason"]) == (None, "/v1/metrics answers 404")


def test_a_text_is_measured_by_its_tokens() -> None:
    said = {"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": 250}}
    found = one(Nim(LLAMA, answers={"/v1/chat/completions": (200, said)}), "Llama 3.1")
    assert found["result"] == "measured"
    assert (found["tokens"], found["seconds_per_1k_tokens"], found["busy"]) == (250, 4.0, False)
    assert found["max_tokens"] == 512
    assert found["seconds_per_step_megapixel"] is None


def test_each_request_is_asked_for_once_with_a_seed_of_its_own() -> None:
    network = Network({"nim": Nim(LLAMA)})
    _benchmark.measure_all(bench(network, warm_up=2, repeats=3), [asked("nim", "Llama 3.1")], 4)
    assert [body["seed"] for _name, body in network.bodies] == [1, 2, 3, 4, 5]
    assert {body["model"] for _name, body in network.bodies} == {"meta/llama-3.1-8b-instruct"}


def test_what_is_not_ready_is_asked_for_its_health_alone() -> None:
    network = Network({"nim": Nim(FLUX, ready=False)})
    (found,) = _benchmark.measure_all(bench(network), [asked("nim", "FLUX Dev")], 4)
    assert (found["result"], found["seconds"]) == ("not_ready", None)
    assert "answers 503: stopped, or not ready yet" in found["reason"]
    assert set(network.paths) == {"GET /nim/v1/health/ready", "GET /nim/v1/health/live"}


def test_what_is_busy_is_left_in_peace() -> None:
    network = Network({"nim": Nim(LLAMA, busy=[2])})
    (found,) = _benchmark.measure_all(bench(network), [asked("nim", "Llama 3.1")], 4)
    assert (found["result"], found["busy"], found["seconds"]) == ("busy", True, None)
    assert found["reason"] == "it works for somebody: num_requests_running is 2"
    assert network.bodies == []


def test_what_became_busy_meanwhile_is_no_figure() -> None:
    found = one(Nim(LLAMA, busy=[0, 1]), "Llama 3.1")
    assert (found["result"], found["busy"]) == ("busy", True)
    assert found["reason"] == "somebody used it meanwhile: num_requests_running is 1"


def test_times_that_differ_too_much_are_no_figure() -> None:
    assert one(Nim(FLUX, [6.0, 6.0, 7.7, 6.0]))["result"] == "measured"
    found = one(Nim(FLUX, [6.0, 6.0, 7.9, 6.0]))
    assert (found["result"], found["spread_percent"]) == ("unsteady", 31.7)
    assert found["reason"].startswith("the slowest of its requests took 31.7 % longer than the middle one")
    assert one(Nim(FLUX, [6.0, 6.0, 7.9, 6.0]), tolerance_percent=40)["result"] == "measured"


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        ("/v1/infer", (500, b"<html>"), "answers 500"),
        ("/v1/infer", (422, {"detail": [{"loc": ["body", "steps"], "msg": "too many"}]}), "422: body.steps: too many"),
        ("/v1/infer", (302, b""), "answers 302"),
        ("/v1/infer", (200, b"<html>"), "its answer is not JSON"),
        ("/v1/infer", (200, {"artifacts": []}), "its answer has no image"),
        ("/v1/infer", (200, {"artifacts": [{"base64": "***", "finishReason": "SUCCESS"}]}), "its answer has no image"),
        ("/v1/infer", (200, {"artifacts": [{"base64": "", "finishReason": "SUCCESS"}]}), "its answer has no image"),
        ("/v1/infer", (200, {"artifacts": [{"finishReason": "CONTENT_FILTERED"}]}), "no image: CONTENT_FILTERED"),
        ("/v1/chat/completions", (200, {"choices": []}), "its answer has no text"),
        ("/v1/chat/completions", (200, {"choices": [1], "usage": {}}), "does not tell how many tokens"),
        ("/v1/chat/completions", (200, {"choices": [1], "usage": {"completion_tokens": 0}}), "how many tokens"),
        ("/v1/models", (200, {"data": []}), "/v1/models names no model"),
    ],
)
def test_what_is_no_answer_is_no_figure(path: str, answer: tuple[int, t.Any], reason: str) -> None:
    node, image = ("FLUX Dev", FLUX) if path == "/v1/infer" else ("Llama 3.1", LLAMA)
    found = one(Nim(image, answers={path: answer}), node)
    assert (found["result"], found["seconds"]) == ("failed", None)
    assert reason in found["reason"]


def test_a_connection_that_breaks_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network({"bad": Nim(FLUX), "good": Nim(FLUX)})
    answer = network.request

    def broken(method: str, url: str, *rest: t.Any) -> _http.Answer:
        if method == "POST" and "/bad/" in url:
            raise _http.HttpError(_http.TIMEOUT, "nim.studio.example:443 did not answer within 300 s")
        return answer(method, url, *rest)

    monkeypatch.setattr(network, "request", broken)
    bad, good = _benchmark.measure_all(bench(network), [asked("bad", "FLUX Dev"), asked("good", "FLUX Dev")], 4)
    assert (bad["result"], good["result"]) == ("failed", "measured")
    assert bad["reason"] == "nim.studio.example:443 did not answer within 300 s"


def test_a_gateway_gets_the_token_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network({"locked": Nim(FLUX, auth="gateway"), "free": Nim(FLUX)})
    seen: list[tuple[str, bool]] = []
    answer = network.request

    def watched(method: str, url: str, headers: t.Any = None, body: bytes | None = None) -> _http.Answer:
        seen.append((url.split("/")[3], TOKEN in json.dumps(headers)))
        return answer(method, url, headers, body)

    monkeypatch.setattr(network, "request", watched)
    both = [asked("locked", "FLUX Dev", auth="gateway"), asked("free", "FLUX Dev")]
    assert [found["result"] for found in _benchmark.measure_all(bench(network), both, 1)] == ["measured", "measured"]
    assert not any(sent for name, sent in seen if name == "free")
    # Its first question is without a token, to find a gateway that is open.
    assert [sent for name, sent in seen if name == "locked"][:2] == [False, True]


def test_a_gateway_that_lets_everybody_in_is_told() -> None:
    (found,) = measure({"nim": Nim(FLUX)}, asked("nim", "FLUX Dev", auth="gateway"))
    assert found["result"] == "not_ready"
    assert "without a token, so whoever reaches it can use it" in found["reason"]


def test_nodes_that_share_a_nim_wait_for_each_other() -> None:
    network = Network({"nim": Nim(FLUX)})
    modes = [asked("nim", "FLUX Dev", mode="base"), asked("nim", "FLUX Canny", mode="canny")]
    found = _benchmark.measure_all(bench(network), modes, 4)
    assert [one["result"] for one in found] == ["measured", "measured"]
    assert [body["mode"] for _name, body in network.bodies] == ["base"] * 4 + ["canny"] * 4


def module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **options: t.Any) -> dict[str, t.Any]:
    """Run the module for one NIM that cannot be reached."""
    given = asked("nim", "FLUX Dev", url="http://127.0.0.1:1", infer_url="http://127.0.0.1:1/v1/infer")
    given["health_url"] = "http://127.0.0.1:1/v1/health/ready"
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return run_module(nim_benchmark.main, {"requests": [given], **options}, monkeypatch, capsys)


def test_check_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = module(monkeypatch, capsys, _ansible_check_mode=True)
    (nim,) = found["nims"]
    assert (found["changed"], found["counts"]["not_called"], nim["result"]) == (False, 1, "not_called")
    assert nim["reason"] == "would be asked for an image of 1024x1024 in 30 steps, 1 + 3 times"
    # Without check mode it is asked, and there is nobody.
    assert module(monkeypatch, capsys)["nims"][0]["reason"].startswith("nothing listens at 127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repeats": 0}, "repeats is 0; it must be from 1 to 100"),
        ({"concurrency": 65}, "concurrency is 65; it must be from 1 to 64"),
        ({"tolerance_percent": 0}, "tolerance_percent is 0.0; it must be above 0"),
        ({"timeout": 0}, "timeout is 0; it must be more than 0 seconds"),
        ({"ca_path": "/nowhere.pem"}, "ca_path /nowhere.pem cannot be read"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, t.Any], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in module(monkeypatch, capsys, **options)["msg"]


def test_every_node_has_a_request_that_the_sandbox_takes() -> None:
    nodes = [node for node in _catalog.CATALOG.values() if node.image and node.kind != "3d"]
    nims = {node.slug: Nim(f"{node.image}:{node.tag}") for node in nodes}
    found = measure(nims, *(asked(node.slug, node.name) for node in nodes))
    assert {one["node"]: one["reason"] for one in found if one["result"] != "measured"} == {}
    assert len(found) >= 9
