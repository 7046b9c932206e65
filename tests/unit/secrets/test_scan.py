"""Tests of the search for secrets. All secrets are generated, so that this file contains none."""

import base64
import random
import string
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.errors import SourceError
from smsweep.secrets.scan import FileScan, Finding, refuse_secrets, scan_text

ALNUM = string.ascii_letters + string.digits
RNG = random.Random(20260101)


def draw(n: int, alphabet: str = ALNUM) -> str:
    return "".join(RNG.choices(alphabet, k=n))


HEX = draw(40, string.hexdigits.lower())
COUNTED = ("0123456789abcdef" * 3)[:40]
WANDB_NEW = f"wandb_v1_{draw(27)}_{draw(49)}"
AWS_ID = f"AKIA{draw(16, string.ascii_uppercase + '234567')}"
AWS_SECRET = draw(40, ALNUM + "+/")
HUGGING_FACE = f"hf_{draw(34)}"
GITHUB = f"ghp_{draw(36)}"
OPENAI = f"sk-proj-{draw(80, ALNUM + '-_')}"
ANTHROPIC = f"sk-ant-api03-{draw(93, ALNUM + '-_')}AA"
SLACK = f"xoxb-{draw(12, string.digits)}-{draw(13, string.digits)}-{draw(24)}"
DULL_SLACK = f"xoxp-0192837465-5647382910-{draw(24, string.ascii_letters)}"  # digits at no end
AZURE = draw(86, ALNUM + "+/") + "=="
DISCORD = f"{draw(19, string.digits)}/{draw(68, ALNUM + '-_')}"
SIGNATURE = draw(43, ALNUM + "-_")
GENERIC = f"{draw(10)}7a3b{draw(16)}"
PASSWORD = draw(14)
JWT = ".".join(
    base64.urlsafe_b64encode(text).decode().rstrip("=")
    for text in (b'{"alg":"HS256"}', b'{"sub":"%d"}' % RNG.getrandbits(64), RNG.randbytes(32))
)
PEM_BODY = "\n".join(base64.b64encode(RNG.randbytes(48)).decode() for _ in range(12))
PEM_BEGIN = "-----BEGIN RSA PRIVATE " + "KEY-----"

