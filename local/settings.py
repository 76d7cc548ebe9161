"""The settings of the local stack, read once from the environment."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from local.errors import SettingError

ROOT = Path(__file__).resolve().parent.parent

# As in template.yaml: AWS needs at least 2 workers, the worker at least 2 seconds; Lambda's limit is 15 minutes.
MAX_CONCURRENCY = 900
MIN_WORKERS, MAX_WORKERS = 2, 1000
MIN_WORKER_TIMEOUT, MAX_WORKER_TIMEOUT = 2, 900
# The largest batch that AWS delivers without a batching window.
BATCH_SIZE = 10
MAX_MODEL_TIMEOUT = 120
MAX_QUEUE_DEPTH = 999_999_999
# A call's share of the worker's timeout; the rest is for recording its outcome.
MODEL_SHARE_OF_WORKER = 0.8
# Seconds of a message's visibility timeout beyond the worker's: for collecting a batch and starting a worker.
VISIBILITY_MARGIN = 30
DEFAULT_PORT = 8000
# The default of AllowedModels in template.yaml; the stand-in answers to these names too.
DEFAULT_MODELS = "gpt-5-mini,gpt-5-nano,text-embedding-3-small"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings; times in seconds."""

    port: int
    concurrency: int
    workers: int
    worker_timeout: int
    max_queue_depth: int
    tenant_queue_share: int
    models: tuple[str, ...]
    openai_base_url: str
    openai_api_key: str
    model_latency: float
    model_chunk_delay: float
    state: Path
    build: Path

    @property
    def model_timeout(self) -> int:
        """Return the timeout of a model call in seconds."""
        return max(1, min(MAX_MODEL_TIMEOUT, int(self.worker_timeout * MODEL_SHARE_OF_WORKER)))

    @property
    def visibility_timeout(self) -> int:
        """Return the visibility timeout of a message in seconds."""
        return self.worker_timeout + VISIBILITY_MARGIN

    @property
    def uses_stand_in(self) -> bool:
        """Return whether the stand-in model is used."""
        return not (self.openai_base_url or self.openai_api_key)

    @property
    def batch_size(self) -> int:
        """Return the batch size of the event source: at least the worker's concurrency."""
        return max(BATCH_SIZE, self.concurrency)

    @property
    def batching_window(self) -> int:
        """Return the batching window in seconds that AWS requires for this batch size."""
        return int(self.batch_size > BATCH_SIZE)


def architecture_of_this_machine() -> str:
    """Return this machine's architecture by Lambda's name."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def build_folder(architecture: str) -> Path:
    """Return the build folder of an architecture."""
    return ROOT / ".build" / architecture


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; absent and empty values mean the default.

    Raises SettingError for the first invalid value.
    """
    models = tuple(name.strip() for name in (environ.get("MODELS") or DEFAULT_MODELS).split(","))
    if not all(models):
        raise SettingError(f"MODELS must be names separated by commas, not {environ['MODELS']!r}")
    state = Path(environ.get("SLUICE_LOCAL_STATE") or ROOT / ".local").absolute()
    return Settings(
        port=_whole(environ, "PORT", DEFAULT_PORT, 0, 65535),
        concurrency=_whole(environ, "CONCURRENCY", 3, 1, MAX_CONCURRENCY),
        workers=_whole(environ, "WORKERS", 2, MIN_WORKERS, MAX_WORKERS),
        worker_timeout=_whole(environ, "WORKER_TIMEOUT", 300, MIN_WORKER_TIMEOUT, MAX_WORKER_TIMEOUT),
        max_queue_depth=_whole(environ, "MAX_QUEUE_DEPTH", 0, 0, MAX_QUEUE_DEPTH),
        tenant_queue_share=_whole(environ, "TENANT_QUEUE_SHARE", 50, 1, 100),
        models=models,
        openai_base_url=_url(environ, "OPENAI_BASE_URL"),
        openai_api_key=environ.get("OPENAI_API_KEY", "").strip(),
        model_latency=_seconds(environ, "MODEL_LATENCY", 0.2),
        model_chunk_delay=_seconds(environ, "MODEL_CHUNK_DELAY", 0.03),
        state=state,
        build=Path(environ.get("SLUICE_LOCAL_BUILD") or build_folder(architecture_of_this_machine())).absolute(),
    )


def _whole(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    # isdecimal alone accepts digits of other scripts, and int() fails on very long numbers.
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None  # noqa: PLR2004
    if value is None or not least <= value <= most:
        raise SettingError(f"{name} must be a whole number from {least} to {most}, not {text!r}")
    return value


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_WORKER_TIMEOUT:
        raise SettingError(f"{name} must be seconds from 0 to {MAX_WORKER_TIMEOUT}, not {text!r}")
    return value


def _url(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name, "").strip()
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # As the worker takes it: see common/worker/settings.py.
        usable = (
            usable and text.isascii() and text.isprintable() and not {" ", "#"} & {*text} and "@" not in parts.netloc
        )
    except ValueError:
        usable = False
    if not usable:
        raise SettingError(f"{name} must be a URL such as http://127.0.0.1:11434/v1, not {text!r}")
    return text
