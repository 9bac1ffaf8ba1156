//! One message, compressed and back.

use super::Encoding;
use std::io;
#[cfg(any(feature = "gzip", feature = "deflate", feature = "zstd"))]
use std::io::Read;

/// Why a compressed message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// RESOURCE_EXHAUSTED.
    #[error("compressed message is over the limit of {limit} bytes once it is decompressed")]
    TooLarge {
        /// The most that is taken.
        limit: usize,
    },
    /// INTERNAL.
    #[error("message is no {encoding}")]
    Broken {
        /// What it should be.
        encoding: Encoding,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// Room that is made at once for what comes out.
#[cfg(any(feature = "gzip", feature = "deflate", feature = "zstd"))]
const STEP: usize = 8 << 10;

/// `plain`, compressed.
///
/// # Errors
/// When the compressor fails, which it does for lack of memory alone.
#[cfg_attr(
    not(any(feature = "gzip", feature = "deflate", feature = "zstd")),
    allow(unused_variables, reason = "without encodings there is nothing to do")
)]
pub fn pack(encoding: Encoding, plain: &[u8]) -> io::Result<Vec<u8>> {
    match encoding {
        #[cfg(feature = "gzip")]
        Encoding::Gzip => {
            let mut packed = room(plain);
            flate2::bufread::GzEncoder::new(plain, LEVEL).read_to_end(&mut packed)?;
            Ok(packed)
        }
        #[cfg(feature = "deflate")]
        Encoding::Deflate => {
            let mut packed = room(plain);
            flate2::bufread::ZlibEncoder::new(plain, LEVEL).read_to_end(&mut packed)?;
            Ok(packed)
        }
        #[cfg(feature = "zstd")]
        Encoding::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

#[cfg(any(feature = "gzip", feature = "deflate"))]
fn room(plain: &[u8]) -> Vec<u8> {
    Vec::with_capacity(plain.len() / 2 + 32)
}

/// What `packed` was, if that is no more than `limit` bytes. No more than those are ever held,
/// whatever it would become.
///
/// # Errors
/// When it would be more, or is broken.
#[cfg_attr(
    not(any(feature = "gzip", feature = "deflate", feature = "zstd")),
    allow(unused_variables, reason = "without encodings there is nothing to do")
)]
pub fn unpack(encoding: Encoding, packed: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    match encoding {
        #[cfg(feature = "gzip")]
        Encoding::Gzip => read(
            encoding,
            flate2::bufread::MultiGzDecoder::new(packed),
            packed,
            limit,
        ),
        #[cfg(feature = "deflate")]
        Encoding::Deflate => read(
            encoding,
            flate2::bufread::ZlibDecoder::new(packed),
            packed,
            limit,
        ),
        #[cfg(feature = "zstd")]
        Encoding::Zstd => {
            let broken = |source| UnpackError::Broken { encoding, source };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(broken)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
            read(encoding, decoder, packed, limit)
        }
    }
}

/// Between speed and size: what an answer waits for is a few milliseconds a megabyte.
#[cfg(any(feature = "gzip", feature = "deflate"))]
const LEVEL: flate2::Compression = flate2::Compression::new(3);

/// 8 MiB: what RFC 8878 wants everybody to be able to read. A frame may ask for 128 MiB before
/// its first byte comes out.
#[cfg(feature = "zstd")]
const MAX_WINDOW_LOG: u32 = 23;

#[cfg(any(feature = "gzip", feature = "deflate", feature = "zstd"))]
fn read(
    encoding: Encoding,
    mut decoder: impl Read,
    packed: &[u8],
    limit: usize,
) -> Result<Vec<u8>, UnpackError> {
    let mut plain = Vec::new();
    // One more than allowed shows that it is too much.
    let most = limit.saturating_add(1);
    let mut room = packed.len().saturating_mul(2).max(STEP).min(most);
    loop {
        let begin = plain.len();
        if begin == room {
            if begin == most {
                return Err(UnpackError::TooLarge { limit });
            }
            room = room.saturating_mul(2).min(most);
        }
        plain.reserve_exact(room - begin);
        plain.resize(room.min(begin + STEP), 0);
        match decoder.read(&mut plain[begin..]) {
            Ok(0) => {
                plain.truncate(begin);
                return Ok(plain);
            }
            Ok(count) => plain.truncate(begin + count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => plain.truncate(begin),
            Err(source) => return Err(UnpackError::Broken { encoding, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bomb_is_refused_and_takes_no_more_than_the_limit() {
        let bomb = vec![0; 64 << 20];
        for &encoding in Encoding::ALL {
            let packed = pack(encoding, &bomb).unwrap();
            assert!(packed.len() < 512 << 10, "{encoding} {}", packed.len());
            let refused = unpack(encoding, &packed, 1 << 20);
            assert!(
                matches!(refused, Err(UnpackError::TooLarge { limit }) if limit == 1 << 20),
                "{encoding}"
            );
            let whole = unpack(encoding, &packed, bomb.len()).unwrap();
            assert!(whole == bomb && whole.capacity() <= bomb.len() + 1);
        }
    }

    #[test]
    fn what_is_broken_is_told() {
        for &encoding in Encoding::ALL {
            let good = pack(encoding, &[7; 5000]).unwrap();
            for bad in [&b"no such thing"[..], &good[..good.len() / 2]] {
                let error = unpack(encoding, bad, 9999).unwrap_err();
                assert!(matches!(error, UnpackError::Broken { .. }), "{encoding}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back_within_its_limit(
            plain in prop::collection::vec(0u8..4, 0..40_000),
            less in 1usize..9,
        ) {
            for &encoding in Encoding::ALL {
                let packed = pack(encoding, &plain).unwrap();
                let back = unpack(encoding, &packed, plain.len()).unwrap();
                prop_assert_eq!(&back, &plain);
                if let Some(limit) = plain.len().checked_sub(less) {
                    prop_assert!(unpack(encoding, &packed, limit).is_err());
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for &encoding in Encoding::ALL {
                let _ = unpack(encoding, &bytes, 1000);
            }
        }
    }
}
