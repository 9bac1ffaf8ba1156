//! A codec of the user's own: numbers are sent as what is missing to the highest one.

use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Turns every byte of a message around.
#[derive(Debug)]
pub struct Countdown<T, U>(PhantomData<(T, U)>);

/// The coder of one direction.
#[derive(Debug)]
pub struct Turned<T>(PhantomData<T>);

// === impl Countdown ===

impl<T, U> Default for Countdown<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Countdown<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Turned<T>;
    type Decoder = Turned<U>;

    fn encoder(&mut self) -> Turned<T> {
        Turned(PhantomData)
    }

    fn decoder(&mut self) -> Turned<U> {
        Turned(PhantomData)
    }
}

// === impl Turned ===

impl<T: Message> Encoder for Turned<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let bytes: Vec<u8> = item.encode_to_vec().iter().map(|byte| !byte).collect();
        buffer.put_slice(&bytes);
        Ok(())
    }
}

impl<T: Message + Default> Decoder for Turned<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let bytes: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        let decoded = T::decode(bytes.as_slice());
        decoded
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
