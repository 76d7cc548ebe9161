"""Build the deployment artefacts if a source has changed; used by `make build`, the local stack and the tests.

`sam build` creates the functions and the layer. Then the SDK's descriptions of unused services are removed, and
`compileall` adds the bytecode that SAM does not ship. Each architecture has its own folder, with a lock for concurrent
processes. For the local stack, the upload of `sam package` is kept, so that a start with unchanged sources does not
need SAM.

`python -m local.build` builds for this machine, `--architecture` for another; `--to FOLDER` copies the result.
"""

import argparse
import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from local.aws import BUCKET, Aws, credentials
from local.errors import ChildEndedError
from local.processes import Child
from local.settings import ROOT, architecture_of_this_machine, build_folder

SAM = ROOT / ".venv-sam" / "bin" / "sam"
# Includes this file: a change of the build process invalidates every build.
SOURCES = ("template.yaml", "samconfig.toml", "functions", "common", "infra", "requirements/sam.txt", "local/build.py")
# The services that the functions and the X-Ray SDK call. The descriptions of all 400 services are nine tenths of
# botocore's size. See docs/decisions/0035.
SERVICES = ("secretsmanager", "sqs", "sts", "xray")
_LOCK_POLL_SECONDS = 0.1


class Build:
    """A build folder; hold `lock` while using it."""

    def __init__(self, folder: Path, architecture: str) -> None:
        """Set the paths; create nothing."""
        self._folder = folder
        self._architecture = architecture
        self._built_digest = folder / "built"
        self._packaged_digest = folder / "packaged"
        self._objects = folder / "objects"
        self._template = folder / "packaged.yaml"
        self.artefacts = folder / "sam"

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Hold the folder's lock; the system releases it when the process ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
            yield

    def is_built(self) -> bool:
        """Return whether the artefacts match the current sources."""
        return _matches(self._built_digest, self._digest())

    def is_packaged(self) -> bool:
        """Return whether the kept package matches the current sources."""
        return _matches(self._packaged_digest, self._digest())

    async def build(self) -> None:
        """Build if a source has changed; raises ChildEndedError with the end of the log."""
        digest = self._digest()
        if _matches(self._built_digest, digest):
            return
        self._built_digest.unlink(missing_ok=True)
        # A leftover file of an earlier build could ship.
        shutil.rmtree(self.artefacts, ignore_errors=True)
        await self._run(
            "sam build",
            *(SAM, "build", "--template", ROOT / "template.yaml", "--build-dir", self.artefacts),
            *("--cached", "--parallel", "--cache-dir", self._folder / "cache"),
            *("--parameter-overrides", f"Architecture={self._architecture}"),
        )
        stamp(self.artefacts / "template.yaml", digest, self._architecture)
        for data in self.artefacts.glob("**/botocore/data"):
            _prune(data)
        # Without bytecode a cold start takes three times as long. unchecked-hash: the files get new modification times
        # on the way to Lambda, which must not invalidate the bytecode.
        await self._run(
            "compileall",
            *(sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"),
            *("-s", self.artefacts, self.artefacts),
        )
        self._built_digest.write_text(digest)

    async def package(self, aws: Aws) -> None:
        """Upload the build with `sam package` and keep the uploaded objects."""
        digest = self._digest()
        self._packaged_digest.unlink(missing_ok=True)
        await self._run(
            "sam package",
            *(SAM, "package", "--template-file", self.artefacts / "template.yaml", "--s3-bucket", BUCKET),
            *("--output-template-file", self._template, "--no-progressbar"),
            endpoint=aws.endpoint,
        )
        shutil.rmtree(self._objects, ignore_errors=True)
        self._objects.mkdir()
        await asyncio.to_thread(aws.download_all, self._objects)
        self._packaged_digest.write_text(digest)

    async def upload(self, aws: Aws) -> None:
        """Upload the objects that an earlier `package` has kept."""
        await asyncio.to_thread(aws.upload_all, self._objects)

    def template(self) -> str:
        """Return the template with the locations of the uploaded code."""
        return self._template.read_text()

    def publish(self, place: Path) -> None:
        """Replace a folder by the artefacts; hard links share the disk space."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.artefacts, place, copy_function=_link)

    async def _run(self, name: str, *command: str | Path, endpoint: str = "http://localhost:9") -> None:
        # All of our environment, unlike MiniStack's: pip's settings are in it, such as a mirror.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OPENAI_"))}
        environment |= credentials(endpoint)
        # The builder looks on the PATH for the interpreter of the runtime.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
        environment |= {"SAM_CLI_TELEMETRY": "0"}
        log = self._folder / f"{name.replace(' ', '-')}.log"
        log.unlink(missing_ok=True)
        child = await Child.start(name, command, env=environment, log=log, cwd=self._folder)
        await child.succeed()

    def _digest(self) -> str:
        total = hashlib.sha256(f"{sys.version_info[:2]} {self._architecture}".encode())
        for source in SOURCES:
            for path in _files(ROOT / source):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{path.relative_to(ROOT)} {content}\n".encode())
        return total.hexdigest()


def _matches(file: Path, digest: str) -> bool:
    return file.exists() and file.read_text() == digest


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def stamp(template: Path, digest: str, architecture: str) -> None:
    """Write the digest of the sources and the architecture into the built template.

    AutoPublishAlias in template.yaml needs the digest. The architecture replaces the parameter, because packages for
    one architecture don't run on another.
    """
    text = template.read_text()
    text = text.replace(": unbuilt", f": b-{digest[:16]}")
    template.write_text(re.sub(r"(?:!Ref|Ref:) Architecture\b", architecture, text))


def _prune(data: Path) -> None:
    """Remove the descriptions of unused services from botocore's data."""
    for path in data.iterdir():
        if path.is_dir() and path.name not in SERVICES:
            shutil.rmtree(path)
    # The endpoints of all services in all regions: parsing them takes nearly half of the first client's creation.
    endpoints = data / "endpoints.json"
    content = json.loads(endpoints.read_text())
    for partition in content["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in SERVICES}
    endpoints.unlink()  # it may be a hard link to another build's file
    endpoints.write_text(json.dumps(content))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.build", description=__doc__.partition("\n")[0])
    parser.add_argument("--architecture", choices=("arm64", "x86_64"), default=architecture_of_this_machine())
    parser.add_argument("--to", type=Path, help="a folder to copy the result to")
    arguments = parser.parse_args()
    build = Build(build_folder(arguments.architecture), arguments.architecture)
    async with build.lock():
        if not build.is_built():
            print(f"Building for {arguments.architecture} …", flush=True)
        await build.build()
        if arguments.to is not None:
            build.publish(arguments.to)


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except ChildEndedError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
