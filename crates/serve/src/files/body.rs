//! The body of an answer: bytes from memory, or read from disk a chunk ahead.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::cache::BlobCache;

/// Bytes read from disk at once; a body holds at most two such chunks.
const CHUNK_BYTES: u64 = 128 << 10;

type Reading = Pin<Box<dyn Future<Output = io::Result<(File, Bytes)>> + Send>>;

/// A body made of pieces, each from memory or from one blob on disk.
///
/// Reads run on blocking threads, one chunk ahead of the client. Dropping the body cancels: at
/// most one read is under way, and it ends by itself. A file that was cut short meanwhile ends
/// the body in an error, so that the client sees the answer break off.
pub struct FileBody {
    pieces: VecDeque<Piece>,
    left: u64,
    disk: Option<Disk>,
}

/// A piece of a body.
pub(crate) enum Piece {
    /// These bytes.
    Memory(Bytes),
    /// These bytes of the file.
    Disk(Range<u64>),
}

struct Disk {
    cache: BlobCache,
    state: DiskState,
}

enum DiskState {
    Idle(File),
    Reading(Reading),
    Read(io::Result<(File, Bytes)>),
    Failed,
}

impl FileBody {
    /// A body of nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            pieces: VecDeque::new(),
            left: 0,
            disk: None,
        }
    }

    /// A body of bytes in memory.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::from_memory([bytes.into()])
    }

    pub(crate) fn from_memory(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self::from_pieces(pieces.into_iter().map(Piece::Memory), None)
    }

    /// A body some of whose pieces are ranges of `file`.
    pub(crate) fn from_disk(pieces: Vec<Piece>, file: File, cache: BlobCache) -> Self {
        Self::from_pieces(
            pieces,
            Some(Disk {
                cache,
                state: DiskState::Idle(file),
            }),
        )
    }

    fn from_pieces(pieces: impl IntoIterator<Item = Piece>, disk: Option<Disk>) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| piece.len() > 0).collect();
        let left = pieces.iter().map(Piece::len).sum();
        Self { pieces, left, disk }
    }

    /// Starts on the next range while the client takes the last chunk.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let next = self.pieces.iter().find_map(|piece| match piece {
            Piece::Disk(range) => Some(range.clone()),
            Piece::Memory(_) => None,
        });
        if let (Some(range), Some(disk)) = (next, &mut self.disk) {
            // An error stays in the state and comes out when its piece is due.
            let _ = disk.poll_read(range, cx);
        }
    }
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(range) => range.end - range.start,
        }
    }
}

impl Disk {
    /// Drives the read of the first chunk of `range`.
    fn poll_read(&mut self, range: Range<u64>, cx: &mut Context<'_>) -> Poll<()> {
        if let DiskState::Idle(_) = self.state {
            let DiskState::Idle(file) = std::mem::replace(&mut self.state, DiskState::Failed)
            else {
                unreachable!("matched just above")
            };
            let end = range.end.min(range.start.saturating_add(CHUNK_BYTES));
            self.state =
                DiskState::Reading(Box::pin(read(self.cache.clone(), file, range.start..end)));
        }
        if let DiskState::Reading(reading) = &mut self.state {
            match reading.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => self.state = DiskState::Read(result),
            }
        }
        Poll::Ready(())
    }

    /// Takes the chunk that [`Disk::poll_read`] has made ready.
    fn take_chunk(&mut self) -> io::Result<Bytes> {
        match std::mem::replace(&mut self.state, DiskState::Failed) {
            DiskState::Read(Ok((file, chunk))) => {
                self.state = DiskState::Idle(file);
                Ok(chunk)
            }
            DiskState::Read(Err(error)) => Err(error),
            _ => Err(io::Error::other("the file failed earlier")),
        }
    }
}

async fn read(cache: BlobCache, mut file: File, range: Range<u64>) -> io::Result<(File, Bytes)> {
    let permit = cache.read_permit().await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut chunk =
            vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut chunk)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    let message =
                        format!("the file ends before byte {}: it was cut short", range.end);
                    io::Error::new(error.kind(), message)
                }
                _ => error,
            })?;
        drop(permit);
        Ok((file, Bytes::from(chunk)))
    });
    read.await.map_err(io::Error::other)?
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let chunk = match this.pieces.pop_front() {
            None => return Poll::Ready(None),
            Some(Piece::Memory(bytes)) => bytes,
            Some(Piece::Disk(range)) => {
                let Some(disk) = &mut this.disk else {
                    return Poll::Ready(Some(Err(io::Error::other("no file behind this body"))));
                };
                if disk.poll_read(range.clone(), cx).is_pending() {
                    this.pieces.push_front(Piece::Disk(range));
                    return Poll::Pending;
                }
                let chunk = match disk.take_chunk() {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        this.pieces.clear();
                        return Poll::Ready(Some(Err(error)));
                    }
                };
                let rest = range.start + chunk.len() as u64..range.end;
                if !rest.is_empty() {
                    this.pieces.push_front(Piece::Disk(rest));
                }
                chunk
            }
        };
        this.left -= chunk.len() as u64;
        this.read_ahead(cx);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl std::fmt::Debug for FileBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;

    use super::super::cache::BlobCacheOptions;
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n % 251) as u8).collect()
    }

    #[tokio::test]
    async fn ranges_of_a_file_come_in_chunks() {
        let bytes = pattern(700_001);
        let (_folder, path) = file(&bytes);
        let pieces = vec![
            Piece::Memory(Bytes::from_static(b"head")),
            Piece::Disk(0..700_001),
            Piece::Memory(Bytes::new()),
            Piece::Disk(5..10),
        ];
        let cache = BlobCache::new(BlobCacheOptions {
            reads_max: 1,
            ..Default::default()
        });
        let mut body = FileBody::from_disk(pieces, File::open(path).unwrap(), cache);
        assert_eq!(body.size_hint().exact(), Some(4 + 700_001 + 5));
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            assert!(chunk.len() as u64 <= CHUNK_BYTES && !chunk.is_empty());
            all.extend_from_slice(&chunk);
        }
        assert_eq!(all, [b"head", &bytes[..], &bytes[5..10]].concat());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_file_cut_short_ends_in_an_error() {
        let (_folder, path) = file(&pattern(600_000));
        let opened = File::open(&path).unwrap();
        let mut body =
            FileBody::from_disk(vec![Piece::Disk(0..600_000)], opened, BlobCache::default());
        body.frame().await.unwrap().unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(300_000)
            .unwrap();
        let error = loop {
            match body.frame().await.expect("an error before the end") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("cut short"), "{error}");
        assert!(body.frame().await.is_none());
    }
}
