"""The 1797 real handwritten digits that come with scikit-learn, split once and for all.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998 (the test part, 8x8 grey levels 0..16).
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits_of_split(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits of a split, stratified by class.

    Args:
        split: ``'train'`` (80 %, 1437 digits) or ``'test'`` (20 %, 360 digits).

    Returns:
        Grey levels ``(M, 8, 8)``, uint8, and labels ``(M,)``, int64.
    """
    images, labels = load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    chosen = np.sort({'train': train, 'test': test}[split])
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return images[chosen], labels[chosen].astype(np.int64)


def share_of_each_class(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a share of the samples of each class, at least one of each.

    Args:
        labels: ``(M,)``.
        share: Between 0 and 1.
        seed: Of the draw.

    Returns:
        Indices of the samples drawn, in ascending order, int64.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        drawn.append(rng.permutation(members)[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(drawn))
