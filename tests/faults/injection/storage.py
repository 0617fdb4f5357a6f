"""Where a server stores: folders that are full, and disks that lose what was not written when the power goes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trellis_nats.testing import NatsServer

__all__ = ["Disk", "filled", "is_root", "mounted_memory", "storing_in"]

_IMAGE_MIB: Final = 512


def is_root() -> bool:
    """Return whether this process may mount, as far as can be known without trying."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def storing_in(folder: Path, *, port: int | None = None, limits: str = "") -> NatsServer:
    """Return a server that keeps its streams in a folder of the test's; `limits`: more of its JetStream block."""
    config = f'jetstream {{ store_dir: "{folder}", {limits} }}'
    return NatsServer(config=config, port=port, jetstream=False)


@contextmanager
def mounted_memory(folder: Path, *, mebibytes: int) -> Generator[Path]:
    """Mount a small file system in memory.

    Raises:
        subprocess.CalledProcessError: this machine does not let us.
    """
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def filled(folder: Path) -> Generator[None]:
    """Leave no byte free on the file system of a folder, for the length of the block."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()


class Disk:
    """An ext4 file system in a file, mounted by a loop device.

    A copy of the file holds what had reached the device at that moment: what the kernel only had in its memory is not in
    it, just as after a power cut.
    """

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self.folder = folder / "mounted"
        """Where it is mounted."""

    @contextmanager
    def mounted(self) -> Generator[Path]:
        """Make the file system if there is none yet, and mount it.

        Raises:
            subprocess.CalledProcessError: this machine does not let us.
        """
        if not self._image.exists():
            with self._image.open("wb") as file:
                file.truncate(_IMAGE_MIB * 2**20)
            _run("mkfs.ext4", "-q", str(self._image))
        self.folder.mkdir(exist_ok=True)
        # Direct I/O: else the host's own cache of the image would hold what the device was told to write.
        loop = _run("losetup", "--find", "--show", "--direct-io=on", str(self._image))
        try:
            _run("mount", loop, str(self.folder))
            try:
                yield self.folder
            finally:
                _run("umount", str(self.folder))
        finally:
            _run("losetup", "--detach", loop)

    def cut(self) -> Path:
        """Return a copy of what is on the device at this moment."""
        copy = self._image.with_suffix(".cut")
        shutil.copyfile(self._image, copy)
        return copy

    def replace(self, copy: Path) -> None:
        """Put a copy in the place of the device, which is not mounted now. Mounting it replays its journal."""
        copy.replace(self._image)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()
