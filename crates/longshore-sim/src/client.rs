//! Peers that a test drives by hand.

use crate::network::{Shared, VirtualSocket};
use std::net::SocketAddr;

/// The other side of a connection, without a port: what a test says, it does at once; what it sends
/// takes its time on the virtual wire all the same. Dropping it closes it.
#[derive(Debug)]
pub struct SimClient {
    socket: VirtualSocket,
    local: SocketAddr,
}

impl SimClient {
    pub(crate) fn connect(world: &Shared, addr: SocketAddr) -> Self {
        let (descriptor, local) = world.network().connect_client(addr);
        Self { socket: VirtualSocket::new(world, descriptor), local }
    }

    /// How the server sees it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether the connection was established, now or once.
    pub fn is_connected(&self) -> bool {
        self.socket.network().is_connected(self.socket.descriptor)
    }

    /// Sends what finds room in the peer's window, and says how much that was. Also before the
    /// connection stands: it arrives behind the handshake.
    pub fn write(&self, bytes: &[u8]) -> usize {
        let mut network = self.socket.network();
        let Ok(room) = network.send_room(self.socket.descriptor) else { return 0 };
        let count = room.min(bytes.len());
        network.send(self.socket.descriptor, bytes[..count].to_vec());
        count
    }

    /// What has arrived, at most `most` bytes of it.
    pub fn read(&self, most: usize) -> Vec<u8> {
        let mut network = self.socket.network();
        let count = network.arrived(self.socket.descriptor).bytes.min(most);
        let mut bytes = vec![0; count];
        network.read(self.socket.descriptor, &mut bytes);
        bytes
    }

    /// Half-close: sends the end of the stream.
    pub fn finish(&self) {
        self.socket.network().shutdown(self.socket.descriptor);
    }

    /// Resets the connection.
    pub fn reset(&self) {
        self.socket.network().reset(self.socket.descriptor);
    }

    /// Its machine goes off: it neither hears nor says anything from now on, not even that. The
    /// other side finds out when its probes (`SocketOptions::keepalive`) stay unanswered.
    pub fn vanish(&self) {
        self.socket.network().vanish(self.socket.descriptor);
    }

    /// Whether nothing more will come: all is read, and the peer has ended the stream, reset the
    /// connection or refused it.
    pub fn is_closed(&self) -> bool {
        let arrived = self.socket.network().arrived(self.socket.descriptor);
        arrived.bytes == 0 && (arrived.fin || arrived.broken.is_some())
    }

    /// Whether the connection was reset or refused.
    pub fn is_reset(&self) -> bool {
        self.socket.network().arrived(self.socket.descriptor).broken.is_some()
    }
}
