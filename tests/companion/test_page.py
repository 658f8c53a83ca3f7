# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The companion in the real frontend of ComfyUI: what artists see, and what their browser gets to know."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import typing as t
from pathlib import Path

from tests.browser.chromium import Page
from tests.companion.studio import AWS, CONTACT, NVIDIA, SECRETS, STRANGER, Place, gateway, nodes
from tests.unit.workstation.examples import endpoint

GREEN = "✓ Server Credentials Found"
YELLOW = "⚠ Server Credentials Not Found - call your TechOps technician"
NOTHING = {"credentials_status": {"nvidia": False, "aws": False, "azure": False, "gcp": False}}


def load(page: Page, address: str) -> None:
    """Load ComfyUI and wait until it is up."""
    page.visit(address)
    page.wait("window.app?.graph && window.app?.extensionManager && window.LiteGraph && true")
    page.wait("app.extensionManager.getSidebarTabs().some((tab) => tab.id === 'budgetguard')")


def look(page: Page, text: str) -> None:
    """Open the tab anew, and wait until its box says this."""
    page.run("app.extensionManager.sidebarTab.activeSidebarTabId = null")
    page.wait("!document.getElementById('budgetguard-status')")
    page.run("app.extensionManager.sidebarTab.activeSidebarTabId = 'budgetguard'")
    page.wait(f"document.getElementById('budgetguard-status')?.textContent === {json.dumps(text)}")


def stored(page: Page) -> t.Any:
    """Return what the public node would read."""
    return json.loads(page.run("localStorage.getItem('budgetguard_config')"))


def colour(page: Page) -> str:
    """Return the colour of the letters."""
    value: str = page.run("getComputedStyle(document.getElementById('budgetguard-status')).color")
    return value


def check_nothing_leaked(page: Page) -> None:
    """Fail if a secret is anywhere in the browser, or in an answer of the server."""
    seen = page.run(
        "document.documentElement.outerHTML + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)"
    )
    seen += page.run("fetch('/budgetguard/api/status').then((answer) => answer.text())")
    seen += json.dumps(page.complaints)
    assert not [secret for secret in SECRETS if secret in seen]


def lose_config(place: Place) -> None:
    (place.base / "budgetguard" / "budgetguard_backend_config.json").unlink()


def lose_key(place: Place) -> None:
    place.give()
    place.key_file.unlink()


