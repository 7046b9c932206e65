"""Rules that recognize secrets.

Users switch off a scan with false alarms. Therefore each rule needs a distinctive prefix, or the name that the
value is assigned to together with a value that looks random.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import re2


class LinearPattern:
    """A pattern that needs RE2: with backtracking, `-eyJ-eyJ-eyJ...` takes seconds per megabyte of log."""

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.log_errors = False  # RE2 would write to stderr directly
        self._regex = re2.compile(pattern, options)
        self.groupindex: dict[str, int] = self._regex.groupindex

    def finditer(self, text: str) -> Iterator[Any]:
        """Yield the matches, like `re`."""
        return iter(self._regex.finditer(text.encode("utf-8", "replace").decode()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    kind: str  # for messages: "a W&B API key"
    regex: re.Pattern[str] | LinearPattern  # the group `value` is the secret
    hint: str = ""  # a substring of every match; a text without it needs no slow search
    prefix_length: int = 0  # length of the prefix that every secret of the kind has, and that messages show
    is_certain: bool = False  # the value is known to be a secret, whatever its form
    must_be_random: bool = False  # the form or name alone is not sufficient


def _rule(kind: str, regex: str, hint: str = "", **options: bool | int) -> Rule:
    return Rule(kind=kind, regex=re.compile(regex), hint=hint, **options)  # type: ignore[arg-type]  # fields of Rule


# `name = `, `"name": `, `name: str = `, `get("name", `, `("--name", default=`, and, for the parameters of a sweep,
# `name: {value: `. The value follows.
_ASSIGNED = (
    r"""["']?\]?[ \t]*(?::[ \t]*\w{1,20}[ \t]*=|=>|[=:,])[ \t]*"""
    r"""(?:type[ \t]*=[ \t]*\w{1,20}[ \t]*,[ \t]*)?(?:default[ \t]*=[ \t]*)?"""
    r"""(?:\{?\s{0,80}["']?values?["']?[ \t]*:[ \t]*\[?(?:\s{1,80}-)?[ \t]*)?"""
)
_NAME = (
    r"(?i:passw(?:or)?d|passphrase|credential|token"
    r"|secret(?:[_-]?access)?(?:[_-]?key)?|(?:api|access|auth|private)[_-]?key)"
)

URL_PASSWORD = _rule(
    "a password in a URL",
    r"://[^\s:/@\"'<>{}$]{0,100}:(?P<value>[^\s:/@\"'<>{}$]{6,200})@(?!localhost\b|127\.|host\b)",
)

# Recognized anywhere by a distinctive prefix or form: also masked in logs.
SHAPES = (
    _rule("a W&B API key", r"\b(?P<value>wandb_v1_\w{40,120})", hint="wandb_v1_", prefix_length=9),
    _rule("an AWS access key id", r"\b(?P<value>A[KS]IA[A-Z2-7]{16})\b", hint="IA", prefix_length=4),
    _rule("a Hugging Face token", r"\b(?P<value>hf_[A-Za-z0-9]{30,60})\b", hint="hf_", prefix_length=3),
    _rule("a GitHub token", r"\b(?P<value>gh[pousr]_[A-Za-z0-9]{36,255})\b", hint="gh", prefix_length=4),
    _rule("a GitHub token", r"\b(?P<value>github_pat_\w{50,255})\b", hint="github_pat_", prefix_length=11),
    _rule("a GitLab token", r"\b(?P<value>glpat-[\w-]{20,64})", hint="glpat-", prefix_length=6),
    _rule(
        "an Anthropic key",
        r"\b(?P<value>sk-ant-[\w-]{24,255})",
        hint="sk-ant-",
        prefix_length=7,
        must_be_random=True,
    ),
    _rule("an OpenAI key", r"\b(?P<value>sk-[\w-]{24,255})", hint="sk-", prefix_length=3, must_be_random=True),
    _rule("a Google API key", r"\b(?P<value>AIza[\w-]{35})\b", hint="AIza", prefix_length=4),
    _rule(
        "a Slack token",
        r"\b(?P<value>xox[bp](?:-\d{10,14}){2,3}-[A-Za-z0-9]{20,64})\b",
        hint="xox",
        prefix_length=5,
    ),
    _rule(
        "a Slack token",
        r"\b(?P<value>xox[abeoprs]-[A-Za-z0-9-]{20,255})",
        hint="xox",
        prefix_length=5,
        must_be_random=True,
    ),
    _rule("an Azure storage key", r"\bAccountKey=(?P<value>[A-Za-z0-9+/]{80,90}==)", hint="AccountKey="),
    _rule(
        "a Slack webhook",
        r"\bhooks\.slack\.com/services/(?P<value>T[A-Z0-9]{6,20}/B[A-Z0-9]{6,20}/[A-Za-z0-9]{20,40})\b",
        hint="hooks.slack.com",
    ),
    _rule(
        "a Discord webhook",
        r"\bdiscord(?:app)?\.com/api/webhooks/(?P<value>\d{17,20}/[\w-]{60,80})",
        hint="/api/webhooks/",
    ),
    _rule("the signature of a URL (Azure, Teams)", r"[?&]sig=(?P<value>[\w%-]{40,120})", hint="sig="),
    Rule(
        kind="a JSON web token",
        regex=LinearPattern(r"\b(?P<value>eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,})"),
        hint=".eyJ",
        prefix_length=3,
    ),
    _rule(
        "a private key",
        r"(?P<value>-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\\[rn]|[\s\"'+,]|[\w-]{1,30}: [^\n]{0,200}\n){0,50}"
        r"[A-Za-z0-9+/=]{30}(?:[A-Za-z0-9+/=\s\"']|\\[rn]){0,20000})",
    ),
    _rule(
        "a credential of an HTTP header",
        r"Authorization[\"']?\]?[ \t]*[:=,][ \t]*[rbf]?[\"']?(?:Bearer|Basic|token)[ \t]+"
        r"(?P<value>[\w+/=.~-]{20,2000})",
        hint="Authorization",
        must_be_random=True,
    ),
    URL_PASSWORD,
)

