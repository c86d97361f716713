"""The metrics of two masks as a careful user takes them: overlap in NumPy, distances by MONAI."""

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance


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


def all_of_them(prediction, reference):
    return by_numpy(prediction, reference) | {
        "hd95_mm": by_monai(prediction, reference, hd95),
        "assd_mm": by_monai(prediction, reference, assd),
    }
