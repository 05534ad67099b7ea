//! Typed values: what `Out` writes `In` reads, and what is cut off is told.

use longshore_proto::{
    Codec, Decoded, FrameError, In, Out, with_len_u16_be, with_len_u16_le, with_len_u32_be,
    with_len_u32_le,
};
use proptest::prelude::*;

/// One value of every kind that can be written and read.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    U8(u8),
    U16(u16),
    U16Le(u16),
    U32(u32),
    U32Le(u32),
    U64(u64),
    U64Le(u64),
    Slice(Vec<u8>),
    Len16(Vec<Value>),
    Len16Le(Vec<Value>),
    Len32(Vec<Value>),
    Len32Le(Vec<Value>),
}

impl Value {
    fn write(&self, out: &mut Out<'_>) -> Result<(), FrameError> {
        let all = |values: &[Self], out: &mut Out<'_>| {
            values.iter().try_for_each(|value| value.write(out))
        };
        match self {
            Self::U8(value) => out.put_u8(*value),
            Self::U16(value) => out.put_u16(*value),
            Self::U16Le(value) => out.put_u16_le(*value),
            Self::U32(value) => out.put_u32(*value),
            Self::U32Le(value) => out.put_u32_le(*value),
            Self::U64(value) => out.put_u64(*value),
            Self::U64Le(value) => out.put_u64_le(*value),
            Self::Slice(bytes) => out.put_slice(bytes),
            Self::Len16(values) => with_len_u16_be(out, |out| all(values, out))?,
            Self::Len16Le(values) => with_len_u16_le(out, |out| all(values, out))?,
            Self::Len32(values) => with_len_u32_be(out, |out| all(values, out))?,
            Self::Len32Le(values) => with_len_u32_le(out, |out| all(values, out))?,
        }
        Ok(())
    }

    /// Reads a value of the same kind.
    fn read(&self, fields: &mut In<'_>) -> Result<Self, FrameError> {
        Ok(match self {
            Self::U8(_) => Self::U8(fields.get_u8()?),
            Self::U16(_) => Self::U16(fields.get_u16()?),
            Self::U16Le(_) => Self::U16Le(fields.get_u16_le()?),
            Self::U32(_) => Self::U32(fields.get_u32()?),
            Self::U32Le(_) => Self::U32Le(fields.get_u32_le()?),
            Self::U64(_) => Self::U64(fields.get_u64()?),
            Self::U64Le(_) => Self::U64Le(fields.get_u64_le()?),
            Self::Slice(bytes) => Self::Slice(fields.get_slice(bytes.len())?.to_vec()),
            Self::Len16(values) => Self::Len16(read_all(values, fields.get_with_len_u16_be()?)?),
            Self::Len16Le(values) => {
                Self::Len16Le(read_all(values, fields.get_with_len_u16_le()?)?)
            }
            Self::Len32(values) => Self::Len32(read_all(values, fields.get_with_len_u32_be()?)?),
            Self::Len32Le(values) => {
                Self::Len32Le(read_all(values, fields.get_with_len_u32_le()?)?)
            }
        })
    }
}

/// Values of those kinds, and nothing behind them.
fn read_all(kinds: &[Value], mut fields: In<'_>) -> Result<Vec<Value>, FrameError> {
    let values = kinds.iter().map(|kind| kind.read(&mut fields)).collect::<Result<_, _>>()?;
    fields.finish()?;
    Ok(values)
}

fn written(values: &[Value]) -> Vec<u8> {
    let (mut bytes, mut kept) = (Vec::new(), Vec::new());
    let mut out = Out::new(&mut bytes, &[], &mut kept, 1 << 20);
    for value in values {
        value.write(&mut out).expect("lengths that fit");
    }
    assert_eq!(out.finish(), Ok(bytes.len()));
    bytes
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<u16>().prop_map(Value::U16),
        any::<u16>().prop_map(Value::U16Le),
        any::<u32>().prop_map(Value::U32),
        any::<u32>().prop_map(Value::U32Le),
        any::<u64>().prop_map(Value::U64),
        any::<u64>().prop_map(Value::U64Le),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Slice),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let values = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            values().prop_map(Value::Len16),
            values().prop_map(Value::Len16Le),
            values().prop_map(Value::Len32),
            values().prop_map(Value::Len32Le),
        ]
    })
}

