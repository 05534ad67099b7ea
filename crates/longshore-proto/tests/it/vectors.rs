//! The test vectors of the project's own protocol, `docs/protocol/vectors.json`: each read and written, and
//! the whole dialogue spoken by both ends of file transfer.
#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]

use bytes::Bytes;
use longshore_base::Time;
use longshore_proto::frame::LongshoreDecoder;
use longshore_proto::transfer::{
    CAPABILITY_FILES, Digest, FileErrorKind, FileFrame, FilePiece, FileStream, Incoming, Last,
    Listed, Offered, Outgoing, Pace, RecvAct, SendAct, data_head, hello,
};
use longshore_proto::{Codec, Decoded, Longshore, Message};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../docs/protocol/vectors.json")).unwrap()
}

fn rows<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn large(value: &Value) -> u64 {
    text(value).parse().unwrap()
}

fn small<T: TryFrom<u64>>(value: &Value) -> T {
    let number = value.as_u64().and_then(|it| T::try_from(it).ok());
    number.unwrap_or_else(|| panic!("{value} is no such number"))
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes().chunks(2);
    digits.map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn digest(value: &Value) -> Digest {
    unhex(value).try_into().unwrap()
}

/// A frame of file transfer, from its fields.
fn file_frame(of: &Value) -> FileFrame {
    let (id, request) = (|| small(&of["id"]), || small(&of["request"]));
    let (bytes, name) = (|| large(&of["bytes"]), || text(&of["name"]).to_string());
    let why = || FileErrorKind::of_code(small(&of["reason"]));
    let words = || text(&of["words"]).to_string();
    let on = || small::<u8>(&of["on"]) == 1;
    match text(&of["frame"]) {
        "offer" => {
            let (start, total) = (large(&of["start"]), large(&of["total"]));
            let (name, request, bytes) = (name(), request(), bytes());
            let modified = large(&of["modified"]);
            let offered = Offered { name, request, start, bytes, total, modified };
            FileFrame::Offer { id: id(), offered }
        }
        "accept" => {
            let (have, credit) = (large(&of["have"]), large(&of["credit"]));
            FileFrame::Accept { id: id(), have, credit, digest: digest(&of["digest"]) }
        }
        "end" => FileFrame::End { id: id(), bytes: bytes(), digest: digest(&of["digest"]) },
        "credit" => {
            let (written, credit) = (large(&of["written"]), large(&of["credit"]));
            FileFrame::Credit { id: id(), written, credit }
        }
        "done" => FileFrame::Done { id: id(), bytes: bytes() },
        "refuse" => FileFrame::Refuse { id: id(), why: why(), text: words() },
        "give_up" => FileFrame::GiveUp { id: id(), why: why(), text: words() },
        "get" => {
            let (request, start) = (request(), large(&of["start"]));
            FileFrame::Get { request, start, bytes: bytes(), name: name() }
        }
        "list" => {
            let after = of.get("after").map_or("", text).into();
            FileFrame::List { request: request(), name: name(), after }
        }
        "entries" => {
            let entries = rows(of, "entries").iter().map(|of| Listed {
                name: text(&of["name"]).into(),
                folder: small::<u8>(&of["folder"]) == 1,
                bytes: large(&of["bytes"]),
                modified: large(&of["modified"]),
            });
            let last = [Last::No, Last::Yes, Last::More][small::<usize>(&of["last"])];
            FileFrame::Entries { request: request(), last, entries: entries.collect() }
        }
        "no" => FileFrame::No { request: request(), why: why(), text: words() },
        "sender_holds" => FileFrame::SenderHolds { id: id(), on: on() },
        "receiver_holds" => FileFrame::ReceiverHolds { id: id(), on: on() },
        other => panic!("no frame {other}"),
    }
}

/// What is written for a frame; nothing for those that longshore does not write by itself.
fn written(of: &Value) -> Option<Bytes> {
    let codec = Longshore::new();
    Some(match text(&of["frame"]) {
        "hello" if large(&of["capabilities"]) == CAPABILITY_FILES => hello(),
        "hello" | "ping" | "pong" | "skipped" => return None,
        "text" => codec.to_bytes(Message::Text(text(&of["text"]))).unwrap(),
        "binary" => {
            let (number, bytes) = (small(&of["number"]), unhex(&of["bytes"]));
            codec.to_bytes(Message::Binary(number, &bytes)).unwrap()
        }
        "data" => {
            let bytes = unhex(&of["bytes"]);
            let head = data_head(small(&of["id"]), large(&of["offset"]), bytes.len());
            [&head[..], &bytes].concat().into()
        }
        _ => file_frame(of).to_bytes(),
    })
}

/// What the codec with files makes of the bytes of a frame, against its fields.
fn assert_read(row: &Value) {
    let (bytes, of) = (unhex(&row["bytes"]), &row["is"]);
    let (codec, mut decoder) = (Longshore::new().with_files(), LongshoreDecoder::default());
    let read = codec.decode(&mut decoder, &bytes).unwrap();
    let whole = bytes.len();
    match text(&of["frame"]) {
        "text" => {
            let frame = Message::Text(text(&of["text"]));
            assert_eq!(read, Decoded::Frame { frame, used: whole });
        }
        "binary" => {
            let bytes = unhex(&of["bytes"]);
            let frame = Message::Binary(small(&of["number"]), &bytes);
            assert_eq!(read, Decoded::Frame { frame, used: whole });
        }
        "ping" => {
            let reply = unhex(&row["answer"]).into();
            assert_eq!(read, Decoded::Reply { used: whole, reply });
        }
        "skipped" => assert_eq!(read, Decoded::Skip { used: whole }),
        frame => {
            assert_eq!(read, Decoded::File { used: whole }, "{row}");
            let piece = FileStream::default().piece(&bytes).unwrap().unwrap();
            let data = if frame == "data" { unhex(&of["bytes"]) } else { Vec::new() };
            let wanted = match frame {
                "hello" => FilePiece::Hello(large(&of["capabilities"])),
                "pong" => FilePiece::Pong,
                "data" => {
                    let (id, offset) = (small(&of["id"]), large(&of["offset"]));
                    FilePiece::Data { id, offset, bytes: &data }
                }
                _ => FilePiece::Frame(file_frame(of)),
            };
            assert_eq!(piece, wanted, "{row}");
        }
    }
}

#[test]
fn each_frame_is_read_and_written_as_the_vectors_say() {
    let vectors = vectors();
    let steps = rows(&vectors["dialogue"], "steps");
    for row in rows(&vectors, "frames").iter().chain(steps) {
        assert_read(row);
        if let Some(written) = written(&row["is"]) {
            assert_eq!(hex(&written), text(&row["bytes"]), "{row}");
        }
    }
    let of_files = |row: &&Value| (16..30).contains(&unhex(&row["bytes"])[2]);
    let types = rows(&vectors, "frames").iter().filter(of_files).map(|row| unhex(&row["bytes"])[2]);
    let types: std::collections::BTreeSet<_> = types.collect();
    assert_eq!(types.len(), 14, "a type has no vector");
}

/// With files, without, or both, as `files` says.
fn codecs(row: &Value) -> Vec<Longshore> {
    match row["files"].as_str() {
        Some("on") => vec![Longshore::new().with_files()],
        Some("off") => vec![Longshore::new()],
        _ => vec![Longshore::new(), Longshore::new().with_files()],
    }
}

#[test]
fn what_is_not_whole_or_no_frame_is_told_as_the_vectors_say() {
    let vectors = vectors();
    for row in rows(&vectors, "partial") {
        for codec in codecs(row) {
            let bytes = unhex(&row["bytes"]);
            let mut decoder = LongshoreDecoder::default();
            let read = codec.decode(&mut decoder, &bytes);
            assert_eq!(read, Ok(Decoded::More { total: small(&row["needs"]) }), "{row}");
        }
    }
    for row in rows(&vectors, "refused") {
        for codec in codecs(row) {
            let bytes = unhex(&row["bytes"]);
            let error = match codec.decode(&mut LongshoreDecoder::default(), &bytes) {
                Ok(Decoded::File { .. }) => FileStream::default().piece(&bytes).unwrap_err(),
                Ok(other) => panic!("{row}: {other:?}"),
                Err(error) => error,
            };
            assert_eq!(error.to_string(), text(&row["why"]), "{row}");
        }
    }
}

const PACE: Pace =
    Pace { start: Duration::ZERO, stall: Duration::ZERO, rate: 0, hold: Duration::ZERO };

/// Bytes in a chunk of the dialogue.
const PIECE: usize = 16;

/// One side of the dialogue, with a disk that does at once what is asked.
struct Side {
    now: Time,
    out: Outgoing,
    inn: Incoming,
    sources: BTreeMap<u32, Vec<u8>>,
    /// What is received, by number.
    files: BTreeMap<u32, Vec<u8>>,
    ended: Vec<bool>,
}

impl Side {
    fn new() -> Self {
        let mut out = Outgoing::new(PACE);
        out.set_piece(PIECE);
        Self {
            now: Time::ZERO,
            out,
            inn: Incoming::new(PACE, 1, 0),
            sources: BTreeMap::new(),
            files: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    fn work(&mut self) {
        let now = self.now;
        while let Some(act) = self.out.poll_act() {
            match act {
                SendAct::Prove { id, have, digest } => {
                    let there = &self.sources[&id][..usize::try_from(have).unwrap()];
                    let equal = *blake3::hash(there).as_bytes() == digest;
                    self.out.handle_proved(now, id, have, equal);
                }
                SendAct::Read { id, offset, len, last } => {
                    let (source, at) = (&self.sources[&id], usize::try_from(offset).unwrap());
                    let bytes = Bytes::copy_from_slice(&source[at..at + len]);
                    let digest = last.then(|| *blake3::hash(source).as_bytes());
                    self.out.handle_read(now, id, bytes, digest);
                }
                SendAct::Progress { .. } => {}
                SendAct::Ended { result, .. } => self.ended.push(result.is_ok()),
            }
        }
        while let Some(act) = self.inn.poll_act() {
            match act {
                RecvAct::Open { id } => {
                    let there = self.files.entry(id).or_default();
                    let digest = *blake3::hash(there).as_bytes();
                    self.inn.handle_opened(now, id, there.len() as u64, digest);
                }
                RecvAct::Write { id, anew, bytes, .. } => {
                    let file = self.files.get_mut(&id).unwrap();
                    if anew {
                        file.clear();
                    }
                    file.extend_from_slice(&bytes);
                    self.inn.handle_written(now, id, bytes.len() as u64, bytes);
                }
                RecvAct::Store { id, digest } => {
                    assert_eq!(*blake3::hash(&self.files[&id]).as_bytes(), digest);
                    self.inn.handle_stored(now, id);
                }
                RecvAct::Offered { .. } | RecvAct::Progress { .. } => {}
                RecvAct::Ended { result, .. } => self.ended.push(result.is_ok()),
            }
        }
    }

    /// Does what makes this side say that, and looks whether it does.
    fn says(&mut self, of: &Value, contents: &BTreeMap<String, Vec<u8>>) {
        let now = self.now;
        match text(&of["frame"]) {
            "offer" => {
                let FileFrame::Offer { id, offered } = file_frame(of) else { panic!("{of}") };
                let [start, bytes] =
                    [offered.start, offered.bytes].map(|it| usize::try_from(it).unwrap());
                let source = contents.get(&offered.name).unwrap_or(&contents["notes/a.txt"]);
                self.sources.insert(id, source[start..start + bytes].to_vec());
                assert_eq!(self.out.offer(now, offered), Some(id));
            }
            "accept" => self.inn.accept(now, small(&of["id"])),
            "credit" => {
                self.now = now + Duration::from_secs(2);
                self.inn.write();
            }
            "refuse" => {
                let FileFrame::Refuse { id, why, text } = file_frame(of) else { panic!("{of}") };
                self.inn.refuse(now, id, why, &text);
            }
            "give_up" => {
                let FileFrame::GiveUp { id, why, text } = file_frame(of) else { panic!("{of}") };
                self.out.give_up(now, id, why, &text);
            }
            "data" => {
                let chunk = self.out.poll_chunk(now).unwrap();
                assert_eq!(json!(chunk.offset.to_string()), of["offset"]);
                assert_eq!(json!(hex(&chunk.bytes)), of["bytes"]);
                return self.work();
            }
            "end" | "done" => {}
            _ => return, // not what these say
        }
        self.work();
        let said = self.out.poll_frame().or_else(|| self.inn.poll_frame());
        assert_eq!(said, Some(file_frame(of)));
    }

    fn hears(&mut self, of: &Value) {
        match text(&of["frame"]) {
            "data" => {
                let (id, offset) = (small(&of["id"]), large(&of["offset"]));
                self.inn.handle_data(id, offset, &unhex(&of["bytes"])).unwrap();
            }
            "offer" | "end" | "give_up" => {
                self.inn.handle_frame(self.now, file_frame(of)).unwrap();
            }
            "accept" | "credit" | "done" | "refuse" => {
                self.out.handle_frame(self.now, file_frame(of)).unwrap();
            }
            _ => {}
        }
        self.work();
    }
}

#[test]
fn both_ends_speak_the_dialogue_of_the_vectors() {
    let vectors = vectors();
    let dialogue = &vectors["dialogue"];
    let (mut client, mut server) = (Side::new(), Side::new());
    let mut contents = BTreeMap::new();
    for file in rows(dialogue, "files") {
        let bytes = unhex(&file["bytes"]);
        assert_eq!(*blake3::hash(&bytes).as_bytes(), digest(&file["digest"]));
        contents.insert(text(&file["name"]).to_string(), bytes);
    }
    for part in rows(dialogue, "partials") {
        server.files.insert(small(&part["id"]), unhex(&part["bytes"]));
    }
    for step in rows(dialogue, "steps") {
        let of = &step["is"];
        let (from, to) = match text(&step["from"]) {
            "client" => (&mut client, &mut server),
            _ => (&mut server, &mut client),
        };
        from.says(of, &contents);
        to.hears(of);
    }
    let names = ["notes/a.txt", "notes/b.txt", "notes/c.txt"];
    for (id, name) in (1..).zip(names) {
        assert_eq!(server.files[&id], contents[name], "{name}");
    }
    assert!(client.out.is_empty() && client.inn.is_empty());
    assert!(server.out.is_empty() && server.inn.is_empty());
    for side in [client, server] {
        assert_eq!(side.ended.iter().filter(|it| **it).count(), 5, "{:?}", side.ended);
    }
}
