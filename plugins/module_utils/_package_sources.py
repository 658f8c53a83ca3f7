# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Images for an install package: straight from a registry, or out of a Docker engine.

The registry needs no engine and no space besides the package: layers go into it by their digests, as they are.
An engine writes all layers of an image into a folder of its own before it hands out the first byte (Docker 20.10,
image/tarexport/save.go), so images are taken one by one, and no more than the largest one is ever there twice.

Sources of the formats: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md for the calls;
https://github.com/opencontainers/image-spec/blob/v1.1.0/ for manifests; ``docker save`` gives folders with a
``layer.tar`` each before Docker 25, and an OCI image layout with a ``manifest.json`` since then.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import posixpath
import re
import tarfile
import time
import typing as t
import urllib.error

from ansible.module_utils.urls import open_url

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer as installer
from ansible_collections.budgetguard.techops.plugins.module_utils import _registry
from ansible_collections.budgetguard.techops.plugins.module_utils._package_build import (
    OCI_CONFIG,
    OCI_MANIFEST,
    PackageWriter,
    Source,
    image_entry,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_cli import DockerCli

_SECONDS = 60
_TRIES = 5
_PAUSE = 2.0
_HEADERS_OF_INDEX = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_PASSING = frozenset({408, 429, 500, 502, 503, 504})

Locate = t.Callable[[str], str]
"""Returns where an image is pulled from, such as the studio's copy of NVIDIA's registry."""

Login = t.Callable[[str], "tuple[str, str] | None"]
"""Returns user and password for a registry, or None."""


# ---- a registry ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Manifest:
    """A manifest as the registry gives it."""

    media_type: str
    digest: str
    raw: bytes

    @property
    def content(self) -> dict[str, t.Any]:
        parsed: dict[str, t.Any] = json.loads(self.raw)
        return parsed


class RegistrySource(Source):
    """Images from the registries that their names say."""

    def __init__(
        self,
        locate: Locate,
        login: Login,
        architecture: str,
        ca_path: str | None = None,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._locate, self._login = locate, login
        self._architecture, self._ca_path, self._sleep = architecture, ca_path, sleep
        self._bearers: dict[tuple[str, str], dict[str, str]] = {}
        self._manifests: dict[str, tuple[str, _Manifest]] = {}

    def identity(self, image: str) -> str:
        """Return the digest of what the tag names now."""
        return self._described(image)[0]

    def size(self, image: str) -> int:
        """Return the size of all blobs."""
        content = self._described(image)[1].content
        return sum(int(item["size"]) for item in (content["config"], *content["layers"]))

    def order(self, images: t.Sequence[str]) -> list[str]:
        """Return them as they are: blobs are known by their digests."""
        return list(images)

    def write(self, image: str, writer: PackageWriter) -> dict[str, t.Any]:
        """Write the image's blobs as the registry has them."""
        identity, manifest = self._described(image)
        reference = self._reference(image)
        content = manifest.content
        for item in (content["config"], *content["layers"]):
            digest = installer.digest_of(item["digest"])
            if digest not in writer.blobs:
                writer.blob(self._blob(reference, item["digest"], int(item["size"])), digest)
        raw = manifest.raw if manifest.media_type == OCI_MANIFEST else _as_oci(image, content)
        return image_entry(image, identity, raw, writer)

    def _reference(self, image: str) -> _registry.Reference:
        try:
            return _registry.Reference.parse(self._locate(image))
        except ValueError as exc:
            raise ProviderError(str(exc)) from exc

    def _described(self, image: str) -> tuple[str, _Manifest]:
        """Return the digest of what the tag names, and the manifest for the architecture."""
        if image not in self._manifests:
            reference = self._reference(image)
            found = self._manifest(reference, reference.version)
            identity = found.digest
            if found.media_type in _HEADERS_OF_INDEX:
                found = self._manifest(reference, self._chosen(image, found))
            try:
                sizes = [int(item["size"]) for item in (found.content["config"], *found.content["layers"])]
            except (KeyError, TypeError, ValueError) as exc:
                raise ProviderError(f"{image}: its manifest is none of an image") from exc
            if any(layer.get("urls") for layer in found.content["layers"]) or min(sizes) < 0:
                raise ProviderError(f"{image}: it has layers that are not in the registry")
            if identity == found.digest:
                self._check_architecture(image, reference, found.content["config"])
            self._manifests[image] = (identity, found)
        return self._manifests[image]

    def _check_architecture(self, image: str, reference: _registry.Reference, described: t.Mapping[str, t.Any]) -> None:
        """Look into the config of an image that has no list of architectures."""
        size = min(int(described["size"]), installer.SMALL)
        try:
            config = json.loads(b"".join(self._blob(reference, described["digest"], size)))
        except ValueError as exc:
            raise ProviderError(f"{image}: its config is not JSON") from exc
        if (config.get("os"), config.get("architecture")) != ("linux", self._architecture):
            has = f"{config.get('os')}/{config.get('architecture')}"
            raise ProviderError(f"{image} is not there for linux/{self._architecture}, only for {has}")

    def _chosen(self, image: str, index: _Manifest) -> str:
        offered = [
            (str((item.get("platform") or {}).get("os")), str((item.get("platform") or {}).get("architecture")), item)
            for item in index.content.get("manifests") or []
        ]
        for system, architecture, item in offered:
            if (system, architecture) == ("linux", self._architecture):
                return str(item["digest"])
        names = ", ".join(sorted({f"{system}/{name}" for system, name, _item in offered if system != "unknown"}))
        if not names:
            raise ProviderError(f"{image} has no image for linux/{self._architecture}, nor for anything else")
        raise ProviderError(f"{image} is not there for linux/{self._architecture}, only for {names}")

    def _manifest(self, reference: _registry.Reference, version: str) -> _Manifest:
        doing = f"look for {reference.registry}/{reference.repository} {version}"
        accept = {"Accept": ", ".join(_registry.MANIFEST_TYPES)}
        with self._open(doing, reference, f"manifests/{version}", accept) as answer:
            raw: bytes = answer.read(installer.SMALL)
            media_type = str(answer.headers.get("Content-Type") or "").partition(";")[0].strip()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if version.startswith("sha256:") and version != digest:
            raise ProviderError(f"{doing}: the registry sent something else, {digest}")
        if media_type not in _registry.MANIFEST_TYPES:
            raise ProviderError(f"{doing}: the registry answers with {media_type or 'nothing'}, which is no image")
        return _Manifest(media_type, digest, raw)

    def _blob(self, reference: _registry.Reference, digest: str, size: int) -> t.Iterator[bytes]:
        """Yield a blob; a connection that breaks is made again, from the byte at which it broke."""
        doing = f"download {digest} of {reference.registry}/{reference.repository}"
        offset, tries = 0, 0
        while offset < size:
            problem = "the registry ended before the end"
            try:
                for chunk in self._from(doing, reference, digest, offset):
                    offset, tries = offset + len(chunk), 0
                    if offset > size:
                        raise ProviderError(f"{doing}: the registry sends more than the {size} bytes that it promised")
                    yield chunk
            except (OSError, http.client.HTTPException) as exc:
                problem = str(exc) or type(exc).__name__
            if offset < size:
                tries += 1
                if tries >= _TRIES:
                    raise ProviderError(f"{doing}: {problem}, {offset} of {size} bytes came; tried {tries} times")
                self._sleep(_PAUSE * tries)

    def _from(self, doing: str, reference: _registry.Reference, digest: str, offset: int) -> t.Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._open(doing, reference, f"blobs/{digest}", headers) as answer:
            # A server that knows no ranges sends everything again.
            skip = offset if answer.status != http.client.PARTIAL_CONTENT else 0
            while True:
                chunk = answer.read(installer.CHUNK)
                if not chunk:
                    return
                kept = chunk[skip:]
                skip = max(0, skip - len(chunk))
                if kept:
                    yield kept

    def _open(self, doing: str, reference: _registry.Reference, path: str, headers: t.Mapping[str, str]) -> t.Any:
        """Make a call, with the login that the registry asks for. Raises ProviderError for an answer that is no."""
        scheme = "http" if _registry.is_loopback(reference.registry) else "https"
        url = f"{scheme}://{reference.registry}/v2/{reference.repository}/{path}"
        place = (reference.registry, reference.repository)
        for attempt in range(_TRIES):
            try:
                return self._call(url, headers, self._bearers.get(place, {}))
            except urllib.error.HTTPError as exc:
                answer = exc
            except (OSError, http.client.HTTPException) as exc:
                if attempt + 1 == _TRIES:
                    raise ProviderError(f"{doing}: {_reason(exc)}; tried {_TRIES} times") from exc
                self._sleep(_PAUSE * (attempt + 1))
                continue
            with answer:
                if answer.code == 401 and attempt + 1 < _TRIES and self._log_in(doing, reference, answer):
                    continue
                if answer.code not in _PASSING or attempt + 1 == _TRIES:
                    raise ProviderError(f"{doing}: {_refusal(answer.code, reference)}")
                self._sleep(_PAUSE * (attempt + 1))
        raise ProviderError(f"{doing}: {_refusal(401, reference)}")

    def _call(self, url: str, headers: t.Mapping[str, str], login: t.Mapping[str, str]) -> t.Any:
        """Ask; the login is not sent on to where a registry redirects, such as the store of its layers."""
        return open_url(
            url,
            headers={**headers, **login},
            unredirected_headers=["Authorization"],
            follow_redirects="safe",
            timeout=_SECONDS,
            ca_path=self._ca_path,
            decompress=False,
            http_agent="budgetguard-techops",
        )

    def _log_in(self, doing: str, reference: _registry.Reference, refusal: urllib.error.HTTPError) -> bool:
        """Do what the registry asks for; return False if that was done already, or there is nothing to log in with."""
        place = (reference.registry, reference.repository)
        known = self._login(reference.registry)
        challenge = str(refusal.headers.get("WWW-Authenticate") or "")
        before = self._bearers.pop(place, None)
        if challenge.lower().startswith("basic"):
            self._bearers[place] = _registry.basic(*known) if known else {}
            return known is not None and before is None
        try:
            user, password = known or ("anonymous", "")
            url = _registry.token_url(challenge, reference.registry, reference.repository, user)
            with self._call(url, {}, _registry.basic(user, password) if known else {}) as answer:
                said = json.loads(answer.read(installer.SMALL))
            token = said.get("token") or said.get("access_token")
        except urllib.error.HTTPError as exc:
            exc.close()
            raise ProviderError(f"{doing}: {_refusal(exc.code, reference)}") from exc
        except (ValueError, AttributeError, OSError, http.client.HTTPException) as exc:
            raise ProviderError(f"{doing}: {_reason(exc)}") from exc
        self._bearers[place] = {"Authorization": f"Bearer {token}"}
        # A token may have run out; a new one that is refused, too, is no use.
        return before is None or before != self._bearers[place]


_OCI_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}


def _as_oci(image: str, content: t.Mapping[str, t.Any]) -> bytes:
    """Return a manifest of Docker's own kind as OCI's, which is all that an OCI image layout may have."""
    try:
        layers = [{**layer, "mediaType": _OCI_LAYERS[layer["mediaType"]]} for layer in content["layers"]]
    except KeyError as exc:
        raise ProviderError(f"{image}: it has a layer of a kind that is not known here, {exc}") from exc
    config = {**content["config"], "mediaType": OCI_CONFIG}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}).encode()


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "reason", None) or exc) or type(exc).__name__


