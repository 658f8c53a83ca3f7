# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's log in files, with those that were rotated away, and the module that reads them."""

from __future__ import annotations

import gzip
import json
import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._usage_file import UsageFile
from ansible_collections.budgetguard.techops.plugins.modules import nim_usage_info
from tests.unit.registry.services import run_module
from tests.unit.usage import day

Module = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the path of a log in a folder of its own."""
    return tmp_path / "usage.log"


def read(log: Path, now: float, **changes: t.Any) -> dict[str, t.Any]:
    """Read a log as the module does."""
    ask = _usage.Ask(**{"since": now - 86400, "until": now, **changes})
    return _usage.report(ask, UsageFile(str(log)).read(ask, now))


def rotated(log: Path, text: list[str]) -> None:
    """Write lines into a log, two thirds of them into files that were rotated away, among lines of others."""
    third = len(text) // 3
    log.with_name("usage.log.2.gz").write_bytes(gzip.compress("\n".join([*text[:third], ""]).encode()))
    log.with_name("usage.log.1").write_text("\n".join([*text[third : 2 * third], *day.FOREIGN, ""]))
    # The last line is being written at this moment.
    log.write_text("\n".join([*text[2 * third :], day.line(0)[:50]]))
    log.with_name("usage.logger").write_text(day.line(time.time() - 60))


def test_rotated_and_packed_files_count(log: Path) -> None:
    now = time.time()
    text = day.lines(now)
    rotated(log, text)
    told = read(log, now, period="hour")
    for entry in told["workstations"]:
        expected = day.sums(text, workstation=entry["workstation"])
        assert {name: entry[name] for name in expected} == pytest.approx(expected), entry["workstation"]
    assert len(told["workstations"]) == 3
    assert sum(row["requests"] for row in told["rows"]) == day.sums(text)["requests"]
    # The log is younger than a day, so it does not tell all of it.
    assert told["log"]["complete"] is False
    assert read(log, now, since=now - 18 * 3600)["log"]["complete"] is True
    for node in day.NODES:
        nim = next(item for item in told["nims"] if item["node"] == node)
        by_hand = day.busy(text, node, now - 3600, now)
        assert nim["recent"]["busy_seconds"] == pytest.approx(by_hand, abs=0.3)


def test_a_file_that_is_being_packed_counts_once(log: Path) -> None:
    now = time.time()
    text = day.lines(now, count=30)
    log.write_text("")
    log.with_name("usage.log.1").write_text("\n".join([*text, ""]))
    log.with_name("usage.log.1.gz").write_bytes(gzip.compress("\n".join(text).encode())[:40])
    told = read(log, now)
    assert sum(row["requests"] for row in told["rows"]) == day.sums(text)["requests"]
    assert told["log"]["problems"] == [
        f"the log begins at {told['log']['first_line_at']}; what was before is not known"
    ]


def test_a_damaged_file_is_told_and_nothing_is_zero(log: Path) -> None:
    now = time.time()
    text = day.lines(now, count=90)
    log.with_name("usage.log.1.gz").write_bytes(gzip.compress("\n".join(text).encode())[:-30])
    log.write_text(day.line(now - 60, node="other"))
    told = read(log, now, nodes=("third",))
    assert "cannot be read to its end" in told["log"]["problems"][0]
    assert next(item for item in told["nims"] if item["node"] == "third")["requests"] is None


def test_old_files_are_not_read_to_their_end(log: Path) -> None:
    now = time.time()
    old = log.with_name("usage.log.9")
    old.write_text("\n".join([day.line(now - 40 * 86400), day.line(now - 60), ""]))
    os.utime(old, (now - 30 * 86400, now - 30 * 86400))
    log.write_text(day.line(now - 120) + "\n")
    told = read(log, now)
    assert [row["requests"] for row in told["rows"]] == [1]
    assert told["log"]["first_line_at"] == _usage.iso(now - 40 * 86400)
    assert told["log"]["complete"] is True


def test_missing_and_empty_logs_are_not_nothing_used(log: Path) -> None:
    now = time.time()
    missing = read(log, now, nodes=("flux-dev-l40s",))
    assert missing["log"]["problems"] == [f"there is no {log}, so nothing is known"]
    assert missing["nims"][0]["requests"] is None
    log.write_text("")
    os.utime(log, (now - 2 * 86400, now - 2 * 86400))
    empty = read(log, now, nodes=("flux-dev-l40s",))
    assert (empty["nims"][0]["requests"], empty["log"]["complete"]) == (0, True)
    gone = read(log.parent / "nowhere" / "usage.log", now)
    assert "cannot be read: No such file or directory" in gone["log"]["problems"][0]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Module:
    """Give a function that runs the module."""
    return lambda **options: run_module(nim_usage_info.main, options, monkeypatch, capsys)


def test_the_module_reads_files(log: Path, module: Module) -> None:
    text = day.lines(time.time(), count=60)
    rotated(log, text)
    told = module(provider="local", log_path=str(log), period="none", nodes=["nim-sdxl-l4"])
    assert {item["node"] for item in told["nims"]} == {*day.NODES, "sdxl-l4"}
    assert sum(row["requests"] for row in told["rows"]) == day.sums(text)["requests"]
    assert told["changed"] is False


def test_the_module_asks_docker_where_the_log_is(tmp_path: Path, log: Path, module: Module) -> None:
    text = day.lines(time.time(), count=30)
    log.write_text("\n".join(json.dumps({"log": f"{line}\n", "stream": "stdout"}) for line in text) + "\n")
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$7" = budgetguard-gateway ] && echo {log} || exit 1\n')
    docker.chmod(0o755)
    told = module(provider="local", docker_command=str(docker))
    assert sum(row["requests"] for row in told["rows"]) == day.sums(text)["requests"]
    docker.write_text("#!/bin/sh\necho 'Error: No such container: budgetguard-gateway' >&2; exit 1\n")
    told = module(provider="local", docker_command=str(docker))
    assert told["failed"] is True
    assert told["msg"] == (
        "cannot ask Docker for the log of budgetguard-gateway: Error: No such container: budgetguard-gateway"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"since": "soon"}, "since is 'soon'; it must be so many minutes"),
        ({"since": "1h", "before": "2h"}, "which is not earlier than before"),
        ({"recent_minutes": 0}, "recent_minutes is 0; it must be 1 or more"),
        ({"nodes": ['a" or true']}, "nodes is 'a\" or true'; it must be 1 to 63 lower-case letters"),
        ({"provider": "aws"}, "provider is aws but all of the following are missing: region"),
        ({"provider": "gcp"}, "location"),
    ],
)
def test_the_module_says_what_is_wrong(options: dict[str, t.Any], message: str, module: Module) -> None:
    told = module(**{"provider": "local", **options})
    assert told["failed"] is True
    assert message in told["msg"]
