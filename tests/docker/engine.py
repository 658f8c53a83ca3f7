# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Docker engine and a real registry on loopback, and a small image that behaves like a NIM.

The engine has its own folder, socket and network, so it does not meet one that the machine may have. There is no GPU:
``nvidia-smi`` is a script that lists two, and the program that Docker calls to put GPUs into a container does nothing.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import tarfile
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

from tests.ports import free_port

NGC_KEY = "nvapi-CaNaRydocker81Zr0QmTvX3"
HF_TOKEN = "hf_CaNaRydocker81Zr0QmTvX3"
_PASSWORDS = "$oauthtoken:$2b$04$XZ2.U/VDT28/lLZLL.Nbc.GNtRQjcEO.53GgOUx5BmKiriSuis98a\n"
"""The registry's only user, with the key above as bcrypt makes it; the registry takes no other form."""

REPOSITORY = "nim/test/stand-in"
GPUS = ("GPU-11111111-aaaa", "GPU-22222222-bbbb")

_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_NEEDED = ("docker", "dockerd", "containerd", "docker-registry", "busybox", "ip", "ldd")

_NIM = """#!/bin/sh
# Loads a model for a moment, then answers at the path by which a NIM says that it is ready.
trap 'exit 0' TERM
# With its model in the cache it needs no key.
[ -n "$NGC_API_KEY" ] || [ -n "$STAND_IN_OFFLINE" ] || { echo "NGC_API_KEY is not set"; exit 1; }
[ -z "$STAND_IN_CRASH" ] || { echo "cannot load the model with $NGC_API_KEY"; exit 7; }
echo "$NIM_MODEL_VARIANT" > /opt/nim/.cache/model || exit 3
mkdir -p /tmp/www/v1/health
httpd -p 8000 -h /tmp/www
sleep "${STAND_IN_SECONDS:-0}"
echo '{"status":"ready"}' > /tmp/www/v1/health/ready
while :; do sleep 1 & wait $!; done
"""
_APPLETS = ("cat", "chown", "httpd", "mkdir", "sh", "sleep", "wget")

_SMI = """#!/bin/sh
echo "0, {0}, NVIDIA L40S, 46068"
echo "1, {1}, NVIDIA L40S, 46068"
"""


def missing() -> str | None:
    """Return why an engine cannot run on this machine, or None."""
    lacking = [name for name in _NEEDED if not shutil.which(name, path=_SEARCHED)]
    if lacking:
        return f"{', '.join(lacking)} not on this machine; on Debian: docker.io docker-registry busybox iproute2"
    if os.geteuid() != 0:
        return "needs root, to run a Docker engine"
    return None


