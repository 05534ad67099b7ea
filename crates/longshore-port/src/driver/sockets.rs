//! Sockets of the system: opened, bound, with their options.

use crate::driver::os;
use crate::{Addr, BindTo, Call, Listening, PortError, RawSocket, SocketOptions};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// Binds and listens on a system socket, with the options its connections inherit.
pub(crate) fn bind(to: &BindTo) -> Result<Listening, PortError> {
    let failed = |error: io::Error| PortError::from_io(Call::Bind, &error);
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, to.addr.port()));
    let (socket, addr) = match open(to.addr) {
        Ok(socket) => (socket, to.addr),
        // IPv6 is off in this kernel: every address is then every address of IPv4.
        Err(_) if to.dual_stack && to.addr.ip().is_unspecified() => (open(v4).map_err(failed)?, v4),
        Err(error) => return Err(failed(error)),
    };
    if addr.is_ipv6() {
        socket.set_only_v6(!to.dual_stack).map_err(failed)?;
    }
    os::allow_rebind(&socket).map_err(failed)?;
    set_options(&socket, &to.options).map_err(failed)?;
    if let Err(error) = socket.bind(&addr.into()) {
        let off = error.kind() == io::ErrorKind::AddrNotAvailable;
        if !(off && to.dual_stack && addr.is_ipv6() && addr.ip().is_unspecified()) {
            return Err(failed(error));
        }
        return bind(&BindTo { addr: v4, dual_stack: false, ..to.clone() });
    }
    let backlog = i32::try_from(to.backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(failed)?;
    Ok(Listening { options: Some(to.options), ..listening(socket)? })
}

/// Takes in a listener of the standard library.
pub(crate) fn listening_from(listener: std::net::TcpListener) -> Result<Listening, PortError> {
    listening(Socket::from(listener))
}

fn listening(socket: Socket) -> Result<Listening, PortError> {
    let local = local_addr(&socket).map_err(|error| PortError::from_io(Call::Bind, &error))?;
    Ok(Listening { local, options: None, raw: RawSocket::System(socket) })
}

/// A new TCP socket for addresses like `addr`, close-on-exec.
pub(crate) fn open(addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))
}

/// The own address of a socket.
pub(crate) fn local_addr(socket: &Socket) -> io::Result<Addr> {
    let addr = socket.local_addr()?.as_socket();
    addr.map(Addr::from).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Sets what a connection, or a listener for its connections, was configured with.
pub(crate) fn set_options(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(keepalive) = options.keepalive {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.probes);
        os::set_keepalive(socket, &keepalive)?;
    }
    os::set_user_timeout(socket, options.user_timeout)?;
    if let Some(bytes) = options.send_buf_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = options.recv_buf_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    Ok(())
}
