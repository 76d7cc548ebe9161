"""State the rules that cfn-lint is silent on. A rule takes a stack and yields a complaint for each breach.

The rules of the queues and their functions are in this module, those of permissions and secrets in `rules_of_access`.
"""

import itertools
import json
from collections.abc import Iterator

from common.submission.limits import MOST_DEADLINE_SECONDS
from tests.infra.stack import Properties, Stack, target

type Complaints = Iterator[str]

GATEWAY_TIMEOUT_SECONDS = 29
"""API Gateway waits no longer for a function."""

GATEWAY_ANSWERS = {"UNAUTHORIZED", "ACCESS_DENIED", "THROTTLED", "DEFAULT_4XX", "DEFAULT_5XX"}


def sources(stack: Stack) -> Iterator[tuple[str, Properties, str, str]]:
    """Yield each event source mapping's name and properties, its queue and its function."""
    for name, source in stack.of_type("Lambda::EventSourceMapping"):
        yield name, source, target(source["EventSourceArn"]), stack.behind(target(source["FunctionName"]))


START_SECONDS = 15
"""Between the receive of a message and the handler's first moment: Lambda gives an environment 10 s to start."""


def visibility_outlasts_an_invocation(stack: Stack) -> Complaints:
    """Workers extend what they work on, so theirs need no more than that; for others AWS asks six times the timeout."""
    workers = {function for function, _ in WORKERS}
    for _, source, queue, function in sources(stack):
        timeout = int(stack.properties(function)["Timeout"])
        window = int(source.get("MaximumBatchingWindowInSeconds", 0))
        least = timeout + window + START_SECONDS if function in workers else 6 * timeout
        if int(stack.properties(queue).get("VisibilityTimeout", 30)) < least:
            yield f"{queue}: VisibilityTimeout is less than the {least} s that {function} needs"


