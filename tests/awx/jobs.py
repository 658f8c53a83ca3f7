# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run job templates as AWX does: each job by ansible-runner, in an empty folder with nothing but the project in it.

What a job gets is made of the objects in the stand-in for AWX: inventory, slices, credentials, survey, extra variables
(awx/main/tasks/jobs.py, awx/main/models/inventory.py and workflow.py of AWX 24.6.1). Not here: containers, ssh keys and
vault passwords.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2.sandbox

from tests.awx.api import Awx, Values

BIN = Path(sys.executable).parent
AT_ONCE = 2
ANSI = re.compile(r"\x1b\[[0-9;]*m")
GOOGLE_FILES = ("GCE_CREDENTIALS_FILE_PATH", "GCP_SERVICE_ACCOUNT_FILE", "GOOGLE_APPLICATION_CREDENTIALS")
AWS_VARIABLES = {"username": "AWS_ACCESS_KEY_ID", "password": "AWS_SECRET_ACCESS_KEY"}
OF_THE_JOB = {"artifacts", "env", "inventory", "project"}
"""What AWX and ansible-runner put into a job's folder."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What came of a job."""

    code: int
    printed: str
    changed: dict[str, int]
    artifacts: Values
    hosts: list[str]
    folder: Path
    files: set[str]

    @property
    def messages(self) -> str:
        """All that was printed, on one line, so that messages are found however they were wrapped."""
        return " ".join(self.printed.split())

    def left(self) -> set[str]:
        """Return what the run has put into the job's folder; a folder of Ansible's own and caches are no results."""
        made = {path.name for path in self.folder.iterdir()} - OF_THE_JOB - {".ansible", ".cache"}
        return made | (_files(self.folder / "project") - self.files)

    def with_secret(self, secret: str) -> list[str]:
        """Return which of the things that AWX keeps and shows of the job hold a secret: its output and its events."""
        kept = self.folder / "artifacts" / "job"
        shown = [kept / "stdout", *sorted((kept / "job_events").iterdir())]
        return [path.name for path in shown if secret in path.read_text()]

    def ok(self) -> Job:
        """Fail the test if the job has failed."""
        assert self.code == 0, self.printed
        return self


