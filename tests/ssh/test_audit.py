# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An audit of a fleet over a real sshd, in which something else is wrong with each workstation."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import pwd
import socket
import tempfile
import typing as t
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.ssh import fleet
from tests.ssh.conftest import Sshd, User
from tests.ssh.playing import Outcome, Stage, make_comfyui
from tests.unit.workstation.examples import CANARY, OTHER_STUDIO_KEY, STUDIO_KEY
from tests.unit.workstation.shells import CONFIG as CONFIG_PATH

ME = pwd.getpwuid(os.getuid()).pw_name
ROLE = "budgetguard.techops.workstation_audit"
INFO = "budgetguard.techops.workstation_info"
TASKS = [{"ansible.builtin.include_role": {"name": ROLE}}]

EXPECTED: dict[str, set[str]] = {
    "good": set(),
    "no-config": {"config_missing"},
    "broken": {"config_broken"},
    "stale": {"endpoints_different"},
    "borrowed": {"config_wrong_key", "config_other_workstation"},
    "stranger": {"config_wrong_key"},
    "previous": {"config_previous_key"},
    "wide": {"config_previous_key", "config_mode"},
    "keyless": {"key_missing"},
    "exposed": {"config_exposed"},
    "revoked": {"credential_revoked"},
    "other": {"credential_different"},
    "waiting": {"credential_undelivered"},
    "unminted": {"credential_missing"},
    "old": {"credential_due"},
    "expired": {"credential_expired"},
    "sealed": {"credential_unknown"},
    "nodes": {"docker_silent"},
    "no-python": {"probe_silent"},
    "lying": {"probe_silent"},
    "elsewhere": {"no_comfyui"},
    "off": {"unreachable"},
    "silent": {"unreachable"},
    "hung": {"not_looked_at"},
}
"""What is to be found with each workstation, and nothing else."""


@dataclasses.dataclass(frozen=True)
class Audited:
    """An audit that was run, and what was there before."""

    outcome: Outcome
    document: dict[str, t.Any]
    folder: Path
    rounds: int
    before: dict[str, tuple[float, bytes]]
    after: dict[str, tuple[float, bytes]]

    def row(self, name: str) -> dict[str, t.Any]:
        """Return the row of a workstation."""
        rows: list[dict[str, t.Any]] = self.document["rows"]
        return next(row for row in rows if row["workstation"] == name)

    def text(self, name: str) -> str:
        """Return what is said about a workstation."""
        return " ".join(finding["text"] for finding in self.row(name)["findings"])


def variables(folder: Path) -> dict[str, t.Any]:
    """Return the variables of an audit."""
    return {
        "nim_studio_key": STUDIO_KEY,
        "nim_previous_studio_key": OTHER_STUDIO_KEY,
        "workstation_audit_become": False,
        "workstation_audit_endpoints": {"nim_endpoints": fleet.RUNNING},
        "workstation_audit_max_age_days": 90,
        "workstation_audit_disk_free_gib": 0,
        "workstation_audit_json_file": str(folder / "audit.json"),
        "workstation_audit_csv_file": str(folder / "audit.csv"),
        "workstation_audit_report_file": str(folder / "report.html"),
    }


