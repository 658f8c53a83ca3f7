# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Write an install package in one pass: each byte of an image or a model is written once, into the package itself.

A package is a ZIP file whose members are stored and not compressed, because layers are compressed already. It is
written beside its place under another name and gets its name when it is whole.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import pathlib
import shutil
import stat
import tarfile
import typing as t
import zipfile

from ansible_collections.budgetguard.techops.plugins.module_utils import _package
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer as installer
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError

PART = ".part"
"""The end of the name of a package that is being written."""

_PLACEHOLDER = "0" * 64
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_RATIO = 3
"""How much larger a layer in zstd's format may get; the format need not say."""

_4_GIB = 2**32
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclasses.dataclass(frozen=True)
class Blob:
    """What was seen of a blob when it was written: its size, its digest, its first and its last bytes."""

    size: int
    sha256: str
    head: bytes
    tail: bytes

    @property
    def media_type(self) -> str:
        """The type of a layer, by its first bytes."""
        if self.head.startswith(_GZIP):
            return f"{_LAYER_TYPE}+gzip"
        return f"{_LAYER_TYPE}+zstd" if self.head.startswith(_ZSTD) else _LAYER_TYPE

    @property
    def unpacked(self) -> int:
        """How large a layer is unpacked, as far as it says so: gzip ends with the size, without full 4 GiB."""
        if self.head.startswith(_ZSTD):
            return self.size * _ZSTD_RATIO
        if not self.head.startswith(_GZIP):
            return self.size
        size = int.from_bytes(self.tail, "little")
        while size < self.size:
            size += _4_GIB
        return size


