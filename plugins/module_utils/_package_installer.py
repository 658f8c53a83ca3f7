# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Install NVIDIA NIM containers from a package, without a cloud and without a network.

Run as a program: ``python3 install.py --help``. Python 3.8 or newer with its standard library, on Linux and Windows.

This one file is both: the collection's module ``nim_package_install`` imports it, and ``nim_package`` writes it beside
each package and into it as ``install.py``. So it imports nothing of the collection.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import typing as t
import zipfile

FORMAT, VERSION = "budgetguard-nim-package", 1
"""What a package says of itself. A program of one version reads packages of this version only."""

MANIFEST = "manifest.json"
IMAGES = "images/"
BLOBS = "images/blobs/sha256/"
MODEL_LICENCES = "LICENCES.txt"
FOLDER = ".budgetguard_local"
"""Where the installed nodes stand, below the home folder."""

RECORD = "installed.json"
MODEL_MARK = ".budgetguard-model"
COMPOSE, ENV = "compose.yaml", ".env"

NIM_PORT = 8000
CACHE = "/opt/nim/.cache"
SPEC_LABEL, MANAGED_LABEL = "budgetguard:spec-hash", "budgetguard:managed"
_MANAGED = f"label={MANAGED_LABEL}=true"
KEYS = ("NGC_API_KEY", "HF_TOKEN")

CREATED, UPDATED, UNCHANGED, REMOVED = "created", "updated", "unchanged", "removed"
REFUSED, FAILED = "refused", "failed"
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_PACKAGE, EXIT_WORKSTATION = range(5)

SMALL = 16 * 2**20
"""The most that is read into memory at once: descriptions, never layers."""

CHUNK = 2**20
_GIB = 2**30
_SECONDS = 120
_OLDEST_ENGINE, _OLDEST_COMPOSE = (20, 10), (1, 28)
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?")
_HEX = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/=+-]*")
_TAR_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)

_NO_ZIP = (zipfile.BadZipFile, ValueError, EOFError, OverflowError, RuntimeError, struct.error)
"""What zipfile raises for files that are none, or are damaged."""

Tell = t.Callable[[str], None]


class InstallError(Exception):
    """Nothing can be done. The text says what is wrong and what would be right."""

    code = EXIT_FAILED


class PackageError(InstallError):
    """The package is not whole, or is not what it says."""

    code = EXIT_PACKAGE


class WorkstationError(InstallError):
    """The workstation lacks something."""

    code = EXIT_WORKSTATION


class UsageError(InstallError):
    """What was asked for cannot be."""

    code = EXIT_USAGE


# ---- GPUs ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One GPU of the host. ``tier`` is None for one that is not in our table; the memory is in MiB."""

    index: int
    uuid: str
    name: str
    memory_mib: int
    tier: str | None

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"


GPU_FIELDS = "index,uuid,name,memory.total"
"""What nvidia-smi is asked for, in this order."""

_BIG_A100_MIB = 70_000
"""The A100 comes with 40 and with 80 GB, and its name says so in several ways."""

_MAKERS = re.compile(r"^(NVIDIA|Tesla|GeForce|Quadro)\s+")
_TIERS_BY_NAME = (
    (r"T4", "t4"),
    (r"L4", "l4"),
    (r"A10", "a10"),
    (r"A10G", "a10g"),
    (r"RTX 4090", "rtx-4090"),
    (r"RTX 5090", "rtx-5090"),
    (r"L40", "l40"),
    (r"RTX 6000 Ada Generation", "rtx-6000-ada"),
    (r"L40S", "l40s"),
    (r"A100\b.*", "a100"),
    (r"RTX PRO 6000 Blackwell\b.*", "rtx-pro-6000"),
    (r"H100\b.*", "h100"),
    (r"H200\b.*", "h200"),
    (r"B200\b.*", "b200"),
)
"""Names as nvidia-smi gives them, without the maker's; see the table of GPUs in the README of
https://github.com/NVIDIA/open-gpu-kernel-modules. The whole name has to match: a laptop's RTX 4090 is another GPU."""


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Read nvidia-smi's table of index, id, name and memory in MiB. Lines without these are left out."""
    gpus = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) == 4 and row[0].isdigit() and row[3].strip().isdigit():
            memory = int(row[3])
            gpus.append(Gpu(int(row[0]), row[1], row[2], memory, tier_of(row[2], memory)))
    return tuple(gpus)


def tier_of(name: str, memory_mib: int) -> str | None:
    """Return the tier of a GPU by the name that the driver gives it, or None."""
    name = _without_maker(name)
    for pattern, tier in _TIERS_BY_NAME:
        if re.fullmatch(pattern, name):
            return "a100-80gb" if tier == "a100" and memory_mib >= _BIG_A100_MIB else tier
    return None


def label_of(gpu: Gpu) -> str:
    """Return the GPU's tier, or for one that is in no tier its name in the same form, such as ``rtx-3090``."""
    return gpu.tier or re.sub(r"[^a-z0-9]+", "-", _without_maker(gpu.name).lower()).strip("-") or "gpu"


def _without_maker(name: str) -> str:
    while _MAKERS.match(name):
        name = _MAKERS.sub("", name)
    return name


# ---- the package -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Image:
    """A container image of the package. Digests have no ``sha256:`` in front."""

    reference: str
    manifest: str
    media_type: str
    size: int
    config: str
    layers: tuple[str, ...]
    stored: int
    unpacked: int

    @classmethod
    def of(cls, entry: t.Mapping[str, t.Any], manifest: bytes) -> Image:
        """Return an image by what the package's manifest says of it, and its own manifest."""
        described = json.loads(manifest)
        return cls(
            reference=_text(entry["reference"]),
            manifest=digest_of(entry["manifest_digest"]),
            media_type=_text(entry["media_type"]),
            size=int(entry["manifest_size"]),
            config=digest_of(described["config"]["digest"]),
            layers=tuple(digest_of(layer["digest"]) for layer in described["layers"]),
            stored=sum(int(layer["size"]) for layer in described["layers"]),
            unpacked=int(entry["unpacked_size"]),
        )

    @property
    def blobs(self) -> tuple[str, ...]:
        """All that the image consists of, each once."""
        return tuple(dict.fromkeys((self.manifest, self.config, *self.layers)))

    @property
    def ids(self) -> frozenset[str]:
        """What an engine may call it: by its config, or with the containerd image store by its manifest."""
        return frozenset((f"sha256:{self.config}", f"sha256:{self.manifest}"))


@dataclasses.dataclass(frozen=True)
class Node:
    """A NIM of the package. ``model`` is the member with its model cache, if the package has one."""

    name: str
    slug: str
    image: str
    port: int
    gpus: int
    min_gpu_memory_gib: int
    min_host_memory_gib: int
    disk_gib: int
    compute_capability: tuple[int, int]
    needs_hf_token: bool
    model: str | None
    licences: tuple[str, ...]

    @property
    def compose(self) -> str:
        """The member with its Compose file."""
        return f"nodes/{self.slug}/{COMPOSE}"