@dataclasses.dataclass
class Engine:
    """A running engine with its registry."""

    folder: Path
    bridge: str
    network: str
    port: int
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    @property
    def socket(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @property
    def registry(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def programs(self) -> Path:
        """The folder with the programs that stand for NVIDIA's."""
        return self.folder / "bin"

    def docker(self, *words: str, given: bytes | None = None) -> str:
        """Call docker and return what it says."""
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, "DOCKER_HOST": self.socket, "DOCKER_CONFIG": str(self.folder / "config")},
            input=given if given is not None else b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"docker {' '.join(words)}: {text}"
        return text.strip()

    def inspect(self, container: str) -> dict[str, t.Any]:
        """Return Docker's description of a container."""
        described: dict[str, t.Any] = json.loads(self.docker("container", "inspect", container))[0]
        return described

    def containers(self, *words: str) -> set[str]:
        """Return the names of all containers."""
        return set(self.docker("ps", "--all", "--format={{.Names}}", *words).split())

    def volumes(self) -> set[str]:
        return set(self.docker("volume", "ls", "--quiet").split())

    def images(self) -> set[str]:
        return set(self.docker("image", "ls", "--format={{.Repository}}:{{.Tag}}").split())

    def empty(self) -> None:
        """Remove all that a test has made."""
        for name in self.containers():
            self.docker("rm", "--force", name)
        for name in self.volumes():
            self.docker("volume", "rm", name)
        self.docker("image", "prune", "--all", "--force")

    def publish(self, *tags: str, repository: str = REPOSITORY) -> None:
        """Build the image and push it to the registry under these tags."""
        for tag in tags:
            name = f"{self.registry}/{repository}:{tag}"
            label = f"LABEL stand-in.tag={tag}"
            changes = ["--change", 'ENTRYPOINT ["/bin/nim"]', "--change", "USER 1000", "--change", label]
            self.docker("import", *changes, "-", name, given=_image())
            self.docker("push", "--quiet", name)

    # ---- start and end -------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, folder: Path) -> Engine:
        """Start both."""
        _remove_bridges_of_killed_runs()
        engine = cls(folder, f"bg{os.getpid()}-{secrets.token_hex(2)}", _free_network(), free_port())
        engine._make_programs()
        subprocess.run(["ip", "link", "add", engine.bridge, "type", "bridge"], check=True)
        try:
            subprocess.run(["ip", "addr", "add", engine.network, "dev", engine.bridge], check=True)
            subprocess.run(["ip", "link", "set", engine.bridge, "up"], check=True)
            engine._start_registry()
            engine._start_dockerd()
            engine.docker(
                "login", "--username", "$oauthtoken", "--password-stdin", engine.registry, given=NGC_KEY.encode()
            )
        except BaseException:
            engine.stop()
            raise
        return engine

    def _make_programs(self) -> None:
        self.programs.mkdir()
        for name, text in (
            ("nvidia-smi", _SMI.format(*GPUS)),
            ("nvidia-container-runtime-hook", "#!/bin/sh\nexit 0\n"),
        ):
            path = self.programs / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)

    def _start_registry(self) -> None:
        passwords = self.folder / "htpasswd"
        passwords.write_text(_PASSWORDS, encoding="utf-8")
        config = self.folder / "registry.yml"
        content = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}},
            "http": {"addr": self.registry},
            "auth": {"htpasswd": {"realm": "test", "path": str(passwords)}},
        }
        config.write_text(json.dumps(content), encoding="utf-8")
        self._run("registry", ["docker-registry", "serve", str(config)])
        self._wait("registry", self._registry_answers)

    def _registry_answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.registry}/v2/", timeout=2).close()
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True

    def _start_dockerd(self) -> None:
        (self.folder / "daemon.json").write_text("{}", encoding="utf-8")
        words = [
            "dockerd",
            f"--config-file={self.folder}/daemon.json",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/docker.pid",
            f"--host={self.socket}",
            f"--bridge={self.bridge}",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--storage-driver=vfs",
        ]
        self._run("dockerd", words)
        self._wait("dockerd", self._engine_answers)

    def _engine_answers(self) -> bool:
        path = self.folder / "docker.sock"
        if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
            return False
        asked = subprocess.run(
            ["docker", "--host", self.socket, "version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return asked.returncode == 0

    def _run(self, name: str, words: list[str]) -> None:
        path = f"{self.programs}{os.pathsep}{_SEARCHED}"
        with (self.folder / f"{name}.log").open("wb") as log:
            program = shutil.which(words[0], path=path)
            assert program
            process = subprocess.Popen(
                [program, *words[1:]],
                env={**os.environ, "PATH": path},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.processes.append(process)

    def _wait(self, name: str, answers: t.Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.processes[-1].poll() is None:
            if answers():
                return
            time.sleep(0.1)
        log = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{name} did not start: {log[-2000:]}")

    def stop(self) -> None:
        """End both, with all containers, and undo what they did to the machine."""
        if len(self.processes) > 1 and self.processes[1].poll() is None:
            for name in self.containers():
                self.docker("rm", "--force", name)
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=60)
        mounts = re.findall(rf"^\S+ ({re.escape(str(self.folder))}\S*)", Path("/proc/mounts").read_text(), re.MULTILINE)
        for path in sorted(mounts, reverse=True):
            subprocess.run(["umount", path], check=False)
        subprocess.run(["ip", "link", "del", self.bridge], check=False)


def _image() -> bytes:
    """Return the stand-in's file system: busybox with the libraries it needs."""
    busybox = shutil.which("busybox", path=_SEARCHED)
    assert busybox
    listed = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout
    libraries = re.findall(r"(/\S+)", listed)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        files = [Path(name.lstrip("/")) for name in (*libraries, "bin/nim", "opt/nim/.cache/model", "tmp/file")]
        for folder in sorted({parent for file in files for parent in file.parents}):
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder.name == "tmp" else 0o755
            tar.addfile(entry)
        for source, name in ((busybox, "bin/busybox"), *((path, path.lstrip("/")) for path in libraries)):
            file = tarfile.TarInfo(name)
            data = Path(source).read_bytes()
            file.size, file.mode = len(data), 0o755
            tar.addfile(file, io.BytesIO(data))
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        script = tarfile.TarInfo("bin/nim")
        script.size, script.mode = len(_NIM.encode()), 0o755
        tar.addfile(script, io.BytesIO(_NIM.encode()))
    return content.getvalue()


def _addresses() -> dict[str, list[str]]:
    """Return the addresses of each of the machine's network devices."""
    told = subprocess.run(["ip", "-json", "address"], capture_output=True, text=True, check=True).stdout
    return {device["ifname"]: [each["local"] for each in device["addr_info"]] for device in json.loads(told)}


def _remove_bridges_of_killed_runs() -> None:
    """Remove bridges whose process has ended: containers with an address of the same network would go unheard."""
    for name in _addresses():
        made_by = re.fullmatch(r"bg(\d+)-[0-9a-f]{4}", name)
        if made_by and not Path("/proc", made_by[1]).exists():
            subprocess.run(["ip", "link", "del", name], check=False)


def _free_network() -> str:
    """Return the address for a bridge, of a network that no device has; two runs at once seldom choose the same."""
    taken = {address.rpartition(".")[0] for found in _addresses().values() for address in found}
    free = [network for network in (f"10.213.{number}" for number in range(20, 220)) if network not in taken]
    return f"{secrets.choice(free)}.1/24"
