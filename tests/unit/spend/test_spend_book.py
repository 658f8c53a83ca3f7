# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which targets one question is about, and what is kept of its answer."""

from __future__ import annotations

import json
import typing as t
from decimal import Decimal
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Line, Reading
from ansible_collections.budgetguard.techops.plugins.module_utils._spend_book import KEEP_DAYS, Book, Question
from ansible_collections.budgetguard.techops.plugins.plugin_utils._price_targets import Place
from ansible_collections.budgetguard.techops.plugins.plugin_utils._spend_apis import Source, source_of, tasks

NOW = 1_795_000_000.0
HOUR, DAY = 3600.0, 86400.0
SECRET = "CaNaRyKey81Zr0QmTvX3"
QUESTION = Question("aws", ("one", "two"), ("budgetguard", "eu-central-1"), "2026-11-01")
READING = Reading(
    (Line("2026-11-02", "one", Decimal("1.2300"), "USD", "FLUX Dev", None, "l40s"),), {"two": "why"}, ("a note",), 3
)


def source(name: str, provider: str, **options: t.Any) -> Source:
    """Return a target whose bill can be read."""
    target = _pricing.Target(name, provider, "", options)
    found = source_of(
        Place(target, connection={"cluster": "budgetguard", **options}), {"spend_bigquery_table": "a.b.c"}
    )
    assert isinstance(found, Source)
    return found


def bundles(*sources: Source) -> list[list[str]]:
    """Return the names of the targets of each question."""
    return [[item.name for item in task.sources] for task in tasks(sources, "2026-11-01")]


def refuse(error: Exception) -> t.Callable[[], Reading]:
    """Return a cloud that cannot be asked."""

    def ask() -> Reading:
        raise error

    return ask


def test_one_question_is_about_all_that_it_can_tell_apart() -> None:
    aws = {"access_key": "AKIAONE", "secret_key": SECRET}
    assert bundles(
        source("a", "aws", region="us-east-1", **aws),
        source("b", "aws", region="eu-central-1", **aws),
        source("same-region", "aws", region="us-east-1", **aws),
        source("other-cluster", "aws", region="us-east-1", **{**aws, "cluster": "x"}),
        source("other-account", "aws", region="us-east-1", assume_role_arn="arn:aws:iam::1:role/x"),
    ) == [["a", "b"], ["same-region"], ["other-cluster"], ["other-account"]]
    azure = {"subscription_id": "s", "tenant": "t", "client_id": "c", "secret": SECRET}
    assert bundles(
        source("a", "azure", resource_group="studio", **azure),
        source("b", "azure", resource_group="films", **azure),
        source("c", "azure", resource_group="Studio", **{**azure, "cluster": "x"}),
        source("d", "azure", resource_group="studio", **{**azure, "subscription_id": "other"}),
    ) == [["a", "b"], ["c"], ["d"]]
    assert bundles(
        source("a", "gcp", location="us-central1-a", project="p"),
        source("b", "gcp", location="us-central1-a", project="q"),
        source("c", "gcp", location="us-central1-a", project="p", cluster="x"),
    ) == [["a", "b", "c"]]


def test_a_question_says_nothing_secret_and_does_not_mind_the_order() -> None:
    both = [source(name, "aws", region=name, access_key="AKIAONE", secret_key=SECRET) for name in ("x", "y")]
    (task,), (again,) = tasks(both, "2026-11-01"), tasks(both[::-1], "2026-11-01")
    assert task.question.key == again.question.key
    assert SECRET not in repr(task.question)
    assert task.question.key != tasks(both, "2026-10-01")[0].question.key


def test_an_answer_is_kept_as_it_was_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "spend.json"
    first = Book(str(path), 6.0, NOW).look_up(QUESTION, lambda: READING)
    assert (first.reading, first.cached, first.read_at) == (READING, False, NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    kept = Book(str(path), 6.0, NOW + 5 * HOUR).look_up(QUESTION, refuse(AssertionError("it was asked")))
    assert kept.cached
    assert kept.reading is not None
    assert (kept.reading.lines, kept.reading.unknown, kept.reading.notes) == (
        READING.lines,
        READING.unknown,
        READING.notes,
    )
    # What reading cost was paid once.
    assert kept.reading.calls == 0


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ProviderError("it is down"), "it is down"),
        (MissingLibraryError("boto3", None), "the Python library boto3 is not installed on the controller"),
    ],
)
def test_an_old_answer_stands_in_where_a_cloud_cannot_be_asked(tmp_path: Path, error: Exception, why: str) -> None:
    path = str(tmp_path / "spend.json")
    unread = Book(path, 6.0, NOW).look_up(QUESTION, refuse(error))
    assert (unread.reading, unread.problem) == (None, why)
    Book(path, 6.0, NOW).look_up(QUESTION, lambda: READING)
    old = Book(path, 6.0, NOW + 7 * HOUR).look_up(QUESTION, refuse(error))
    assert old.reading is not None
    assert old.problem == f"{why}; what was read 7 hours ago stands in"


def test_a_file_that_is_not_right_costs_only_asking_again(tmp_path: Path) -> None:
    path = tmp_path / "spend.json"
    for content in ("{", "[]", '{"version": 0}', json.dumps({"version": 1, "answers": {QUESTION.key: {"lines": 3}}})):
        path.write_text(content)
        book = Book(str(path), 6.0, NOW)
        assert book.look_up(QUESTION, lambda: READING).reading == READING
        assert "is ignored" in book.problems[0]
    Book(str(path), 6.0, NOW + (KEEP_DAYS + 1) * DAY).look_up(
        Question("aws", ("three",), (), "2026-11-01"), lambda: READING
    )
    assert QUESTION.key not in path.read_text()
    folder = tmp_path / "folder"
    folder.mkdir()
    book = Book(str(folder), 6.0, NOW)
    assert book.look_up(QUESTION, lambda: READING).reading == READING
    assert any("cannot be written" in text for text in book.problems)