# Also masked in output, where a false alarm costs little: a password of any length, and a token as the user.
LOGINS = (
    _rule(
        "a password in a URL",
        r"://[^\s:/@\"'<>{}$]{0,100}:(?P<value>[^\s:/@\"'<>{}$]{1,200})@",
        hint="://",
        is_certain=True,
    ),
    _rule(
        "a token in a URL",
        r"://(?P<value>[^\s:/@\"'<>{}$]{20,200})@",
        hint="://",
        must_be_random=True,
    ),
)

# Recognized by the name that the value is assigned to.
ASSIGNMENTS = (
    _rule(
        "a W&B API key",
        rf"WANDB_API_KEY(?:{_ASSIGNED}|[ \t]+)[rb]?[\"']?(?P<value>[\w-]{{40,200}})\b",
    ),
    _rule(
        "a W&B API key",
        rf"(?i:wandb[_-]?(?:api[_-]?)?(?:key|token|secret)){_ASSIGNED}"
        r"[rb]?[\"']?(?P<value>(?:\w{1,30}-)?[0-9a-f]{40})\b",
    ),
    _rule(  # a variable in Kubernetes and in task definitions
        "a secret by its name",
        r"[\"']?[Nn]ame[\"']?[ \t]*:[ \t]*[\"']?\w{0,60}(?:API_?KEY|SECRET|PASSWORD|TOKEN|ACCESS_KEY)"
        r"[\"']?[ \t]*,?\s{1,80}"
        r"[\"']?[Vv]alue[\"']?[ \t]*:[ \t]*[\"']?(?P<value>[\w+/=.~!@#%^&*-]{20,200})",
        must_be_random=True,
    ),
    _rule(
        "a W&B API key",
        r"\bwandb[. ]login\b[^)]{0,200}?[\"'\s(=](?P<value>(?:\w{1,30}-)?[0-9a-f]{40})\b",
        hint="login",
    ),
    _rule(
        "a password for a machine (netrc)",
        r"\bmachine\s+\S{1,200}\s+login\s+\S{1,200}\s+password\s+(?P<value>\S{8,200})",
        hint="machine",
    ),
    _rule(
        "an AWS secret key",
        rf"(?i:aws_?(?:secret_?access_?key|session_?token)|secretaccesskey){_ASSIGNED}"
        r"[rb]?[\"']?(?P<value>[A-Za-z0-9/+=]{40,2000})(?![\w/+=])",
    ),
)

# Recognized by a name that suggests a secret, with a value that looks like one. In code the value must be in
# quotes; otherwise it is an expression. `...:123456789012:secret:name` is only a reference.
GENERIC = _rule(
    "a secret by its name",
    rf"(?<!\d:){_NAME}{_ASSIGNED}[rb]?(?P<quote>[\"'])?(?P<value>[\w+/=.~!@#%^&*-]{{20,200}})"
    r"(?(quote)(?P=quote)|(?=[\s,;\"'\]}]|$))",
    must_be_random=True,
)
KNOWN = "a secret that this machine knows"


def known_rule(value: str) -> Rule:
    """Return the rule that finds a secret with a known value."""
    regex = re.compile(f"(?P<value>{re.escape(value)})")
    return Rule(kind=KNOWN, regex=regex, is_certain=True)


_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # most UUIDs identify requests or pages
_PLACEHOLDER = re.compile(
    r"(?i)x{4}|\*{3}|\.\.\.|your|example|change_?-?me|placeholder|dummy|redacted|insert|replace|sample"
    r"|^(?:password|passwd|secret|token|passphrase)$|^(?:sha|md)\d+[-:]|[<>{}]|^\$"
)
_COUNTED = re.compile(r"(?i)12345678|abcdefgh|deadbeef")
FULL_LENGTH = 32  # a value with counting digits of this length may be the key of a test server, which is a secret


def is_placeholder(value: str) -> bool:
    """Return True for a placeholder of a secret: `<key>`, `your-key`, `${KEY}`, `xxxx`."""
    # Only the start of a long value: in a few random keys of a thousand one of these words occurs by chance.
    return bool(_PLACEHOLDER.search(value[:100])) or len(set(value)) < min(8, len(value) / 2)


def counts_up(value: str) -> bool:
    """Return True for a value with counting digits, as in documentation: `sk-12345678...`."""
    return len(value) < FULL_LENGTH and _COUNTED.search(value) is not None


def is_likely_random(value: str) -> bool:
    """Return True if a value of at least 20 characters looks random.

    Random values alternate between letters and digits; `bert-base-uncased-v2` and `MyLongSecretName1` do not.
    """
    if len(value) < 20 or _UUID.fullmatch(value):
        return False
    counts = Counter(value)
    entropy_bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    n_changes = len(re.findall(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])", value))
    return entropy_bits >= 3.0 and n_changes >= 3