class Package:
    """A package that is open for reading. Opening it looks at its structure; ``verify`` reads what it holds."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self._file_size = path.stat().st_size
        except OSError as exc:
            raise PackageError(f"{path} cannot be read: {exc.strerror}") from exc
        except _NO_ZIP as exc:
            size = path.stat().st_size
            raise PackageError(
                f"{path} is not a whole package: the directory at the end of the ZIP file is missing or damaged "
                f"(the file has {size} bytes). Was it copied completely? Copy it again"
            ) from exc
        try:
            self._members = self._checked_members()
            raw = self.read(MANIFEST)
            self.digest = hashlib.sha256(raw).hexdigest()
            self.manifest = self._checked_manifest(raw)
            self.images = {item.reference: item for item in self._parsed("images", self._image)}
            self.nodes = {item.name: item for item in self._parsed("nodes", self._node)}
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._archive.close()

    # -- structure --

    def _wrong(self, text: str) -> PackageError:
        return PackageError(f"{self.path} is refused: {text}. Nothing of it was used")

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        """Return the members by name. A package has plain files only, stored, side by side, each once."""
        members: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            problem = _member_problem(info)
            if problem:
                raise self._wrong(f"the member {info.orig_filename!r} {problem}")
            if info.filename in members:
                raise self._wrong(f"the member {info.filename!r} is there twice")
            members[info.filename] = info
        end = 0
        for info in sorted(members.values(), key=lambda item: item.header_offset):
            if info.header_offset < end:
                raise self._wrong(f"the member {info.filename!r} overlaps another one")
            end = info.header_offset + 30 + len(info.filename) + info.file_size
        if end > self._file_size:
            raise self._wrong(f"its members claim more than the {self._file_size} bytes that it has")
        return members

    def _checked_manifest(self, raw: bytes) -> dict[str, t.Any]:
        try:
            manifest = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise self._wrong(f"{MANIFEST} is not JSON") from exc
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise self._wrong(f"{MANIFEST} does not say that it is a {FORMAT}")
        if manifest.get("version") != VERSION:
            raise self._wrong(
                f"its format has version {manifest.get('version')!r}, and this program reads version {VERSION}; "
                "use the install.py that was made with the package"
            )
        listed = manifest.get("members")
        if not isinstance(listed, dict) or not all(map(_is_member_entry, listed.values())):
            raise self._wrong(f"{MANIFEST} has no list of members with sizes and sha256")
        for name in sorted({*listed, *self._members} - {MANIFEST}):
            if name not in self._members:
                raise self._wrong(f"the member {name!r} is missing")
            if name not in listed:
                raise self._wrong(f"the member {name!r} does not stand in {MANIFEST}")
            if self._members[name].file_size != listed[name]["size"]:
                found = self._members[name].file_size
                raise self._wrong(f"the member {name!r} has {found} bytes instead of {listed[name]['size']}")
        return manifest

    def _parsed(self, key: str, parse: t.Callable[[t.Mapping[str, t.Any]], t.Any]) -> list[t.Any]:
        entries = self.manifest.get(key)
        if not isinstance(entries, list):
            raise self._wrong(f"{MANIFEST} has no list {key}")
        parsed = []
        for number, entry in enumerate(entries):
            try:
                parsed.append(parse(entry))
            except (KeyError, TypeError, ValueError, RecursionError) as exc:
                raise self._wrong(f"{key}[{number}] in {MANIFEST} is wrong: {exc!r}") from exc
        return parsed

    def _image(self, entry: t.Mapping[str, t.Any]) -> Image:
        raw = self.read(BLOBS + digest_of(entry["manifest_digest"]))
        image, described = Image.of(entry, raw), json.loads(raw)
        sizes = {digest_of(item["digest"]): item["size"] for item in (described["config"], *described["layers"])}
        for digest in image.blobs:
            if BLOBS + digest not in self._members:
                raise self._wrong(f"sha256:{digest} of {image.reference} is missing")
            found = self._members[BLOBS + digest].file_size
            if found != sizes.get(digest, image.size):
                raise self._wrong(f"sha256:{digest} has {found} bytes instead of {sizes.get(digest, image.size)}")
        return image

    def _node(self, entry: t.Mapping[str, t.Any]) -> Node:
        major, minor = entry["min_compute_capability"]
        node = Node(
            name=_text(entry["name"]),
            slug=_text(entry["slug"]),
            image=_text(entry["image"]),
            port=int(entry["port"]),
            gpus=int(entry["gpus"]),
            min_gpu_memory_gib=int(entry["min_gpu_memory_gib"]),
            min_host_memory_gib=int(entry["min_host_memory_gib"]),
            disk_gib=int(entry["disk_gib"]),
            compute_capability=(int(major), int(minor)),
            needs_hf_token=bool(entry["needs_hf_token"]),
            model=None if entry["model"] is None else _text(entry["model"]),
            licences=tuple(_licence_line(item) for item in entry["licences"]),
        )
        if not _SLUG.fullmatch(node.slug):
            raise self._wrong(f"the node {node.name!r} has the slug {node.slug!r}, which is no name for a folder")
        for member in (node.compose, node.model):
            if member is not None and member not in self._members:
                raise self._wrong(f"the member {member!r} of {node.name} is missing")
        if node.image not in self.images:
            raise self._wrong(f"the image {node.image} of {node.name} is missing")
        return node

    # -- content --

    def size(self, name: str) -> int:
        """Return the size of a member in bytes."""
        return self._members[name].file_size

    @property
    def small_members(self) -> list[str]:
        """All members but layers and models."""
        models = {node.model for node in self.nodes.values()}
        return [name for name in self.all_members if not name.startswith(BLOBS) and name not in models]

    @property
    def all_members(self) -> list[str]:
        """All members that the manifest lists."""
        return [name for name in self._members if name != MANIFEST]

    def read(self, name: str) -> bytes:
        """Return a small member."""
        if name not in self._members:
            raise self._wrong(f"the member {name!r} is missing")
        if self._members[name].file_size > SMALL:
            raise self._wrong(f"the member {name!r} has {self._members[name].file_size} bytes, which is too much")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> t.Generator[bytes, None, None]:
        """Yield the content of a member. Raises PackageError in the end if it is not what the manifest says."""
        digest = hashlib.sha256()
        try:
            with self._archive.open(self._members[name]) as stream:
                for chunk in iter(lambda: stream.read(CHUNK), b""):
                    digest.update(chunk)
                    yield chunk
        except (OSError, *_NO_ZIP) as exc:
            raise self._wrong(f"the member {name!r} is damaged ({exc}); copy or build the package again") from exc
        if name == MANIFEST:
            return
        expected = {name[len(BLOBS) :]} if name.startswith(BLOBS) else set()
        if hasattr(self, "manifest"):
            expected.add(self.manifest["members"][name]["sha256"])
        if expected - {digest.hexdigest()}:
            raise self._wrong(f"the member {name!r} was changed: its sha256 is {digest.hexdigest()}")

    def verify(self, names: t.Iterable[str], tell: Tell) -> int:
        """Read members and compare them with the manifest; return how many bytes that were."""
        names = list(dict.fromkeys(names))
        progress = Progress("Verified", sum(map(self.size, names)), tell)
        models = {node.model for node in self.nodes.values()}
        for name in names:
            with contextlib.closing(self.chunks(name)) as stream:
                chunks = progress.through(stream)
                if name in models:
                    self._check_model(name, chunks)
                for _chunk in chunks:
                    pass
        return progress.done

    def _check_model(self, name: str, chunks: t.Iterator[bytes]) -> None:
        """Look at what a model cache would write: plain files, folders, and links that stay inside."""
        try:
            with tarfile.open(fileobj=ChunkReader.file(chunks), mode="r|") as tar:
                for entry in tar:
                    problem = tar_problem(entry)
                    if problem:
                        raise self._wrong(f"{entry.name!r} in the member {name!r} {problem}")
        except tarfile.TarError as exc:
            raise self._wrong(f"the member {name!r} is not a tar file ({exc})") from exc


def _member_problem(info: zipfile.ZipInfo) -> str | None:
    """Say what is wrong with a member of the ZIP file, if anything."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    path = info.orig_filename
    unsafe = path != info.filename or "\\" in path or path.startswith("/") or re.match(r"[A-Za-z]:", path)
    if unsafe or any(part in ("", ".", "..") for part in path.split("/")):
        return "has a path that leads out of the package or is no plain file"
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return "is compressed; packages only store"
    return None


