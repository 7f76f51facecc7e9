//! Health as clients and balancers watch it: as many as like may ask, and so many may wait for a change.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::identity::Caller;
use crate::state::State;
use crate::state::followers::{MAX_WATCHERS, Place};

/// The health service, with places for those who watch: a stream that says nothing for days costs 10 KB.
#[derive(Debug)]
pub struct Seated<H> {
    health: H,
    state: Arc<State>,
}

impl<H: Health> Seated<H> {
    /// That service.
    pub fn new(health: H, state: Arc<State>) -> Self {
        Self { health, state }
    }
}

#[tonic::async_trait]
impl<H: Health> Health for Seated<H> {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.health.check(request).await
    }

    type WatchStream = Watching<H::WatchStream>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(request.extensions());
        let place = self.state.watchers.place(&caller).ok_or_else(|| {
            Status::resource_exhausted(format!(
                "of the {MAX_WATCHERS} places for those who watch health {caller} has its part; ask (Check) instead"
            ))
        })?;
        let watched = self.health.watch(request).await?;
        Ok(watched.map(|changes| Watching {
            changes: Box::pin(changes),
            _place: place,
        }))
    }
}

/// What a watcher is told.
#[derive(Debug)]
pub struct Watching<S> {
    changes: Pin<Box<S>>,
    /// Given back on drop.
    _place: Place,
}

impl<S: Stream> Stream for Watching<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.changes.as_mut().poll_next(context)
    }
}
