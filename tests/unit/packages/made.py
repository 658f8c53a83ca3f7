# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small packages made by the real writer, from images that are made up, and ways to spoil them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import typing as t
import zipfile
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _package, _package_build

NODES: list[dict[str, t.Any]] = [{"node": "FLUX Dev"}, {"node": "FLUX Canny"}]
LAYERS = (b"base layer " * 200, b"top layer " * 300)
NOW = "2026-11-28T12:00:00Z"


def sha(data: bytes) -> str:
    """Return the digest as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def an_image(layers: t.Sequence[bytes] = LAYERS) -> tuple[bytes, bytes, list[bytes]]:
    """Return manifest, config and blobs of an image."""
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _package_build.OCI_MANIFEST,
        "config": {"mediaType": _package_build.OCI_CONFIG, "digest": sha(config), "size": len(config)},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": sha(blob), "size": len(blob)}
            for blob in packed
        ],
    }
    return json.dumps(manifest).encode(), config, packed


class MadeUp(_package_build.Source):
    """One image for every name."""

    def identity(self, image: str) -> str:
        return "sha256:one"

    def size(self, image: str) -> int:
        return 1000

    def order(self, images: t.Sequence[str]) -> list[str]:
        return list(images)

    def write(self, image: str, writer: _package_build.PackageWriter) -> dict[str, t.Any]:
        manifest, config, blobs = an_image()
        for blob in (config, *blobs):
            writer.blob([blob], sha(blob).partition(":")[2])
        return _package_build.image_entry(image, "sha256:one", manifest, writer)


def items(nodes: t.Sequence[t.Mapping[str, t.Any]] = ()) -> list[_package.Item]:
    """Return nodes as nim_package takes them."""
    return _package.resolve(list(nodes or NODES), {}, 8000)


def package(path: Path, model: Path | None = None) -> _package_build.Built:
    """Build a package with two nodes of one image."""
    nodes = [{**NODES[0], "model_cache": str(model)}, NODES[1]] if model else NODES
    wanted = items(nodes)
    models = {"FLUX Dev": (model, _package_build.fingerprint(model))} if model else {}
    names = dict.fromkeys((item.image for item in wanted), "sha256:one")
    return _package_build.build(path, wanted, MadeUp(), names, models, "amd64", NOW)


@dataclasses.dataclass
class Member:
    """A member of a package that is being spoilt."""

    info: zipfile.ZipInfo
    data: bytes


def members(path: Path) -> list[Member]:
    """Return all members of a package."""
    with zipfile.ZipFile(path) as archive:
        return [Member(info, archive.read(info)) for info in archive.infolist()]


def member(name: str, data: bytes, mode: int = 0o100644) -> Member:
    """Return one more member."""
    info = zipfile.ZipInfo(name)
    # ZipInfo corrects names; a bad package would not.
    info.filename = name
    info.external_attr = mode << 16
    return Member(info, data)


def write(path: Path, content: t.Sequence[Member], honest: bool = False) -> None:
    """Write a package anew. An ``honest`` one has a manifest that agrees with its members."""
    if honest:
        manifest = next(item for item in content if item.info.filename == "manifest.json")
        parsed = json.loads(manifest.data)
        parsed["members"] = {
            item.info.filename: {"size": len(item.data), "sha256": hashlib.sha256(item.data).hexdigest()}
            for item in content
            if item is not manifest
        }
        manifest.data = json.dumps(parsed).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for item in content:
            archive.writestr(item.info, item.data, item.info.compress_type)
