//! `spinestream view`: a web page of a run, on this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use stages::store::Stores;
use tokio::net::{TcpListener, lookup_host};

use super::tables_of;
use crate::conf::Conf;
use crate::masks::mask_source;
use crate::run::say;
use crate::viewer::{Door, Viewer, router, serve};
use crate::{Exit, RunEnd};

/// Arguments of the verb.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id (with --conf), or the path or URL of its folder runs/<id>; else the configuration's.
    pub run: Option<String>,
    /// Where to listen; port 0 is any that is free.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: String,
    /// Lets other machines in: whoever reaches the port sees the run. Without it only an address of this machine is
    /// listened at.
    #[arg(long)]
    pub open_to_network: bool,
}

/// Shows a run until `stop` is there. It reads the run's tables and files, and the manifest's masks; it writes nothing.
///
/// # Errors
/// There is no such run; the store's; nobody can listen there.
pub async fn view(
    arguments: &Arguments,
    conf: &Conf,
    stores: &Arc<Stores>,
    stop: impl Future<Output = ()> + Send,
) -> Result<Exit> {
    let (addresses, door) = addresses(arguments).await?;
    let tables = tables_of(stores, conf, arguments.run.as_deref()).await?;
    let masks = mask_source(&tables, conf, stores);
    let run = tables.run().to_owned();
    let viewer = Viewer::open(tables, masks).await.map_err(RunEnd::from)?;
    if viewer.results().is_nothing() {
        let message = format!("RUN: expected a run with tables or records, found nothing of a run {run:?}");
        return Err(RunEnd::Conf(message).into());
    }
    let misfit = |error| RunEnd::Conf(format!("--listen {}: {error}", arguments.listen));
    let listener = TcpListener::bind(addresses.as_slice()).await.map_err(misfit)?;
    let address = listener.local_addr().map_err(misfit)?;
    say(&format!("http://{address}/"));
    serve(listener, router(viewer, door), stop)
        .await
        .map_err(|error| RunEnd::Unusable(format!("the viewer has gone: {error}")))?;
    Ok(Exit::Done)
}

/// Returns where to listen, and who may come.
async fn addresses(arguments: &Arguments) -> Result<(Vec<SocketAddr>, Door), RunEnd> {
    let listen = &arguments.listen;
    let found = lookup_host(listen.as_str()).await;
    let found = found.map_err(|error| RunEnd::Conf(format!("--listen {listen}: {error}")))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        return Ok((addresses, Door::ThisMachine));
    }
    if arguments.open_to_network {
        return Ok((addresses, Door::Network));
    }
    let message = format!(
        "--listen: expected an address of this machine alone, such as 127.0.0.1:8080, found {listen}: whoever reaches it \
         would see the run; --open-to-network allows that"
    );
    Err(RunEnd::Conf(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening_at(listen: &str, open_to_network: bool) -> Arguments {
        Arguments {
            run: None,
            listen: listen.to_owned(),
            open_to_network,
        }
    }

    #[tokio::test]
    async fn the_network_is_let_in_only_when_told_so() {
        for loopback in ["127.0.0.1:0", "[::1]:8080", "127.1.2.3:80"] {
            for open in [false, true] {
                let (_, door) = addresses(&listening_at(loopback, open)).await.expect(loopback);
                assert_eq!(door, Door::ThisMachine, "{loopback}");
            }
        }
        for network in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
            let refused = addresses(&listening_at(network, false)).await.expect_err(network);
            assert!(refused.to_string().contains("--open-to-network"), "{refused}");
            let (_, door) = addresses(&listening_at(network, true)).await.expect(network);
            assert_eq!(door, Door::Network, "{network}");
        }
        let refused = addresses(&listening_at("8080", false))
            .await
            .expect_err("no address");
        assert!(refused.to_string().contains("--listen 8080"), "{refused}");
    }
}
