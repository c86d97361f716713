"""Runs encoder, chain and generator of the paper's size, each alone, in PyTorch."""

import numpy as np
import torch

import lsd_ebm
import timing

STEPS = 20


def measure(folder, seed, sheet):
    torch.manual_seed(seed)
    weights = folder / "paper-fresh.safetensors"
    model = lsd_ebm.LsdEbm(weights)
    layouts = [
        ("first", "PyTorch", model),
        ("last", "PyTorch, channels last", lsd_ebm.LsdEbm(weights, torch.channels_last_3d)),
    ]
    mask = np.fromfile(folder / "mask.u8", np.uint8).reshape(1, 1, 128, 128, 128)
    mask = torch.from_numpy(mask).float()
    latent, noise = (
        torch.from_numpy(np.fromfile(folder / f"{name}.f32", "<f4"))[None] for name in ["latent", "noise"]
    )

    for layout, by, one in layouts:
        with torch.no_grad():
            mean, _ = sheet.measure(f"encoder_channels_{layout}", by, lambda: one.encoder(mask))
            sheet.reals("mean", mean.numpy())
            logits = sheet.measure(f"generator_channels_{layout}", by, lambda: one.generator.logits(latent))
            sheet.reals("logits", logits.numpy())

    schedule = model.schedule
    start = schedule.diffused(latent, STEPS, noise)
    for name, by, walk in [
        ("langevin_fast", "PyTorch, fast", schedule.fast),
        ("langevin_authors", "PyTorch, authors' way", schedule.authors),
    ]:
        back = sheet.measure(name, by, lambda: walk(model.energy, start, STEPS))
        sheet.reals("z0", back.numpy())


timing.main(timing.nothing_to_make, measure)
