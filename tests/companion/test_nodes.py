# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nodes' execute() against the sandbox's NIMs over real connections.

Torch is real where it is installed, and otherwise the one thing that is not: it takes gigabytes. What it was run with
is in docs/companion.md.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import datetime
import importlib
import importlib.util
import io
import json
import logging
import ssl
import sys
import traceback
import types
import typing as t
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy
import pytest
from aiohttp import web
from budgetguard_companion import client, job, nodes, routes
from budgetguard_companion.status import GREEN
from budgetguard_companion.workstation import Workstation
from PIL import Image

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca
from tests.companion.leaks import Haystack, saved_image
from tests.companion.studio import AWS, NVIDIA, PACKAGE, SECRETS, Place, gateway
from tests.companion.studio import nodes as endpoints_of
from tests.sandbox.http import HttpRequest
from tests.sandbox.nim_stub import answer_of_nim
from tests.unit.workstation.examples import CANARY

FLUX = "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"
LLAMA = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.15.5"
IMAGE = {"width": 1024, "height": 1024, "steps": 20, "guidance": 3.5, "seed": 7}
TEXT = {"max_tokens": 64, "temperature": 0.5, "seed": 7}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclasses.dataclass
class Nims:
    """NIMs at paths of one server on loopback, with the token of a gateway before them."""

    port: int = 0
    asked: list[tuple[str, str, str | None, t.Any]] = dataclasses.field(default_factory=list)
    special: dict[str, Answer] = dataclasses.field(default_factory=dict)
    token: str | None = None

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def entry(self, path: str, **more: t.Any) -> dict[str, t.Any]:
        """Return an endpoint as a config has it."""
        return {"url": self.url(path), "gpu_tier": "l40s", "target": path, **more}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as the sandbox's NIM does, unless the path is special."""
        body = await request.read()
        given = request.headers.get("Authorization")
        self.asked.append((request.method, request.path, given, json.loads(body) if body else None))
        place, _slash, rest = request.path.lstrip("/").partition("/")
        special = self.special.get(request.path) or self.special.get(place)
        if special is not None:
            return await special(request)
        if self.token is not None and given != f"Bearer {self.token}":
            return web.json_response({"error": "The tokens of this workstation were revoked; ask TechOps"}, status=403)
        image = LLAMA if place.startswith("llama") else FLUX
        answer = answer_of_nim(image, HttpRequest(request.method, f"/{rest}", t.cast(t.Any, request.headers), body))
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

    def posts(self) -> list[tuple[str, t.Any]]:
        """Return path and body of what was asked for in earnest."""
        return [(path, body) for method, path, _given, body in self.asked if method == "POST"]


