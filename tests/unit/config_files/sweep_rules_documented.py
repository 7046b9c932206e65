"""The rules in docs/differences-from-wandb.md, each with a config that violates it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    id: str  # as in the document's table
    yaml: str  # a config that violates only this rule
    says: str  # regular expression for our message, or for W&B's message if only W&B refuses the config


HEAD = "method: random\n"
PARAMETERS = "parameters:\n  lr: {min: 0.1, max: 0.5}\n"
METRIC = "metric: {name: loss}\n"

# Errors in smsweep for configs that W&B's own schema accepts.
STRICTER = (
    Rule(id="bayes-metric", yaml=f"method: bayes\n{PARAMETERS}", says="bayes needs a metric"),
    Rule(
        id="bayes-constants",
        yaml=f"method: bayes\n{METRIC}parameters: {{lr: {{value: 1}}}}",
        says="bayes has nothing to search",
    ),
    Rule(id="grid-range", yaml=f"method: grid\n{PARAMETERS}", says="a grid cannot list "),
    Rule(
        id="nested-bounds",
        yaml=f"{HEAD}parameters: {{o: {{parameters: {{lr: {{min: 5, max: 1}}}}}}}}",
        says="needs min < max",
    ),
    Rule(
        id="nested-probabilities",
        yaml=f"{HEAD}parameters: {{o: {{parameters: {{k: {{values: [1, 2], probabilities: [0.9, 0.9]}}}}}}}}",
        says="needs probabilities that sum to 1|needs one probability for each value",
    ),
    Rule(
        id="mixed-bounds",
        yaml=f"{HEAD}parameters: {{lr: {{min: 0, max: 0.5}}}}",
        says="do not show whether values are whole numbers",
    ),
    Rule(
        id="one-name",
        yaml=f"{HEAD}parameters: {{a.b: {{value: 1}}, a: {{parameters: {{b: {{value: 2}}}}}}}}",
        says="has the flat name",
    ),
    Rule(
        id="early-terminate-metric",
        yaml=f"{HEAD}{PARAMETERS}early_terminate: {{type: hyperband, min_iter: 3}}",
        says="needs a metric to compare trials",
    ),
    Rule(
        id="early-terminate-pair",
        yaml=f"{HEAD}{PARAMETERS}{METRIC}early_terminate: {{type: hyperband, min_iter: 3, max_iter: 9}}",
        says="needs s, the number of checks",
    ),
    Rule(
        id="early-terminate-whole",
        yaml=f"{HEAD}{PARAMETERS}{METRIC}early_terminate: {{type: hyperband, max_iter: 27, s: 2.5}}",
        says=r"early_terminate\.(s|max_iter): expected a whole number above 0",
    ),
    Rule(
        id="early-terminate-no-check",
        yaml=f"{HEAD}{PARAMETERS}{METRIC}early_terminate: {{type: hyperband, max_iter: 2, s: 1}}",
        says="leaves no check",
    ),
    Rule(
        id="metrics-twice",
        yaml="method: custom\nmetrics: [{name: loss}, {name: loss, goal: maximize}]\n" + PARAMETERS,
        says="list each metric once",
    ),
    Rule(id="blank-text", yaml=f"{HEAD}{PARAMETERS}program: ' '", says="expected text that is not blank"),
    Rule(id="empty-command", yaml=f"{HEAD}{PARAMETERS}command: []", says="command: expected at least 1 item"),
    Rule(id="finite", yaml=f"{HEAD}parameters: {{lr: {{values: [1.0, .inf]}}}}", says="not a finite number"),
    Rule(id="text-keys", yaml=f"{HEAD}parameters: {{lr: {{value: {{1: 2}}}}}}", says="a key must be text"),
    Rule(
        id="beta-above-zero",
        yaml=f"{HEAD}parameters: {{p: {{distribution: beta, a: 0}}}}",
        says="needs a > 0 and b > 0",
    ),
    Rule(
        id="float-range",
        yaml=f"{HEAD}parameters: {{p: {{distribution: log_normal, mu: 900}}}}",
        says="the range of floats|a float can hold|takes exponents of e|below the rounding error",
    ),
)

# Errors in smsweep and in W&B's schema, where W&B only warns and uses a fallback or fails later.
ENFORCED = (
    Rule(
        id="goal", yaml=f"{HEAD}{PARAMETERS}metric: {{name: loss, goal: Maximize}}", says="did you mean maximize"
    ),
    Rule(id="impute", yaml=f"{HEAD}{PARAMETERS}metric: {{name: loss, impute: wurst}}", says="did you mean worst"),
    Rule(id="unknown-key", yaml=f"{HEAD}{PARAMETERS}metod: grid", says="unknown key; did you mean method"),
    Rule(id="prior-runs", yaml=f"{HEAD}{PARAMETERS}prior_runs: [a]", says="pass prior runs when you create"),
    Rule(
        id="early-terminate-key",
        yaml=f"{HEAD}{PARAMETERS}{METRIC}early_terminate: {{type: hyperband, min_iter: 3, ets: 2}}",
        says="unknown key; did you mean eta",
    ),
    Rule(
        id="nested-sibling",
        yaml=f"{HEAD}parameters: {{o: {{value: 1, parameters: {{a: {{value: 1}}}}}}}}",
        says="cannot be combined with parameters",
    ),
    Rule(id="null", yaml=f"{HEAD}{PARAMETERS}program:", says="expected a value, got nothing"),
    Rule(
        id="old-scheduler",
        yaml=f"{HEAD}{PARAMETERS}scheduler: {{engine: wandb, num_workers: 4}}",
        says="scheduler.num_workers: unknown key",
    ),
    Rule(id="duplicate-key", yaml=f"{HEAD}{HEAD}{PARAMETERS}", says="occurs twice, first in line 1"),
)

# Accepted here, with or without a warning; W&B's schema reports a violation. `says` is in W&B's message.
MILDER = (
    Rule(
        id="deprecated-exponents",
        yaml=f"{HEAD}parameters: {{lr: {{distribution: log_uniform, min: -5, max: -1}}}}",
        says="base-?e exponents|deprecated|log_uniform",
    ),
    Rule(
        id="ignored-keys",
        yaml=f"{HEAD}{PARAMETERS}tags: [a]",
        says="'(settings|launch|imports|tags)'",
    ),
    Rule(
        id="own-early-terminate",
        yaml=f"{HEAD}{PARAMETERS}{METRIC}early_terminate: {{type: asha, min_iter: 3}}",
        says="'(asha|median)'",
    ),
    Rule(
        id="impute-false",
        yaml=f"{HEAD}{PARAMETERS}metric: {{name: loss, impute_while_running: false}}",
        says="^False is not",
    ),
)
