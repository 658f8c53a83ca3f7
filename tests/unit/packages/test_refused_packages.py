# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages that were cut off, damaged or made with bad intentions are refused, with a sentence that says why."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
import typing as t
import warnings
import zipfile
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer as installer
from tests.unit.packages import made
from tests.unit.packages.made import Member

LAYER = re.compile(r"images/blobs/sha256/[0-9a-f]{64}")


def refusal(path: Path) -> str:
    """Return why a package is refused by all that is done before anything is loaded."""
    with pytest.raises(installer.PackageError) as caught:
        installer.verify(path, lambda _text: None)
    assert caught.value.code == 3
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made.package(tmp_path / "nims.zip")
    return tmp_path / "nims.zip"


def test_a_good_one(path: Path) -> None:
    assert installer.verify(path, lambda _text: None) > 1000


@pytest.mark.parametrize("kept", [0, 10, 1000, -200, -1])
def test_cut_off(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert "is not a whole package" in refusal(path)
    assert "Was it copied completely?" in refusal(path)


def test_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.zip").endswith("no.zip cannot be read: No such file or directory")


def test_every_byte_counts(path: Path) -> None:
    """Whatever single byte of a member's content is changed, the package is refused."""
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    for info in infos:
        spoilt = bytearray(good)
        head = (
            30 + len(info.filename) + int.from_bytes(good[info.header_offset + 28 : info.header_offset + 30], "little")
        )
        spoilt[info.header_offset + head + info.file_size // 2] ^= 1
        path.write_bytes(bytes(spoilt))
        assert info.filename in refusal(path)


def test_changed_with_a_new_checksum(path: Path) -> None:
    """Somebody has changed a layer and the ZIP file's own checksum with it."""
    content = made.members(path)
    layer = next(item for item in content if LAYER.fullmatch(item.info.filename) and len(item.data) > 50)
    layer.data = bytes([layer.data[0] ^ 1]) + layer.data[1:]
    made.write(path, content)
    assert re.search(r"the member 'images/blobs/sha256/\w+' was changed: its sha256 is", refusal(path))
    made.write(path, content, honest=True)
    assert "was changed: its sha256 is" in refusal(path), "the name of a layer is its digest"


def test_any_byte_anywhere(path: Path) -> None:
    """Also in what holds a ZIP file together a changed byte gives a refusal or changes nothing."""
    good = path.read_bytes()
    chosen = random.Random(3)
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    places = [*range(directory, len(good), 29), *(chosen.randrange(len(good)) for _number in range(30))]
    refused = 0
    for place in places:
        spoilt = bytearray(good)
        spoilt[place] ^= chosen.randrange(1, 256)
        path.write_bytes(bytes(spoilt))
        try:
            installer.verify(path, lambda _text: None)
        except installer.PackageError:
            refused += 1
    assert refused > len(places) // 2


def added(name: str, mode: int = 0o100644, **changes: t.Any) -> t.Callable[[list[Member]], None]:
    def spoil(content: list[Member]) -> None:
        extra = made.member(name, b"x" * 100, mode)
        for key, value in changes.items():
            setattr(extra.info, key, value)
        content.append(extra)

    return spoil


def removed(pattern: str) -> t.Callable[[list[Member]], None]:
    def spoil(content: list[Member]) -> None:
        content.remove(next(item for item in content if re.fullmatch(pattern, item.info.filename)))

    return spoil


def manifest(**changes: t.Any) -> t.Callable[[list[Member]], None]:
    def spoil(content: list[Member]) -> None:
        item = next(item for item in content if item.info.filename == "manifest.json")
        item.data = json.dumps({**json.loads(item.data), **changes}).encode()

    return spoil


def node(**changes: t.Any) -> t.Callable[[list[Member]], None]:
    def spoil(content: list[Member]) -> None:
        item = next(item for item in content if item.info.filename == "manifest.json")
        parsed = json.loads(item.data)
        parsed["nodes"][0].update(changes)
        item.data = json.dumps(parsed).encode()

    return spoil


def garbled(content: list[Member]) -> None:
    next(item for item in content if item.info.filename == "manifest.json").data = b"{"


def twice(content: list[Member]) -> None:
    content.append(made.member("install.py", b"import os"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (added("../../.bashrc"), "the member '../../.bashrc' has a path that leads out of the package"),
        (added("/etc/cron.d/x"), "the member '/etc/cron.d/x' has a path that leads out of the package"),
        (added("nodes/../../x"), "has a path that leads out of the package"),
        (added("C:/Windows/x"), "the member 'C:/Windows/x' has a path that leads out of the package"),
        (added("nodes\\..\\x"), "has a path that leads out of the package or is no plain file"),
        (added("folder/"), "or is no plain file"),
        (added("link", 0o120777), "the member 'link' is a link or a device"),
        (added("pipe", 0o010644), "the member 'pipe' is a link or a device"),
        (added("bomb", compress_type=zipfile.ZIP_DEFLATED), "the member 'bomb' is compressed; packages only store"),
        (added("more"), "the member 'more' does not stand in manifest.json"),
        (twice, "the member 'install.py' is there twice"),
        (removed("install.py"), "the member 'install.py' is missing"),
        (removed("manifest.json"), "the member 'manifest.json' is missing"),
        (removed(LAYER.pattern), "is missing"),
        (removed("nodes/flux-dev/compose.yaml"), "the member 'nodes/flux-dev/compose.yaml' is missing"),
        (garbled, "manifest.json is not JSON"),
        (manifest(format="zip"), "does not say that it is a budgetguard-nim-package"),
        (manifest(version=2), "its format has version 2, and this program reads version 1"),
        (manifest(members={"install.py": {"size": 1}}), "has no list of members with sizes and sha256"),
        (manifest(members=[]), "has no list of members with sizes and sha256"),
        (manifest(nodes={}), "has no list nodes"),
        (manifest(images=[{"reference": "x"}]), "images[0] in manifest.json is wrong"),
        (node(slug="../../x"), "the slug '../../x', which is no name for a folder"),
        (node(port="eighty"), "nodes[0] in manifest.json is wrong"),
        (node(image="other:1"), "the image other:1 of FLUX Dev is missing"),
        (node(model="install.py2"), "the member 'install.py2' of FLUX Dev is missing"),
    ],
)
def test_spoilt(path: Path, spoil: t.Callable[[list[Member]], None], told: str) -> None:
    content = made.members(path)
    spoil(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        made.write(path, content)
    assert told in refusal(path)
    assert refusal(path).startswith(f"{path} is refused: ")


def test_an_honest_package_without_a_layer(path: Path) -> None:
    content = made.members(path)
    removed(LAYER.pattern)(content)
    made.write(path, content, honest=True)
    assert re.search(
        r"sha256:\w+ of nvcr.io/\S+ is missing|the member 'images/blobs/sha256/\w+' is missing", refusal(path)
    )


def test_members_that_overlap(path: Path) -> None:
    """Two entries of the directory that stand for the same bytes: how small files become large."""
    content = made.members(path)
    content.append(made.member("twin", content[0].data))
    made.write(path, content, honest=True)
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        twin, first = archive.getinfo("twin"), archive.infolist()[0]
    place = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"twin"))
    raw[place + 42 : place + 46] = first.header_offset.to_bytes(4, "little")
    assert twin.header_offset
    path.write_bytes(bytes(raw))
    assert "overlaps another one" in refusal(path)


def test_encrypted(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    place = raw.index(b"PK\x01\x02")
    raw[place + 8] |= 1
    path.write_bytes(bytes(raw))
    assert "is encrypted" in refusal(path)


def model_tar(*entries: tuple[str, bytes, str]) -> bytes:
    """Return a tar file of entries with a name, a type and what it links to."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
    return content.getvalue()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (("../../etc/passwd", tarfile.REGTYPE, ""), "leads out of the model cache"),
        (("/etc/passwd", tarfile.REGTYPE, ""), "leads out of the model cache"),
        (("a/link", tarfile.SYMTYPE, "../../x"), "links to '../../x', out of the model cache"),
        (("link", tarfile.SYMTYPE, "/etc"), "links to '/etc', out of the model cache"),
        (("link", tarfile.LNKTYPE, "weights"), "is neither a file nor a folder nor a symbolic link"),
        (("device", tarfile.BLKTYPE, ""), "is neither a file nor a folder nor a symbolic link"),
    ],
)
def test_model_that_would_write_elsewhere(tmp_path: Path, entry: tuple[str, bytes, str], told: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"w" * 1000)
    path = tmp_path / "nims.zip"
    made.package(path, tmp_path / "model")
    content = made.members(path)
    model = next(item for item in content if item.info.filename == "models/flux-dev.tar")
    model.data = model_tar(("weights", tarfile.REGTYPE, ""), entry)
    made.write(path, content, honest=True)
    assert told in refusal(path)


def test_another_package_than_the_one_that_was_built(path: Path) -> None:
    options = installer.Options(package=path, manifest_sha256="0" * 64)
    with pytest.raises(installer.PackageError) as caught:
        installer.install(options, lambda _text: None)
    assert f"and not {'0' * 64}, so it is another package. Nothing of it was used" in str(caught.value)


def test_the_program_says_it_and_its_exit_code(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert installer.main(["verify", "--package", str(path)]) == 0
    assert "is whole" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:-10])
    assert installer.main(["install", "--package", str(path)]) == 3
    assert capsys.readouterr().err.startswith(f"ERROR: {path} is not a whole package")
    assert installer.main(["show", "--package", str(path), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["failed"], said["exit_code"], said["changed"]) == (True, 3, False)