CANARIES = [
    ("train.py", f'os.environ["WANDB_API_KEY"] = "{HEX}"', HEX, "WANDB_API_KEY", "W&B"),
    ("train.py", f'os.environ.setdefault("WANDB_API_KEY", "{HEX}")', HEX, "WANDB_API_KEY", "W&B"),
    ("train.py", f'wandb.login(key="{HEX}")', HEX, "key", "W&B"),
    ("train.py", f'wandb.login(\n    relogin=True,\n    key="local-{HEX}",\n)', f"local-{HEX}", "key", "W&B"),
    ("train.py", f"wandb.login(key='{WANDB_NEW}')", WANDB_NEW, "key", "W&B"),
    ("run.sh", f"export WANDB_API_KEY={HEX}", HEX, "WANDB_API_KEY", "W&B"),
    ("run.sh", f"wandb login {HEX}", HEX, "", "W&B"),
    ("run.sh", f"wandb login --relogin --host=https://x.org {HEX}", HEX, "", "W&B"),
    ("Dockerfile", f"ENV WANDB_API_KEY {HEX}", HEX, "", "W&B"),
    ("job.yaml", f"environment:\n  WANDB_API_KEY: {HEX}\n", HEX, "WANDB_API_KEY", "W&B"),
    ("job.yaml", f"environment: {{WANDB_API_KEY: {HEX}}}\n", HEX, "WANDB_API_KEY", "W&B"),
    (
        "sweep.yaml",
        f"parameters:\n  api_key:\n    value: x\n  token: {GENERIC}\n",
        GENERIC,
        "token",
        "by its name",
    ),
    ("sweep.yaml", f'command: [python, "--api-key={GENERIC}"]', GENERIC, "--api-key", "by its name"),
    ("hp.json", f'{{"WANDB_API_KEY": "{HEX}"}}', HEX, "WANDB_API_KEY", "W&B"),
    ("notes", f"machine api.wandb.ai\n  login user\n  password {HEX}\n", HEX, "", "netrc"),
    (
        "train.py",
        f'boto3.client("s3", aws_access_key_id="{AWS_ID}")',
        AWS_ID,
        "aws_access_key_id",
        "AWS access key id",
    ),
    ("train.py", f'aws_secret_access_key="{AWS_SECRET}"', AWS_SECRET, "aws_secret_access_key", "AWS secret"),
    ("config", f"aws_secret_access_key = {AWS_SECRET}", AWS_SECRET, "aws_secret_access_key", "AWS secret"),
    ("train.py", f'login(token="{HUGGING_FACE}")', HUGGING_FACE, "token", "Hugging Face"),
    ("train.py", f"# remember {HUGGING_FACE} for later", HUGGING_FACE, "", "Hugging Face"),
    ("requirements.txt", f"git+https://{GITHUB}@github.com/a/b", GITHUB, "", "GitHub"),
    (
        "requirements.txt",
        f"demo @ https://bot:{PASSWORD}@files.example.com/demo-1.0.tar.gz",
        PASSWORD,
        "",
        "in a URL",
    ),
    ("train.py", f'openai.api_key = "{OPENAI}"', OPENAI, "openai.api_key", "OpenAI"),
    ("train.py", f"ANTHROPIC_API_KEY: str = '{ANTHROPIC}'", ANTHROPIC, "ANTHROPIC_API_KEY", "Anthropic"),
    ("train.py", f'slack("{SLACK}")', SLACK, "slack", "Slack token"),
    ("train.py", f'requests.get(url, headers={{"Authorization": "Bearer {JWT}"}})', JWT, "", "JSON web token"),
    ("train.py", f'KEY = """{PEM_BEGIN}\n{PEM_BODY}\n-----END"""', PEM_BODY[:30], "KEY", "private key"),
    (
        "account.json",
        f'{{"private_key": "{PEM_BEGIN}\\n{PEM_BODY[:64]}\\n"}}',
        PEM_BODY[:30],
        "private_key",
        "private",
    ),
    ("train.py", f'COMET_API_KEY = "{GENERIC}"', GENERIC, "COMET_API_KEY", "by its name"),
    ("train.py", f'parser.add_argument("--token", default="{GENERIC}")', GENERIC, "--token", "by its name"),
    ("train.py", f'os.getenv("MY_SECRET", "{GENERIC}")', GENERIC, "MY_SECRET", "by its name"),
    ("train.py", f'WANDB_API_KEY = "{COUNTED}"', COUNTED, "WANDB_API_KEY", "W&B"),
    ("sweep.yaml", f"wandb_api_key: {{value: {COUNTED}}}", COUNTED, "wandb_api_key", "W&B"),
    ("train.py", f'WANDB_KEY = "{HEX}"', HEX, "WANDB_KEY", "W&B"),
    ("config.json", f'{{"wandb-token": "{HEX}"}}', HEX, "wandb-token", "W&B"),
    ("train.py", f'p.add_argument("--token", type=str, default="{GENERIC}")', GENERIC, "--token", "by its name"),
    ("deploy.yaml", f"env:\n- name: WANDB_API_KEY\n  value: {HEX}\n", HEX, "value", "by its name"),
    ("task.json", f'{{"name": "DB_PASSWORD", "value": "{GENERIC}"}}', GENERIC, "value", "by its name"),
    ("train.py", f'get(url, headers={{"Authorization": "Bearer {GENERIC}"}})', GENERIC, "", "HTTP header"),
    ("train.py", f'connect("AccountName=a;AccountKey={AZURE}")', AZURE, "AccountKey", "Azure"),
    ("train.py", f'slack("{DULL_SLACK}")', DULL_SLACK, "slack", "Slack token"),
    ("job.yaml", f"notify: https://discord.com/api/webhooks/{DISCORD}/slack", DISCORD, "", "Discord webhook"),
    (
        "job.yaml",
        f"notify: https://prod-1.westeurope.logic.azure.com:443/workflows/a/invoke?sv=1.0&sig={SIGNATURE}",
        SIGNATURE,
        "sig",
        "signature of a URL",
    ),
    ("settings.toml", f'db_password = "{GENERIC}"', GENERIC, "db_password", "by its name"),
]


