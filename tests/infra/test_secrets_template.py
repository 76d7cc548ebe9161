from samtranslator.yaml_helper import yaml_parse

from tests.infra.stack import ROOT, read_template
from tools.keys import DEFAULT_SECRET


def test_the_secrets_stack_makes_the_secrets_that_the_application_and_make_key_look_for() -> None:
    parameters = yaml_parse((ROOT / "infra" / "secrets.yaml").read_text())["Parameters"]
    wanted = read_template()["Parameters"]

    defaults = {name: parameter["Default"] for name, parameter in parameters.items()}
    assert defaults == {
        name: wanted[name]["Default"] for name in ("OpenAIApiKeySecret", "ApiKeysSecret", "WebhookSecret")
    }
    assert defaults["ApiKeysSecret"] == DEFAULT_SECRET
