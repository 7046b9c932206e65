"""Sweeps with the keys, distributions and sizes of W&B's published examples, rewritten.

Named after the files of github.com/wandb/examples and github.com/wandb/sweeps that have these shapes.
"""

from __future__ import annotations

HYPERBAND = "early_terminate: {type: hyperband, min_iter: 3, eta: 3}"

_KERAS_VALUES = """
parameters:
  dropout: {values: [0.2, 0.3, 0.4]}
  hidden_layer_size: {values: [64, 128, 256]}
  layer_1_size: {values: [8, 12, 16]}
  layer_2_size: {values: [24, 32, 48]}
  learn_rate: {values: [0.1, 0.01, 0.001, 1e-4, 1e-5]}
  decay: {values: [1e-5, 1e-6, 1e-7]}
  momentum: {values: [0.8, 0.9, 0.95]}
  epochs: {values: [5, 10, 15, 20]}
"""

EXAMPLES = {
    "pointnet-classification": """
program: train.py
method: bayes
project: points
metric: {name: Validation/Accuracy, goal: maximize}
parameters:
  sample_points: {values: [256, 512, 1024]}
  batch_size: {values: [8, 16]}
  learning_rate: {min: 1e-4, max: 1e-2}
  num_epochs: {value: 2}
  set_abstraction_ratio_1: {min: 0.1, max: 0.9}
  dropout: {distribution: uniform, min: 0.1, max: 0.7}
""",
    "fastai1-simpsons": """
program: train.py
method: bayes
metric: {name: accuracy, goal: maximize}
parameters:
  learning_rate: {distribution: log_uniform, min: -11, max: -2}
  batch_size: {values: [16, 32, 64]}
  encoder: {values: [resnet18, resnet34]}
""",
    "sweep-bayes-hyperband": f"""
program: train.py
method: bayes
metric:
  name: val_loss
  goal: minimize
{HYPERBAND}
parameters:
  dropout: {{values: [0.2, 0.3]}}
  learn_rate: {{min: 1.0e-4, max: 1e-1}}
  hidden_layer_size: {{min: 64, max: 256}}
""",
    "sweep-grid-hyperband": f"""
program: train.py
method: grid
metric: {{name: val_accuracy, goal: maximize}}
{HYPERBAND}
{_KERAS_VALUES}""",
    "sweep-random-hyperband": f"""
program: train.py
method: random
metric: {{name: val_accuracy, goal: maximize}}
{HYPERBAND}
{_KERAS_VALUES}""",
    "llama-cpp": """
program: test.py
method: random
metric: {goal: maximize, name: accuracy}
parameters:
  temperature: {distribution: uniform, min: 0.0, max: 1.0}
  top_k: {min: 1, max: 80}
  n_threads: {value: 8}
command:
  - ${env}
  - python3
  - ${program}
  - ${args}
""",
    "minimal-hydra-example": """
program: main.py
method: bayes
metric: {name: test/loss, goal: minimize}
command:
  - ${env}
  - python
  - ${program}
  - ${args_no_hyphens}
parameters:
  dataset.batch_size: {values: [32, 64]}
  optimizer.lr: {min: !!float 1e-5, max: !!float 1e-1}
""",
    "sweep-grid-hyperband-pytorch": f"""
program: train.py
method: grid
metric: {{name: val_loss}}
{HYPERBAND}
parameters:
  batch_size: {{values: [32, 64, 96, 128, 256]}}
  channels_one: {{values: [16, 24, 32]}}
  channels_two: {{values: [24, 36, 48]}}
  dropout: {{values: [0.1, 0.3, 0.5]}}
  learning_rate: {{values: [1e-2, 1e-3, 1e-4, 3e-4]}}
""",
    "sweep-bool": """
program: train.py
method: grid
parameters:
  flag1: {values: [true, false]}
  flag2: {values: [true, false]}
  flag3: {values: [true, false]}
command:
  - ${env}
  - ${interpreter}
  - ${program}
  - ${args_no_boolean_flags}
""",
    "sweep-cross-validation": """
program: cross_validate.py
method: random
metric: {name: val_accuracy, goal: maximize}
parameters:
  batch_size: {values: [16, 32]}
  num_folds: {value: 5}
""",
    "library-grid": """
method: grid
parameters: {a: {values: [1, 2, 3]}, b: {values: [x, y, z]}, c: {values: [1, 2, 3]}}
""",
    "library-grid-int": """
method: grid
parameters: {a: {min: 1, max: 3}, b: {min: 0, max: 2}, c: {values: [7, 8, 9]}}
""",
    "library-nested": """
method: grid
parameters:
  outer:
    parameters:
      a: {values: [1, 2]}
      deeper: {parameters: {b: {values: [3, 4]}}}
  c: {values: [5, 6]}
""",
    "library-bayes": """
method: bayes
metric: {name: loss}
parameters: {x: {min: -5.0, max: 5.0}, y: {min: 0.0, max: 1.0}}
""",
    "library-bayes-mixed": """
method: bayes
metric: {name: acc, goal: maximize, impute: best}
parameters:
  layers: {min: 1, max: 12}
  lr: {distribution: inv_log_uniform_values, min: 1e-5, max: 1e-1}
  act: {values: [relu, tanh]}
""",
    "library-bayes-normal": """
method: bayes
metric: {name: loss, target: 0.01}
run_cap: 30
parameters:
  mu: {distribution: normal, mu: 3, sigma: 0.5}
  size: {distribution: q_log_uniform_values, min: 16, max: 512, q: 16}
""",
}

GRID_CELLS = {
    "sweep-grid-hyperband": 14_580,
    "sweep-grid-hyperband-pytorch": 540,
    "sweep-bool": 8,
    "library-grid": 27,
    "library-grid-int": 27,
    "library-nested": 8,
}
