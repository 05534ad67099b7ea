use longshore::testing::{Net, in_pieces};
use longshore::with_len_u16_be;
use longshore::{
    Client, ClientError, Codec, Ctx, Decoded, FrameError, Handler, In, Listener, Out, Result,
    Server,
};
use std::time::Duration;

/// `| length: u16 | name | length: u16 | text |`, lengths big-endian.
struct Lines;

/// What goes either way; it borrows from the received bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Line<'a> {
    name: &'a str,
    text: &'a str,
}

const FRAME_BYTES_MAX: usize = 1024;

impl Codec for Lines {
    type Frame<'a> = Line<'a>;
    type Item<'a> = Line<'a>;
    type Decoder = (); // nothing is remembered between calls

    fn frame_bytes_max(&self) -> usize {
        FRAME_BYTES_MAX
    }

    fn decode<'a>(&self, (): &mut (), input: &'a [u8]) -> Result<Decoded<Line<'a>>, FrameError> {
        // How long is it? As far as the bytes say; what is missing is asked for.
        let mut used = 0;
        for _ in ["name", "text"] {
            let Some(&[high, low]) = input.get(used..used + 2) else {
                return Ok(Decoded::More { total: used + 2 });
            };
            used += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
        // More than `frame_bytes_max` is refused at once, and not waited for.
        let Some(line) = input.get(..used) else { return Ok(Decoded::More { total: used }) };
        // It is whole: a frame, or an error that ends the connection.
        let mut fields = In::new(line);
        let name = str_of(fields.get_with_len_u16_be()?.rest())?;
        let text = str_of(fields.get_with_len_u16_be()?.rest())?;
        let frame = Line { name, text };
        Ok(Decoded::Frame { frame, used })
    }

    fn encode(&self, line: Line<'_>, out: &mut Out<'_>) -> Result<(), FrameError> {
        for text in [line.name, line.text] {
            with_len_u16_be(out, |out| {
                out.put_slice(text.as_bytes());
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn str_of(bytes: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| FrameError::invalid("a line that is no UTF-8"))
}

#[test]
fn however_it_is_cut_it_is_the_same() {
    let (ada, bob) = (Line { name: "ada", text: "hi" }, Line { name: "bob", text: "" });
    let stream = [Lines.to_bytes(ada).unwrap(), Lines.to_bytes(bob).unwrap()].concat();
    let found = in_pieces(&Lines, &stream, |line| format!("{line:?}"));
    assert_eq!(found.frames, [format!("{ada:?}"), format!("{bob:?}")]);
    let cut_off = in_pieces(&Lines, &stream[..4], |_| ());
    assert!(matches!(cut_off.error, Some(FrameError::Truncated { .. })));
}

/// Says everything again, in its own name.
struct Parrot;

impl Handler for Parrot {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: Line<'_>) -> Result {
        cx.send(Line { name: "parrot", ..line })
    }
}

#[test]
fn the_parrot_repeats() {
    let mut net = Net::seed(1);
    let addr = net.serve(Lines, |_| Ok(Parrot));
    let mut peer = net.connect(addr, Lines);
    peer.send(Line { name: "ada", text: "hi" });
    net.run_for(Duration::from_secs(1));
    let heard = peer.received_with(|line| format!("{}: {}", line.name, line.text));
    assert_eq!(heard, ["parrot: hi"]);
}

/// A client that blocks: for a tool, or for a test with real sockets.
fn ask(addr: &str, text: &str) -> Result<String, ClientError> {
    let mut client = Client::connect(addr, Lines)?;
    client.set_timeout(Some(Duration::from_secs(5)));
    client.send(Line { name: "me", text })?;
    client.recv_with(|line| line.text.to_owned())
}

#[test]
fn the_parrot_repeats_for_a_client() -> Result {
    let listener = Listener::tcp("127.0.0.1:0", Lines);
    let server = Server::builder().workers(1).listen(listener, |_| Ok(Parrot)).start()?;
    assert_eq!(ask(&server.local_addrs()[0].to_string(), "hi")?, "hi");
    server.shutdown(Duration::ZERO);
    server.wait()
}