@pytest.mark.parametrize(("name", "text", "secret", "key", "kind"), CANARIES, ids=lambda value: "")
def test_secret_is_found_and_not_shown(name: str, text: str, secret: str, key: str, kind: str) -> None:
    (finding,) = scan_text(name, f"first line\n{text}\n")
    assert finding.key == key
    assert kind in finding.kind
    assert finding.line == 2 + text[: text.index(PEM_BEGIN if "private" in kind else secret)].count("\n")
    with pytest.raises(SourceError) as caught:
        refuse_secrets([finding])
    for result in (str(finding), repr(finding), str(caught.value)):
        assert secret not in result
        assert secret[-12:] not in result


def test_known_secret_is_found_in_any_form() -> None:
    for value in ("hf_abcdefgh12345678", "my-example-password"):
        assert len(scan_text("notes.md", f"see {value} there", known=[value])) == 1


NOT_SECRETS = [
    (
        "README.md",
        "export HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz\nexport OPENAI_API_KEY=sk-1234567890abcdef12345678",
    ),
    ("train.py", 'WANDB_API_KEY = os.environ["WANDB_API_KEY"]'),
    ("train.py", 'api_key = os.environ.get("WANDB_API_KEY", "")'),
    ("train.py", "token = load_token_from_the_secret_manager_2(region1, name2)"),
    ("train.py", 'wandb.login(key="your-40-character-api-key-from-wandb-ai-authorize")'),
    ("train.py", f'wandb.login(key="{"x" * 40}")'),
    ("train.py", f'COMMIT = "{HEX}"'),
    ("train.py", f'checkpoint = "model-{HEX}.pt"'),
    ("train.py", 'pad_token = "<|endoftext|>"; tokenizer = "bert-base-uncased-finetuned-sst-2-english"'),
    ("train.py", 'secret_name = "prod/wandb-api-key-2024-v2"'),
    ("train.py", 'assert "-----BEGIN PRIVATE KEY-----" in text'),
    ("train.py", 'aws_access_key_id="AKIAIOSFODNN7EXAMPLE"'),
    ("train.py", 'print(f"token={token_of_the_session_number_17}")'),
    ("style.css", ".sk-estimator-doc-link-1 .sk-parallel-item-22 .sk-toggleable__control-hidden-3 { }"),
    ("requirements.txt", f"torch==2.5.1 --hash=sha256:{HEX}{HEX[:24]}"),
    ("requirements.txt", "demo @ https://${USER}:${TOKEN}@files.example.com/demo-1.0.tar.gz"),
    ("requirements.txt", "sqlalchemy @ git+https://github.com/sqlalchemy/sqlalchemy@main"),
    ("job.yaml", "secrets:\n  WANDB_API_KEY: arn:aws:secretsmanager:eu-west-1:123456789012:secret:wandb-AbC123"),
    ("job.yaml", "secrets:\n  KEY: arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/ml/wandb-key-Ab1dE2"),
    ("task.json", '{"name": "TOKEN", "valueFrom": "arn:aws:ssm:eu-west-1:123456789012:parameter/a1b2c3/d4e5f6"}'),
    ("deploy.yaml", "- name: API_KEY\n  value: $(API_KEY_OF_TEAM_1_IN_2024)\n"),
    ("train.py", 'headers = {"Authorization": f"Bearer {token_of_team_1_and_2_and_3}"}'),
    ("job.yaml", "secrets:\n  WANDB_API_KEY: ssm:/prod/wandb-api-key-2024/team1"),
    ("job.yaml", "secrets:\n  HF_TOKEN: env:HF_TOKEN_OF_TEAM_1\n  api_key: ${API_KEY}"),
    ("sweep.yaml", "parameters:\n  token: {values: [bert-base-uncased-v2, roberta-large-v1-2024]}"),
    ("uv.lock", f'token = "{GENERIC}"'),
    ("poetry.lock", f'token = "{HEX}"'),
    ("db.py", 'url = "postgresql://postgres:postgres1@localhost/test"'),
    ("ids.json", '{"clientRequestToken": "1d2129a1-3d38-460a-9756-e5b91fddb951"}'),
    ("run.sh", "export WANDB_API_KEY=$(aws secretsmanager get-secret-value --secret-id wandb)"),
    ("run.sh", 'export WANDB_API_KEY="$1"; export HF_TOKEN=${HF_TOKEN:?set it}'),
]


