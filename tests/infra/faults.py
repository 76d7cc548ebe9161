"""List template faults, each with the rule that must detect it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.infra import rules, rules_of_access
from tests.infra.rules import Complaints
from tests.infra.stack import Stack

type Rule = Callable[[Stack], Complaints]

ABSENT: Final = object()
"""As a fault's value: the place is taken out."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Put `value` at `path` of the template's source, and expect `rule` to complain of `culprit`."""

    rule: Rule
    culprit: str
    path: str
    value: Any = ABSENT

    def __str__(self) -> str:
        """Name the fault in a test's id."""
        return f"{self.path}={'ABSENT' if self.value is ABSENT else self.value}"

    def plant(self, source: dict[str, Any]) -> dict[str, Any]:
        """Return the source with the fault in it."""
        faulty = copy.deepcopy(source)
        *way, last = self.path.split(" ")
        place: Any = faulty
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if self.value is ABSENT:
            del place[last]
        else:
            place[last] = self.value
        return faulty


def _of(name: str, rest: str) -> str:
    return f"Resources {name} Properties {rest}"


_WORKER_POLLING = "Resources WorkerRole Properties Policies 0 PolicyDocument Statement 1"
_WORKER_SECRET = "Resources WorkerRole Properties Policies 0 PolicyDocument Statement 2"
_EMPTY_PROBLEM = {"application/json": '{"message":$context.error.messageString}'}

