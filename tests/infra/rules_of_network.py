"""Define the rules of network, cache, the functions' access to them, and aliases; see `rules`."""

import itertools
from collections.abc import Callable

from tests.infra.rules import Complaints, sources
from tests.infra.rules_of_access import POLLING, statements
from tests.infra.stack import NESTED, Templates, listed, target

OUTSIDE = {"AuthorizerFunction", "DocsFunction", "WebhookFunction"}
"""Functions that need no Redis, and so no network: those that need AWS or the internet have both without one."""

IN_NAT = {"WorkerFunction", "WorkflowFunction"}
"""Functions in the network that call somebody outside."""

DANGEROUS = (
    "+@all",
    "allkeys",
    "~*",
    "allchannels",
    "&*",
    "nopass",
    "+@dangerous",
    "+@admin",
    "+script",
    "+config",
    "+keys",
)
"""What no user's rights may have in them."""


def the_cache_speaks_tls_and_encrypts_what_it_keeps(templates: Templates) -> Complaints:
    for kind, wanted in (
        ("TransitEncryptionEnabled", True),
        ("AtRestEncryptionEnabled", True),
        ("TransitEncryptionMode", "required"),
    ):
        for name, nodes in templates.nested("cache").of_type("ElastiCache::ReplicationGroup"):
            if nodes.get(kind) != wanted:
                yield f"{name}: {kind} is not {wanted}"
    for name, nodes in templates.nested("cache", KmsKeyArn="arn:key").of_type("ElastiCache::ReplicationGroup"):
        if nodes.get("KmsKeyId") != "arn:key":
            yield f"{name}: KmsKeyArn is not used"


def the_cache_refuses_instead_of_evicting(templates: Templates) -> Complaints:
    cache = templates.nested("cache")
    for name, nodes in cache.of_type("ElastiCache::ReplicationGroup"):
        group = cache.properties(target(nodes.get("CacheParameterGroupName")) or name)
        if group.get("Properties", {}).get("maxmemory-policy") != "noeviction":
            yield f"{name}: its policy is not noeviction"
        if group.get("Properties", {}).get("cluster-enabled") != "yes" or nodes.get("ClusterMode") != "enabled":
            yield f"{name}: not in cluster mode"


def a_changed_number_of_shards_keeps_the_records(templates: Templates) -> Complaints:
    for name, resource in templates.nested("cache").resources.items():
        online = resource.get("UpdatePolicy", {}).get("UseOnlineResharding") is True
        if resource["Type"] == "AWS::ElastiCache::ReplicationGroup" and not online:
            yield f"{name}: without UseOnlineResharding"


def only_the_functions_reach_the_cache(templates: Templates) -> Complaints:
    cache = templates.nested("cache", FunctionSecurityGroupId="sg-1", WorkerSecurityGroupId="sg-2")
    for name, group in cache.of_type("EC2::SecurityGroup"):
        for rule in group["SecurityGroupIngress"]:
            if rule.get("SourceSecurityGroupId") not in {"sg-1", "sg-2"} or rule["FromPort"] != rule["ToPort"]:
                yield f"{name}: lets in more than the functions"
    for name, nodes in cache.of_type("ElastiCache::ReplicationGroup"):
        if [target(group) for group in nodes.get("SecurityGroupIds", [])] != ["NodeSecurityGroup"]:
            yield f"{name}: not in its own security group alone"


def every_user_signs_in_and_has_few_rights(templates: Templates) -> Complaints:
    cache = templates.nested("cache")
    users = dict(cache.of_type("ElastiCache::User"))
    for name, user in users.items():
        if user.get("AuthenticationMode") != {"Type": "iam"}:
            yield f"{name}: does not sign in with IAM"
        rights = user["AccessString"].split()
        for right in rights:
            if right in DANGEROUS:
                yield f"{name}: has {right}"
        if "-@all" not in rights or "resetchannels" not in rights:
            yield f"{name}: does not begin with nothing"
        if user["UserId"] != user["UserName"]:
            yield f"{name}: IAM needs one name for both"


def the_cache_knows_nobody_but_its_users(templates: Templates) -> Complaints:
    cache = templates.nested("cache")
    users = {name for name, _ in cache.of_type("ElastiCache::User")}
    for name, group in cache.of_type("ElastiCache::UserGroup"):
        if {target(user) for user in group["UserIds"]} != users:
            yield f"{name}: does not have all users"
    for kind in ("ElastiCache::ReplicationGroup", "ElastiCache::ServerlessCache"):
        for chosen in ("node", "serverless"):
            for name, made in templates.nested("cache", CacheKind=chosen).of_type(kind):
                if [target(group) for group in listed(made.get("UserGroupIds", made.get("UserGroupId")))] != ["Users"]:
                    yield f"{name}: without the users"


