# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docker save streams, in the form of each generation of engines: before 25, since 25, and with containerd."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import typing as t
import zipfile

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_build as build
from ansible_collections.budgetguard.techops.plugins.module_utils._package_sources import SavedImage
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from tests.unit.packages import made

BASE, MIDDLE = random.Random(1).randbytes(1_500_000), b"middle " * 20
TOP = random.Random(2).randbytes(2_000_000)


def config(*layers: bytes, name: str = "image") -> bytes:
    diff_ids = [made.sha(layer) for layer in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "name": name, "rootfs": {"diff_ids": diff_ids}}).encode()


def stream(files: t.Mapping[str, bytes], links: t.Mapping[str, str] | None = None) -> io.BytesIO:
    """Return a tar file in the order of docker save, which is that of the names."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in sorted({*files, *(links or {})}):
            entry = tarfile.TarInfo(name)
            if links and name in links:
                entry.type, entry.linkname = tarfile.SYMTYPE, links[name]
                tar.addfile(entry)
            else:
                entry.size = len(files[name])
                tar.addfile(entry, io.BytesIO(files[name]))
    content.seek(0)
    return content


def old(*layers: bytes, names: t.Sequence[str], described: str = "image") -> io.BytesIO:
    """Return an image as Docker 20.10 saves it; ``names`` are the folders of its layers."""
    raw = config(*layers, name=described)
    files = {f"{made.sha(raw)[7:]}.json": raw}
    for name, layer in zip(names, layers, strict=True):
        top = {"architecture": "amd64"} if name == names[-1] else {}
        files[f"{name}/json"] = json.dumps({"id": name, **top}).encode()
        files[f"{name}/VERSION"] = b"1.0"
        files[f"{name}/layer.tar"] = layer
    listing = [{"Config": f"{made.sha(raw)[7:]}.json", "Layers": [f"{name}/layer.tar" for name in names]}]
    return stream({**files, "manifest.json": json.dumps(listing).encode()})


def blobs(raw: bytes, *layers: bytes) -> io.BytesIO:
    """Return an image as Docker 25 saves it."""
    files = {f"blobs/sha256/{made.sha(blob)[7:]}": blob for blob in (raw, *layers, b'{"some": "manifest"}')}
    listing = [
        {
            "Config": f"blobs/sha256/{made.sha(raw)[7:]}",
            "Layers": [f"blobs/sha256/{made.sha(layer)[7:]}" for layer in layers],
        }
    ]
    return stream({**files, "manifest.json": json.dumps(listing).encode(), "oci-layout": b"{}", "index.json": b"{}"})


class Writing:
    """A package that takes images out of streams."""

    def __init__(self) -> None:
        self.content = io.BytesIO()
        self.writer = build.PackageWriter(self.content)
        self.paths: dict[str, str] = {}

    def save(self, saved: io.BytesIO, *layers: bytes) -> dict[str, t.Any]:
        """Take an image with these layers, unpacked."""
        diff_ids = [made.sha(layer)[7:] for layer in layers]
        image = SavedImage(self.writer, diff_ids, self.paths)
        try:
            image.read(saved)
            manifest: dict[str, t.Any] = json.loads(image.manifest("save x"))
        except ProviderError as exc:
            self.writer.__exit__(type(exc))
            raise
        return manifest

    def members(self) -> dict[str, bytes]:
        """Return digest to content, after checking that the two belong together."""
        self.writer.__exit__(None)
        with zipfile.ZipFile(self.content) as archive:
            assert archive.testzip() is None
            names = [info.filename for info in archive.infolist()]
            assert len(names) == len(set(names))
            found = {name.rpartition("/")[2]: archive.read(name) for name in names}
        assert {made.sha(data)[7:] for data in found.values()} == set(found)
        return found


def digests(manifest: t.Mapping[str, t.Any]) -> list[str]:
    return [str(layer["digest"]) for layer in manifest["layers"]]


@pytest.mark.parametrize("generation", ["old", "blobs"])
def test_layers_get_the_names_of_their_digests(generation: str) -> None:
    writing = Writing()
    layers = (BASE, MIDDLE, TOP)
    saved = old(*layers, names=("b", "a", "c")) if generation == "old" else blobs(config(*layers), *layers)
    manifest = writing.save(saved, *layers)
    assert digests(manifest) == [made.sha(layer) for layer in layers]
    assert manifest["config"]["digest"] == made.sha(config(*layers)), "so the image keeps its id"
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    assert set(writing.members().values()) == {config(*layers), *layers}


def test_packed_layers_of_the_containerd_store() -> None:
    writing = Writing()
    packed = [gzip.compress(layer, mtime=0) for layer in (BASE, MIDDLE)]
    manifest = writing.save(blobs(config(BASE, MIDDLE), *packed), BASE, MIDDLE)
    assert digests(manifest) == [made.sha(layer) for layer in packed]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}


@pytest.mark.parametrize("generation", ["old", "blobs"])
def test_shared_layers_are_written_once(generation: str) -> None:
    """Of the second image all layers are there: in the older format its topmost one has another name than before."""
    writing = Writing()
    first, second = (BASE, TOP, MIDDLE), (BASE, TOP)
    if generation == "old":
        saved = old(*first, names=("x", "y", "z")), old(*second, names=("x", "other"), described="second")
    else:
        saved = blobs(config(*first), *first), blobs(config(*second, name="second"), *second)
    writing.save(saved[0], *first)
    before = writing.writer.file.written
    manifest = writing.save(saved[1], *second)
    assert digests(manifest) == [made.sha(BASE), made.sha(TOP)]
    assert writing.writer.file.written - before < 2000
    assert len(writing.members()) == 5


def test_same_layer_under_two_names_is_taken_back() -> None:
    writing = Writing()
    writing.save(old(BASE, TOP, names=("x", "y")), BASE, TOP)
    size = writing.content.seek(0, io.SEEK_END)
    manifest = writing.save(old(TOP, BASE, MIDDLE, names=("p", "q", "r"), described="second"), TOP, BASE, MIDDLE)
    assert digests(manifest) == [made.sha(TOP), made.sha(BASE), made.sha(MIDDLE)]
    assert len(writing.members()) == 5
    assert writing.content.seek(0, io.SEEK_END) - size < 5000


def test_layer_that_is_a_link_to_another() -> None:
    """Docker 20.10 writes a layer that an image has twice once."""
    writing = Writing()
    raw = config(MIDDLE, TOP, MIDDLE)
    files = {"a/layer.tar": MIDDLE, "b/layer.tar": TOP, "c.json": raw}
    listing = [{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar", "z/layer.tar"]}]
    saved = stream({**files, "manifest.json": json.dumps(listing).encode()}, {"z/layer.tar": "../a/layer.tar"})
    assert digests(writing.save(saved, MIDDLE, TOP, MIDDLE)) == [made.sha(MIDDLE), made.sha(TOP), made.sha(MIDDLE)]


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (stream({"x": b""}), "gives no archive of an image that is known here"),
        (old(BASE, b"another", names=("a", "b")), None),
        (blobs(config(BASE, TOP), BASE, MIDDLE), "are not those of the image"),
        (blobs(config(BASE, TOP), BASE), "are not those of the image"),
    ],
)
def test_what_is_no_image(saved: io.BytesIO, told: str | None) -> None:
    if told is None:
        Writing().save(saved, BASE, b"another")
        return
    with pytest.raises(ProviderError, match=told):
        Writing().save(saved, BASE, TOP)


def test_a_layer_says_how_large_it_is_unpacked() -> None:
    assert build.Blob(100, "", b"\x1f\x8b\x08\x00", (500).to_bytes(4, "little")).unpacked == 500
    assert build.Blob(2**32 + 900, "", b"\x1f\x8b\x08\x00", (500).to_bytes(4, "little")).unpacked == 2**33 + 500
    assert build.Blob(100, "", b"abcd", b"efgh").unpacked == 100
    assert build.Blob(100, "", b"\x28\xb5\x2f\xfd", b"efgh").unpacked == 300