class Counted(io.RawIOBase):
    """A file that counts what is written to it, bytes that are written again included."""

    def __init__(self, file: t.IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.written = 0

    def write(self, data: t.Any) -> int:
        """Write, and count."""
        size = self._file.write(data)
        self.written += size
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off."""
        return self._file.truncate(size)

    def flush(self) -> None:
        """Hand everything to the system."""
        self._file.flush()

    def seekable(self) -> bool:
        """Say that it is seekable."""
        return True

    def writable(self) -> bool:
        """Say that it is writable."""
        return True


class PackageWriter:
    """Writes the members of a package, one after the other."""

    def __init__(self, file: t.IO[bytes]) -> None:
        self.file = Counted(file)
        self._archive = zipfile.ZipFile(t.cast("t.IO[bytes]", self.file), "w", zipfile.ZIP_STORED, allowZip64=True)
        self.members: dict[str, dict[str, t.Any]] = {}
        self.blobs: dict[str, Blob] = {}
        self.manifests: dict[str, bytes] = {}

    def __enter__(self) -> PackageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_others: object) -> None:
        """Write the directory at the end, or nothing more after an error."""
        if kind is not None:
            self._archive.fp = None
        self._archive.close()
        self.file.flush()

    def add(self, name: str, chunks: t.Iterable[bytes], executable: bool = False) -> Blob:
        """Write a member."""
        return self._write(name, chunks, 0o755 if executable else 0o644)

    def blob(self, chunks: t.Iterable[bytes], sha256: str | None = None) -> Blob:
        """Write a blob under its digest. Where the digest is not known before, it is put in place afterwards.

        Raises ProviderError if it is not what ``sha256`` says. A blob that is there already is taken back.
        """
        if sha256 in self.blobs:
            return self.blobs[sha256]
        blob = self._write(installer.BLOBS + (sha256 or _PLACEHOLDER), chunks, 0o644, rename=True)
        if sha256 not in (None, blob.sha256):
            raise ProviderError(
                f"what was received as sha256:{sha256} is sha256:{blob.sha256}; the package is not built"
            )
        self.blobs[blob.sha256] = blob
        return blob

    def _write(self, name: str, chunks: t.Iterable[bytes], mode: int, rename: bool = False) -> Blob:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFREG | mode) << 16
        digest, size, head, tail = hashlib.sha256(), 0, b"", b""
        with self._archive.open(info, "w", force_zip64=True) as member:
            for chunk in chunks:
                member.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                head = (head + chunk[:4])[:4] if len(head) < 4 else head
                tail = (tail + chunk[-4:])[-4:]
            if rename:
                # Closing the member writes its header once more; a name of the same length fits.
                info.filename = installer.BLOBS + digest.hexdigest()
        blob = Blob(size, digest.hexdigest(), head, tail)
        if rename and info.filename in self.members:
            self._take_back(info)
            return blob
        self.members[info.filename] = {"size": size, "sha256": blob.sha256}
        return blob

    def _take_back(self, info: zipfile.ZipInfo) -> None:
        """Remove the member that was written last."""
        self._archive.filelist.remove(info)
        self._archive.NameToInfo[info.filename] = next(i for i in self._archive.filelist if i.filename == info.filename)
        self._archive.start_dir = info.header_offset
        self.file.seek(info.header_offset)
        self.file.truncate()


class Source(abc.ABC):
    """Where images come from."""

    @abc.abstractmethod
    def identity(self, image: str) -> str:
        """Return what the image is now, so that a change is seen. Raises ProviderError if there is no such image."""

    @abc.abstractmethod
    def size(self, image: str) -> int:
        """Return about how many bytes the image takes in the package."""

    @abc.abstractmethod
    def order(self, images: t.Sequence[str]) -> list[str]:
        """Return the images in the order in which they share most."""

    @abc.abstractmethod
    def write(self, image: str, writer: PackageWriter) -> dict[str, t.Any]:
        """Write those blobs of the image that are not there yet; return what the manifest says of it."""


def image_entry(image: str, identity: str, raw: bytes, writer: PackageWriter) -> dict[str, t.Any]:
    """Write an image's manifest as a blob, and return what the package's manifest says of the image."""
    digest = writer.blob([raw], hashlib.sha256(raw).hexdigest()).sha256
    writer.manifests[f"sha256:{digest}"] = raw
    layers = [installer.digest_of(layer["digest"]) for layer in json.loads(raw)["layers"]]
    return {
        "reference": _package.image_name(image),
        "identity": identity,
        "media_type": OCI_MANIFEST,
        "manifest_digest": f"sha256:{digest}",
        "manifest_size": len(raw),
        "unpacked_size": sum(writer.blobs[layer].unpacked for layer in layers),
    }


# ---- models ----------------------------------------------------------------------------------------------------------


def _walk(folder: pathlib.Path) -> t.Iterator[tuple[pathlib.Path, os.stat_result]]:
    """Yield all below a folder, always in the same order. Raises ProviderError for what cannot be read."""
    try:
        entries = sorted(folder.iterdir())
        found = [(path, path.lstat()) for path in entries]
    except OSError as exc:
        raise ProviderError(f"read the model cache {folder}: {exc.strerror}") from exc
    for path, status in found:
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path)


def fingerprint(folder: pathlib.Path) -> str:
    """Return a text that changes when a file below the folder does: by names, sizes and times, without reading them."""
    digest = hashlib.sha256()
    count = 0
    for path, status in _walk(folder):
        name = str(path.relative_to(folder))
        link = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
        kept = (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else ()
        digest.update(json.dumps([name, stat.S_IFMT(status.st_mode), link, *kept]).encode())
        count += stat.S_ISREG(status.st_mode)
    if not count:
        raise ProviderError(f"the model cache {folder} holds no file; start the NIM once, so that it loads its model")
    return digest.hexdigest()


def _folder_size(folder: pathlib.Path) -> int:
    return sum(status.st_size for _path, status in _walk(folder) if stat.S_ISREG(status.st_mode))


def model_chunks(folder: pathlib.Path) -> t.Iterator[bytes]:
    """Yield a model cache as a tar file, without who owned it and when it was made."""
    for path, status in _walk(folder):
        entry = tarfile.TarInfo(str(path.relative_to(folder)))
        entry.mode = stat.S_IMODE(status.st_mode) & 0o755 | 0o600
        if stat.S_ISDIR(status.st_mode):
            entry.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(status.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            entry.size = status.st_size
        else:
            raise ProviderError(f"{path} in the model cache is neither a file nor a folder nor a symbolic link")
        problem = installer.tar_problem(entry)
        if problem:
            raise ProviderError(f"{path} in the model cache {problem}")
        yield entry.tobuf(tarfile.PAX_FORMAT)
        if entry.isreg():
            yield from _content(path, status.st_size)
            yield b"\0" * (-status.st_size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _content(path: pathlib.Path, size: int) -> t.Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(left, installer.CHUNK))
            if not chunk:
                raise ProviderError(f"{path} became shorter while it was read; is its NIM running?")
            left -= len(chunk)
            yield chunk


# ---- the package -----------------------------------------------------------------------------------------------------


def found_manifest(path: pathlib.Path, whole: bool, tell: installer.Tell) -> tuple[dict[str, t.Any] | None, str | None]:
    """Return the manifest of the package that is there, or why it cannot be used; ``whole`` reads all of it."""
    if not path.exists():
        return None, None
    try:
        with installer.Package(path) as package:
            package.verify(package.all_members if whole else package.small_members, tell)
            return {**package.manifest, "sha256": package.digest}, None
    except installer.PackageError as exc:
        return None, str(exc)


@dataclasses.dataclass(frozen=True)
class Built:
    """What a build has written."""

    manifest_sha256: str
    size: int
    bytes_written: int
    manifest: t.Mapping[str, t.Any]


@contextlib.contextmanager
def _part(path: pathlib.Path) -> t.Iterator[t.IO[bytes]]:
    """Open the file that becomes the package. What a killed build left of it is overwritten."""
    part = path.with_name(f"{path.name}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as exc:
        raise ProviderError(f"write {part}: {exc.strerror}") from exc
    with os.fdopen(handle, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ProviderError(f"another run is building {path} right now") from exc
        except OSError:
            # A file system without locks.
            pass
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def build(
    path: pathlib.Path,
    items: t.Sequence[_package.Item],
    source: Source,
    identities: t.Mapping[str, str],
    models: t.Mapping[str, tuple[pathlib.Path, str]],
    architecture: str,
    created_at: str,
) -> Built:
    """Build the package. ``models`` is node to the folder with its model and that folder's fingerprint."""
    _check_room(path, list(identities), source, models)
    try:
        with _part(path) as file:
            with PackageWriter(file) as writer:
                raw = _write_all(writer, items, source, identities, models, architecture, created_at)
            size = file.seek(0, os.SEEK_END)
    except OSError as exc:
        raise ProviderError(f"write {path}: {exc.strerror or exc}") from exc
    return Built(hashlib.sha256(raw).hexdigest(), size, writer.file.written, json.loads(raw))


def _write_all(
    writer: PackageWriter,
    items: t.Sequence[_package.Item],
    source: Source,
    identities: t.Mapping[str, str],
    models: t.Mapping[str, tuple[pathlib.Path, str]],
    architecture: str,
    created_at: str,
) -> bytes:
    """Write all members; return the package's manifest, which comes last."""
    for name, content in _package.text_members(items).items():
        writer.add(name, [content], executable=name == _package.INSTALLER)
    entries = {image: source.write(image, writer) for image in source.order(list(identities))}
    for item in items:
        if item.model_member:
            folder, before = models[item.node.name]
            writer.add(item.model_member, model_chunks(folder))
            if fingerprint(folder) != before:
                raise ProviderError(f"{folder} changed while it was read; stop the NIM that uses it")
    images = [entries[image] for image in identities]
    for name, content in _layout(images, writer).items():
        writer.add(installer.IMAGES + name, [content])
    marks = {node: mark for node, (_folder, mark) in models.items()}
    raw = _package.manifest(items, architecture, images, writer.members, marks, created_at)
    writer.add(installer.MANIFEST, [raw])
    return raw


def _layout(images: t.Sequence[t.Mapping[str, t.Any]], writer: PackageWriter) -> dict[str, bytes]:
    """Return the files that make the folder ``images`` an OCI image layout, once the package is unpacked."""
    return installer.layout_files(
        [installer.Image.of(entry, writer.manifests[entry["manifest_digest"]]) for entry in images]
    )


def _check_room(
    path: pathlib.Path,
    images: t.Sequence[str],
    source: Source,
    models: t.Mapping[str, tuple[pathlib.Path, str]],
) -> None:
    """Refuse to begin what the disk has no room for."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    needed = sum(map(source.size, images)) + sum(_folder_size(folder) for folder, _mark in models.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        gib = 2**30
        raise ProviderError(
            f"{folder} has {free / gib:.1f} GiB free, and the package takes up to {needed / gib:.1f} GiB; "
            "nothing was built"
        )


def install_beside(path: pathlib.Path, check: bool) -> bool:
    """Put install.py beside the package; return whether it was another before."""
    program = path.with_name(_package.INSTALLER)
    content = _package.installer_source().encode()
    if program.exists() and program.read_bytes() == content:
        return False
    if not check:
        temporary = program.with_name(f"{program.name}{PART}")
        temporary.write_bytes(content)
        temporary.chmod(0o755)
        temporary.replace(program)
    return True
