# mypy: ignore-errors
"""Logistic regression on handwritten digits with plain gradient descent, one epoch at a time."""

import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import smsweep

run = smsweep.init(config={"alpha": 1e-4, "eta0": 0.01, "schedule": "constant", "batch": 64, "epochs": 20})
config = run.config
if config.eta0 > 3:
    raise FloatingPointError(f"eta0={config.eta0:.3g}: weights overflow in the first batch")
features, digits = load_digits(return_X_y=True)
train_x, val_x, train_y, val_y = train_test_split(features / 16, digits, random_state=0, stratify=digits)
model = SGDClassifier(
    loss="log_loss", alpha=config.alpha, eta0=config.eta0, learning_rate=config.schedule, random_state=0
)
rng = np.random.default_rng(0)
for epoch in range(config.epochs):
    order = rng.permutation(len(train_x))
    for start in range(0, len(order), config.batch):
        batch = order[start : start + config.batch]
        model.partial_fit(train_x[batch], train_y[batch], classes=np.arange(10))
    accuracy = model.score(val_x, val_y)
    loss = float(log_loss(val_y, model.predict_proba(val_x), labels=np.arange(10)))
    run.log({"val_accuracy": accuracy, "val_loss": loss})
    print(f"epoch {epoch:2d}  val_accuracy {accuracy:.4f}  val_loss {loss:.4f}", flush=True)
    time.sleep(0.1)  # slow enough to be watched
