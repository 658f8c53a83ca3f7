# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dialog of cloud nodes in the real frontend of ComfyUI, with the sandbox's ECS and GKE behind it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import typing as t
from pathlib import Path

import pytest

from tests.browser.chromium import Page
from tests.companion.leaks import Haystack, saved_image
from tests.companion.published import Fields, prepare, secret_parts
from tests.companion.studio import CONTACT, SECRETS, Place, running_comfyui
from tests.companion.test_page import GREEN, load, look
from tests.sandbox import Sandbox
from tests.unit.workstation.examples import CANARY

EVERYWHERE = str(ipaddress.IPv4Address(0))
CLOUDS = ("aws", "gcp")
TOKEN = f"token-of-the-door-{CANARY}"
LISTENER = """
window.heard = [];
const asked = window.fetch;
window.fetch = async (...given) => {
    const answer = await asked(...given);
    const content = await answer.clone().text();
    window.heard.push(`${answer.url} ${content}`);
    return answer;
};
"""


class Studio:
    """Two clouds with a NIM each, and a workstation with an identity in both."""

    def __init__(self, sandbox: Sandbox, place: Place) -> None:
        self.sandbox = sandbox
        self.fields: dict[str, Fields] = {}
        endpoints: dict[str, t.Any] = {}
        for cloud in CLOUDS:
            self.fields[cloud], target = prepare(sandbox, cloud)
            for node, providers in target["endpoints"].items():
                for provider, entries in providers.items():
                    priced = [{**entry, "hourly_usd": {"aws": 2.24, "gcp": 0.85}[cloud]} for entry in entries]
                    endpoints.setdefault(node, {})[provider] = priced
        place.give({cloud: dict(fields) for cloud, fields in self.fields.items()}, endpoints)
        sandbox.control.defaults(startup_seconds=3600)
        sandbox.control.clear_calls()

    def changes(self) -> list[tuple[str, str]]:
        """Return what artists changed: service and body of each call."""
        return [
            (call["service"], call["body"])
            for call in self.sandbox.control.calls()
            if call["action"] == "UpdateService" or call["method"] == "PATCH"
        ]

    def secrets(self) -> list[str]:
        """Return everything that must not leave ComfyUI's process."""
        return [*SECRETS, TOKEN, *(part for fields in self.fields.values() for part in secret_parts(fields))]


@pytest.fixture
def studio(running_sandbox: Sandbox, place: Place) -> Studio:
    """Give two clouds and a workstation."""
    running_sandbox.control.reset()
    return Studio(running_sandbox, place)


def open_dialog(page: Page) -> None:
    """Open the dialog as artists do, and wait for both NIMs."""
    look(page, GREEN)
    page.wait("document.getElementById('budgetguard-cloud') && true")
    page.click("#budgetguard-cloud")
    page.wait("document.querySelectorAll('#budgetguard-dialog tr[data-key]').length === 2")


def enter(page: Page, focus: str) -> None:
    """Give an element the keyboard, and press the return key."""
    element = f"document.querySelector('#budgetguard-dialog [data-focus^={json.dumps(focus)}]')"
    page.wait(f"{element} && !{element}.disabled && ({element}.focus(), document.activeElement === {element})")
    strike(page, "Enter", 13, "\r")


def strike(page: Page, key: str, number: int, text: str = "") -> None:
    """Press a key so that the browser itself does what belongs to it."""
    for kind in ("keyDown", "keyUp"):
        more = {"text": text} if text and kind == "keyDown" else {}
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number, **more)


def said(page: Page, text: str) -> None:
    """Wait until the dialog says this."""
    page.wait(f"document.getElementById('budgetguard-said')?.textContent.includes({json.dumps(text)})")


def tick_all(page: Page) -> None:
    """Choose all NIMs."""
    for number in range(len(CLOUDS)):
        tick = f"document.querySelectorAll('#budgetguard-dialog [data-focus^=tick]')[{number}]"
        page.run(f"{tick}.checked || {tick}.click()")


@contextlib.contextmanager
def listening_in(page: Page) -> t.Iterator[None]:
    """Keep all answers that pages get from now on."""
    added = page.call("Page.addScriptToEvaluateOnNewDocument", source=LISTENER)["identifier"]
    yield
    page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def check_nothing_leaked(page: Page, place: Place, studio: Studio) -> None:
    """Look for every secret in the page, all answers, what images and history keep, logs, and every file."""
    page.run("LiteGraph.createNode('BudgetGuardNIM') && app.graph.add(LiteGraph.createNode('BudgetGuardNIM')); null")
    kept = page.run("app.graphToPrompt().then((whole) => ({prompt: whole.output, workflow: whole.workflow}))")
    hay = Haystack()
    hay.add("image", saved_image(kept["prompt"], kept["workflow"]))
    hay.add("history", json.dumps(kept))
    hay.add("page", page.run("document.documentElement.outerHTML + JSON.stringify(localStorage)"))
    hay.add("complaints", json.dumps(page.complaints))
    hay.add("addresses", json.dumps(page.requests))
    for route in ("status", "cloud-nodes/status", "choice?node=FLUX+Dev&mode=LOWEST+PRICE"):
        page.run(f"fetch('/budgetguard/api/{route}').then((answer) => answer.text())")
    page.wait("heard.some((one) => one.includes('/choice?'))")
    hay.add("answers", "\n".join(page.run("heard")))
    hay.add("log", place.log.read_bytes())
    hay.add_files(place.base)
    hay.check(
        studio.secrets(),
        {
            "image: metadata": "BudgetGuardNIM",
            "history": "BudgetGuardNIM",
            "page": "Cloud nodes",
            "answers": "is being stopped, and costs no more",
            "addresses": "/budgetguard/api/cloud-nodes/start",
            "log": "POST /api/budgetguard/api/cloud-nodes/stop",
            "budgetguard/usage.jsonl": '"kind": "stop"',
            "budgetguard/budgetguard_backend_config.json": "encrypted_data",
            "custom_nodes/budgetguard_companion/settings.json": "token_path",
        },
    )


