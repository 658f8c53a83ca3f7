# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Set-up that every test gets, and the fixtures that several kinds of test share."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.browser import chromium
from tests.sandbox import Sandbox
from tests.tools import layout, venvs

Report = Generator[None, t.Any, t.Any]
"""A hook that wraps others: pytest sends it their report and takes back what it makes of it."""

IN_CI = os.environ.get("CI") in ("true", "1")

_WITH_ENGINE = "tests/docker/"

_LONGEST_FIRST = (
    _WITH_ENGINE,
    "tests/playbooks/",
    "tests/awx/",
    "tests/permissions/",
    "tests/identities/",
    "tests/ssh/",
)
"""Folders whose files take minutes. Those of all others take seconds, so the processes end at about the same time."""

CLOUD_VARIABLES = ("AWS_", "ARM_", "AZURE_", "CLOUDSDK_", "GCP_", "GOOGLE_", "HF_", "KUBE", "NGC_", "NVIDIA_")
"""How the names of variables start that could lead a test to somebody's real account."""


def pytest_configure(config: pytest.Config) -> None:
    """Cut tests off from the developer's cloud accounts and from the Ansible set-up of the machine."""
    config.option.loadscopereorder = False  # By the number of tests, it would begin with the quickest files.
    for name in list(os.environ):
        if name.startswith((*CLOUD_VARIABLES, "ANSIBLE_")):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.devnull
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(layout.LINKS)
    os.environ["ANSIBLE_CONFIG"] = str(layout.ANSIBLE_CFG)
    os.environ["ANSIBLE_HOME"] = str(layout.CACHE / "ansible")
    layout.link()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: none of them is left when the other processes have nothing more to do."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(nodeid: str) -> int:
    return next((at for at, folder in enumerate(_LONGEST_FIRST) if nodeid.startswith(folder)), len(_LONGEST_FIRST))


class _Files(LoadFileScheduling):
    """Keeps the tests of a file in one process, and all with a Docker engine: its ports are the machine's."""

    def _split_scope(self, nodeid: str) -> str:
        return _WITH_ENGINE if nodeid.startswith(_WITH_ENGINE) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Have one process more than processors: often one of them waits, for a container or a lock."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> _Files:
    """Share the tests out among the processes of ``--numprocesses``."""
    return _Files(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Report:
    """Count a skipped test as failed in continuous integration: everything it needs must be there."""
    report = yield
    return _fail_if_skipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Report:
    """Treat a file that skips itself as a whole in the same way."""
    report = yield
    return _fail_if_skipped(report)


def _fail_if_skipped(report: t.Any) -> t.Any:
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"Nothing may skip with CI={os.environ['CI']}: {report.longrepr}"
    return report


def _core(venv: venvs.Venv) -> Path:
    try:
        return venvs.bin_folder(venv)
    except venvs.MissingPythonError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def oldest_core() -> Path:
    """Return the bin folder of a virtual environment with the oldest ansible-core that is supported."""
    return _core(venvs.OLDEST_CORE)


@pytest.fixture(scope="session")
def newest_core() -> Path:
    """Return the bin folder of a virtual environment with the newest ansible-core that is supported."""
    return _core(venvs.NEWEST_CORE)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Take back what a test put into the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    """Start one sandbox for all tests. Each kind of test has a fixture of its own that empties it first."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def browser() -> Iterator[chromium.Page]:
    """Return a page of a headless Chromium."""
    if not chromium.PROGRAM:
        pytest.skip("Chromium is not on this machine; on Debian it is the package chromium")
    with chromium.chromium() as page:
        yield page


@pytest.fixture
def page(browser: chromium.Page) -> Iterator[chromium.Page]:
    """Return the page as on a light screen of the usual size."""
    browser.show_as()
    browser.resize(1600, 1000)
    yield browser
    browser.show_as()
