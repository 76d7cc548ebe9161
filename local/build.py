"""Build what is deployed, once for each state of the sources.

`sam build` makes the functions and the layer, `compileall` adds the bytecode that it does not ship, and `sam package`
uploads them and says where each is. What it uploaded is kept, so that a start with the same sources needs no SAM.
Two stacks share the folder: a lock lets one build while the other waits.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from local.aws import BUCKET, Aws, credentials
from local.processes import Child
from local.settings import ROOT, Settings

SAM = ROOT / ".venv-sam" / "bin" / "sam"
SOURCES = ("template.yaml", "functions", "common", "infra", "requirements/sam.txt")
# The steps below; another number makes every kept build stale.
RECIPE = 1
_LOCK_POLL_SECONDS = 0.1


class Build:
    """The build folder; use it under `lock`."""

    def __init__(self, settings: Settings) -> None:
        """Name the parts of the folder; nothing is touched yet."""
        self._folder = settings.build
        self._architecture = settings.architecture
        self._digest_file = self._folder / "digest"
        self._built = self._folder / "sam"
        self._objects = self._folder / "objects"
        self._template = self._folder / "packaged.yaml"

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Keep other stacks out; the system gives the lock back however this process ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
            yield

    def is_fresh(self) -> bool:
        """Tell whether the sources are those of the kept build."""
        return self._digest_file.exists() and self._digest_file.read_text() == self._digest()

    async def build(self, logs: Path) -> None:
        """Run `sam build` and compile; raises ChildEndedError with the end of the log."""
        self._digest_file.unlink(missing_ok=True)
        # A file that stays from an earlier build could ship.
        shutil.rmtree(self._built, ignore_errors=True)
        await self._run(
            "sam build",
            logs,
            *(SAM, "build", "--template", ROOT / "template.yaml", "--build-dir", self._built),
            *("--cached", "--cache-dir", self._folder / "cache"),
            *("--parameter-overrides", f"Architecture={self._architecture}"),
        )
        # As `make build`: the files get new times on the way, which must not make the bytecode stale.
        await self._run(
            "compileall",
            logs,
            *(sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"),
            *("-s", self._built, self._built),
        )

    async def package(self, logs: Path, aws: Aws) -> None:
        """Upload the build with `sam package` and keep what it uploaded."""
        digest = self._digest()
        await self._run(
            "sam package",
            logs,
            *(SAM, "package", "--template-file", self._built / "template.yaml", "--s3-bucket", BUCKET),
            *("--output-template-file", self._template, "--no-progressbar"),
            endpoint=aws.endpoint,
        )
        shutil.rmtree(self._objects, ignore_errors=True)
        self._objects.mkdir()
        await asyncio.to_thread(aws.download_all, self._objects)
        self._digest_file.write_text(digest)

    async def upload(self, aws: Aws) -> None:
        """Upload what an earlier `package` kept."""
        await asyncio.to_thread(aws.upload_all, self._objects)

    def template(self) -> str:
        """Give the template with the places of the uploaded code in it."""
        return self._template.read_text()

    async def _run(self, name: str, logs: Path, *command: str | Path, endpoint: str = "http://localhost:9") -> None:
        # All of our environment, unlike MiniStack's: pip's settings are in it, such as a mirror.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OPENAI_"))}
        environment |= credentials(endpoint)
        # The builder looks on the PATH for the interpreter of the runtime.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
        environment |= {"SAM_CLI_TELEMETRY": "0"}
        child = await Child.start(name, command, env=environment, log=logs / "sam.log", cwd=self._folder)
        await child.succeed()

    def _digest(self) -> str:
        total = hashlib.sha256(f"{RECIPE} {sys.version_info[:2]} {self._architecture}".encode())
        for source in SOURCES:
            for path in _files(ROOT / source):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{path.relative_to(ROOT)} {content}\n".encode())
        return total.hexdigest()


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
