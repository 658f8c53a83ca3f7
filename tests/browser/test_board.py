# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The board in a real browser: to choose, to copy, to download."""

from __future__ import annotations

import json
import shlex
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.filter.nim_wanted import nim_wanted
from ansible_collections.budgetguard.techops.plugins.module_utils import _runs
from tests.browser import boards
from tests.browser.chromium import Page
from tests.browser.test_report import CONTRAST

SUM = "document.querySelector('[data-sum]').textContent"
CHANGES = "document.querySelector('[data-changes]').textContent"
REFUSAL = "document.querySelector('[data-refusal]').textContent"
TICKED = "document.querySelectorAll('[data-cell]:checked').length"
TOLD = "document.querySelector('#panel-{} [data-told]').textContent"


@pytest.fixture(scope="module")
def found() -> dict[str, t.Any]:
    """Return a studio with everything that can be: deployed, pending, failed, refused, not selected."""
    return boards.board()


@pytest.fixture(scope="module")
def report(found: dict[str, t.Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its page."""
    return boards.write(tmp_path_factory.mktemp("board") / "report.html", found, _runs.tab(boards.RUNS))


def output(page: Page, name: str) -> str:
    """Return what the page writes of what is ticked."""
    return str(page.run(f"document.querySelector('[data-out={name}]').textContent"))


def box(node: str, target: str) -> str:
    """Return the selector of a box."""
    return f"[data-cell][aria-label^='{node} on {target}:']"


def wanted(matrix: t.Any) -> dict[str, list[dict[str, t.Any]]]:
    """Return what the real filter makes of a matrix, by target."""
    return {host: nim_wanted(matrix, host, boards.GROUPS) for host in boards.GROUPS["nim_providers"]}


def as_asked(told: dict[str, list[dict[str, t.Any]]]) -> dict[tuple[str, str], t.Any]:
    """Return the same by node and target."""
    return {(item["node"], host): item for host, items in told.items() for item in items}


def test_page_is_quiet_and_every_mark_is_there(page: Page, report: Path) -> None:
    page.open(report)
    assert page.complaints == []
    assert set(page.requests) - {"data:,"} == {report.as_uri()}
    shapes = page.run(
        "[...document.querySelectorAll('.legend li')].map(one => [one.textContent.split(/ \\d/)[0],"
        " one.querySelector('use').getAttribute('href'), getComputedStyle(one).color])"
    )
    assert [word for word, _shape, _colour in shapes] == ["Deployed", "Pending", "Failed", "Not selected"]
    assert len({shape for _word, shape, _colour in shapes}) == len({colour for _word, _shape, colour in shapes}) == 4
    # Each shape is drawn, and each cell says its mark in words.
    assert page.run("[...document.querySelectorAll('.board .mark')].every(one => one.getBBox().width > 5)")
    assert page.run(f"document.querySelector({json.dumps(box('FLUX Kontext', 'aws-us-east-1'))}).ariaLabel") == (
        "FLUX Kontext on aws-us-east-1: Failed"
    )
    assert "could not get capacity" in page.run(
        "document.querySelector('.is-failed.cell:has([data-cell=\"3 1\"])').innerText"
    )


def test_untouched_it_says_what_the_matrix_says_and_keeps_what_is_there(page: Page, report: Path) -> None:
    page.open(report)
    assert page.run(CHANGES) == "Nothing is changed."
    told = as_asked(wanted(yaml.safe_load(output(page, "yaml"))["nim_matrix"]))
    before = as_asked(wanted(boards.MATRIX))
    # Left out: t4, on which FLUX Dev does not run. In addition: what is deployed and in no matrix.
    assert before.keys() - told.keys() == {("FLUX Dev", "gcp-us-central1")}
    assert told.keys() - before.keys() == {("Phi-3", "aws-us-east-1")}
    assert {key: told[key] for key in before.keys() & told.keys()} == {
        key: before[key] for key in before.keys() & told.keys()
    }
    assert "aws: {gpu_tier: l40s}" in output(page, "yaml")
    assert shlex.split(output(page, "command")) == [
        *["ansible-playbook", "budgetguard.techops.deploy", "-i", "inventory/my studio", "-e", "@nim_matrix.yml"]
    ]


def test_a_tick_is_in_the_matrix_the_command_awx_and_the_sum(page: Page, report: Path) -> None:
    page.open(report)
    before = as_asked(wanted(yaml.safe_load(output(page, "yaml"))["nim_matrix"]))
    assert page.run(SUM).startswith("11 ticked: 26.85 USD an hour, 19,600.50 USD a month")
    page.click(box("FLUX Schnell", "azure-eastus"))
    page.click(box("FLUX Dev", "aws-us-east-1"))
    assert page.run(SUM).startswith("11 ticked: 32.46 USD an hour, 23,695.80 USD a month")
    assert page.run(CHANGES) == "Changed: 1 more, 1 fewer."
    said = page.run(
        "[...document.querySelectorAll('.is-changed')].map(one => one.querySelector('.change').textContent)"
    )
    assert said == ["To be removed", "To be deployed"]
    assert page.run("getComputedStyle(document.querySelector('.is-changed.is-none .word')).display") == "none"
    matrix = yaml.safe_load(output(page, "yaml"))["nim_matrix"]
    told = as_asked(wanted(matrix))
    assert told["FLUX Schnell", "azure-eastus"]["state"] == "present"
    assert told["FLUX Dev", "aws-us-east-1"]["state"] == "absent"
    changed = {key for key in told if told[key] != before.get(key)}
    assert changed == {("FLUX Schnell", "azure-eastus"), ("FLUX Dev", "aws-us-east-1")}
    command = shlex.split(output(page, "command"))
    assert command[-2:] == ["--limit", "aws-us-east-1,azure-eastus"]
    assert json.loads(command[-3]) == {"nim_nodes": ["FLUX Dev", "FLUX Schnell"]}
    extra = json.loads(output(page, "awx"))
    assert extra == {"nim_matrix": matrix, "nim_nodes": ["FLUX Dev", "FLUX Schnell"]}
    assert output(page, "limit") == "aws-us-east-1,azure-eastus"
    page.click("[data-do=back]")
    assert page.run(CHANGES) == "Nothing is changed."
    assert page.run("document.querySelectorAll('.is-changed').length") == 0
    assert as_asked(wanted(yaml.safe_load(output(page, "yaml"))["nim_matrix"])) == before


def test_all_none_all_of_a_provider_and_one_node_everywhere(page: Page, report: Path) -> None:
    page.open(report)
    boxes = page.run("document.querySelectorAll('[data-cell]:not([aria-disabled])').length")
    page.click("[data-do=all]")
    assert page.run(TICKED) == boxes
    everywhere = as_asked(wanted(yaml.safe_load(output(page, "yaml"))["nim_matrix"]))
    # Mixtral was absent from AWS, and now is present; nothing that does not fit is among them.
    assert {item["state"] for item in everywhere.values()} == {"present"}
    assert len(everywhere) == boxes
    page.click("[data-do=none]")
    assert page.run(TICKED) == 0
    assert page.run(SUM).startswith("0 ticked: 0.00 USD an hour")
    nothing = as_asked(wanted(yaml.safe_load(output(page, "yaml"))["nim_matrix"]))
    assert {item["state"] for item in nothing.values()} == {"absent"}
    page.click("[data-provider=aws]")
    columns = set(
        page.run("[...document.querySelectorAll('[data-cell]:checked')].map(one => one.dataset.cell.split(' ')[1])")
    )
    assert columns == {"0", "1"}
    page.click("[data-do=none]")
    page.click("[data-row='0']")
    rows = set(
        page.run("[...document.querySelectorAll('[data-cell]:checked')].map(one => one.dataset.cell.split(' ')[0])")
    )
    assert rows == {"0"}
    assert page.run(
        "[document.querySelector(\"[data-row='0']\").checked, document.querySelector('[data-column]').indeterminate]"
    ) == [*[True, True]]
    page.click("[data-row='0']")
    assert page.run(TICKED) == 0


def test_what_does_not_fit_cannot_be_ticked_and_says_why(page: Page, report: Path) -> None:
    page.open(report)
    before = [output(page, name) for name in ("yaml", "command", "awx", "limit")]
    page.click(box("SDXL", "aws-us-east-1"))
    assert "SDXL on aws-us-east-1 cannot be chosen: there is no container image of SDXL." in page.run(REFUSAL)
    page.click(box("FLUX Dev", "gcp-us-central1"))
    assert "it has 14.7 GiB of GPU memory, at least 16 GiB are needed" in page.run(REFUSAL)
    assert page.run("document.querySelectorAll('[data-cell][aria-disabled]:checked').length") == 0
    assert [output(page, name) for name in ("yaml", "command", "awx", "limit")] == before
    described = page.run(
        f"document.getElementById(document.querySelector({json.dumps(box('SDXL', 'aws-us-east-1'))})"
        ".getAttribute('aria-describedby').split(' ').at(-1)).textContent"
    )
    assert "there is no container image of SDXL" in described


def test_names_that_are_no_plain_yaml_or_shell_words_come_back_as_they_are(page: Page, tmp_path: Path) -> None:
    odd = ["no", "it's: a # host", "12", "on:", "-x", "a, b", "\u00fcber"]
    groups = {"aws": odd, "nim_providers": odd}
    matrix = {"FLUX Dev": {odd[0]: {"gpu_tier": "l40s", "tag": "1.10", "env": {"A": "yes", "B": "'\"\\ {}: #"}}}}
    targets = [boards.target(name, provider="aws", region="us-east-1") for name in odd]
    path = boards.write(tmp_path / "odd.html", boards.board(targets, matrix, groups))
    page.open(path)
    page.click("[data-row='6']")
    page.click(box("FLUX Dev", "on"))
    told = yaml.safe_load(output(page, "yaml"))["nim_matrix"]
    # In the page's own order, which is that of the names.
    assert list(told["FLUX Dev"]) == ["no", "on:"]
    assert told["FLUX Dev"]["no"] == matrix["FLUX Dev"]["no"]
    assert told["SD 3.5 Large"] == {"aws": "present"}
    assert json.loads(output(page, "awx"))["nim_matrix"] == told
    command = shlex.split(output(page, "command"))
    assert set(odd) == set(command[-1].replace("a, b", "a; b").replace(",", "\n").replace(";", ",").split("\n"))
    assert page.complaints == []


def test_everything_can_be_copied_and_downloaded(
    page: Page, report: Path, found: dict[str, t.Any], tmp_path: Path
) -> None:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.open(report, "#matrix")
    for name in ("yaml", "command", "awx", "limit"):
        page.run("document.querySelector('#panel-matrix [data-told]').textContent = ''")
        page.click(f".output-{name} [data-copy]")
        page.wait(f"{TOLD.format('matrix')} === 'Copied.'")
        assert page.run("navigator.clipboard.readText()") == output(page, name)
    page.click(".output-yaml [data-save]")
    assert yaml.safe_load(downloaded(tmp_path / "nim_matrix.yml")) == yaml.safe_load(output(page, "yaml"))
    page.open(report, "#endpoints")
    page.click("#panel-endpoints td [data-copy]")
    page.wait(f"{TOLD.format('endpoints')} === 'Copied.'")
    assert page.run("navigator.clipboard.readText()") == "https://nim.example.com/flux-dev-l40s/v1/infer"
    (block,) = [block for block in found["tabs"][1]["blocks"] if block["kind"] == "endpoints"]
    for item in block["downloads"]:
        page.click(f"[data-name='{item['name']}']")
        assert json.loads(downloaded(tmp_path / item["name"])) == item["content"]
    assert page.complaints == []


def test_it_copies_where_the_page_came_by_plain_http(page: Page, report: Path) -> None:
    """Browsers have no clipboard there, so it goes by a selection."""
    page.open(report, "#matrix")
    page.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.run("window.taken = null; document.addEventListener('copy', () => { window.taken = String(getSelection()); })")
    click = "document.querySelector('.output-command [data-copy]').click()"
    page.call("Runtime.evaluate", expression=click, userGesture=True)
    assert page.run(TOLD.format("matrix")) == "Copied."
    assert page.run("window.taken").strip() == output(page, "command").strip()


def downloaded(path: Path) -> str:
    """Return a file once the browser has it whole."""
    until = time.monotonic() + 120
    while not path.exists() or list(path.parent.glob("*.crdownload")):
        assert time.monotonic() < until, f"{path} was not downloaded"
        time.sleep(0.05)
    return path.read_text(encoding="utf-8")


def test_arrows_go_from_box_to_box_and_one_is_in_the_order_of_tabs(page: Page, report: Path) -> None:
    where = "(({ cell, row, column, provider }) => cell || row || column || provider)(document.activeElement.dataset)"
    page.open(report)
    assert page.run("document.querySelectorAll('.grid input:not([tabindex=\"-1\"])').length") == 1
    page.run("document.querySelector('[data-cell=\"0 0\"]').focus()")
    seen = []
    for key in (
        "ArrowRight",
        "ArrowDown",
        "ArrowLeft",
        "ArrowLeft",
        "ArrowRight",
        "ArrowUp",
        "ArrowUp",
        "ArrowUp",
        "End",
    ):
        page.press(key)
        seen.append(page.run(where))
    assert seen == ["0 1", "1 1", "1 0", "1", "1 0", "0 0", "0", "aws", "local"]
    assert page.run("document.querySelectorAll('.grid input:not([tabindex=\"-1\"])').length") == 1
    # Space ticks, also what only says why it cannot be ticked.
    page.run("document.querySelector('[data-cell=\"7 0\"]').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key=" ", code="Space", text=" ")
    page.call("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space")
    assert "SDXL" in page.run(REFUSAL)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_the_board_has_contrast(page: Page, report: Path, scheme: str) -> None:
    more = CONTRAST.replace(
        'worst("', 'worst(".legend li, .grid .word, .grid .does, .facts span, .why, .output pre, .output button, .sum, '
    )
    page.show_as(scheme=scheme)
    page.open(report, "#matrix")
    assert more != CONTRAST
    assert page.run(more) >= 4.5


def test_a_target_that_was_not_read_is_told_and_what_was_published_stays(page: Page, tmp_path: Path) -> None:
    published = boards.board()["tabs"][1]["blocks"][-1]["downloads"][0]["content"]
    unread = boards.target("aws-us-east-1", read=False, error="AccessDenied: no sts:GetCallerIdentity")
    asleep = boards.target("azure-eastus", read=False, asleep=True, error="the cluster is stopped")
    targets = [unread, asleep, *boards.TARGETS[3:]]
    found = boards.board(targets, published=published, runs=[])
    path = boards.write(tmp_path / "unread.html", found)
    page.open(path)
    text = page.run("document.querySelector('#panel-matrix').innerText")
    assert "aws-us-east-1: could not be read, so what runs on it is not known: AccessDenied" in text
    assert "azure-eastus: switched off as a whole" in text
    assert "As it was published; the target could not be read." in text
    assert page.run("document.querySelectorAll('thead .stale').length") == 2
    told = as_asked(wanted(yaml.safe_load(output(page, "yaml"))["nim_matrix"]))
    assert told["FLUX Dev", "aws-us-east-1"]["gpu_tier"] == "l40s"
    page.open(path, "#endpoints")
    assert (
        page.run("[...document.querySelectorAll('#panel-endpoints .state')].map(one => one.textContent)").count("Stale")
        > 0
    )


def test_60_nodes_by_12_targets_stay_quick(page: Page, tmp_path: Path) -> None:
    """A tick writes little into the page, however many cells there are."""
    path = boards.write(tmp_path / "large.html", boards.large())
    assert path.stat().st_size < 3_000_000
    page.open(path)
    assert page.run("document.querySelectorAll('[data-cell]').length") == 720
    writes = page.run(
        """(() => {
          const observer = new MutationObserver(() => {});
          observer.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
          const boxes = [...document.querySelectorAll("[data-cell]:not([aria-disabled])")];
          return [0, 350, 700].map((place) => { boxes[place].click(); return observer.takeRecords().length; });
        })()"""
    )
    assert max(writes) <= 10, writes
    told = yaml.safe_load(output(page, "yaml"))["nim_matrix"]
    assert sum(entry == "absent" for places in told.values() for entry in places.values()) == 3
    # All at once, too: no cell is written that does not change.
    page.click("[data-do=back]")
    assert page.run(CHANGES) == "Nothing is changed."
