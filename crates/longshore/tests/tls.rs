//! TLS through a filter, against Python's `ssl`: both ways round, on both drivers.
#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]
#![expect(clippy::print_stdout, reason = "whoever runs this has to see what was not tested")]

use longshore::*;
use rustls::pki_types::ServerName;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

#[expect(dead_code, reason = "main is for people")]
#[path = "../examples/tls.rs"]
mod tls;
use tls::Tls;

/// Bytes of the one large message each way.
const LARGE: usize = 1 << 20;

/// What both Python programs begin with: frames, and an end that is only good with a `close_notify`.
const PRELUDE: &str = r"
import socket, ssl, struct, sys, tempfile
LARGE = 1 << 20
text = bytes((i * 7) % 251 for i in range(LARGE))
def send(s, payload):
    s.sendall(struct.pack('>I', len(payload)) + payload)
def exactly(s, count):
    got = bytearray()
    while len(got) < count:
        piece = s.recv(count - len(got))
        assert piece, 'the stream ended early'
        got += piece
    return bytes(got)
def recv(s):
    return exactly(s, struct.unpack('>I', exactly(s, 4))[0])
def ended(s):
    # Without a close_notify this raises: see `suppress_ragged_eofs`.
    assert s.recv(1) == b'', 'more than was to come'
    print('close_notify seen', flush=True)
";

const CLIENT: &str = r"
port, pem = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cadata=pem)
raw = socket.create_connection(('127.0.0.1', port), 10)
with context.wrap_socket(raw, server_hostname='localhost', suppress_ragged_eofs=False) as s:
    assert recv(s) == b'welcome'
    send(s, text)
    assert recv(s) == text
    send(s, b'quit')
    assert recv(s) == b'so long'
    ended(s)
raw = socket.create_connection(('127.0.0.1', port), 10)
with context.wrap_socket(raw, server_hostname='localhost', suppress_ragged_eofs=False) as s:
    assert recv(s) == b'welcome'
    s.unwrap()  # says good-bye first, and waits for ours
    print('close_notify answered', flush=True)
raw = socket.create_connection(('127.0.0.1', port), 10)
s = context.wrap_socket(raw, server_hostname='localhost', suppress_ragged_eofs=False)
assert recv(s) == b'welcome'
socket.socket(fileno=s.detach()).close()  # the wire is cut
";

const SERVER: &str = r"
pem, key = sys.argv[1], sys.argv[2]
with tempfile.NamedTemporaryFile('w') as chain:
    chain.write(pem + key)
    chain.flush()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain.name)
listener = socket.create_server(('127.0.0.1', 0))
listener.settimeout(10)
print(listener.getsockname()[1], flush=True)
raw, _ = listener.accept()
raw.settimeout(10)
with context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as s:
    assert recv(s) == text
    send(s, text)
    ended(s)
";

struct Python {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    /// Its end ends a program that waits for input.
    _input: ChildStdin,
}

impl Python {
    /// Starts a program, if there is Python here.
    fn start(program: &str, args: &[&str]) -> Option<Self> {
        let mut command = Command::new("python3");
        command.arg("-c").arg(format!("{PRELUDE}{program}")).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("SKIPPED, NOT TESTED AT ALL: there is no python3");
            return None;
        };
        let out = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Some(Self { child, out, _input: input })
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn end(mut self) {
        let status = self.child.wait().unwrap();
        std::io::stdout().flush().unwrap();
        assert!(status.success(), "the program of the other side: {status}");
    }
}

/// Answers, and closes at a word. Sends before the handshake can be over.
struct Echo(Sender<String>);

impl Handler for Echo {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        cx.send(b"welcome")
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        if frame == b"quit" {
            cx.send(b"so long")?;
            cx.close();
            return Ok(());
        }
        cx.send(frame)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        let _ = self.0.send(closed.reason.to_string());
    }
}

fn on_both_drivers(test: fn(DriverChoice)) {
    for driver in [DriverChoice::Uring, DriverChoice::Readiness] {
        match SystemWorld::new(driver) {
            Ok(_) => test(driver),
            Err(refused) => println!("SKIPPED, NOT TESTED ON IO_URING: {refused}"),
        }
    }
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_listener_speaks_tls_with_python() {
    on_both_drivers(|driver| {
        let identity = tls::identity().unwrap();
        let config = tls::server_config(&identity).unwrap();
        let listener = Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(LARGE + 4));
        let listener = listener.filter(move || Tls::accept(&config));
        let (told, ends) = channel();
        let factory = move |_: &Peer<'_>| Ok::<_, Reject>(Echo(told.clone()));
        let server = Server::builder().driver(driver).listen(listener, factory).start().unwrap();
        let port = server.local_addrs()[0].port().unwrap().to_string();
        let Some(mut python) = Python::start(CLIENT, &[&port, &identity.pem]) else { return };
        assert_eq!(python.line(), "close_notify seen");
        assert_eq!(ends.recv_timeout(SOON).unwrap(), "closed by this side");
        assert_eq!(python.line(), "close_notify answered");
        python.end();
        // The last two may end on two workers: in either order.
        let mut last = [ends.recv_timeout(SOON).unwrap(), ends.recv_timeout(SOON).unwrap()];
        last.sort_by_key(|reason| reason != "peer closed");
        let [answered, cut] = last;
        assert_eq!(answered, "peer closed");
        assert!(cut.contains("without a close_notify") || cut.contains("reset"), "{cut}");
        server.shutdown(Duration::ZERO);
        server.wait().unwrap();
    });
}

/// Sends one large message, and closes when it is back.
struct Large(Sender<Vec<u8>>);

impl Handler for Large {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let text: Vec<u8> = (0..LARGE).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
        cx.send(&text)
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        let _ = self.0.send(frame.to_vec());
        cx.close();
        Ok(())
    }
}

#[test]
fn a_connector_speaks_tls_with_python() {
    on_both_drivers(|driver| {
        let identity = tls::identity().unwrap();
        let key = identity.key.serialize_pem();
        let args = [identity.pem.as_str(), key.as_str()];
        let Some(mut python) = Python::start(SERVER, &args) else { return };
        let port = python.line();
        let config = tls::client_config(&identity.cert).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let to = format!("127.0.0.1:{port}");
        let connector = Connector::tcp(&to, LengthDelimited::u32_be(LARGE));
        let connector = connector.filter(move || Tls::connect(&config, &name));
        let (told, heard) = channel();
        let server = Server::builder().driver(driver).start().unwrap();
        server.connect(connector, move |_| Ok(Large(told.clone()))).unwrap();
        let back = heard.recv_timeout(SOON).unwrap();
        assert!(back.len() == LARGE && back[..4] == [0, 7, 14, 21], "{} bytes", back.len());
        assert_eq!(python.line(), "close_notify seen");
        python.end();
        server.shutdown(Duration::ZERO);
        server.wait().unwrap();
    });
}