class Revoking(http.server.BaseHTTPRequestHandler):
    """A gateway that knows the workstation and lets it in no more."""

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def revoking_gateway() -> t.Iterator[str]:
    """Serve it; yield its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Revoking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def be_revoked(place: Place, address: str) -> None:
    there = endpoint(url=address, health_url=f"{address}/v1/health/ready", auth="gateway")
    place.give({**AWS, **gateway()}, nodes(FLUX_Dev=[("aws", there)]))


YELLOWS: dict[str, t.Callable[[Place, str], None]] = {
    "no_config": lambda place, _address: lose_config(place),
    "no_key": lambda place, _address: lose_key(place),
    "wrong_key": lambda place, _address: place.give(key=STRANGER),
    "expired": lambda place, _address: place.give({**AWS, **gateway(days=-1)}),
    "revoked": be_revoked,
}


def test_the_tab(page: Page, comfyui: str, place: Place, tmp_path: Path) -> None:
    """Green and each yellow, then the modes, in one page that is loaded once."""
    place.give(AWS)
    load(page, comfyui)
    green_and_each_yellow(page, place, tmp_path)
    modes(page, place, tmp_path)
    page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    try:
        show_yellow(page, "unreachable", tmp_path)
        assert f"TechOps: {CONTACT}" in page.run("document.getElementById('budgetguard-reason').textContent")
    finally:
        page.call(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )


def green_and_each_yellow(page: Page, place: Place, tmp_path: Path) -> None:
    """Change the files: the tab follows without a restart, and says whom to call and what is the matter."""
    page.run("app.graph.clear(); null")
    look(page, GREEN)
    assert colour(page) == "rgb(143, 240, 164)"
    assert stored(page) == {"credentials_status": {"nvidia": False, "aws": True, "azure": False, "gcp": False}}
    assert page.run("document.querySelectorAll('.bgc-panel input, .bgc-panel textarea').length") == 0
    assert page.run("document.querySelectorAll('.bgc-mode[data-mode]:disabled').length") == 3
    assert "price not known" in page.run("document.getElementById('budgetguard-nodes').textContent")
    page.picture(tmp_path / "green.png")
    check_nothing_leaked(page)
    with revoking_gateway() as address:
        for reason, prepare in YELLOWS.items():
            prepare(place, address)
            show_yellow(page, reason, tmp_path)
            check_nothing_leaked(page)
            assert f"TechOps: {CONTACT}" in page.run("document.getElementById('budgetguard-reason').textContent")


def show_yellow(page: Page, reason: str, tmp_path: Path) -> None:
    """Wait until the tab is yellow for this reason."""
    look(page, YELLOW)
    page.wait(f"document.getElementById('budgetguard-reason')?.dataset.reason === {json.dumps(reason)}")
    assert colour(page) == "rgb(255, 216, 77)"
    assert stored(page) == NOTHING
    page.picture(tmp_path / f"{reason}.png")


def add_node(page: Page) -> None:
    """Put a node into the workflow as artists do, and call it ``node``."""
    page.run("window.node = LiteGraph.createNode('BudgetGuardNIM'); app.graph.add(node); null")


def widget(page: Page, name: str) -> t.Any:
    """Return what a widget of the first node says."""
    return page.run(f"app.graph._nodes[0].widgets.find((one) => one.name === {json.dumps(name)}).value")


def press(page: Page, mode: str) -> None:
    """Press a button of the tab and wait until it counts for all nodes."""
    button = f"document.querySelector('.bgc-mode[data-mode=\"{mode}\"]')"
    page.wait(f"{button} && ({button}.click(), true)")
    page.wait(f"{button}.getAttribute('aria-pressed') === 'true'")


def modes(page: Page, place: Place, tmp_path: Path) -> None:
    """Switch: new nodes are MANUAL; what was chosen by hand comes back, also after saving and loading."""
    dead = {"url": "http://127.0.0.1:9", "gpu_tier": "l40s", "hourly_usd": 1}
    hosted = {"url": "https://ai.example/flux", "gpu_tier": "hosted", "usd_per_image": 0.04}
    place.give(
        {**AWS, **NVIDIA}, nodes(FLUX_Dev=[("aws", dead), ("nvidia-hosted", hosted)], FLUX_Canny=[("aws", dead)])
    )
    look(page, GREEN)
    add_node(page)
    page.wait("document.querySelectorAll('.bgc-mode[data-mode]:enabled').length === 3")
    assert (widget(page, "mode"), widget(page, "provider")) == ("MANUAL", "auto")
    page.run("app.graph._nodes[0].widgets.find((one) => one.name === 'nim').value = 'FLUX Dev'; null")
    page.run("app.graph._nodes[0].widgets.find((one) => one.name === 'provider').value = 'gcp'; null")
    press(page, "LOWEST PRICE")
    page.wait("app.graph._nodes[0].budgetguardText?.includes('0.0400 USD per image')")
    assert widget(page, "provider") == "nvidia-hosted"
    assert page.run("app.graph._nodes[0].budgetguardGood") is True
    page.run("app.canvas.ds.reset(); app.canvas.ds.offset = [420, 120]; app.canvas.setDirty(true, true); null")
    page.picture(tmp_path / "lowest_price.png")
    add_node(page)
    assert page.run("node.widgets.find((one) => one.name === 'mode').value") == "MANUAL"
    page.run("app.graph.remove(node); null")
    saved = page.run("JSON.stringify(app.graph.serialize())")
    assert "https://" not in saved
    page.run("app.graph.clear(); null")
    page.run(f"app.loadGraphData(JSON.parse({json.dumps(saved)})).then(() => null)")
    page.wait("app.graph._nodes.length === 1 && app.graph._nodes[0].budgetguardText?.includes('nvidia-hosted')")
    assert widget(page, "mode") == "LOWEST PRICE"
    press(page, "LOCAL")
    page.wait("app.graph._nodes[0].budgetguardText?.includes('does not run on a machine of the studio')")
    assert page.run("app.graph._nodes[0].budgetguardGood") is False
    press(page, "MANUAL")
    assert widget(page, "provider") == "gcp"
    check_nothing_leaked(page)
