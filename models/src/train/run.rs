//! What both phases share while they run: time, progress, validation and checkpoints.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tch::Device;

use crate::lsd_ebm::LsdEbm;
use crate::reconstructor::{ModelConf, ModelError};
use crate::train::checkpoint::Checkpoint;
use crate::train::{Event, Phase, TrainConf, TrainingMask, Validated, validate};

/// A training under way.
pub struct Run<'a> {
    /// Its configuration.
    pub conf: &'a TrainConf,
    /// Masks to train on.
    pub masks: &'a [TrainingMask],
    /// Masks to try the model on.
    pub validation: &'a [TrainingMask],
    /// Who wants to know.
    pub on_event: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    /// Weights and where training is.
    pub state: Checkpoint,
    /// The last validation.
    pub last: Vec<Validated>,
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
        let limit = (minutes > 0.0).then(|| Duration::from_secs_f64(minutes * 60.0));
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
        let step = self.state.trainee.step;
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
        if step.is_multiple_of(self.conf.validate_every) {
            let flow = self.try_out(phase)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        if clock.checkpoint_due(self.conf.checkpoint_minutes) {
            return self.report_checkpoint();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out the bytes to resume from.
    pub fn report_checkpoint(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let bytes = self.state.write(self.conf)?;
        Ok((self.on_event)(Event::Checkpoint { bytes: &bytes }))
    }

    /// Tries the model as it would be kept now: decoding alone while the autoencoder is trained, then with one
    /// diffusion level.
    pub fn try_out(&mut self, phase: Phase) -> Result<ControlFlow<()>, ModelError> {
        if self.validation.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let steps = u32::from(phase == Phase::Energy);
        let (tensors, latent) = self.state.kept()?;
        let conf = ModelConf {
            steps,
            ..ModelConf::default()
        };
        let mut model = LsdEbm::build(&tensors, self.conf.description(latent), &conf, Device::Cpu)?;
        self.last = validate(&mut model, self.validation)?;
        let step = self.state.trainee.step;
        Ok((self.on_event)(Event::Validated {
            phase,
            step,
            cases: &self.last,
        }))
    }
}
