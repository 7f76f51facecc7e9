//! Messages that are told, readable or not.
//!
//! The usual codec ends a stream at the first message it cannot read. Here such a message is a value like any other, so
//! that whoever takes the stream can count it and read on. (A message above the size limit still ends its stream: it
//! would have to be read to be skipped.)

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use super::buffers::buffers;
use super::parts::{self, Bounded};

/// A message as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<U> {
    /// What was read of it, or why it could not be.
    pub message: Result<U, String>,
    /// How many more parts it has than are taken of one message. They were not read.
    pub beyond: usize,
}

impl<U: Bounded> Received<U> {
    /// Reads a message, but for the parts beyond those that are taken.
    pub fn read(bytes: &[u8]) -> Self {
        let (kept, beyond) = parts::cut::<U>(bytes);
        let message = U::decode(&*kept).map_err(|error| format!("not a readable message: {error}"));
        Self { message, beyond }
    }
}

/// Sends messages as the usual codec does; reads them as [`Received`].
#[derive(Debug)]
pub struct ReceivedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ReceivedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ReceivedCodec<T, Received<U>>
where
    T: Message + Send + 'static,
    U: Bounded,
{
    type Encode = T;
    type Decode = Received<U>;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = ReceivedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> ReceivedDecoder<U> {
        ReceivedDecoder(PhantomData)
    }
}

/// Reads a message; one that cannot be read is no error here.
#[derive(Debug)]
pub struct ReceivedDecoder<U>(PhantomData<U>);

impl<U: Bounded> Decoder for ReceivedDecoder<U> {
    type Item = Received<U>;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Received<U>>, Status> {
        // It lies there in one piece.
        let received = Received::read(src.chunk());
        // The rest of an unreadable message must not be taken for the next one.
        src.advance(src.remaining());
        Ok(Some(received))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
