from tests.infra.stack import read_template, read_yaml
from tools.keys import DEFAULT_SECRET


def test_the_secrets_stack_makes_the_secrets_that_the_application_and_make_key_look_for() -> None:
    parameters = read_yaml("infra/secrets.yaml")["Parameters"]
    wanted = read_template()["Parameters"]

    defaults = {name: parameter["Default"] for name, parameter in parameters.items()}
    assert defaults == {
        name: wanted[name]["Default"] for name in ("OpenAIApiKeySecret", "ApiKeysSecret", "WebhookSecret")
    }
    assert defaults["ApiKeysSecret"] == DEFAULT_SECRET
