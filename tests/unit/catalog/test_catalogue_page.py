# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from tests.unit.catalog import catalogue_page


def test_tables_equal_the_data() -> None:
    page = catalogue_page.PAGE.read_text(encoding="utf-8")
    assert page == catalogue_page.render(page), "run: python -m tests.unit.catalog.catalogue_page"


def test_a_changed_fact_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = catalogue_page.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(_catalog, "CATALOG", _catalog.load({"FLUX Dev": {"tag": "9.9.9"}}))
    assert page != catalogue_page.render(page)


def test_a_page_without_its_tables_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no table nodes"):
        catalogue_page.render("# The catalogue\n")


@pytest.mark.parametrize("field", [*_catalog.FIELDS])
def test_page_explains_every_field_of_nim_catalog(field: str) -> None:
    assert f"`{field}`" in catalogue_page.PAGE.read_text(encoding="utf-8")