def tar_problem(entry: tarfile.TarInfo) -> str | None:
    parts = pathlib.PurePosixPath(entry.name).parts
    if entry.name.startswith("/") or ".." in parts:
        return "leads out of the model cache"
    if entry.type not in _TAR_TYPES:
        return "is neither a file nor a folder nor a symbolic link"
    if entry.issym():
        depth = len(parts) - 1
        target = pathlib.PurePosixPath(entry.linkname)
        for part in target.parts:
            depth += -1 if part == ".." else 1
            if target.is_absolute() or depth < 0:
                return f"links to {entry.linkname!r}, out of the model cache"
    return None


def _is_member_entry(entry: t.Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("size"), int):
        return False
    return bool(_HEX.fullmatch(str(entry.get("sha256"))))


def _licence_line(entry: t.Mapping[str, t.Any]) -> str:
    """Return a licence as one line."""
    limits = " (NOT for commercial work without an agreement)" if entry["non_commercial"] else ""
    return f"{_text(entry['name'])}{limits} {entry['url']}".strip()


def _text(value: t.Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is no text")
    return value


def digest_of(digest: t.Any) -> str:
    """Return a sha256 digest without what stands before it. Raises ValueError for anything else."""
    kind, _colon, value = str(digest).partition(":")
    if kind != "sha256" or not _HEX.fullmatch(value):
        raise ValueError(f"{digest!r} is no sha256 digest")
    return value


class ChunkReader:
    """A file to read from, made of chunks, as tarfile wants it."""

    def __init__(self, chunks: t.Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    @classmethod
    def file(cls, chunks: t.Iterator[bytes]) -> t.IO[bytes]:
        """Return one, in the type that tarfile asks for."""
        return t.cast("t.IO[bytes]", cls(chunks))

    def read(self, size: int = CHUNK) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        pieces, wanted = [self._rest], size - len(self._rest)
        while wanted > 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            pieces.append(chunk)
            wanted -= len(chunk)
        data = b"".join(pieces)
        self._rest = data[size:]
        return data[:size]


class Progress:
    """Tells now and then how much is done."""

    def __init__(self, doing: str, total: int, tell: Tell, seconds: float = 5.0) -> None:
        self.doing, self.total, self.done = doing, total, 0
        self._tell, self._seconds = tell, seconds
        self._next = time.monotonic() + seconds

    def through(self, chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
        """Yield the chunks and count them."""
        for chunk in chunks:
            self.done += len(chunk)
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + self._seconds
                share = 100 * self.done // self.total if self.total else 100
                self._tell(f"{self.doing} {_gib(self.done)} of {_gib(self.total)} ({share} %)")
            yield chunk


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB // 10 else f"{size / 2**20:.1f} MiB"


# ---- Docker ----------------------------------------------------------------------------------------------------------


class Child(subprocess.Popen):
    """A program that is fed or read while it runs, and that is ended if the block around it fails.

    Images are larger than memory, and AnsibleModule.run_command keeps there all that it gives and takes.
    """

    def __exit__(self, kind: t.Any, value: t.Any, traceback: t.Any) -> None:
        """Leave the block. Waits until the program has ended."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)


def docker_program(command: str, environment: t.Mapping[str, str]) -> str:
    """Return the docker program. A session from afar may be older than Docker Desktop, and not have it in its PATH.

    Source for the folder: https://docs.docker.com/desktop/setup/install/windows-install/.
    """
    programs = environment.get("PROGRAMFILES", "")
    desktop = pathlib.Path(programs, "Docker", "Docker", "resources", "bin", "docker.exe")
    if command == "docker" and programs and shutil.which(command) is None and desktop.is_file():
        return str(desktop)
    return command


class Docker:
    """The docker command of this workstation."""

    def __init__(self, command: str = "docker", host: str | None = None) -> None:
        self._environment = dict(os.environ)
        self.command = docker_program(command, self._environment)
        if host:
            self._environment["DOCKER_HOST"] = host
            # A context of the user would win over the address.
            self._environment.pop("DOCKER_CONTEXT", None)

    def ask(
        self, doing: str, words: t.Sequence[str], seconds: float = _SECONDS, without: str | None = None
    ) -> tuple[int, str, str]:
        """Run a program and return its exit code and what it printed. It does not get variables like ``without``."""
        environment = self._environment
        if without is not None:
            environment = {key: value for key, value in environment.items() if not re.match(without, key)}
        try:
            with Child(
                list(words),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:
                out, err = process.communicate(timeout=seconds)
        except FileNotFoundError as exc:
            raise WorkstationError(f"{doing}: the program {words[0]} is not on this workstation") from exc
        except subprocess.TimeoutExpired as exc:
            raise InstallError(f"{doing}: {words[0]} gave no answer within {seconds:g} seconds") from exc
        except OSError as exc:
            raise WorkstationError(f"{doing}: {words[0]} cannot be run: {exc.strerror}") from exc
        return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def run(self, doing: str, *words: str) -> str:
        """Call docker and return what it printed."""
        code, out, err = self.ask(doing, (self.command, *words))
        if code:
            raise InstallError(f"{doing}: {_last_lines(err or out)}")
        return out

    def inspect(self, kind: str, names: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """Return the descriptions of those of the named objects that exist."""
        if not names:
            return []
        doing = f"look at {kind}s"
        code, out, err = self.ask(doing, (self.command, kind, "inspect", *names))
        if code and "no such" not in err.lower():
            raise InstallError(f"{doing}: {_last_lines(err)}")
        found: list[dict[str, t.Any]] = json.loads(out or "[]")
        return found

    def info(self) -> dict[str, t.Any]:
        """Return what the engine says of itself. Raises WorkstationError where there is none that would do."""
        doing = "ask the Docker engine about itself"
        code, out, err = self.ask(doing, (self.command, "info", "--format", "{{json .}}"))
        answer: dict[str, t.Any] = json.loads(out) if out.strip().startswith("{") else {}
        said = "; ".join(answer.get("ServerErrors") or []) or (_last_lines(err or out) if code else "")
        if said:
            advice = "log in as a member of the group docker" if "permission denied" in said else "start Docker"
            raise WorkstationError(f"{doing}: {said}. On this workstation: {advice}")
        if _version(str(answer.get("ServerVersion"))) < _OLDEST_ENGINE:
            raise WorkstationError(f"Docker Engine is {answer.get('ServerVersion')}; 20.10 or newer is needed")
        if answer.get("OSType", "linux") != "linux":
            raise WorkstationError("Docker runs Windows containers; switch Docker Desktop to Linux containers")
        return answer

    def compose(self) -> tuple[str, ...]:
        """Return the words that call Docker Compose: the plugin, or else the older program of its own."""
        found = []
        for words in ((self.command, "compose"), ("docker-compose",)):
            try:
                code, out, _err = self.ask("look for Docker Compose", (*words, "version", "--short"))
            except InstallError:
                continue
            if not code and _version(out) >= _OLDEST_COMPOSE:
                return words
            found += [f"{' '.join(words)} is {out.strip()}"] if not code and _version(out) else []
        there = f" ({'; '.join(found)})" if found else ""
        raise WorkstationError(
            f"Docker Compose 1.28 or newer is not on this workstation{there}. Install the package "
            "docker-compose-plugin of Docker, or docker-compose of the distribution"
        )

    def feed(self, doing: str, words: t.Sequence[str], write: t.Callable[[t.IO[bytes]], None]) -> str:
        """Call docker and let ``write`` write its input. If that raises, docker is ended before its input is whole."""
        try:
            process = Child(
                [self.command, *words],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as exc:
            raise WorkstationError(f"{doing}: {self.command} cannot be run: {exc.strerror}") from exc
        with process:
            said: list[bytes] = []
            reader = threading.Thread(target=lambda: said.append(_all_of(process.stdout)), daemon=True)
            reader.start()
            with contextlib.suppress(BrokenPipeError):
                if process.stdin is not None:
                    write(process.stdin)
                    process.stdin.close()
            code = process.wait()
            reader.join()
        text = b"".join(said).decode("utf-8", "replace")
        if code:
            advice = ". The disk is full" if "no space left" in text.lower() else ""
            raise InstallError(f"{doing}: {_last_lines(text)}{advice}")
        return text


def _all_of(stream: t.IO[bytes] | None) -> bytes:
    return stream.read() if stream is not None else b""


def _last_lines(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "--help" not in line]
    return "; ".join(lines[-3:]).rstrip(".") or "no reason was given"


def _version(text: str) -> tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else ()


# ---- what is asked for -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Options:
    """What one call asks. ``keys`` is secret: NGC_API_KEY and HF_TOKEN to their values."""

    package: pathlib.Path | None = None
    nodes: tuple[str, ...] = ()
    folder: pathlib.Path = dataclasses.field(default_factory=lambda: pathlib.Path.home() / FOLDER)
    manifest_sha256: str | None = None
    bind_address: str = "127.0.0.1"
    ports: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    keys: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    user: str = "1000"
    skip_fit_check: bool = False
    replace_running: bool = False
    keep_models: bool = False
    check: bool = False
    docker_command: str = "docker"
    docker_host: str | None = None

    def __post_init__(self) -> None:
        for name, key in self.keys.items():
            if not _PLAIN.fullmatch(key):
                raise UsageError(f"{name} is not a key: it has characters that no key has")
        if not re.fullmatch(r"[0-9A-Fa-f.:]+", self.bind_address):
            raise UsageError(f"bind_address is {self.bind_address!r}; it must be an IP address")
        if not re.fullmatch(r"[1-9]\d*", self.user):
            raise UsageError(f"user is {self.user!r}; it must be the number of a user other than root")


@dataclasses.dataclass
class Outcome:
    """What became of one node, or in check mode what would become of it."""

    node: str
    state: str
    reason: str = ""
    container: str | None = None
    port: int | None = None
    url: str | None = None
    image: str | None = None
    folder: str | None = None
    licences: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything on the workstation is another than before."""
        return self.state in (CREATED, UPDATED, REMOVED)

    def line(self) -> str:
        """Return this as one line for people."""
        where = f" {self.url}" if self.url else ""
        return f"{self.node}: {self.state}{where}{f' - {self.reason}' if self.reason else ''}"


@dataclasses.dataclass
class Report:
    """What became of all nodes."""

    nodes: list[Outcome] = dataclasses.field(default_factory=list)
    loaded: list[str] = dataclasses.field(default_factory=list)
    removed_images: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    verified_bytes: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything on the workstation is another than before."""
        return bool(self.loaded or self.removed_images) or any(item.changed for item in self.nodes)

    @property
    def code(self) -> int:
        """The exit code."""
        states = {item.state for item in self.nodes}
        return EXIT_FAILED if FAILED in states else EXIT_WORKSTATION if REFUSED in states else EXIT_OK

    def as_dict(self) -> dict[str, t.Any]:
        """Return this as JSON-like data."""
        return {
            "changed": self.changed,
            "nodes": [{**dataclasses.asdict(item), "licences": list(item.licences)} for item in self.nodes],
            "loaded_images": self.loaded,
            "removed_images": self.removed_images,
            "warnings": self.warnings,
            "verified_bytes": self.verified_bytes,
        }


@dataclasses.dataclass
class _Task:
    """What is to be done for one node. ``outcome`` already says what becomes of it if all goes well."""

    node: Node
    outcome: Outcome
    compose: bytes = b""
    env: str = ""
    fill_model: bool = False


# ---- install ---------------------------------------------------------------------------------------------------------


def install(options: Options, tell: Tell) -> Report:
    """Install nodes of a package: load their images, make their containers, and leave them stopped."""
    if options.package is None:
        raise UsageError("no package was named")
    with Package(options.package) as package:
        if options.manifest_sha256 not in (None, package.digest):
            raise PackageError(
                f"{package.path} is refused: the sha256 of its {MANIFEST} is {package.digest} and not "
                f"{options.manifest_sha256}, so it is another package. Nothing of it was used"
            )
        return _Installation(options, package, tell).run()


def verify(package: pathlib.Path, tell: Tell) -> int:
    """Read a whole package and compare it with its manifest; return the number of bytes. Raises PackageError."""
    with Package(package) as opened:
        return opened.verify(opened.all_members, tell)


class _Installation:
    """One call of :func:`install`."""

    def __init__(self, options: Options, package: Package, tell: Tell) -> None:
        self.options, self.package, self.tell = options, package, tell
        self.docker = Docker(options.docker_command, options.docker_host)
        self.report = Report()
        self.chosen = _choose(package, options.nodes)

    def run(self) -> Report:
        """Look at everything before anything is changed, then load and make."""
        engine = self.docker.info()
        self.compose = self.docker.compose()
        self.gpus = self._gpus()
        self.capabilities = self._capabilities()
        self.present = self._present_images()
        taken = self._taken_ports()
        tasks = [self._plan(node, engine, taken) for node in self.chosen]
        busy = [task for task in tasks if task.outcome.state in (CREATED, UPDATED)]
        missing = {task.node.image: self.package.images[task.node.image] for task in busy}
        missing = {name: image for name, image in missing.items() if name not in self.present}
        fills = [task.node.model for task in busy if task.fill_model and task.node.model]
        blobs = [BLOBS + digest for image in missing.values() for digest in image.blobs]
        self.report.verified_bytes = self.package.verify([*self.package.small_members, *blobs, *fills], self.tell)
        self._check_disk(engine, list(missing.values()), fills, busy)
        for image in missing.values():
            self._load(image, [task for task in busy if task.node.image == image.reference])
        for task in busy:
            self._carry_out(task)
        self.report.nodes = [task.outcome for task in tasks]
        return self.report

    # -- look --

    def _gpus(self) -> list[Gpu]:
        """Return the GPUs, the one with most memory first."""
        words = ("nvidia-smi", f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader,nounits")
        try:
            code, out, err = self.docker.ask("ask for the GPUs", words)
        except WorkstationError:
            code, out, err = 1, "", "nvidia-smi does not run on this workstation; install NVIDIA's driver"
        gpus = parse_gpus(out) if not code else ()
        if not gpus and not self.options.skip_fit_check:
            raise WorkstationError(f"no GPU was found: {_last_lines(err or out)}")
        return sorted(gpus, key=lambda gpu: (-gpu.memory_mib, gpu.index))

    def _capabilities(self) -> dict[str, tuple[int, ...]]:
        """Return GPU id to compute capability, as far as the driver tells it."""
        words = ("nvidia-smi", "--query-gpu=uuid,compute_cap", "--format=csv,noheader")
        try:
            code, out, _err = self.docker.ask("ask for the GPUs", words)
        except InstallError:
            return {}
        rows = [row.split(",") for row in out.splitlines()] if not code else []
        return {row[0].strip(): _version(row[1]) for row in rows if len(row) == 2}

    def _present_images(self) -> set[str]:
        """Return the images that need not be loaded: the engine has them under the package's name."""
        names = sorted({node.image for node in self.chosen})
        found = self.docker.inspect("image", names)
        return {
            name
            for name in names
            for info in found
            if info.get("Id") in self.package.images[name].ids and name in (info.get("RepoTags") or [])
        }

    def _taken_ports(self) -> dict[int, str]:
        """Return port to the container that has it, running or not."""
        ids = self.docker.run("list the containers", "ps", "--all", "--quiet", "--no-trunc").split()
        taken = {}
        for info in self.docker.inspect("container", ids):
            for entries in (info["HostConfig"].get("PortBindings") or {}).values():
                for entry in entries or []:
                    if str(entry.get("HostPort")).isdigit():
                        taken[int(entry["HostPort"])] = info["Name"].lstrip("/")
        return taken

    # -- decide --

    def _plan(self, node: Node, engine: t.Mapping[str, t.Any], taken: dict[int, str]) -> _Task:
        """Say what is to be done for a node."""
        folder = self.options.folder / node.slug
        record = _record(folder)
        outcome = Outcome(node.name, REFUSED, image=node.image, folder=str(folder), licences=node.licences)
        task = _Task(node, outcome)
        gpus = self.gpus[: node.gpus]
        outcome.reason = "" if self.options.skip_fit_check else self._misfit(node, gpus, engine)
        if outcome.reason:
            return task
        tier = label_of(gpus[0]) if gpus else "gpu"
        name = outcome.container = record.get("container") or f"nim-{node.slug}-{tier}"
        port = outcome.port = self._port(node, name, record, taken)
        taken[port] = name
        outcome.url = f"http://{_bracketed(self.options.bind_address)}:{port}"
        task.compose = self.package.read(node.compose)
        task.env = self._env(node, name, tier, gpus, port, task.compose, folder)
        self._compare(task, folder)
        return task

    def _misfit(self, node: Node, gpus: t.Sequence[Gpu], engine: t.Mapping[str, t.Any]) -> str:
        """Say why the workstation cannot run a node, or return nothing."""
        memory = sum(gpu.memory_mib for gpu in gpus) / 1024
        host = round(int(engine.get("MemTotal") or 0) / _GIB)
        if len(gpus) < node.gpus:
            return f"it needs {node.gpus} GPUs, and this workstation has {len(gpus)}"
        if memory < node.min_gpu_memory_gib:
            cards = ", ".join(map(str, gpus))
            return f"it needs {node.min_gpu_memory_gib} GiB of GPU memory, and {cards} offers {memory:.1f}"
        if host < node.min_host_memory_gib:
            return f"it needs {node.min_host_memory_gib} GiB of memory, and Docker has {host}"
        for gpu in gpus:
            has = self.capabilities.get(gpu.uuid)
            if has and has < node.compute_capability:
                wants = ".".join(map(str, node.compute_capability))
                return f"it needs compute capability {wants}, and {gpu} has {'.'.join(map(str, has))}"
        return ""

    def _port(self, node: Node, name: str, record: t.Mapping[str, t.Any], taken: t.Mapping[int, str]) -> int:
        """Return the port: the one that was asked for, else the one it has, else the first free from the package's."""
        asked = self.options.ports.get(node.name, self.options.ports.get(node.slug))
        if asked is not None:
            holder = taken.get(asked)
            if not 1024 <= asked <= 65535 or holder not in (None, name):
                why = f"the container {holder} has it" if holder else "it must be between 1024 and 65535"
                raise UsageError(f"the port {asked} for {node.name} cannot be: {why}")
            return asked
        kept = record.get("port")
        if isinstance(kept, int) and taken.get(kept, name) == name:
            return kept
        port = node.port
        while port in taken or not _is_free(self.options.bind_address, port):
            port += 1
        return port

    def _env(
        self, node: Node, name: str, tier: str, gpus: t.Sequence[Gpu], port: int, compose: bytes, folder: pathlib.Path
    ) -> str:
        """Return the file with the variables of the Compose file. It may hold keys."""
        values = {
            "COMPOSE_PROJECT_NAME": name,
            "NIM_NAME": name,
            "NIM_GPU_TIER": tier,
            "NIM_BIND_ADDRESS": _bracketed(self.options.bind_address),
            "NIM_PORT": str(port),
            "NIM_USER": self.options.user,
            **{f"NIM_GPU_{number}": gpu.uuid for number, gpu in enumerate(gpus)},
        }
        image = self.package.images[node.image]
        content = json.dumps([values, image.config, hashlib.sha256(compose).hexdigest()], sort_keys=True)
        values["NIM_SPEC_HASH"] = hashlib.sha256(content.encode()).hexdigest()[:16]
        old = _env_values(folder)
        wanted = KEYS if node.needs_hf_token else KEYS[:1]
        keys = {key: self.options.keys.get(key) or old.get(key, "") for key in wanted}
        values.update({key: value for key, value in keys.items() if value})
        lines = [
            "# Made by install.py; it is made anew by the next installation. It may hold keys: keep it to yourself."
        ]
        return "\n".join([*lines, *(f"{key}={value}" for key, value in values.items()), ""])

    def _compare(self, task: _Task, folder: pathlib.Path) -> None:
        """Put into the outcome what has to be done, and why."""
        outcome, node = task.outcome, task.node
        name = str(outcome.container)
        found = next(iter(self.docker.inspect("container", [name])), None)
        labels = (found["Config"].get("Labels") or {}) if found else {}
        if found and labels.get(MANAGED_LABEL) != "true":
            outcome.reason = f"there is a container {name} that was not made by this collection; rename or remove it"
            return
        task.fill_model = bool(node.model) and not (found and self._has_model(node, name))
        reasons = self._reasons(task, found, labels, folder)
        if not reasons:
            outcome.state = UNCHANGED
            return
        if found and found["State"].get("Running") and not self.options.replace_running:
            way_out = f"stop it first (docker stop {name}), or allow that running ones are replaced"
            outcome.reason = f"{reasons[0]}, but it runs; {way_out}"
            return
        outcome.state, outcome.reason = (UPDATED if found else CREATED), "; ".join(reasons)

    def _reasons(
        self, task: _Task, found: t.Mapping[str, t.Any] | None, labels: t.Mapping[str, str], folder: pathlib.Path
    ) -> list[str]:
        image = self.package.images[task.node.image]
        spec = re.search(r"^NIM_SPEC_HASH=(.*)$", task.env, re.MULTILINE)
        checks = (
            (found is None, "it is not installed"),
            (image.reference not in self.present, "its image is not there"),
            (found and found["Image"] not in image.ids, "its container has another image"),
            (found and (not spec or labels.get(SPEC_LABEL) != spec.group(1)), "its container is set up differently"),
            (_read(folder / COMPOSE) != task.compose, f"{COMPOSE} differs"),
            (_read(folder / ENV) != task.env.encode(), f"{ENV} differs"),
            (task.fill_model, "its model is not in the cache yet"),
        )
        reasons = [text for is_so, text in checks if is_so]
        return reasons[:1] if found is None else reasons

    def _has_model(self, node: Node, name: str) -> bool:
        """Say whether the package's model is in a container's cache, whole: a small file is put there after it."""
        words = (self.docker.command, "cp", f"{name}:{CACHE}/{MODEL_MARK}", "-")
        code, out, _err = self.docker.ask(f"look into the cache of {name}", words)
        return not code and self._model_digest(node) in out

    def _model_digest(self, node: Node) -> str:
        return str(self.package.manifest["members"][node.model]["sha256"])

    def _check_disk(
        self,
        engine: t.Mapping[str, t.Any],
        images: t.Sequence[Image],
        fills: t.Sequence[str],
        busy: t.Sequence[_Task],
    ) -> None:
        """Refuse what the disk has no room for: images unpacked, the largest once more while it loads, and models."""
        if not images and not fills:
            return
        root = pathlib.Path(str(engine.get("DockerRootDir") or "/"))
        try:
            free = shutil.disk_usage(root).free
        except OSError:
            self.report.warnings.append("the free disk space of Docker cannot be seen from here")
            return
        loading = max((image.stored for image in images), default=0)
        needed = sum(image.unpacked for image in images) + loading + sum(map(self.package.size, fills))
        if needed > free:
            raise WorkstationError(
                f"{root} has {_gib(free)} free, and {_gib(needed)} are needed to load what is missing. "
                "Nothing was loaded"
            )
        later = sum(task.node.disk_gib for task in busy if not task.node.model) * _GIB
        if later > free:
            self.report.warnings.append(
                f"{root} has {_gib(free)} free; with the models that they download, the NIMs may take {_gib(later)}"
            )

    # -- change --

    def _load(self, image: Image, tasks: t.Sequence[_Task]) -> None:
        """Load an image, or say at its nodes why that failed."""
        self.report.loaded.append(image.reference)
        if self.options.check:
            return
        self.tell(f"Loading {image.reference} ({_gib(image.stored)})")
        try:
            self._feed_image(image)
        except PackageError:
            raise
        except InstallError as exc:
            self.report.loaded.remove(image.reference)
            for task in tasks:
                task.outcome.state, task.outcome.reason = FAILED, str(exc)

    def _feed_image(self, image: Image) -> None:
        doing = f"load {image.reference}"
        self.docker.feed(doing, ("load", "--quiet"), lambda pipe: self._write_image(image, pipe))
        found = self.docker.inspect("image", [image.reference])
        if not found or found[0].get("Id") not in image.ids:
            has = found[0].get("Id") if found else "no such image"
            raise InstallError(f"{doing}: the engine has {has} afterwards, and not the package's image")

    def _write_image(self, image: Image, pipe: t.IO[bytes]) -> None:
        """Write an image as the tar file that engines of all versions load."""
        progress = Progress(f"Loaded of {image.reference}", image.stored, self.tell)
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, data in layout_files([image]).items():
                _add(tar, name, len(data), iter([data]))
            for digest in image.blobs:
                name = BLOBS + digest
                chunks = progress.through(self.package.chunks(name))
                _add(tar, name[len(IMAGES) :], self.package.size(name), chunks)

    def _carry_out(self, task: _Task) -> None:
        """Write a node's folder and make its container."""
        if self.options.check or task.outcome.state == FAILED:
            return
        self.tell(f"Installing {task.node.name}")
        folder = self.options.folder / task.node.slug
        name = str(task.outcome.container)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            record: dict[str, t.Any] = {
                "node": task.node.name,
                "container": name,
                "port": task.outcome.port,
                "image": task.node.image,
            }
            _write(folder / RECORD, json.dumps(record, indent=2).encode())
            _write(folder / COMPOSE, task.compose)
            _write(folder / ENV, task.env.encode())
            _write(folder / MODEL_LICENCES, self.package.read(MODEL_LICENCES))
            self._create(name, folder)
            # A container that is new may still have got an old volume.
            self._fill(task.node, name, task.fill_model and not self._has_model(task.node, name))
        except PackageError:
            raise
        except OSError as exc:
            task.outcome.state, task.outcome.reason = FAILED, f"write {exc.filename or folder}: {exc.strerror}"
        except InstallError as exc:
            task.outcome.state, task.outcome.reason = FAILED, str(exc)

    def _create(self, name: str, folder: pathlib.Path) -> None:
        if self.docker.inspect("container", [name]):
            self.docker.run(f"remove the container {name}", "rm", "--force", name)
        doing = f"create the container {name}"
        words = (*self.compose, "-f", str(folder / COMPOSE), "--project-directory", str(folder))
        # The file is named, because older programs look for it in the working folder and not in the project's. What
        # this program was started with would win over the file.
        words = (*words, "--env-file", str(folder / ENV), "up", "--no-start")
        code, out, err = self.docker.ask(doing, words, without=r"(NIM|COMPOSE)_|NGC_API_KEY$|HF_TOKEN$")
        if code:
            raise InstallError(f"{doing}: {_last_lines(err or out)}")

    def _fill(self, node: Node, name: str, with_model: bool) -> None:
        """Give the cache to the NIM's user, and put the model into it. Nothing runs for that."""
        owner = int(self.options.user)

        def write(pipe: t.IO[bytes]) -> None:
            with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                entry = tarfile.TarInfo(pathlib.PurePosixPath(CACHE).name)
                entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o775, owner, 0
                tar.addfile(entry)
                if with_model and node.model:
                    self._copy_model(node, owner, tar)

        parent = str(pathlib.PurePosixPath(CACHE).parent)
        self.docker.feed(f"fill the cache of {name}", ("cp", "-", f"{name}:{parent}"), write)

    def _copy_model(self, node: Node, owner: int, tar: tarfile.TarFile) -> None:
        """Write the model's files into a tar stream, as the NIM's user has them."""
        member = str(node.model)
        progress = Progress(f"Copied of the model of {node.name}", self.package.size(member), self.tell)
        chunks = progress.through(self.package.chunks(member))
        base = pathlib.PurePosixPath(CACHE).name
        with tarfile.open(fileobj=ChunkReader.file(chunks), mode="r|") as source:
            for entry in source:
                problem = tar_problem(entry)
                if problem:
                    raise PackageError(f"{entry.name!r} in the member {member!r} {problem}")
                content = source.extractfile(entry) if entry.isreg() else None
                entry.name = f"{base}/{entry.name}"
                entry.uid, entry.gid, entry.uname, entry.gname = owner, 0, "", ""
                entry.pax_headers = {}
                tar.addfile(entry, content)
        for _rest in chunks:
            pass
        mark = self._model_digest(node).encode()
        _add(tar, f"{base}/{MODEL_MARK}", len(mark), iter([mark]))


def _choose(package: Package, names: t.Sequence[str]) -> list[Node]:
    """Return the nodes that are asked for by name or slug; all of them if none is named."""
    if not names:
        return list(package.nodes.values())
    known = {key: node for node in package.nodes.values() for key in (node.name.lower(), node.slug)}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        there = ", ".join(package.nodes)
        raise UsageError(f"{package.path} has no node {', '.join(map(repr, unknown))}; it has {there}")
    return list({known[name.lower()].name: known[name.lower()] for name in names}.values())


def layout_files(images: t.Sequence[Image]) -> dict[str, bytes]:
    """Return the small files that make a folder of blobs an image layout, for OCI's tools and for docker load.

    Sources: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md, and image/tarexport/load.go of
    Docker Engine 20.10, which reads manifest.json only and takes layers from the paths that it names.
    """
    entries = [
        {
            "mediaType": image.media_type,
            "digest": f"sha256:{image.manifest}",
            "size": image.size,
            "annotations": {
                "io.containerd.image.name": image.reference,
                "org.opencontainers.image.ref.name": image.reference,
            },
        }
        for image in images
    ]
    archive = [
        {
            "Config": f"blobs/sha256/{image.config}",
            "RepoTags": [image.reference],
            "Layers": [f"blobs/sha256/{layer}" for layer in image.layers],
        }
        for image in images
    ]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    }
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index, indent=1).encode(),
        "manifest.json": json.dumps(archive, indent=1).encode(),
    }