FAULTS = [
    Fault(rules.visibility_outlasts_an_invocation, "TaskQueue", "Parameters VisibilityTimeout Default", 315),
    Fault(rules.visibility_outlasts_an_invocation, "TaskQueue", "Parameters WorkerTimeout Default", 315),
    Fault(rules.visibility_outlasts_an_invocation, "TaskQueue", "Parameters BatchingWindow Default", 16),
    Fault(rules.visibility_outlasts_an_invocation, "TaskQueue", _of("TaskQueue", "VisibilityTimeout")),
    Fault(rules.visibility_outlasts_an_invocation, "WorkflowQueue", _of("WorkflowQueue", "VisibilityTimeout"), 315),
    Fault(rules.visibility_outlasts_an_invocation, "DeadLetterQueue", _of("DeadLetterFunction", "Timeout"), 61),
    Fault(rules.a_source_queue_hands_over_after_twenty_receives, "TaskQueue", _of("TaskQueue", "RedrivePolicy")),
    Fault(
        rules.a_source_queue_hands_over_after_twenty_receives,
        "TaskQueue",
        _of("TaskQueue", "RedrivePolicy maxReceiveCount"),
        3,
    ),
    Fault(
        rules.dead_letters_outlive_the_queue_they_come_from,
        "DeadLetterQueue",
        _of("TaskQueue", "MessageRetentionPeriod"),
        1_209_600,
    ),
    Fault(
        rules.dead_letters_outlive_the_queue_they_come_from,
        "DeadLetterQueue",
        _of("DeadLetterQueue", "MessageRetentionPeriod"),
        86_400,
    ),
    Fault(rules.queues_encrypt_what_they_hold, "TaskQueue", _of("TaskQueue", "SqsManagedSseEnabled")),
    Fault(
        rules.queues_encrypt_what_they_hold, "DeadLetterQueue", _of("DeadLetterQueue", "SqsManagedSseEnabled"), False
    ),
    Fault(
        rules.only_failed_messages_come_back,
        "WorkerFunctionTasks",
        _of("WorkerFunction", "Events Tasks Properties FunctionResponseTypes"),
    ),
    Fault(
        rules.only_failed_messages_come_back,
        "DeadLetterFunctionDeadLetters",
        _of("DeadLetterFunction", "Events DeadLetters Properties FunctionResponseTypes"),
    ),
    Fault(
        rules.concurrency_is_bounded_at_the_event_source,
        "WorkerFunctionTasks",
        _of("WorkerFunction", "Events Tasks Properties ScalingConfig"),
    ),
    Fault(rules.concurrency_is_bounded_at_the_event_source, "WorkerFunctionTasks", "Parameters MaxWorkers Default", 1),
    Fault(
        rules.concurrency_is_bounded_at_the_event_source,
        "WorkflowFunctionWorkflows",
        "Parameters MaxWorkflowWorkers Default",
        1,
    ),
    Fault(
        rules.concurrency_is_bounded_at_the_event_source,
        "WorkerFunction",
        _of("WorkerFunction", "ReservedConcurrentExecutions"),
        10,
    ),
    Fault(
        rules.what_holds_calls_leaves_concurrency_to_the_rest_of_the_api,
        "CancelFunction",
        _of("CancelFunction", "ReservedConcurrentExecutions"),
    ),
    Fault(
        rules.what_holds_calls_leaves_concurrency_to_the_rest_of_the_api,
        "StatusFunction: a new account",
        "Parameters ApiConcurrency Default",
        100,
    ),
    Fault(
        rules.what_holds_calls_leaves_concurrency_to_the_rest_of_the_api,
        "SubmitFunction: one tenant",
        "Parameters TenantHeldCalls Default",
        0,
    ),
    Fault(
        rules.what_holds_calls_leaves_concurrency_to_the_rest_of_the_api,
        "StatusFunction: one tenant",
        _of("StatusFunction", "Environment Variables MAX_HELD_CALLS"),
        "20",
    ),
    Fault(
        rules.a_capped_queue_keeps_room_for_every_tenant,
        "WorkflowFunction",
        _of("WorkflowFunction", "Environment Variables MAX_QUEUE_DEPTH"),
    ),
    Fault(
        rules.a_capped_queue_keeps_room_for_every_tenant,
        "SubmitFunction",
        "Parameters TenantQueueShare Default",
        100,
    ),
    Fault(rules.large_batches_have_a_window, "WorkerFunctionTasks", "Parameters BatchingWindow Default", 0),
    Fault(rules.large_batches_have_a_window, "LargeBatchesNeedAWindow", "Rules LargeBatchesNeedAWindow Assertions", []),
    Fault(
        rules.large_batches_have_a_window,
        "LargeBatchesNeedAWindow",
        "Rules LargeBatchesNeedAWindow Assertions 0 Assert Fn::Or 0 Fn::Contains",
        [[str(size) for size in range(1, 12)], {"Ref": "BatchSize"}],
    ),
    Fault(rules.each_time_is_shorter_than_the_next, "the model's timeout", "Parameters ModelTimeout Default", 300),
    Fault(
        rules.each_time_is_shorter_than_the_next, "the worker's timeout", "Parameters VisibilityTimeout Default", 300
    ),
    Fault(
        rules.each_time_is_shorter_than_the_next,
        "the visibility timeout",
        "Parameters VisibilityTimeout Default",
        21_600,
    ),
    Fault(
        rules.each_time_is_shorter_than_the_next,
        "the deadline",
        _of("SubmitFunction", "Environment Variables DEADLINE_SECONDS"),
        "86400",
    ),
    Fault(
        rules.each_time_is_shorter_than_the_next,
        "the longest deadline",
        _of("TaskQueue", "MessageRetentionPeriod"),
        777_600,
    ),
    Fault(
        rules.each_time_is_shorter_than_the_next,
        "WorkflowQueue: the longest deadline",
        _of("WorkflowQueue", "MessageRetentionPeriod"),
        777_600,
    ),
    Fault(
        rules.each_time_is_shorter_than_the_next,
        "WorkflowFunction: WORKER_TIMEOUT_SECONDS",
        _of("WorkflowFunction", "Environment Variables WORKER_TIMEOUT_SECONDS"),
        "299",
    ),
    Fault(
        rules.each_time_is_shorter_than_the_next,
        "WORKER_TIMEOUT_SECONDS",
        _of("WorkerFunction", "Environment Variables WORKER_TIMEOUT_SECONDS"),
        "299",
    ),
    Fault(rules.every_function_has_a_log_group_that_ends, "StatusFunction", _of("StatusFunction", "LoggingConfig")),
    Fault(
        rules.every_function_has_a_log_group_that_ends,
        "StatusFunction",
        _of("SubmitFunction", "LoggingConfig LogGroup Ref"),
        "StatusLogs",
    ),
    Fault(rules.every_function_has_a_log_group_that_ends, "WorkerLogs", _of("WorkerLogs", "RetentionInDays")),
    Fault(
        rules.functions_are_packaged_under_their_own_path,
        "SubmitFunction",
        "Resources SubmitFunction Metadata BuildProperties ParentPackages",
        "functions.status",
    ),
    Fault(
        rules.functions_are_packaged_under_their_own_path,
        "SubmitFunction",
        _of("SubmitFunction", "Handler"),
        "handler.lambda_handler",
    ),
    Fault(
        rules.functions_are_packaged_under_their_own_path,
        "CommonLayer",
        "Resources CommonLayer Metadata BuildProperties ParentPackageMode",
        "auto",
    ),
    Fault(
        rules.functions_are_packaged_under_their_own_path,
        "CommonLayer",
        "Resources CommonLayer Metadata BuildArchitecture",
        "arm64",
    ),
    Fault(rules.functions_are_packaged_under_their_own_path, "Globals", "Globals Function Architectures", ["x86_64"]),
    Fault(
        rules.every_method_but_the_public_ones_asks_the_authorizer,
        "POST /tasks",
        _of("SubmitFunction", "Events PostTasks Properties Auth"),
        {"Authorizer": "NONE"},
    ),
    Fault(
        rules.every_method_but_the_public_ones_asks_the_authorizer,
        "GET /tasks/{task_id}",
        _of("Api", "Auth DefaultAuthorizer"),
        "AWS_IAM",
    ),
    Fault(
        rules.every_method_but_the_public_ones_asks_the_authorizer,
        "GET /batches/{batch_id}",
        _of("StatusFunction", "Events GetBatch Properties Auth"),
        {"ApiKeyRequired": True, "Authorizer": "NONE"},
    ),
    Fault(
        rules.every_method_but_the_public_ones_asks_the_authorizer,
        "GET /docs",
        _of("DocsFunction", "Events GetPage Properties Auth"),
        {"Authorizer": "ApiKey"},
    ),
    Fault(
        rules.every_method_but_the_public_ones_asks_the_authorizer,
        "GET /console/{file}",
        _of("DocsFunction", "Events GetConsoleFile Properties Auth"),
        {"Authorizer": "ApiKey"},
    ),
    Fault(rules.functions_answer_before_the_gateway_gives_up, "SubmitFunction", _of("SubmitFunction", "Timeout"), 29),
    Fault(
        rules.the_gateways_own_errors_are_problems_with_a_code,
        "DEFAULT_5XX",
        _of("Api", "GatewayResponses DEFAULT_5XX"),
    ),
    Fault(
        rules.the_gateways_own_errors_are_problems_with_a_code,
        "THROTTLED is not",
        _of("Api", "GatewayResponses THROTTLED ResponseParameters"),
        {"Headers": {"Retry-After": "'1'"}},
    ),
    Fault(
        rules.the_gateways_own_errors_are_problems_with_a_code,
        "DEFAULT_4XX lacks",
        _of("Api", "GatewayResponses DEFAULT_4XX ResponseTemplates"),
        _EMPTY_PROBLEM,
    ),
    Fault(
        rules.the_gateways_own_errors_are_problems_with_a_code,
        "UNAUTHORIZED says",
        _of("Api", "GatewayResponses UNAUTHORIZED StatusCode"),
        403,
    ),
    Fault(rules.every_function_is_traced, "SubmitFunction", "Globals Function Tracing"),
    Fault(
        rules.a_queues_address_is_given_to_its_functions,
        "SubmitFunction",
        _of("SubmitFunction", "Environment Variables QUEUE_URL Ref"),
        "DeadLetterQueue",
    ),
    Fault(
        rules.a_queues_address_is_given_to_its_functions,
        "SubmitFunction: WORKFLOW_QUEUE_URL",
        _of("SubmitFunction", "Environment Variables WORKFLOW_QUEUE_URL Ref"),
        "TaskQueue",
    ),
    Fault(
        rules.a_queues_address_is_given_to_its_functions,
        "WorkflowFunction: QUEUE_URL",
        _of("WorkflowFunction", "Environment Variables QUEUE_URL Ref"),
        "TaskQueue",
    ),
    Fault(
        rules.a_queues_address_is_given_to_its_functions,
        "CancelFunction",
        _of("CancelFunction", "Environment Variables WEBHOOK_QUEUE_URL Ref"),
        "TaskQueue",
    ),
    Fault(
        rules.webhooks_are_delivered_from_nowhere_near_redis,
        "WebhookFunction: is in",
        _of("WebhookFunction", "VpcConfig"),
        {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    ),
    Fault(
        rules.webhooks_are_delivered_from_nowhere_near_redis,
        "REDIS_HOST",
        _of("WebhookFunction", "Environment Variables REDIS_HOST"),
        "redis.example",
    ),
    Fault(
        rules.webhooks_are_delivered_from_nowhere_near_redis,
        "SubmitFunction: WEBHOOK_LOOPBACK",
        "Parameters WebhookLoopback Default",
        "true",
    ),
    Fault(
        rules_of_access.permissions_name_their_action_and_resource, "WorkerRole", f"{_WORKER_POLLING} Action", "sqs:*"
    ),
    Fault(rules_of_access.permissions_name_their_action_and_resource, "WorkerRole", f"{_WORKER_POLLING} Resource", "*"),
    Fault(
        rules_of_access.permissions_name_their_action_and_resource,
        "WorkerRole",
        f"{_WORKER_SECRET} Resource",
        {"Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:*"},
    ),
    Fault(
        rules_of_access.permissions_name_their_action_and_resource,
        "TracingPolicy",
        "Resources TracingPolicy Properties PolicyDocument Statement 0 Sid",
        "SendAnything",
    ),
    Fault(
        rules_of_access.a_function_has_a_role_of_its_own_and_no_policy_of_aws,
        "SubmitFunctionRole",
        _of("SubmitFunction", "Role"),
    ),
    Fault(
        rules_of_access.a_function_has_a_role_of_its_own_and_no_policy_of_aws,
        "shares SubmitRole",
        _of("StatusFunction", "Role Fn::GetAtt"),
        ["SubmitRole", "Arn"],
    ),
    Fault(
        rules_of_access.a_function_may_read_the_queue_that_feeds_it,
        "sqs:DeleteMessage",
        f"{_WORKER_POLLING} Action",
        ["sqs:ReceiveMessage", "sqs:GetQueueAttributes"],
    ),
    Fault(
        rules_of_access.a_function_may_read_the_queue_that_feeds_it,
        "WorkerFunction",
        f"{_WORKER_POLLING} Resource Fn::GetAtt",
        ["DeadLetterQueue", "Arn"],
    ),
    Fault(
        rules_of_access.a_function_may_read_the_queue_that_feeds_it,
        "on WorkflowDeadLetterQueue",
        "Resources DeadLetterRole Properties Policies 0 PolicyDocument Statement 2 Resource Fn::GetAtt",
        ["DeadLetterQueue", "Arn"],
    ),
    Fault(
        rules_of_access.a_function_may_write_its_own_log,
        "StatusFunction",
        "Resources StatusRole Properties Policies 0 PolicyDocument Statement 0 Resource Fn::GetAtt",
        ["SubmitLogs", "Arn"],
    ),
    Fault(
        rules_of_access.a_function_may_read_the_secrets_it_names_and_no_other,
        "WorkerFunction",
        f"{_WORKER_SECRET} Resource Fn::Sub",
        "arn:aws:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${ApiKeysSecret}-??????",
    ),
    Fault(
        rules_of_access.a_function_may_read_the_secrets_it_names_and_no_other,
        "AuthorizerFunction",
        "Resources AuthorizerRole Properties Policies 0 PolicyDocument Statement 1 Action",
        "secretsmanager:DescribeSecret",
    ),
    Fault(
        rules_of_access.no_environment_holds_a_secret,
        "OPENAI_API_KEY looks",
        _of("WorkerFunction", "Environment Variables OPENAI_API_KEY"),
        "{{resolve:secretsmanager:sluice/openai-api-key}}",
    ),
    Fault(
        rules_of_access.no_environment_holds_a_secret,
        "REDIS_PASSWORD is named",
        _of("StatusFunction", "Environment Variables REDIS_PASSWORD"),
        "hunter2",
    ),
    Fault(
        rules_of_access.a_functions_environment_is_what_its_settings_read,
        "reads REDIS_HOST",
        _of("StatusFunction", "Environment Variables REDIS_HOST"),
    ),
    Fault(
        rules_of_access.a_functions_environment_is_what_its_settings_read,
        "WorkflowFunction: DEFAULT_MODEL",
        _of("WorkflowFunction", "Environment Variables DEFAULT_MODEL"),
    ),
    Fault(
        rules_of_access.a_functions_environment_is_what_its_settings_read,
        "is given QUEUE_URL",
        _of("StatusFunction", "Environment Variables QUEUE_URL"),
        "https://sqs.example/tasks",
    ),
    Fault(
        rules_of_access.a_function_that_feeds_itself_may_loop_and_no_other,
        "WorkerFunction: feeds itself",
        _of("WorkerFunction", "RecursiveLoop"),
    ),
    Fault(
        rules_of_access.a_function_that_feeds_itself_may_loop_and_no_other,
        "WorkflowFunction: feeds itself",
        _of("WorkflowFunction", "RecursiveLoop"),
        "Terminate",
    ),
    Fault(
        rules_of_access.a_function_that_feeds_itself_may_loop_and_no_other,
        "WebhookFunction: feeds itself",
        "Resources WebhookRole Properties Policies 0 PolicyDocument Statement 2 Resource",
        {"Fn::GetAtt": ["WebhookQueue", "Arn"]},
    ),
    Fault(
        rules_of_access.a_function_that_feeds_itself_may_loop_and_no_other,
        "SubmitFunction: needs no",
        _of("SubmitFunction", "RecursiveLoop"),
        "Allow",
    ),
    Fault(rules.every_method_is_throttled_and_open_pages_more, "of all methods", _of("Api", "MethodSettings")),
    Fault(
        rules.every_method_is_throttled_and_open_pages_more,
        "no ThrottlingBurstLimit",
        _of("Api", "MethodSettings 0 ThrottlingBurstLimit"),
    ),
    Fault(
        rules.every_method_is_throttled_and_open_pages_more,
        "of /docs",
        _of("Api", "MethodSettings 2 ResourcePath"),
        "/docs2",
    ),
    Fault(rules.every_method_is_throttled_and_open_pages_more, "of /openapi.json", "Parameters PageRate Default", 200),
]
