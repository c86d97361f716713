//! Puts objects into the store beside the training, which does not wait for them.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::store::{Place, StoreError};

/// Objects that wait at once: TensorBoard's next events and the training's record, twice.
const WAITING: usize = 4;

/// A task that puts what it is handed, in order.
///
/// Nothing of this is worth ending a training of hours for: an object that the store refuses is a warning.
#[derive(Debug)]
pub struct Keeper {
    sender: mpsc::Sender<(Place, Bytes)>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts the task.
    pub fn start() -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Place, Bytes)>(WAITING);
        let task = tokio::spawn(async move {
            while let Some((place, bytes)) = receiver.recv().await {
                if let Err(error) = place.put(bytes).await {
                    tracing::warn!("train.output: {}", StoreError::into_fault(error));
                }
            }
        });
        Self { sender, task }
    }

    /// Takes what `make` gives, or leaves it unmade if the store has not kept up: the next time will do.
    pub fn offer(&self, make: impl FnOnce() -> (Place, Bytes)) {
        if let Ok(slot) = self.sender.try_reserve() {
            slot.send(make());
        }
    }

    /// Takes a last object and waits until everything is put.
    pub async fn close(self, last: Option<(Place, Bytes)>) {
        if let Some(last) = last {
            // fails only if the task is gone, which it is not before the sender
            let _ = self.sender.send(last).await;
        }
        drop(self.sender);
        let _ = self.task.await;
    }
}
