//! What both phases share while they run: time, progress, validation and checkpoints.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tch::Device;

use crate::networks::unet::Unet;
use crate::reconstructor::{ModelConf, ModelError, built};
use crate::train::checkpoint::State;
use crate::train::validation::{Measure, validate};
use crate::train::{Event, Phase, Recipe, TrainingMask, Validated};

/// Steps in a row without a finite gradient that end a training.
const GUARDED_MOST: u32 = 10;

/// A training under way.
pub struct Run<'a> {
    /// How.
    pub recipe: &'a Recipe,
    /// Where.
    pub device: Device,
    /// Masks to train on.
    pub masks: &'a [TrainingMask],
    /// Masks to try the model on.
    pub validation: &'a [TrainingMask],
    /// What measures it.
    pub measure: &'a Measure<'a>,
    /// What restores a share of the masks first.
    pub restorer: Option<&'a Unet>,
    /// Who wants to know.
    pub on_event: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    /// Weights and where training is.
    pub state: State,
    /// The last validation.
    pub last: Vec<Validated>,
    /// Steps in a row whose gradient was not finite.
    pub guarded: u32,
}

/// The clock of one phase.
pub struct Clock {
    began: Instant,
    before: Duration,
    checkpoint: Instant,
    steps: u64,
    limit: Option<Duration>,
}

impl Clock {
    /// Starts the clock of a phase that has run for a while before.
    pub fn start(seconds_before: f64, steps: u64, minutes: f64) -> Self {
        let limit = Duration::try_from_secs_f64(minutes * 60.0).ok();
        let limit = limit.filter(|limit| !limit.is_zero());
        let before = Duration::try_from_secs_f64(seconds_before).unwrap_or_default();
        let now = Instant::now();
        Self {
            began: now,
            before,
            checkpoint: now,
            steps,
            limit,
        }
    }

    /// Returns the time in this phase, earlier runs included.
    pub fn elapsed(&self) -> Duration {
        self.before + self.began.elapsed()
    }

    /// Returns how much of the phase is done, by steps or time, whichever is further; 1 and above is over.
    pub fn progress(&self, step: u64) -> f64 {
        let by_steps = if self.steps == 0 {
            1.0
        } else {
            step as f64 / self.steps as f64
        };
        let by_time = self
            .limit
            .map_or(0.0, |limit| self.elapsed().as_secs_f64() / limit.as_secs_f64());
        by_steps.max(by_time)
    }

    /// Returns whether a checkpoint is due, and if so counts anew.
    pub fn checkpoint_due(&mut self, minutes: f64) -> bool {
        let due = self.checkpoint.elapsed().as_secs_f64() >= minutes * 60.0;
        if due {
            self.checkpoint = Instant::now();
        }
        due
    }
}

impl Run<'_> {
    /// Tells of a step, and after it of what is due: a validation, a checkpoint.
    pub fn report(
        &mut self,
        phase: Phase,
        clock: &mut Clock,
        progress: f64,
        figures: &[(&'static str, f64)],
    ) -> Result<ControlFlow<()>, ModelError> {
        let step = self.state.step();
        self.state.seconds = clock.elapsed().as_secs_f64();
        let event = Event::Step {
            phase,
            step,
            progress,
            elapsed: clock.elapsed(),
            figures,
        };
        if (self.on_event)(event).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if step.is_multiple_of(self.recipe.validate_every) {
            let flow = self.try_out(phase)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        if clock.checkpoint_due(self.recipe.checkpoint_minutes) {
            return self.report_checkpoint();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out the bytes to resume from.
    pub fn report_checkpoint(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let bytes = self.state.write(self.recipe)?;
        Ok((self.on_event)(Event::Checkpoint { bytes: &bytes }))
    }

    /// Counts steps whose gradient was not finite; those the optimizer leaves out.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] after too many in a row.
    pub fn guard(&mut self, figures: &[(&'static str, f64)]) -> Result<(), ModelError> {
        let finite = figures
            .iter()
            .filter(|(name, _)| name.ends_with("gradient"))
            .all(|(_, norm)| norm.is_finite());
        self.guarded = if finite { 0 } else { self.guarded + 1 };
        if self.guarded >= GUARDED_MOST {
            return Err(ModelError::NotFinite {
                step: self.state.step(),
                steps: self.guarded,
            });
        }
        Ok(())
    }

    /// Returns the figures of a step whose chain diverged, once the guard has counted it.
    pub fn without_gradient(&mut self) -> Result<Vec<(&'static str, f64)>, ModelError> {
        let figures = vec![("energy_gradient", f64::NAN)];
        self.guard(&figures)?;
        Ok(figures)
    }

    /// Tries the model as it would be kept now: LSD-EBM decodes alone while its energy is not trained yet, then walks
    /// one diffusion level.
    pub fn try_out(&mut self, phase: Phase) -> Result<ControlFlow<()>, ModelError> {
        if self.validation.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let walks = phase == Phase::Energy && self.recipe.energy.fit.steps > 0;
        let steps = u32::from(walks || self.recipe.is_joint());
        let conf = ModelConf {
            steps,
            ..ModelConf::default()
        };
        let tensors = self.state.kept();
        let description = self.recipe.description(self.state.latent.clone());
        let mut model = built(&tensors, description, &conf, self.device)?;
        self.last = validate(model.as_mut(), self.validation, self.measure);
        let step = self.state.step();
        Ok((self.on_event)(Event::Validated {
            phase,
            step,
            cases: &self.last,
        }))
    }
}
