//! The few kinds of protobuf fields that reports are made of.

/// A field of a message.
pub(super) enum Field<'a> {
    Double(f64),
    Bytes(&'a [u8]),
    Other,
}

/// The next field and its number. None when the message ends too early, or is none.
pub(super) fn read<'a>(message: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = read_varint(message)?;
    let field = match key & 7 {
        0 => {
            read_varint(message)?;
            Field::Other
        }
        1 => Field::Double(f64::from_le_bytes(*message.split_off(..8)?.first_chunk()?)),
        2 => {
            let len = usize::try_from(read_varint(message)?).ok()?;
            Field::Bytes(message.split_off(..len)?)
        }
        5 => {
            message.split_off(..4)?;
            Field::Other
        }
        _ => return None,
    };
    Some((key >> 3, field))
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Unless it is 0, which is what a field without a value is.
pub(super) fn put_double(message: &mut Vec<u8>, number: u8, value: f64) {
    if value != 0.0 {
        message.push(number << 3 | 1);
        message.extend(value.to_le_bytes());
    }
}

/// An entry of a map from names to numbers.
pub(super) fn put_entry(message: &mut Vec<u8>, number: u8, name: &str, value: f64) {
    let name_len = name.len() as u64;
    message.push(number << 3 | 2);
    put_varint(message, 1 + varint_len(name_len) + name_len + 9);
    put_bytes(message, 1, name.as_bytes());
    message.push(2 << 3 | 1);
    message.extend(value.to_le_bytes());
}

pub(super) fn put_bytes(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

pub(super) fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

const fn varint_len(value: u64) -> u64 {
    (value | 1).ilog2() as u64 / 7 + 1
}