def content_of(folder: Path) -> dict[str, tuple[float, bytes]]:
    """Return all files with their times and contents."""
    return {
        str(path): (path.lstat().st_mtime, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def audited(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Audit the fleet once, loudly."""
    folder = tmp_path_factory.mktemp("audit")
    made = fleet.make(folder / "fleet", lambda **more: sshd.host(ME, **more))
    # The first one is that with which Ansible runs what is to be run once.
    hosts = {"off": {**made.hosts["good"], "ansible_port": free_port()}, **made.hosts}
    hung = made.shell("hung", "while kill -0 $PPID; do sleep 0.5; done")
    # Without a shared connection, which would outlive the test as long as the workstation hangs.
    alone = "-o ControlMaster=no -o ControlPath=none -o UserKnownHostsFile=/dev/null -F none"
    hosts["hung"] = {
        **hosts["good"],
        "ansible_shell_executable": hung,
        "ansible_ssh_args": alone,
        "workstation_audit_timeout": 2,
    }
    stage_folder = folder / "stage"
    stage_folder.mkdir()
    before = content_of(folder / "fleet")
    sessions = sshd.sessions()
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryDirectory(prefix="bg-") as sockets:
        hosts["silent"] = {**hosts["good"], "ansible_port": silent.getsockname()[1], "ansible_ssh_timeout": 2}
        stage = Stage(stage_folder, Path(sockets))
        options = {"ANSIBLE_FORKS": "10", "ANSIBLE_SHOW_CUSTOM_STATS": "True"}
        outcome = stage.play(hosts, TASKS, "-vvvv", variables=variables(folder), environment=options)
    after = content_of(folder / "fleet")
    document = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    return Audited(outcome, document, folder, sshd.sessions() - sessions, before, after)


def test_every_workstation_is_a_row_with_its_findings(audited: Audited) -> None:
    found = {row["workstation"]: {finding["id"] for finding in row["findings"]} for row in audited.document["rows"]}
    assert found == EXPECTED


def test_one_round_trip_for_each(audited: Audited) -> None:
    """Those that are off, or do not answer, have no session."""
    assert audited.rounds == len(EXPECTED) - 2


def test_it_fails_when_somebody_is_needed_and_changes_nothing(audited: Audited) -> None:
    assert audited.outcome.code != 0
    assert audited.outcome.changed() == set()
    assert audited.after == audited.before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("off", "It is off, or no ssh server runs on it"),
        ("silent", "does not answer"),
        ("hung", "did not finish within 2 seconds"),
        ("no-config", "has no config"),
        ("broken", "it is not JSON"),
        ("borrowed", "is that of good"),
        ("revoked", "was revoked on 2026-11-20"),
        ("stale", "FLUX Dev on aws-2 (l40s): not in its config; FLUX Dev on aws-1 (l40s): at another address"),
        ("no-python", "There is no Python on it."),
        ("elsewhere", "There is no folder"),
        ("expired", "AWS ended on 2026-11-02."),
    ],
)
def test_each_is_told_in_its_own_words(audited: Audited, name: str, text: str) -> None:
    assert text in audited.text(name)


def test_facts_of_a_good_one(audited: Audited) -> None:
    row = audited.row("good")
    assert row["comfyui"] == {"version": "0.8.0", "commit": None}
    never_used = {"last_use": None, "requests_today": None}
    assert row["companion"] == {"installed": True, "version": "1.2.3", **never_used}
    assert row["disk"]["free_bytes"] > 0
    assert (row["config"]["mode"], row["config"]["key_file"]) == ("workstation:good", "current")
    assert {name: told["state"] for name, told in row["credentials"].items()} == {"aws": "same", "nvidia": "same"}
    assert row["endpoints"]["state"] == "same"
    assert abs(row["clock_seconds"]) < 60


def test_installed_nodes_are_told(audited: Audited) -> None:
    (node,) = audited.row("nodes")["nodes"]
    assert (node["node"], node["container"]) == ("FLUX Dev", "nim-flux-dev-rtx-4090")


def test_without_python_the_config_is_judged_all_the_same(audited: Audited) -> None:
    row = audited.row("no-python")
    assert (row["config"]["status"], row["state"], row["disk"]) == ("ok", "ok", None)


def test_worst_first_and_those_that_are_off_last_of_them(audited: Audited) -> None:
    rows = audited.document["rows"]
    states = [row["state"] for row in rows]
    assert states == sorted(states, key=["problem", "warning", "ok"].index)
    problems = [row for row in rows if row["state"] == "problem"]
    assert [row["reachable"] for row in problems[-2:]] == [False, False]


def test_nothing_of_the_hung_one_is_left_on_the_controller(audited: Audited) -> None:
    """The connection of a look that was given up is ended with it."""
    hung = str(audited.folder / "fleet" / "hung.sh")
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _names(path, hung)]
    assert left == []


def _names(command_line: Path, text: str) -> bool:
    try:
        words = command_line.read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return False
    return words[0].endswith("ssh") and text in " ".join(words)


def test_csv_has_every_row(audited: Audited) -> None:
    with (audited.folder / "audit.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["workstation"]: row for row in csv.DictReader(file)}
    assert rows.keys() == EXPECTED.keys()
    assert {name: set(row["findings"].split()) for name, row in rows.items()} == EXPECTED


def test_no_secret_anywhere(audited: Audited) -> None:
    """Credentials and keys are in nothing that was printed at the highest verbosity, recorded or written."""
    told = audited.outcome.printed + json.dumps(audited.outcome.records)
    for path in (*audited.folder.glob("audit.*"), *audited.folder.glob("report*/*"), audited.folder / "report.html"):
        told += path.read_text(encoding="utf-8")
    keys = [
        line.split()[1]
        for path, (_time, content) in audited.before.items()
        if path.endswith("studio.key")
        for line in content.decode("ascii").splitlines()
    ]
    assert len(keys) > 10
    assert [secret for secret in (CANARY, STUDIO_KEY, OTHER_STUDIO_KEY, *keys) if secret in told] == []
    assert "AKIASTORED" in told  # The name of a key is no secret, so something of it was looked at.


def test_next_audit_tells_what_has_changed(audited: Audited, stage: Stage, sshd: Sshd, tmp_path: Path) -> None:
    """In check mode, too, which writes no file."""
    hosts = fleet.make(tmp_path / "again", lambda **more: sshd.host(ME, **more)).hosts
    wanted = {name: hosts[name] for name in ("good", "no-config", "previous")}
    (Path(hosts["good"]["comfyui_path"]) / CONFIG_PATH).unlink()
    given = {
        **variables(tmp_path),
        "workstation_audit_previous_file": str(audited.folder / "audit.json"),
        "workstation_audit_fail_on": ["unreachable"],
    }
    outcome = stage.play(wanted, TASKS, "--check", variables=given).require_success()
    assert "1 workstation lost its config since" in outcome.printed
    assert "workstations were not audited now" in outcome.printed
    assert outcome.changed() == set()
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".json", ".csv", ".html")] == []


def test_owner_is_found_out(stage: Stage, sshd: Sshd, artist: User, tmp_path: Path) -> None:
    """As root on the way there, and as the owner of ComfyUI's folder for the look."""
    base = artist.own(make_comfyui(artist.home / "Audited"))
    host = {**sshd.host("root"), "comfyui_path": str(base)}
    given = {**variables(tmp_path), "workstation_audit_become": True, "workstation_audit_fail_on": []}
    outcome = stage.play({"ws-1": host}, TASKS, variables=given).require_success()
    look = outcome.of("ws-1", INFO)
    assert (look["config"]["status"], look["config"]["user"]) == ("missing", artist.name)
    assert look["probe"]["python"]["version"]