def a_function_signs_in_as_itself_alone(templates: Templates) -> Complaints:
    root = templates.root()
    known = {user["UserId"]["Fn::Sub"] for _, user in templates.nested("cache").of_type("ElastiCache::User")}
    for name, function in root.of_type("Lambda::Function"):
        user = root.variables(name).get("REDIS_USERNAME")
        role = target(function["Role"])
        allowed = [statement for owner, statement in root.statements() if owner == role]
        connects = [each for each in allowed if "elasticache:Connect" in listed(each["Action"])]
        if user is None:
            if connects:
                yield f"{name}: may sign in, and has no user"
            continue
        if user["Fn::Sub"] not in known:
            yield f"{name}: {user['Fn::Sub']} is no user of the cache"
        suffix = f":user:{user['Fn::Sub']}"
        resources = [each for statement in connects for each in listed(statement["Resource"])]
        users = [each["Fn::Sub"] for each in resources if "Fn::Sub" in each]
        if len(users) != 1 or not users[0].endswith(suffix):
            yield f"{name}: may sign in as {users}"
        if root.variables(name)["REDIS_IAM"] != "true" or root.variables(name)["REDIS_TLS"] != "true":
            yield f"{name}: signs in without IAM or TLS"


def a_function_is_where_its_work_is(templates: Templates) -> Complaints:
    root = templates.root()
    for name, function in root.of_type("Lambda::Function"):
        network = function.get("VpcConfig")
        if name in OUTSIDE:
            if network:
                yield f"{name}: in a network, which it does not need"
            continue
        kind = "Worker" if name in IN_NAT else "Isolated"
        group = "Worker" if name in IN_NAT else "Function"
        subnets = {"Fn::Split": [",", {"Fn::GetAtt": ["Network", f"Outputs.{kind}SubnetIds"]}]}
        groups = [{"Fn::GetAtt": ["Network", f"Outputs.{group}SecurityGroupId"]}]
        if network != {"SubnetIds": subnets, "SecurityGroupIds": groups}:
            yield f"{name}: not in the {kind} subnets with the group {group}"
        if {"Ref": "NetworkPolicy"} not in root.properties(target(function["Role"]))["ManagedPolicyArns"]:
            yield f"{name}: Lambda may not hang it in"


