//! Messages that are told, readable or not.
//!
//! The usual codec ends a stream at the first message it cannot read. Here such a message is a value like any other, so
//! that whoever takes the stream can count it and read on. (A message above the size limit still ends its stream: it
//! would have to be read to be skipped.)

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use super::buffers::buffers;

/// A message as it was told: read, or why it could not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<U>(pub Result<U, String>);

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
    U: Message + Default + Send + 'static,
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

impl<U: Message + Default + Send + 'static> Decoder for ReceivedDecoder<U> {
    type Item = Received<U>;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Received<U>>, Status> {
        let read = U::decode(&mut *src).map_err(|error| format!("not a readable message: {error}"));
        // The rest of an unreadable message must not be taken for the next one.
        bytes::Buf::advance(src, bytes::Buf::remaining(src));
        Ok(Some(Received(read)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
