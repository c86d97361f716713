//! What a stage is: a verb that takes a payload and gives the next one, or a fault.

use std::future::Future;

use schemas::{Fault, Held, Outcome};

/// One verb of the flow. It opens no channel, spawns no task, starts no span, counts nothing and retries nothing:
/// the driver does all of that once, for everyone.
pub trait Stage: Send + Sync + 'static {
    /// What it takes.
    type In: Send + 'static;
    /// What it makes of it.
    type Out: Send + 'static;
    /// Its name in rows, spans and the configuration.
    const NAME: &'static str;

    /// Does the work for one case.
    fn run(&self, input: Self::In) -> impl Future<Output = Result<Self::Out, Fault>> + Send;
}

/// Where outcomes end.
pub trait Sink<T>: Send {
    /// What ends the run if it happens.
    type Error: Send;

    /// Takes one outcome; when it returns, the outcome is the sink's to keep.
    fn accept(&mut self, outcome: Outcome<T>) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts down everything that is still held.
    fn close(self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

tokio::task_local! {
    /// What the case in work holds of the run's memory; the driver sets it.
    pub static HELD: Held;
}

/// Runs work of more than half a millisecond off the async threads.
///
/// A panic inside goes on in the caller, where the driver makes a `Bug` row of it. Work whose caller has given up goes
/// on to its end all the same, and so long the memory of its case is not given back.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let held = HELD.try_with(Held::clone).ok();
    let span = tracing::Span::current();
    let work = move || {
        let result = span.in_scope(work);
        drop(held);
        result
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the runtime is shutting down"),
        },
    }
}
