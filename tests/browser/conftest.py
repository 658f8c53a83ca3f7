# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One browser for all tests of pages."""

from __future__ import annotations

import typing as t

import pytest

from tests.browser import chromium


@pytest.fixture(scope="session")
def browser() -> t.Iterator[chromium.Page]:
    """Return a page of a headless Chromium."""
    if not chromium.PROGRAM:
        pytest.skip("Chromium is not on this machine; on Debian it is the package chromium")
    with chromium.chromium() as page:
        yield page


@pytest.fixture
def page(browser: chromium.Page) -> t.Iterator[chromium.Page]:
    """Return the page as on a light screen of the usual size."""
    browser.show_as()
    browser.resize(1600, 1000)
    yield browser
    browser.show_as()
