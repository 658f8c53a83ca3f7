# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A studio whose workstations get identities, and what is stored of them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import boto3
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.playbooks.studio import Studio

VAULT_PASSWORD = "a vault password of the test"


class Artists:
    """A studio that gives its workstations identities."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        studio.variables.update(nim_workstation_providers=["aws"], endpoints_export=False)
        password = studio.folder / "vault-password"
        password.write_text(VAULT_PASSWORD)
        self.environment = {**studio.environment(), "ANSIBLE_VAULT_PASSWORD_FILE": str(password)}

    def play(self, playbook: str, *arguments: str) -> t.Any:
        """Run a playbook."""
        return self.studio.play(playbook, *arguments, environment=self.environment)

    def store_in_aws(self) -> None:
        """Keep keys in AWS Secrets Manager, as in AWX, where there is no vault password and no folder that stays."""
        self.environment.pop("ANSIBLE_VAULT_PASSWORD_FILE")
        self.environment["AWX_HOST"] = "https://awx.studio.example"
        read = "lookup('budgetguard.techops.stored_vars', '{}', store=nim_credential_store).{} | default({{}})"
        self.studio.variables.update(
            nim_credential_store={"type": "aws_secretsmanager", "region": "us-east-1"},
            nim_identities=f"{{{{ {read.format('workstations/~', 'nim_identities')} }}}}".replace(
                "'workstations/~'", "'workstations/' ~ inventory_hostname"
            ),
        )

    def client(self, service: str) -> t.Any:
        """Return a boto3 client of the account's owner."""
        env = self.studio.sandbox.env
        make_client: t.Any = boto3.client
        return make_client(
            service,
            region_name="us-east-1",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            verify=env["AWS_CA_BUNDLE"],
        )

    def stored(self, workstation: str) -> Path:
        """Return the path of a workstation's stored identities."""
        return self.studio.folder / "host_vars" / workstation / "budgetguard_identities.yml"

    def record(self, workstation: str, provider: str = "aws") -> dict[str, t.Any]:
        """Return what is stored in clear of one identity."""

        class Loader(yaml.SafeLoader):
            pass

        Loader.add_constructor("!vault", lambda _loader, _node: "(encrypted)")
        found = yaml.load(self.stored(workstation).read_text(), Loader=Loader)  # noqa: S506 - a SafeLoader
        return t.cast("dict[str, t.Any]", found["nim_identities"][provider])

    def has_user(self, workstation: str) -> bool:
        """Say whether a workstation has a user on AWS."""
        users = self.client("iam").list_users(PathPrefix="/budgetguard/")["Users"]
        return f"ws-{workstation}" in [user["UserName"] for user in users]

    def keys(self, workstation: str) -> list[str]:
        """Return the ids of the keys that a workstation's user has on AWS."""
        found = self.client("iam").list_access_keys(UserName=f"ws-{workstation}")["AccessKeyMetadata"]
        return sorted(key["AccessKeyId"] for key in found)


def decrypted(path: Path, field: str) -> str:
    """Return a secret of a stored identity."""
    lines = path.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == f"{field}: !vault |")
    text = "\n".join(line.strip() for line in lines[start + 1 : start + 9] if line.strip()[:1] in "$0123456789")
    vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
    return str(vault.decrypt(text).decode())


def opened(studio: Studio, name: str, studio_key: str) -> t.Any:
    """Return the credentials in a workstation's config."""
    key = _envelope.derive_keys(studio_key, [name], 2)[name]
    return _envelope.unseal(studio.config(name)["credentials"], key)
