//! The listener of the API: bounded in connections and in the patience it has with them.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tracing::{debug, warn};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 10_000;
/// From the first byte of a request to the end of its head, and between two requests of a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// After the operating system refused a connection, for want of descriptors most likely.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` over HTTP/1.1 until `stop` is ready; then takes no more connections, and returns when
/// the requests that run have been answered. A connection that sends no whole head within 30 s is closed.
///
/// # Errors
/// None at the moment: whoever cannot be accepted is logged, and others are.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let (graceful, room) = (GracefulShutdown::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await?))
        };
        let (place, (stream, peer)) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    sleep(AFTER_REFUSAL).await;
                    continue;
                }
            },
        };
        let _slower_without = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%peer, %error, "connection to the api ended");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}
