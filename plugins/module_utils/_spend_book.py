# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Where bills are looked up: what was read before, then the clouds.

Asking costs money at AWS and Google, and patience at Azure. So answers are kept in a file, one for each question, and
an old answer stands in where a cloud cannot be asked. The file has amounts in it and no secret.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils._price_book import iso, moment_of, write_whole
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Line, Reading

VERSION = 1
"""Of the file's form. A file of another one is not read."""

KEEP_DAYS = 40
"""Answers that are older than this are thrown away when the file is written."""

_DAY = 86400.0

Content = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Question:
    """What one cloud is asked at once. ``targets`` are the names of those that it is about.

    ``scope`` is all that the answer depends on but the first day. It is kept as a hash alone.
    """

    provider: str
    targets: tuple[str, ...]
    scope: tuple[str, ...]
    first_day: str

    @property
    def key(self) -> str:
        """The name of the question in the file."""
        text = json.dumps([self.provider, sorted(self.targets), sorted(self.scope), self.first_day])
        return f"{self.provider}/{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is known of a question. ``reading`` is None where nothing is, and ``problem`` says why.

    With a reading, ``problem`` says why it is an old one.
    """

    reading: Reading | None
    read_at: float | None = None
    cached: bool = False
    problem: str | None = None


class Book:
    """Looks bills up. Without a path, nothing is kept. ``hours`` is how long an answer is not asked for again."""

    def __init__(self, path: str | None, hours: float, now: float) -> None:
        self._path = path
        self._hours = hours
        self._now = now
        self.problems: list[str] = []
        self._entries = self._read()

    def look_up(self, question: Question, ask: t.Callable[[], Reading]) -> Answer:
        """Return what is kept if it is new enough, else what the cloud says, else what is kept however old."""
        kept = self._kept(question)
        if kept is not None and self._now - t.cast(float, kept.read_at) < self._hours * 3600:
            return kept
        try:
            reading = ask()
        except MissingLibraryError as exc:
            why = f"the Python library {exc.package} is not installed on the controller"
        except (ProviderError, ValueError) as exc:
            why = str(exc)
        else:
            self._keep(question, reading)
            return Answer(reading, self._now)
        if kept is None:
            return Answer(None, problem=why)
        age = (self._now - t.cast(float, kept.read_at)) / 3600
        return dataclasses.replace(kept, problem=f"{why}; what was read {age:.0f} hours ago stands in")

    # ---- the file ----------------------------------------------------------------------------------------------------

    def _read(self) -> Content:
        if not self._path:
            return {}
        try:
            return _answers_of(json.loads(Path(self._path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, AttributeError, RecursionError) as exc:
            self.problems.append(f"the cache {self._path} is ignored: {exc}")
            return {}

    def _kept(self, question: Question) -> Answer | None:
        entry = self._entries.get(question.key)
        if entry is None:
            return None
        try:
            read_at = moment_of(entry["read_at"])
            reading = Reading(
                tuple(_line(row) for row in entry["lines"]),
                {str(name): str(why) for name, why in entry["unknown"].items()},
                tuple(map(str, entry["notes"])),
            )
        except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as exc:
            self.problems.append(f"an answer in the cache {self._path} is ignored: {exc!r}")
            return None
        return Answer(reading, read_at, cached=True) if read_at <= self._now else None

    def _keep(self, question: Question, reading: Reading) -> None:
        if not self._path:
            return
        entry = {
            "read_at": iso(self._now),
            "lines": [_row(line) for line in reading.lines],
            "unknown": dict(reading.unknown),
            "notes": list(reading.notes),
        }
        # Somebody else may have written meanwhile.
        self._entries = {**self._read(), question.key: entry}
        oldest = iso(self._now - KEEP_DAYS * _DAY)
        answers = {key: kept for key, kept in sorted(self._entries.items()) if str(kept.get("read_at")) >= oldest}
        try:
            write_whole(Path(self._path), {"version": VERSION, "answers": answers})
        except OSError as exc:
            self.problems.append(f"the cache {self._path} cannot be written: {exc}")


def _answers_of(content: t.Any) -> Content:
    """Return what a file has. Raises ValueError if it is none of ours."""
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError("it is of another form")
    return {str(key): entry for key, entry in content["answers"].items() if isinstance(entry, dict)}


def _row(line: Line) -> Content:
    return {**dataclasses.asdict(line), "amount": str(line.amount)}


def _line(row: t.Mapping[str, t.Any]) -> Line:
    amount = Decimal(str(row["amount"]))
    if not amount.is_finite():
        raise ValueError(f"{row['amount']!r} is no amount")
    optional = {name: None if row[name] is None else str(row[name]) for name in ("node", "name", "gpu_tier")}
    return Line(str(row["date"]), str(row["target"]), amount, str(row["currency"]), **optional)


__all__ = ("KEEP_DAYS", "Answer", "Book", "Question")
