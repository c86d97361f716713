//! Ports for one server: free ones, and out of the way of everybody's outgoing connections.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context as _, Result};

/// SeaweedFS listens for gRPC this far above each port. It can be told otherwise, but its maintenance worker
/// looks for the admin server there whatever it is told.
const GRPC: u16 = 10_000;

/// Where ports are sought. Linux takes the ports of outgoing connections from 32768 up. One of ours among these
/// could be taken while its server is down, and a client that tries again and again to reach a dead server there
/// can even be connected to itself.
const RANGE: Range<u16> = 10_240..22_000;

/// The ports of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// S3.
    pub s3: u16,
    /// The folder tree over plain HTTP.
    pub filer: u16,
    /// Which volume lies where.
    pub master: u16,
    /// The volumes.
    pub volume: u16,
    /// Maintenance.
    pub admin: u16,
}

impl Ports {
    /// Returns ports that nobody listens on now, sought from a place that `salt` decides.
    ///
    /// # Errors
    /// There are not enough.
    pub fn free(salt: u64) -> Result<Self> {
        let count = u64::from(RANGE.end - RANGE.start);
        let first = u16::try_from(salt % count).unwrap_or_default();
        let turn = |step: u16| RANGE.start + (first + step) % (RANGE.end - RANGE.start);
        let mut free = (0..RANGE.end - RANGE.start)
            .map(turn)
            .filter(|port| is_free(*port) && is_free(*port + GRPC));
        let mut next = || free.next().context("no port of 127.0.0.1 is free");
        Ok(Self {
            s3: next()?,
            filer: next()?,
            master: next()?,
            volume: next()?,
            admin: next()?,
        })
    }

    /// Returns the names of the sockets that the server makes in /tmp, and leaves there when it is killed.
    pub fn sockets(self) -> Vec<String> {
        let parts = [
            ("s3", self.s3),
            ("filer", self.filer),
            ("master", self.master),
            ("volume", self.volume),
            ("admin", self.admin),
        ];
        let names = parts.iter().flat_map(|(part, port)| {
            [
                format!("seaweedfs-{part}-{port}.sock"),
                format!("seaweedfs-{part}-grpc-{}.sock", port + GRPC),
            ]
        });
        names.collect()
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_listens_on_is_passed_over() {
        let mut listeners = RANGE.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        let taken = listeners.next().expect("a free port");
        let port = taken.local_addr().expect("an address").port();
        let ports = Ports::free(u64::from(port - RANGE.start)).expect("free ports");
        assert_ne!(ports.s3, port);
    }

    #[test]
    fn the_search_goes_on_at_the_range_s_other_end() {
        let last = u64::from(RANGE.end - RANGE.start) - 1;
        let ports = Ports::free(last).expect("free ports");
        assert!(RANGE.contains(&ports.admin), "{ports:?}");
    }
}
