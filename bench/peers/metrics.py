"""Measures two masks with scikit-learn, NumPy, MedPy, MONAI and surface-distance."""

import numpy as np
import surface_distance
from medpy.metric import binary
from sklearn import metrics

import measures
import timing

SIDE = 128


def measure(folder, seed, sheet):
    prediction, reference = (
        np.fromfile(folder / f"{name}.u8", np.uint8).reshape((SIDE,) * 3)
        for name in ["prediction", "reference"]
    )

    for name, by, work in [
        ("overlap_sklearn", "scikit-learn", lambda: by_sklearn(prediction, reference)),
        ("overlap_numpy", "NumPy", lambda: measures.by_numpy(prediction, reference)),
        ("assd_medpy", "MedPy", lambda: {"assd_mm": binary.assd(prediction, reference, [1, 1, 1])}),
        ("assd_monai", "MONAI", lambda: {"assd_mm": measures.by_monai(prediction, reference, measures.assd)}),
        ("hd95_monai", "MONAI", lambda: {"hd95_mm": measures.by_monai(prediction, reference, measures.hd95)}),
        ("hd95_surface_distance", "surface-distance", lambda: {"hd95_mm": by_surface(prediction, reference)}),
        ("all_python", "NumPy and MONAI", lambda: measures.all_of_them(prediction, reference)),
    ]:
        for metric, value in sheet.measure(name, by, work).items():
            sheet.number(metric, value)


def by_sklearn(prediction, reference):
    """What a user of scikit-learn writes: one call a metric; it has no volume similarity."""
    found, truth = prediction.ravel(), reference.ravel()
    return {
        "dsc": metrics.f1_score(truth, found),
        "jaccard": metrics.jaccard_score(truth, found),
        "sen": metrics.recall_score(truth, found),
        "spec": metrics.recall_score(truth, found, pos_label=0),
        "ppv": metrics.precision_score(truth, found),
        "npv": metrics.precision_score(truth, found, pos_label=0),
        "nmi": metrics.normalized_mutual_info_score(truth, found),
        "ck": metrics.cohen_kappa_score(truth, found),
        "vs": 1 - abs(int(found.sum()) - int(truth.sum())) / (int(found.sum()) + int(truth.sum())),
    }


def by_surface(prediction, reference):
    """Distances between surface elements, not voxels: another definition."""
    found = surface_distance.compute_surface_distances(
        reference.view(bool), prediction.view(bool), (1.0, 1.0, 1.0)
    )
    return surface_distance.compute_robust_hausdorff(found, 95)


timing.main(timing.nothing_to_make, measure)