fn one_of_each() -> Vec<Value> {
    let inner = vec![Value::U16Le(0x0102), Value::Slice(b"abc".to_vec())];
    vec![
        Value::U8(1),
        Value::U16(0x0203),
        Value::U16Le(0x0405),
        Value::U32(0x0607_0809),
        Value::U32Le(0x0a0b_0c0d),
        Value::U64(0x0102_0304_0506_0708),
        Value::U64Le(0x1112_1314_1516_1718),
        Value::Slice(b"plain".to_vec()),
        Value::Len16(inner.clone()),
        Value::Len16Le(inner.clone()),
        Value::Len32(vec![Value::Len32Le(inner)]),
    ]
}

#[test]
fn a_frame_cut_anywhere_says_what_is_missing() {
    let values = one_of_each();
    let bytes = written(&values);
    assert_eq!(read_all(&values, In::new(&bytes)), Ok(values.clone()));
    for cut in 0..bytes.len() {
        let error = read_all(&values, In::new(&bytes[..cut])).unwrap_err();
        let FrameError::Missing { at, need, have, .. } = error else { panic!("{cut}: {error:?}") };
        assert_eq!(at + have, cut as u64, "what is left reaches to the cut");
        assert!(have < need && at + need <= bytes.len() as u64, "{cut}: {error:?}");
    }
    let more = [&bytes[..], b"x"].concat();
    assert!(matches!(read_all(&values, In::new(&more)), Err(FrameError::Invalid(_))));
}

/// Does not look at its own bound.
struct Careless;

impl Codec for Careless {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        8
    }

    fn decode<'a>(&self, (): &mut (), input: &'a [u8]) -> Result<Decoded<&'a [u8]>, FrameError> {
        Ok(Decoded::Frame { frame: input, used: input.len() })
    }

    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        if item.is_empty() {
            return Err(FrameError::invalid("nothing to say"));
        }
        out.put_payload(item);
        Ok(())
    }
}

#[test]
fn a_frame_of_its_own_is_held_to_the_bound_of_its_codec() {
    assert_eq!(Careless.to_bytes(b"12345678").unwrap(), &b"12345678"[..]);
    assert_eq!(Careless.to_bytes(&[7; 9]), Err(FrameError::TooLong { len: 9, max: 8 }));
    let long = vec![7; 100_000];
    assert_eq!(Careless.to_bytes(&long), Err(FrameError::TooLong { len: 100_000, max: 8 }));
    assert_eq!(Careless.to_bytes(b""), Err(FrameError::invalid("nothing to say")));
}

proptest! {
    #[test]
    fn what_the_writers_write_the_readers_read(
        values in proptest::collection::vec(value(), 0..12),
    ) {
        let bytes = written(&values);
        prop_assert_eq!(read_all(&values, In::new(&bytes)), Ok(values));
    }

    #[test]
    fn reading_whatever_bytes_never_panics(
        kinds in proptest::collection::vec(value(), 0..12),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut fields = In::new(&bytes);
        for kind in kinds {
            let before = fields.len();
            match kind.read(&mut fields) {
                Ok(_) => prop_assert!(fields.len() <= before),
                Err(FrameError::Missing { at, need, have, .. }) => {
                    prop_assert!(have < need && at + have <= bytes.len() as u64);
                }
                Err(FrameError::Invalid(_)) => {} // a length says more than was written there
                Err(error) => prop_assert!(false, "{:?}", error),
            }
        }
    }
}
