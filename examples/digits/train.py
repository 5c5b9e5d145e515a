"""Handwritten digits, 8×8 pixels, with a support vector machine."""

import argparse
import json
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.metrics import classification_report, confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/digits.csv.gz"))
    parser.add_argument("--outputs", type=Path, default=Path("outputs"))
    parser.add_argument("--c", type=float, default=10.0, help="how hard misclassified digits weigh")
    parser.add_argument("--gamma", type=float, default=0.01, help="how far one digit's influence reaches")
    parser.add_argument("--test-share", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    # one digit per line: 64 grey values from 0 to 16, then the digit
    table = np.loadtxt(args.data, delimiter=",")
    images, labels = table[:, :-1], table[:, -1].astype(int)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=args.test_share, random_state=args.seed, stratify=labels
    )
    print(f"{len(x_train)} digits to learn from, {len(x_test)} to test with", flush=True)

    model = make_pipeline(StandardScaler(), SVC(C=args.c, gamma=args.gamma))
    began = time.perf_counter()
    model.fit(x_train, y_train)
    seconds = time.perf_counter() - began

    predicted = model.predict(x_test)
    report = classification_report(y_test, predicted, output_dict=True)
    print(classification_report(y_test, predicted))

    args.outputs.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, args.outputs / "model.joblib")
    metrics = {
        "accuracy": report["accuracy"],
        "f1_per_digit": {digit: report[digit]["f1-score"] for digit in "0123456789"},
        "confusion": confusion_matrix(y_test, predicted).tolist(),
        "train_seconds": round(seconds, 3),
        "arguments": {key: str(value) for key, value in vars(args).items()},
    }
    (args.outputs / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"accuracy {report['accuracy']:.4f} in {seconds:.2f} s; see {args.outputs}/")


if __name__ == "__main__":
    main()
