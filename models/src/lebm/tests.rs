//! LEBM's chains against numbers from the authors' code, and what its energy's gradient must be.

use tch::Kind;

use super::*;
use crate::golden;
use crate::networks::PaperSize;
use crate::networks::layers::Made;
use crate::seed::generator;

const SIZE: PaperSize = PaperSize {
    channels: 4,
    wide: true,
    latents: 8,
    energy_width: 32,
    energy_batch_norm: true,
    ..PaperSize::PAPER_CODE
};

fn stored(tensors: &Tensors, kind: Kind) -> Stored<'_> {
    Stored {
        kind,
        compute: kind,
        ..Stored::on(tensors, "", Device::Cpu)
    }
}

/// Gives out the rows of a tensor one after another.
fn rows(tensor: &Tensor) -> impl FnMut(&[i64]) -> Result<Tensor, ModelError> + use<> {
    let rows: Vec<Tensor> = (0..tensor.size()[0]).map(|row| tensor.get(row)).collect();
    let mut rows = rows.into_iter();
    move |_| Ok(rows.next().unwrap())
}

#[test]
fn chains_equal_the_golden_ones() {
    let Some(golden) = golden::tensors("langevin/lebm_langevin.safetensors") else {
        return;
    };
    let network = Network::Paper(SIZE);
    let of_generator = golden::tensors("models/vae.state.safetensors").unwrap();
    let of_energy = golden::tensors("models/lebm_energy.state.safetensors").unwrap();
    let x = &golden::tensors("models/inputs.safetensors").unwrap()["x"];
    for (kind, name) in [(Kind::Float, "f32"), (Kind::Double, "f64")] {
        let generator = Generator::new(&mut stored(&of_generator, kind), &network).unwrap();
        let energy = PriorEnergy::new(&mut stored(&of_energy, kind), &network).unwrap();
        let masks = Tensor::cat(&[x, &x.flip([2])], 0).to_kind(kind);
        let get = |key: &str| golden[key].to_kind(kind);
        let chain = |key: &str, steps: usize, step: f64| {
            let short = Short {
                posterior_steps: steps,
                posterior_step: step,
                prior_steps: steps,
                prior_step: step,
                ..Short::paper(steps)
            };
            let run = ShortRun {
                generator: &generator,
                energy: &energy,
                short: &short,
                shared_by: 2,
            };
            let mut seen = Vec::new();
            let mut watch = |z: &Tensor| {
                seen.push(z.copy());
                Ok(())
            };
            let (start, mut noise) = (get(&format!("{key}.z0")), rows(&get(&format!("{key}.eps"))));
            let last = if key == "prior" {
                run.prior(&start, &mut noise, &mut watch)
            } else {
                run.posterior(&masks, &start, &mut noise, &mut watch)
            };
            assert!(last.unwrap().equal(seen.last().unwrap()));
            Tensor::stack(&seen, 0)
        };
        let tolerance = if kind == Kind::Double { 1e-11 } else { 5e-6 };
        golden::close(
            &chain("prior", 6, 0.4),
            &golden[&format!("prior.z_steps.{name}")],
            tolerance,
        );
        if kind == Kind::Double {
            let by_energy = energy.gradient(&get("post.z0")).unwrap() / 2.0;
            golden::close(&by_energy, &golden["post.z0.grad_energy_mean.f64"], 1e-12);
            // the generator in f64 takes minutes: oneDNN has no such convolutions
            continue;
        }
        golden::close(
            &chain("post_small", 4, 1e-5),
            &golden["post_small.z_steps.f32"],
            tolerance,
        );
        // with s = 0.1 rounding grows along the chain: the first two steps, 1e-3 of values of hundreds
        let found = chain("post", 2, 0.1);
        let expected = golden["post.z_steps.f32"].narrow(0, 0, 2);
        let relative = (&found - &expected).abs() / expected.abs().clamp_min(1.0);
        assert!(relative.max().double_value(&[]) < 1e-3);
    }
}

#[test]
fn the_closed_gradient_is_that_of_autograd_with_and_without_batch_norm() {
    for energy_batch_norm in [true, false] {
        let size = PaperSize {
            energy_batch_norm,
            ..SIZE
        };
        let mut tensors = Tensors::new();
        let mut made = Made {
            tensors: &mut tensors,
            prefix: "",
            rng: &mut generator(5),
        };
        PriorEnergy::new(&mut made, &Network::Paper(size.clone())).unwrap();
        for (name, tensor) in &mut tensors {
            if name.ends_with("running_mean") {
                *tensor = &*tensor + 0.1;
            }
        }
        let energy = PriorEnergy::new(&mut stored(&tensors, Kind::Double), &Network::Paper(size)).unwrap();
        let z = Tensor::linspace(-2, 2, 24, (Kind::Double, Device::Cpu))
            .view([3, 8])
            .set_requires_grad(true);
        let sum = energy.forward(&z).unwrap().sum(Kind::Double);
        let expected = Tensor::run_backward(&[sum], &[&z], false, false).remove(0);
        golden::close(&energy.gradient(&z).unwrap(), &expected, 1e-13);
    }
}
