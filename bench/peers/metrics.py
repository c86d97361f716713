"""Measures two masks with scikit-learn, NumPy, MedPy, MONAI and surface-distance."""

import numpy as np
import surface_distance
import torch
from medpy.metric import binary
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from sklearn import metrics

import timing

SIDE = 128


def measure(folder, seed, sheet):
    prediction, reference = (
        np.fromfile(folder / f"{name}.u8", np.uint8).reshape((SIDE,) * 3)
        for name in ["prediction", "reference"]
    )

    for name, by, work in [
        ("overlap_sklearn", "scikit-learn", lambda: by_sklearn(prediction, reference)),
        ("overlap_numpy", "NumPy", lambda: by_numpy(prediction, reference)),
        ("assd_medpy", "MedPy", lambda: {"assd_mm": binary.assd(prediction, reference, [1, 1, 1])}),
        ("assd_monai", "MONAI", lambda: {"assd_mm": by_monai(prediction, reference, assd)}),
        ("hd95_monai", "MONAI", lambda: {"hd95_mm": by_monai(prediction, reference, hd95)}),
        ("hd95_surface_distance", "surface-distance", lambda: {"hd95_mm": by_surface(prediction, reference)}),
        ("all_python", "NumPy and MONAI", lambda: all_of_them(prediction, reference)),
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


def by_numpy(prediction, reference):
    """What a careful user writes: four counts, and the rest from them."""
    found, truth = prediction.view(bool), reference.view(bool)
    tp = int(np.count_nonzero(found & truth))
    fp = int(np.count_nonzero(found)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    tn = found.size - tp - fp - fn
    table = np.float64([[tp, fp], [fn, tn]]) / found.size
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    expected = np.outer(rows, columns)
    information = (table * np.log(table / expected)).sum()
    entropies = [-(share * np.log(share)).sum() for share in (rows, columns)]
    chance = expected.trace()
    return {
        "dsc": 2 * tp / (2 * tp + fp + fn),
        "jaccard": tp / (tp + fp + fn),
        "sen": tp / (tp + fn),
        "spec": tn / (tn + fp),
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "nmi": information / np.mean(entropies),
        "ck": (table.trace() - chance) / (1 - chance),
        "vs": 1 - abs(fn - fp) / (2 * tp + fp + fn),
    }


def by_monai(prediction, reference, metric):
    pair = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
    return float(metric(*pair))


def hd95(found, truth):
    return compute_hausdorff_distance(found, truth, include_background=True, percentile=95)


def assd(found, truth):
    return compute_average_surface_distance(found, truth, include_background=True, symmetric=True)


def by_surface(prediction, reference):
    """Distances between surface elements, not voxels: another definition."""
    found = surface_distance.compute_surface_distances(
        reference.view(bool), prediction.view(bool), (1.0, 1.0, 1.0)
    )
    return surface_distance.compute_robust_hausdorff(found, 95)


def all_of_them(prediction, reference):
    return by_numpy(prediction, reference) | {
        "hd95_mm": by_monai(prediction, reference, hd95),
        "assd_mm": by_monai(prediction, reference, assd),
    }


timing.main(timing.nothing_to_make, measure)