def _refusal(status: int, reference: _registry.Reference) -> str:
    reasons = {
        401: "the registry does not accept the login; is the key right, and still valid?",
        403: "the key has no right to this image; accept its terms on NVIDIA's page, or use another key",
        404: f"the registry has no such image or {reference.kind}",
        451: "NVIDIA does not offer this image in this region",
    }
    return f"{reasons.get(status, 'the registry cannot answer')} ({status})"


# ---- an engine -------------------------------------------------------------------------------------------------------


class EngineSource(Source):
    """Images that a Docker engine has, out of ``docker save``."""

    def __init__(self, cli: DockerCli, locate: Locate, architecture: str) -> None:
        self._cli, self._locate, self._architecture = cli, locate, architecture
        self._found: dict[str, dict[str, t.Any]] = {}
        self._paths: dict[str, str] = {}

    def identity(self, image: str) -> str:
        """Return the image's id."""
        return str(self._described(image)["Id"])

    def size(self, image: str) -> int:
        """Return its size as the engine tells it."""
        return int(self._described(image).get("Size") or 0)

    def order(self, images: t.Sequence[str]) -> list[str]:
        """Return the images with most layers first: of an image that another one is made from, all layers are there."""
        return sorted(images, key=lambda image: -len(self._described(image)["RootFS"]["Layers"]))

    def _described(self, image: str) -> dict[str, t.Any]:
        if image not in self._found:
            names = dict.fromkeys((self._locate(image), image))
            for name in names:
                found = self._cli.inspect(f"look for {name}", "image", [name])
                if found:
                    break
            else:
                raise ProviderError(
                    f"{' and '.join(names)} is not on this Docker engine; pull it there first, or use source: registry"
                )
            if found[0].get("Architecture") != self._architecture or found[0].get("Os") != "linux":
                has = f"{found[0].get('Os')}/{found[0].get('Architecture')}"
                raise ProviderError(f"{image} is there for {has}, and linux/{self._architecture} is asked for")
            self._found[image] = found[0]
        return self._found[image]

    def write(self, image: str, writer: PackageWriter) -> dict[str, t.Any]:
        """Write what ``docker save`` streams, under other names, and describe it by a manifest."""
        described = self._described(image)
        doing = f"save {image}"
        saved = SavedImage(writer, [installer.digest_of(item) for item in described["RootFS"]["Layers"]], self._paths)
        with self._cli.stream(doing, "save", described["Id"]) as stream:
            saved.read(stream)
            # What follows the end of the archive is read, so that docker ends by itself.
            while stream.read(installer.CHUNK):
                pass
        return image_entry(image, described["Id"], saved.manifest(doing), writer)


