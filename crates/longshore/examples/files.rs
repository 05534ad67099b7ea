//! An echo server that takes and gives files of a folder, and a client that brings or fetches one.
//!
//!     cargo run --release --example files -- serve DIR
//!     cargo run --release --example files -- put FILE    # in DIR it has the same name
//!     cargo run --release --example files -- get NAME    # goes on where it was cut off
#![expect(clippy::print_stdout, reason = "a program for people")]

use longshore::{
    Builder, Connector, Ctx, Error, FileDone, FileEvent, FileId, FileName, FileSource,
};
use longshore::{FileStore, Handler, Listener, Longshore, Message, Result, Server};
use std::sync::{Arc, mpsc};

const ADDR: &str = "127.0.0.1:7411";
pub(crate) const CODEC: Longshore = Longshore::new().with_files();

/// What a client wants, as soon as it is connected.
pub(crate) type Errand = Arc<dyn Fn(&mut Ctx<'_, Session>) -> Result<FileId> + Send + Sync>;

pub(crate) enum Session {
    Server(FileStore),
    Client(Errand, mpsc::Sender<Result<FileDone>>),
}

impl Handler for Session {
    type Codec = Longshore;
    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        if let Self::Client(errand, _) = self {
            errand(cx)?;
        }
        Ok(())
    }
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
        cx.send(message)
    }
    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        match (self, event) {
            (Self::Server(store), event) => event.serve(store),
            (Self::Client(_, told), FileEvent::Done(done)) => told.send(Ok(done))?,
            (Self::Client(_, told), FileEvent::Failed(it)) => told.send(Err(it.error.into()))?,
            _ => {}
        }
        Ok(())
    }
}

pub(crate) fn server(listener: Listener<Longshore>, store: FileStore) -> Builder {
    Server::builder().listen(listener, move |_| Ok(Session::Server(store.clone())))
}

fn client(errand: Errand) -> Result {
    let (told, ended) = mpsc::channel();
    let client = Server::builder().workers(1).start()?;
    let connector = Connector::tcp(ADDR, CODEC);
    client.connect(connector, move |_| Ok(Session::Client(errand.clone(), told.clone())))?;
    let done = ended.recv().map_err(|_| Error::msg("there is no connection any more"))??;
    println!("{}: {} bytes, {} were there before", done.name, done.bytes, done.resumed);
    client.drain();
    client.wait()
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let args: Vec<_> = std::env::args().skip(1).collect();
    let store = |folder: &str| FileStore::open(folder).map(FileStore::receive);
    match args.iter().map(|arg| &arg[..]).collect::<Vec<_>>()[..] {
        ["serve", dir] => server(Listener::tcp(ADDR, CODEC), store(dir)?).run(),
        ["put", path] => {
            let name = FileName::parse(path.rsplit('/').next().unwrap_or(path))?;
            let file = FileSource::open(path)?;
            client(Arc::new(move |cx| cx.offer_file(&file, &name)))
        }
        ["get", name] => {
            let (name, store) = (FileName::parse(name)?, store(".")?);
            client(Arc::new(move |cx| cx.get_file(&name, &store, &name)))
        }
        _ => Err(Error::msg("files serve DIR, put FILE, or get NAME")),
    }
}