@pytest.mark.parametrize(("name", "text"), NOT_SECRETS, ids=lambda value: "")
def test_values_similar_to_secrets_are_not_found(name: str, text: str) -> None:
    assert scan_text(name, text) == []


def test_project_files_have_no_secrets() -> None:
    root = Path(__file__).parents[3]
    texts = (*root.glob("smsweep/**/*.py"), *root.glob("tests/**/*.py"), *root.glob("docs/*.md"))
    assert [finding for path in texts for finding in scan_text(path.name, path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        f'api_key = "{GENERIC}"  # smsweep: allow-secret',
        f'# a key for tests, smsweep: allow-secret\napi_key = "{GENERIC}"',
        f'    // smsweep:allow-secret\n    "api_key": "{GENERIC}"',
    ],
)
def test_line_can_be_allowed(text: str) -> None:
    assert scan_text("train.py", text) == []


def test_allow_comment_applies_to_one_line() -> None:
    text = f'a_token = "{GENERIC}"  # smsweep: allow-secret\nb_token = "{GENERIC}"\n'
    assert [finding.key for finding in scan_text("train.py", text)] == ["b_token"]


def test_secrets_are_found_once_in_order_of_lines() -> None:
    text = f'api_key = "{HUGGING_FACE}"\nWANDB_API_KEY = "{HEX}"\ntoken = "{GITHUB}"\n'
    assert [finding.line for finding in scan_text("train.py", text)] == [1, 2, 3]


def test_secret_as_a_key_is_not_shown() -> None:
    text = f'names = {{"{HUGGING_FACE}": "{GITHUB}", "{GENERIC}": "{WANDB_NEW}"}}'
    result = "".join(str(finding) for finding in scan_text("train.py", text))
    assert HUGGING_FACE not in result
    assert GENERIC not in result


@settings(max_examples=200, deadline=None)
@given(before=st.text(max_size=60), after=st.text(max_size=60), name=st.sampled_from(("a.py", "a.yaml", "a")))
def test_text_around_a_secret_never_shows_it(before: str, after: str, name: str) -> None:
    for finding in scan_text(name, f'{before}"{HUGGING_FACE}" {after}'):
        assert HUGGING_FACE[3:] not in repr(finding)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a" * 2**20,
            "token" * 200_000,
            "sk-" * 300_000,
            "eyJ." * 250_000,
            "-eyJ" * 250_000,
            'password="' * 100_000,
            "a1" * 500_000,
        ),
        *("machine a login b " * 50_000, "-----BEGIN PRIVATE " + "KEY-----\n" * 100_000, "wandb.login(" * 80_000),
        *("://a:b" * 150_000, "token=" + "=" * 2**20, "WANDB_API_KEY " * 70_000, "hf_" * 300_000),
    ],
    ids=lambda text: text[:12],
)
def test_hostile_mebibyte_is_scanned_quickly(text: str) -> None:
    started = time.process_time()
    scan_text("a.yaml", text)
    assert time.process_time() - started < 15


