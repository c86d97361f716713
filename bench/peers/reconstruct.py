"""From masks to reconstructions with LSD-EBM in PyTorch: as the authors do, and as fast as care makes it."""

import torch

STEPS = 20


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
