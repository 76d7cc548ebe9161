"""Start, supervise and stop the local stack."""

import asyncio
import fcntl
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import API_KEY, API_KEYS_SECRET, OPENAI_KEY_SECRET, WEBHOOK_SECRET, Aws
from local.build import Build
from local.errors import DeployError, NotReadyError, StackError
from local.model import StandIn
from local.processes import Child
from local.servers import LOOPBACK, aws_endpoint, on_free_port, require_free, start_ministack, start_valkey
from local.settings import Settings, architecture_of_this_machine

STAGE = "local"
AUTHORIZATION = {"Authorization": f"Bearer {API_KEY}"}
_CHECK_SECONDS = 60
# MiniStack runs 16 functions at a time on a small machine, and some 45 with 2 GB of memory.
TENANT_HELD_CALLS, MAX_HELD_CALLS = 6, 10
OPENAI_TENANT_HELD_CALLS, OPENAI_MAX_HELD_CALLS = 8, 10
EXIT_SECONDS = 1

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    url: str
    model_url: str
    run: Path
    aws: Aws
    children: tuple[Child, ...]

    async def wait_for_exit(self) -> None:
        """Wait until a process of the stack ends unexpectedly; raises ChildEndedError."""
        waiting = {asyncio.ensure_future(child.ended()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ended = done.pop()
            raise waiting[ended].exit_error(ended.result())
        finally:
            for future in waiting:
                future.cancel()

    async def while_alive[T](self, work: Coroutine[None, None, T]) -> T:
        """Run some work; if a process of the stack ends meanwhile, raise that error instead of its consequences."""
        working = asyncio.ensure_future(work)
        exiting = asyncio.ensure_future(self.wait_for_exit())
        try:
            await asyncio.wait([working, exiting], return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() is not None:
                # The error may be caused by a process that has just ended.
                await asyncio.wait([exiting], timeout=EXIT_SECONDS)
            if exiting.done():
                await exiting
            return await working
        finally:
            for task in (working, exiting):
                task.cancel()
            await asyncio.gather(working, exiting, return_exceptions=True)

    async def warm_up(self) -> None:
        """Start an environment of each function that the first prompt needs."""
        async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:

            async def ask_for_nothing() -> None:
                # SubmitFunction rejects this before it writes or sends anything.
                async with session.post(f"{self.url}/tasks", json={"prompts": []}):
                    pass

            await asyncio.gather(asyncio.to_thread(self.aws.warm_worker), ask_for_nothing())

    async def hold_deliveries(self) -> None:
        """Stop the deliveries from the queues to the workers."""
        await asyncio.to_thread(self.aws.set_deliveries, enabled=False)

    async def deliver(self) -> None:
        """Resume the deliveries from the queues to the workers."""
        await asyncio.to_thread(self.aws.set_deliveries, enabled=True)


@asynccontextmanager
async def running_stack(settings: Settings, say: Say) -> AsyncIterator[Stack]:
    """Start the stack, report each step, and end all its processes on exit.

    Raises StackError.
    """
    if settings.port:
        require_free(settings.port)
    async with AsyncExitStack() as ends:
        run = ends.enter_context(_run_folder(settings.state))
        model_url = await ends.enter_async_context(_model(settings, say))
        valkey, cache_port = await on_free_port(partial(start_valkey, run))
        ends.push_async_callback(valkey.stop)
        say(f"Valkey keeps the tasks on port {cache_port}, in memory")
        if settings.port:
            ministack, port = await start_ministack(run, settings.port), settings.port
        else:
            ministack, port = await on_free_port(partial(start_ministack, run))
        ends.push_async_callback(ministack.stop)
        endpoint = aws_endpoint(port)
        say(f"MiniStack emulates AWS at {endpoint}")
        ends.callback((settings.state / "env.json").unlink, missing_ok=True)
        aws = Aws(endpoint)
        stack = Stack(f"http://{LOOPBACK}:{port}", model_url, run, aws, (valkey, ministack))
        await stack.while_alive(_make_ready(settings, stack, cache_port, say))
        yield stack


@asynccontextmanager
async def _model(settings: Settings, say: Say) -> AsyncIterator[str]:
    if not settings.uses_stand_in:
        say(f"The model is {settings.openai_base_url or 'OpenAI'}")
        yield settings.openai_base_url
        return
    stand_in = StandIn(settings.models, latency=settings.model_latency, chunk_delay=settings.model_chunk_delay)
    async with stand_in.serve() as url:
        say(f"The stand-in model listens at {url}")
        yield url


async def _make_ready(settings: Settings, stack: Stack, cache_port: int, say: Say) -> None:
    try:
        await _deploy(settings, stack, cache_port, say)
    except (BotoCoreError, ClientError) as error:
        raise DeployError(str(error)) from error
    try:
        await _check_response(stack.url)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NotReadyError(f"The API does not respond: {error!r}") from error


async def _deploy(settings: Settings, stack: Stack, cache_port: int, say: Say) -> None:
    architecture = architecture_of_this_machine()
    aws, build = stack.aws, Build(settings.build, architecture)
    await asyncio.to_thread(aws.create_bucket)
    async with build.lock():
        if await asyncio.to_thread(build.is_built):
            say("The functions are up to date")
        else:
            say("Building the functions (sam build) …")
            await build.build()
            say("The functions are built")
        await (build.upload(aws) if await asyncio.to_thread(build.is_packaged) else build.package(aws))
        template = build.template()
    await asyncio.to_thread(aws.put_secrets, settings.openai_api_key or API_KEY)
    parameters = {
        "Architecture": architecture,
        "StageName": STAGE,
        "Concurrency": str(settings.concurrency),
        "BatchSize": str(settings.batch_size),
        "BatchingWindow": str(settings.batching_window),
        "MaxWorkers": str(settings.workers),
        "MaxWorkflowWorkers": str(settings.workers),
        "WorkerTimeout": str(settings.worker_timeout),
        "VisibilityTimeout": str(settings.visibility_timeout),
        "ModelTimeout": str(settings.model_timeout),
        "MaxQueueDepth": str(settings.max_queue_depth),
        "TenantQueueShare": str(settings.tenant_queue_share),
        "TenantHeldCalls": str(TENANT_HELD_CALLS),
        "MaxHeldCalls": str(MAX_HELD_CALLS),
        "OpenaiTenantHeldCalls": str(OPENAI_TENANT_HELD_CALLS),
        "OpenaiMaxHeldCalls": str(OPENAI_MAX_HELD_CALLS),
        "AllowedModels": ",".join(settings.models),
        "OpenAIBaseUrl": stack.model_url,
        "OpenAIApiKeySecret": OPENAI_KEY_SECRET,
        "ApiKeysSecret": API_KEYS_SECRET,
        "WebhookSecret": WEBHOOK_SECRET,
        "WebhookLoopback": "true",
        "CacheHost": LOOPBACK,
        "CachePort": str(cache_port),
        "CacheTls": "false",
        "CacheCluster": "false",
    }
    await asyncio.to_thread(aws.create_stack, template, parameters)
    await asyncio.to_thread(aws.set_task_sources, settings.workers, settings.batch_size)
    await asyncio.to_thread(aws.apply_gateway_responses, STAGE)
    await asyncio.to_thread(aws.map_root, LOOPBACK, STAGE)
    say("template.yaml is deployed")
    variables = await asyncio.to_thread(aws.function_variables)
    # For `sam local invoke --env-vars`; it contains names of secrets, but no secrets.
    with_endpoint = {name: {**values, "AWS_ENDPOINT_URL": aws.endpoint} for name, values in variables.items()}
    (settings.state / "env.json").write_text(json.dumps(with_endpoint, indent=2) + "\n")


async def _check_response(url: str) -> None:
    """Request a task that does not exist, which needs the gateway, the authorizer, the status function and Valkey."""
    timeout = aiohttp.ClientTimeout(total=_CHECK_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{url}/tasks", params={"task_ids": f"{'0' * 36}-0"}, headers=AUTHORIZATION) as response,
    ):
        if response.status != 200:  # noqa: PLR2004
            raise NotReadyError(f"The API returned {response.status}: {(await response.text())[:500]}")


@contextmanager
def _run_folder(state: Path) -> Iterator[Path]:
    """Create the folder of this run; after a failure it is kept until the next start."""
    state.mkdir(parents=True, exist_ok=True)
    for old in state.glob("run-*"):
        _remove_unless_owned(old)
    run = Path(tempfile.mkdtemp(prefix="run-", dir=state))
    with (run / "owner").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield run
        except StackError as error:
            error.add_note(f"The logs are in {run}")
            raise
        except BaseException:
            shutil.rmtree(run, ignore_errors=True)
            raise
        shutil.rmtree(run, ignore_errors=True)


def _remove_unless_owned(run: Path) -> None:
    try:
        with (run / "owner").open("r") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(run, ignore_errors=True)
    except OSError:
        # The owner is running, or another start has removed it.
        return