def a_source_queue_hands_over_after_twenty_receives(stack: Stack) -> Complaints:
    dead_letters = {target(queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")) for _, queue in queues(stack)}
    for name, queue in queues(stack):
        if name not in dead_letters and queue.get("RedrivePolicy", {}).get("maxReceiveCount") != 20:
            yield f"{name}: maxReceiveCount is not 20"


def queues(stack: Stack) -> Iterator[tuple[str, Properties]]:
    """Yield the name and the properties of each queue."""
    return stack.of_type("SQS::Queue")


def dead_letters_outlive_the_queue_they_come_from(stack: Stack) -> Complaints:
    four_days = 345_600  # what SQS takes where nothing is said
    for name, queue in queues(stack):
        dead_letters = target(queue.get("RedrivePolicy", {}).get("deadLetterTargetArn"))
        if not dead_letters:
            continue
        retention = int(queue.get("MessageRetentionPeriod", four_days))
        if int(stack.properties(dead_letters).get("MessageRetentionPeriod", four_days)) <= retention:
            yield f"{dead_letters}: keeps messages no longer than {name}"


def queues_encrypt_what_they_hold(stack: Stack) -> Complaints:
    for name, queue in queues(stack):
        if queue.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in queue:
            yield f"{name}: no server-side encryption"


def only_failed_messages_come_back(stack: Stack) -> Complaints:
    for name, source, _, _ in sources(stack):
        if "ReportBatchItemFailures" not in source.get("FunctionResponseTypes", []):
            yield f"{name}: no ReportBatchItemFailures"


def concurrency_is_bounded_at_the_event_source(stack: Stack) -> Complaints:
    for name, source, _, function in sources(stack):
        if int(source.get("ScalingConfig", {}).get("MaximumConcurrency", 0)) < 2:
            yield f"{name}: no MaximumConcurrency of at least 2"
        if "ReservedConcurrentExecutions" in stack.properties(function):
            yield f"{function}: reserved concurrency sends throttled messages to the dead-letter queue"


API_FUNCTIONS = ("Authorizer", "Submit", "Status", "Cancel", "Docs", "Openai")
"""The functions that API Gateway calls."""


def what_holds_calls_leaves_concurrency_to_the_rest_of_the_api(stack: Stack) -> Complaints:
    reserved = {"Fn::If": ["ReservesConcurrency", {"Ref": "ApiConcurrency"}, {"Ref": "AWS::NoValue"}]}
    for name in API_FUNCTIONS:
        function = f"{name}Function"
        if stack.source["Resources"][function]["Properties"].get("ReservedConcurrentExecutions") != reserved:
            yield f"{function}: ApiConcurrency reserves nothing for it"
        if "ReservedConcurrentExecutions" in stack.properties(function):
            yield f"{function}: a new account, whose quota is 10, can reserve nothing"
    for function in ("SubmitFunction", "StatusFunction", "OpenaiFunction"):
        held = stack.variables(function)
        if not 0 < int(held.get("TENANT_HELD_CALLS", 0)) < int(held.get("MAX_HELD_CALLS", 0)):
            yield f"{function}: one tenant may hold as many calls as all"


def a_capped_queue_keeps_room_for_every_tenant(stack: Stack) -> Complaints:
    """What submit counts into a tenant's share, the workers have to take out again."""
    for function in ("SubmitFunction", "OpenaiFunction", *(worker for worker, _ in WORKERS)):
        variables = stack.source["Resources"][function]["Properties"]["Environment"]["Variables"]
        if variables.get("MAX_QUEUE_DEPTH") != {"Ref": "MaxQueueDepth"}:
            yield f"{function}: MAX_QUEUE_DEPTH is not MaxQueueDepth"
    for function in ("SubmitFunction", "OpenaiFunction"):
        if not int(stack.variables(function).get("TENANT_QUEUE_SHARE", 100)) < 100:
            yield f"{function}: one tenant may fill the whole queue"


def large_batches_have_a_window(stack: Stack) -> Complaints:
    """Lambda takes more than ten messages only from a source that collects them for a second or more."""
    for name, source, _, _ in sources(stack):
        if int(source["BatchSize"]) > 10 and int(source.get("MaximumBatchingWindowInSeconds", 0)) < 1:
            yield f"{name}: more than 10 messages without a batching window"
    rule = stack.source.get("Rules", {}).get("LargeBatchesNeedAWindow", {})
    asserted = [assertion["Assert"] for assertion in rule.get("Assertions", [])]
    needs_no_window = {"Fn::Contains": [[str(size) for size in range(1, 11)], {"Ref": "BatchSize"}]}
    has_window = {"Fn::Not": [{"Fn::Equals": [{"Ref": "BatchingWindow"}, "0"]}]}
    if {"Fn::Or": [needs_no_window, has_window]} not in asserted:
        yield "LargeBatchesNeedAWindow: the parameters are not checked"


WORKERS = (("WorkerFunction", "TaskQueue"), ("WorkflowFunction", "WorkflowQueue"))
"""The functions that call the model, each with the queue that feeds it."""


def each_time_is_shorter_than_the_next(stack: Stack) -> Complaints:
    submit = stack.variables("SubmitFunction")
    for function, source in WORKERS:
        worker, queue = stack.variables(function), stack.properties(source)
        timeout = int(stack.properties(function)["Timeout"])
        times = [
            ("the model's timeout", int(worker["MODEL_TIMEOUT_SECONDS"])),
            ("the worker's timeout", timeout),
            ("the visibility timeout", int(queue["VisibilityTimeout"])),
            ("the deadline", int(submit["DEADLINE_SECONDS"])),
            ("the record's retention", int(submit["RETENTION_SECONDS"])),
        ]
        for (shorter, seconds), (longer, more) in itertools.pairwise(times):
            if seconds >= more:
                yield f"{function}: {shorter} ({seconds} s) is not shorter than {longer} ({more} s)"
        if queue.get("MessageRetentionPeriod", 0) <= MOST_DEADLINE_SECONDS:
            yield f"{source}: the longest deadline ({MOST_DEADLINE_SECONDS} s) is not shorter than its retention"
        if int(worker["WORKER_TIMEOUT_SECONDS"]) != timeout:
            yield f"{function}: WORKER_TIMEOUT_SECONDS is not the worker's timeout"


def every_function_has_a_log_group_that_ends(stack: Stack) -> Complaints:
    taken: set[str] = set()
    for name, function in stack.of_type("Lambda::Function"):
        group = target(function.get("LoggingConfig", {}).get("LogGroup"))
        if not group or group in taken:
            yield f"{name}: no log group of its own"
        elif "RetentionInDays" not in stack.properties(group):
            yield f"{group}: kept for ever"
        taken.add(group)


def functions_are_packaged_under_their_own_path(stack: Stack) -> Complaints:
    """What SAM builds has to import as it does here: functions.<name>, common, and nothing else on the path."""
    architecture = {"Ref": "Architecture"}
    for name, resource in stack.source["Resources"].items():
        properties = resource.get("Properties", {})
        build = resource.get("Metadata", {}).get("BuildProperties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            folder = properties["CodeUri"].rstrip("/")
            package = folder.replace("/", ".")
            if build != {"ParentPackageMode": "explicit", "ParentPackages": package}:
                yield f"{name}: not built as the package {package}"
            if properties["Handler"] != f"{package}.handler.lambda_handler":
                yield f"{name}: its handler is not in {folder}"
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            if build != {"ParentPackageMode": "explicit", "ParentPackages": properties["ContentUri"].rstrip("/")}:
                yield f"{name}: not built as a package"
            if resource["Metadata"].get("BuildArchitecture") != architecture:
                yield f"{name}: not built for the functions' architecture"
    if stack.source["Globals"]["Function"].get("Architectures") != [architecture]:
        yield "Globals: the functions' architecture is not the parameter"


PUBLIC = {("get", "/openapi.json"), ("get", "/docs"), ("get", "/console"), ("get", "/console/{file}")}
"""What is the same for everybody; see functions/docs."""


def every_method_but_the_public_ones_asks_the_authorizer(stack: Stack) -> Complaints:
    for name, api in stack.of_type("ApiGateway::RestApi"):
        schemes = api["Body"].get("components", {}).get("securitySchemes", {})
        custom = {scheme for scheme, body in schemes.items() if body.get("x-amazon-apigateway-authtype") == "custom"}
        for path, methods in api["Body"]["paths"].items():
            for method, body in methods.items():
                asked = {scheme for choice in body.get("security", []) for scheme in choice}
                if (method, path) in PUBLIC:
                    if asked & custom:
                        yield f"{name}: {method.upper()} {path} asks for a key"
                elif not asked or not asked <= custom:
                    yield f"{name}: {method.upper()} {path} has no authorizer"


def every_method_is_throttled_and_open_pages_more(stack: Stack) -> Complaints:
    """Without a setting a method has only the account's throttle, of all its APIs together."""
    for name, stage in stack.of_type("ApiGateway::Stage"):
        settings = {(each["ResourcePath"], each["HttpMethod"]): each for each in stage.get("MethodSettings", [])}
        rest = settings.get(("/*", "*"), {})
        for key in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            if key not in rest:
                yield f"{name}: no {key} of all methods"
            for method, path in sorted(PUBLIC):
                page = settings.get((f"/{path.replace('/', '~1')}", method.upper()), {})
                if not int(page.get(key, 1_000_000)) < int(rest.get(key, 0)):
                    yield f"{name}: {key} of {path} is not below that of all methods"


def functions_answer_before_the_gateway_gives_up(stack: Stack) -> Complaints:
    for name, resource in stack.source["Resources"].items():
        events = resource.get("Properties", {}).get("Events", {}).values()
        if any(event["Type"] == "Api" for event in events):
            timeout = int(stack.properties(name).get("Timeout", 3))
            if timeout >= GATEWAY_TIMEOUT_SECONDS:
                yield f"{name}: runs {timeout} s, and API Gateway waits for {GATEWAY_TIMEOUT_SECONDS}"


def the_gateways_own_errors_are_problems_with_a_code(stack: Stack) -> Complaints:
    for name, api in stack.of_type("ApiGateway::RestApi"):
        answers = api["Body"].get("x-amazon-apigateway-gateway-responses", {})
        for missing in sorted(GATEWAY_ANSWERS - answers.keys()):
            yield f"{name}: {missing} answers as API Gateway pleases"
        for kind, answer in answers.items():
            if answer["responseParameters"].get("gatewayresponse.header.Content-Type") != "'application/problem+json'":
                yield f"{name}: {kind} is not application/problem+json"
            # The one variable there is stands for a string with its quotes.
            text = answer["responseTemplates"]["application/json"].replace("$context.error.messageString", '"why"')
            body = json.loads(text)
            if not body.keys() >= {"type", "title", "detail", "code"}:
                yield f"{name}: {kind} lacks a member of a problem"
            error = body.get("error", {})
            if (error.get("message"), error.get("code")) != (body.get("detail"), body.get("code")):
                yield f"{name}: {kind} is no error that the SDKs of OpenAI read"
            if not {"type", "param"} <= error.keys():
                yield f"{name}: {kind} lacks a member of OpenAI's error"
            if str(body.get("status", "")) != answer.get("statusCode", ""):
                yield f"{name}: {kind} says another status than it has"


def every_function_is_traced(stack: Stack) -> Complaints:
    for name, function in stack.of_type("Lambda::Function"):
        if function.get("TracingConfig") != {"Mode": "Active"}:
            yield f"{name}: not traced"


WHO_ENDS_TASKS = ("Submit", "Openai", "Worker", "Workflow", "Status", "Cancel", "DeadLetter")
"""The functions whose transitions may end the last task of a batch."""


def webhooks_are_delivered_from_nowhere_near_redis(stack: Stack) -> Complaints:
    """What calls addresses of callers' choice has no network of ours, no way into Redis, and calls only the public."""
    function = "WebhookFunction"
    if "VpcConfig" in stack.properties(function):
        yield f"{function}: is in a network"
    for variable in stack.variables(function):
        if variable.startswith("REDIS_"):
            yield f"{function}: is given {variable}"
    loopback = {"WebhookFunction", "SubmitFunction"}
    for name in sorted(loopback):
        if stack.variables(name).get("WEBHOOK_LOOPBACK") != "false":
            yield f"{name}: WEBHOOK_LOOPBACK is on where nothing is said"


def a_queues_address_is_given_to_its_functions(stack: Stack) -> Complaints:
    expected = [
        ("SubmitFunction", "QUEUE_URL", "TaskQueue"),
        ("SubmitFunction", "WORKFLOW_QUEUE_URL", "WorkflowQueue"),
        ("OpenaiFunction", "QUEUE_URL", "TaskQueue"),
        ("WorkerFunction", "QUEUE_URL", "TaskQueue"),
        ("WorkflowFunction", "QUEUE_URL", "WorkflowQueue"),
        *((f"{name}Function", "WEBHOOK_QUEUE_URL", "WebhookQueue") for name in (*WHO_ENDS_TASKS, "Webhook")),
        ("WebhookFunction", "RECEIPT_QUEUE_URL", "ReceiptQueue"),
    ]
    for function, variable, queue in expected:
        if target(stack.variables(function).get(variable)) != queue:
            yield f"{function}: {variable} is not {queue}"


RULES = [
    visibility_outlasts_an_invocation,
    a_source_queue_hands_over_after_twenty_receives,
    dead_letters_outlive_the_queue_they_come_from,
    queues_encrypt_what_they_hold,
    only_failed_messages_come_back,
    concurrency_is_bounded_at_the_event_source,
    what_holds_calls_leaves_concurrency_to_the_rest_of_the_api,
    a_capped_queue_keeps_room_for_every_tenant,
    large_batches_have_a_window,
    each_time_is_shorter_than_the_next,
    every_function_has_a_log_group_that_ends,
    functions_are_packaged_under_their_own_path,
    every_method_but_the_public_ones_asks_the_authorizer,
    every_method_is_throttled_and_open_pages_more,
    functions_answer_before_the_gateway_gives_up,
    the_gateways_own_errors_are_problems_with_a_code,
    every_function_is_traced,
    webhooks_are_delivered_from_nowhere_near_redis,
    a_queues_address_is_given_to_its_functions,
]