@pytest.mark.slow
@pytest.mark.parametrize("between", ["\n", " "], ids=("many lines", "one line"))
def test_mebibyte_of_secrets_is_scanned_quickly(between: str) -> None:
    piece = f'token = "{GENERIC}"{between}'
    started = time.process_time()
    assert len(scan_text("a.py", piece * (2**20 // len(piece)))) > 10_000
    assert time.process_time() - started < 15


def findings_in(data: bytes, known: Sequence[str] = (), *, piece: int = 2**24) -> list[Finding]:
    scan = FileScan("file.txt", known)
    for start in range(0, len(data), piece):
        scan.feed(data[start : start + piece])
    return scan.findings()


def test_file_name_selects_the_rules() -> None:
    (finding,) = findings_in(f"\ntoken={GENERIC}".encode())
    assert (finding.file, finding.line) == ("file.txt", 2)


def test_binary_file_is_not_scanned() -> None:
    assert findings_in(b"\0\1\2" + f"token={GENERIC}".encode()) == []


def test_text_in_another_encoding_is_scanned() -> None:
    assert findings_in(b"caf\xe9\n" + f"token={GENERIC}".encode()) != []
    assert findings_in(f"token={GENERIC}".encode("utf-16")) != []


def test_start_of_a_large_file_is_scanned() -> None:
    secret = f"token={GENERIC}\n".encode()
    assert len(findings_in(secret + b"x\n" * 2**20 + secret)) == 1


KNOWN = "horse-battery-staple"


@pytest.mark.parametrize("piece", [1, 7, 2**24])
def test_known_secret_is_found_in_a_binary_file(piece: int) -> None:
    data = b"\0\n\0\n" + KNOWN.encode() + b"\n" + KNOWN.encode()
    assert [finding.line for finding in findings_in(data, [KNOWN, "another"], piece=piece)] == [3]


def test_known_secret_is_found_far_into_a_text() -> None:
    allowed = f"{KNOWN}  # smsweep: allow-secret\n".encode()
    far = b"x\n" * 2**20
    (finding,) = findings_in(far + KNOWN.encode(), [KNOWN], piece=2**14)
    assert str(finding) == f"file.txt:{2**20 + 1}: ***: looks like a secret that this machine knows"
    assert findings_in(allowed + far, [KNOWN], piece=2**14) == []


def test_no_finding_raises_nothing() -> None:
    refuse_secrets([])


def test_refusal_names_locations_and_fix() -> None:
    findings = scan_text("job.yaml", f"environment:\n  WANDB_API_KEY: {HEX}\n  HF_TOKEN: {HUGGING_FACE}\n")
    with pytest.raises(SourceError) as caught:
        refuse_secrets(findings)
    assert "job.yaml:2: WANDB_API_KEY = ***: looks like a W&B API key" in str(caught.value)
    assert "job.yaml:3: HF_TOKEN = hf_***: looks like a Hugging Face token" in str(caught.value)
    assert "`secrets:` in job.yaml" in str(caught.value)


def test_long_refusal_is_cut() -> None:
    with pytest.raises(SourceError, match="and 5 more"):
        refuse_secrets(scan_text("a.py", f'token = "{GENERIC}"\n' * 25))


@pytest.mark.parametrize(
    "text",
    [
        f"parameters: {{wandb_key: {{value: {HEX}}}}}",
        f"parameters:\n  wandb_api_key:\n    value: {HEX}",
        f"parameters:\n  wandb_api_key:\n    values:\n      - {HEX}",
        f"parameters: {{my_token: {{values: [{HEX}]}}}}",
    ],
)
def test_secret_as_sweep_parameter_is_found(text: str) -> None:
    assert [finding.line for finding in scan_text("sweep config", text)] == [text.count("\n") + 1]


def test_known_secret_is_found_in_sweep_files() -> None:
    (finding,) = scan_text("train.py", "a = 1\n# it was horse-battery-staple\n", ["horse-battery-staple"])
    assert str(finding) == "train.py:2: ***: looks like a secret that this machine knows"