def test_start_and_stop(page: Page, place: Place, studio: Studio, tmp_path: Path) -> None:
    """With the keyboard alone, one and many; the clouds get one call each, and nothing stops unconfirmed."""
    place.token_file.write_text(f"{TOKEN}\n")
    with running_comfyui(place, **studio.sandbox.env) as address, listening_in(page):
        load(page, address)
        open_dialog(page)
        assert page.run("document.getElementById('budgetguard-dialog').open")
        assert page.run("document.querySelectorAll('#budgetguard-dialog tr[data-state=stopped]').length") == 2
        assert studio.changes() == []
        enter(page, "act-aws/")
        said(page, "FLUX Dev on aws (aws-here) starts: ready in about 30 minutes.")
        page.wait("document.querySelector('#budgetguard-dialog tr[data-state=starting]') && true")
        [(service, body)] = studio.changes()
        assert (service, json.loads(body)["desiredCount"]) == ("ecs", 1)
        tick_all(page)
        page.picture(tmp_path / "dialog.png")
        enter(page, "batch-start")
        said(page, "Llama 3.1 on gcp (gcp-here) starts")
        said(page, "FLUX Dev on aws (aws-here) is starting already.")
        assert [service for service, _body in studio.changes()] == ["ecs", "kube"]
        tick_all(page)
        enter(page, "batch-stop")
        page.wait("document.getElementById('budgetguard-question')?.textContent.includes('Stop it for everybody?')")
        assert page.run("document.activeElement.dataset.focus") == "confirm-no"
        page.picture(tmp_path / "question.png")
        enter(page, "confirm-no")
        page.wait("!document.getElementById('budgetguard-question')")
        assert len(studio.changes()) == 2
        enter(page, "batch-stop")
        enter(page, "confirm-yes")
        said(page, "is being stopped, and costs no more once its machine is gone.")
        bodies = [json.loads(body) for _service, body in studio.changes()[2:]]
        assert [body.get("desiredCount", body.get("spec")) for body in bodies] == [0, {"replicas": 0}]
        close_dialog(page)
        refuse_strangers(page, studio)
        close_dialog(page)
        with_token(page, studio, tmp_path)
        check_nothing_leaked(page, place, studio)


def close_dialog(page: Page) -> None:
    """Close the dialog with the keyboard."""
    strike(page, "Escape", 27)
    page.wait("!document.getElementById('budgetguard-dialog').open")


def refuse_strangers(page: Page, studio: Studio) -> None:
    """Ask as a page of somebody else would, which starts nothing; what the cloud refuses says whom to call."""
    before = len(studio.changes())
    asked = json.dumps({"provider": "aws", "instance_name": "nim-flux-dev-l40s"})
    start = "fetch('/budgetguard/api/cloud-nodes/start', {method: 'POST', headers: {'Content-Type': '%s'}, body: %s})"
    number = page.run(start % ("text/plain", json.dumps(asked)) + ".then((answer) => answer.status)")
    assert (number, len(studio.changes())) == (403, before)
    studio.sandbox.control.fault("UpdateService", "AccessDeniedException")
    open_dialog(page)
    enter(page, "act-aws/")
    said(
        page,
        "AWS does not let this workstation start FLUX Dev on aws (aws-here): call your TechOps technician "
        f"({CONTACT}).",
    )


def with_token(page: Page, studio: Studio, tmp_path: Path) -> None:
    """Let ComfyUI listen on the network: no start without the token, nor with a wrong one."""
    studio.sandbox.control.clear_calls()
    page.run(f"fetch('/stand-in/listen', {{method: 'POST', body: '{EVERYWHERE}'}}).then(() => null)")
    open_dialog(page)
    enter(page, "act-aws/")
    said(page, "Type the token of this workstation in")
    assert studio.changes() == []
    for typed, expected in (("wrong", "That token is not right."), (TOKEN, "starts: ready in about")):
        page.wait("document.getElementById('budgetguard-token') && true")
        page.type_into("#budgetguard-token", typed)
        page.picture(tmp_path / "token.png")
        page.run("document.querySelector('#budgetguard-dialog form').requestSubmit()")
        page.wait("!document.getElementById('budgetguard-token')")
        enter(page, "act-aws/")
        said(page, expected)
    assert [service for service, _body in studio.changes()] == ["ecs"]
