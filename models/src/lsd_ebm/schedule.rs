//! The noise of each diffusion level.

use serde::{Deserialize, Serialize};

use crate::reconstructor::ModelError;

/// Where the levels of a schedule come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Levels {
    /// The paper's code, for its T.
    Paper(usize),
    /// Standard deviation of the noise in z₀ … z_T beside a signal of √(1 − σ²); the first is 0.
    Noise(Vec<f64>),
}

/// Coefficients of levels 0 … T, in f64.
///
/// z_t = `a_cum[t]`·z₀ + `sigma_cum[t]`·ε and z_{t+1} = `a[t+1]`·z_t + `sigma[t+1]`·ε′ (the paper's code
/// multiplies both ε by another 0.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Shrinkage from level t − 1 to t.
    pub a: Vec<f64>,
    /// √(1 − a²).
    pub sigma: Vec<f64>,
    /// Shrinkage from z₀ to level t: the running product of `a`.
    pub a_cum: Vec<f64>,
    /// √(1 − `a_cum`²).
    pub sigma_cum: Vec<f64>,
    /// What a level's result is divided by: `a`, with 1 at the last level.
    pub a_prev: Vec<f64>,
}

/// Steps of the paper's fine grid of β between [`BETA_FIRST`] and [`BETA_LAST`].
const BETAS: usize = 1000;
const BETA_FIRST: f64 = 1e-4;
const BETA_LAST: f64 = 1e-2;

impl Schedule {
    /// Returns the schedule of a description.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for fewer than two levels or noise that does not rise from 0 to below 1.
    pub fn new(levels: &Levels) -> Result<Self, ModelError> {
        match levels {
            Levels::Paper(levels) => Self::paper(*levels),
            Levels::Noise(sigma_cum) => Self::of_noise(sigma_cum),
        }
    }

    /// Returns the schedule of the paper's code for T levels: half of the β are spread over levels 0 … T − 1,
    /// the other half is one last jump to level T.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for a T below 2 or so large that levels fall together.
    pub fn paper(levels: usize) -> Result<Self, ModelError> {
        if !(2..=BETAS / 2).contains(&levels) {
            return Err(ModelError::Weights(format!(
                "expected 2 to {} levels, found {levels}",
                BETAS / 2
            )));
        }
        let slope = (BETA_LAST - BETA_FIRST) / (BETAS - 1) as f64;
        let shrink: Vec<f64> = (0..BETAS)
            .map(|i| (1.0 - (BETA_FIRST + slope * i as f64)).sqrt())
            .collect();
        let spacing = BETAS / (2 * (levels - 1));
        let mut ends: Vec<usize> = (0..levels).map(|level| level * spacing).collect();
        ends.push(BETAS - 1);
        let mut a = Vec::with_capacity(levels + 1);
        let mut first = 0;
        for end in ends {
            a.push(shrink[first..=end].iter().product());
            first = end + 1;
        }
        Ok(Self::of_shrinkage(a))
    }

    /// Returns the variance-preserving schedule whose noise at level t has standard deviation `sigma_cum[t]`.
    fn of_noise(sigma_cum: &[f64]) -> Result<Self, ModelError> {
        let rises = sigma_cum.windows(2).all(|pair| pair[0] < pair[1]);
        let ends = (sigma_cum.first(), sigma_cum.last());
        let (Some(first), Some(last), true) = (ends.0, ends.1, rises && sigma_cum.len() >= 2) else {
            return Err(ModelError::Weights(format!(
                "expected noise that rises, found {sigma_cum:?}"
            )));
        };
        if *first != 0.0 || *last >= 1.0 {
            return Err(ModelError::Weights(format!(
                "expected noise from 0 to below 1, found {first} to {last}"
            )));
        }
        let a_cum: Vec<f64> = sigma_cum
            .iter()
            .map(|sigma| (1.0 - sigma * sigma).sqrt())
            .collect();
        let a = std::iter::once(1.0)
            .chain(a_cum.windows(2).map(|pair| pair[1] / pair[0]))
            .collect();
        Ok(Self::of_shrinkage(a).undivided_nowhere())
    }

    /// Returns the same schedule without the authors' exception at the last level: each is divided by what it was shrunk
    /// by.
    #[must_use]
    pub fn undivided_nowhere(self) -> Self {
        Self {
            a_prev: self.a.clone(),
            ..self
        }
    }

    fn of_shrinkage(a: Vec<f64>) -> Self {
        let noise = |a: &f64| (1.0 - a * a).max(0.0).sqrt();
        let mut product = 1.0;
        let mut a_cum = Vec::with_capacity(a.len());
        for factor in &a {
            product *= factor;
            a_cum.push(product);
        }
        let mut a_prev = a.clone();
        if let Some(last) = a_prev.last_mut() {
            *last = 1.0;
        }
        Self {
            sigma: a.iter().map(noise).collect(),
            sigma_cum: a_cum.iter().map(noise).collect(),
            a,
            a_cum,
            a_prev,
        }
    }

    /// Returns T: the number of levels above level 0.
    pub fn levels(&self) -> usize {
        self.a.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn close(found: &[f64], expected: &[f64]) -> bool {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-13 * b.abs();
        found.len() == expected.len() && found.iter().zip(expected).all(near)
    }

    #[test]
    fn the_paper_s_schedule_equals_the_golden_one() {
        let Some(text) = golden::bytes("schedule/schedule.json") else {
            return;
        };
        let golden: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let mut compared = 0;
        for levels in [2, 12, 15, 20, 30] {
            let entry = golden::find_schedule(&golden, levels);
            let schedule = Schedule::paper(levels).unwrap();
            let columns = [
                ("a", &schedule.a),
                ("sigma", &schedule.sigma),
                ("a_cum", &schedule.a_cum),
                ("sigma_cum", &schedule.sigma_cum),
                ("a_prev", &schedule.a_prev),
            ];
            for (name, found) in columns {
                let expected: Vec<f64> = serde_json::from_value(entry[name].clone()).unwrap();
                assert!(
                    close(found, &expected),
                    "T = {levels}, {name}: {found:?} and {expected:?}"
                );
                compared += 1;
            }
        }
        assert_eq!(compared, 25);
    }

    #[test]
    fn a_schedule_of_noise_levels_has_that_noise() {
        let noise = [0.0, 0.15, 0.5, 0.99];
        let schedule = Schedule::new(&Levels::Noise(noise.to_vec())).unwrap();
        assert_eq!(schedule.levels(), 3);
        for (found, expected) in schedule.sigma_cum.iter().zip(noise) {
            assert!((found - expected).abs() < 1e-12);
        }
        // noise composes: variance after two levels is a²·(variance before) + sigma²
        for t in 1..noise.len() {
            let composed = schedule.a[t].powi(2) * noise[t - 1].powi(2) + schedule.sigma[t].powi(2);
            assert!((composed.sqrt() - noise[t]).abs() < 1e-12);
        }
    }

    #[test]
    fn levels_that_make_no_schedule_are_refused() {
        let noises = [
            vec![],
            vec![0.0],
            vec![0.1, 0.5],
            vec![0.0, 0.5, 0.5],
            vec![0.0, 1.0],
            vec![0.0, f64::NAN],
        ];
        for noise in noises {
            assert!(matches!(
                Schedule::new(&Levels::Noise(noise)),
                Err(ModelError::Weights(_))
            ));
        }
        assert!(matches!(
            Schedule::new(&Levels::Paper(1)),
            Err(ModelError::Weights(_))
        ));
        assert!(matches!(
            Schedule::new(&Levels::Paper(900)),
            Err(ModelError::Weights(_))
        ));
    }
}
