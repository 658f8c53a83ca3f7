# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What NIMs need of the keys, and one line for everything that is missing."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _registry

WORKERS = 8
"""Calls at a time; NVIDIA and Hugging Face both throttle."""

EXPIRES_SOON_DAYS = 14

_HUGGING_FACE_PAGE = f"{_registry.HUGGING_FACE}/"


@dataclasses.dataclass
class Needs:
    """What is to be checked: images and repositories, each with the nodes that need it, and the licences."""

    images: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    repositories: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    licences: dict[str, tuple[_catalog.Licence, list[str]]] = dataclasses.field(default_factory=dict)

    def add_image(self, image: str, node: str) -> None:
        """Note an image. Raises ValueError for what is none."""
        _registry.Reference.parse(image)
        _note(self.images, image, node)


def needs(
    deployments: t.Sequence[t.Mapping[str, t.Any]],
    images: t.Sequence[str],
    catalog: t.Mapping[str, _catalog.Node],
) -> Needs:
    """Return what the deployments, in the form of the modules' option, and the further images need.

    What is to be stopped or removed needs nothing, nor does a node that NVIDIA hosts.
    Raises ValueError with one line per node or image that does not exist or has no right form.
    """
    found = Needs()
    problems = []
    for index, deployment in enumerate(deployments):
        if deployment.get("state") in ("stopped", "absent"):
            continue
        try:
            _add_deployment(found, deployment, catalog)
        except ValueError as exc:
            problems.append(f"deployments[{index}]: {exc}")
    for index, image in enumerate(images):
        try:
            found.add_image(image, image)
        except ValueError as exc:
            problems.append(f"images[{index}]: {exc}")
    if problems:
        raise ValueError("\n".join(problems))
    return found


def _add_deployment(found: Needs, deployment: t.Mapping[str, t.Any], catalog: t.Mapping[str, _catalog.Node]) -> None:
    node = _catalog.find(catalog, deployment["node"])
    if node.image is None:
        return
    found.add_image(f"{node.image}:{deployment.get('tag') or node.tag}", node.name)
    # An image that loads several variants needs the models of all nodes that it then serves.
    variants = deployment.get("variants") or ()
    served = [other for other in catalog.values() if other.image == node.image and other.variant in variants]
    for item in [node, *served]:
        for licence in item.licences:
            if item.needs_hf_token and licence.url.startswith(_HUGGING_FACE_PAGE):
                _note(found.repositories, licence.url[len(_HUGGING_FACE_PAGE) :], node.name)
            nodes = found.licences.setdefault(licence.name, (licence, []))[1]
            if node.name not in nodes:
                nodes.append(node.name)


def _note(table: dict[str, list[str]], key: str, node: str) -> None:
    nodes = table.setdefault(key, [])
    if node not in nodes:
        nodes.append(node)


def report(
    services: _registry.Services, wanted: Needs, ngc_api_key: str | None, hf_token: str | None
) -> dict[str, t.Any]:
    """Ask the services and return the result of ``nim_key_info``. A key that is not given is not asked about.

    A key that is not valid is one problem: what depends on it is not asked about any more.
    """
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        key_check = pool.submit(services.ngc_key, ngc_api_key) if ngc_api_key else None
        repositories = []
        if hf_token:
            repositories = [pool.submit(services.repository, name, hf_token) for name in wanted.repositories]
        key = key_check.result() if key_check else None
        images: list[_registry.ImageCheck] = []
        if ngc_api_key and key and key.valid is not False:
            images = list(pool.map(lambda image: services.image(image, ngc_api_key), wanted.images))
        checked = [future.result() for future in repositories]
    token_valid, account = _token(services, hf_token, checked)
    parts = _Parts(wanted, key, images, checked, token_valid, account)
    return {
        "ngc_key": parts.ngc_key(),
        "images": parts.image_list(),
        "hf_token": {"given": bool(hf_token), "valid": token_valid, "account": account},
        "repositories": parts.repository_list(),
        "licences": parts.licence_list(),
        "problems": list(parts.problems()),
        "doubts": list(parts.doubts()),
    }


def _token(
    services: _registry.Services, token: str | None, checked: t.Sequence[_registry.RepositoryCheck]
) -> tuple[bool | None, str | None]:
    """Return whether the token is valid, and whose it is where somebody has to do something about it."""
    if not token:
        return None, None
    answers = {item.token_valid for item in checked}
    if False in answers:
        return False, None
    if checked and all(item.allowed for item in checked):
        return True, None
    valid, account = services.account(token)
    return (True if True in answers else valid), account