_BLOB_PATH = re.compile(r"blobs/sha256/([0-9a-f]{64})")


class SavedImage:
    """Reads what ``docker save`` streams for one image.

    ``paths`` is where layers of images before were found, to their digests: the names of the older format are the same
    for layers that images share.
    """

    def __init__(self, writer: PackageWriter, diff_ids: t.Sequence[str], paths: dict[str, str]) -> None:
        self._writer, self._diff_ids, self._paths = writer, list(diff_ids), paths
        self._links: dict[str, str] = {}
        self._small: dict[str, bytes] = {}

    def read(self, stream: t.IO[bytes]) -> None:
        """Write the layers that are not there yet, keep the descriptions."""
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isreg() else None
                if entry.issym() or entry.islnk():
                    base = posixpath.dirname(entry.name) if entry.issym() else ""
                    self._links[entry.name] = posixpath.normpath(posixpath.join(base, entry.linkname))
                elif content is not None:
                    self._take(entry, content)

    def _take(self, entry: tarfile.TarInfo, content: t.IO[bytes]) -> None:
        blob = _BLOB_PATH.fullmatch(entry.name)
        if blob and blob.group(1) in self._writer.blobs:
            self._paths[entry.name] = blob.group(1)
        elif entry.name.endswith("/layer.tar"):
            self._take_old_layer(entry.name, content)
        elif blob and entry.size > installer.CHUNK:
            self._paths[entry.name] = self._writer.blob(_chunks(content), blob.group(1)).sha256
        elif entry.size <= installer.SMALL:
            # What a small blob is turns out at the end, when the list of layers comes.
            self._small[entry.name] = content.read()

    def _take_old_layer(self, path: str, content: t.IO[bytes]) -> None:
        """Write a layer of the older format, whose digest is not known before, unless it is there already."""
        if path in self._paths:
            return
        described = json.loads(self._small.get(posixpath.join(posixpath.dirname(path), "json"), b"{}"))
        top = self._diff_ids[-1] if self._diff_ids else ""
        if "architecture" in described and top in self._writer.blobs:
            # Only the topmost layer is described with the whole image.
            self._paths[path] = top
            return
        self._paths[path] = self._writer.blob(_chunks(content)).sha256

    def manifest(self, doing: str) -> bytes:
        """Write config and small layers; return the image's manifest. Raises ProviderError."""
        try:
            listing = json.loads(self._small["manifest.json"])[0]
            raw_config = self._small[self._resolved(listing["Config"])]
            config = json.loads(raw_config)
            diff_ids = [installer.digest_of(item) for item in config["rootfs"]["diff_ids"]]
            layers = [self._layer(self._resolved(path)) for path in listing["Layers"]]
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise ProviderError(
                f"{doing}: docker save gives no archive of an image that is known here ({exc!r})"
            ) from exc
        written = self._writer.blobs
        plain = [digest for digest in layers if not written[digest].media_type.endswith(("gzip", "zstd"))]
        if len(layers) != len(diff_ids) or any(digest not in diff_ids for digest in plain):
            raise ProviderError(f"{doing}: the layers that docker save gives are not those of the image")
        digest = self._writer.blob([raw_config], hashlib.sha256(raw_config).hexdigest()).sha256
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": f"sha256:{digest}", "size": len(raw_config)},
            "layers": [
                {"mediaType": written[item].media_type, "digest": f"sha256:{item}", "size": written[item].size}
                for item in layers
            ],
        }
        return json.dumps(content).encode()

    def _resolved(self, path: str) -> str:
        return self._links.get(path, path)

    def _layer(self, path: str) -> str:
        """Return the digest of a layer, after writing it if it was kept."""
        if path not in self._paths:
            self._paths[path] = self._writer.blob([self._small[path]]).sha256
        return self._paths[path]


def _chunks(content: t.IO[bytes]) -> t.Iterator[bytes]:
    return iter(lambda: content.read(installer.CHUNK), b"")
