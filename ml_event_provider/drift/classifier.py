"""How well a classifier tells current rows from reference rows: Azure's definition of ``DriftCoefficient``.

Azure Machine Learning's dataset monitors trained a classifier to separate baseline from target and reported
its Matthews correlation, with an alert threshold of 0.2. It also sees drift that no single column shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.drift.partition import categories, kind_of, numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: The most rows of each side that are learned from and tested on.
MOST_ROWS = 5_000
_SEED = 0


def separability(reference: pd.DataFrame, current: pd.DataFrame) -> float:
    """The Matthews correlation of a gradient-boosting classifier on its test half, 0 (cannot tell) to 1.

    Equally many rows of both sides, halved by a stratified split; the same data give the same number.

    :raises ValueError: if a side has fewer than four rows.
    :raises ModuleNotFoundError: if scikit-learn is not installed.
    """
    import numpy as np

    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.metrics import matthews_corrcoef
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'coefficient="classifier" needs scikit-learn: install it, or use coefficient="divergence"'
        ) from error
    rows = min(len(reference), len(current), MOST_ROWS)
    if rows < 4:
        raise ValueError(f"a classifier needs at least 4 rows of each side, not {rows}")
    sides = [frame.sample(rows, random_state=_SEED) for frame in (reference, current)]
    features = np.column_stack([_codes(*(side[column] for side in sides)) for column in reference.columns])
    labels = np.repeat([0, 1], rows)
    learn, test, learn_labels, test_labels = train_test_split(
        features, labels, test_size=0.5, stratify=labels, random_state=_SEED
    )
    model: Any = HistGradientBoostingClassifier(random_state=_SEED, max_iter=100, early_stopping=False)
    model.fit(learn, learn_labels)
    return max(0.0, round(float(matthews_corrcoef(test_labels, model.predict(test))), 6))


def _codes(reference: pd.Series, current: pd.Series) -> np.ndarray:
    """Both sides of a column as numbers: categories by their rank in the reference, unseen ones as -1."""
    import numpy as np

    if kind_of(reference) == "number":
        return np.concatenate([numbers(reference), numbers(current)])
    known: dict[str, int] = {}
    for text in categories(reference):
        if text is not None:
            known[text] = known.get(text, 0) + 1
    ranks = {text: place for place, text in enumerate(sorted(known, key=lambda text: (-known[text], text)))}
    texts = categories(reference) + categories(current)
    return np.array([float("nan") if text is None else ranks.get(text, -1) for text in texts], dtype="float64")
