//! An echo of lines over TLS, and a client of it: a filter of `rustls` between the wire and the codec.
//!
//!     cargo run --release --example tls    # or at another address: --example tls 127.0.0.1:7412
//!     listening on 127.0.0.1:7411, certificate in /tmp/longshore-tls.pem
//!     the client heard: hello over TLS
//!
//! and from another terminal:
//!
//!     openssl s_client -quiet -connect localhost:7411 -CAfile /tmp/longshore-tls.pem
#![expect(clippy::print_stdout, reason = "a program for people")]

use longshore::{
    Connector, Ctx, Error, Filter, FrameError, Handler, Lines, Listener, Peer, Reject, Result,
    Server,
};
use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

/// One side of one connection.
pub(crate) struct Tls {
    session: Connection,
    /// Bytes that have to wait until the handshake is done.
    held: usize,
    /// The peer has said good-bye.
    ended: bool,
}

impl Tls {
    /// Of a listener.
    pub(crate) fn accept(config: &Arc<ServerConfig>) -> Box<dyn Filter> {
        let tls = ServerConnection::new(Arc::clone(config)).expect("settings that work");
        Self::boxed(tls.into())
    }

    /// Of a connector, to a server of that name.
    pub(crate) fn connect(
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Box<dyn Filter> {
        let tls = ClientConnection::new(Arc::clone(config), name.clone());
        Self::boxed(tls.expect("settings that work").into())
    }

    fn boxed(mut session: Connection) -> Box<dyn Filter> {
        session.set_buffer_limit(None); // what is held counts against the send queue, and is bounded there
        Box::new(Self { session, held: 0, ended: false })
    }

    /// What TLS has to say by now.
    fn say(&mut self, wire: &mut Vec<u8>) -> Result<(), FrameError> {
        while self.session.wants_write() {
            self.session.write_tls(wire)?;
        }
        Ok(())
    }
}

impl Filter for Tls {
    fn handle_start(&mut self, wire: &mut Vec<u8>) -> Result<(), FrameError> {
        self.say(wire) // a client's hello
    }

    fn handle_input(
        &mut self,
        mut input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        while !input.is_empty() && !self.ended {
            self.session.read_tls(&mut input)?;
            match self.session.process_new_packets() {
                Ok(state) => self.ended = state.peer_has_closed(),
                Err(error) => {
                    self.say(reply)?; // an alert that says why
                    return Err(FrameError::invalid(error));
                }
            }
            match self.session.reader().read_to_end(plain) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
        if !self.session.is_handshaking() {
            self.held = 0;
        }
        self.say(reply)
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        self.session.writer().write_all(plain)?;
        if self.session.is_handshaking() {
            self.held += plain.len();
        }
        self.say(wire)
    }

    fn held_bytes(&self) -> usize {
        self.held
    }

    fn is_torn(&self) -> bool {
        self.session.is_handshaking()
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn handle_close(&mut self, wire: &mut Vec<u8>) -> Result<(), FrameError> {
        if self.held == 0 {
            self.session.send_close_notify();
        }
        self.say(wire)
    }

    fn handle_end(&mut self) -> Result<(), FrameError> {
        // Whoever cuts the wire must not be able to cut a message short unseen.
        Err(FrameError::invalid("the stream ended without a close_notify"))
    }
}

/// A certificate, and the key of that: for a try on one machine.
pub(crate) struct Identity {
    pub(crate) cert: CertificateDer<'static>,
    pub(crate) key: rcgen::KeyPair,
    /// The certificate as text, as other programs read it.
    pub(crate) pem: String,
}

/// A certificate for `localhost` that is its own authority.
pub(crate) fn identity() -> Result<Identity> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (cert, pem) = (made.cert.der().clone(), made.cert.pem());
    Ok(Identity { cert, key: made.signing_key, pem })
}

pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let chain = vec![identity.cert.clone()];
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).map_err(Error::msg)?;
    Ok(Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?))
}

/// Trusts that one certificate.
pub(crate) fn client_config(trusted: &CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

struct Echo;

impl Handler for Echo {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        cx.send(line)
    }
}

struct Hello;

impl Handler for Hello {
    type Codec = Lines;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        cx.send("hello over TLS")
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        println!("the client heard: {line}");
        cx.close();
        Ok(())
    }
}

fn main() -> Result {
    let identity = identity()?;
    let path = std::env::temp_dir().join("longshore-tls.pem");
    // Never through a link that somebody else put there: a new file, in the place of an old one.
    let _ = std::fs::remove_file(&path);
    std::fs::File::create_new(&path)?.write_all(identity.pem.as_bytes())?;
    let (server_side, client_side) = (server_config(&identity)?, client_config(&identity.cert)?);
    let name = ServerName::try_from("localhost")?;
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    let listener = Listener::tcp(&addr, Lines::max(1024));
    let listener = listener.filter(move || Tls::accept(&server_side));
    let server =
        Server::builder().listen(listener, |_: &Peer<'_>| Ok::<_, Reject>(Echo)).start()?;
    println!("listening on {}, certificate in {}", server.local_addrs()[0], path.display());
    let connector = Connector::tcp(&addr, Lines::max(1024));
    let connector = connector.filter(move || Tls::connect(&client_side, &name));
    server.connect(connector, |_| Ok(Hello))?;
    server.drain_on_signals()?;
    server.wait()
}