def status(number: int, content: t.Any = None) -> Answer:
    """Return what always answers with this."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(content or {"detail": "no"}, status=number)

    return answer


class Tensor:
    """Stands in for a tensor that numpy cannot take as it is, as those on a GPU, of 16 bits or with a gradient."""

    def __init__(self, array: numpy.ndarray[t.Any, t.Any]) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """How long each dimension is."""
        return tuple(self._array.shape)

    @property
    def dtype(self) -> t.Any:
        """What the numbers are."""
        return self._array.dtype

    def __array__(self, *_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise TypeError("can't convert this tensor to numpy. Use Tensor.cpu() to copy it to host memory first.")

    def detach(self) -> Tensor:
        """Leave the gradient behind."""
        return self

    cpu = float = bfloat16 = requires_grad_ = detach

    def numpy(self) -> numpy.ndarray[t.Any, t.Any]:
        """Return the array."""
        return self._array


class Torch(types.ModuleType):
    """Stands in for torch, as far as the nodes and these tests call it."""

    float32 = numpy.dtype("float32")

    def from_numpy(self, array: t.Any) -> Tensor:
        """Return the array as a tensor, if torch would take it."""
        assert isinstance(array, numpy.ndarray)
        return Tensor(array)

    def is_tensor(self, value: t.Any) -> bool:
        """Tell whether this is a tensor."""
        return isinstance(value, Tensor)


def tensor(shape: tuple[int, ...], value: float) -> t.Any:
    """Return an image as ComfyUI may hand it over, which numpy does not take as it is; by the torch there is."""
    plain = importlib.import_module("torch").from_numpy(numpy.full(shape, value, numpy.float32))
    return plain.bfloat16().requires_grad_()


def array_of(image: t.Any) -> numpy.ndarray[t.Any, t.Any]:
    """Return the numbers of what a node gave out, which must be what ComfyUI calls an IMAGE."""
    torch = importlib.import_module("torch")
    assert torch.is_tensor(image)
    assert image.dtype == torch.float32
    assert (len(image.shape), image.shape[0], image.shape[3]) == (4, 1, 3)
    numbers: numpy.ndarray[t.Any, t.Any] = image.numpy()
    assert 0.0 <= numbers.min() <= numbers.max() <= 1.0
    return numbers


def pixel_in(body: dict[str, t.Any]) -> tuple[tuple[int, int], t.Any]:
    """Return the size of the image that went along with a request, and its first pixel."""
    head, _comma, content = body["image"].partition(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    return image.size, image.getpixel((0, 0))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a workstation without a config."""
    if importlib.util.find_spec("torch") is None:
        monkeypatch.setitem(sys.modules, "torch", Torch("torch"))
    monkeypatch.setattr(client, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(client, "LOOK_SECONDS", 300.0)  # A busy machine is no NIM that is down.
    base = tmp_path / "ComfyUI"
    (base / "custom_nodes" / PACKAGE.name).mkdir(parents=True)
    return Place(base, tmp_path / "keys" / "studio.key")


def station(place: Place) -> Workstation:
    """Return the files of a workstation as the companion sees them."""
    return Workstation(place.base, place.base / "custom_nodes" / PACKAGE.name, {})


def with_nims(scenario: Callable[[Nims], Awaitable[None]], tls: ssl.SSLContext | None = None) -> None:
    """Run a scenario while the NIMs are up."""

    async def run() -> None:
        nims = Nims()
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", nims.handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        nims.port = runner.addresses[0][1]
        try:
            await scenario(nims)
        finally:
            await runner.cleanup()

    asyncio.run(run())


async def execute(place: Place, kind: str, **inputs: t.Any) -> tuple[t.Any, str]:
    """Run a node; return its value and what it says, which must not hold a secret."""
    node: t.Any = nodes.build(station(place))[kind]()
    usual: dict[str, t.Any] = {"mode": "MANUAL", "provider": "auto", "prompt": "a red fox"}
    usual.update(
        {"BudgetGuardNIM": {"nim": "FLUX Dev", **IMAGE}, "BudgetGuardNIMText": {"nim": "Llama 3", **TEXT}}[kind]
    )
    told = await node.execute(**{**usual, **inputs})
    assert not [secret for secret in SECRETS if secret in json.dumps(told["ui"])]
    return told["result"][0], told["ui"]["budgetguard"][0]


async def problem_of(place: Place, kind: str, **inputs: t.Any) -> str:
    """Run a node that must fail; return what the artist reads."""
    with pytest.raises(nodes.NodeError) as caught:
        await execute(place, kind, **inputs)
    assert caught.value.__cause__ is None
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    return str(caught.value)


def test_makes_an_image_through_the_gateway(place: Place) -> None:
    """The token goes along, the answer becomes a batch of numbers from 0 to 1."""

    async def scenario(nims: Nims) -> None:
        nims.token = f"token-{CANARY}"
        place.give({**AWS, **gateway()}, endpoints_of(FLUX_Dev=[("aws", nims.entry("flux", auth="gateway"))]))
        image, said = await execute(place, "BudgetGuardNIM", provider="aws")
        numbers = array_of(image)
        assert numbers.shape == (1, 16, 16, 3)
        assert numpy.allclose(numbers[0, 0, 0], numpy.array([259 % 256, 637 % 256, 371 % 256]) / 255)
        assert said == "FLUX Dev on aws (flux): your choice."
        expected = {"prompt": "a red fox", "width": 1024, "height": 1024, "steps": 20, "cfg_scale": 3.5, "seed": 7}
        assert nims.asked == [("POST", "/flux/v1/infer", f"Bearer token-{CANARY}", expected)]

    with_nims(scenario)


def test_the_studios_own_authority_is_believed_at_its_gateways_alone(place: Place, tmp_path: Path) -> None:
    """A gateway's certificate of the studio's authority is good; anything else with it is not asked."""
    now = datetime.datetime.now(datetime.timezone.utc)
    root, key = _ca.new_ca("example-studio", now)
    pem = tmp_path / "gateway.pem"
    pem.write_text("".join(_ca.leaf(root, key, ["127.0.0.1"], now)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    given = gateway(authority=root)

    async def scenario(nims: Nims) -> None:
        entry = {**nims.entry("flux"), "url": nims.url("flux").replace("http:", "https:")}
        place.give(given, endpoints_of(FLUX_Dev=[("azure", {**entry, "auth": "gateway"})]))
        await execute(place, "BudgetGuardNIM")
        place.give(gateway(), endpoints_of(FLUX_Dev=[("azure", {**entry, "auth": "gateway"})]))
        assert "certificate is not to be trusted" in await problem_of(place, "BudgetGuardNIM", provider="azure")
        place.give(given, endpoints_of(FLUX_Dev=[("azure", {**entry, "auth": "none"})]))
        assert "certificate that is not to be trusted" in await problem_of(place, "BudgetGuardNIM")
        assert len(nims.posts()) == 1

    with_nims(scenario, tls)


def test_an_image_goes_in_for_canny_depth_and_kontext(place: Place) -> None:
    """They need an image and get the first of a batch as a PNG; FLUX Dev takes none."""

    async def scenario(nims: Nims) -> None:
        pairs = [("local", nims.entry("flux"))]
        kinds = ("FLUX Canny", "FLUX Depth", "FLUX Kontext")
        place.give(AWS, endpoints_of(FLUX_Canny=pairs, FLUX_Depth=pairs, FLUX_Dev=pairs, FLUX_Kontext=pairs))
        for kind in kinds:
            assert "needs an image" in await problem_of(place, "BudgetGuardNIM", nim=kind)
        batch = tensor((2, 8, 12, 3), 0.5)
        assert "takes no image" in await problem_of(place, "BudgetGuardNIM", image=batch)
        assert nims.posts() == []
        for kind in kinds:
            image, _said = await execute(place, "BudgetGuardNIM", nim=kind, image=batch)
            assert array_of(image).shape == (1, 16, 16, 3)
        canny, depth, kontext = [body for _path, body in nims.posts()]
        assert [pixel_in(body) for body in (canny, depth, kontext)] == [((12, 8), (128, 128, 128))] * 3
        assert (canny["mode"], canny["preprocess_image"]) == ("canny", True)
        assert (depth["mode"], depth["preprocess_image"]) == ("depth", True)
        assert (kontext["aspect_ratio"], "width" in kontext) == ("match_input_image", False)

    with_nims(scenario)


def test_the_lowest_price_that_is_ready(place: Place) -> None:
    """The cheapest is taken; one that is down, or fails when it is asked, gives way to the next, and it is said."""

    async def scenario(nims: Nims) -> None:
        place.give(
            AWS,
            endpoints_of(
                FLUX_Dev=[
                    ("aws", nims.entry("dear", hourly_usd=9)),
                    ("azure", nims.entry("cheap", hourly_usd=2.5)),
                    ("gcp", nims.entry("middle", hourly_usd=4)),
                    ("local", nims.entry("unknown")),
                ]
            ),
        )
        desk = routes.Desk(station(place))
        choice = await desk.choice("FLUX Dev", "LOWEST PRICE")
        assert choice["provider"] == "azure"
        assert choice["text"] == "FLUX Dev on azure (cheap): the lowest price that is ready, 2.50 USD per hour."
        nims.special["cheap"] = status(503)
        _image, said = await execute(place, "BudgetGuardNIM", mode="LOWEST PRICE")
        assert "FLUX Dev on gcp (middle): the lowest price that is ready, 4.00 USD per hour" in said
        assert said.endswith("Passed over: azure (cheap) is not ready.")
        nims.special["/middle/v1/infer"] = status(502)
        _image, said = await execute(place, "BudgetGuardNIM", mode="LOWEST PRICE")
        assert said.startswith("FLUX Dev on aws (dear)")
        _image, said = await execute(place, "BudgetGuardNIM", mode="LOCAL", provider="aws")
        assert said == "FLUX Dev on local (unknown): a machine of the studio."
        nims.special.update(dict.fromkeys(("dear", "middle", "unknown"), status(503)))
        assert "nothing is ready" in await problem_of(place, "BudgetGuardNIM", mode="LOWEST PRICE")
        assert (await desk.choice("FLUX Dev", "LOWEST PRICE"))["provider"] is None

    with_nims(scenario)


def test_nvidia_is_polled_with_the_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 202 is asked again by its number until it is done; the key goes nowhere in clear."""

    async def scenario(nims: Nims) -> None:
        left = [202, 202, 200]

        async def later(_request: web.Request) -> web.Response:
            number = left.pop(0)
            headers = {"NVCF-REQID": "0a-1b"} if number == 202 else {}
            done = {"artifacts": [{"base64": "", "finishReason": "CONTENT_FILTERED"}]}
            return web.json_response(done if number == 200 else None, status=number, headers=headers)

        nims.special.update(hosted=later, status=later)
        monkeypatch.setattr(client, "STATUS_URL", nims.url("status/"))
        entry = {**nims.entry("hosted"), "infer_url": nims.url("hosted"), "auth": "bearer"}
        place.give(NVIDIA, endpoints_of(FLUX_Dev=[("nvidia-hosted", entry)]))
        assert "filtered the content" in await problem_of(place, "BudgetGuardNIM")
        assert [path for _method, path, _given, _body in nims.asked] == ["/hosted", "/status/0a-1b", "/status/0a-1b"]
        assert {given for _method, _path, given, _body in nims.asked} == {f"Bearer nvapi-{CANARY}"}
        plain = {**entry, "infer_url": "http://ai.example/flux"}
        place.give(NVIDIA, endpoints_of(FLUX_Dev=[("nvidia-hosted", plain)]))
        assert "not reached by https" in await problem_of(place, "BudgetGuardNIM")

    with_nims(scenario)


@pytest.mark.parametrize(
    ("number", "content", "said"),
    [
        (401, None, "does not take this workstation's token"),
        (403, {"error": f"token-{CANARY} was revoked"}, "which was revoked"),
        (404, None, "not there, or not started"),
        (413, None, "too large for the gateway"),
        (422, {"detail": [{"loc": ["body", "steps"], "msg": f"bad {CANARY}"}]}, "steps: bad (hidden)"),
        (429, None, "too many requests"),
        (500, None, "failed inside"),
        (503, None, "stopped, or still starting"),
        (200, {"artifacts": []}, "answered with no image"),
        (200, {"artifacts": [{"finishReason": "ERROR"}]}, "made no image: ERROR."),
        (200, {"artifacts": [{"finishReason": f"token-{CANARY}"}]}, "made no image: it does not say why."),
        (200, {"artifacts": [{"base64": "aGVsbG8="}]}, "something that is no image"),
    ],
)
def test_every_refusal_is_a_sentence(place: Place, number: int, content: t.Any, said: str) -> None:
    """The artist reads what is the matter and whom to call, and never a secret that came back."""

    async def scenario(nims: Nims) -> None:
        nims.special["/flux/v1/infer"] = status(number, content)
        place.give({**AWS, **gateway()}, endpoints_of(FLUX_Dev=[("aws", nims.entry("flux", auth="gateway"))]))
        assert said in await problem_of(place, "BudgetGuardNIM")

    with_nims(scenario)


def test_answers_come_in_pieces_and_are_written_down(place: Place) -> None:
    """A large image arrives in several pieces; the usage file says who made it, and nothing of what was asked."""

    async def scenario(nims: Nims) -> None:
        async def slowly(_request: web.Request) -> web.StreamResponse:
            picture = base64.b64encode(job.png_of(tensor((1, 8, 8, 3), 0.0))).decode()
            content = json.dumps({"artifacts": [{"base64": picture}], "filler": "x" * 300000}).encode()
            answer = web.StreamResponse()
            await answer.prepare(_request)
            for at in range(0, len(content), 50000):
                await answer.write(content[at : at + 50000])
                await asyncio.sleep(0.01)
            return answer

        nims.special["/flux/v1/infer"] = slowly
        place.give(AWS, endpoints_of(FLUX_Dev=[("local", nims.entry("flux"))]))
        image, _said = await execute(place, "BudgetGuardNIM", provider="local")
        assert array_of(image).shape == (1, 8, 8, 3)
        nims.special["/flux/v1/infer"] = status(500)
        await problem_of(place, "BudgetGuardNIM", provider="local")

    with_nims(scenario)
    lines = (place.base / "budgetguard" / "usage.jsonl").read_text().splitlines()
    assert [(json.loads(line)["provider"], json.loads(line)["ok"]) for line in lines] == [
        ("local", True),
        ("local", False),
    ]
    assert "fox" not in "".join(lines)


def test_nothing_secret_is_kept_of_a_request(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What images, history and the log keep of a request, also of one in which a NIM told secrets back."""
    caplog.set_level(logging.DEBUG)
    hay = Haystack()
    sent = (f"token-{CANARY}", f"nvapi-{CANARY}", CANARY)
    inputs = {"nim": "FLUX Dev", "mode": "MANUAL", "provider": "aws", "prompt": "a red fox", **IMAGE}

    async def scenario(nims: Nims) -> None:
        there = nims.entry("flux", auth="gateway")
        place.give({**AWS, **NVIDIA, **gateway()}, endpoints_of(FLUX_Dev=[("aws", there)]))
        node: t.Any = nodes.build(station(place))["BudgetGuardNIM"]()
        told = await node.execute(**inputs)
        hay.add("history", json.dumps([inputs, told["ui"]]))
        hay.add("image", saved_image({"1": {"inputs": inputs, "class_type": "BudgetGuardNIM"}}, {"nodes": [inputs]}))
        for number in (400, 401, 403, 422, 500):
            # Where a text is made short, the second one would be cut in half.
            for told_back in (" ".join(sent), f"{'.' * 290} token-{CANARY}"):
                nims.special["/flux/v1/infer"] = status(number, {"detail": told_back})
                with pytest.raises(nodes.NodeError) as caught:
                    await node.execute(**inputs)
                hay.add("errors", "".join(traceback.format_exception(caught.value)))
        hay.add("answers", json.dumps([await routes.Desk(node.place).status(), node.INPUT_TYPES()], ensure_ascii=False))

    with_nims(scenario)
    hay.add("log", caplog.text)
    hay.add_files(place.base)
    expected = {"history": "red fox", "image: metadata": "red fox", "errors": "does not take this request: (hidden)"}
    expected |= {"answers": GREEN, "log": "POST /flux/v1/infer", "budgetguard/usage.jsonl": '"ok": false'}
    hay.check([*SECRETS, *sent, "token-can"], expected)


def test_ends_when_the_artist_cancels_and_when_time_is_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NIM that does not answer blocks nothing: the request is given up, and its connection closed."""

    class CancelledByArtistError(Exception):
        pass

    async def scenario(nims: Nims) -> None:
        ended = asyncio.Event()

        async def hang(_request: web.Request) -> web.Response:
            try:
                await asyncio.sleep(600)
            finally:
                ended.set()
            return web.Response()

        def interrupted() -> None:
            raise CancelledByArtistError

        nims.special["/flux/v1/infer"] = hang
        place.give(AWS, endpoints_of(FLUX_Dev=[("local", nims.entry("flux"))]))
        settings = place.base / "custom_nodes" / PACKAGE.name / "settings.json"
        settings.write_text(json.dumps({"key_path": str(place.key_file), "time_limit": 1}))
        assert "gave no answer within 1 seconds" in await problem_of(place, "BudgetGuardNIM")
        await asyncio.wait_for(ended.wait(), 60)
        ended.clear()
        management, utils = types.ModuleType("management"), types.ModuleType("utils")
        vars(management)["throw_exception_if_processing_interrupted"] = interrupted
        vars(utils)["ProgressBar"] = lambda _total, node_id: types.SimpleNamespace(update_absolute=lambda *_: None)
        monkeypatch.setitem(sys.modules, "comfy", types.ModuleType("comfy"))
        monkeypatch.setitem(sys.modules, "comfy.model_management", management)
        monkeypatch.setitem(sys.modules, "comfy.utils", utils)
        settings.write_text(json.dumps({"key_path": str(place.key_file), "time_limit": 900}))
        with pytest.raises(CancelledByArtistError):
            await execute(place, "BudgetGuardNIM")
        await asyncio.wait_for(ended.wait(), 60)

    with_nims(scenario)


def test_language_models_give_text(place: Place) -> None:
    """The model's name is asked for where the config does not say it."""

    async def scenario(nims: Nims) -> None:
        entry = nims.entry("llama", api_style="openai")
        place.give(AWS, endpoints_of(Llama_3=[("local", entry)], FLUX_Dev=[("local", nims.entry("flux"))]))
        text, said = await execute(place, "BudgetGuardNIMText")
        assert text == "Hello."
        assert said.startswith("Llama 3 on local")
        assert nims.posts()[0][1]["model"] == "meta/llama-3.1-8b-instruct"
        kinds = nodes.build(station(place))
        inputs = [t.cast(t.Any, kind).INPUT_TYPES()["required"]["nim"][0] for kind in kinds.values()]
        assert inputs == [["FLUX Dev"], ["Llama 3"]]
        place.give(AWS, endpoints_of(Llama_3=[("local", {**entry, "model": "meta/llama-31-8b-instruct"})]))
        assert (await execute(place, "BudgetGuardNIMText"))[0] == "Hello."
        place.give(AWS, endpoints_of(Llama_3=[("local", {**entry, "model": "meta/llama-2"})]))
        assert "has no model meta/llama-2" in await problem_of(place, "BudgetGuardNIMText")

    with_nims(scenario)


def test_without_credentials_inputs_are_passed_through(place: Place) -> None:
    """As the public documents say; where there is nothing to pass, the artist reads whom to call."""

    async def scenario(_nims: Nims) -> None:
        batch = tensor((1, 8, 8, 3), 0.0)
        image, said = await execute(place, "BudgetGuardNIM", image=batch)
        assert image is batch
        assert said.startswith("⚠ Server Credentials Not Found - call your TechOps technician. The input was passed")
        assert (await execute(place, "BudgetGuardNIMText", prompt="as it is"))[0] == "as it is"
        assert "call your TechOps technician" in await problem_of(place, "BudgetGuardNIM")

    with_nims(scenario)


def test_a_revoked_workstation_turns_yellow(place: Place) -> None:
    """The gateway is asked, and what it says is remembered for a while."""

    async def scenario(nims: Nims) -> None:
        nims.token = f"token-{CANARY}"
        place.give({**AWS, **gateway()}, endpoints_of(FLUX_Dev=[("aws", nims.entry("flux", auth="gateway"))]))
        assert (await routes.Desk(station(place)).status())["ok"]
        nims.token = "another"
        desk = routes.Desk(station(place))
        told = await desk.status()
        assert (told["ok"], told["reason"]) == (False, "revoked")
        asked = len(nims.asked)
        assert (await desk.status())["reason"] == "revoked"
        assert len(nims.asked) == asked
        nims.special["flux"] = status(503)
        assert (await routes.Desk(station(place)).status())["ok"]

    with_nims(scenario)
