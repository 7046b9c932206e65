"""The real trainings for the tables in `benchmarks/tasks`, which `make_tasks` creates. Needs scikit-learn.

Each training gets params and a seed for the split and the training. It returns the metric after each epoch,
or one value if the training has no epochs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, load_wine, make_friedman1
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC

warnings.filterwarnings("ignore")
EPOCHS = 27
SCALERS = {
    "none": lambda: "passthrough",
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
}

Params = Mapping[str, Any]
Training = Callable[[Params, int], list[float]]


def svm_digits(params: Params, seed: int) -> list[float]:
    x, x_test, y, y_test = _digits(seed, 300, 500)
    names = ("C", "gamma", "kernel", "degree", "coef0")
    model = make_pipeline(
        SCALERS["standard" if params["standardise"] else "none"](),
        PCA(min(params["components"], 60), random_state=0),
        SVC(**{name: params[name] for name in names}, max_iter=2000, random_state=0),
    )
    return [float(model.fit(x, y).score(x_test, y_test))]


def gbdt_friedman(params: Params, seed: int) -> list[float]:
    x, y = make_friedman1(500, n_features=10, noise=1.0, random_state=seed)
    model = GradientBoostingRegressor(**params, random_state=seed).fit(x[:200], y[:200])
    return [float(np.sqrt(np.mean((model.predict(x[200:]) - y[200:]) ** 2)))]


def knn_wine(params: Params, seed: int) -> list[float]:
    data = load_wine()
    x, x_test, y, y_test = train_test_split(
        data.data, data.target, test_size=0.4, random_state=seed, stratify=data.target
    )
    names = ("n_neighbors", "weights", "p")
    model = make_pipeline(
        SCALERS[params["scaler"]](),
        PCA(params["components"], whiten=params["whiten"], random_state=0),
        KNeighborsClassifier(**{name: params[name] for name in names}),
    ).fit(x, y)
    return [float(log_loss(y_test, np.clip(model.predict_proba(x_test), 1e-3, 1)))]


def logreg_digits(params: Params, seed: int) -> list[float]:
    x, x_test, y, y_test = _digits(seed, 300, 500)
    x = x + params["noise"] * np.random.default_rng(seed).standard_normal(x.shape)
    model = make_pipeline(
        SCALERS[params["scaling"]](),
        LogisticRegression(
            solver="saga",
            C=params["C"],
            l1_ratio=params["l1_ratio"],
            max_iter=params["max_iter"],
            fit_intercept=params["fit_intercept"],
            class_weight="balanced" if params["balanced"] else None,
            random_state=seed,
        ),
    ).fit(x, y)
    return [float(log_loss(y_test, np.clip(model.predict_proba(x_test), 1e-6, 1)))]


def mlp_friedman(params: Params, seed: int) -> list[float]:
    x, y = make_friedman1(700, n_features=10, noise=1.0, random_state=seed)
    x, y = x - 0.5, (y - 14.4) / 5.0
    model = MLPRegressor(
        hidden_layer_sizes=(params["hidden"],) * params["layers"],
        activation=params["activation"],
        solver=params["optimizer"],
        learning_rate_init=params["lr"],
        batch_size=params["batch_size"],
        alpha=params["alpha"],
        momentum=params["momentum"],
        random_state=seed,
    )
    curve: list[float] = []
    for _ in range(EPOCHS):
        try:
            model.partial_fit(x[:300], y[:300])
            score = r2_score(y[300:], model.predict(x[300:]))
        except ValueError:  # diverged
            score = -1.0
        curve.append(max(score, -1.0) if math.isfinite(score) else -1.0)
    return curve


def _digits(seed: int, n_train: int, n_test: int) -> list[Any]:
    data = load_digits()
    split: list[Any] = train_test_split(
        data.data, data.target, train_size=n_train, test_size=n_test, random_state=seed, stratify=data.target
    )
    return split


TRAININGS: Mapping[str, Training] = {
    "svm_digits": svm_digits,
    "gbdt_friedman": gbdt_friedman,
    "knn_wine": knn_wine,
    "logreg_digits": logreg_digits,
    "mlp_friedman": mlp_friedman,
}