def lambda_may_hang_functions_into_the_network(templates: Templates) -> Complaints:
    """Lambda's own check before CreateFunction names no interface: a resource of one kind is a no to it."""
    allowed = {
        action: resource
        for name, statement in templates.root().statements()
        if name == "NetworkPolicy" and statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    if str(allowed.get("ec2:DeleteNetworkInterface", "")).count(":*/*") != 1:
        yield "NetworkPolicy: Lambda refuses it, for it may not delete any interface"


def what_is_there_is_used_and_nothing_made(templates: Templates) -> Complaints:
    stacks = {name for name, _ in templates.root(CacheHost="redis.example").of_type("CloudFormation::Stack")}
    if stacks & {"Network", "Cache"}:
        yield "a CacheHost: a network or a cache is made all the same"
    serverless = templates.root(CacheKind="serverless")
    if "Network" in serverless.resources or any("VpcConfig" in f for _, f in serverless.of_type("Lambda::Function")):
        yield "a serverless cache: a network is made all the same"
    own = templates.root(
        VpcId="vpc-1",
        IsolatedSubnetIds="subnet-1,subnet-2",
        WorkerSubnetIds="subnet-3,subnet-4",
        FunctionSecurityGroupId="sg-1",
        WorkerSecurityGroupId="sg-2",
    )
    if "Network" in own.resources:
        yield "a VpcId: a network is made all the same"
    expected = {"SubnetIds": {"Fn::Split": [",", "subnet-3,subnet-4"]}, "SecurityGroupIds": ["sg-2"]}
    if own.properties("WorkerFunction").get("VpcConfig") != expected:
        yield "a VpcId: WorkerFunction is not in it"


def what_is_called_as_a_parameter_is_given_it(templates: Templates) -> Complaints:
    """A nested stack's parameter that nobody hands over can be set by no operator."""
    root = templates.sources["root"]
    for nested in NESTED:
        given = root["Resources"][nested.capitalize()]["Properties"]["Parameters"]
        for name in sorted(templates.sources[nested]["Parameters"].keys() & root["Parameters"].keys() - given.keys()):
            yield f"{nested}: is not given {name}"


def redis_and_its_functions_have_no_way_to_the_internet(templates: Templates) -> Complaints:
    network = templates.nested("network")
    subnets = [target(part) for part in network.source["Outputs"]["IsolatedSubnetIds"]["Value"]["Fn::Join"][1]]
    table_of = {
        target(each["SubnetId"]): target(each["RouteTableId"])
        for _, each in network.of_type("EC2::SubnetRouteTableAssociation")
    }
    leading_out = {target(route["RouteTableId"]) for _, route in network.of_type("EC2::Route")}
    for subnet in subnets:
        if table_of.get(subnet) in {None, *leading_out}:
            yield f"{subnet}: has a way out, or the VPC's own routes"
    for name, properties in network.of_type("EC2::Subnet"):
        if properties.get("MapPublicIpOnLaunch"):
            yield f"{name}: gives public addresses"
    given = templates.sources["root"]["Resources"]["Cache"]["Properties"]["Parameters"]["SubnetIds"]
    if given["Fn::If"][1] != {"Fn::GetAtt": ["Network", "Outputs.IsolatedSubnetIds"]}:
        yield "Cache: not in the isolated subnets"


def the_endpoint_has_a_policy(templates: Templates) -> Complaints:
    for name, endpoint in templates.nested("network", QueueArns="arn:queue").of_type("EC2::VPCEndpoint"):
        statements = endpoint.get("PolicyDocument", {}).get("Statement", [{"Action": "*", "Resource": "*"}])
        for statement in statements:
            if "*" in str(statement["Action"]) or "*" in str(statement["Resource"]):
                yield f"{name}: lets more through than our queues"


def the_endpoint_lets_through_what_the_functions_behind_it_may(templates: Templates) -> Complaints:
    """What a role may do with the queue that feeds its function is Lambda's poller's, which is not in the network."""
    root = templates.root()
    [endpoint] = templates.nested("network", QueueArns="arn:queue").of_type("EC2::VPCEndpoint")
    open_to = {action for each in endpoint[1]["PolicyDocument"]["Statement"] for action in listed(each["Action"])}
    given = root.properties("Network")["Parameters"]["QueueArns"]["Fn::Join"][1]
    open_for = {target(queue) for queue in given}
    fed = {(function, queue) for _, _, queue, function in sources(root)}
    for name, function in root.of_type("Lambda::Function"):
        if "VpcConfig" not in function:
            continue
        for actions, resources in statements(root, name):
            for action, queue in itertools.product(sorted(actions), map(target, resources)):
                if not action.startswith("sqs:") or ((name, queue) in fed and action in POLLING):
                    continue
                if action not in open_to or queue not in open_for:
                    yield f"SqsEndpoint: stops {name} at {action} on {queue}"


def every_version_is_reached_by_its_alias(templates: Templates) -> Complaints:
    root = templates.root(GradualDeploys="true")
    aliases = {target(alias["FunctionName"]): name for name, alias in root.of_type("Lambda::Alias")}
    for name, _ in root.of_type("Lambda::Function"):
        if name not in aliases:
            yield f"{name}: no alias"
        elif "CodeDeployLambdaAliasUpdate" not in root.resources[aliases[name]].get("UpdatePolicy", {}):
            yield f"{name}: a new version takes over at once"
    for name, source in root.of_type("Lambda::EventSourceMapping"):
        if target(source["FunctionName"]) not in aliases.values():
            yield f"{name}: passes the alias by"
    for version, properties in root.of_type("Lambda::Version"):
        if properties.get("Description") != "unbuilt":
            yield f"{version}: not made anew by each build"
    for name, group in root.of_type("CodeDeploy::DeploymentGroup"):
        if not group.get("AlarmConfiguration", {}).get("Alarms"):
            yield f"{name}: no alarm takes it back"


def the_authorizer_is_asked_by_its_alias(templates: Templates) -> Complaints:
    root = templates.root()
    [alias] = [
        name for name, each in root.of_type("Lambda::Alias") if target(each["FunctionName"]) == "AuthorizerFunction"
    ]
    live = {"Fn::Sub": "${AuthorizerFunction.Arn}:live"}
    permissions = [each for _, each in root.of_type("Lambda::Permission") if "/authorizers/" in str(each["SourceArn"])]
    for name, api in root.of_type("ApiGateway::RestApi"):
        for scheme in api["Body"]["components"]["securitySchemes"].values():
            uri = scheme["x-amazon-apigateway-authorizer"]["authorizerUri"]["Fn::Sub"]
            if uri[1] != {"__FunctionArn__": live} or [each["FunctionName"] for each in permissions] != [live]:
                yield f"{name}: passes the authorizer's alias by"
        # The permission names the API, and so comes after all that the API comes after.
        if root.resources[name].get("DependsOn") != alias:
            yield f"{name}: may be permitted to ask an alias that is not there yet"


RULES: list[Callable[[Templates], Complaints]] = [
    the_cache_speaks_tls_and_encrypts_what_it_keeps,
    the_cache_refuses_instead_of_evicting,
    a_changed_number_of_shards_keeps_the_records,
    only_the_functions_reach_the_cache,
    every_user_signs_in_and_has_few_rights,
    the_cache_knows_nobody_but_its_users,
    a_function_signs_in_as_itself_alone,
    a_function_is_where_its_work_is,
    lambda_may_hang_functions_into_the_network,
    what_is_there_is_used_and_nothing_made,
    what_is_called_as_a_parameter_is_given_it,
    redis_and_its_functions_have_no_way_to_the_internet,
    the_endpoint_has_a_policy,
    the_endpoint_lets_through_what_the_functions_behind_it_may,
    every_version_is_reached_by_its_alias,
    the_authorizer_is_asked_by_its_alias,
]
