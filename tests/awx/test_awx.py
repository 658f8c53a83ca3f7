# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""AWX as code: the role against a stand-in for AWX's API, and the jobs that come of it, each in an empty folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.awx import api, in_process
from tests.awx.day import STEPS, Day, Step
from tests.awx.jobs import BIN, Jobs
from tests.permissions.holder import Holder
from tests.playbooks.studio import CANARY, RECAP, SECRETS
from tests.sandbox import Sandbox
from tests.tools import layout

PROJECT = layout.ROOT / "roles" / "awx" / "files" / "project"
AWS, GCP = "aws-us-east-1", "gcp-us-central1"
WORKSTATIONS = [f"ws-{number}" for number in range(1, 5)]
SLICES = 4
POLICIES = (
    "deployer_a",
    "deployer_b",
    "permissions_check",
    "readonly",
    "prices",
    "spend",
    "identities",
    "artists_setup",
)
"""All that AWX may do in the studio's account, beside the store."""
STORE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                f"secretsmanager:{action}"
                for action in ("GetSecretValue", "PutSecretValue", "CreateSecret", "TagResource")
            ],
            "Resource": "arn:aws:secretsmanager:*:*:secret:budgetguard/*",
        }
    ],
}
"""The rights of docs/credentials.md."""


@dataclasses.dataclass
class Studio:
    """A studio with an AWX."""

    folder: Path
    sandbox: Sandbox
    awx: api.Awx
    address: str
    jobs: Jobs
    techops: Holder

    def set_up(self, *arguments: str, bin_folder: Path = BIN, **variables: t.Any) -> tuple[int, str, int]:
        """Run the playbook awx; return exit status, output, and how many tasks have changed something."""
        inventory = self.folder / "project" / "inventory" / "hosts.yml"
        more = self.folder / "variables.json"
        more.write_text(json.dumps({**self.variables(), **variables}))
        done = subprocess.run(
            [
                str(bin_folder / "ansible-playbook"),
                "budgetguard.techops.awx",
                "-i",
                str(inventory),
                "-e",
                f"@{more}",
                *arguments,
            ],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
                "ANSIBLE_CONFIG": str(layout.ANSIBLE_CFG),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
                "COLUMNS": "200",
                "PYTHONPATH": str(layout.ROOT),
                # The modules load the machine's certificates for each request, which takes most of a run's time.
                "SSL_CERT_FILE": os.devnull,
                "SSL_CERT_DIR": str(self.folder / "none"),
                "CONTROLLER_HOST": self.address,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        changed = [int(match.group(3)) for match in RECAP.finditer(done.stdout)]
        return done.returncode, done.stdout, sum(changed)

    def variables(self) -> api.Values:
        """Return what a studio says to the role."""
        return {
            "awx_token": api.TOKEN,
            "awx_project_url": "https://git.studio.example/techops/nims.git",
            "awx_execution_environment_image": "registry.studio.example/nim-ee:1.0.0",
            "awx_workstation_slices": SLICES,
            "awx_canaries": "ws-3",
            "awx_morning_nodes": ["FLUX Dev"],
            "awx_credential_inputs": {
                "aws": {
                    "username": self.techops.options["access_key"],
                    "password": self.techops.options["secret_key"],
                },
                "gcp": {
                    "username": self.google_key["client_email"],
                    "project": self.google_key["project_id"],
                    "ssh_key_data": self.google_key["private_key"],
                },
                "ngc": {"key": SECRETS["STUDIO_NGC_API_KEY"]},
                "hugging_face": {"token": SECRETS["STUDIO_HF_TOKEN"]},
                "studio_key": {"key": SECRETS["STUDIO_KEY"]},
                "artist": {"key": SECRETS["STUDIO_ARTIST_KEY"]},
            },
            "awx_notifications": {
                "techops": {
                    "notification_type": "slack",
                    "notification_configuration": {
                        "token": f"{CANARY}slack81Zr",
                        "channels": ["#nims"],
                        "hex_color": "",
                    },
                },
            },
        }

    @property
    def google_key(self) -> dict[str, str]:
        """Return the key of the sandbox's service account."""
        path = Path(self.sandbox.env["GOOGLE_APPLICATION_CREDENTIALS"])
        return t.cast("dict[str, str]", json.loads(path.read_text()))

    @property
    def secrets(self) -> dict[str, str]:
        """Return all that no job may show, by what it is."""
        private = self.google_key["private_key"].splitlines()[1]
        return {"AWS": self.techops.options["secret_key"], "Google Cloud": private, "a canary": CANARY}

    def comfyui(self, workstation: str) -> Path:
        """Return a workstation's ComfyUI folder."""
        return self.folder / "workstations" / workstation / "ComfyUI"

    def config(self, workstation: str) -> api.Values:
        """Return a workstation's config, opened."""
        folder = self.comfyui(workstation) / "budgetguard"
        config: api.Values = json.loads((folder / "budgetguard_backend_config.json").read_text())
        key = _envelope.workstation_key(SECRETS["STUDIO_KEY"], workstation)
        return {**config, "credentials": _envelope.unseal(config["credentials"], key)}


def write_inventory(folder: Path) -> None:
    """Write the studio's inventory: two clouds, four workstations that are folders here, and a secret store."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    place = str(folder / "workstations" / "{{ inventory_hostname }}")
    networks = {"allowed_cidrs": ["10.20.0.0/16"]}
    mounted = folder / "mounted"
    mounted.mkdir()
    content = {
        "nim_providers": {
            "children": {
                "aws": {"hosts": {AWS: {"nim_target": {"region": "us-east-1", **networks}}}},
                "gcp": {"hosts": {GCP: {"nim_target": {"location": "us-central1-a", **networks}}}},
            }
        },
        "artist_workstations": {"hosts": dict.fromkeys(WORKSTATIONS)},
        "all": {
            "vars": {
                **local,
                "cloud_deploy_wait_interval": 0.2,
                "cloud_deploy_wait_timeout": 60,
                "nim_matrix": {
                    "FLUX Dev": {"aws": {"gpu_tier": "l40s"}},
                    "Llama 3.1": {"gcp": {"gpu_tier": "l4"}},
                },
                "nim_workstation_credentials": {
                    "nvidia": {"NVIDIA API Key / NGC API Key": "{{ nim_artist_api_key }}"},
                },
                "comfyui_path": f"{place}/ComfyUI",
                "workstation_config_key_path": f"{place}/key/studio.key",
                "workstation_config_become": False,
                "nim_workstation_providers": ["aws"],
                "nim_credential_store": {"type": "aws_secretsmanager", "region": "us-east-1"},
                "nim_identities": _stored("nim_identities", "'workstations/' ~ inventory_hostname"),
                "nim_studio_identities": _stored("nim_studio_identities", "'studio-identities'"),
                "nim_gateway_studio": "example-studio",
                "nim_gateway_keys": _stored("nim_gateway_keys", "'gateway'"),
                "nim_gateway_denied": _stored("nim_gateway_denied", "'gateway'"),
                # What AWX mounts into jobs.
                "nim_export_dir": str(mounted / "exports"),
                "nim_report_file": str(mounted / "report.html"),
                "audit_json_file": str(mounted / "audit.json"),
                "benchmark_repeats": 1,
                # Kept for the sliced template to overrule: a slice cannot keep it.
                "rollout_canary": "ws-3",
            },
        },
    }
    path = folder / "project" / "inventory" / "hosts.yml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(content))


def _stored(variable: str, name: str) -> str:
    return (
        f"{{{{ lookup('budgetguard.techops.stored_vars', {name}, store=nim_credential_store).{variable}"
        " | default({}) }}"
    )


@pytest.fixture(scope="module")
def studio(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Studio]:
    """Return a studio whose AWX is empty."""
    running_sandbox.control.reset()
    folder = tmp_path_factory.mktemp("awx")
    in_process.make_collections(folder / "collections")
    shutil.copytree(PROJECT, folder / "project")
    write_inventory(folder)
    for name in WORKSTATIONS:
        base = folder / "workstations" / name / "ComfyUI"
        base.mkdir(parents=True)
        (base / "main.py").touch()
    # Keys come from the credentials in AWX alone.
    keys = (
        "AWS_ACCESS_KEY_ID",
        "AWS_S",
        "AZURE_CLIENT",
        "GOOGLE_APPLICATION",
        "GOOGLE_CLOUD_PROJECT",
        "NVIDIA_API_KEY",
    )
    sandbox = {name: value for name, value in running_sandbox.env.items() if not name.startswith(keys)}
    environment = {**sandbox, "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS)}
    awx = api.Awx([path.name for path in PROJECT.glob("*.yml")])
    with api.serving(awx) as address:
        jobs = Jobs(awx, folder / "project", folder, environment)
        techops = Holder(running_sandbox, *POLICIES)
        techops.put("store", STORE)
        studio = Studio(folder, running_sandbox, awx, address, jobs, techops)
        studio.jobs.google_token_uri = studio.google_key["token_uri"]
        yield studio


@dataclasses.dataclass(frozen=True)
class Filled:
    """The studio after the first run of the playbook, and what was printed by a check before and by the run."""

    studio: Studio
    predicted: str
    printed: str


@pytest.fixture(scope="module")
def filled(studio: Studio) -> Filled:
    """Run the playbook on an AWX that is empty."""
    code, predicted, _changed = studio.set_up("--check")
    assert code == 0, predicted
    assert studio.awx.writes == []
    code, printed, _changed = studio.set_up("-vvv")
    assert code == 0, printed
    return Filled(studio, predicted, printed)


def test_every_playbook_has_a_job_template_or_a_reason(filled: Filled) -> None:
    awx = filled.studio.awx
    books = {path.stem for path in (layout.ROOT / "playbooks").glob("*.yml")}
    data = (layout.ROOT / "roles" / "awx" / "vars" / "main.yml").read_text()
    without = yaml.safe_load(data[data.index("__awx_without_job_template:") :].split("\n\n")[0])
    reasons = without["__awx_without_job_template"]
    assert all(len(reason) > 20 for reason in reasons.values())
    templates = {name.removeprefix("NIM ") for name in awx.names("job_templates")}
    assert not templates & set(reasons)
    assert templates | set(reasons) == books
    for name in templates:
        (play,) = yaml.safe_load((PROJECT / f"{name}.yml").read_text())
        assert play["ansible.builtin.import_playbook"] == f"budgetguard.techops.{name}"
        assert awx.find("job_templates", f"NIM {name}")["playbook"] == f"{name}.yml"


def test_jobs_that_publish_know_what_workstations_have(filled: Filled) -> None:
    for name in (path.stem for path in PROJECT.glob("*.yml") if path.stem != "execution-environment"):
        linked = filled.studio.awx.linked("job_templates", f"NIM {name}", "credentials")
        assert not _publishes(name) or "NIM artists' NVIDIA key" in {one["name"] for one in linked}, name
    assert _publishes("rotate")


def _publishes(name: str) -> bool:
    """Say whether a playbook imports the one that publishes the endpoints."""
    plays = yaml.safe_load((layout.ROOT / "playbooks" / f"{name}.yml").read_text())
    imported = [
        Path(play["ansible.builtin.import_playbook"]).stem for play in plays if len(play) < 4 and "hosts" not in play
    ]
    return name == "endpoints" or any(_publishes(one) for one in imported)


def test_a_check_before_anything_is_there_says_what_comes_first(filled: Filled) -> None:
    assert "These would be made first: organisation Studio." in " ".join(filled.predicted.split())


def test_what_jobs_get(filled: Filled) -> None:
    awx = filled.studio.awx

    def credentials(name: str) -> set[str]:
        return {one["name"].removeprefix("NIM ") for one in awx.linked("job_templates", f"NIM {name}", "credentials")}

    assert credentials("deploy") == {"AWS", "Google Cloud", "NGC API key", "Hugging Face token", "artists' NVIDIA key"}
    # There is no read-only one, so jobs that only read get the other.
    assert credentials("status") == {"AWS", "Google Cloud"}
    assert credentials("workstations") == {"AWS", "Google Cloud", "studio key", "artists' NVIDIA key"}
    assert credentials("package_install") == set()
    deploy = awx.find("job_templates", "NIM deploy")
    questions = {one["variable"]: one for one in awx.surveys[deploy["id"]]["spec"]}
    assert set(questions) == {"nim_nodes", "nim_only_on", "cloud_deploy_state"}
    assert {"FLUX Dev", "Llama 3.1"} < set(questions["nim_nodes"]["choices"])
    assert questions["nim_only_on"]["choices"] == [AWS, GCP]
    assert not awx.find("job_templates", "NIM endpoints")["survey_enabled"]
    (told,) = awx.linked("organizations", "Studio", "notification_templates_error")
    assert told["name"] == "NIM techops"
    assert awx.find("schedules", "NIM morning start")["extra_data"] == {"nim_nodes": ["FLUX Dev"]}
    assert "FREQ=MINUTELY;INTERVAL=5" in awx.find("schedules", "NIM guard")["rrule"]


def test_the_workflow_asks_before_the_rollout_and_reads_the_endpoints_after(filled: Filled) -> None:
    awx = filled.studio.awx
    nodes = {one["id"]: one for one in awx.objects["workflow_job_template_nodes"].values()}
    reached = {
        one for node in nodes for one in awx.links.get(("workflow_job_template_nodes", node, "success_nodes"), [])
    }
    (at,) = set(nodes) - reached
    order = [at]
    while following := awx.links.get(("workflow_job_template_nodes", at, "success_nodes")):
        (at,) = following
        order.append(at)
    steps = [(nodes[one]["identifier"], nodes[one]["unified_job_template"]) for one in order]
    assert [name for name, _template in steps] == ["deploy", "canaries", "approval", "endpoints", "workstations"]
    assert awx.objects["workflow_approval_templates"][dict(steps)["approval"]]["timeout"] == 86400
    canaries = awx.find("workflow_job_template_nodes", "canaries")
    assert (canaries["limit"], canaries["job_slice_count"]) == ("ws-3", 1)


def test_no_secret_is_printed(filled: Filled) -> None:
    for secret in (api.TOKEN, *filled.studio.secrets.values()):
        assert secret not in filled.printed
        assert secret not in filled.predicted


def test_what_is_missing_is_named_before_anything_is_made(studio: Studio) -> None:
    before = len(studio.awx.writes)
    code, printed, _changed = studio.set_up(awx_project_url="", awx_credential_inputs={"awss": {}})
    said = " ".join(printed.split())
    assert code != 0
    assert "awx_project_url is not set. It is the address of the repository" in said
    assert "awx_credential_inputs has awss, which is none of aws, aws_read," in said
    assert len(studio.awx.writes) == before


@pytest.fixture(scope="module")
def day(filled: Filled) -> Day:
    """Return a day on which nothing has run."""
    return Day(filled.studio.jobs)


def test_slices_of_a_job_do_what_one_job_does(day: Day, studio: Studio) -> None:
    jobs = studio.jobs
    # On its own a slice would take the targets that it has for all.
    published = day.job("endpoints").ok()
    (alone,) = jobs.launch("NIM workstations", slices=SLICES, only=1)
    assert alone.code != 0
    assert "This job is one slice of a sliced job" in alone.messages
    assert not any((studio.comfyui(name) / "budgetguard").exists() for name in WORKSTATIONS)
    assert published.artifacts["nim_published"]["unread"] == []
    sliced = jobs.launch("NIM workstations", workflow="NIM rollout", artifacts=published.artifacts)
    assert len(sliced) == SLICES
    assert sorted(host for job in sliced for host in job.hosts) == [AWS, GCP, *WORKSTATIONS]
    for job in sliced:
        mine = [host for host in job.hosts if host in WORKSTATIONS]
        assert {host for host, number in job.ok().changed.items() if number and host in WORKSTATIONS} == set(mine)
        assert job.artifacts["nim_rollout"]["done"] == len(mine)
        assert not any(job.with_secret(secret) for secret in studio.secrets.values())
    for name in WORKSTATIONS:
        config = studio.config(name)
        assert [one["target"] for one in config["nim_endpoints"]["FLUX Dev"]["aws"]] == [AWS]
        assert [one["target"] for one in config["nim_endpoints"]["Llama 3.1"]["gcp"]] == [GCP]
        assert SECRETS["STUDIO_ARTIST_KEY"] in json.dumps(config["credentials"])
    whole = day.job("workstations").ok()
    assert {whole.changed.get(name, 0) for name in WORKSTATIONS} == {0}
    assert whole.artifacts["nim_rollout"]["done"] == len(WORKSTATIONS)


def test_the_day_has_every_playbook_of_the_project() -> None:
    books = [path.stem for path in PROJECT.glob("*.yml") if path.stem != "execution-environment"]
    assert sorted(step.playbook for step in STEPS) == sorted(books)


@pytest.mark.parametrize("step", [pytest.param(step, id=step.playbook) for step in STEPS])
def test_every_playbook_runs_in_an_empty_folder(day: Day, studio: Studio, step: Step) -> None:
    """Each has a folder of its own, and gets from the jobs before it what the clouds and the secret store hold."""
    job = day.job(step.playbook)
    assert (job.code == 0) is not step.refused, job.printed
    assert step.says in job.messages, job.printed
    assert step.artifact in ("", *job.artifacts), job.artifacts
    assert job.left() == set()
    for what, secret in studio.secrets.items():
        assert job.with_secret(secret) == [], what


def test_the_second_run_changes_nothing_and_puts_right_what_somebody_changed(filled: Filled, oldest_core: Path) -> None:
    studio, awx = filled.studio, filled.studio.awx
    # Last, for it takes the guard's job template away.
    awx.writes.clear()
    code, printed, changed = studio.set_up("--check", bin_folder=oldest_core)
    assert (code, changed, awx.writes) == (0, 0, []), printed
    awx.find("job_templates", "NIM stop")["playbook"] = "teardown.yml"
    awx.find("schedules", "NIM evening stop")["enabled"] = False
    # Without canaries their step has to go, or it would run at once, beside the deployment.
    code, printed, changed = studio.set_up(awx_canaries="", awx_job_templates={"guard": {"state": "absent"}})
    assert (code, changed) == (0, 4), printed
    assert awx.find("job_templates", "NIM stop")["playbook"] == "stop.yml"
    assert awx.find("schedules", "NIM evening stop")["enabled"] is True
    assert "canaries" not in awx.names("workflow_job_template_nodes")
    assert "NIM guard" not in awx.names("job_templates") + awx.names("schedules")
    assert sorted(method for method, _path in awx.writes) == ["DELETE", "DELETE", "PATCH", "PATCH", "POST"]