@dataclasses.dataclass(frozen=True)
class _Parts:
    """All answers together, and what to make of them."""

    wanted: Needs
    key: _registry.KeyCheck | None
    images: t.Sequence[_registry.ImageCheck]
    repositories: t.Sequence[_registry.RepositoryCheck]
    token_valid: bool | None
    account: str | None

    def ngc_key(self) -> dict[str, t.Any]:
        """Return what is known about the NGC key."""
        key = self.key or _registry.KeyCheck(None)
        return {
            "given": self.key is not None,
            "valid": key.valid,
            "reason": key.reason,
            "kind": key.kind,
            "organisation": key.organisation,
            "user": key.user,
            "products": list(key.products),
            "expires_at": key.expires_at,
        }

    def image_list(self) -> list[dict[str, t.Any]]:
        """Return all images; those not asked about are not known."""
        by_name = {item.image: item for item in self.images}
        why = "there is no valid NGC key to ask with"
        rows = []
        for image, nodes in self.wanted.images.items():
            check = by_name.get(image) or _registry.ImageCheck(image, None, why)
            rows.append({"nodes": nodes, **dataclasses.asdict(check)})
        return rows

    def repository_list(self) -> list[dict[str, t.Any]]:
        """Return all gated repositories; those not asked about are not known."""
        by_name = {item.name: item for item in self.repositories}
        rows = []
        for name, nodes in self.wanted.repositories.items():
            check = by_name.get(name) or _registry.RepositoryCheck(name, None, "hf_token is not given")
            rows.append({"name": name, "nodes": nodes, "allowed": check.allowed, "reason": check.reason})
        return rows

    def licence_list(self) -> list[dict[str, t.Any]]:
        """Return the terms that apply. Whether those of NGC are accepted, only the right to pull tells."""
        allowed = {item.name: item.allowed for item in self.repositories}
        return [
            {
                "name": licence.name,
                "url": licence.url,
                "non_commercial": licence.non_commercial,
                "accepted": allowed.get(licence.name),
                "nodes": nodes,
            }
            for licence, nodes in self.wanted.licences.values()
        ]

    def problems(self) -> t.Iterator[str]:
        """Say what is certain to go wrong, one line each."""
        if self.key is not None and self.key.valid is False:
            yield f"ngc_api_key: {self.key.reason}"
        for image in self.images:
            if image.allowed is False:
                yield f"{_for(self.wanted.images[image.image], image.image)}: {image.reason}"
        if self.token_valid is False:
            yield (
                "hf_token: Hugging Face does not accept it; mistyped, expired or revoked. "
                f"See {_registry.HUGGING_FACE}/settings/tokens"
            )
            return
        whose = f" (the token's account is {self.account})" if self.account else ""
        for item in self.repositories:
            if item.allowed is False:
                yield f"{_for(self.wanted.repositories[item.name], item.name)}: {item.reason}{whose}"

    def doubts(self) -> t.Iterator[str]:
        """Say what could not be found out, and what will be a problem soon."""
        if self.key is not None and self.key.valid is None:
            yield f"ngc_api_key could not be checked: {self.key.reason}"
        if self.key is not None and self.key.valid and _ends_soon(self.key.expires_at):
            yield f"ngc_api_key expires on {str(self.key.expires_at)[:10]}"
        for image in self.images:
            at_nvidia = _registry.Reference.parse(image.image).registry == _registry.NGC_REGISTRY
            if image.allowed is None and at_nvidia:
                yield f"{image.image}: not known whether it can be pulled: {image.reason}"
        if self.token_valid is not False:
            for item in self.repositories:
                if item.allowed is None:
                    yield f"{item.name}: not known whether it can be downloaded: {item.reason}"


def _for(nodes: t.Sequence[str], what: str) -> str:
    """Name who needs something, and what it is; an image that was named by itself is needed by nobody else."""
    return ": ".join([*([] if list(nodes) == [what] else [", ".join(nodes)]), what])


def _ends_soon(moment: str | None) -> bool:
    if moment is None:
        return False
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=EXPIRES_SOON_DAYS)
    return moment < soon.strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ("EXPIRES_SOON_DAYS", "WORKERS", "Needs", "needs", "report")