def _add(tar: tarfile.TarFile, name: str, size: int, chunks: t.Iterator[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    tar.addfile(entry, ChunkReader.file(chunks))
    # The digest is compared when the chunks come to their end.
    for _rest in chunks:
        pass


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_free(address: str, port: int) -> bool:
    """Say whether nothing listens at the port."""
    if port > 65535:
        raise WorkstationError("there is no free port")
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _read(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WorkstationError(f"{path} cannot be read: {exc.strerror}") from exc


def _record(folder: pathlib.Path) -> dict[str, t.Any]:
    """Return what the last installation has written down about a node; nothing if there is nothing to read."""
    try:
        record = json.loads(_read(folder / RECORD) or b"{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _env_values(folder: pathlib.Path) -> dict[str, str]:
    lines = (_read(folder / ENV) or b"").decode("utf-8", "replace").splitlines()
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {key: value for key, _sign, value in pairs}


def _write(path: pathlib.Path, content: bytes) -> None:
    """Write a file that nobody else can read, all at once."""
    if _read(path) == content:
        return
    temporary = path.with_name(f"{path.name}.new")
    if temporary.exists():
        temporary.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)


# ---- uninstall and list ----------------------------------------------------------------------------------------------


def installed(folder: pathlib.Path) -> dict[str, dict[str, t.Any]]:
    """Return slug to record of all nodes that are installed."""
    found = {}
    for path in sorted(folder.glob(f"*/{RECORD}")):
        record = _record(path.parent)
        if record.get("container") and record.get("node"):
            found[path.parent.name] = record
    return found


def uninstall(options: Options, tell: Tell) -> Report:
    """Remove nodes: container, model, folder, and images that no other node uses. Needs no package."""
    docker = Docker(options.docker_command, options.docker_host)
    docker.info()
    there = installed(options.folder)
    names = {key: slug for slug, record in there.items() for key in (slug, str(record["node"]).lower())}
    asked = [names.get(name.lower()) for name in options.nodes] if options.nodes else list(there)
    report = Report()
    for name in options.nodes:
        if name.lower() not in names:
            report.nodes.append(Outcome(name, UNCHANGED, "it is not installed"))
    slugs = [slug for slug in dict.fromkeys(asked) if slug is not None]
    for slug in slugs:
        report.nodes.append(_remove(docker, options, slug, there[slug], tell))
    gone = {item.folder for item in report.nodes if item.state == REMOVED}
    left = {str(item["image"]) for slug, item in there.items() if str(options.folder / slug) not in gone}
    for image in sorted({str(there[slug]["image"]) for slug in slugs} - left):
        if options.check or _remove_image(docker, image):
            report.removed_images.append(image)
    return report


def _remove(docker: Docker, options: Options, slug: str, record: t.Mapping[str, t.Any], tell: Tell) -> Outcome:
    name, folder = str(record["container"]), options.folder / slug
    outcome = Outcome(str(record["node"]), REMOVED, container=name, folder=str(folder))
    try:
        found = _own_container(docker, name)
        if options.check:
            return outcome
        tell(f"Removing {outcome.node}")
        if found:
            docker.run(f"stop the container {name}", "stop", "--time=60", name)
            docker.run(f"remove the container {name}", "rm", "--force", name)
        if not options.keep_models and docker.inspect("volume", [f"{name}-cache"]):
            docker.run(f"remove the volume {name}-cache", "volume", "rm", f"{name}-cache")
        for file in (COMPOSE, ENV, MODEL_LICENCES, RECORD):
            with contextlib.suppress(FileNotFoundError):
                (folder / file).unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()
    except InstallError as exc:
        outcome.state, outcome.reason = FAILED, str(exc)
    except OSError as exc:
        outcome.state, outcome.reason = FAILED, f"remove {exc.filename}: {exc.strerror}"
    return outcome


def containers(docker: Docker) -> list[dict[str, t.Any]]:
    """Return Docker's descriptions of the containers that this collection made, without what may be secret in them."""
    docker.info()
    ids = docker.run("list the containers", "ps", "--all", "--quiet", "--no-trunc", "--filter", _MANAGED).split()
    return [_described(info) for info in docker.inspect("container", ids)]


def _described(info: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what tells how a container is. Its variables, with the keys among them, are left out."""
    config, host = info["Config"], info["HostConfig"]
    return {
        **{name: info.get(name) for name in ("Name", "Created", "RestartCount")},
        "State": {name: value for name, value in info["State"].items() if name != "Health"},
        "Health": (info["State"].get("Health") or {}).get("Status"),
        "Config": {"Labels": config.get("Labels") or {}},
        "HostConfig": {name: host.get(name) for name in ("PortBindings", "RestartPolicy")},
    }


def _own_container(docker: Docker, name: str) -> bool:
    """Say whether there is the container. Raises InstallError for one that was not made by this collection."""
    found = docker.inspect("container", [name])
    if found and (found[0]["Config"].get("Labels") or {}).get(MANAGED_LABEL) != "true":
        raise InstallError(f"the container {name} was not made by this collection; it is left alone")
    return bool(found)


def _remove_image(docker: Docker, image: str) -> bool:
    """Give the disk space back; return False for an image that something else uses, or that is not there."""
    code, _out, err = docker.ask(f"remove the image {image}", (docker.command, "image", "rm", image))
    if code and not any(mark in err for mark in ("No such image", "being used by", "is using its referenced")):
        raise InstallError(f"remove the image {image}: {_last_lines(err)}")
    return not code


# ---- the program -----------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the report as one line of JSON")
    engine = argparse.ArgumentParser(add_help=False, parents=[shared])
    engine.add_argument("--docker-host", default=None, help="address of the Docker engine")
    engine.add_argument("--docker-command", default="docker", help="the docker program")
    nodes = argparse.ArgumentParser(add_help=False, parents=[engine])
    nodes.add_argument("--nodes", nargs="+", default=[], metavar="NODE", help="which nodes; without it, all")
    nodes.add_argument("--folder", type=pathlib.Path, default=None, help=f"default: ~/{FOLDER}")
    nodes.add_argument("--check", action="store_true", help="only say what would be done")
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument("--package", type=pathlib.Path, help="the ZIP file; default: the only one beside this program")
    top = argparse.ArgumentParser(
        description="Install NVIDIA NIM containers from a package. Nothing is started.",
        epilog="Exit codes: 0 done, 1 failed on the way, 2 wrong options, 3 the package is refused, "
        "4 the workstation does not meet what is needed.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    one = verbs.add_parser("install", parents=[nodes, source], help="load images, make containers, leave them stopped")
    one.add_argument("--bind-address", default="127.0.0.1", help="where the NIMs listen (default: %(default)s)")
    one.add_argument("--port", action="append", default=[], metavar="NODE=PORT", help="a port of your choice")
    one.add_argument("--user", default="1000", help="number of the user that NIMs run as (default: %(default)s)")
    one.add_argument("--manifest-sha256", help="refuse any other package than the one with this manifest")
    one.add_argument("--skip-fit-check", action="store_true", help="do not compare GPU and memory with what is needed")
    one.add_argument("--replace-running", action="store_true", help="replace containers that run; they stay stopped")
    gone = verbs.add_parser("uninstall", parents=[nodes], help="remove nodes; needs no package")
    gone.add_argument("--keep-models", action="store_true", help="keep the volumes with the models")
    verbs.add_parser("verify", parents=[shared, source], help="read the whole package and compare it with its manifest")
    verbs.add_parser("list", parents=[engine], help="say which NIMs there are on this workstation, and how they are")
    show = verbs.add_parser("show", parents=[shared, source], help="say what is in the package, with its licences")
    show.set_defaults(nodes=[])
    return top


def main(words: t.Sequence[str] | None = None) -> int:
    """Run the program."""
    arguments = parser().parse_args(words)
    tell = _teller(quiet=arguments.json)
    try:
        answer = _VERBS[arguments.verb](arguments, tell)
    except InstallError as exc:
        answer = _Answer({"changed": False, "failed": True, "msg": str(exc)}, [f"ERROR: {exc}"], exc.code)
    if arguments.json:
        sys.stdout.write(json.dumps({**answer.data, "exit_code": answer.code}) + "\n")
    else:
        (sys.stderr if answer.code else sys.stdout).write("\n".join(answer.lines) + "\n")
    return answer.code


class _Answer(t.NamedTuple):
    """What a verb leaves: the report for programs, the same for people, and the exit code."""

    data: dict[str, t.Any]
    lines: list[str]
    code: int


def _run_install(arguments: argparse.Namespace, tell: Tell) -> _Answer:
    options = dataclasses.replace(
        _options(arguments),
        package=_package_path(arguments),
        bind_address=arguments.bind_address,
        ports=dict(map(_port_option, arguments.port)),
        keys={key: os.environ[key].strip() for key in KEYS if os.environ.get(key, "").strip()},
        user=arguments.user,
        manifest_sha256=arguments.manifest_sha256,
        skip_fit_check=arguments.skip_fit_check,
        replace_running=arguments.replace_running,
    )
    return _told(install(options, tell))


def _run_uninstall(arguments: argparse.Namespace, tell: Tell) -> _Answer:
    return _told(uninstall(dataclasses.replace(_options(arguments), keep_models=arguments.keep_models), tell))


def _run_verify(arguments: argparse.Namespace, tell: Tell) -> _Answer:
    path = _package_path(arguments)
    size = verify(path, tell)
    line = f"{path} is whole: {_gib(size)} read and compared."
    return _Answer({"changed": False, "verified_bytes": size}, [line], EXIT_OK)


def _run_show(arguments: argparse.Namespace, _tell: Tell) -> _Answer:
    with Package(_package_path(arguments)) as package:
        lines = [f"{package.path}: made {package.manifest.get('created_at')}, manifest sha256 {package.digest}"]
        lines += [
            f"image {image.reference}: {_gib(image.stored)}, unpacked about {_gib(image.unpacked)}"
            for image in package.images.values()
        ]
        for node in package.nodes.values():
            model = "with its model" if node.model else "downloads its model at the first start, which needs a key"
            lines.append(f"node {node.name}: {node.min_gpu_memory_gib} GiB of GPU memory, {model}")
            lines += [f"  licence {text}" for text in node.licences]
        data = {"changed": False, "manifest_sha256": package.digest, "manifest": package.manifest}
        return _Answer(data, lines, EXIT_OK)


def _run_list(arguments: argparse.Namespace, _tell: Tell) -> _Answer:
    found = containers(Docker(arguments.docker_command, arguments.docker_host))
    lines = [f"{info['Name'].lstrip('/')}: {_condition(info)}" for info in found]
    return _Answer({"changed": False, "containers": found}, lines or ["Nothing is installed."], EXIT_OK)


def _condition(info: t.Mapping[str, t.Any]) -> str:
    """Return how a container is, and where it listens, as people read it."""
    bound = [
        f"{one['HostIp']}:{one['HostPort']}"
        for all_of in (info["HostConfig"]["PortBindings"] or {}).values()
        for one in all_of
    ]
    health = f" ({info['Health']})" if info["Health"] and info["State"].get("Running") else ""
    return f"{info['State'].get('Status')}{health}, at {', '.join(bound) or 'no port'}"


_VERBS: t.Mapping[str, t.Callable[[argparse.Namespace, Tell], _Answer]] = {
    "install": _run_install,
    "uninstall": _run_uninstall,
    "list": _run_list,
    "verify": _run_verify,
    "show": _run_show,
}


def _told(report: Report) -> _Answer:
    lines = [item.line() for item in report.nodes] + [f"WARNING: {text}" for text in report.warnings]
    if any(item.state in (CREATED, UPDATED) and item.url for item in report.nodes):
        lines.append("Nothing runs yet. Start a NIM with: docker start NAME")
        lines += [f"  docker start {item.container}" for item in report.nodes if item.container and item.url]
        licences = {text for item in report.nodes for text in item.licences}
        lines += ["By starting them you accept these licences:", *(f"  {text}" for text in sorted(licences))]
    return _Answer(report.as_dict(), lines or ["Nothing is installed."], report.code)


def _options(arguments: argparse.Namespace) -> Options:
    given = {} if arguments.folder is None else {"folder": arguments.folder.expanduser().absolute()}
    return Options(
        nodes=tuple(arguments.nodes),
        check=arguments.check,
        docker_command=arguments.docker_command,
        docker_host=arguments.docker_host,
        **given,
    )


def _package_path(arguments: argparse.Namespace) -> pathlib.Path:
    if arguments.package is not None:
        return t.cast("pathlib.Path", arguments.package)
    here = pathlib.Path(__file__).resolve().parent
    found = sorted(here.glob("*.zip"))
    if len(found) != 1:
        raise UsageError(f"{here} has {len(found)} ZIP files; say which one with --package")
    return found[0]


def _port_option(text: str) -> tuple[str, int]:
    node, _sign, port = text.rpartition("=")
    if not node or not port.isdigit():
        raise UsageError(f"--port {text!r} must be a node and a port, such as 'FLUX Dev=8010'")
    return node, int(port)


def _teller(quiet: bool) -> Tell:
    def tell(text: str) -> None:
        if not quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    return tell


if __name__ == "__main__":
    raise SystemExit(main())