class Jobs:
    """Launches jobs."""

    def __init__(
        self, awx: Awx, project: Path, folder: Path, environment: dict[str, str], google_token_uri: str = ""
    ) -> None:
        self.awx = awx
        self.project = project
        self.folder = folder
        self.environment = environment
        self.google_token_uri = "https://oauth2.googleapis.com/token"
        self.number = 0

    def launch(
        self,
        name: str,
        answers: Values | None = None,
        *,
        slices: int | None = None,
        workflow: str | None = None,
        artifacts: Values | None = None,
        only: int | None = None,
        limit: str = "",
    ) -> list[Job]:
        """Run a job template, in a workflow with the artifacts of what ran before. Each slice is a job."""
        template = self.awx.find("job_templates", name)
        variables = {**json.loads(template["extra_vars"] or "{}"), **self._survey(template, answers or {})}
        count = slices or template["job_slice_count"]
        inside = name if count > 1 else workflow
        variables.update(artifacts or {})
        variables.update(awx_job_template_name=name, **({"awx_workflow_job_name": inside} if inside else {}))
        cmdline = f"-l {limit}" if limit else ""
        numbers = [only] if only else range(1, count + 1)

        def run(number: int) -> Job:
            folder = self.empty_folder()
            hosts = self.put_inventory(folder, number, count)
            environment, injected = self._credentials(name, folder)
            given = {**variables, "awx_job_id": self.number, "tower_job_id": self.number, **injected}
            code, printed, stats = self.run(folder, template["playbook"], environment, given, cmdline)
            changed, artifacts = dict(stats.get("changed", {})), stats.get("artifact_data", {})
            return Job(code, printed, changed, artifacts, hosts, folder, _files(self.project))

        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            return list(pool.map(run, numbers))

    def empty_folder(self) -> Path:
        """Return a new folder for a job that holds the project alone."""
        self.number += 1
        folder = self.folder / f"job-{self.number}"
        shutil.copytree(self.project, folder / "project")
        return folder

    @functools.cached_property
    def synchronised(self) -> str:
        """Return the inventory as AWX has it after it was read from the project: variables are not evaluated."""
        command = [str(BIN / "ansible-inventory"), "-i", "inventory/hosts.yml", "--list", "--export"]
        read = subprocess.run(
            command, cwd=self.project, env=self._variables(self.folder), check=True, capture_output=True, text=True
        )
        return read.stdout

    def put_inventory(self, folder: Path, number: int = 1, count: int = 1) -> list[str]:
        """Write the inventory of a slice as AWX does; return its hosts."""
        data: Values = json.loads(self.synchronised)
        hosts = sorted(data["_meta"]["hostvars"] | dict.fromkeys(_hosts(data)))
        kept = set(hosts[number - 1 :: count])
        for name, group in data.items():
            if name != "_meta" and "hosts" in group:
                group["hosts"] = [host for host in group["hosts"] if host in kept]
        known = data["_meta"]["hostvars"]
        data["_meta"]["hostvars"] = {host: known.get(host, {}) for host in sorted(kept)}
        script = folder / "inventory" / "hosts"
        script.parent.mkdir()
        script.write_text(f"#! /usr/bin/env python3\nprint({json.dumps(data)!r})\n")
        script.chmod(0o700)
        return sorted(kept)

    def run(
        self, folder: Path, playbook: str, environment: dict[str, str], variables: Values, cmdline: str = ""
    ) -> tuple[int, str, Values]:
        """Run a playbook; return exit status, output, and what the last event tells."""
        settings = folder / "env"
        settings.mkdir(exist_ok=True)
        (settings / "extravars").write_text(json.dumps(variables))
        (settings / "envvars").write_text(json.dumps({**self._variables(folder), **environment}))
        (settings / "cmdline").write_text(cmdline)
        done = subprocess.run(
            [str(BIN / "ansible-runner"), "run", str(folder), "--playbook", playbook, "--ident", "job", "--quiet"],
            env=self._variables(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        artifacts = folder / "artifacts" / "job"
        stdout = artifacts / "stdout"
        printed = ANSI.sub("", stdout.read_text()) if stdout.exists() else done.stdout
        events = (json.loads(path.read_text()) for path in (artifacts / "job_events").glob("*.json"))
        stats: Values = next((one["event_data"] for one in events if one["event"] == "playbook_on_stats"), {})
        return done.returncode, printed, stats

    def _variables(self, folder: Path) -> dict[str, str]:
        return {**self.environment, "PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}

    def _survey(self, template: Values, answers: Values) -> Values:
        """Return the answers with the defaults of what nobody answered."""
        spec = self.awx.surveys.get(template["id"], {"spec": []})["spec"] if template["survey_enabled"] else []
        assert set(answers) <= {one["variable"] for one in spec}
        return {**{one["variable"]: one["default"] for one in spec if "default" in one}, **answers}

    def _credentials(self, name: str, folder: Path) -> tuple[dict[str, str], Values]:
        """Return the environment and the extra variables that a job's credentials make, and write their files."""
        environment: dict[str, str] = {}
        extra: Values = {}
        sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment()
        for credential in self.awx.linked("job_templates", name, "credentials"):
            kind = self.awx.objects["credential_types"][credential["credential_type"]]
            inputs = credential["inputs"]
            if kind["managed"]:
                environment.update(MANAGED[kind["name"]](self, inputs, folder))
            for variable, template in kind.get("injectors", {}).get("extra_vars", {}).items():
                extra[variable] = sandbox.from_string(template).render(inputs)
        return environment, extra

    def _aws(self, inputs: Values, _folder: Path) -> dict[str, str]:
        return {variable: inputs[field] for field, variable in AWS_VARIABLES.items()}

    def _google(self, inputs: Values, folder: Path) -> dict[str, str]:
        """Write the key file. AWX makes its name up, and knows no key's id (``gce`` of awx_plugins' injectors)."""
        key = {
            "type": "service_account",
            "private_key": inputs["ssh_key_data"],
            "client_email": inputs["username"],
            "project_id": inputs["project"],
            "token_uri": self.google_token_uri,
        }
        (folder / "env").mkdir()
        handle, path = tempfile.mkstemp(dir=folder / "env")
        with os.fdopen(handle, "w") as file:
            json.dump(key, file, indent=2)
        return {
            "GCE_EMAIL": inputs["username"],
            "GCE_PROJECT": inputs["project"],
            **dict.fromkeys(GOOGLE_FILES, path),
            "GCP_AUTH_KIND": "serviceaccount",
            "GCP_PROJECT": inputs["project"],
            "GCP_ENV_TYPE": "tower",
        }


MANAGED: dict[str, t.Callable[[Jobs, Values, Path], dict[str, str]]] = {
    "Amazon Web Services": Jobs._aws,
    "Google Compute Engine": Jobs._google,
}
"""What AWX makes of credentials of its own types, as far as they are used here."""


def _files(project: Path) -> set[str]:
    return {str(path.relative_to(project)) for path in project.rglob("*") if "__pycache__" not in path.parts}


def _hosts(data: Values) -> list[str]:
    return [host for name, group in data.items() if name != "_meta" for host in group.get("hosts", [])]
