"""LSD-EBM at the paper's size in PyTorch, as the paper's code has it: networks, schedule, the authors' sampler.

Beside it the fast sampler, for a peer that wants nothing but speed. Weights are ours: the authors' names behind
`encoder.`, `generator.` and `energy.`.
"""

import json
import math

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional

K, STEP = 300, 0.01
FORWARD_NOISE, LANGEVIN_NOISE = 0.1, 0.01


def block(start, middle, end):
    layers = []
    for channels in [(start, middle), (middle, end)]:
        layers += [nn.Conv3d(*channels, 3, padding=1), nn.BatchNorm3d(channels[1]), nn.ReLU()]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_initial = block(1, 8, 16)
        self.conv_rest_x_64 = block(16, 16, 16)
        self.conv_rest_x_32 = block(16, 16, 32)
        self.conv_rest_x_16 = block(32, 32, 64)
        self.linear_enc = nn.Linear(64 * 16**3, 100)

    def forward(self, masks):
        grid = self.conv_initial(masks)
        for coarser in (self.conv_rest_x_64, self.conv_rest_x_32, self.conv_rest_x_16):
            grid = coarser(functional.max_pool3d(grid, 2))
        mean = self.linear_enc(grid.flatten(1))
        return mean, 1e-6 + functional.softplus(mean)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear_dec = nn.Linear(100, 64 * 16**3)
        self.conv_rest_u_32 = block(64, 32, 32)
        self.conv_rest_u_64 = block(32, 16, 16)
        self.conv_rest_u_128 = block(16, 16, 16)
        self.conv_final = nn.Conv3d(16, 1, 3, padding=1)

    def logits(self, latents):
        grid = self.linear_dec(latents).view(-1, 64, 16, 16, 16)
        for finer in (self.conv_rest_u_32, self.conv_rest_u_64, self.conv_rest_u_128):
            grid = finer(functional.interpolate(grid, scale_factor=2, mode="nearest"))
        return self.conv_final(grid)

    def forward(self, latents):
        return torch.sigmoid(self.logits(latents))


class Energy(nn.Module):
    def __init__(self):
        super().__init__()
        self.ebm = nn.Sequential(
            nn.Linear(101, 1000), nn.GELU(), nn.Linear(1000, 1000), nn.GELU(), nn.Linear(1000, 1)
        )

    def forward(self, latents, level):
        told = latents.new_full((len(latents), 1), level)
        return self.ebm(torch.cat([latents, told], dim=1))


class Schedule:
    """Coefficients of levels 0 to T of the paper's code."""

    def __init__(self, levels):
        shrink = np.sqrt(1 - np.linspace(1e-4, 1e-2, 1000))
        ends = [level * (1000 // (2 * (levels - 1))) for level in range(levels)] + [999]
        starts = [0] + [end + 1 for end in ends[:-1]]
        a = np.array([shrink[start : end + 1].prod() for start, end in zip(starts, ends)])
        self.a_prev = np.append(a[:-1], 1.0)
        self.variance = 1 - a**2
        self.a_cum = a.cumprod()
        self.sigma_cum = np.sqrt(1 - self.a_cum**2)

    def diffused(self, z0, level, noise):
        return float(self.a_cum[level]) * z0 + FORWARD_NOISE * float(self.sigma_cum[level]) * noise

    def authors(self, energy, z, level):
        """Walks down by 300 steps a level, each from fresh noise; autograd gives the gradient."""
        for t in reversed(range(level)):
            variance = float(self.variance[t + 1])
            y = torch.randn_like(z)
            for _ in range(K):
                y.requires_grad_(True)
                potential = energy(y, t).sum() + (y - z).square().sum() / (2 * variance)
                (gradient,) = torch.autograd.grad(potential, y)
                y = y.detach() - STEP / 2 * gradient
                y += math.sqrt(STEP) * LANGEVIN_NOISE * torch.randn_like(y)
            z = y / float(self.a_prev[t + 1])
        return z

    def fast(self, energy, z, level):
        """Walks down by two steps a level as long as its variance, from the level above."""
        for t in reversed(range(level)):
            variance = float(self.variance[t + 1])
            y = z
            for _ in range(2):
                with torch.enable_grad():
                    y = y.detach().requires_grad_(True)
                    (gradient,) = torch.autograd.grad(energy(y, t).sum(), y)
                y = z - variance * gradient
            z = y / float(self.a_prev[t + 1])
        return z


class LsdEbm:
    """All of it on one file of weights; with channels last, as PyTorch's own guide to speed on CPUs has it, or first."""

    def __init__(self, path, memory_format=torch.contiguous_format):
        parts = {"encoder": Encoder(), "generator": Generator(), "energy": Energy()}
        with safe_open(path, "pt") as file:
            description = json.loads(file.metadata()["description"])
            for name, part in parts.items():
                own = [key for key in file.keys() if key.startswith(f"{name}.")]
                state = {key.removeprefix(f"{name}."): file.get_tensor(key).float() for key in own}
                found = part.load_state_dict(state, strict=False)
                lacking = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
                if lacking or found.unexpected_keys:
                    raise ValueError(f"{path}: {lacking} missing, {found.unexpected_keys} too many")
        self.encoder, self.generator, self.energy = (part.eval() for part in parts.values())
        for part in (self.encoder, self.generator):
            part.to(memory_format=memory_format)
        # its parameters are at rest while the chain walks
        self.energy.requires_grad_(False)
        self.schedule = Schedule(description["levels_walked"]["paper"])
