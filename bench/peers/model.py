"""Reconstructs vertebrae with LSD-EBM at the paper's size in PyTorch: as the authors do, and as fast as care makes it."""

import numpy as np
import torch

import lsd_ebm
import timing

STEPS = 20
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

    for name, by, model, reconstruct, batches in [
        ("authors", "PyTorch, authors' way", plain, authors, [1]),
        ("fast", "PyTorch, fast", fastest, fast, BATCHES),
    ]:
        for batch in batches:
            work = lambda: reconstruct(model, inputs[:batch], noise[:batch])
            sheet.measure(f"{name}_{batch}", by, work, batch)
            if batch == 1:
                tell(lambda one: reconstruct(model, inputs[one], noise[one]), inputs, references, sheet)


def authors(model, masks, noise):
    """As the authors' code goes: a graph is kept throughout, the chain takes 300 steps a level."""
    z0 = sampled(*model.encoder(torch.from_numpy(masks)[:, None].float()), noise[:, 0])
    start = model.schedule.diffused(z0, STEPS, noise[:, 1]).detach()
    z = model.schedule.authors(model.energy, start, STEPS)
    return torch.round(model.generator(z))[:, 0].detach().to(torch.uint8).numpy()


@torch.no_grad()
def fast(model, masks, noise):
    """The same with no graph, channels last, all masks at once, two steps a level and no sigmoid."""
    z0 = sampled(*model.encoder(torch.from_numpy(masks)[:, None].float()), noise[:, 0])
    z = model.schedule.fast(model.energy, model.schedule.diffused(z0, STEPS, noise[:, 1]), STEPS)
    return (model.generator.logits(z) > 0)[:, 0].to(torch.uint8).numpy()


def sampled(mean, log_variance, noise):
    return mean + torch.exp(log_variance / 2) * noise


def tell(reconstruct, inputs, references, sheet):
    """Tells what the reconstructions are like, on average, and leaves them to be compared."""
    dscs = []
    for number in range(COMPARED):
        (made,) = reconstruct(slice(number, number + 1))
        given, truth = inputs[number], references[number]
        dscs.append([dsc(made, truth), dsc(made, given), dsc(given, truth)])
        sheet.mask(f"vertebra_{number}", made)
    for key, value in zip(["dsc_to_reference", "dsc_to_input", "dsc_of_inputs"], np.mean(dscs, axis=0)):
        sheet.number(key, value)


def dsc(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


if __name__ == "__main__":
    timing.main(timing.nothing_to_make, measure)
