"""Train a classifier on the digits of scikit-learn and report its accuracy after each fold.

The script also runs without a sweep: `python train.py`.
"""

import os
import pickle

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import smsweep

DEFAULTS = {"model": "logistic", "scale": True, "c": 1.0, "trees": 32, "neighbours": 5, "folds": 3}


def build(config):
    if config.model == "logistic":
        model = LogisticRegression(C=config.c, max_iter=200, tol=1e-3)
    elif config.model == "forest":
        model = RandomForestClassifier(n_estimators=int(config.trees), random_state=0)
    else:
        model = KNeighborsClassifier(n_neighbors=config.neighbours)
    scaler = StandardScaler() if config.scale else FunctionTransformer()
    return make_pipeline(scaler, model)


def main():
    images, labels = load_digits(return_X_y=True)
    with smsweep.init(config=DEFAULTS) as run:
        total = 0.0
        folds = StratifiedKFold(run.config.folds, shuffle=True, random_state=0)
        for fold, (train, test) in enumerate(folds.split(images, labels)):
            model = build(run.config).fit(images[train], labels[train])
            total += model.score(images[test], labels[test])
            run.log({"val_accuracy": total / (fold + 1)}, step=fold)
        print(f"accuracy {total / run.config.folds:.4f}")
        if "SM_MODEL_DIR" in os.environ:  # set in a job; the folder becomes model.tar.gz
            with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pkl"), "wb") as file:
                pickle.dump(model, file)


if __name__ == "__main__":
    main()
