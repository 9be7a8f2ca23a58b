"""Training: a loop that reads as a loop, and what one hangs on it.

    history = train.fit(
        model, loader, loss=F.cross_entropy, optimizer=optim.Adam(model.parameters()), epochs=20,
        valid=valid_loader, metrics=[train.Accuracy()], callbacks=[train.EarlyStopping(patience=3)],
        checkpoint="runs/a", resume=True,
    )

A run that is killed at any moment and started again with resume=True ends with the very weights of
one that was not.
"""

from minidl.train.callbacks import Callback, EarlyStopping, ProgressBar, TimeBudget
from minidl.train.checkpoint import Checkpoint
from minidl.train.guard import NonFiniteError
from minidl.train.inference import evaluate, predict
from minidl.train.logs import History, JSONLog
from minidl.train.loop import Run, fit
from minidl.train.metrics import (
    AUC,
    F1,
    MAE,
    MSE,
    R2,
    RMSE,
    Accuracy,
    Mean,
    Metric,
    Precision,
    Recall,
)
from minidl.train.summary import Summary, summary

__all__ = [
    "AUC",
    "F1",
    "MAE",
    "MSE",
    "R2",
    "RMSE",
    "Accuracy",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "JSONLog",
    "Mean",
    "Metric",
    "NonFiniteError",
    "Precision",
    "ProgressBar",
    "Recall",
    "Run",
    "Summary",
    "TimeBudget",
    "evaluate",
    "fit",
    "predict",
    "summary",
]
