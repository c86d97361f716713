"""Reconstructs vertebrae with LSD-EBM at the paper's size in PyTorch: as the authors do, and as fast as care makes it."""

import numpy as np
import torch

import lsd_ebm
import reconstruct
import timing

BATCHES = [1, 4, 16]
COMPARED = 5


def measure(folder, seed, sheet):
    torch.manual_seed(seed)
    weights = folder / "paper.safetensors"
    plain = lsd_ebm.LsdEbm(weights)
    fastest = lsd_ebm.LsdEbm(weights, torch.channels_last_3d)
    inputs, references = (
        np.fromfile(folder / f"{name}.u8", np.uint8).reshape(-1, 128, 128, 128)
        for name in ["inputs", "references"]
    )
    noise = torch.from_numpy(np.fromfile(folder / "noise.f32", "<f4")).view(-1, 2, 100)

    for name, by, model, make, batches in [
        ("authors", "PyTorch, authors' way", plain, reconstruct.authors, [1]),
        ("fast", "PyTorch, fast", fastest, reconstruct.fast, BATCHES),
    ]:
        for batch in batches:
            work = lambda: make(model, inputs[:batch], noise[:batch])
            sheet.measure(f"{name}_{batch}", by, work, batch)
            if batch == 1:
                tell(lambda one: make(model, inputs[one], noise[one]), inputs, references, sheet)


def tell(make, inputs, references, sheet):
    """Tells what the reconstructions are like, on average, and leaves them to be compared."""
    dscs = []
    for number in range(COMPARED):
        (made,) = make(slice(number, number + 1))
        given, truth = inputs[number], references[number]
        dscs.append([dsc(made, truth), dsc(made, given), dsc(given, truth)])
        sheet.mask(f"vertebra_{number}", made)
    for key, value in zip(["dsc_to_reference", "dsc_to_input", "dsc_of_inputs"], np.mean(dscs, axis=0)):
        sheet.number(key, value)


def dsc(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


if __name__ == "__main__":
    timing.main(timing.nothing_to_make, measure)
