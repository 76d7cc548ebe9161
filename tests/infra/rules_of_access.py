"""Define the rules of permissions, secrets and settings; see `rules`."""

import re
from collections.abc import Callable, Iterator, Mapping

from common.domain.errors import SettingError
from common.runtime.settings import Environment, RedisSettings, StoreSettings
from common.submission.settings import SubmissionSettings
from common.worker.settings import WorkerSettings
from functions.authorizer.settings import AuthorizerSettings
from functions.status.settings import StatusSettings
from functions.webhook.settings import WebhookSettings
from functions.workflow.settings import WorkflowSettings
from tests.infra.rules import Complaints, sources
from tests.infra.stack import Stack, listed, target

STARS = {
    ("TracingPolicy", "SendTraces"): "X-Ray's two actions know no resource",
    ("NetworkPolicy", "MakeInterfaces"): "an interface has no name before it is made",
    ("NetworkPolicy", "UseAndRemoveThem"): "nor has Lambda told anybody which it made",
    ("NetworkPolicy", "FindThem"): "EC2's descriptions know no resource",
    ("NetworkPolicy", "NothingOfItForTheCode"): "it denies",
    ("DeploymentRole", "LookAtTheAlarms"): "CloudWatch's description of alarms knows no resource",
}
"""The statements that may name every resource, each with its reason."""

POLLING = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
"""What Lambda does with a queue in the name of the function that it feeds."""

SECRET_VALUE = re.compile(r"sk-|AKIA|-----BEGIN|resolve:(?:secretsmanager|ssm)|[0-9A-Za-z+/]{40}")
"""How keys look, and how CloudFormation would put one into an environment."""

SECRET_NAME = re.compile(r"KEY|TOKEN(?!S_PER_MINUTE)|PASSWORD|CREDENTIAL|SECRET")

NOT_SETTINGS = re.compile(r"POWERTOOLS_\w+|AWS_ENDPOINT_URL|AWS_REGION|SLUICE_BUILD|LANGSMITH_TRACING")
"""Variables that libraries read and no settings module of ours, or that Lambda sets."""


def permissions_name_their_action_and_resource(stack: Stack) -> Complaints:
    for name, statement in stack.statements():
        sid = statement.get("Sid", "without a Sid")
        if any("*" in action for action in listed(statement.get("Action", "*"))):
            yield f"{name}, {sid}: an action with *"
        resources = listed(statement.get("Resource", "*"))
        if any("*" in str(resource) for resource in resources) and (name, sid) not in STARS:
            yield f"{name}, {sid}: a resource with *"


def a_function_has_a_role_of_its_own_and_no_policy_of_aws(stack: Stack) -> Complaints:
    """AWS's managed policies, and so the roles that SAM would make, name every resource."""
    taken: set[str] = set()
    for name, function in stack.of_type("Lambda::Function"):
        role = target(function["Role"])
        if role in taken:
            yield f"{name}: shares {role}"
        taken.add(role)
        if any(not target(policy) for policy in stack.properties(role).get("ManagedPolicyArns", [])):
            yield f"{role}: a managed policy of AWS"


def statements(stack: Stack, function: str) -> Iterator[tuple[set[str], list[object]]]:
    """Yield the actions and resources of each statement of a function's own role."""
    role = target(stack.properties(function)["Role"])
    for name, statement in stack.statements():
        if name == role:
            yield set(listed(statement["Action"])), listed(statement["Resource"])


def a_function_may_read_the_queue_that_feeds_it(stack: Stack) -> Complaints:
    for _, _, queue, function in sources(stack):
        granted: set[str] = set()
        for actions, resources in statements(stack, function):
            if [target(resource) for resource in resources] == [queue]:
                granted |= actions
        for action in sorted(POLLING - granted):
            yield f"{function}: may not {action} on {queue}"


def a_function_may_write_its_own_log(stack: Stack) -> Complaints:
    for name, function in stack.of_type("Lambda::Function"):
        group = target(function.get("LoggingConfig", {}).get("LogGroup"))
        for actions, resources in statements(stack, name):
            if "logs:PutLogEvents" in actions and [target(resource) for resource in resources] == [group]:
                break
        else:
            yield f"{name}: may not write to {group}"


def a_function_may_read_the_secrets_it_names_and_no_other(stack: Stack) -> Complaints:
    for name, _ in stack.of_type("Lambda::Function"):
        # Parameters are at their defaults here: the permission has to be made from the same one.
        named = {f"{target(v) or v}" for key, v in stack.variables(name).items() if key.endswith("_SECRET")}
        readable: set[str] = set()
        for actions, resources in statements(stack, name):
            if "secretsmanager:GetSecretValue" in actions:
                for resource in resources:
                    found = re.search(
                        r":secret:\$\{(\w+)\}-\?{6}$",
                        str(resource.get("Fn::Sub", "")) if isinstance(resource, dict) else "",
                    )
                    readable.add(stack.source["Parameters"][found[1]]["Default"] if found else str(resource))
        if named != readable:
            yield f"{name}: names the secrets {sorted(named)} and may read {sorted(readable)}"


def no_environment_holds_a_secret(stack: Stack) -> Complaints:
    for name, _ in stack.of_type("Lambda::Function"):
        for variable, value in stack.variables(name).items():
            if SECRET_VALUE.search(str(value)):
                yield f"{name}: {variable} looks like a secret"
            if SECRET_NAME.search(variable) and not variable.endswith("_SECRET"):
                yield f"{name}: {variable} is named like a secret; only names of secrets are passed, in *_SECRET"


def a_function_that_feeds_itself_may_loop_and_no_other(stack: Stack) -> Complaints:
    """Lambda stops a message that passed about 16 invocations in a row, unless the function allows it."""
    sends: dict[str, set[str]] = {}
    fed = {(queue, function) for _, _, queue, function in sources(stack)}
    for _, fed_function in fed:
        sends[fed_function] = {
            target(resource)
            for actions, resources in statements(stack, fed_function)
            if "sqs:SendMessage" in actions
            for resource in resources
        }

    def reached(function: str, seen: set[str]) -> set[str]:
        for queue, other in fed:
            if queue in sends[function] and other not in seen:
                seen.add(other)
                reached(other, seen)
        return seen

    for name, function in stack.of_type("Lambda::Function"):
        loops = name in sends and name in reached(name, set())
        if loops and function.get("RecursiveLoop") != "Allow":
            yield f"{name}: feeds itself without RecursiveLoop: Allow"
        if not loops and function.get("RecursiveLoop", "Terminate") != "Terminate":
            yield f"{name}: needs no recursive loop"


SETTINGS: dict[str, Callable[[Environment], object]] = {
    "AuthorizerFunction": AuthorizerSettings.from_env,
    "CancelFunction": StoreSettings.from_env,
    "DeadLetterFunction": StoreSettings.from_env,
    "DocsFunction": dict,  # it has none
    "ReceiptFunction": RedisSettings.from_env,
    "StatusFunction": StatusSettings.from_env,
    "OpenaiFunction": SubmissionSettings.for_single_requests,
    "SubmitFunction": SubmissionSettings.from_env,
    "WebhookFunction": WebhookSettings.from_env,
    "WorkerFunction": WorkerSettings.from_env,
    "WorkflowFunction": WorkflowSettings.from_env,
}
"""What each function reads its environment with."""


class _Recorder(Mapping[str, str]):
    """Stand for an environment, and note which variables are asked for."""

    def __init__(self, variables: Mapping[str, object]) -> None:
        self._variables = {"AWS_REGION": "eu-west-1"} | {name: _plausible(value) for name, value in variables.items()}
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def _plausible(value: object) -> str:
    """Return a value, and for one that is made at deployment one like it."""
    if not isinstance(value, dict):
        return str(value)
    return "6379" if value == {"Fn::GetAtt": ["Cache", "Outputs.Port"]} else "http://localhost/made"


def a_functions_environment_is_what_its_settings_read(stack: Stack) -> Complaints:
    for name, _ in stack.of_type("Lambda::Function"):
        variables = {k: v for k, v in stack.variables(name).items() if not NOT_SETTINGS.fullmatch(k)}
        environment = _Recorder(variables)
        # Reading with the template's own values proves besides that they are accepted.
        try:
            SETTINGS[name](environment)
        except SettingError as error:
            yield f"{name}: {error}"
        for variable in sorted(environment.asked - variables.keys()):
            if NOT_SETTINGS.fullmatch(variable):
                continue
            yield f"{name}: reads {variable}, which it is not given"
        for variable in sorted(variables.keys() - environment.asked):
            yield f"{name}: is given {variable}, which it does not read"


RULES = [
    permissions_name_their_action_and_resource,
    a_function_has_a_role_of_its_own_and_no_policy_of_aws,
    a_function_may_read_the_queue_that_feeds_it,
    a_function_may_write_its_own_log,
    a_function_may_read_the_secrets_it_names_and_no_other,
    no_environment_holds_a_secret,
    a_function_that_feeds_itself_may_loop_and_no_other,
    a_functions_environment_is_what_its_settings_read,
]
